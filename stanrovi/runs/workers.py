"""Who does the work: this process, or processes of its own that may end without harm."""

from __future__ import annotations

import errno
import multiprocessing
import os
import pickle
import threading
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from stanrovi.errors import StanroviError, UsageError, said
from stanrovi.io.files import require_working_folder, scratch_folder
from stanrovi.runs.tasks import Report, Source, Task
from stanrovi.runs.worker import (
    Function,
    built,
    prepare_process,
    report_of,
    report_of_files,
    starting,
)
from stanrovi.stan.processes import end_group, told

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

T = TypeVar("T")

_JOIN_SECONDS = 5.0
_NO_START = (
    "The worker processes do not start. A script that uses them must begin its work below "
    "`if __name__ == '__main__':`, since each of them imports it anew; its own message is above."
)
# Errors of making a semaphore where there is no place for them.
_NO_SHARED_MEMORY = (errno.EROFS, errno.ENOENT, errno.ENOSYS, errno.EACCES, errno.EPERM)
_NO_SEMAPHORES = (
    "Worker processes need semaphores, and those cannot be made ({}). On Linux /dev/shm must be "
    "there and writable; or do without workers (jobs=0; --jobs 0, or compare without --jobs)."
)


class Workers(Protocol):
    """Take tasks and promise reports; a context manager that ends them."""

    @property
    def size(self) -> int:
        """How many tasks may be at work at once, now."""

    def share(self, value: Any) -> Any:
        """Make a function or a `Source` ready to be sent, once for all tasks; gives a handle."""

    def submit(self, function: Any, source: Any, task: Task) -> Future[Report[Any]]:
        """Begin a task; function and source are handles. The future raises nothing."""

    def close(self) -> None:
        """End everything, at once."""


class Serial:
    """No workers: this process does one task after another, and a fault ends it."""

    size = 1

    def share(self, value: T) -> T:
        """Take the value as its own handle."""
        return value

    def submit(self, function: Function[T], source: Source, task: Task) -> Future[Report[T]]:
        """Do it now."""
        future: Future[Report[T]] = Future()
        future.set_result(report_of(function, source, task))
        return future

    def close(self) -> None:
        """Forget the models."""
        built.cache_clear()


class Processes:
    """Worker processes, each with an executor of its own: a fault is told of one task alone.

    Parameters
    ----------
    count : int
    time_limit : float, optional
        Seconds of a task, after which its worker is ended.
    """

    def __init__(self, count: int, time_limit: float | None = None) -> None:
        require_working_folder("A worker process")
        self.size = count
        self._time_limit = time_limit
        self._held = ExitStack()
        self._folder = self._held.enter_context(scratch_folder())
        self._passing = self._folder / "tmp"  # what ended workers leave goes with the rest
        self._passing.mkdir()
        self._n_shared = 0
        self._lanes: list[_Lane] = []
        self._idle: list[_Lane] = []
        self._some_begun = threading.Event()

    def share(self, value: Any) -> Path:
        """Pickle a value into a file.

        Raises
        ------
        UsageError
            If it does not pickle.
        """
        try:
            return self.keep(pickle.dumps(value))
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise UsageError(
                f"Worker processes take what pickles, as functions of a module do ({error}); "
                "define it at the top of a file, or work in this process (jobs=0)."
            ) from None

    def keep(self, pickled: bytes) -> Path:
        """Write what is pickled already."""
        path = self._folder / f"{self._n_shared}.pickle"
        self._n_shared += 1
        path.write_bytes(pickled)
        return path

    def submit(self, function: Path, source: Path, task: Task) -> Future[Report[Any]]:
        """Begin a task in an idle worker, or in a new one."""
        for lane in [lane for lane in self._lanes if not lane.alive]:
            self._lanes.remove(lane)
            lane.end()
        while True:
            lane = self._idle.pop() if self._idle else self._opened()
            try:
                future = lane.submit(function, source, task)
            except RuntimeError:  # it has ended since its last task
                self._lanes.remove(lane)
                lane.end()
                continue

            def ended(_: Future[Report[Any]], lane: _Lane = lane) -> None:
                if lane.alive:
                    self._idle.append(lane)

            future.add_done_callback(ended)
            return future

    def close(self) -> None:
        """End all workers and what they have started."""
        for lane in list(self._lanes):
            lane.end()
        self._held.close()

    def _opened(self) -> _Lane:
        lane = _Lane(self._time_limit, self._passing, self._some_begun)
        self._lanes.append(lane)
        return lane


