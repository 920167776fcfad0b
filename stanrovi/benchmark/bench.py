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
from stanrovi.benchmark.work import WithReference, make_reference, measure, reference_path
from stanrovi.errors import OutputError, StanroviError, UsageError
from stanrovi.io.files import output_folder
from stanrovi.methods import BENCH_METHODS, BenchMethod
from stanrovi.runs.many import run_many
from stanrovi.runs.tasks import Outcome, Task

logger = logging.getLogger(__name__)

LEDGER = "runs.jsonl"
_REFERENCES = "references"
_REFERENCE_SEED = 2**31 - 1  # hardly that of another run, whose draws would be the same

MakeTask = Callable[..., Task | StanroviError]


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
        make = partial(_task, include_paths=tuple(include_paths))
        known: Mapping[str, Posterior] = named
        if reference is not None:
            known = _with_references(
                named, make, reference, folder / _REFERENCES, progress=progress is True, **where
            )
        ledger = folder / LEDGER if output is not None else None
        asked = list(product(methods, numbers))
        rows = _rows(known, make, asked, draws, ledger=ledger, progress=progress, **where)
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


def _task(
    posterior: Posterior,
    method: str,
    seed: int,
    *,
    include_paths: tuple[str | os.PathLike[str], ...],
    **settings: Any,
) -> Task | StanroviError:
    """Make a task, or tell why program or data are not to be had."""
    try:
        program, data = posterior.program(), posterior.data()
    except StanroviError as error:
        return error
    settings = {"posterior": posterior.name, **settings}
    return Task(
        program, data, method=method, seed=seed, include_paths=include_paths, settings=settings
    )


def _with_references(
    posteriors: Mapping[str, Posterior],
    make: MakeTask,
    method: Literal["nuts", "sample"],
    folder: Path,
    **where: Any,
) -> dict[str, Posterior]:
    """Make the references that are lacking."""
    folder = output_folder(folder, overwrite=True).resolve()  # workers may stand elsewhere
    made = [make(posterior, method, _REFERENCE_SEED) for posterior in posteriors.values()]
    tasks = [task for task in made if isinstance(task, Task)]
    known = dict(posteriors)
    work = partial(make_reference, posteriors=posteriors, folder=folder)
    for outcome in run_many(tasks, work, **where):
        name = outcome.task.settings["posterior"]
        if outcome.status != "done":
            why = f"{method} failed: {outcome.error}"
            known[name] = WithReference(posteriors[name], reference_path(folder, name), "", why)
        elif outcome.value:
            known[name] = WithReference(posteriors[name], reference_path(folder, name), method)
    return known


def _rows(
    posteriors: Mapping[str, Posterior],
    make: MakeTask,
    asked: Sequence[tuple[BenchMethod, int]],
    draws: int,
    *,
    ledger: Path | None,
    **where: Any,
) -> list[BenchRow]:
    """Run everything, and put the rows in order."""
    rows: list[BenchRow] = []
    tasks: dict[int, Task] = {}  # of the rows that can be run, by place
    for posterior, (method, seed) in product(posteriors.values(), asked):
        by = posterior.made_by if isinstance(posterior, WithReference) else ""
        task = make(posterior, method, seed, draws=draws, reference=by)
        row = BenchRow(posterior.name, None, None, method, seed)
        if isinstance(task, Task):
            tasks[len(rows)] = task
        else:
            row = replace(row, error=str(task), outcome="error")
        rows.append(row)
    places, left = list(tasks), len(tasks)
    work = partial(measure, posteriors=posteriors)
    try:
        for outcome in run_many(tasks.values(), work, ledger=ledger, **where):
            place = places[outcome.index]
            rows[place] = _row(rows[place], outcome)
            left -= 1
    except KeyboardInterrupt:
        if ledger is not None:
            logger.warning(
                "%d of %d runs are done and kept in %s; the same again with --resume (resume=True) "
                "goes on.", len(rows) - left, len(rows), ledger,
            )  # fmt: skip
        raise
    return rows


def _row(asked: BenchRow, outcome: Outcome[dict[str, Any]]) -> BenchRow:
    if outcome.value is not None:
        return BenchRow(**outcome.value)
    return replace(asked, error=outcome.error, outcome=outcome.status)
