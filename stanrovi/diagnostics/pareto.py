"""The generalised Pareto tail of importance ratios, and its shape, Pareto k-hat.

After Vehtari et al. (2024, Pareto smoothed importance sampling, JMLR 25(72)), and equal to
ArviZ's, which takes longer to import than a small fit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stanrovi.target import Array

# Ratios below this share of the largest do not count.
_LOG_TINY = float(np.log(np.finfo(np.float64).tiny))
_LEAST = 5  # ratios that a tail needs
_NEGLIGIBLE = 10 * np.finfo(np.float64).eps  # weight of a point of the posterior


@dataclass(frozen=True)
class Tail:
    """A generalised Pareto distribution fitted to the largest ratios.

    Attributes
    ----------
    rows : ndarray of int, shape (m,)
        Where those ratios are, the smallest first.
    log_cutoff : float
        Above which they are, relative to the largest.
    shape, scale : float
        Of what they exceed the cutoff by; the largest ratio is 1. An infinite shape where
        there are too few, or where they are too steep for any.
    """

    rows: NDArray[np.intp]
    log_cutoff: float
    shape: float
    scale: float

    def log_expected(self) -> Array:
        """Log ratios (m,) that the tail expects there, relative to the largest found.

        A quantile each at the middle of its m-th part.
        """
        log_share = np.log1p(-(np.arange(len(self.rows)) + 0.5) / len(self.rows))
        if self.shape == 0:
            log_excess = np.log(-log_share)
        else:  # the logarithm of expm1(grown) / shape, however far it has grown
            grown = -self.shape * log_share
            log_excess = np.maximum(grown, 0) + np.log(-np.expm1(-abs(grown)) / abs(self.shape))
        return np.asarray(np.logaddexp(self.log_cutoff, np.log(self.scale) + log_excess))


def tail_size(n: int) -> int:
    """How many of n ratios form the tail that k-hat is fitted to."""
    return int(np.ceil(min(0.2 * n, 3 * np.sqrt(n))))


def fit_tail(log_ratios: Array) -> Tail:
    """Fit the tail of importance ratios.

    Parameters
    ----------
    log_ratios : ndarray, shape (n,)
        Finite, at least two.

    Returns
    -------
    Tail
    """
    relative = log_ratios - log_ratios.max()
    order = np.argsort(relative)
    cutoff = max(float(relative[order[-tail_size(len(order)) - 1]]), _LOG_TINY)
    rows = order[relative[order] > cutoff]
    if len(rows) < _LEAST:
        return Tail(rows, cutoff, float("inf"), float("nan"))
    shape, scale = _fit_pareto(np.exp(relative[rows]) - np.exp(cutoff))
    return Tail(rows, cutoff, shape if np.isfinite(shape) and scale > 0 else float("inf"), scale)


def _fit_pareto(x: Array) -> tuple[float, float]:
    """Shape and scale of a generalised Pareto sample, smallest first.

    The posterior mean of Zhang and Stephens (2009, doi:10.1198/tech.2009.08017) for minus the
    shape by the scale, on their grid; the shape then drawn towards 1/2 as by ten observations.
    """
    n = len(x)
    m = 30 + int(np.sqrt(n))
    with np.errstate(all="ignore"):  # what overflows has no shape, and no point there any weight
        quartile = x[int(n / 4 + 0.5) - 1]
        theta = 1 / x[-1] + (1 - np.sqrt(m / (np.arange(m) + 0.5))) / (3 * quartile)
        shape = np.log1p(-theta[:, None] * x).mean(axis=1)
        log_likelihood = n * (np.log(-theta / shape) - shape - 1)
        weight = np.exp(log_likelihood - log_likelihood.max())
        weight /= weight.sum()
        weight[weight < _NEGLIGIBLE] = 0
        mean = (weight @ theta) / weight.sum()
        found = np.log1p(-mean * x).mean()
        return float((n * found + 10 * 0.5) / (n + 10)), float(-found / mean)
