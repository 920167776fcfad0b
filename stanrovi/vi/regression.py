"""Conditional expectations of scores by penalised regression.

Coordinate ascent says that the best marginal of coordinate i, the others
fixed, has the score ``E[ d/dy_i log p | y_i ]`` under the others. This module
estimates, from one weighted pool of draws and for all coordinates at once, how
far each marginal's present score is from that, together with the linear
dependence on the other coordinates. Everything is regressed on *residual*
scores, so the noise vanishes as the fit becomes exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from stanrovi.target import Array

# Knots of the natural cubic spline in z; linear beyond the outermost.
_KNOTS = np.array([-2.6, -1.9, -1.3, -0.8, -0.4, 0.0, 0.4, 0.8, 1.3, 1.9, 2.6])
_PENALTIES = 10.0 ** np.arange(-4.0, 3.0, 0.5)
_LARGE = 4.0
_BLOCK = 32  # coordinates whose smooth functions are held in memory at once
_TABLE_END, _TABLE_STEP = 4.0, 0.002


@dataclass(frozen=True)
class ScoreResidual:
    """Regression of the residual scores of d coordinates.

    Attributes
    ----------
    intercept : ndarray, shape (d,)
        ``E[residual_i]``.
    linear : ndarray, shape (d, d)
        Coefficient of residual i on standardised coordinate j.
    smooth : ndarray, shape (d, m)
        Coefficients of residual i on the smooth functions of z_i (`basis`),
        which are orthogonal to constants and to z under the standard normal.
    noise : ndarray, shape (d,)
        Variance left over.
    n_effective : float
    """

    intercept: Array
    linear: Array
    smooth: Array
    noise: Array
    n_effective: float


def basis(z: Array) -> Array:
    """Smooth functions at z (any shape), trailing axis m.

    Natural cubic splines, orthonormal under N(0, 1), orthogonal to 1 and z,
    smoothest first (Demmler and Reinsch 1975, doi:10.1007/BF01437407). Read
    from a table, whose last interval continues them as the lines they are.
    """
    table = _table()
    position = (z + _TABLE_END) / _TABLE_STEP
    k = np.clip(position.astype(int), 0, len(table) - 2)
    t = (position - k)[..., None]
    return np.asarray((1 - t) * table[k] + t * table[k + 1])


def regress(z: Array, y: Array, residual: Array, weight: Array, *, smooth: bool) -> ScoreResidual:
    """Regress residual scores.

    Parameters
    ----------
    z, y : ndarray, shape (n, d)
        Base and standardised coordinates of the draws.
    residual : ndarray, shape (n, d)
        Score of the target along each axis minus the marginal's own score.
    weight : ndarray, shape (n,)
        Weights that sum to the effective sample size.
    smooth : bool
        Whether to include the smooth functions of a coordinate's own z.

    Returns
    -------
    ScoreResidual
    """
    n, d = y.shape
    design = np.concatenate([np.ones((n, 1)), y], axis=1)
    weighted = weight[:, None] * design
    factor = cho_factor(design.T @ weighted)
    line_moment = weighted.T @ residual
    residual = residual.copy()
    coefficients = np.zeros((d, len(_KNOTS) - 2))
    n_effective = float(weight.sum())
    if smooth:
        lines = _Lines(weighted, factor, line_moment)
        for block in np.array_split(np.arange(d), -(-d // _BLOCK)):
            features = basis(z[:, block])
            coefficients[block] = lines.penalised(features, residual[:, block], weight, block)
            fitted = np.einsum("ndm,dm->nd", features, coefficients[block], optimize=True)
            residual[:, block] -= fitted
    beta = cho_solve(factor, weighted.T @ residual)
    left_over = residual - design @ beta
    noise = (weight[:, None] * left_over**2).sum(axis=0) / max(n_effective, 1.0)
    return ScoreResidual(beta[0], beta[1:].T, coefficients, noise, n_effective)


@dataclass(frozen=True)
class _Lines:
    """What the constant and the lines in all coordinates take out of a regression."""

    weighted: Array
    factor: tuple[Array, bool]
    moment: Array

    def penalised(
        self, features: Array, residual: Array, weight: Array, block: NDArray[np.intp]
    ) -> Array:
        """Coefficients (d, m) of some coordinates' smooth functions, lines projected out."""
        cross = np.einsum("nk,ndm->kdm", self.weighted, features, optimize=True)
        onto = cho_solve(self.factor, cross.reshape(len(cross), -1)).reshape(cross.shape)
        moment = self.moment[:, block]
        by_coordinate = features.transpose(1, 0, 2)
        gram = by_coordinate.transpose(0, 2, 1) @ (weight[:, None] * by_coordinate)
        gram -= np.einsum("kdm,kdl->dml", cross, onto, optimize=True)
        response = np.einsum("ndm,nd->dm", features, weight[:, None] * residual, optimize=True)
        response -= np.einsum("kdm,kd->dm", onto, moment, optimize=True)
        total = (weight[:, None] * residual**2).sum(axis=0)
        total -= (moment * cho_solve(self.factor, moment)).sum(axis=0)
        degrees = max(float(weight.sum()) - len(cross), 10.0)
        return _penalised(gram, response, total, degrees)


