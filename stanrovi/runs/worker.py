"""What happens in a worker: a model is built once, a task becomes a report."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from multiprocessing import parent_process, resource_tracker
from pathlib import Path
from typing import Any, TypeVar

from stanrovi.determinism import one_blas_thread
from stanrovi.environment import environment
from stanrovi.errors import StanroviError, UsageError, said
from stanrovi.runs.tasks import Report, Source, Task
from stanrovi.stan.model import Model
from stanrovi.stan.processes import end_group

T = TypeVar("T")
Function = Callable[..., T]

# Kept, since tasks on one model come together: models, and what they are built of.
_MODELS, _OPENED = 4, 8
# What tells libraries, and the programs that they start, how many threads to use.
_THREADS = "STAN_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"
_SAFE = "PYTHONSAFEPATH"
_starting = threading.Lock()  # the environment is the whole process's
_turn = threading.RLock()  # a function may have tasks of its own


def report_of(function: Function[T], source: Source, task: Task) -> Report[T]:
    """Call a task's function on its model; what is raised becomes the report.

    Calls from several threads take turns: each has the process, its model and its processor
    time for itself.

    Parameters
    ----------
    function : callable
        See `Task`.
    source : Source
        Of the model.
    task : Task
        With its seed; its model and its data are not looked at.
    """
    assert task.seed is not None
    with _turn:
        began, began_cpu = time.perf_counter(), processor_seconds()
        try:
            model = built(source, source.seed_for(task.seed))
            with one_blas_thread():
                report = Report("done", function(model, **task.arguments))
        except StanroviError as error:
            report = Report.failed(error)
        except MemoryError:
            report = Report("crash", error="out of memory")
        except (Exception, SystemExit) as error:
            report = Report("crash", error=f"{type(error).__name__}: {said(error)}")
        return report.timed(time.perf_counter() - began, processor_seconds() - began_cpu)


@lru_cache(maxsize=_MODELS)
def built(source: Source, seed: int) -> Model:
    """Build a model, or take the one that was built before."""
    return source.build(seed)


def remote_report(function: Function[T], source: Source, task: Task) -> Report[T]:
    """Do `report_of`, with what is logged meanwhile, which nobody here reads."""
    with _heard() as messages:
        report = report_of(function, source, task)
    return report.warned(tuple(dict.fromkeys(messages)))


def report_of_files(function: Path, source: Path, task: Task) -> Report[Any]:
    """Do `remote_report` with a function and a source that were pickled into files."""
    return remote_report(_opened(function), _opened(source), task)


@contextmanager
def starting() -> Iterator[None]:
    """Keep away from processes that the block starts what would end them, each with a traceback.

    That are signals of a terminal, before `prepare_process` makes them ignore it, and modules of
    the working folder, which would be taken for those of Python that have their name.
    """
    with _starting, environment({_SAFE: "1"}), _held_signals():
        yield


@contextmanager
def _held_signals() -> Iterator[None]:
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    quiet = os.environ.get("PYTHONWARNINGS", ""), "ignore:resource_tracker:UserWarning"
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _of_terminal())
    try:
        # What tells what it has cleared away lives as long as the last of us: it hears no SIGHUP.
        with environment({"PYTHONWARNINGS": ",".join(filter(None, quiet))}):
            resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, _of_terminal())  # its start lets some through
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _of_terminal() -> set[signal.Signals]:
    return {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


def prepare_process(passing: Path) -> None:
    """Make this process, and what it starts, a worker.

    Parameters
    ----------
    passing : Path
        Folder for temporary files, which whoever made this process removes.
    """
    os.environ.pop(_SAFE, None)  # programs find what is beside them
    os.environ["TMPDIR"], tempfile.tempdir = str(passing), None
    if hasattr(os, "setpgrp"):
        os.setpgrp()  # ended together with what it starts, and by nothing that is typed
    ignore_interrupt()
    _keep_files_here()
    limit_threads()
    with suppress(OSError):  # there is none
        os.dup2(2, 1)  # what programs print would mingle with the results
    threading.Thread(target=_end_with_parent, name="stanrovi-parent", daemon=True).start()


def ignore_interrupt() -> None:
    """Leave Ctrl-C to whoever made this process, and hear other signals that it held back."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _of_terminal())


def _keep_files_here() -> None:
    """Hand no open file on to programs that are started: this process's end is told by one."""
    with suppress(OSError):
        for name in os.listdir("/dev/fd"):
            if int(name) > 2:
                with suppress(OSError):
                    os.set_inheritable(int(name), False)


def limit_threads() -> None:
    """Leave the other processors to other workers, unless the user's environment says more."""
    for name in _THREADS:
        os.environ.setdefault(name, "1")


def _end_with_parent() -> None:
    """Wait for the end of whoever made this process: a killed one ends none of its workers."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        end_group(os.getpid())


@lru_cache(maxsize=_OPENED)
def _opened(path: Path) -> Any:
    """Read what was pickled, once.

    Raises
    ------
    UsageError
        If the code of it is not here.
    """
    try:
        return pickle.loads(path.read_bytes())
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"A worker does not find the function that it is to call ({error}); put its module "
            "where workers import from, as PYTHONPATH says there."
        ) from None


@contextmanager
def _heard() -> Iterator[list[str]]:
    """Collect warnings of the library, and keep them from going further."""
    messages: list[str] = []
    ours, listener = logging.getLogger("stanrovi"), _Listener(messages)
    propagates, ours.propagate = ours.propagate, False
    ours.addHandler(listener)
    try:
        yield messages
    finally:
        ours.removeHandler(listener)
        ours.propagate = propagates


class _Listener(logging.Handler):
    def __init__(self, messages: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        self._messages.append(record.getMessage())


def processor_seconds() -> float:
    """Of this process, its threads, and what it has started and waited for."""
    return sum(os.times()[:4])
