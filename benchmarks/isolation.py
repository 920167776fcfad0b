"""What it costs to run a program in a process of its own: per batch, per gradient, per model.

The density is the cheapest there is, a standard normal, so that what is seen is the way there and
back. The same batch is evaluated here and there by turns, so that both meet the same machine.

    python benchmarks/isolation.py
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
from tables import markdown

import stanrovi as sr

PAGE = Path(__file__).parents[1] / "docs" / "results" / "isolation.md"
TEMPLATE = Path(__file__).with_suffix(".template.md")
PROGRAM = "data { int d; } parameters { vector[d] x; } model { x ~ std_normal(); }"
DIMENSIONS, POINTS = (10, 100, 1000), (1, 16, 256)
CALLS = 2000
STARTS = 7
FITS = ("eight_schools", "kidscore", "garch")


def by_turns(calls: list[Callable[[], object]]) -> list[float]:
    """Seconds of each of several calls, made by turns; what a tenth of them do not reach."""
    taken: list[list[float]] = [[] for _ in calls]
    for _ in range(CALLS):
        for call, times in zip(calls, taken, strict=True):
            began = time.perf_counter()
            call()
            times.append(time.perf_counter() - began)
    return [float(np.quantile(times, 0.1)) for times in taken]


def gradients(program: Path) -> list[tuple[str, int, float, float]]:
    """Dimension, points, microseconds per gradient here and there."""
    rows = []
    for dim in DIMENSIONS:
        models = [sr.Model(program, {"d": dim}, isolate=isolate) for isolate in (False, True)]
        for n in POINTS:
            x = np.random.default_rng(0).normal(size=(n, dim))
            here, there = by_turns([lambda m=m, x=x: m.log_density_gradient(x) for m in models])
            rows.append((str(dim), n, 1e6 * here / n, 1e6 * there / n))
    return rows


def fit_seconds(name: str, *, isolate: bool) -> float:
    """Of a fit, the least of three."""
    model, taken = sr.Model(name, isolate=isolate), []
    for _ in range(3):
        began = time.perf_counter()
        sr.fit(model, seed=1)
        taken.append(time.perf_counter() - began)
    return min(taken)


def starting() -> tuple[float, float]:
    """Seconds that a process takes to start, and the megabytes that it has then."""
    taken: dict[bool, list[float]] = {False: [], True: []}
    for isolate in [False, True] * STARTS:
        began = time.perf_counter()
        model = sr.Model("eight_schools", isolate=isolate)
        taken[isolate].append(time.perf_counter() - began)
    status = Path(f"/proc/{model._program._child._process.pid}/status").read_text(encoding="ascii")
    resident = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return median(taken[True]) - median(taken[False]), int(resident.split()[1]) / 1e3


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "normal.stan")
        program.write_text(PROGRAM, encoding="utf-8")
        costs = gradients(program)
    fits = [(name, *(fit_seconds(name, isolate=i) for i in (False, True))) for name in FITS]
    start, memory = starting()
    page = TEMPLATE.read_text(encoding="utf-8").format(
        gradients=markdown(
            ("dimension", "points in a batch", "in this process", "in its own", "more"),
            [(d, n, f"{a:.2f}", f"{b:.2f}", f"{b - a:.2f}") for d, n, a, b in costs],
        ),
        batch=costs[0][3] - costs[0][2],
        fits=markdown(
            ("model", "in this process", "in its own"),
            [(name, f"{a:.2f}", f"{b:.2f}") for name, a, b in fits],
        ),
        start=start,
        memory=memory,
    )
    PAGE.write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
