"""Hostile inputs by the hundred: none may hang, crash, trace, or leave half an output."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from hostile.case import Case
from hostile.checks import faults
from hostile.groups import GROUPS
from hostile.runner import Runner

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are read from /proc")

# What the others find out rests on versions of dependencies as well: calls of arrays.
LONG = GROUPS.keys() - {"python"}
# Every fourth of those is a test, for time; `python tests/robustness/hostile` runs all of them.
STEP = 4
# Of the ten seconds: tests share their processors with others.
PATIENCE = 2.0


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    """The processes that start cases, one for each process of tests."""
    made = Runner(patience=PATIENCE)
    yield made
    made.close()


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=f"{group}, {case.name}", marks=[pytest.mark.slow] * (group in LONG))
        for group, cases in GROUPS.items()
        for case in cases[:: STEP if group in LONG else 1]
    ],
)
def test_no_input_hangs_crashes_traces_or_leaves_half_an_output(case: Case, runner: Runner) -> None:
    if why := runner.cannot(case):
        pytest.skip(why)
    outcome = runner.run(case)
    found = faults(case, outcome)
    runner.forget(outcome)
    assert not found, f"{case.command}\n{outcome.out}{outcome.err}"


def test_there_are_enough_of_them_in_every_group() -> None:
    assert sum(map(len, GROUPS.values())) >= 400
    assert min(map(len, GROUPS.values())) >= 25