class _Lane:
    """One worker process, for one task at a time, until it ends.

    Parameters
    ----------
    time_limit : float, optional
    passing : Path
        Folder for temporary files.
    some_begun : threading.Event
        Set once a worker has begun: where none does, something is wrong with all.
    """

    def __init__(
        self, time_limit: float | None, passing: Path, some_begun: threading.Event
    ) -> None:
        self.alive = True
        self._time_limit = time_limit
        self._some_begun = some_begun
        self._turn = threading.Lock()
        self._late: Future[Report[Any]] | None = None
        context = multiprocessing.get_context("spawn")
        with starting():
            try:
                self._executor = ProcessPoolExecutor(1, context, prepare_process, (passing,))
            except OSError as error:
                if error.errno not in _NO_SHARED_MEMORY:
                    raise
                raise UsageError(_NO_SEMAPHORES.format(error.strerror)) from error
        self._process: BaseProcess | None
        self._ready, self._process = self._launched()
        self._pid = None if self._process is None else self._process.pid
        self._ready.add_done_callback(self._begun)

    def _launched(self) -> tuple[Future[int], BaseProcess | None]:
        """Start the process, with a first task that tells when it has begun."""
        with starting():  # one at a time: it is known by being new
            others = set(multiprocessing.active_children())
            try:
                ready = self._executor.submit(os.getpid)
            except (RuntimeError, AssertionError) as error:  # at the end of Python; in a daemon
                raise UsageError(
                    f"No worker process can be started ({error}); work in this process (jobs=0)."
                ) from None
            started = set(multiprocessing.active_children()) - others
        return ready, next(iter(started), None)

    def submit(self, function: Path, source: Path, task: Task) -> Future[Report[Any]]:
        """Begin a task.

        Raises
        ------
        RuntimeError
            If the worker has ended.
        """
        outer: Future[Report[Any]] = Future()
        inner = self._executor.submit(report_of_files, function, source, task)
        seconds = min(self._time_limit or 0, threading.TIMEOUT_MAX)
        clock = threading.Timer(seconds, self._expire, [inner])
        clock.daemon = True
        if self._time_limit is not None:
            self._ready.add_done_callback(lambda _: clock.start())

        def ended(inner: Future[Report[Any]]) -> None:
            clock.cancel()
            with self._turn:
                late = self._late is inner
            try:
                outer.set_result(self._report(inner, late))
            except StanroviError as error:
                outer.set_exception(error)

        inner.add_done_callback(ended)
        return outer

    def end(self) -> None:
        """End the worker and what it has started, and its executor.

        Its thread is waited for, as far as its process is known, and killed: at the end of Python
        it would be woken by a pipe that it is about to close
        (``_python_exit`` of ``concurrent.futures.process``).
        """
        self._kill()
        self._executor.shutdown(wait=self._process is not None, cancel_futures=True)

    def _kill(self) -> None:
        """End the worker alone: where callbacks run, the executor may hold its own lock."""
        self.alive = False
        pid, self._pid = self._pid, None  # once: others may be given the same number later
        if pid is not None:
            end_group(pid)

    def _begun(self, ready: Future[int]) -> None:
        if not ready.cancelled() and ready.exception() is None:
            self._some_begun.set()

    def _expire(self, inner: Future[Report[Any]]) -> None:
        """End the worker over a task that is not done; the next one has not begun then."""
        with self._turn:
            if not inner.done():
                self._late = inner
                self._kill()

    def _report(self, inner: Future[Report[Any]], late: bool) -> Report[Any]:
        """Give the task's report, or one of the worker's end.

        Raises
        ------
        UsageError
            If no worker begins, or this one does not find what it is to do.
        """
        # Asked for, not raised here: its traceback would hold this frame, and that the future and
        # with it the executor, for the collector to find, which may free locks at a bad moment.
        error = CancelledError() if inner.cancelled() else inner.exception()
        if error is None:
            return inner.result()
        if isinstance(error, StanroviError):
            raise error
        if not isinstance(error, BrokenProcessPool | CancelledError):
            # its value does not pickle, or it has called exit
            return Report("crash", error=f"{type(error).__name__}: {said(error)}")
        self._kill()
        if late:
            return Report("time", error=f"not done after {self._time_limit:g} s")
        if error.__cause__ is not None:  # a trace of what was raised here, between quotes
            raised = str(error.__cause__).strip("'\n ").rpartition("\n")[2]
            return Report("crash", error=f"what came back could not be unpickled: {raised}")
        code = self._exit_code()
        if not self._some_begun.is_set() and (code is None or code >= 0):
            raise UsageError(_NO_START)
        reason = "" if code is None else f" ({told(code)})"
        return Report("crash", error=f"the worker process ended{reason}")

    def _exit_code(self) -> int | None:
        if self._process is not None:
            self._process.join(_JOIN_SECONDS)
        return None if self._process is None else self._process.exitcode
