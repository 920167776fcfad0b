"""Rows of a benchmark: one run in numbers, and the runs of one method together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class BenchRow:
    """One run of many, in numbers; None for what it does not tell.

    Attributes
    ----------
    model : str
        Name of the posterior.
    dim : int or None
    engine : str or None
        What evaluated the log density.
    method : str
    seed : int
    status, verdict : str or None
        How a fit ended, and whether it trusts itself; a sampler's verdict is ``"ok"`` or
        ``"suspect"``, as its own check of its chains says.
    elbo, elbo_se, khat, seconds : float or None
    n_gradients : int or None
    error : str or None
        Why there is no result.
    outcome : {"done", "error", "crash", "time"}
        ``"crash"``: its process ended; ``"time"``: the limit on its time was reached.
    cpu_seconds : float or None
        Processor time of the method, processes that it started included.
    reference : str or None
        What it is measured by, and why not where the reference is not trusted.
    w1_max, w1_floor, mean_error_max, sd_ratio : float or None
        See `stanrovi.benchmark.accuracy.Accuracy`; sds of the reference.
    w1_worst : str or None
        The quantity of ``w1_max``.
    right : bool or None
        Whether no marginal differs from the reference by more than noise and more than matters.
    """

    model: str
    dim: int | None
    engine: str | None
    method: str
    seed: int
    status: str | None = None
    elbo: float | None = None
    elbo_se: float | None = None
    khat: float | None = None
    n_gradients: int | None = None
    seconds: float | None = None
    verdict: str | None = None
    error: str | None = None
    outcome: str = "done"
    cpu_seconds: float | None = None
    reference: str | None = None
    w1_max: float | None = None
    w1_floor: float | None = None
    w1_worst: str | None = None
    mean_error_max: float | None = None
    sd_ratio: float | None = None
    right: bool | None = None


@dataclass(frozen=True)
class MethodSummary:
    """All runs of one method; None for what nothing tells.

    Attributes
    ----------
    method : str
    runs, failed : int
    graded : int
        Runs that a trusted reference measured, of which the next five tell.
    w1_median, w1_worst : float or None
        Of ``w1_max``.
    wrong, wrong_doubted, right_doubted : int or None
        Runs that are not right, those of them whose verdict is not ``ok``, and right runs whose
        verdict is not; the latter None where the method has no verdict.
    n_gradients, seconds, cpu_seconds : float or None
        Medians.
    """

    method: str
    runs: int
    failed: int
    graded: int
    w1_median: float | None
    w1_worst: float | None
    wrong: int | None
    wrong_doubted: int | None
    right_doubted: int | None
    n_gradients: float | None
    seconds: float | None
    cpu_seconds: float | None


def summarise(method: str, rows: Sequence[BenchRow]) -> MethodSummary:
    """Summarise the rows of one method."""
    graded = [row for row in rows if row.right is not None]
    judged = [row for row in graded if row.verdict is not None]
    doubted = [row for row in judged if row.verdict != "ok"]
    return MethodSummary(
        method=method,
        runs=len(rows),
        failed=sum(row.error is not None for row in rows),
        graded=len(graded),
        w1_median=median(row.w1_max for row in graded),
        w1_worst=max((row.w1_max for row in graded if row.w1_max is not None), default=None),
        wrong=sum(not row.right for row in graded) if graded else None,
        wrong_doubted=sum(not row.right for row in doubted) if judged else None,
        right_doubted=sum(bool(row.right) for row in doubted) if judged else None,
        n_gradients=median(row.n_gradients for row in rows),
        seconds=median(row.seconds for row in rows),
        cpu_seconds=median(row.cpu_seconds for row in rows),
    )


def by_method(rows: Iterable[BenchRow]) -> dict[str, list[BenchRow]]:
    """Sort rows by their methods, which stay in order."""
    groups: dict[str, list[BenchRow]] = {}
    for row in rows:
        groups.setdefault(row.method, []).append(row)
    return groups


def median(values: Iterable[float | None]) -> float | None:
    """Median of what is known; None where nothing is."""
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None
