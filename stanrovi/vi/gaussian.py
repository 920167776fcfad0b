"""Full-rank Gaussian by natural-gradient steps, each a linear regression.

For draws ``z`` of the current Gaussian, the regression of the whitened score
``A^T grad log p`` on ``[1, z]`` gives ``E[score]`` and ``E[Hessian]`` (Stein's
identity) exactly when the target is Gaussian and with noise proportional to
its non-Gaussian part otherwise; those two are the natural gradient (Opper and
Archambeau 2009, doi:10.1162/neco.2008.08-07-592).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np

from stanrovi.families.product import Product
from stanrovi.target import Array
from stanrovi.vi.fit_run import FitRun
from stanrovi.vi.least_squares import least_squares, with_constant
from stanrovi.vi.loop import Plateau, Progress, Proposal, ascend
from stanrovi.vi.pool import Batch, Pool
from stanrovi.vi.regression import winsorised

Ending = Literal["settled", "flat", "stopped"]

_MAX_STEPS = 60
_SPECTRUM = (0.1, 10.0)
_FULL_STEPS = 3
_TOLERANCE = 0.1
_POLISH = 6  # draws per dimension of the last look, and at least twice `_MIN_DRAWS`
_MIN_DRAWS = 64
_MIN_DAMPING = 0.6
_TIMID = 0.3  # a step cut so short wants more draws
_PATIENCE = 6  # looks; a product fit goes on from there
_ABSURD = 10.0  # nats per dimension


def fit_gaussian(run: FitRun, start: Product) -> tuple[Product, Pool, Ending]:
    """Fit a full-rank Gaussian.

    Parameters
    ----------
    run : FitRun
    start : Product
        A Gaussian to begin at, typically the Laplace approximation at a mode.

    Returns
    -------
    family : Product
    pool : Pool
        The evaluations made.
    ended : {"settled", "flat", "stopped"}
        Steps became small, the ELBO stayed where it was, or there were too many steps.
    """
    pool = Pool()
    course = ascend(run, start, _NaturalGradient(run.target.dim), pool)
    if course.last is None:
        return course.best.family, pool, "stopped"
    return course.last.family, pool, "settled" if course.last.converged else "flat"


@dataclass
class _NaturalGradient:
    """Natural-gradient steps on a Gaussian in so many dimensions; see `stanrovi.vi.loop.Rule`."""

    dim: int
    wider: Batch | None = None  # what was seen from twice the width
    plateau: Plateau = field(default_factory=lambda: Plateau(_PATIENCE))

    stage: ClassVar[str] = "gaussian"
    recovery: ClassVar[float] = 1.5

    @property
    def first_draws(self) -> int:
        return max(32, 2 * self.dim + 16)

    def affords(self, step: int, spent: int) -> bool:
        return step < _MAX_STEPS

    def base(self, run: FitRun, n: int) -> Array:
        """Draws in opposite pairs."""
        half = run.base((n + 1) // 2)
        return np.concatenate([half, -half])

    def better_start(self, family: Product, batch: Batch, step: int) -> Product | None:
        if step >= _MAX_STEPS // 2 or not _worth_narrowing(batch, self.wider):
            return None
        self.wider = batch
        return Product.gaussian(family.center, family.axes.scaled(0.5))

    def overshot(self, new: Batch, best: Batch) -> bool:
        return _much_worse(new, best)

    def propose(self, best: Progress, pool: Pool, n_draws: int, step: int) -> Proposal:
        n = n_draws
        if self.plateau.reached(best):
            return Proposal(best.family, n, ended="flat")
        if best.rejected and best.boldness < _TIMID:
            n = min(2 * n, max(n, _POLISH * self.dim))
        family, size = _natural_step(best.family, pool, best.boldness * _damping(step))
        if size >= _TOLERANCE:
            return Proposal(family, n)
        if n > max(_MIN_DRAWS, _POLISH * self.dim) or step + 1 >= _MAX_STEPS // 2:
            return Proposal(family, n, ended="settled", converged=True)
        return Proposal(family, 2 * n)  # a last look with more draws


def _worth_narrowing(batch: Batch, wider: Batch | None) -> bool:
    """Whether half the width is a better start: many rejections, and fewer than before.

    Where a wall runs through the centre as many are rejected at any width. Also
    where a few draws so far out that nothing can be learnt there decide the ELBO.
    """
    rejected = batch.n_rejected / len(batch.x)
    if rejected > 0.1:
        before = np.inf if wider is None else wider.n_rejected / len(wider.x)
        return rejected < 0.8 * before or rejected > 0.9
    r = batch.log_ratio
    return float(np.median(r) - r.mean()) > _ABSURD * batch.x.shape[1]


def _much_worse(new: Batch, best: Batch) -> bool:
    """Overshot: worse by a nat and by what a few draws in a far tail can explain."""
    se = np.hypot(min(new.elbo_se, best.elbo_se), best.elbo_se)
    return not new.elbo > best.elbo - max(1.0, 4.0 * se)


def _damping(step: int) -> float:
    return 1.0 if step < _FULL_STEPS else _MIN_DAMPING


def _regress(family: Product, pool: Pool) -> tuple[Array, Array]:
    """Intercept (d,) and precision (d, d) of the whitened score at the current iterate."""
    z, gradient = family.coordinates(pool.x), pool.gradient
    weight = pool.weights(family.log_density_base(z))
    counts = weight > 0
    if not counts.any():  # the draws are further apart than numbers tell
        return np.zeros(family.dim), np.eye(family.dim)
    pool.forget(weight)
    if not counts.all():
        z, gradient, weight = z[counts], gradient[counts], weight[counts]
    residual = winsorised(family.axes.apply_transposed(gradient) + z)
    coefficients = least_squares(with_constant(z), residual, weight)
    slope = coefficients[1:] - np.eye(z.shape[1])
    return coefficients[0], -(slope + slope.T) / 2


def _natural_step(family: Product, pool: Pool, damping: float) -> tuple[Product, float]:
    """Damped, clipped natural-gradient step, and the size of the full one in current axes."""
    shift, precision = _regress(family, pool)
    spectrum, vectors = np.linalg.eigh(precision)
    clipped = (1 - damping) + damping * np.clip(spectrum, *_SPECTRUM)
    move = vectors @ (vectors.T @ shift / np.maximum(clipped, 0.3)) * damping
    limit = max(3.0, 2.0 * np.sqrt(family.dim))
    move *= min(1.0, limit / max(float(np.linalg.norm(move)), 1e-300))
    size = max(float(np.linalg.norm(move)), float(np.abs(clipped - 1).max())) / damping
    axes = family.axes.times((vectors * clipped**-0.5) @ vectors.T)
    return Product.gaussian(family.center + family.axes.apply(move), axes), size
