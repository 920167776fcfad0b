"""The neighbourhood of a maximum: polish it, measure its curvature, weigh it."""

from __future__ import annotations

import numpy as np
from scipy.linalg import cho_solve

from stanrovi.families.axes import DENSE_LIMIT, Axes, DenseAxes, DiagonalAxes
from stanrovi.modes.basins import Mode
from stanrovi.modes.precision import AxesFactor, DenseFactor, Factor
from stanrovi.modes.structure import structure_at
from stanrovi.target import Array, Target

_MAX_HESSIANS = 10
_FINE, _COARSE = 1e-2, 1.0  # finite-difference steps, in local sd
# A coordinate whose curvature is explained by the others to this share is a ridge: what is
# left is the rounding of the finite differences, and its inverse no covariance.
_RIDGE = 1e-12
# Fine Hessians tried before coarse ones: at a kink (a Laplace prior, say) the
# fine Hessian depends on its step, and only one over the width of the mode means something.
_PATIENCE = 4


def local_mode(target: Target, x: Array, sd: Array) -> Mode | None:
    """Polish a maximum and measure its curvature.

    Parameters
    ----------
    target : Target
    x : ndarray, shape (dim,)
        A point near the maximum.
    sd : ndarray, shape (dim,)
        Rough local standard deviations, for finite differences.

    Returns
    -------
    Mode or None
        With weight zero; None if the Hessian is not negative definite.
    """
    if len(x) > DENSE_LIMIT:
        return _structured_mode(target, x, sd)
    for attempt in range(_MAX_HESSIANS):
        coarse = attempt >= _PATIENCE
        precision = -hessian(target, x, sd, _COARSE if coarse else _FINE)
        curvature = np.diag(precision)
        if not (np.isfinite(precision).all() and (curvature > 0).all()):
            return None
        measured = curvature**-0.5
        if (np.abs(np.log(measured / sd)) > np.log(2 if coarse else 30)).any():
            sd = measured  # the step was off: measure again
            continue
        try:
            factor = np.asarray(np.linalg.cholesky(precision), dtype=np.float64)
        except np.linalg.LinAlgError:
            return None
        if (np.diag(factor) ** 2 < _RIDGE * curvature).any():
            return None
        origin, sd = x, measured
        x, log_density, _, gain, promised = _newton_steps(target, x, DenseFactor(factor))
        moved = np.linalg.norm(factor.T @ (x - origin))
        if (promised < 0.01 and moved < 0.5) or (coarse and gain < 0.1):
            covariance = cho_solve((factor, True), np.eye(len(x)))
            axes = DenseAxes.of_covariance((covariance + covariance.T) / 2)
            return Mode(position=x, log_density=log_density, axes=axes)
    return None


def _structured_mode(target: Target, x: Array, sd: Array) -> Mode | None:
    """Polish a maximum in many dimensions, its curvature sparse or of low rank."""
    rng = np.random.default_rng(0)
    gradient = target.log_density_gradient(x[None])[1][0]
    axes: Axes = DiagonalAxes(sd)
    structure = structure_at(target, x, sd, rng)
    for _ in range(_MAX_HESSIANS):
        try:
            axes = structure.measured(target, x[None], gradient[None], axes, 1.0, rng)
        except np.linalg.LinAlgError:
            return None
        origin = x
        x, value, gradient, _, promised = _newton_steps(target, x, AxesFactor(axes))
        if promised < 0.01 and np.linalg.norm(axes.solve(x - origin)) < 0.5:
            return Mode(position=x, log_density=value, axes=axes)
    return None


def hessian(target: Target, x: Array, sd: Array, fraction: float = _FINE) -> Array:
    """Hessian of the log density by central differences of gradients.

    Parameters
    ----------
    target : Target
    x : ndarray, shape (dim,)
    sd : ndarray, shape (dim,)
        Local scales.
    fraction : float
        Steps in units of them, never below rounding.

    Returns
    -------
    ndarray, shape (dim, dim)
        Symmetric; NaN where a point was rejected. Costs ``2 * dim`` gradients.
    """
    step = np.maximum(fraction * sd, 1e-7 * np.maximum(np.abs(x), 1e-300))
    shift = np.diag(step)
    value, gradient = target.log_density_gradient(np.concatenate([x + shift, x - shift]))
    gradient = np.where(np.isfinite(value)[:, None], gradient, np.nan)
    d = len(x)
    full = (gradient[:d] - gradient[d:]) / (2 * step[:, None])
    return np.asarray((full + full.T) / 2)


def _newton_steps(
    target: Target, x: Array, factor: Factor
) -> tuple[Array, float, Array, float, float]:
    """Newton steps with one Hessian, halved where needed.

    Returns the point, its log density and gradient, the gain so far, and the gain that one
    more step promises.
    """
    value, gradient = (a[0] for a in target.log_density_gradient(x[None]))
    first, t = value, 1.0
    step = factor.solve(gradient)
    for _ in range(12):
        if step @ gradient / 2 < 1e-3 or t < 0.1:
            break
        new_value, new_gradient = (a[0] for a in target.log_density_gradient((x + t * step)[None]))
        if new_value > value:
            x, value, gradient, t = x + t * step, new_value, new_gradient, 1.0
            step = factor.solve(gradient)
        else:
            t /= 4
    return x, float(value), gradient, float(value - first), float(step @ gradient / 2)
