"""Product measures on linear axes: mean field, plain RoVI and preconditioned RoVI.

One step of this fit takes one batch of gradients at draws of the current
iterate and improves everything at once:

- each marginal by parallel coordinate ascent: its score moves to the
  conditional expectation of the target's score (`stanrovi.fit.regression`);
- the centre by a Newton step with the regressed expected Hessian;
- the axes by relative Newton steps on pairs of coordinates, as in maximum
  likelihood ICA (Pham and Garat 1997, doi:10.1109/78.599941; Ablin, Cardoso
  and Gramfort 2018, doi:10.1109/TSP.2018.2844203).

Fixed points are the stationary points of the ELBO. No step size is tuned: an
iterate that is worse than its predecessor by more than their Monte Carlo error
is taken back and the next step shortened.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from stanrovi.families import Product
from stanrovi.fit.pool import Batch, Pool, base_draws, evaluate
from stanrovi.fit.regression import ScoreResidual, basis, regress
from stanrovi.fit.result import TracePoint
from stanrovi.maps import SplineMap
from stanrovi.rotation import rotate
from stanrovi.target import Array, Target

Axes = Literal["fixed", "rotation", "free"]

_GRID = 257
_MAX_STEPS = 12
_MIN_RATIO = 0.3
_LARGE = 4.0


@dataclass(frozen=True)
class ProductSettings:
    """What a product fit may change.

    Attributes
    ----------
    axes : {"fixed", "rotation", "free"}
        Keep the axes (mean field), turn them (the paper's RoVI), or turn and
        correct them (RoVI with its preconditioner re-estimated).
    flexible : bool
        Marginals of any shape, or Gaussian ones.
    batch : int, optional
        Gradients a step; ``max(128, 4 dim)`` by default.
    """

    axes: Axes = "free"
    flexible: bool = True
    batch: int | None = None


@dataclass(frozen=True)
class ProductFit:
    """A fitted product measure.

    Attributes
    ----------
    family : Product
    last : Batch
        Evaluations at draws of ``family`` that no step has used.
    converged : bool
    """

    family: Product
    last: Batch
    converged: bool


def fit_product(
    target: Target,
    start: Product,
    rng: np.random.Generator,
    trace: list[TracePoint],
    settings: ProductSettings,
    pool: Pool | None = None,
) -> ProductFit:
    """Fit a product measure from a starting one.

    Parameters
    ----------
    target : Target
    start : Product
    rng : numpy.random.Generator
    trace : list of TracePoint
        Extended by one point a step.
    settings : ProductSettings
    pool : Pool, optional
        Earlier evaluations near ``start`` to reuse.

    Returns
    -------
    ProductFit
    """
    n = settings.batch or max(128, 4 * target.dim)
    pool = pool or Pool()
    family, damping = start.standardised(), 1.0
    best: tuple[Product, Batch] | None = None
    for step in range(_MAX_STEPS):
        batch = evaluate(target, family, base_draws(n, target.dim, rng))
        trace.append(TracePoint("product", target.n_gradients, batch.elbo, batch.elbo_se))
        if best is not None and _worse(batch, best[1]):
            family, damping = best[0], damping / 2
            pool.add(batch)
        else:
            best = (family, batch)
            pool.add(batch)
        proposal, gain, noise = improved(family, pool, settings, damping)
        if step >= 1 and family is best[0] and gain < max(2.0 * noise, 0.002):
            return ProductFit(family, best[1], True)
        if damping < 0.1:
            break
        family = proposal
    assert best is not None
    return ProductFit(best[0], best[1], False)


def improved(
    family: Product, pool: Pool, settings: ProductSettings, damping: float
) -> tuple[Product, float, float]:
    """One simultaneous step from a standardised family.

    Returns
    -------
    family : Product
        Standardised.
    gain, noise : float
        Predicted improvement of the ELBO, and how much of it sampling noise
        alone would predict (nats).
    """
    y = family.coordinates(pool.x)
    z = family.marginals.inverse(y)
    weight = pool.weights(family.log_density_base(z))
    residual = _winsorised(pool.gradient @ family.axes - family.marginals.score(z))
    fisher = family.marginals.fisher_information()
    fit = regress(z, y, residual, weight, smooth=settings.flexible)
    precision = np.diag(fisher) - (fit.linear + fit.linear.T) / 2
    shift = _solve_clipped(precision, fit.intercept)
    turn = _axis_step(fit.linear, fisher, settings.axes, family)
    gain = 0.5 * float(fit.intercept @ shift) + 0.5 * float((turn * fit.linear).sum())
    gain += 0.25 * float((np.diag(fit.linear) ** 2).sum() + (fit.smooth**2).sum())
    d = target_dim = len(shift)
    parameters = 2 * d + (target_dim * (target_dim - 1) if settings.axes == "free" else 0)
    noise = 0.25 * float(fit.noise.mean()) * parameters / max(fit.n_effective, 1.0)
    limit = max(1.0, float(np.linalg.norm(shift)) / max(2.0, np.sqrt(d)))
    center = family.center + family.axes @ (damping * shift / limit)
    axes = _turned(family.axes, damping * turn, settings.axes)
    marginals = _reshaped(family.marginals, fit, fisher, damping, settings.flexible)
    return Product(center, axes, marginals).standardised(), gain, noise


def _winsorised(residual: Array) -> Array:
    """Bound each step: a score residual of _LARGE (in 1/sd) or more counts as that.

    Densities that fall like exp(-exp(y)) have scores without bound in a tail
    that holds a draw in ten thousand; a regression must not follow that draw.
    """
    center = np.median(residual, axis=0)
    spread = np.median(np.abs(residual - center), axis=0)
    limit = np.maximum(_LARGE, 2.0 * _LARGE * spread)
    return np.clip(residual, center - limit, center + limit)


def _worse(batch: Batch, reference: Batch) -> bool:
    se = np.hypot(batch.elbo_se, reference.elbo_se)
    return not batch.elbo > reference.elbo - 2.0 * se


def _solve_clipped(precision: Array, vector: Array) -> Array:
    spectrum, v = np.linalg.eigh(precision)
    return np.asarray(v @ (v.T @ vector / np.maximum(spectrum, 0.3)))


def _axis_step(linear: Array, fisher: Array, axes: Axes, family: Product) -> Array:
    """Relative change of the axes, ``B <- B (I + step)``, zero diagonal.

    For the pair (i, j) the ELBO changes by ``l_ij e_ij + l_ji e_ji -
    (f_i e_ij^2 + f_j e_ji^2 + 2 e_ij e_ji) / 2``; split into a symmetric part
    s (correlation) and an antisymmetric part a (rotation). Rotation is
    undetermined between Gaussian coordinates (f = 1), hence the damping.
    """
    d = len(fisher)
    if axes == "fixed" or d == 1:
        return np.zeros((d, d))
    if axes == "rotation":
        return _rotation_step(linear, fisher, family)
    fi, fj = np.broadcast_arrays(fisher[:, None], fisher[None, :])
    s_gradient, a_gradient = linear + linear.T, linear - linear.T
    ss, aa, sa = fi + fj + 2, fi + fj - 2 + 0.2, fi - fj
    determinant = ss * aa - sa * sa
    s = (aa * s_gradient - sa * a_gradient) / determinant
    a = (ss * a_gradient - sa * s_gradient) / determinant
    step = s + a
    np.fill_diagonal(step, 0.0)
    return np.clip(step, -0.5, 0.5)


def _rotation_step(linear: Array, fisher: Array, family: Product) -> Array:
    """Skew step in the frame where the marginals carry their own scales."""
    sd = np.linalg.norm(family.axes, axis=0)
    ratio = sd[None, :] / sd[:, None]
    slope = linear * ratio
    curvature = fisher[:, None] * ratio**2
    skew = (slope - slope.T) / (curvature + curvature.T - 2 + 0.2)
    np.fill_diagonal(skew, 0.0)
    return np.asarray(np.clip(skew, -0.5, 0.5) * ratio)


def _turned(axes: Array, step: Array, kind: Axes) -> Array:
    if kind == "fixed":
        return axes
    if kind == "free":
        return np.asarray(axes @ (np.eye(len(axes)) + step))
    sd = np.linalg.norm(axes, axis=0)
    skew = step * (sd[:, None] / sd[None, :])
    return rotate(axes / sd, (skew - skew.T) / 2) * sd


def _reshaped(
    marginals: SplineMap, fit: ScoreResidual, fisher: Array, damping: float, flexible: bool
) -> SplineMap:
    """Marginals whose scores moved by the regressed residuals."""
    own = np.diag(fit.linear)
    if not flexible:
        scale = (1.0 - damping + damping * np.clip(fisher - own, 0.1, 10.0)) ** -0.5
        return SplineMap.affine(np.zeros(len(scale)), scale)
    ends = marginals.value(np.array([[-6.5], [6.5]]) * np.ones(marginals.dim))
    grid = np.linspace(ends[0], ends[1], _GRID)
    z = marginals.inverse(grid)
    score = marginals.score(z)
    change = damping * (np.einsum("gdm,dm->gd", basis(z), fit.smooth) + grid * own)
    change = _bounded(change, score, z)
    steps = np.diff(grid, axis=0) * (change[1:] + change[:-1]) / 2
    log_density = marginals.log_density(grid)
    log_density[1:] += np.cumsum(steps, axis=0)
    return SplineMap.from_log_density(grid.T, log_density.T, (score + change).T)


def _bounded(change: Array, score: Array, z: Array) -> Array:
    """Keep tails falling: beyond the draws the new score keeps a share of the old one."""
    least = _MIN_RATIO * score
    right, left = z > 2.8, z < -2.8
    change = np.where(right, np.minimum(change, least - score), change)
    return np.where(left, np.maximum(change, least - score), change)
