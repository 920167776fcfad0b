"""``stanrovi fit``: one variational fit."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stanrovi.arguments import checked_seed
from stanrovi_cli import console
from stanrovi_cli.loading import NamedModel, model_options
from stanrovi_cli.options import (
    budget_options,
    check_outputs,
    draws_option,
    file_options,
    folder_option,
    json_option,
    method_option,
    seed_option,
    strict_option,
)
from stanrovi_cli.parsing import Command
from stanrovi_cli.relabelling import as_dict, relabel_option, relabelled, show

if TYPE_CHECKING:
    from stanrovi.runs.fitted import Fit
    from stanrovi.runs.relabel import Relabelled
    from stanrovi.runs.resample import Resampled
    from stanrovi.stan.model import Model
    from stanrovi.vi.result import FitResult


@click.command("fit", cls=Command)
@model_options(engine=True)
@method_option
@seed_option
@draws_option
@budget_options
@click.option(
    "--resample",
    is_flag=True,
    help="Also resample the draws by importance weights; --output then holds those.",
)
@relabel_option
@folder_option("--inits", help="Folder for starts and metric as the JSON files that CmdStan reads.")
@file_options
@strict_option
@json_option
def command(
    model: NamedModel,
    method: str,
    seed: int | None,
    draws: int,
    max_gradients: int | None,
    max_seconds: float | None,
    resample: bool,
    relabel: bool,
    inits: Path | None,
    output: Path | None,
    overwrite: bool,
    csv: Path | None,
    strict: bool,
    as_json: bool,
) -> None:
    """Fit a model by variational inference.

    Prints a summary of the draws, the ELBO (up to the constant that Stan drops),
    Pareto k-hat and a verdict on the fit. With --output the draws are written as
    NetCDF, which ArviZ reads, with --csv as CmdStan's CSV, which R reads.
    """
    from stanrovi.errors import UsageError
    from stanrovi_cli.running import run_fit

    if resample and relabel:
        raise UsageError("--resample and --relabel each give other draws; choose one.")
    check_outputs(output, overwrite=overwrite, csv=csv, inits=inits)
    budget = {"max_gradients": max_gradients, "max_seconds": max_seconds}
    seed = checked_seed(seed)
    built = model.load(seed=seed, max_seconds=max_seconds, stored=output is not None)
    began = time.perf_counter()
    fit = run_fit(built, method, seed, draws, **budget)
    left = None if max_seconds is None else max(began + max_seconds - time.perf_counter(), 0.0)
    corrected, refusal = _resampled(fit, built, left) if resample else (None, "")
    one, refused = relabelled(fit, built) if relabel else (None, "")
    _write(fit, corrected or one, output, csv, overwrite=overwrite)
    if inits is not None:
        fit.write_warm_start(inits, overwrite=overwrite)
    if as_json:
        told = _as_dict(fit, output, csv)
        if resample:
            told["resampled"] = _resampled_dict(corrected, refusal)
        if relabel:
            told["relabelled"] = as_dict(one, refused)
        console.print_json(told)
    else:
        _show(fit, corrected, one)
        written = [path for path in (output, csv, inits) if path is not None]
        if written:
            console.wrote(*written)
    if strict and (fit.verdict.name != "ok" or refusal or refused):
        click.get_current_context().exit(3)


def _write(
    fit: Fit,
    changed: Resampled | Relabelled | None,
    output: Path | None,
    csv: Path | None,
    *,
    overwrite: bool,
) -> None:
    """Write the fit, or what has been made of its draws."""
    from stanrovi.io.netcdf import write_netcdf
    from stanrovi.io.stan_csv import write_stan_csv

    if output is not None and changed is None:
        fit.save(output, overwrite=overwrite)
    elif output is not None:
        assert changed is not None
        write_netcdf(changed.draws, output, overwrite=overwrite)
    if csv is not None:
        write_stan_csv((changed or fit).draws, csv, overwrite=overwrite)


def _resampled(fit: Fit, model: Model, max_seconds: float | None) -> tuple[Resampled | None, str]:
    """Resample, or say why not: the fit itself is not lost for that."""
    from stanrovi.runs.resample import resampled
    from stanrovi_cli.progress import working

    def work() -> Resampled:
        with working("evaluating all draws"):
            return resampled(fit.draws, model=model, max_seconds=max_seconds)

    return console.or_refusal("Not resampled.", work)


def _resampled_dict(corrected: Resampled | None, refusal: str) -> dict[str, Any]:
    from stanrovi_cli.summary import moments

    if corrected is None:
        return {"refused": refusal}
    return {
        "refused": None,
        "n_distinct": corrected.n_distinct,
        "ess": corrected.ess,
        "n_gradients": corrected.n_gradients,
        "summary": moments(corrected.draws),
    }


def _as_dict(fit: Fit, output: Path | None, csv: Path | None) -> dict[str, Any]:
    from stanrovi.io.notes import error_rows, mode_rows
    from stanrovi_cli.summary import moments

    result = fit.result
    return {
        "model": fit.model_name,
        "method": result.method,
        "status": result.status,
        "message": result.message,
        "elbo": result.elbo,
        "elbo_se": result.elbo_se,
        "khat": result.khat,
        "n_gradients": result.n_gradients,
        "gradients_by_stage": dict(result.gradients_by_stage),
        "seconds": result.seconds,
        "dim": result.dim,
        "seed": result.seed,
        "engine": fit.engine,
        "modes": mode_rows(result.modes),
        "unseen": result.unseen,
        "summary": moments(fit.draws),
        "verdict": result.verdict.name,
        "reasons": result.verdict.reasons,
        "cures": result.verdict.cures,
        "errors": error_rows(result.errors),
        "warnings": result.warnings,
        "output": output,
        "csv": csv,
    }


def _show(fit: Fit, corrected: Resampled | None, one: Relabelled | None) -> None:
    from stanrovi_cli.summary import print_summary

    result = fit.result
    console.warn(result.warnings)
    console.facts(
        [
            ("model", f"{fit.model_name}, {result.dim} dimensions, engine {fit.engine}"),
            ("method", f"{result.method}, seed {result.seed}"),
            ("status", f"{result.status}: {result.message}"),
            ("cost", _cost(result)),
            ("ELBO", f"{result.elbo:.3f} ± {result.elbo_se:.3f} (up to a constant)"),
            ("k-hat", f"{result.khat:.2f}"),
            ("verdict", result.verdict.name),
            *(("", reason) for reason in result.verdict.told),
        ]
    )
    print_summary(fit.draws)
    if corrected is not None:
        console.say(
            f"Resampled by importance weights: {corrected.n_distinct:,} of "
            f"{corrected.draws.n_draws:,} draws are distinct; the weights are worth "
            f"{corrected.ess:,.0f} draws. That took {corrected.n_gradients:,} more gradients."
        )
        if corrected.note:
            console.say(corrected.note)
        print_summary(corrected.draws)
    show(one)
    if len(result.modes) > 1:
        _show_modes(fit)


def _cost(result: FitResult) -> str:
    judging = result.n_gradients - result.n_fit_gradients
    return (
        f"{result.n_gradients:,} gradients, {judging:,} of them to judge the fit; "
        f"{result.seconds:.2f} s"
    )


def _show_modes(fit: Fit) -> None:
    modes = fit.result.modes
    with_orbits = any(mode.orbit is not None for mode in modes)
    console.modes(
        ("mode", *(["orbit"] if with_orbits else []), "log density", "evidence", "draws", "error"),
        [
            (
                str(i),
                *([console.orbit(mode.orbit)] if with_orbits else []),
                f"{mode.log_density:.2f}",
                f"{mode.weight:.1%}",
                f"{mode.mass:.1%}",
                f"{mode.mass_se:.1%}",
            )
            for i, mode in enumerate(modes, 1)
        ],
        "Modes: share of the local evidence, and of the draws with its standard error"
        + (" (modes of one orbit are images of each other)" if with_orbits else ""),
    )
    console.say(f"About {fit.result.unseen:.1%} chance that another climb finds a new basin.")
