"""The cases, by group."""

from __future__ import annotations

from hostile.case import Case
from hostile.groups import (
    data,
    densities,
    environment,
    kept,
    options,
    outputs,
    programs,
    python,
    references,
    signals,
)

GROUPS: dict[str, tuple[Case, ...]] = {
    "programs": programs.CASES,
    "data": data.CASES,
    "densities": densities.CASES,
    "options": options.CASES,
    "outputs": outputs.CASES,
    "references": references.CASES,
    "environment": environment.CASES,
    "signals": signals.CASES,
    "kept": kept.CASES,
    "python": python.CASES,
}

for _group, _cases in GROUPS.items():
    _twice = {case.name for case in _cases if [other.name for other in _cases].count(case.name) > 1}
    assert not _twice, f"names twice in {_group}: {_twice}"
