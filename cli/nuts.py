"""``stanrovi nuts``: the reference sampler."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stanrovi.arguments import checked_seed
from stanrovi_cli import console
from stanrovi_cli.loading import NamedModel, model_options
from stanrovi_cli.options import (
    NUTS_ENGINES,
    Name,
    check_outputs,
    file_options,
    json_option,
    nuts_options,
    path_option,
    seed_option,
    strict_option,
)
from stanrovi_cli.parsing import Command

if TYPE_CHECKING:
    from stanrovi.diagnostics.reference import ReferenceCheck
    from stanrovi.runs.nuts_run import NutsRun


@click.command("nuts", cls=Command)
@model_options(engine=False)
@click.option(
    "--engine",
    type=Name(NUTS_ENGINES),
    default="auto",
    show_default=True,
    help="Sampler: CmdStan where it is installed, else the embedded engine.",
)
@nuts_options
@path_option(
    "--init-from",
    exists=True,
    help="NetCDF of a fit with verdict ok: chains start from its draws and move by its covariance.",
)
@seed_option
@file_options
@strict_option
@json_option
def command(
    model: NamedModel,
    engine: str,
    init_from: Path | None,
    seed: int | None,
    output: Path | None,
    overwrite: bool,
    csv: Path | None,
    strict: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Sample from a model by NUTS, as CmdStan does.

    Prints a summary with R-hat and effective sample sizes. With --output the draws
    and the sampler's statistics are written as NetCDF, which ArviZ reads.
    """
    from stanrovi.io.netcdf import read_draws, write_netcdf
    from stanrovi_cli.running import run_nuts

    check_outputs(output, overwrite=overwrite, csv=csv)
    if init_from is not None:
        settings["init"] = read_draws(init_from)
    seed = checked_seed(seed)
    built = model.load(seed=seed, stored=output is not None)
    run = run_nuts(built, seed, engine=engine, **settings)
    found = run.check
    if output is not None:
        write_netcdf(run.draws, output, overwrite=overwrite)
    if csv is not None:
        run.save_csv(csv, overwrite=overwrite)
    if as_json:
        console.print_json(_as_dict(run, found, built.name) | {"output": output, "csv": csv})
    else:
        _show(run, found, built.name)
        if written := [path for path in (output, csv) if path is not None]:
            console.wrote(*written)
    if strict and not found.trusted:
        click.get_current_context().exit(3)


def _as_dict(run: NutsRun, found: ReferenceCheck, model: str) -> dict[str, Any]:
    from stanrovi_cli.summary import moments

    return {
        "model": model,
        "method": "nuts",
        "engine": run.engine,
        "seed": run.seed,
        "n_chains": found.n_chains,
        "n_draws": found.n_draws,
        "rhat_max": found.rhat_max,
        "ess_min": found.ess_min,
        "summary": moments(run.draws),
        "divergences": run.divergences,
        "n_gradients": run.n_gradients,
        "includes_warmup": run.includes_warmup,
        "seconds": run.seconds,
        "seconds_warmup": run.seconds_warmup,
        "seconds_sampling": run.seconds_sampling,
        "trusted": found.trusted,
        "reason": found.reason,
        "warnings": run.warnings,
    }


def _show(run: NutsRun, found: ReferenceCheck, model: str) -> None:
    from stanrovi_cli.summary import print_summary

    console.warn(run.warnings)
    warmup = "with" if run.includes_warmup else "without"
    console.facts(
        [
            ("model", model),
            ("method", f"NUTS, engine {run.engine}, seed {run.seed}"),
            ("draws", f"{found.n_chains} chains of {found.n_draws}"),
            ("cost", f"{run.n_gradients:,} gradients {warmup} warm-up, {run.seconds:.2f} s"),
            ("trusted", f"{'yes' if found.trusted else 'NO'}. {found.reason}"),
        ]
    )
    print_summary(run.draws, chains=True)
