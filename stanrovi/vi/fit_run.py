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
from stanrovi.vi.pool import Batch, evaluate

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
