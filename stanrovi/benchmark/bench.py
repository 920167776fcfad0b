"""Benchmarks that anyone can rerun: posteriors by methods by seeds, on many processors."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Literal

from stanrovi.arguments import check_choice, checked_count, checked_seed
from stanrovi.benchmark.posteriors import Posterior, posteriors_of
from stanrovi.benchmark.result import BenchResult
from stanrovi.benchmark.rows import BenchRow
from stanrovi.benchmark.work import (
    WithReference,
    make_reference,
    measure,
    reference_path,
    reference_task,
)
from stanrovi.errors import OutputError, StanroviError, UsageError
from stanrovi.io.files import output_folder
from stanrovi.methods import BENCH_METHODS, BenchMethod
from stanrovi.runs.many import Outcome, Task, run_many
from stanrovi.runs.progress import of_steps
from stanrovi.stan.data import DataSource
from stanrovi.stan.model import ModelSource

logger = logging.getLogger(__name__)

LEDGER = "runs.jsonl"
_REFERENCES = "references"


def bench(
    posteriors: Iterable[Any],
    methods: Sequence[BenchMethod] = ("mfvi", "rovi"),
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
        ``PosteriorDatabase(path).select(["kid*"])`` gives them, with references.
    methods : sequence of str
        Methods of `stanrovi.fit`; ``"nuts"`` (of the embedded engine), ``"sample"``,
        ``"laplace"``, ``"lmc"``, ``"mala"``; of CmdStan ``"advi_meanfield"``, ``"advi_fullrank"``,
        ``"pathfinder"``, by an executable NAME beside NAME.stan, or one that an install compiles.
    seeds : sequence of int
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
        For an impossible option, or a model that is not there.
    OutputError
        If ``output`` has runs, and neither ``resume`` nor ``overwrite`` is asked for.
    """
    for method in methods:
        check_choice("method", method, BENCH_METHODS)
    if reference is not None:
        check_choice("reference", reference, ("nuts", "sample"))
    draws = checked_count("draws", draws, 2)
    numbers = [checked_seed(seed) for seed in seeds]
    named = {item.name: item for item in posteriors_of(posteriors, include_paths)}
    where = {"jobs": jobs, "dask": dask, "time_limit": time_limit}
    with _place(output, resume=resume, overwrite=overwrite) as folder:
        known: Mapping[str, Posterior] = named
        if reference is not None:
            known = _with_references(named, reference, folder / _REFERENCES, where, progress)
        ledger = folder / LEDGER if output is not None else None
        rows = _rows(known, methods, numbers, draws, ledger, where, progress)
        result = BenchResult(tuple(rows))
        if output is not None:
            result.write(folder, overwrite=True)
    return result


@contextmanager
def _place(
    output: str | os.PathLike[str] | None, *, resume: bool, overwrite: bool
) -> Iterator[Path]:
    """Give the folder of a benchmark, a passing one where none is asked for."""
    if resume and (output is None or overwrite):
        raise UsageError(
            "resume goes on from the runs in output, which is not given."
            if output is None
            else "resume goes on from the runs in output, and overwrite begins anew; choose one."
        )
    if output is None:
        with tempfile.TemporaryDirectory(prefix="stanrovi-bench-") as passing:
            yield Path(passing)
        return
    ledger = Path(output) / LEDGER
    if not resume and not overwrite and ledger.exists():
        raise OutputError(
            f"{output} has runs of a benchmark; go on with them (resume=True; --resume on the "
            "command line), or begin anew (overwrite=True; --overwrite)."
        )
    folder = output_folder(output, overwrite=overwrite or (resume and ledger.exists()))
    if overwrite:
        for file in (ledger, *(folder / _REFERENCES).glob("*.nc")):
            file.unlink(missing_ok=True)
    yield folder


def _with_references(
    posteriors: Mapping[str, Posterior],
    method: Literal["nuts", "sample"],
    folder: Path,
    where: Mapping[str, Any],
    progress: bool | Callable[[int, int], None] | None,
) -> dict[str, Posterior]:
    """Make the references that are lacking."""
    output_folder(folder, overwrite=True)
    folder = folder.resolve()  # workers may stand elsewhere
    tasks = [
        reference_task(*source, name, method)
        for name, posterior in posteriors.items()
        if not isinstance(source := _source(posterior), StanroviError)
    ]
    work = partial(make_reference, posteriors=posteriors, folder=folder)
    known = dict(posteriors)
    with of_steps(progress is True, f"references by {method}") as heard:
        for done, outcome in enumerate(run_many(tasks, work, **where), 1):
            name = outcome.task.settings["posterior"]
            failure = f"{method} failed: {outcome.error}" if outcome.error else ""
            if failure or outcome.value:
                path = reference_path(folder, name)
                known[name] = WithReference(
                    posteriors[name], path, "" if failure else method, failure
                )
            if heard is not None:
                heard(done, len(tasks))
    return known


def _source(posterior: Posterior) -> tuple[ModelSource, DataSource] | StanroviError:
    """Give program and data, or why they are not to be had."""
    try:
        return posterior.program(), posterior.data()
    except StanroviError as error:
        return error


def _rows(
    posteriors: Mapping[str, Posterior],
    methods: Sequence[BenchMethod],
    seeds: Sequence[int],
    draws: int,
    ledger: Path | None,
    where: Mapping[str, Any],
    progress: bool | Callable[[int, int], None] | None,
) -> list[BenchRow]:
    """Run everything, and put the rows in order."""
    sources = {name: _source(posterior) for name, posterior in posteriors.items()}
    rows, tasks = [], {}  # a row for each run, and the tasks of those that can be run, by place
    for place, (name, method, seed) in enumerate(product(posteriors, methods, seeds)):
        source = sources[name]
        rows.append(BenchRow(name, None, None, method, seed))
        if isinstance(source, StanroviError):
            rows[place] = replace(rows[place], error=str(source), outcome="error")
        else:
            kind = getattr(posteriors[name], "made_by", None)
            settings = {"posterior": name, "draws": draws, "reference": kind}
            tasks[place] = Task(*source, method=method, seed=seed, settings=settings)
    work = partial(measure, posteriors=posteriors)
    places, done = list(tasks), len(rows) - len(tasks)
    try:
        with of_steps(progress, "bench") as heard:
            for outcome in run_many(list(tasks.values()), work, ledger=ledger, **where):
                place = places[outcome.index]
                rows[place] = _row(rows[place], outcome)
                done += 1
                if heard is not None:
                    heard(done, len(rows))
    except KeyboardInterrupt:
        if ledger is not None:
            logger.warning(
                "%d of %d runs are done and kept in %s; the same command with --resume (resume="
                "True) goes on.", done, len(rows), ledger,
            )  # fmt: skip
        raise
    return rows


def _row(asked: BenchRow, outcome: Outcome) -> BenchRow:
    if outcome.status == "done":
        return BenchRow(**outcome.value)
    return replace(asked, error=outcome.error, outcome=outcome.status)
