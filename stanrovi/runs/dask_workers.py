"""Workers of a Dask cluster, on this machine or on many."""

from __future__ import annotations

import logging
import math
import threading
import time
from concurrent.futures import CancelledError, Future
from contextlib import ExitStack
from importlib.metadata import version
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from stanrovi.errors import UsageError
from stanrovi.runs.tasks import Report, Source, Task
from stanrovi.runs.worker import Function, limit_threads, remote_report
from stanrovi.stan.batch import processors

if TYPE_CHECKING:
    import distributed

logger = logging.getLogger(__name__)

T = TypeVar("T")

_CONNECT_SECONDS = 15
_LOOK_SECONDS = 1.0  # between two looks at how many workers there are


class DaskWorkers:
    """Tasks on the workers of a Dask cluster, through the client's executor.

    Dask gives a task whose worker ends to another, and after some workers
    (``distributed.scheduler.allowed-failures``, three) holds the task to be the cause.

    Parameters
    ----------
    cluster : str or distributed.Client
        Address of a scheduler, ``"local"`` for a cluster on this machine, or a client.
    count : int, optional
        Workers of the local cluster; as many as there are processors by default.
    time_limit : float, optional
        Seconds of a task, after which it is given up and its worker restarted.

    Raises
    ------
    UsageError
        If distributed is not installed, the scheduler does not answer, or its workers do not
        have this stanrovi.
    """

    def __init__(
        self, cluster: str | distributed.Client, count: int | None, time_limit: float | None
    ) -> None:
        try:
            import distributed
        except ImportError:
            raise UsageError("Dask is not installed here: pip install 'stanrovi[dask]'.") from None
        if count is not None and cluster != "local":
            raise UsageError("jobs counts the workers of dask='local'; this cluster has its own.")
        self._time_limit = time_limit
        self._killed = distributed.KilledWorker
        self._own = ExitStack()
        with ExitStack() as opened:
            if isinstance(cluster, str):
                self._client = _connected(distributed, cluster, count, opened)
            else:
                self._client = cluster
            _check_workers(self._client)
            self._executor = self._client.get_executor(pure=False)
            self._own = opened.pop_all()
        self._looked, self._size = -math.inf, 0
        self._closed = False

    @property
    def size(self) -> int:
        """Threads of all workers there are now."""
        now = time.monotonic()
        if now - self._looked > _LOOK_SECONDS:
            self._looked, self._size = now, sum(self._client.nthreads().values())
        return self._size

    def share(self, value: Any) -> Any:
        """Make the value a task's result: sent once to each worker, and not lost with one."""
        return self._client.submit(_same, value, pure=False)

    def submit(self, function: Any, source: Any, task: Task) -> Future[Report[Any]]:
        """Begin a task."""
        outer: Future[Report[Any]] = Future()

        def ended(inner: Future[tuple[Report[Any], str]]) -> None:
            outer.set_result(self._report(inner))

        self._executor.submit(
            _report_in_time, function, source, task, self._time_limit
        ).add_done_callback(ended)
        return outer

    def close(self) -> None:
        """Cancel what is left; end the cluster if it is our own."""
        self._closed = True
        self._executor.shutdown(wait=False)
        self._own.close()

    def _report(self, inner: Future[tuple[Report[Any], str]]) -> Report[Any]:
        try:
            report, worker = inner.result()
        except self._killed as error:
            return Report("crash", error=f"its workers ended, {error.allowed_failures + 1} of them")
        except (CancelledError, Exception) as error:
            return Report("crash", error=f"{type(error).__name__}: {error}")
        if report.status == "time":
            # Not here: this is the thread of the client's loop.
            threading.Thread(target=self._restart, args=[worker], daemon=True).start()
        return report

    def _restart(self, worker: str) -> None:
        """End what a worker is still doing."""
        try:
            self._client.restart_workers([worker], raise_for_error=False)
        except Exception as error:
            if self._closed:
                return
            logger.warning(
                "The worker %s goes on with a task beyond its time, and cannot be restarted (%s); "
                "start workers with a nanny.", worker, error,
            )  # fmt: skip


def _connected(
    distributed: ModuleType, cluster: str, count: int | None, opened: ExitStack
) -> distributed.Client:
    """Connect to a scheduler, or start one with workers here."""
    try:
        address: Any = cluster
        if cluster == "local":
            address = opened.enter_context(
                distributed.LocalCluster(
                    n_workers=count or processors(),
                    threads_per_worker=1,
                    dashboard_address=None,
                    silence_logs=logging.CRITICAL,
                )
            )
        return opened.enter_context(distributed.Client(address, timeout=_CONNECT_SECONDS))
    except (OSError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"No Dask scheduler answers at {cluster} ({error}); give the address that it prints, "
            "such as tcp://host:8786, or local."
        ) from error


def _check_workers(client: distributed.Client) -> None:
    """See that the workers have this stanrovi."""
    mine = version("stanrovi")
    found = client.run(_version, on_error="return")
    if not found:
        logger.warning("The Dask cluster has no workers yet; waiting for them.")
    for worker, theirs in found.items():
        if theirs != mine:
            raise UsageError(
                f"The Dask worker {worker} must have stanrovi {mine}, as here, not: {theirs}. "
                "Install that version there."
            )


def _version() -> str:
    return version("stanrovi")


def _same(value: T) -> T:
    return value


def _report_in_time(
    function: Function[T], source: Source, task: Task, limit: float | None
) -> tuple[Report[T], str]:
    """Do a task in a worker, or give it up; with the worker's address."""
    from distributed import get_worker

    limit_threads()
    address = get_worker().address
    if limit is None:
        return remote_report(function, source, task), address
    box: list[Report[T]] = []
    thread = threading.Thread(
        target=lambda: box.append(remote_report(function, source, task)), daemon=True
    )
    thread.start()
    thread.join(limit)
    return (box[0] if box else Report("time", error=f"not done after {limit:g} s")), address
