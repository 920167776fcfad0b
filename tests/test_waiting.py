"""Calls that can be given up."""

from __future__ import annotations

import _thread
import os
import threading
import time
from contextvars import ContextVar
from functools import partial

import numpy as np
import pytest

from stanrovi.target import BudgetExhausted
from stanrovi.waiting import Overdue, any_running, at_once, limited, within

NEVER = 30.0  # seconds: no test waits for it


def hanging() -> tuple[threading.Event, partial[bool]]:
    """Make a call that returns when told to."""
    event = threading.Event()
    return event, partial(event.wait, NEVER)


def test_a_call_returns_or_raises_as_if_made_here():
    assert within(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        within(divmod, 7, 0)
    assert within(threading.get_ident) != threading.get_ident()


def test_a_call_sees_the_context_of_who_waits():
    variable = ContextVar("variable", default="outside")
    variable.set("inside")
    assert within(variable.get) == "inside"
    with np.errstate(all="raise"), pytest.raises(FloatingPointError):
        within(np.divide, 1.0, 0.0)


def test_a_call_is_given_up_when_the_time_is_over():
    event, call = hanging()
    with pytest.raises(Overdue) as told:
        within(call, until=time.perf_counter() + 0.02)
    assert isinstance(told.value, BudgetExhausted)
    assert any_running()
    assert within(lambda: 1) == 1  # by another thread
    event.set()
    while any_running():
        time.sleep(0.001)


def test_the_limit_of_a_block_is_for_calls_without_one():
    event, call = hanging()
    with limited(time.perf_counter() - 1):
        assert within(time.sleep, 0.01, until=time.perf_counter() + NEVER) is None
        with pytest.raises(Overdue):
            within(call)
        # Who hands over sees to the limit, not what is called in turn.
        assert within(within, time.sleep, 0.01, until=time.perf_counter() + NEVER) is None
    event.set()


def test_an_interrupt_ends_the_waiting():
    event, call = hanging()
    threading.Timer(0.05, _thread.interrupt_main).start()
    start = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        within(call)
    assert time.perf_counter() - start < NEVER / 2
    event.set()


def test_outside_the_main_thread_a_call_is_simply_made():
    found: list[bool] = []

    def look() -> None:
        found.append(within(threading.get_ident) == threading.get_ident())

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [True]


def test_calls_at_once_keep_their_order():
    barrier = threading.Barrier(3, timeout=NEVER)  # passed only if all three are on their way

    def call(name: str) -> str:
        barrier.wait()
        return name

    calls = [partial(call, name) for name in "abc"]
    assert at_once(*calls) == ["a", "b", "c"]
    assert within(at_once, *calls) == ["a", "b", "c"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # it has threads
def test_a_forked_process_starts_threads_of_its_own():
    within(lambda: 1)
    child = os.fork()
    if child == 0:
        os._exit(within(lambda: 7))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
