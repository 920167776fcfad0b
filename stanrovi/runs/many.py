"""Many runs, on one processor or a thousand: none is lost to another's fault, or to an end."""

from __future__ import annotations

import inspect
import logging
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, closing
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from stanrovi.arguments import checked_count, checked_seconds, checked_seed, listed, told
from stanrovi.errors import DataError, ModelError, StanroviError, UsageError
from stanrovi.io.ledger import Ledger
from stanrovi.runs.dask_workers import DaskWorkers
from stanrovi.runs.progress import of_steps
from stanrovi.runs.tasks import Outcome, Report, Source, Task, key, seeded
from stanrovi.runs.worker import Function
from stanrovi.runs.workers import Processes, Serial, Workers
from stanrovi.stan.batch import processors

if TYPE_CHECKING:
    from distributed import Client

    Cluster = str | Client

logger = logging.getLogger(__name__)

T = TypeVar("T")
StepListener = Callable[[int, int], None]

_MOST_JOBS = 1000
_POLL_SECONDS = 0.2  # at which Ctrl-C is heard, and new workers are seen


def run_many(
    tasks: Iterable[Task],
    function: Function[T],
    *,
    jobs: int | None = None,
    dask: Cluster | None = None,
    ledger: str | os.PathLike[str] | None = None,
    time_limit: float | None = None,
    seed: int | None = None,
    progress: bool | StepListener | None = None,
) -> Generator[Outcome[T], None, None]:
    """Call a function on many models.

    In worker processes each model is built once per worker, and linear algebra and Stan have one
    thread each (unless ``STAN_NUM_THREADS``, ``OMP_NUM_THREADS`` or the like say more). The same
    tasks give the same values wherever they run.

    Parameters
    ----------
    tasks : iterable of Task
    function : callable
        Called as `Task` says; `stanrovi.fit`, `stanrovi.sample`, `stanrovi.nuts`, or one of your
        own, which must pickle where it is called elsewhere, as its value must.
    jobs : int, optional
        Worker processes; as many as there are processors by default. 0: none, the tasks are done
        here. With ``dask="local"``, the workers of the cluster.
    dask : str or distributed.Client, optional
        Address of a Dask scheduler (``tcp://host:8786``), ``"local"`` for a cluster on this
        machine, or a client; needs ``stanrovi[dask]``.
    ledger : path-like, optional
        A file of JSON lines that each outcome is appended to at once, and from which those of an
        earlier call are taken: what is done of tasks equal in program, data, engine, method,
        seed, settings, function and version of stanrovi does not run again; what failed does.
        Values must be JSON then, and the function one of a module (a partial function with
        JSON values), or have an attribute ``ledger_name`` that tells it from others.
    time_limit : float, optional
        Seconds for each task, from the start of its work; needs workers. Its worker is ended.
    seed : int, optional
        Of the tasks that have none: each gets its own, by its place. Drawn from the system when
        not given.
    progress : bool or callable, optional
        True shows a line that tells it; a callable is called with the number of tasks done and
        of all.

    Yields
    ------
    Outcome
        One for each task, as they end. A task that fails, or whose worker ends, has an outcome
        that says so.

    Raises
    ------
    UsageError
        At the call for a model that is not there; with the first outcome if there is no
        stanrovi[dask], the scheduler does not answer, the workers do not start, or function,
        settings or values do not go with them or with the ledger.
    OutputError
        If the ledger cannot be used.
    """
    given = listed("tasks", tasks)
    _check(given, function, seed, ledger)
    if dask is not None and not (isinstance(dask, str) or hasattr(dask, "get_executor")):
        raise UsageError(f"dask must be an address or a distributed.Client, not {told(dask)}.")
    ready = seeded(given, checked_seed(seed))
    limit = checked_seconds(time_limit, "time_limit")
    jobs = None if jobs is None else checked_count("jobs", jobs, 0, _MOST_JOBS)
    if limit is not None and jobs == 0:
        raise UsageError("time_limit needs workers, which can be ended: jobs of at least 1.")
    sources = _sources(ready)

    def outcomes() -> Generator[Outcome[T], None, None]:
        with ExitStack() as stack:
            heard = stack.enter_context(of_steps(progress, "tasks"))
            book = None if ledger is None else stack.enter_context(Ledger(ledger))
            workers = stack.enter_context(closing(_workers(jobs, dask, limit)))
            run = stack.enter_context(closing(_Run(ready, sources, function, workers, book)))
            for done, outcome in enumerate(run.outcomes(), 1):
                if heard is not None:
                    heard(done, len(ready))
                yield outcome

    return outcomes()


def _check(tasks: list[Any], function: Any, seed: int | None, ledger: Any) -> None:
    """Refuse what is no task, what cannot be called, and a ledger of seeds that none will know."""
    for task in tasks:
        if not isinstance(task, Task):
            raise UsageError(f"tasks are of stanrovi.Task, not {type(task).__name__}: Task(model).")
    if not callable(function):
        raise UsageError(f"{told(function)} is no function; stanrovi.fit, for instance, is one.")
    if ledger is not None and seed is None and any(task.seed is None for task in tasks):
        raise UsageError(
            "A ledger finds tasks again by their seeds; give each one, or give a seed for all."
        )


