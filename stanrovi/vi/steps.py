"""One step of a product measure on linear axes: mean field, plain RoVI, preconditioned RoVI.

It takes one batch of gradients at draws of the current iterate and
improves everything at once:

- each marginal by parallel coordinate ascent: its score moves to the
  conditional expectation of the target's score (`stanrovi.vi.regression`);
- the centre by a Newton step with the regressed expected Hessian;
- the axes by relative Newton steps on pairs of coordinates, as in maximum
  likelihood ICA (Pham and Garat 1997, doi:10.1109/78.599941; Ablin, Cardoso
  and Gramfort 2018, doi:10.1109/TSP.2018.2844203).

The expectations may be taken under the iterate q or under the target p (by
importance weights on the same draws). Under q the fixed points are the
stationary points of the ELBO; under p the marginals along the axes become the
target's own, by ``(log p_i)'(y) = E_p[d_i log p | y_i = y]``. A share
``forward`` of p cures the narrowness of the ELBO's optimum where the weights
are reliable and fades out where they are not. See docs/explanation/mathematics.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from stanrovi.families.axes import Axes, DenseAxes
from stanrovi.families.base import normal_log_density
from stanrovi.families.maps import SplineMap, stack
from stanrovi.families.product import Product
from stanrovi.families.rotation import rotate
from stanrovi.target import Array
from stanrovi.vi.alone import improved_alone
from stanrovi.vi.pool import Pool
from stanrovi.vi.regression import ScoreResidual, regress, winsorised
from stanrovi.vi.reshaping import moved_marginals

AxesMoves = Literal["fixed", "rotation", "free"]

_RELIABLE = 0.3  # relative effective sample size of importance weights taken in full
_TURN_LIMIT = 0.7
_TURN_DAMPING = 0.2  # curvature added to rotations between near-Gaussian coordinates


@dataclass(frozen=True)
class ProductSettings:
    """What a product fit may change.

    Attributes
    ----------
    axes_moves : {"fixed", "rotation", "free"}
        Keep the axes (mean field), turn them behind a fixed preconditioner
        (the paper's RoVI), or turn and correct them.
    alone : bool
        Whether each marginal is regressed on its own coordinate only, on fixed axes.
    flexible : bool
        Marginals of any shape, or Gaussian ones.
    forward : float
        Share of the expectations taken under the target; 0 maximises the ELBO.
    alternating : bool
        Update marginals and axes in turns instead of jointly.
    preconditioner : ndarray, shape (dim, dim), optional
        A of ``A @ O``, for ``axes_moves="rotation"``.
    frozen : tuple of int
        Coordinates whose marginal and location are left alone.
    max_gradients : int, optional
        Spent at most; by default 2500, 120 per dimension, or what is left of the
        run's own budget, whichever is most.
    share : float
        Weight of the component, where it is one of a mixture, over half the average weight; at
        most 1. A nat lost in a light one costs the mixture less.
    """

    axes_moves: AxesMoves = "free"
    alone: bool = False
    flexible: bool = True
    forward: float = 0.5
    alternating: bool = False
    preconditioner: Array | None = None
    frozen: tuple[int, ...] = ()
    max_gradients: int | None = None
    share: float = 1.0


def improved(
    family: Product, pool: Pool, settings: ProductSettings, damping: float = 1.0, step: int = 0
) -> tuple[Product, float, float]:
    """One simultaneous step from a standardised family.

    Parameters
    ----------
    family : Product
        Standardised.
    pool : Pool
        Evaluations to regress on.
    settings : ProductSettings
    damping : float
        Share of the step to take.
    step : int
        Decides whose turn it is when alternating.

    Returns
    -------
    family : Product
        Standardised.
    gain, noise : float
        Predicted improvement, and how much of it sampling noise alone would
        predict (nats).
    """
    if settings.alone:
        return improved_alone(
            family, pool, flexible=settings.flexible, forward=settings.forward, damping=damping
        )
    y = family.coordinates(pool.x)
    z, log_slope, score = family.marginals.pull_back_with_score(y)
    log_q = normal_log_density(z) - log_slope.sum(axis=1) - family.log_volume
    weight = _weights(pool, log_q, settings.forward)
    residual = winsorised(family.axes.apply_transposed(pool.gradient) - score)
    if not np.isfinite(residual).all():
        raise np.linalg.LinAlgError("draws of earlier iterates lie beyond the marginals' reach")
    fit = regress(z, y, residual, weight, smooth=settings.flexible)
    pool.forget(weight)
    fisher = family.marginals.fisher_information()
    if not np.isfinite(fisher).all():
        raise np.linalg.LinAlgError("a marginal is beyond the resolution of its map")
    shift = _solve_clipped(np.diag(fisher) - (fit.linear + fit.linear.T) / 2, fit.intercept)
    shift[list(settings.frozen)] = 0.0
    turn = _axis_step(fit.linear, fisher, family, settings)
    gain, noise = _promise(fit, shift, _relative(turn, family, settings), fisher, settings)
    turning = not settings.alternating or step % 2 == 1
    shaping = not settings.alternating or step % 2 == 0
    center, axes, marginals = family.center, family.axes, family.marginals
    if shaping:
        limit = max(1.0, float(np.linalg.norm(shift)) / max(2.0, np.sqrt(family.dim)))
        center = center + axes.apply(damping * shift / limit)
        marginals = _reshaped(marginals, fit, fisher, damping, settings)
    if turning:
        axes = _turned(family, damping * turn, settings)
    return Product(center, axes, marginals).standardised(), gain, noise


def _weights(pool: Pool, log_q: Array, forward: float) -> Array:
    """Weights of a sample half from q, half from p, p's half faded by its reliability."""
    under_q = pool.weights(log_q)
    if forward == 0.0:
        return under_q
    under_p = pool.weights(pool.log_p)
    share = forward * min(1.0, under_p.sum() / (_RELIABLE * len(under_p)))
    return np.asarray((1 - share) * under_q + share * under_p)


def _promise(
    fit: ScoreResidual, shift: Array, turn: Array, fisher: Array, settings: ProductSettings
) -> tuple[float, float]:
    """Improvement that the second-order model predicts, and its value under pure noise."""
    loose = np.setdiff1d(np.arange(len(shift)), settings.frozen)
    shape = np.diag(fit.linear)[loose] ** 2
    gain = 0.5 * float(fit.intercept @ shift) + 0.5 * float((turn * fit.linear).sum())
    gain += 0.25 * float(shape.sum() + (fit.smooth[loose] ** 2).sum())
    variance = fit.noise / max(fit.n_effective, 1.0)
    noise = float(variance.sum())
    if settings.axes_moves != "fixed":
        pair = np.triu(variance[:, None] + variance, 1)
        correlation, rotation = _pair_curvatures(fisher)
        noise += 0.5 * float((pair / correlation + pair / rotation).sum())
    return gain, noise


def _solve_clipped(precision: Array, vector: Array) -> Array:
    spectrum, v = np.linalg.eigh(precision)
    return np.asarray(v @ (v.T @ vector / np.maximum(spectrum, 0.05)))


def _axis_step(linear: Array, fisher: Array, family: Product, settings: ProductSettings) -> Array:
    """Relative change of the axes, ``B <- B (I + step)``, zero diagonal; or the skew W.

    For the pair (i, j) the objective changes by ``l_ij e_ij + l_ji e_ji -
    (f_i e_ij^2 + f_j e_ji^2 + 2 e_ij e_ji) / 2``; split into a symmetric part
    s (correlation) and an antisymmetric part a (rotation). Rotation is
    undetermined between Gaussian coordinates (f = 1), hence the damping.
    """
    d = len(fisher)
    if settings.axes_moves == "fixed" or d == 1:
        return np.zeros((d, d))
    if settings.axes_moves == "rotation":
        return _rotation_step(linear, fisher, _scales(family, settings))
    s_gradient, a_gradient = linear + linear.T, linear - linear.T
    if family.marginals.is_affine and settings.flexible:
        # Every rotation of Gaussian coordinates is the same fit: shapes come first.
        a_gradient = np.zeros_like(linear)
    ss, aa = _pair_curvatures(fisher)
    sa = fisher[:, None] - fisher[None, :]
    determinant = ss * aa - sa * sa
    step = ((aa - sa) * s_gradient + (ss - sa) * a_gradient) / determinant
    np.fill_diagonal(step, 0.0)
    return np.asarray(step * min(1.0, _TURN_LIMIT / max(float(np.linalg.norm(step)), 1e-300)))


def _pair_curvatures(fisher: Array) -> tuple[Array, Array]:
    """Curvatures of the symmetric and the antisymmetric part of a pair's step, (d, d) each."""
    both = fisher[:, None] + fisher[None, :]
    return both + 2, both - 2 + _TURN_DAMPING


def _relative(turn: Array, family: Product, settings: ProductSettings) -> Array:
    """Relative change of the axes by a step: ``D^-1 W D`` where the step is a skew W."""
    if settings.axes_moves != "rotation":
        return turn
    scale = _scales(family, settings)
    return turn * scale[None, :] / scale[:, None]


def _scales(family: Product, settings: ProductSettings) -> Array:
    """Lengths D (d,) in ``B = A O D``, O a rotation."""
    return np.linalg.norm(_behind(settings.preconditioner, family.axes.matrix), axis=0)


def _behind(preconditioner: Array | None, axes: Array) -> Array:
    if preconditioner is None:
        return axes
    return np.asarray(np.linalg.solve(preconditioner, axes), dtype=np.float64)


def _rotation_step(linear: Array, fisher: Array, scale: Array) -> Array:
    """Skew W of ``O <- O expm(W)``, for marginals that carry the scales D."""
    ratio = scale[None, :] / scale[:, None]
    slope = linear * ratio
    curvature = fisher[:, None] * ratio**2
    skew = (slope - slope.T) / (curvature + curvature.T - 2 + _TURN_DAMPING)
    size = float(np.linalg.norm(skew))
    return np.asarray(skew * min(1.0, _TURN_LIMIT / max(size, 1e-300)))


def _turned(family: Product, step: Array, settings: ProductSettings) -> Axes:
    axes = family.axes
    if settings.axes_moves == "fixed":
        return axes
    if settings.axes_moves == "free":
        return axes.times(np.eye(axes.dim) + step)
    scale = _scales(family, settings)
    rotation = _behind(settings.preconditioner, axes.matrix) / scale
    turned = rotate(rotation, step) * scale
    if settings.preconditioner is not None:
        turned = settings.preconditioner @ turned
    return DenseAxes(turned)


def _reshaped(
    marginals: SplineMap,
    fit: ScoreResidual,
    fisher: Array,
    damping: float,
    settings: ProductSettings,
) -> SplineMap:
    """Marginals whose scores moved by the regressed residuals; frozen ones as they were."""
    if settings.flexible:
        new = moved_marginals(marginals, fit.smooth, np.diag(fit.linear), damping)
    else:
        narrowing = np.clip(fisher - np.diag(fit.linear), 0.1, 10.0)
        scale = (1.0 - damping + damping * narrowing) ** -0.5
        new = SplineMap.affine(np.zeros(len(scale)), scale)
    if not settings.frozen:
        return new
    source = [marginals if i in settings.frozen else new for i in range(new.dim)]
    return stack([s.select(np.array([i])) for i, s in enumerate(source)])