def winsorised(residual: Array) -> Array:
    """Bound each step: a score residual of _LARGE (in 1/sd) or more counts as that.

    Densities that fall like exp(-exp(y)) have scores without bound in a tail
    that holds a draw in ten thousand; a regression must not follow that draw.
    """
    center = np.median(residual, axis=0)
    spread = np.median(np.abs(residual - center), axis=0)
    limit = np.maximum(_LARGE, 2.0 * _LARGE * spread)
    return np.clip(residual, center - limit, center + limit)


def _penalised(gram: Array, moment: Array, total: Array, degrees: float) -> Array:
    """Ridge in the smoothness-ordered basis, its strength by generalised cross-validation.

    Parameters
    ----------
    gram : ndarray, shape (d, m, m)
        Inner products of the features, lines projected out.
    moment : ndarray, shape (d, m)
        Inner products of features and response.
    total : ndarray, shape (d,)
        Squared length of the response.
    degrees : float
        Effective draws less the lines' parameters.
    """
    roughness = np.diag(_demmler_reinsch()[1])
    systems = gram + degrees * _PENALTIES[:, None, None, None] * roughness
    right = np.concatenate(
        [
            np.broadcast_to(gram, systems.shape),
            np.broadcast_to(moment[..., None], (*systems.shape[:-1], 1)),
        ],
        axis=-1,
    )
    solved = np.linalg.solve(systems, right)
    freedom = np.trace(solved[..., :-1], axis1=-2, axis2=-1)
    solution = solved[..., -1]
    rest = total - 2 * (solution * moment).sum(axis=-1)
    rest = rest + (solution * (gram @ solution[..., None])[..., 0]).sum(axis=-1)
    score = rest / (1 - np.minimum(1.4 * freedom / degrees, 0.9)) ** 2
    best = np.argmin(score, axis=0)
    return np.asarray(solution[best, np.arange(len(total))])


def _natural_splines(z: Array) -> Array:
    """Truncated-power basis of natural cubic splines without 1 and z, trailing axis m."""
    k = _KNOTS
    positive = np.maximum(z[..., None] - k, 0.0)
    cubes = positive * positive * positive
    cubes = (cubes[..., :-1] - cubes[..., -1:]) / (k[-1] - k[:-1])
    return np.asarray(cubes[..., :-1] - cubes[..., -1:])


@cache
def _demmler_reinsch() -> tuple[Array, Array, Array]:
    """Rotation of the spline basis, roughness of its columns, and their line parts."""
    grid = np.linspace(-7, 7, 2801)
    weight = np.exp(-0.5 * grid**2)
    weight /= weight.sum()
    raw = _natural_splines(grid)
    lines = np.stack([np.ones_like(grid), grid], axis=1)
    line_part = lines.T @ (weight[:, None] * raw)  # {1, z} are orthonormal
    centred = raw - lines @ line_part
    gram = centred.T @ (weight[:, None] * centred)
    values, vectors = np.linalg.eigh(gram)
    whiten = vectors / np.sqrt(values)
    bend = np.gradient(np.gradient(centred @ whiten, grid, axis=0), grid, axis=0)
    roughness, turn = np.linalg.eigh(bend.T @ (weight[:, None] * bend))
    transform = whiten @ turn
    return transform, roughness, line_part @ transform


@cache
def _table() -> Array:
    """Values of the basis on a grid of spacing `_TABLE_STEP`, shape (n, m)."""
    grid = np.arange(-_TABLE_END, _TABLE_END + _TABLE_STEP / 2, _TABLE_STEP)
    transform, _, (constant, slope) = _demmler_reinsch()
    return np.asarray(_natural_splines(grid) @ transform - constant - grid[:, None] * slope)
