"""Ctrl-C, SIGTERM and SIGHUP end a run, whatever it is busy with.

All raise KeyboardInterrupt, which is not enough: Python drops exceptions that are raised
in a ``__del__`` or in the callback of a weak reference, and C code may swallow them or make
another error of them. Plots run thousands of such callbacks. So a signal is remembered as
well. An exception that Python tells to have dropped is raised again at once; for those that
vanish without a word, stages of the work end with `raise_if_stopped`. Where nothing hears a
signal, `stanrovi_cli.supervisor` ends the process.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import time
from contextlib import suppress
from types import FrameType

SAME = 0.5  # seconds in which a second signal is the same one, sent to process and group

_OUTCOMES = {
    "SIGINT": ("Interrupted.", 130),
    "SIGTERM": ("Terminated.", 143),
    "SIGHUP": ("Hung up.", 129),
}

_received: int | None = None  # the number of the first signal
_since = 0.0
_dropped = False  # whether what it raised is to be raised again


def codes() -> dict[signal.Signals, int]:
    """Exit codes of the signals that end a run, as far as this system has them."""
    return {
        signal.Signals[name]: code for name, (_, code) in _OUTCOMES.items() if hasattr(signal, name)
    }


def heed_signals() -> None:
    """Make signals end this process as Ctrl-C does, with their own exit codes; lose none."""
    for number in codes():
        disposition = signal.getsignal(number)
        if number == signal.SIGINT and disposition is signal.default_int_handler:
            signal.signal(number, _interrupt)
        elif number == signal.SIGTERM or disposition is signal.SIG_DFL:  # else it is ignored
            signal.signal(number, _terminate)
    sys.unraisablehook = _heed_dropped


def raise_if_stopped() -> None:
    """Raise the KeyboardInterrupt that a signal has asked for, should it have got lost."""
    if _received is not None:
        raise KeyboardInterrupt


def outcome(number: int | None = None) -> tuple[str, int]:
    """Tell how a process ends that a signal has stopped: a word, and its exit code."""
    return _OUTCOMES[signal.Signals(number or _received or signal.SIGINT).name]


def end_beside_calls(code: int) -> None:
    """End the process at once if a call that was given up still runs: C++ would crash later."""
    waiting = sys.modules.get("stanrovi.waiting")  # imported where there is something to wait for
    if waiting is not None and waiting.any_running():
        for stream in (sys.stdout, sys.stderr):
            with suppress(AttributeError, OSError, ValueError):
                stream.flush()
        os._exit(code)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    global _dropped
    if _is_new(number) or _dropped:
        _dropped = False
        raise KeyboardInterrupt


def _terminate(number: int, frame: FrameType | None) -> None:
    if not _is_new(number):
        return
    # Engines put in a handler of their own while they run: an exception would be lost there.
    interrupt = signal.getsignal(signal.SIGINT)
    if callable(interrupt) and interrupt is not _interrupt:
        interrupt(signal.SIGINT, frame)
        return
    signal.signal(signal.SIGINT, _interrupt)  # a job in the background ignores it
    raise KeyboardInterrupt


def _is_new(number: int) -> bool:
    """Remember the first signal; tell whether this is another one than a copy of it."""
    global _received, _since
    now = time.monotonic()
    if _received is not None and now < _since + SAME:
        return False
    if _received is None:
        _received, _since = number, now
    return True


def _heed_dropped(ignored: sys.UnraisableHookArgs) -> None:
    if issubclass(ignored.exc_type, KeyboardInterrupt):
        _thread.start_new_thread(_interrupt_soon, ())
    elif sys.flags.dev_mode:  # what a destructor could not do is no news to a user
        sys.__unraisablehook__(ignored)


def _interrupt_soon() -> None:
    global _dropped
    time.sleep(0.001)  # until the callback has returned; if it has not, this happens again
    _dropped = True
    _thread.interrupt_main()
