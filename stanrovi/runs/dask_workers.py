"""Workers of a Dask cluster, on this machine or on many.

A Dask worker does a task in a process beside it. A task that ends that process ends neither the
Dask worker nor other tasks, and the report of its end is there at once. The Dask worker's own end
takes its processes along.
"""

from __future__ import annotations

import logging
import math
import multiprocessing
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

from stanrovi.errors import StanroviError, UsageError, shortened
from stanrovi.io.files import scratch_folder
from stanrovi.runs.tasks import Report, Task, own_version
from stanrovi.runs.worker import starting
from stanrovi.runs.workers import Processes
from stanrovi.stan.batch import processors

if TYPE_CHECKING:
    import distributed

logger = logging.getLogger(__name__)

T = TypeVar("T")

_CONNECT_SECONDS = 8
_HERE = "127.0.0.1"
_LOOK_SECONDS = 1.0  # between two looks at how many workers there are
_START_SECONDS = 30.0  # in which workers that ended here are started anew
_END_SECONDS = 5.0
# For workers here: Ctrl-C is for this process, which ends them.
_HEARD_HERE = "from stanrovi.runs.worker import ignore_interrupt\nignore_interrupt()"
_GONE = (
    "The Dask cluster has ended, or has dropped its tasks. Start it and call this again: with a "
    "ledger, what is done stays done."
)
_NO_WORKERS = (
    "The workers of the Dask cluster here end as soon as they start; look at Dask's settings, such "
    "as its limits on memory, or do without it (jobs; --jobs)."
)
_IDLE_SECONDS = 60.0  # after which a run's processes are ended: its client may be no more
_turn = threading.Lock()


