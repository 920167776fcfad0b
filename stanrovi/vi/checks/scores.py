"""What the scores at a fit's draws say of each marginal.

In base coordinates z the fit is standard normal and the target has the score ``-z + r(z)``.
Regressed on z, the residual score r tells the target's mean and precision to the order at which
they can be told: ``N(mu, (I - R)^{-1})`` with ``mu = (I - R)^{-1} E[r]``, the linear response of
variational inference (Giordano, Broderick and Jordan 2018, JMLR 19). So the correlation that a
mean-field fit lacks shows in the variance of each marginal. What is left of r bounds what this
does not see.
"""

from __future__ import annotations

import numpy as np

from stanrovi.target import Array
from stanrovi.vi.checks.normal_scores import NormalScores
from stanrovi.vi.least_squares import least_squares, with_constant

_LARGEST = 0.999  # eigenvalue of R; one is a direction without any precision
_WILD = 50.0  # times the median: residual scores beyond it are of a wall or a needle, and left out
_RARE = 1e-3  # share of the points that may be left out


def from_scores(
    z: Array, residual: Array, scores: NormalScores, values: Array
) -> tuple[Array, Array]:
    """Estimate the error of each marginal.

    Parameters
    ----------
    z : ndarray, shape (n, dim)
        Base points.
    residual : ndarray, shape (n, dim)
        Residual scores there.
    scores : NormalScores
        Of the quantities under the fit.
    values : ndarray, shape (n, k)
        Normal scores of the quantities at the points.

    Returns
    -------
    error, unseen : ndarray, shape (k,)
        W1 in sds, and the root mean square of the score that the regression leaves, along the
        direction in which each quantity moves.
    """
    size = np.abs(residual).max(axis=1, initial=0.0)
    kept = size <= _WILD * max(float(np.median(size)), 1.0)
    rare = kept.mean() > 1 - _RARE
    z, residual, values = z[kept], residual[kept], values[kept]
    d = z.shape[1]
    if len(z) < 2 * d:  # too few to regress on
        return np.full(values.shape[1], np.nan), np.full(values.shape[1], np.inf)
    constant, slopes = regressed(np.concatenate([residual, values], axis=1), z)
    shift, slope, along = constant[:d], slopes[:, :d], slopes[:, d:]
    slope = (slope + slope.T) / 2
    spectrum, vectors = np.linalg.eigh(slope)
    covariance = (vectors / (1 - np.minimum(spectrum, _LARGEST))) @ vectors.T
    moved = covariance @ along
    error = scores.w1(shift @ moved, (along * (moved - along)).sum(axis=0))
    rest = (residual - shift - z @ slope) @ moved
    return error, np.sqrt((rest**2).mean(axis=0)) if rare else np.full(len(error), np.inf)


def regressed(values: Array, z: Array) -> tuple[Array, Array]:
    """Regress values (n, k) on base points z (n, dim): constants (k,) and slopes (dim, k)."""
    found = least_squares(with_constant(z), values)
    return found[0], found[1:]
