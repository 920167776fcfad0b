"""Workers of a Dask cluster, on this machine or on many."""

from __future__ import annotations

import logging
import math
import threading
import time
from concurrent.futures import CancelledError, Future
from contextlib import ExitStack, suppress
from importlib.metadata import version
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

from stanrovi.errors import StanroviError, UsageError
from stanrovi.runs.hosted import HostedRun, Packed, end_hosted, hosted_report
from stanrovi.runs.tasks import Report, Task
from stanrovi.stan.batch import processors

if TYPE_CHECKING:
    import distributed

logger = logging.getLogger(__name__)

T = TypeVar("T")

_CONNECT_SECONDS = 15
_LOOK_SECONDS = 1.0  # between two looks at how many workers there are
_END_SECONDS = 5.0
# For workers here: Ctrl-C is for this process, which ends them.
_HEARD_HERE = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)"
_GONE = (
    "The Dask cluster has ended, or has dropped its tasks. Start it and call this again: with a "
    "ledger, what is done stays done."
)


class DaskWorkers:
    """Tasks on the workers of a Dask cluster, through the client's executor.

    A Dask worker does a task in a process of its own (`hosted_report`). Dask gives a task whose
    worker ends to another, and after some workers (``distributed.scheduler.allowed-failures``,
    three) to none.

    Parameters
    ----------
    cluster : str or distributed.Client
        Address of a scheduler, ``"local"`` for a cluster on this machine, or a client.
    count : int, optional
        Workers of the local cluster; as many as there are processors by default.
    time_limit : float, optional
        Seconds of a task, after which its process is ended.

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
        self._run = HostedRun(uuid4().hex, version("stanrovi"), time_limit)
        self._killed = distributed.KilledWorker
        with ExitStack() as opened:
            if isinstance(cluster, str):
                self._client = _connected(distributed, cluster, count, opened)
            else:
                self._client = cluster
            _check_workers(self._client, self._run.version)
            self._executor = self._client.get_executor(pure=False)
            self._own = opened.pop_all()
        self._looked, self._size = -math.inf, 1

    @property
    def size(self) -> int:
        """Threads of all workers there are now."""
        now = time.monotonic()
        if now - self._looked > _LOOK_SECONDS:
            before = self._size
            try:
                self._looked, self._size = now, sum(self._client.nthreads().values())
            except Exception as error:
                raise UsageError(_GONE) from error
            if before and not self._size:
                logger.warning("The Dask cluster has no workers; waiting for some.")
        return self._size

    def share(self, value: Any) -> Any:
        """Make the value a task's result: sent once to each worker, and not lost with one.

        Raises
        ------
        UsageError
            If it does not pickle.
        """
        import dask
        from distributed.protocol.pickle import dumps

        try:
            packed = Packed(uuid4().hex, dumps(value))
        except Exception as error:
            raise UsageError(f"Dask workers take what pickles ({error}).") from None
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TB"}):
            return self._client.submit(_same, packed, pure=False)

    def submit(self, function: Any, source: Any, task: Task) -> Future[Report[Any]]:
        """Begin a task."""
        outer: Future[Report[Any]] = Future()

        def ended(inner: Future[Report[Any]]) -> None:
            try:
                outer.set_result(self._report(inner))
            except StanroviError as error:
                outer.set_exception(error)

        self._executor.submit(hosted_report, self._run, function, source, task).add_done_callback(
            ended
        )
        return outer

    def close(self) -> None:
        """Cancel what is left, and end it where it runs; end the cluster if it is our own."""
        self._executor.shutdown(wait=False)
        # In a thread: a scheduler that is no more answers late.
        ending = threading.Thread(target=self._end, daemon=True)
        ending.start()
        ending.join(_END_SECONDS)
        self._own.close()

    def _end(self) -> None:
        with suppress(Exception):
            self._client.run(end_hosted, self._run.name, on_error="ignore")

    def _report(self, inner: Future[Report[Any]]) -> Report[Any]:
        """Give the task's report, or one of the end of its workers.

        Raises
        ------
        UsageError
            If its cluster has ended or cannot do it.
        """
        try:
            return inner.result()
        except self._killed as error:
            ends = error.allowed_failures + 1
            return Report("crash", error=f"the workers that had it ended, {ends} of them")
        except CancelledError:
            raise UsageError(_GONE) from None
        except StanroviError:
            raise
        except Exception as error:
            raise UsageError(f"Dask cannot do a task ({type(error).__name__}: {error}).") from error


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
                    dashboard_address="127.0.0.1:0",  # any port that is free
                    scheduler_kwargs={"dashboard": False},
                    silence_logs=logging.CRITICAL,
                    preload=_HEARD_HERE,
                )
            )
        return opened.enter_context(distributed.Client(address, timeout=_CONNECT_SECONDS))
    except (OSError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"No Dask scheduler answers at {cluster} ({error}); give the address that it prints, "
            "such as tcp://host:8786, or local."
        ) from error


def _check_workers(client: distributed.Client, mine: str) -> None:
    """See that the workers have this stanrovi."""
    for worker, theirs in client.run(_version, on_error="return").items():
        if theirs != mine and not isinstance(theirs, OSError):  # it has just left
            raise UsageError(
                f"The Dask worker {worker} must have stanrovi {mine}, as here, not: {theirs}. "
                "Install that version there."
            )


def _version() -> str:
    return version("stanrovi")


def _same(value: T) -> T:
    return value
