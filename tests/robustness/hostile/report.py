"""Runs groups of hostile inputs side by side, and makes the table."""

from __future__ import annotations

import argparse
import fnmatch
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from hostile.case import Case
from hostile.checks import KINDS, Fault, faults
from hostile.groups import GROUPS
from hostile.runner import Runner


@dataclass(frozen=True)
class Row:
    """What became of a case."""

    group: str
    case: Case
    seconds: float
    busy: float
    faults: tuple[Fault, ...]


def run_all(
    chosen: Sequence[tuple[str, Case]], *, jobs: int, ordinary: bool, patience: float, show: bool
) -> list[Row]:
    """Run cases, each on one of several runners."""
    local, runners = threading.local(), []

    def one(item: tuple[str, Case]) -> Row | None:
        if not hasattr(local, "runner"):
            local.runner = Runner(ordinary=ordinary, patience=patience)
            runners.append(local.runner)
        group, case = item
        if why := local.runner.cannot(case):
            print(f"{group}, {case.name}: not run: {why}")
            return None
        outcome = local.runner.run(case)
        row = Row(group, case, outcome.seconds, outcome.busy, tuple(faults(case, outcome)))
        for kind, words in row.faults:
            print(f"{group}, {case.name}: {kind}: {' '.join(words.split())}", flush=True)
        if show:
            print(f"{outcome.seconds:5.1f} s, {outcome.code}: {group}, {case.name}\n"
                  f"{outcome.out[-1500:]}{outcome.err[-3000:]}", flush=True)  # fmt: skip
        local.runner.forget(outcome)
        return row

    with ThreadPoolExecutor(jobs) as pool:
        rows = [row for row in pool.map(one, chosen) if row is not None]
    for runner in runners:
        runner.close()
    return rows


def table(rows: Iterable[Row]) -> str:
    """The table of faults by group, in Markdown."""
    rows = list(rows)
    heads = ("group", "inputs", *KINDS)
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for group in [*dict.fromkeys(row.group for row in rows), "all"]:
        own = [row for row in rows if group in (row.group, "all")]
        counts = Counter(kind for row in own for kind in {kind for kind, _ in row.faults})
        cells = [group, str(len(own)), *(str(counts[kind]) for kind in KINDS)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python tests/robustness/hostile", description=__doc__)
    parser.add_argument("names", nargs="*", default=["*"], help="patterns of 'group, case'")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--ordinary", action="store_true", help="all as an ordinary user")
    parser.add_argument(
        "--patience", type=float, default=1.0, help="times the ten seconds, on a busy machine"
    )
    parser.add_argument("--show", action="store_true", help="what each printed")
    parser.add_argument("--times", action="store_true", help="the slowest, last")
    options = parser.parse_args()
    chosen = [
        (group, case)
        for group, cases in GROUPS.items()
        for case in cases
        if any(fnmatch.fnmatchcase(f"{group}, {case.name}", name) for name in options.names)
    ]
    rows = run_all(
        chosen, jobs=options.jobs, ordinary=options.ordinary, patience=options.patience,
        show=options.show,
    )  # fmt: skip
    if options.times:
        for row in sorted(rows, key=lambda row: row.seconds)[-40:]:
            print(f"{row.seconds:6.1f} s, {row.busy:6.1f} s busy: {row.group}, {row.case.name}")
        for group in [*dict.fromkeys(row.group for row in rows), "all"]:
            own = [row for row in rows if group in (row.group, "all")]
            busy, seconds = sum(row.busy for row in own), sum(row.seconds for row in own)
            print(f"{group}: {seconds:.0f} s, {busy:.0f} s busy")
    print(table(rows))
    raise SystemExit(any(row.faults for row in rows))
