"""Marginals whose scores have moved."""

from __future__ import annotations

import numpy as np

from stanrovi.families.maps import SplineMap
from stanrovi.target import Array
from stanrovi.vi.regression import basis

_GRID = 257
_TAIL_SHARE = 0.3  # beyond the draws, the least share of a tail's old decay rate


def moved_marginals(marginals: SplineMap, smooth: Array, line: Array, damping: float) -> SplineMap:
    """Marginals whose scores have moved by regressed residuals.

    Parameters
    ----------
    marginals : SplineMap
    smooth : ndarray, shape (d, m)
        Coefficients of the smooth functions of z (`basis`).
    line : ndarray, shape (d,)
        Of the standardised coordinate.
    damping : float
        Share of the move to make.

    Raises
    ------
    numpy.linalg.LinAlgError
        If a marginal is beyond the resolution of its map.
    """
    z = np.linspace(-6.5, 6.5, _GRID)[:, None] * np.ones(marginals.dim)
    grid, log_slope, score = marginals.push_forward_with_score(z)
    moves = np.einsum("gdm,dm->gd", basis(z), smooth) + grid * line
    change = _bounded(damping * moves, score, z)
    steps = np.diff(grid, axis=0) * (change[1:] + change[:-1]) / 2
    log_density = -0.5 * z**2 - log_slope
    log_density[1:] += np.cumsum(steps, axis=0)
    if not np.isfinite(log_density).all():
        raise np.linalg.LinAlgError("a marginal is beyond the resolution of its map")
    return SplineMap.from_log_density(grid.T, log_density.T, (score + change).T)


def _bounded(change: Array, score: Array, z: Array) -> Array:
    """Keep tails falling: beyond the draws the new score keeps a share of the old one."""
    least = _TAIL_SHARE * score
    right, left = z > 2.8, z < -2.8
    change = np.where(right, np.minimum(change, least - score), change)
    return np.where(left, np.maximum(change, least - score), change)