def _workers(jobs: int | None, dask: Cluster | None, time_limit: float | None) -> Workers:
    if dask is not None:
        return DaskWorkers(dask, jobs, time_limit)
    return Serial() if jobs == 0 else Processes(jobs or processors(), time_limit)


def _sources(tasks: list[Task]) -> list[Source | StanroviError]:
    """Read each program with its data once; one that cannot be read is told in its outcomes."""
    read: dict[tuple[Any, ...], Source | StanroviError] = {}
    found = []
    for task in tasks:
        place = _identity(task.model), _identity(task.data), *map(str, task.include_paths)
        if place not in read:
            try:
                read[place] = Source.of(task)
            except (ModelError, DataError) as error:
                read[place] = error
        found.append(read[place])
    return found


def _identity(what: Any) -> Any:
    return what if isinstance(what, str | os.PathLike) else id(what)


class _Run:
    """Tasks on their way through workers and ledger."""

    def __init__(
        self,
        tasks: list[Task],
        sources: list[Source | StanroviError],
        function: Function[Any],
        workers: Workers,
        ledger: Ledger | None,
    ) -> None:
        self._tasks, self._sources = tasks, sources
        self._workers, self._ledger = workers, ledger
        self._function = workers.share(function)
        self._name = None if ledger is None else ledger_name(function)
        self._shared: dict[Source, Any] = {}
        self._ended: SimpleQueue[Outcome[Any] | BaseException] = SimpleQueue()
        self._closed = False

    def outcomes(self) -> Iterator[Outcome[Any]]:
        """Give outcomes: at once those that are known, the others as they come."""
        waiting: deque[int] = deque()
        for index in range(len(self._tasks)):
            known = self._known(index)
            if known is None:
                waiting.append(index)
            else:
                yield known
        said: set[tuple[str, str]] = set()
        at_work = 0
        while waiting or at_work:
            while at_work < self._workers.size and waiting:  # it tells when there are none
                self._begin(waiting.popleft())
                at_work += 1
            try:
                ended = self._ended.get(timeout=_POLL_SECONDS)
            except Empty:
                continue
            if isinstance(ended, BaseException):
                raise ended
            at_work -= 1
            for warning in ended.warnings:
                if (ended.task.name, warning) not in said:
                    said.add((ended.task.name, warning))
                    logger.warning("%s: %s", ended.task.name, warning)
            yield ended

    def close(self) -> None:
        """Take no more reports: those of workers that are ended are none."""
        self._closed = True

    def _known(self, index: int) -> Outcome[Any] | None:
        """Give what is known without running the task."""
        source, task = self._sources[index], self._tasks[index]
        if isinstance(source, StanroviError):
            return Outcome.of(Report.failed(source), index, task)
        if self._ledger is None:
            return None
        record = self._ledger.records.get(key(source, task, self._name))
        if record is None:
            return None
        report = Report.from_record(record)
        if report is None or report.status != "done":  # what failed may do better now
            return None
        return Outcome.of(report, index, task, earlier=True)

    def _begin(self, index: int) -> None:
        source, task = self._sources[index], self._tasks[index]
        assert isinstance(source, Source)
        if source not in self._shared:
            self._shared[source] = self._workers.share(source)
        future = self._workers.submit(self._function, self._shared[source], task.bare())
        future.add_done_callback(partial(self._end, index))

    def _end(self, index: int, future: Future[Report[Any]]) -> None:
        """Write a report down as soon as it is there, in whatever thread that is."""
        if self._closed:
            return
        try:
            report = future.result()
            if self._ledger is not None:
                report = self._written(index, report, self._ledger)
            self._ended.put(Outcome.of(report, index, self._tasks[index]))
        except BaseException as error:  # raised where outcomes are waited for
            self._ended.put(error)

    def _written(self, index: int, report: Report[Any], ledger: Ledger) -> Report[Any]:
        """Append a report to the ledger; gives what the ledger will give."""
        source, task = self._sources[index], self._tasks[index]
        assert isinstance(source, Source)
        record = report.to_record(task)
        ledger.append(key(source, task, self._name), record)
        kept = Report.from_record(record)
        assert kept is not None
        return kept


def name_of(function: Function[Any]) -> str:
    """Name a function with its module; a ledger knows it by that."""
    return f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', '')}"


def ledger_name(function: Function[Any]) -> Any:
    """Tell a function from others by JSON values: its ``ledger_name``, or name and arguments.

    Raises
    ------
    UsageError
        If another one may have the same name.
    """
    own = getattr(function, "ledger_name", None)
    if own is not None:
        return own
    if isinstance(function, partial):
        return [ledger_name(function.func), [*function.args], function.keywords]
    if not inspect.isroutine(function) or inspect.ismethod(function) or "<" in name_of(function):
        raise UsageError(
            f"A ledger knows functions by their names, and {function!r} has none of its own; give "
            "a function of a module, or set its ledger_name to a text."
        )
    return name_of(function)
