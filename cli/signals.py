"""Ctrl-C and SIGTERM end a run, whatever it is busy with.

Both raise KeyboardInterrupt, which is not enough: Python drops exceptions that are raised
in a ``__del__`` or in the callback of a weak reference, and C code may swallow them or make
another error of them. Plots run thousands of such callbacks. So a signal is remembered as
well. An exception that Python tells to have dropped is raised again at once; for those that
vanish without a word, stages of the work end with `raise_if_stopped`.
"""

from __future__ import annotations

import _thread
import signal
import sys
import time
from types import FrameType

EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143

_received: int | None = None  # the number of the first signal


def heed_signals() -> None:
    """Make SIGTERM end this process as Ctrl-C does, with its own exit code; lose neither."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored
        signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _terminate)
    sys.unraisablehook = _heed_dropped


def raise_if_stopped() -> None:
    """Raise the KeyboardInterrupt that a signal has asked for, should it have got lost."""
    if _received is not None:
        raise KeyboardInterrupt


def outcome() -> tuple[str, int]:
    """Tell how an interrupted process ends: a word, and its exit code."""
    if _received == signal.SIGTERM:
        return "Terminated.", EXIT_TERMINATED
    return "Interrupted.", EXIT_INTERRUPTED


def _interrupt(number: int, _frame: FrameType | None) -> None:
    _remember(number)
    raise KeyboardInterrupt


def _terminate(number: int, frame: FrameType | None) -> None:
    _remember(number)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # cleaning up takes a moment
    if not callable(signal.getsignal(signal.SIGINT)):  # a job in the background ignores Ctrl-C
        signal.signal(signal.SIGINT, _interrupt)
    # Engines put in a handler of their own while they run: an exception would be lost there.
    interrupt = signal.getsignal(signal.SIGINT)
    assert callable(interrupt)
    interrupt(signal.SIGINT, frame)


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
