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
from scipy.linalg import cho_solve, solve_triangular

from stanrovi.target import Array
from stanrovi.vi.least_squares import with_constant

# Knots of the natural cubic spline in z; linear beyond the outermost.
_KNOTS = np.array([-2.6, -1.9, -1.3, -0.8, -0.4, 0.0, 0.4, 0.8, 1.3, 1.9, 2.6])
_PENALTIES = 10.0 ** np.arange(-4.0, 3.0, 0.5)
_LARGE = 4.0
_BLOCK = 2**12  # points whose smooth functions are held in memory at once,
_PARTS = 16  # or of so large a part of the coordinates
_CHUNK = 1024  # points for which they are read from their table at once
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


def basis(z: Array, out: Array | None = None) -> Array:
    """Smooth functions at z (any shape), trailing axis m.

    Natural cubic splines, orthonormal under N(0, 1), orthogonal to 1 and z,
    smoothest first (Demmler and Reinsch 1975, doi:10.1007/BF01437407). Read
    from a table, whose last interval continues them as the lines they are.
    """
    table, slopes = _table()
    if out is None:
        out = np.empty((*z.shape, table.shape[1]))
    flat, rows = np.ravel(z), out.reshape(-1, table.shape[1])
    for at in range(0, len(flat), _CHUNK):
        position = (flat[at : at + _CHUNK] + _TABLE_END) / _TABLE_STEP
        k = np.clip(position, 0, len(table) - 2).astype(np.intp)
        part = slopes.take(k, axis=0)
        part *= (position - k)[:, None]
        np.add(table.take(k, axis=0), part, out=rows[at : at + _CHUNK])
    return out


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
    design = with_constant(y)
    weighted = weight[:, None] * design
    factor = np.asarray(np.linalg.cholesky(design.T @ weighted), dtype=np.float64)
    line_moment = weighted.T @ residual
    residual = residual.copy()
    coefficients = np.zeros((d, len(_KNOTS) - 2))
    n_effective = float(weight.sum())
    if smooth:
        lines = _Lines(weighted, factor, _half_solved(factor, line_moment))
        width, m = min(d, max(_BLOCK // n, -(-d // _PARTS))), coefficients.shape[1]
        # Memory that is used again costs less than new.
        first, second = np.empty(n * width * m), np.empty(n * width * (m + 1))
        for at in range(0, d, width):
            columns = slice(at, min(at + width, d))
            c = columns.stop - at
            features = basis(z[:, columns], first[: n * c * m].reshape(n, c, m))
            right = second[: n * c * (m + 1)].reshape(n, c, m + 1)
            coefficients[columns] = lines.without_smooth(
                features, residual[:, columns], weight, columns, right
            )
    beta = cho_solve((factor, True), weighted.T @ residual)
    left_over = residual - design @ beta
    noise = np.einsum("n,nd,nd->d", weight, left_over, left_over) / max(n_effective, 1.0)
    return ScoreResidual(beta[0], beta[1:].T, coefficients, noise, n_effective)


def _half_solved(factor: Array, right: Array) -> Array:
    return np.asarray(solve_triangular(factor, right, lower=True, check_finite=False))


@dataclass(frozen=True)
class _Lines:
    """What the constant and the lines in all coordinates take out of a regression.

    ``factor`` is the Cholesky factor L of their inner products, ``moment`` is ``L^-1`` times
    those with the responses.
    """

    weighted: Array
    factor: Array
    moment: Array

    def without_smooth(
        self, features: Array, residual: Array, weight: Array, columns: slice, right: Array
    ) -> Array:
        """Fit some coordinates' smooth functions, lines projected out, and subtract them.

        Gives their coefficients (c, m), and takes what they explain out of ``residual`` (n, c);
        ``right`` (n, c, m + 1) is written to.
        """
        n, c, m = features.shape
        np.multiply(features, weight[:, None, None], out=right[..., :m])
        np.multiply(residual, weight[:, None], out=right[..., m])
        both = features.transpose(1, 2, 0) @ right.transpose(1, 0, 2)
        cross = self.weighted.T @ features.reshape(n, -1)
        onto = _half_solved(self.factor, cross).reshape(-1, c, m).transpose(1, 2, 0)
        moment = self.moment[:, columns]
        gram = both[..., :m] - onto @ onto.transpose(0, 2, 1)
        response = both[..., m] - (onto @ moment.T[..., None])[..., 0]
        total = (right[..., m] * residual).sum(axis=0) - (moment**2).sum(axis=0)
        degrees = max(float(weight.sum()) - len(self.factor), 10.0)
        found = penalised(gram, response, total, degrees)
        residual -= (features.transpose(1, 0, 2) @ found[..., None])[..., 0].T
        return found


def winsorised(residual: Array) -> Array:
    """Bound each step: a score residual of _LARGE (in 1/sd) or more counts as that.

    Densities that fall like exp(-exp(y)) have scores without bound in a tail
    that holds a draw in ten thousand; a regression must not follow that draw.
    """
    with np.errstate(invalid="ignore"):
        extent = residual.max(axis=0) - residual.min(axis=0)
    # Where all lie together none is that far from the median.
    wide = np.flatnonzero(~(extent <= _LARGE))
    if not len(wide):
        return residual
    rows = np.ascontiguousarray(residual[:, wide].T)
    center = np.median(rows, axis=1, keepdims=True)
    spread = np.median(np.abs(rows - center), axis=1, keepdims=True)
    limit = np.maximum(_LARGE, 2.0 * _LARGE * spread)
    out = residual.copy()
    out[:, wide] = np.clip(rows, center - limit, center + limit).T
    return out


def penalised(gram: Array, moment: Array, total: Array, degrees: float) -> Array:
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
    root = np.sqrt(_demmler_reinsch()[1])
    # In the eigenvectors of the scaled gram every penalty is diagonal.
    spectrum, vectors = np.linalg.eigh(gram / root / root[:, None])
    along = (vectors.transpose(0, 2, 1) @ (moment / root)[..., None])[..., 0]
    systems = spectrum + degrees * _PENALTIES[:, None, None]
    freedom = (spectrum / systems).sum(axis=-1)
    solution = along / systems
    rest = total + (solution * (spectrum * solution - 2 * along)).sum(axis=-1)
    score = rest / (1 - np.minimum(1.4 * freedom / degrees, 0.9)) ** 2
    best = solution[np.argmin(score, axis=0), np.arange(len(total))]
    return np.asarray((vectors @ best[..., None])[..., 0] / root)


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
def _table() -> tuple[Array, Array]:
    """Values of the basis on a grid of spacing `_TABLE_STEP`, and steps to the next, (n, m)."""
    grid = np.arange(-_TABLE_END, _TABLE_END + _TABLE_STEP / 2, _TABLE_STEP)
    transform, _, (constant, slope) = _demmler_reinsch()
    values = _natural_splines(grid) @ transform - constant - grid[:, None] * slope
    return values, np.diff(values, axis=0)
