"""Ctrl-C and SIGTERM end a run, whatever it is busy with.

Both raise KeyboardInterrupt, which is not enough: Python drops exceptions that are raised
in a ``__del__`` or in the callback of a weak reference, and C code may swallow them or make
another error of them. Plots run thousands of such callbacks. So a signal is remembered as
well. An exception that Python tells to have dropped is raised again at once; for those that
vanish without a word, stages of the work end with `raise_if_stopped`.
"""

from __future__ import annotations

import _thread
import os
import select
import signal
import sys
import threading
import time
from contextlib import suppress
from types import FrameType

EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143

_PATIENCE = 4.0  # seconds in which a process must have ended by itself
_SAME = 0.5  # seconds in which a second signal is the same one, sent to process and group

_received: int | None = None  # the number of the first signal


def heed_signals() -> None:
    """Make SIGTERM end this process as Ctrl-C does, with its own exit code; lose neither."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored
        signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _terminate)
    sys.unraisablehook = _heed_dropped
    if os.name == "posix":
        read, write = os.pipe()
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        os.register_at_fork(after_in_child=_unwatch)
        threading.Thread(target=_watch, args=(read,), name="signals", daemon=True).start()


def raise_if_stopped() -> None:
    """Raise the KeyboardInterrupt that a signal has asked for, should it have got lost."""
    if _received is not None:
        raise KeyboardInterrupt


def outcome(number: int | None = None) -> tuple[str, int]:
    """Tell how a process ends that a signal has stopped: a word, and its exit code."""
    if (number or _received) == signal.SIGTERM:
        return "Terminated.", EXIT_TERMINATED
    return "Interrupted.", EXIT_INTERRUPTED


def end_beside_calls(code: int) -> None:
    """End the process at once if a call that was given up still runs: C++ would crash later."""
    waiting = sys.modules.get("stanrovi.waiting")  # imported where there is something to wait for
    if waiting is not None and waiting.any_running():
        _end(code)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    _remember(number)
    raise KeyboardInterrupt


def _terminate(number: int, frame: FrameType | None) -> None:
    _remember(number)
    signal.signal(signal.SIGTERM, _nothing)  # cleaning up takes a moment
    if not callable(signal.getsignal(signal.SIGINT)):  # a job in the background ignores Ctrl-C
        signal.signal(signal.SIGINT, _interrupt)
    # Engines put in a handler of their own while they run: an exception would be lost there.
    interrupt = signal.getsignal(signal.SIGINT)
    assert callable(interrupt)
    interrupt(signal.SIGINT, frame)


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """Hear a signal, so that the thread that watches does."""


def _unwatch() -> None:
    """In a child process, whose signals are not its parent's."""
    with suppress(ValueError):  # forked by another thread than the main one
        signal.set_wakeup_fd(-1)


def _watch(signals: int) -> None:
    """End the process at a second signal, or where the first does not."""
    number = _next(signals)
    first = time.monotonic()
    while (left := first + _PATIENCE - time.monotonic()) > 0:
        ready, _, _ = select.select([signals], [], [], left)
        if ready and _next(signals) and time.monotonic() > first + _SAME:
            break
    _kill(number)


def _next(signals: int) -> int:
    """Wait for a signal that ends this process; its number."""
    while (number := os.read(signals, 1)[0]) not in (signal.SIGINT, signal.SIGTERM):
        pass
    return number


def _kill(number: int) -> None:
    word, code = outcome(number)
    cursor = "\x1b[?25h" if os.isatty(2) else ""  # progress bars hide it
    with suppress(OSError):
        os.write(2, f"{cursor}{word}\n".encode())
    _end(code)


def _end(code: int) -> None:
    """End the process without the clean-up of the interpreter."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _remember(number: int) -> None:
    global _received
    _received = _received or number


def _heed_dropped(ignored: sys.UnraisableHookArgs) -> None:
    if issubclass(ignored.exc_type, KeyboardInterrupt):
        _thread.start_new_thread(_interrupt_soon, ())
    else:
        sys.__unraisablehook__(ignored)


def _interrupt_soon() -> None:
    time.sleep(0.001)  # until the callback has returned; if it has not, this happens again
    _thread.interrupt_main()
