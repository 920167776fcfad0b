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
from stanrovi.target import Array
from stanrovi.vi.pool import Pool
from stanrovi.vi.regression import winsorised
from stanrovi.vi.run import FitRun

_MAX_STEPS = 40
_SPECTRUM = (0.1, 10.0)
_FULL_STEPS = 3
_TOLERANCE = 0.1
_POLISH = 4


def fit_gaussian(run: FitRun, start: Product) -> tuple[Product, Pool, bool]:
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
    converged : bool
    """
    n = max(32, 2 * run.target.dim + 16)
    center, axes = start.center, start.axes
    pool = Pool()
    for step in range(_MAX_STEPS):
        family = Product.gaussian(center, axes)
        half = run.base((n + 1) // 2)
        batch = run.evaluate("gaussian", family, np.concatenate([half, -half]))
        if batch.n_rejected > 0.1 * n:
            axes = axes * 0.5
            pool = Pool()
            continue
        run.family = family
        pool.add(batch)
        shift, precision = _regress(family, pool)
        center, axes, size = _natural_step(center, axes, shift, precision, _damping(step))
        if size < _TOLERANCE:
            if n > _POLISH * run.target.dim or step + 1 >= _MAX_STEPS // 2:
                return Product.gaussian(center, axes), pool, True
            n *= 2  # a last look with more draws
    return Product.gaussian(center, axes), pool, False


def _damping(step: int) -> float:
    return 1.0 if step < _FULL_STEPS else max(2.0 / (step + 1.0), 0.3)


def _regress(family: Product, pool: Pool) -> tuple[Array, Array]:
    """Intercept (d,) and precision (d, d) of the whitened score at the current iterate."""
    z = family.coordinates(pool.x)
    weight = np.sqrt(pool.weights(family.log_density_base(z)))[:, None]
    design = np.concatenate([np.ones((len(z), 1)), z], axis=1)
    residual = winsorised(pool.gradient @ family.axes + z)
    coefficients = np.linalg.lstsq(weight * design, weight * residual, rcond=None)[0]
    slope = coefficients[1:] - np.eye(z.shape[1])
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
