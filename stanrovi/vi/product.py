"""The fit of a product measure on linear axes, step after step (`stanrovi.vi.steps`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from stanrovi.families.product import Product
from stanrovi.target import Array
from stanrovi.vi.fit_run import FitRun
from stanrovi.vi.loop import Plateau, Progress, Proposal, ascend
from stanrovi.vi.outcome import Outcome
from stanrovi.vi.pool import Batch, Pool
from stanrovi.vi.result import Status
from stanrovi.vi.steps import ProductSettings, improved

_GAIN = 0.002  # nats; steps that promise less end the fit
_MAX_BATCH = 256
_MIN_DAMPING = 0.1
# A fit ends when two steps in a row promise little more than noise would, and noise is
# small: below _NOISE nats per dimension, and growing as its root beyond ten.
_NOISE_FACTOR = 1.5
_NOISE = 0.00125
_PATIENCE = 12  # looks
_PER_DIM = 120  # gradients for each dimension that a fit may take while it gains
_LEAST_SHARE = 0.1  # of half the average weight in a mixture


@dataclass(frozen=True)
class ProductFit:
    """A fitted product measure.

    Attributes
    ----------
    family : Product
    first, last : Batch
        Evaluations at draws of the starting family and of ``family`` that no
        step leading to them has used.
    converged : bool
    message : str
        One sentence on how it ended.
    resumable : bool
        Whether a larger budget would let it go on.
    """

    family: Product
    first: Batch
    last: Batch
    converged: bool
    message: str
    resumable: bool = False

    def outcome(self) -> Outcome:
        """Hand back the fit as it ended."""
        status: Status = "converged" if self.converged else "max_iterations"
        return Outcome(self.family, status, self.message, self.last, resumable=self.resumable)


def fit_product(
    run: FitRun, start: Product, settings: ProductSettings, pool: Pool | None = None
) -> ProductFit:
    """Fit a product measure from a starting one.

    Parameters
    ----------
    run : FitRun
    start : Product
    settings : ProductSettings
    pool : Pool, optional
        Earlier evaluations near ``start`` to reuse.

    Returns
    -------
    ProductFit
    """
    dim = run.target.dim
    budget = settings.max_gradients or max(2500, _PER_DIM * dim, run.target.n_left)
    rule = _CoordinateAscent(dim, settings, budget)
    course = ascend(run, start.standardised(), rule, pool or Pool())
    family, batch = course.best.settled()
    if course.last is not None:
        converged, message = course.last.converged, course.last.ended
    else:
        converged = False
        message = f"After {run.target.n_gradients} gradients in all steps still promised gains; a "
        message += "larger budget lets the fit go on."
    return ProductFit(family, course.best.first, batch, converged, message, course.last is None)


@dataclass
class _CoordinateAscent:
    """Simultaneous steps of marginals, centre and axes; see `stanrovi.vi.loop.Rule`."""

    dim: int
    settings: ProductSettings
    budget: int
    idle: int = 0  # steps in a row that promised no gain
    plateau: Plateau = field(default_factory=lambda: Plateau(_PATIENCE))

    stage: ClassVar[str] = "product"
    recovery: ClassVar[float] = 1.0

    @property
    def first_draws(self) -> int:
        return _MAX_BATCH if self.settings.alone else max(128, 4 * self.dim)

    def affords(self, step: int, spent: int) -> bool:
        return spent <= self.budget

    def base(self, run: FitRun, n: int) -> Array:
        return run.base(n)

    def better_start(self, family: Product, batch: Batch, step: int) -> Product | None:
        return None

    def overshot(self, new: Batch, best: Batch) -> bool:
        if self.settings.forward == 0.0:
            return new.worse_than(best)
        mine, other = new.divergence(), best.divergence()
        se = np.hypot(min(mine[1], 3 * other[1]), other[1])
        return not mine[0] < other[0] + 2 * se

    def propose(self, best: Progress, pool: Pool, n_draws: int, step: int) -> Proposal:
        n = n_draws
        family, gain, noise = _attempt(best, pool, self.settings, step)
        share = max(self.settings.share, _LEAST_SHARE)
        quiet = noise * share < _NOISE * min(self.dim, np.sqrt(10 * self.dim))
        done = quiet and step > 0 and gain < max(_NOISE_FACTOR * noise, _GAIN / share)
        self.idle = self.idle + 1 if done else 0
        if self.idle == 2:
            return Proposal(family, n, "The last step promised no gain.", converged=True)
        if self.plateau.reached(best):
            ended = "Steps promised gains that they did not bring; more gradients would not "
            return Proposal(family, n, ended + "change that.")
        if best.boldness < _MIN_DAMPING:
            ended = "Steps promised gains that they did not bring, down to short ones; more "
            ended += "gradients would not change that."
            return Proposal(family, n, ended)
        if gain < 6.0 * noise or best.boldness < 1.0:
            n = min(2 * n, max(_MAX_BATCH, n))
        return Proposal(family, n)


def _attempt(
    best: Progress, pool: Pool, settings: ProductSettings, step: int
) -> tuple[Product, float, float]:
    """Take a step, ever shorter until what comes out is a distribution."""
    while best.boldness >= _MIN_DAMPING:
        try:
            # What overflows here is found in the proposal below.
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                proposal, gain, noise = improved(best.family, pool, settings, best.boldness, step)
        except np.linalg.LinAlgError:
            proposal, gain, noise = best.family, np.inf, 0.0
        else:
            if _is_finite(proposal):
                return proposal, gain, noise
        best.boldness /= 4
    return best.family, np.inf, 0.0


def _is_finite(family: Product) -> bool:
    parts = (family.center, family.marginals.z, family.marginals.y)
    return family.axes.is_finite() and all(np.isfinite(p).all() for p in parts)