class DaskWorkers:
    """Tasks on the workers of a Dask cluster, through the client's executor.

    A Dask worker does a task in a process of its own (`_hosted_report`). Dask gives a task whose
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
        self._run = _Run(uuid4().hex, own_version(), time_limit)
        self._killed = distributed.KilledWorker
        with ExitStack() as opened:
            if isinstance(cluster, str):
                self._client = _connected(distributed, cluster, count, opened)
            else:
                self._client = cluster
            _check_workers(self._client, self._run.version)
            self._executor = self._client.get_executor(pure=False)
            self._own = opened.pop_all()
        self._starts_workers = cluster == "local"
        self._looked, self._seen, self._size = -math.inf, time.monotonic(), 1

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
            if before and self._size:  # twice: one may come and end at once
                self._seen = now
            if not self._size and self._starts_workers and now - self._seen > _START_SECONDS:
                raise UsageError(_NO_WORKERS)
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
            packed = _Packed(uuid4().hex, dumps(value))
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

        self._executor.submit(_hosted_report, self._run, function, source, task).add_done_callback(
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
            self._client.run(_end_hosted, self._run.name, on_error="ignore")

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
            _require_loopback()
            opened.enter_context(_own_files())
            with starting():
                address = opened.enter_context(
                    distributed.LocalCluster(
                        n_workers=count or processors(),
                        threads_per_worker=1,
                        dashboard_address=f"{_HERE}:0",  # any port that is free
                        scheduler_kwargs={"dashboard": False},
                        silence_logs=logging.CRITICAL,
                        preload=_HEARD_HERE,
                    )
                )
        # Not the default one: what else uses Dask here, as files of xarray do, stays here.
        return opened.enter_context(
            _client_type()(address, timeout=_CONNECT_SECONDS, set_as_default=False)
        )
    except Exception as error:
        said = shortened(f"{type(error).__name__}: {error}")
        if cluster == "local":
            raise UsageError(
                f"No Dask cluster can be started here ({said}); look at Dask's settings, or do "
                "without it (jobs; --jobs)."
            ) from error
        raise UsageError(
            f"No Dask scheduler answers at {cluster!r} ({said}); give the address that it prints, "
            "such as tcp://host:8786, or local."
        ) from error


@contextmanager
def _own_files() -> Iterator[None]:
    """Have Dask put its files, of which locks would stay, into a folder that goes away."""
    import dask

    with scratch_folder() as folder, dask.config.set({"temporary-directory": str(folder)}):
        yield


def _require_loopback() -> None:
    """See that processes here can talk to each other: a cluster would wait for that for ever."""
    with socket.create_server((_HERE, 0)) as server:
        socket.create_connection(server.getsockname(), _CONNECT_SECONDS).close()


def _client_type() -> type[distributed.Client]:
    """Give a client that is closed at once where it cannot connect.

    Dask would close it when it is collected, which waits for ever where another client is being
    made at that moment.
    """
    import distributed

    class ClosedClient(distributed.Client):
        def __init__(self, *args: Any, **options: Any) -> None:
            try:
                super().__init__(*args, **options)
            except BaseException:
                with suppress(Exception):
                    self.close(timeout=_END_SECONDS)
                raise

    return ClosedClient


def _check_workers(client: distributed.Client, mine: str) -> None:
    """See that the workers have this stanrovi."""
    for worker, theirs in client.run(own_version, on_error="return").items():
        if theirs != mine and not isinstance(theirs, OSError):  # it has just left
            raise UsageError(
                f"The Dask worker {worker} must have stanrovi {mine}, as here, not: {theirs}. "
                "Install that version there."
            )


def _same(value: T) -> T:
    return value


@dataclass(frozen=True)
class _Run:
    """A call of `run_many`, as its hosts know it.

    Attributes
    ----------
    name : str
        Like no other.
    version : str
        Of stanrovi at the client.
    time_limit : float or None
        Seconds of a task.
    """

    name: str
    version: str
    time_limit: float | None


@dataclass(frozen=True, eq=False)
class _Packed:
    """A pickled function or `Source`, which its host need not open.

    Attributes
    ----------
    name : str
        Like no other.
    content : bytes
    """

    name: str
    content: bytes


class _Room:
    """The processes of one run, with files of what was sent to it."""

    def __init__(self, time_limit: float | None) -> None:
        self.at_work, self.used = 0, time.monotonic()
        self._processes = Processes(1, time_limit)
        self._paths: dict[str, Path] = {}

    def submit(self, function: _Packed, source: _Packed, task: Task) -> Future[Report[Any]]:
        """Begin a task in a process that does nothing else."""
        self.at_work += 1
        return self._processes.submit(self._path(function), self._path(source), task)

    def rest(self) -> None:
        """Know that a task has ended."""
        self.at_work -= 1
        self.used = time.monotonic()

    def close(self) -> None:
        """End the processes, whatever they do."""
        self._processes.close()

    def _path(self, packed: _Packed) -> Path:
        if packed.name not in self._paths:
            self._paths[packed.name] = self._processes.keep(packed.content)
        return self._paths[packed.name]


_rooms: dict[str, _Room] = {}
_ended: set[str] = set()


def _hosted_report(run: _Run, function: _Packed, source: _Packed, task: Task) -> Report[Any]:
    """Do a task in a process of this host.

    Raises
    ------
    UsageError
        If this host has another stanrovi than the client, or the process does not begin.
    CancelledError
        If the run has ended.
    """
    mine = own_version()
    if mine != run.version:
        raise UsageError(
            f"A Dask worker has stanrovi {mine}, its client {run.version}; install the same there."
        )
    with _turn:
        if run.name in _ended:
            raise CancelledError
        _be_host()
        if run.name not in _rooms:
            _rooms[run.name] = _Room(run.time_limit)
        room = _rooms[run.name]
        future = room.submit(function, source, task)
    try:
        return future.result()
    finally:
        with _turn:
            room.rest()


def _end_hosted(name: str) -> None:
    """End the processes of a run, which begins no more here."""
    _ended.add(name)
    _close(name)


def _close(name: str) -> None:
    with _turn:
        room = _rooms.pop(name, None)
    if room is not None:
        room.close()


@cache
def _be_host() -> None:
    """Let this process have others."""
    # A Dask worker is called a daemon, which may have none, lest it leave them behind.
    multiprocessing.current_process().daemon = False
    threading.Thread(target=_watch, name="stanrovi-host", daemon=True).start()


def _watch() -> None:
    """End processes that nobody asks for anything, and all when this one comes to its end."""
    main = threading.main_thread()
    while main.is_alive():
        main.join(_IDLE_SECONDS / 4)
        before = time.monotonic() - _IDLE_SECONDS
        for name, room in list(_rooms.items()):
            if not main.is_alive() or (not room.at_work and room.used < before):
                _close(name)
