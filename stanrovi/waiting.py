"""Calls that can be given up: another thread makes them, and who asked waits as long as it likes.

Code in C cannot be ended from outside, and while the main thread is inside it no signal is
heard. So what may take long, or for ever, is handed to a thread; C code releases the interpreter
lock meanwhile. Ctrl-C and a deadline end the waiting. The call itself goes on until it returns or
the process ends, which it does not hold up, unless it has told what ends it (`ended_by`). Handing
over costs about 20 microseconds.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar, copy_context
from functools import cache, partial
from typing import Any, Generic, TypeVar

from stanrovi.target import BudgetExhausted

T = TypeVar("T")

_PERIOD = 0.1  # seconds; where no signal ends the wait for a lock, as on Windows, it is heard then


class Overdue(BudgetExhausted):
    """A call did not return in time, and was given up."""


_limit: ContextVar[float | None] = ContextVar("limit", default=None)
_waited_for: ContextVar[tuple[Pending[Any], ...]] = ContextVar("waited_for", default=())


@contextmanager
def limited(until: float | None) -> Iterator[None]:
    """Give up calls that are handed over inside the block without a limit of their own.

    Parameters
    ----------
    until : float or None
        Value of ``time.perf_counter()``; no limit if None.
    """
    token = _limit.set(until)
    try:
        yield
    finally:
        _limit.reset(token)


def limit() -> float | None:
    """Tell the value of ``time.perf_counter()`` at which calls made here are given up."""
    return _limit.get()


def limit_or(seconds: float) -> float:
    """Give the limit that `limited` has set, or one in so many seconds."""
    until = _limit.get()
    return time.perf_counter() + seconds if until is None else until


@contextmanager
def ended_by(end: Callable[[], None]) -> Iterator[None]:
    """End what the block waits for, should whoever waits for the block itself give it up."""
    calls = _waited_for.get()
    for call in calls:
        call.endings.append(end)
    try:
        if any(call.given_up for call in calls):
            end()
        yield
    finally:
        for call in calls:
            call.endings.remove(end)


class Pending(Generic[T]):
    """A call that another thread makes.

    Attributes
    ----------
    given_up : bool
    endings : list of callable
        What ends it should it be given up; see `ended_by`.
    """

    def __init__(self, call: Callable[[], T]) -> None:
        self.given_up = False
        self.endings: list[Callable[[], None]] = []
        self._call: Callable[[], T] | None = call
        self._context = copy_context()
        self._returned = threading.Lock()
        self._returned.acquire()
        self._value: T
        self._error: BaseException | None = None
        _running.add(self)
        _idle_worker().take(self)

    def make(self) -> None:
        """Make the call; for the worker alone."""
        call, self._call = self._call, None
        assert call is not None
        self._context.run(_limit.set, None)  # whoever waits sees to the limit
        self._context.run(_waited_for.set, (*self._context.get(_waited_for, ()), self))
        try:
            self._value = self._context.run(call)
        except BaseException as error:  # raised where the result is asked for
            self._error = error
        _running.discard(self)

    def tell(self) -> None:
        """Wake whoever waits; for the worker alone."""
        self._returned.release()

    def returned_within(self, seconds: float) -> bool:
        """Wait a while; tell whether the call has returned."""
        if not self._returned.acquire(timeout=max(seconds, 0.0)):
            return False
        self._returned.release()
        return True

    def result(self, until: float | None = None) -> T:
        """Wait for what the call returns or raises.

        Parameters
        ----------
        until : float, optional
            Value of ``time.perf_counter()``.

        Raises
        ------
        Overdue
            If it has not returned by then.
        """
        try:
            while not self.returned_within(_period(until)):
                if until is not None and time.perf_counter() >= until:
                    raise Overdue
        except BaseException:
            self.give_up()
            raise
        if self._error is None:
            return self._value
        try:
            raise self._error
        finally:
            self._error = None  # it refers to this frame

    def give_up(self) -> None:
        """Wait no more, and end what can be ended."""
        self.given_up = True
        for end in list(self.endings):
            end()
        if self in _running:
            _skip_destructors()


def within(call: Callable[..., T], *args: object, until: float | None = None) -> T:
    """Make a call that can be given up.

    Outside the main thread, where no signal arrives, and without a limit it is simply made.

    Parameters
    ----------
    call : callable
    *args
        Its arguments.
    until : float, optional
        Value of ``time.perf_counter()``; that of `limited` if not given.

    Raises
    ------
    Overdue
        If it has not returned by then.
    """
    return at_once(partial(call, *args), until=until)[0]


def at_once(*calls: Callable[[], T], until: float | None = None) -> list[T]:
    """Make calls at the same time, each in a thread of its own; see `within`."""
    until = _limit.get() if until is None else until
    if until is not None or threading.current_thread() is threading.main_thread():
        return [call.result(until) for call in [Pending(call) for call in calls]]
    others = [Pending(call) for call in calls[1:]]
    return [calls[0](), *(call.result() for call in others)]


def any_running() -> bool:
    """Whether a call runs still; at the end of a process it has been given up."""
    return bool(_running)


class _Worker:
    """A thread that makes one call after another; it does not keep the process from ending."""

    def __init__(self) -> None:
        self._ready = threading.Lock()
        self._ready.acquire()
        self._call: Pending[Any] | None = None
        threading.Thread(target=self._work, name="stanrovi", daemon=True).start()

    def take(self, call: Pending[Any]) -> None:
        self._call = call
        self._ready.release()

    def _work(self) -> None:
        while True:
            self._ready.acquire()
            call, self._call = self._call, None
            assert call is not None
            call.make()
            _idle.append(self)  # before anybody can ask for the next
            call.tell()
            del call


_idle: list[_Worker] = []
_running: set[Pending[Any]] = set()


def _idle_worker() -> _Worker:
    try:
        return _idle.pop()
    except IndexError:
        return _Worker()


@cache
def _skip_destructors() -> None:
    """Let the process end without those of C++, which crash under a call that still runs."""
    with suppress(AttributeError, OSError):  # it is the C library of Linux that can
        library = ctypes.CDLL(None)
        library.on_exit(library._exit, None)


def _period(until: float | None) -> float:
    return _PERIOD if until is None else min(_PERIOD, until - time.perf_counter())


def _forget() -> None:
    """In a child process, which has none of its parent's threads."""
    _idle.clear()
    _running.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
