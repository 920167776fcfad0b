"""Who does the work: this process, or processes of its own that may end without harm."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import shutil
import signal
import tempfile
import threading
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from stanrovi.errors import StanroviError, UsageError
from stanrovi.runs.tasks import Report, Source, Task
from stanrovi.runs.worker import (
    Function,
    built,
    end_group,
    prepare_process,
    report_of,
    report_of_files,
)

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

T = TypeVar("T")

_JOIN_SECONDS = 5.0
_NO_START = (
    "The worker processes do not start. A script that uses them must begin its work below "
    "`if __name__ == '__main__':`, since each of them imports it anew; its own message is above."
)
_LIKELY = {"SIGKILL": ", out of memory?", "SIGSEGV": ", a fault in compiled code"}


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
        self.size = count
        self._time_limit = time_limit
        self._folder = Path(tempfile.mkdtemp(prefix="stanrovi-tasks-"))
        self._n_shared = 0
        self._idle: list[_Lane] = []
        self._busy: list[_Lane] = []

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
        lane = self._idle.pop() if self._idle else _Lane(self._time_limit)
        self._busy.append(lane)

        def ended(_: Future[Report[Any]]) -> None:
            self._busy.remove(lane)
            if lane.alive:
                self._idle.append(lane)

        future = lane.submit(function, source, task)
        future.add_done_callback(ended)
        return future

    def close(self) -> None:
        """End all workers and what they have started."""
        for lane in [*self._idle, *self._busy]:
            lane.end()
        shutil.rmtree(self._folder, ignore_errors=True)


class _Lane:
    """One worker process, for one task at a time, until it ends."""

    def __init__(self, time_limit: float | None) -> None:
        self.alive = True
        self._time_limit = time_limit
        self._process: BaseProcess | None = None
        context = multiprocessing.get_context("spawn")
        self._executor = ProcessPoolExecutor(1, context, prepare_process)
        self._ready = self._executor.submit(os.getpid)
        self._ready.add_done_callback(self._begun)

    def submit(self, function: Path, source: Path, task: Task) -> Future[Report[Any]]:
        """Begin a task."""
        outer: Future[Report[Any]] = Future()
        in_time = threading.Event()
        clock = threading.Timer(self._time_limit or 0, self._expire, [in_time])
        clock.daemon = True

        def ended(inner: Future[Report[Any]]) -> None:
            in_time.set()
            clock.cancel()
            try:
                outer.set_result(self._report(inner))
            except StanroviError as error:
                outer.set_exception(error)

        self._expired = False
        try:
            inner = self._executor.submit(report_of_files, function, source, task)
        except BrokenProcessPool as error:  # ended between two tasks
            inner = Future()
            inner.set_exception(error)
        if self._time_limit is not None:
            self._ready.add_done_callback(lambda _: clock.start())
        inner.add_done_callback(ended)
        return outer

    def end(self) -> None:
        """End the worker and what it has started."""
        self.alive = False
        if self._process is not None and self._process.pid is not None:
            end_group(self._process.pid)
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _begun(self, ready: Future[int]) -> None:
        if ready.cancelled() or ready.exception() is not None:
            return
        found = {process.pid: process for process in multiprocessing.active_children()}
        self._process = found.get(ready.result())
        if not self.alive:
            self.end()

    def _expire(self, in_time: threading.Event) -> None:
        if not in_time.is_set():
            self._expired = True
            self.end()

    def _report(self, inner: Future[Report[Any]]) -> Report[Any]:
        """Give the task's report, or one of the worker's end.

        Raises
        ------
        UsageError
            If the worker did not begin, or does not find what it is to do.
        """
        try:
            return inner.result()
        except (BrokenProcessPool, CancelledError):
            self.alive = False
            if self._expired:
                return Report("time", error=f"not done after {self._time_limit:g} s")
            if self._process is None:
                raise UsageError(_NO_START) from None
            return Report("crash", error=f"the worker process ended{self._reason()}")
        except StanroviError:
            raise
        except Exception as error:  # what the function returned does not pickle, say
            return Report("crash", error=f"{type(error).__name__}: {error}")

    def _reason(self) -> str:
        assert self._process is not None
        self._process.join(_JOIN_SECONDS)
        code = self._process.exitcode
        if code is None:
            return ""
        if code >= 0:
            return f" (exit code {code})"
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        return f" ({name}{_LIKELY.get(name, '')})"
