"""``stanrovi sbc``: simulation-based calibration of a method on a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stanrovi.methods import SBC_METHODS
from stanrovi_cli import console
from stanrovi_cli.keeping import dask_option, jobs_option, kept_runs, request, resume_option
from stanrovi_cli.loading import NamedModel, model_options
from stanrovi_cli.options import (
    Name,
    Whole,
    folder_option,
    json_option,
    overwrite_option,
    seed_option,
    strict_option,
)
from stanrovi_cli.parsing import Command

if TYPE_CHECKING:
    from stanrovi.calibration.result import CalibrationResult


@click.command("sbc", cls=Command)
@model_options(engine=False)
@click.option(
    "--method",
    type=Name(SBC_METHODS),
    default="rovi",
    show_default=True,
    help="Method to check; nuts is that of the embedded engine.",
)
@click.option(
    "--simulations",
    type=Whole(10, 1_000_000),
    default=200,
    show_default=True,
    help="Fits to make, each to data of its own.",
)
@click.option(
    "--draws",
    type=Whole(min=2),
    default=99,
    show_default=True,
    help="Draws that each true value is ranked among.",
)
@seed_option
@jobs_option("as many as there are processors", least=0)
@dask_option
@folder_option("--output", help="Folder for plots, sbc.json, and every simulation once it is done.")
@resume_option
@overwrite_option
@strict_option
@json_option
def command(
    model: NamedModel,
    method: Any,
    simulations: int,
    draws: int,
    seed: int | None,
    jobs: int | None,
    dask: str | None,
    output: Path | None,
    resume: bool,
    overwrite: bool,
    strict: bool,
    as_json: bool,
) -> None:
    """Check by simulation whether a method is calibrated on a model.

    The program draws parameters and data in its transformed data, and its generated
    quantities hold the true values (pars_) or comparisons with them (ranks_). Each
    simulation fits the model with another seed and ranks the true values among the
    draws. Ranks of a calibrated method are uniform.

    With --output DIR each simulation is in DIR/runs.jsonl as soon as it is done.
    Should the run end early, --resume does what is missing; with a larger
    --simulations it adds to what is there.
    """
    from stanrovi.calibration.folder import FILES, write_calibration
    from stanrovi.calibration.sbc import sbc
    from stanrovi.io.folders import filled_folder
    from stanrovi.io.ledger import agreed_seed
    from stanrovi.stan.batch import processors
    from stanrovi_cli.progress import stage, working

    if jobs is None and dask is None:
        jobs = processors()
    with kept_runs(output, resume=resume, overwrite=overwrite, names=FILES) as ledger:
        built = model.load(simulates=True)
        if ledger is not None:
            asked = {"command": "sbc"} | request(built, method=method, draws=draws)
            seed = agreed_seed(ledger, asked, seed)
        with stage():
            result = sbc(
                built, method=method, simulations=simulations, draws=draws, seed=seed,
                jobs=jobs, dask=dask, ledger=ledger, progress=True,
            )  # fmt: skip
        found = result.to_dict() | {"output": output}
        if output is not None and ledger is not None:
            with (
                working("drawing plots"),
                filled_folder(output, overwrite=True, own=[ledger]) as folder,
            ):
                write_calibration(result, folder, output=output)
    if as_json:
        console.print_json(found)
    else:
        _show(result)
        if output is not None:
            written = (output / name for name in FILES if not name.endswith(".svg"))
            console.wrote(*filter(Path.exists, written))
    if strict and not result.calibrated:
        click.get_current_context().exit(3)


def _show(result: CalibrationResult) -> None:
    console.warn(result.failures)
    n = result.n_simulations
    console.facts(
        [
            ("model", f"{result.model}, engine {result.engine}"),
            ("method", f"{result.method}, seed {result.seed}"),
            ("ranks", f"{n} simulations, each among {result.draws} draws"),
            ("doubted", f"{result.n_doubted} of {n} fits, by their own diagnostics"),
            ("cost", f"{result.n_gradients:,} gradients, {result.seconds:.1f} s"),
            ("calibrated", "yes" if result.calibrated else "NO"),
        ]
    )
    console.table(
        ("parameter", "p (ECDF)", "p (chi2)", "mean rank", "spread", "verdict"),
        [
            (
                name,
                f"{p.ecdf_p:.4f}",
                f"{p.chi_square_p:.4f}",
                f"{p.mean:.3f}",
                f"{p.spread:.3f}",
                p.verdict,
            )
            for name, p in result.parameters.items()
        ],
        "Ranks of the true values: mean 0.5 and spread 1 if uniform",
    )
