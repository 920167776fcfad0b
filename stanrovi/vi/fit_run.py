"""What travels through the stages of one fit."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import numpy as np

from stanrovi.families.base import Family, base_draws
from stanrovi.families.product import Product
from stanrovi.target import Array, Target
from stanrovi.vi.facts import TracePoint
from stanrovi.vi.pool import Batch

_PUSH = 4.0  # in 1/sd

TraceListener = Callable[[TracePoint], None]


@dataclass
class FitRun:
    """Target, randomness, trace and best approximation so far of one fit.

    Attributes
    ----------
    target : Target
    rng : numpy.random.Generator
    progress : callable, optional
        Called with each new `TracePoint`.
    trace : list of TracePoint
    family : Family or None
        The approximation to return should the budget run out now.
    label : str or None
        Stage under which everything is recorded, whatever the stage.
    """

    target: Target
    rng: np.random.Generator
    progress: TraceListener | None = None
    trace: list[TracePoint] = field(default_factory=list)
    family: Family | None = None
    label: str | None = None

    def evaluate(self, stage: str, family: Product, z: Array) -> Batch:
        """Evaluate the target at the image of base draws z, tracing the ELBO."""
        with self.stage(stage):
            batch = evaluate(self.target, family, z)
        self.record(stage, batch)
        return batch

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Attribute evaluations and time inside the block to a stage, or to `label`."""
        return self.target.stage(self.label or name)

    def record(self, stage: str, batch: Batch) -> None:
        """Add a point to the trace and tell the listener."""
        point = TracePoint(self.label or stage, self.target.n_gradients, batch.elbo, batch.elbo_se)
        self.trace.append(point)
        if self.progress is not None:
            self.progress(point)

    def base(self, n: int) -> Array:
        """Fresh quasi-random base draws, shape (n, dim)."""
        return base_draws(n, self.target.dim, self.rng)


def evaluate(target: Target, family: Product, z: Array) -> Batch:
    """Evaluate the target at the image of base draws z, shape (n, dim).

    What the family itself cannot tell of a draw, its axes being too thin for numbers, counts
    as rejected, too.
    """
    x, log_q = family.push_forward(z)
    log_p, gradient = target.log_density_gradient(x)
    told = np.isfinite(log_q)
    rejected = told & ~np.isfinite(log_p)
    if rejected.any():
        gradient[rejected] = _wall(family, z[rejected])
    if not told.all():
        log_p, log_q = np.where(told, log_p, -np.inf), np.where(told, log_q, np.inf)
        gradient = np.where(told[:, None], gradient, 0.0)
    return Batch(x, gradient, log_p, log_q)


def _wall(family: Product, z: Array) -> Array:
    """Gradients that are the iterate's own plus a push of `_PUSH` towards its centre."""
    inward = -_PUSH * z / np.linalg.norm(z, axis=1, keepdims=True)
    _, log_slope, score = family.marginals.push_forward_with_score(z)
    score = score + inward / np.exp(log_slope)
    return family.axes.solve_transposed_once(score)
