"""Full-rank Gaussian by natural-gradient steps, each a linear regression.

For draws ``z`` of the current Gaussian, the regression of the whitened score
``A^T grad log p`` on ``[1, z]`` gives ``E[score]`` and ``E[Hessian]`` (Stein's
identity) exactly when the target is Gaussian and with noise proportional to
its non-Gaussian part otherwise; those two are the natural gradient (Opper and
Archambeau 2009, doi:10.1162/neco.2008.08-07-592).
"""

from __future__ import annotations

import numpy as np

from stanrovi.families import Product
from stanrovi.fit.pool import Pool, base_draws, evaluate
from stanrovi.fit.result import TracePoint
from stanrovi.target import Array, Target

_MAX_STEPS = 40
_MIN_STEPS = 3
_SPECTRUM = (0.1, 10.0)
_FULL_STEPS = 3
_TOLERANCE = 0.1


def fit_gaussian(
    target: Target, start: Product, rng: np.random.Generator, trace: list[TracePoint]
) -> tuple[Product, Pool, bool]:
    """Fit a full-rank Gaussian.

    Parameters
    ----------
    target : Target
    start : Product
        A Gaussian to begin at, typically the Laplace approximation at a mode.
    rng : numpy.random.Generator
    trace : list of TracePoint
        Extended by one point a step.

    Returns
    -------
    family : Product
    pool : Pool
        The evaluations made.
    converged : bool
    """
    d = target.dim
    n = max(32, 2 * d + 16)
    center, axes = start.center, start.axes
    pool = Pool()
    converged = False
    for step in range(_MAX_STEPS):
        family = Product.gaussian(center, axes)
        half = base_draws((n + 1) // 2, d, rng)
        batch = evaluate(target, family, np.concatenate([half, -half]))
        trace.append(TracePoint("gaussian", target.n_gradients, batch.elbo, batch.elbo_se))
        if batch.n_rejected > 0.1 * n:
            axes = axes * 0.5
            pool = Pool()
            continue
        pool.add(batch)
        shift, precision = _regress(family, pool)
        center, axes, size = _natural_step(center, axes, shift, precision, _damping(step))
        if step + 1 >= _MIN_STEPS and size < _TOLERANCE:
            converged = True
            break
    return Product.gaussian(center, axes), pool, converged


def _damping(step: int) -> float:
    return 1.0 if step < _FULL_STEPS else max(2.0 / (step + 1.0), 0.3)


def _regress(family: Product, pool: Pool) -> tuple[Array, Array]:
    """Intercept (d,) and precision (d, d) of the whitened score at the current iterate."""
    z = family.coordinates(pool.x)
    weight = np.sqrt(pool.weights(family.log_density_base(z)))[:, None]
    design = np.concatenate([np.ones((len(z), 1)), z], axis=1)
    score = pool.gradient @ family.axes
    coefficients = np.linalg.lstsq(weight * design, weight * score, rcond=None)[0]
    slope = coefficients[1:]
    return coefficients[0], -(slope + slope.T) / 2


def _natural_step(
    center: Array, axes: Array, shift: Array, precision: Array, damping: float
) -> tuple[Array, Array, float]:
    """Damped, clipped natural-gradient step; its size is relative to the current axes."""
    spectrum, vectors = np.linalg.eigh(precision)
    clipped = (1 - damping) + damping * np.clip(spectrum, *_SPECTRUM)
    move = vectors @ (vectors.T @ shift / np.maximum(clipped, 0.3)) * damping
    limit = max(3.0, 2.0 * np.sqrt(len(center)))
    move *= min(1.0, limit / max(float(np.linalg.norm(move)), 1e-300))
    size = max(float(np.linalg.norm(move)), float(np.abs(clipped - 1).max()))
    new_axes = axes @ ((vectors * clipped**-0.5) @ vectors.T)
    return center + axes @ move, new_axes, size
