"""The neighbourhood of a maximum: polish it, measure its curvature, weigh it."""

from __future__ import annotations

from dataclasses import dataclass

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
# Values along a step differ from what the gradients at its ends promise by so much of their
# change: no smooth density comes near it with a fine step, a kink has up to a half.
_KINK = 0.02


def local_mode(target: Target, x: Array, sd: Array) -> Mode | None:
    """Polish a maximum and measure its curvature, over the width of the mode where it has a kink.

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
    kinked = False
    for attempt in range(_MAX_HESSIANS):
        coarse = kinked or attempt >= _PATIENCE
        here = Surroundings.of(target, x, sd, _COARSE if coarse else _FINE)
        if not coarse and (here.kinked or _between_slopes(target, x, sd, here)):
            kinked = True
            continue
        precision = -here.hessian
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
        x, log_density, _, gain, promised = _newton_steps(
            target, x, here.log_density, here.gradient, DenseFactor(factor)
        )
        moved = np.linalg.norm(factor.T @ (x - origin))
        if (promised < 0.01 and moved < 0.5) or (coarse and gain < 0.1):
            covariance = cho_solve((factor, True), np.eye(len(x)))
            axes = DenseAxes.of_covariance((covariance + covariance.T) / 2)
            return Mode(position=x, log_density=log_density, axes=axes)
    return None


def _structured_mode(target: Target, x: Array, sd: Array) -> Mode | None:
    """Polish a maximum in many dimensions, its curvature sparse or of low rank."""
    rng = np.random.default_rng(0)
    value, gradient = _at(target, x)
    axes: Axes = DiagonalAxes(sd)
    structure = structure_at(target, x, sd, rng)
    for _ in range(_MAX_HESSIANS):
        try:
            axes = structure.measured(target, x[None], gradient[None], axes, 1.0, rng)
        except np.linalg.LinAlgError:
            return None
        origin = x
        x, value, gradient, _, promised = _newton_steps(
            target, x, value, gradient, AxesFactor(axes)
        )
        if promised < 0.01 and np.linalg.norm(axes.solve(x - origin)) < 0.5:
            return Mode(position=x, log_density=value, axes=axes)
    return None


@dataclass(frozen=True)
class Surroundings:
    """A log density at a point and next to it along every coordinate.

    Attributes
    ----------
    log_density : float
    gradient : ndarray, shape (dim,)
    hessian : ndarray, shape (dim, dim)
        By central differences of gradients; symmetric, NaN where a point was rejected.
    kinked : bool
        Whether a slope jumps within a step: values and gradients do not belong to one parabola.
    """

    log_density: float
    gradient: Array
    hessian: Array
    kinked: bool

    @classmethod
    def of(cls, target: Target, x: Array, sd: Array, fraction: float = _FINE) -> Surroundings:
        """Look around a point, for ``2 * dim + 1`` gradients.

        Parameters
        ----------
        target : Target
        x : ndarray, shape (dim,)
        sd : ndarray, shape (dim,)
            Local scales.
        fraction : float
            Steps in units of them, never below rounding.
        """
        step = np.maximum(fraction * sd, 1e-7 * np.maximum(np.abs(x), 1e-300))
        shift = np.diag(step)
        value, gradient = target.log_density_gradient(np.concatenate([x + shift, x - shift, [x]]))
        d = len(x)
        gradient = np.where(np.isfinite(value)[:, None], gradient, np.nan)
        full = (gradient[:d] - gradient[d:-1]) / (2 * step[:, None])
        rise = np.stack([value[:d] - value[-1], value[-1] - value[d:-1]])
        slope = np.stack([np.diag(gradient[:d]), gradient[-1], np.diag(gradient[d:-1])])
        change = np.abs(np.diff(slope, axis=0)).max(axis=0)
        promised = step * (slope[1:] + slope[:-1]) / 2
        rounding = 16 * np.finfo(np.float64).eps * np.abs(value[-1])
        off = np.abs(rise - promised).max(axis=0) > _KINK * step * change + rounding
        return cls(float(value[-1]), gradient[-1], (full + full.T) / 2, bool(off.any()))


def _between_slopes(target: Target, x: Array, sd: Array, here: Surroundings) -> bool:
    """Whether the density, straight along some coordinates, falls on both sides of the point."""
    i = np.flatnonzero(np.diag(here.hessian) >= 0)
    if not len(i) or not np.isfinite(here.hessian).all():
        return False
    shift = np.zeros((len(i), len(sd)))
    shift[np.arange(len(i)), i] = _COARSE * sd[i]
    _, gradient = target.log_density_gradient(np.concatenate([x + shift, x - shift]))
    above, below = gradient[: len(i)][:, i].diagonal(), gradient[len(i) :][:, i].diagonal()
    return bool(((above < 0) & (below > 0)).all())


def _at(target: Target, x: Array) -> tuple[float, Array]:
    value, gradient = target.log_density_gradient(x[None])
    return float(value[0]), gradient[0]


def _newton_steps(
    target: Target, x: Array, value: float, gradient: Array, factor: Factor
) -> tuple[Array, float, Array, float, float]:
    """Newton steps with one Hessian, halved where needed.

    Returns the point, its log density and gradient, the gain so far, and the gain that one
    more step promises.
    """
    first, t = value, 1.0
    step = factor.solve(gradient)
    for _ in range(12):
        if step @ gradient / 2 < 1e-3 or t < 0.1:
            break
        new_value, new_gradient = _at(target, x + t * step)
        if new_value > value:
            x, value, gradient, t = x + t * step, new_value, new_gradient, 1.0
            step = factor.solve(gradient)
        else:
            t /= 4
    return x, value, gradient, value - first, float(step @ gradient / 2)
