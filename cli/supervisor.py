"""A process that waits for the one that works: it ends it when asked, and tells of its death.

The work is done in a child, forked before anything heavy is imported, which takes a millisecond.
What C++ does there cannot end the command silently, and need not heed signals: the parent runs
nothing but this module. Where there is no fork, as on Windows, the work is done without.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

from stanrovi_cli.signals import SAME, codes, heed_signals, outcome

if sys.platform != "win32":
    import fcntl

EXIT_CRASHED = 1
EXIT_NO_OUTPUT = 2

_PATIENCE = 4.0  # seconds in which a child that was signalled must have ended by itself


def supervised(work: Callable[[], None]) -> None:
    """Do work in a child process that heeds signals, and leave with its exit code."""
    _open_streams()
    if not hasattr(os, "fork"):
        heed_signals()
        work()
        return
    held = signal.pthread_sigmask(signal.SIG_BLOCK, codes())
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, it would leave nothing to wait for
    child = 0
    with suppress(OSError, RuntimeError):  # no more files, processes or threads are allowed
        child = _fork()
    if child:
        sys.exit(_Supervisor(child).wait(held))
    heed_signals()
    _until_stopped(work, held)


def _until_stopped(work: Callable[[], None], held: set[signal.Signals] | set[int]) -> None:
    """Do the work; a signal may come before it can heed one, and after."""
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
        work()
    except KeyboardInterrupt:
        said, code = outcome()
        _say(said)
        sys.exit(code)
    except (ImportError, OSError) as error:  # before the command could tell it
        _say(f"Error: stanrovi cannot be loaded ({error}).")
        sys.exit(EXIT_CRASHED)
    finally:
        for number in codes():  # what is left is to leave
            signal.signal(number, signal.SIG_IGN)


def _say(said: str) -> None:
    cursor = "\x1b[?25h" if os.isatty(2) else ""  # progress bars hide it
    with suppress(OSError):
        os.write(2, f"{cursor}{said}\n".encode())


def _fork() -> int:
    """Fork; the number of the child, and in it 0. It ends with its parent.

    Raises
    ------
    OSError
        If there is no child, since no more files or processes are allowed.
    RuntimeError
        In a child that is not allowed the thread which ends it with its parent.
    """
    alive, parent_alive = os.pipe()
    if child := os.fork():
        os.close(alive)
        return child
    os.close(parent_alive)
    threading.Thread(target=_end_with, args=(alive,), name="parent", daemon=True).start()
    return 0


def _open_streams() -> None:
    """Fill what is closed of the standard streams: the next file to be opened would be it.

    Without standard output there is nothing to do, for results go there.
    """
    closed = [number for number in range(3) if not _is_open(number)]
    for number in closed:
        opened = os.open(os.devnull, os.O_RDWR)
        if opened != number:  # it is open, for reading
            os.dup2(opened, number)
            os.close(opened)
    if 1 in closed:
        os.write(2, b"Error: standard output is closed, or cannot be written to, and results go "
                    b"there; open it, or send it to a file.\n")  # fmt: skip
        sys.exit(EXIT_NO_OUTPUT)


def _is_open(number: int) -> bool:
    """Tell whether a standard stream is open for its use, and let it wait for slow readers."""
    try:
        os.fstat(number)
        if sys.platform == "win32" or number == 0:
            return True
        os.set_blocking(number, True)  # else what a reader does not take at once is lost
        return fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
    except OSError:
        return False


def _end_with(parent: int) -> None:
    """Wait for the end of the parent, which a kill -9 may have ended, and follow it."""
    os.read(parent, 1)
    os._exit(outcome(signal.SIGTERM)[1])


class _Supervisor:
    """Waits for a child, and hands on to it the signals that ask for its end."""

    def __init__(self, child: int) -> None:
        self._child = child
        self._asked: int | None = None  # the number of the first signal
        self._since = 0.0

    def wait(self, held: set[signal.Signals] | set[int]) -> int:
        """Wait; the exit code, and a message where the child has none."""
        for number in codes():
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._hand_on)
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
        _, status = os.waitpid(self._child, 0)
        code = os.waitstatus_to_exitcode(status)
        if code >= 0:
            return code
        if self._asked is not None:
            said, code = outcome(self._asked)
        else:
            from stanrovi.stan.processes import told

            said, code = f"Error: the run died of {told(code)}", EXIT_CRASHED
        _say(said)
        return code

    def _hand_on(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._asked is None:
            self._asked, self._since = number, now
            signal.signal(signal.SIGALRM, self._kill)
            signal.setitimer(signal.ITIMER_REAL, _PATIENCE)
        elif now > self._since + SAME:
            self._kill(number, frame)
        with suppress(ProcessLookupError):
            os.kill(self._child, number)

    def _kill(self, _number: int, _frame: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            os.kill(self._child, signal.SIGKILL)
