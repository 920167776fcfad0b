"""``stanrovi sample``: draws that say whether to trust them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stanrovi.arguments import checked_seed
from stanrovi_cli import console
from stanrovi_cli.loading import NamedModel, model_options
from stanrovi_cli.options import (
    Number,
    Whole,
    chains_option,
    check_outputs,
    file_options,
    json_option,
    seed_option,
    strict_option,
)
from stanrovi_cli.parsing import Command
from stanrovi_cli.relabelling import as_dict, relabel_option, relabelled, show

if TYPE_CHECKING:
    from stanrovi.runs.relabel import Relabelled
    from stanrovi.runs.sample_run import SampleRun


@click.command("sample", cls=Command)
@model_options(engine=True)
@chains_option
@click.option(
    "--ess",
    type=Number(min=1),
    default=400,
    show_default=True,
    help="Bulk and tail effective draws that every parameter must have.",
)
@seed_option
@click.option(
    "--wide-leg",
    is_flag=True,
    help="Temper from a wide reference also where one basin is known: a look for unseen "
    "modes, at several times the cost.",
)
@relabel_option
@click.option(
    "--max-gradients",
    type=Whole(min=1),
    default=500_000,
    show_default=True,
    help="Gradients to spend, the fit included.",
)
@click.option("--max-seconds", type=Number(min=0, min_open=True), help="Seconds to spend.")
@file_options
@strict_option
@json_option
def command(
    model: NamedModel,
    seed: int | None,
    relabel: bool,
    output: Path | None,
    overwrite: bool,
    csv: Path | None,
    strict: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Sample until the draws can be trusted, or a budget is spent.

    A fit comes first; chains start from it and move by it, through every basin where
    there are several. Prints whether the draws can be trusted and why, what they cost,
    and a summary. With --output they are written as NetCDF, which ArviZ reads.
    """
    from stanrovi.io.netcdf import write_netcdf
    from stanrovi_cli.running import run_sample

    check_outputs(output, overwrite=overwrite, csv=csv)
    seed = checked_seed(seed)
    built = model.load(seed=seed, max_seconds=settings["max_seconds"], stored=output is not None)
    run = run_sample(built, seed, **settings)
    one, refused = relabelled(run, built) if relabel else (None, "")
    if output is not None:
        write_netcdf(run.draws if one is None else one.draws, output, overwrite=overwrite)
    if csv is not None:
        run.save_csv(csv, overwrite=overwrite)
    if as_json:
        told = _as_dict(run, output, csv)
        console.print_json(told | ({"relabelled": as_dict(one, refused)} if relabel else {}))
    else:
        _show(run, output, csv, one)
    if strict and (refused or not run.trusted):
        click.get_current_context().exit(3)


def _as_dict(run: SampleRun, output: Path | None, csv: Path | None) -> dict[str, Any]:
    from stanrovi_cli.summary import moments

    result, draws = run.result, run.draws
    return {
        "model": draws.attrs["model"],
        "method": "sample",
        "kernel": result.kernel,
        "engine": run.engine,
        "seed": run.seed,
        "n_chains": draws.n_chains,
        "n_draws": draws.n_draws,
        "rhat_max": result.mixed.rhat_max,
        "ess_min": result.mixed.ess_min,
        "divergences": run.divergences,
        "trusted": run.trusted,
        "reason": run.reason,
        "n_gradients": run.n_gradients,
        "gradients_by_stage": dict(run.gradients_by_stage),
        "seconds": run.seconds,
        "log_evidence": run.log_evidence.value,
        "log_evidence_se": run.log_evidence.se,
        "log_evidence_note": run.evidence_note,
        "modes": _mode_rows(run),
        "legs": [
            {
                "name": leg.name,
                "rungs": leg.rungs,
                "barrier": leg.barrier,
                "round_trips": leg.round_trips,
                "log_evidence": leg.evidence.value,
                "log_evidence_se": leg.evidence.se,
            }
            for leg in result.legs
        ],
        "summary": moments(draws),
        "warnings": run.warnings,
        "output": output,
        "csv": csv,
    }


def _mode_rows(run: SampleRun) -> list[dict[str, Any]]:
    """Modes with the chains' own share of each, and its error."""
    from stanrovi.io.notes import mode_rows

    result = run.result
    rows = mode_rows(result.fit.modes)
    for row, mass, error in zip(rows, result.masses, result.mass_errors, strict=True):
        row["mass"], row["mass_se"] = float(mass), float(error)
    return rows


def _show(run: SampleRun, output: Path | None, csv: Path | None, one: Relabelled | None) -> None:
    from stanrovi_cli.summary import print_summary

    result, draws = run.result, run.draws
    console.warn(run.warnings)
    evidence = run.log_evidence
    console.facts(
        [
            ("model", f"{draws.attrs['model']}, {result.fit.dim} dimensions, engine {run.engine}"),
            ("method", f"{_KERNELS[result.kernel]}, seed {run.seed}"),
            ("draws", f"{draws.n_chains} chains of {draws.n_draws}"),
            ("cost", f"{run.n_gradients:,} gradients with the fit, {run.seconds:.2f} s"),
            ("evidence", f"{evidence.value:.3f} ± {evidence.se:.3f} (log), {run.evidence_note}"),
            ("trusted", f"{'yes' if run.trusted else 'NO'}. {run.reason}"),
        ]
    )
    print_summary(draws, chains=True)
    show(one, chains=True)
    if len(result.fit.modes) > 1:
        console.modes(
            ("mode", "orbit", "evidence", "draws", "error"),
            [
                (
                    str(i),
                    console.orbit(row["orbit"]),
                    f"{row['weight']:.1%}",
                    f"{row['mass']:.1%}",
                    f"{row['mass_se']:.1%}",
                )
                for i, row in enumerate(_mode_rows(run), 1)
            ],
            "Modes: share of the local evidence, and of the draws with its Monte Carlo error",
        )
    written = [path for path in (output, csv) if path is not None]
    if written:
        console.wrote(*written)


_KERNELS = {
    "base": "chains in the base coordinates of a fit",
    "tempering": "tempering between a fit and the posterior",
    "nuts": "NUTS from the draws of a fit",
}
