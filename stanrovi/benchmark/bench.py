"""Benchmarks that anyone can rerun: posteriors by methods by seeds, measured by references."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from stanrovi.arguments import (
    check_choice,
    checked_count,
    checked_flag,
    checked_seed,
    listed,
    told,
)
from stanrovi.benchmark.accuracy import ruler
from stanrovi.benchmark.folder import FILES, write_benchmark
from stanrovi.benchmark.others import OTHERS, MethodRun, own_check
from stanrovi.benchmark.posteriors import Posterior, posteriors_of
from stanrovi.benchmark.result import BenchResult
from stanrovi.benchmark.rows import BenchRow
from stanrovi.benchmark.sweep import REFERENCES, Sweep, reference_path
from stanrovi.errors import DrawsError, StanroviError, UsageError
from stanrovi.io.files import scratch_folder
from stanrovi.io.folders import check_resume, filled_folder, resumable_folder
from stanrovi.io.json_values import plain
from stanrovi.io.ledger import Ledger, agree
from stanrovi.io.netcdf import read_draws, write_netcdf
from stanrovi.methods import BENCH_METHODS, METHODS, BenchMethod
from stanrovi.runs.fit import fit
from stanrovi.runs.nuts import NutsChoice, nuts
from stanrovi.runs.nuts_run import NutsRun
from stanrovi.runs.record import is_of
from stanrovi.runs.sampling import sample
from stanrovi.runs.worker import processor_seconds
from stanrovi.stan.locate import folders
from stanrovi.stan.model import Model
from stanrovi.stan.program import Program

_REFERENCE_DRAWS, _REFERENCE_ESS = 4000, 1000  # more than of what is measured by it


def bench(
    posteriors: Iterable[Any],
    methods: BenchMethod | Sequence[BenchMethod] = ("mfvi", "rovi"),
    seeds: Sequence[int] = (0,),
    *,
    draws: int = 4000,
    reference: Literal["nuts", "sample"] | None = None,
    output: str | os.PathLike[str] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    jobs: int | None = None,
    dask: Any = None,
    time_limit: float | None = None,
    include_paths: Sequence[str | os.PathLike[str]] = (),
    progress: bool | Callable[[int, int], None] | None = None,
) -> BenchResult:
    """Run every method on every posterior with every seed, and grade it where there is a reference.

    Parameters
    ----------
    posteriors : iterable
        Of what `stanrovi.Model` takes, pairs of that and data, words such as ``"a.stan:b.json"``,
        and `stanrovi.benchmark.posteriors.Posterior`, as
        ``PosteriorDatabase(path).select(["kid*"])`` gives them, with references. A model or word
        alone is one; words that are equal count once.
    methods : str or sequence of str
        Methods of `stanrovi.fit`; ``"nuts"`` (of the embedded engine), ``"sample"``,
        ``"laplace"``, ``"lmc"``, ``"mala"``; of CmdStan ``"advi_meanfield"``, ``"advi_fullrank"``,
        ``"pathfinder"``, by an executable NAME beside NAME.stan, or one that an install compiles.
    seeds : sequence of int
        The first is that of random numbers in transformed data, too, of all runs.
    draws : int
        Draws from each approximation; samplers run as long as they do by default.
    reference : {"nuts", "sample"}, optional
        Where a posterior brings no reference, make one by this first. A reference that is not
        trusted grades nothing.
    output : path-like, optional
        Folder for the ledger ``runs.jsonl``, to which each run is added when it is done, tables,
        plots, and ``references``.
    resume : bool
        Whether to go on from a ledger in ``output``: what it has is not run again.
    overwrite : bool
        Whether to begin anew there.
    jobs, dask, time_limit
        See `stanrovi.run_many`.
    include_paths : sequence of path
        Folders searched for ``#include``.
    progress : bool or callable, optional
        True shows a line that tells it; a callable is called with the number of runs done and of
        all.

    Returns
    -------
    BenchResult
        A row for each run; one that failed has its error.

    Raises
    ------
    UsageError
        For an impossible option, an empty list, or a model that is not there.
    OutputError
        If ``output`` has runs, and neither ``resume`` nor ``overwrite`` is asked for; or runs of
        another command.
    """
    methods = _listed("methods", methods, ' such as "rovi"')
    for method in methods:
        check_choice("method", method, BENCH_METHODS)
    if reference is not None:
        check_choice("reference", reference, ("nuts", "sample"))
    draws = checked_count("draws", draws, 2)
    methods = list(dict.fromkeys(methods))
    numbers = list(dict.fromkeys(map(checked_seed, _listed("seeds", seeds, " such as range(3)"))))
    include_paths = folders(include_paths)
    given = _listed("posteriors", posteriors, ' such as "kidscore"')
    named = {item.name: item for item in posteriors_of(given, include_paths)}
    resume, overwrite = checked_flag("resume", resume), checked_flag("overwrite", overwrite)
    check_resume(output, resume=resume)
    where = {"jobs": jobs, "dask": dask, "time_limit": time_limit, "progress": progress}
    sweep = Sweep(named, tuple(include_paths), where, numbers[0])

    def referred(folder: Path) -> Sweep:
        if reference is None:
            return sweep
        return sweep.with_references(reference, make_reference, folder, anew=overwrite)

    def result(known: Sweep, ledger: Path | None) -> BenchResult:
        return BenchResult(tuple(known.rows(methods, numbers, draws, measure, ledger)))

    if output is None:
        with scratch_folder() as passing:
            return result(referred(passing), None)
    with resumable_folder(
        output, resume=resume, overwrite=overwrite, beside=REFERENCES, names=FILES
    ) as ledger:
        with Ledger(ledger) as held:  # from the begin, so that another run does not begin there
            agree(held, {"command": "bench"})
            known = referred(ledger.parent)
        found = result(known, ledger)
        with filled_folder(ledger.parent, overwrite=True, own=[ledger]) as staging:
            write_benchmark(found.rows, found.to_dict(), staging)
        return found


def _listed(what: str, given: Any, such: str) -> list[Any]:
    """List what is given; a word, a path or a model stands for itself."""
    if isinstance(given, str | os.PathLike | Model):
        return [given]
    if not isinstance(given, Iterable):
        raise UsageError(f"{what} must be a list, not {told(given)}; write [{told(given)}].")
    if not (items := listed(what, given)):
        raise UsageError(f"There are no {what}; give at least one{such}.")
    return items


def make_reference(
    model: Model,
    *,
    method: str,
    seed: int,
    posterior: str,
    posteriors: Mapping[str, Posterior],
    folder: Path,
    anew: bool,
) -> dict[str, str]:
    """Make reference draws where a posterior brings none; give the model's hashes if it is so.

    Unless ``anew``, a file of an earlier run by the same method, of the same program and data, is
    kept.
    """
    try:
        if posteriors[posterior].reference() is not None:
            return {}
    except StanroviError:  # its own, and not to be read: the rows tell
        return {}
    path = reference_path(folder, posterior)
    if not anew and path.exists():
        with suppress(DrawsError):  # damaged
            earlier = read_draws(path)
            if earlier.method == method and is_of(model, earlier.attrs):
                return model.hashes
    if method == "sample":
        draws = sample(model, seed=seed, ess=_REFERENCE_ESS, wide_leg=True).draws
    else:
        draws = _embedded_nuts(model, seed=seed, iter_sampling=_REFERENCE_DRAWS).draws
    folder.mkdir(parents=True, exist_ok=True)
    write_netcdf(draws, path, overwrite=True)
    return model.hashes


def measure(
    model: Model,
    *,
    method: BenchMethod,
    seed: int,
    posterior: str,
    draws: int,
    reference: str,
    posteriors: Mapping[str, Posterior],
) -> dict[str, Any]:
    """Run a method on a model with a seed, and grade it against the reference.

    Parameters
    ----------
    model : Model
    method : str
    seed : int
    posterior : str
        Name of the posterior.
    draws : int
    reference : str
        Its `stanrovi.benchmark.accuracy.digest`: a ledger tells by it what was measured by
        another.
    posteriors : mapping of str to Posterior
        By name.

    Returns
    -------
    dict
        Fields of a `BenchRow`, JSON-safe.
    """
    row = BenchRow(posterior, model.dim, model.engine, method, seed)
    began = processor_seconds()
    found: dict[str, Any]
    try:
        run = run_method(model, method, seed=seed, draws=draws)
        spent = processor_seconds() - began
        found = _told(run) | {"cpu_seconds": spent} | _graded(run, posteriors[posterior], reference)
    except StanroviError as error:
        found = {"error": str(error), "outcome": "error"}
    return dict(plain(asdict(row) | found))


def _told(run: MethodRun) -> dict[str, Any]:
    return {
        "status": run.status,
        "elbo": run.elbo,
        "elbo_se": run.elbo_se,
        "khat": run.khat,
        "n_gradients": None if math.isnan(run.n_gradients) else int(run.n_gradients),
        "seconds": run.seconds,
        "verdict": run.verdict,
    }


def _graded(run: MethodRun, posterior: Posterior, reference: str) -> dict[str, Any]:
    """Measure a run; why it cannot be is told, and grades nothing."""
    try:
        measure_by = ruler(posterior, reference, run.draws)
        if measure_by is None:
            return {}
        accuracy = measure_by.accuracy(run.draws)
    except StanroviError as error:
        return {"reference": f"cannot be used: {error}"}
    return {"reference": measure_by.told} | ({} if accuracy is None else asdict(accuracy))


def run_method(model: Model, method: BenchMethod, *, seed: int, draws: int) -> MethodRun:
    """Run a method with its defaults.

    Parameters
    ----------
    model : Model
    method : str
        One of `stanrovi.methods.BENCH_METHODS`.
    seed : int
    draws : int
        Draws from an approximation; samplers run as long as they do by default.

    Returns
    -------
    MethodRun

    Raises
    ------
    StanroviError
        If it fails, or there is no CmdStan where it needs one.
    """
    if method in METHODS:
        return _fit(model, method, seed, draws)
    return _RUNNERS[method](model, seed, draws)


def _embedded_nuts(model: Model, *, seed: int, iter_sampling: int = 1000) -> NutsRun:
    """Run NUTS on what evaluates the density for the fits: CmdStan would be another program.

    The engine's own sampler would draw transformed data again, by its own seed.
    """
    program = isinstance(model.source, Program) and not model.has_random_data
    engine: NutsChoice = "stanli" if program else "numpy"
    return nuts(model, engine=engine, seed=seed, iter_sampling=iter_sampling)


def _fit(model: Model, method: str, seed: int, draws: int) -> MethodRun:
    made = fit(model, method=method, seed=seed, draws=draws)  # type: ignore[arg-type]
    r = made.result
    return MethodRun(
        made.draws, r.n_gradients, r.seconds, r.elbo, r.elbo_se, r.khat, r.status, r.verdict.name
    )


def _nuts(model: Model, seed: int, _draws: int) -> MethodRun:
    run = _embedded_nuts(model, seed=seed)
    return MethodRun(run.draws, run.n_gradients, run.seconds, verdict=own_check(run.draws))


def _sample(model: Model, seed: int, _draws: int) -> MethodRun:
    run = sample(model, seed=seed)
    said = "ok" if run.trusted else "suspect"
    return MethodRun(run.draws, run.n_gradients, run.seconds, verdict=said)


_RUNNERS: Mapping[str, Callable[[Model, int, int], MethodRun]] = {
    "nuts": _nuts,
    "sample": _sample,
    **OTHERS,
}
