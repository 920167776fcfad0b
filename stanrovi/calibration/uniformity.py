"""Are ranks uniform? Exact simultaneous bands for an empirical distribution function.

For ``n`` uniform draws the number below each of several points is a Markov
chain, and the probability that it stays within bounds at all of them is
computed exactly; see Säilynoja, Bürkner and Vehtari (2022), *Graphical test for
discrete uniformity and its applications in goodness-of-fit evaluation and
multiple sample comparison*, doi:10.1007/s11222-022-10090-6.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, bdtrc, chdtrc, gammaln

from stanrovi.target import Array

IntArray = NDArray[np.int64]

_MAX_POINTS = 100
_MAX_BINS = 20
_BISECTIONS = 50
# Tail probabilities are compared with one that is among them; rounding must not split ties.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Band:
    """Bounds that uniform ranks keep at all points at once.

    Attributes
    ----------
    ranks : ndarray of int, shape (k,)
        Increasing.
    points : ndarray, shape (k,)
        Probability that a uniform rank is at most each of ``ranks``.
    lower, upper : ndarray of int, shape (k,)
        Bounds on the number of ranks that are at most each of ``ranks``.
    """

    ranks: IntArray
    points: Array
    lower: IntArray
    upper: IntArray


class EcdfTest:
    """Test of ``n`` ranks in ``0..draws`` for uniformity.

    The statistic is the smallest of the pointwise binomial tail probabilities of
    the empirical distribution function; its p-value is exact.

    Parameters
    ----------
    n : int
        Number of ranks.
    draws : int
        Largest possible rank.
    """

    def __init__(self, n: int, draws: int) -> None:
        ranks = np.linspace(0, draws - 1, min(draws, _MAX_POINTS)).round().astype(np.int64)
        self._n, self._ranks = n, ranks
        self._points: Array = (ranks + 1) / (draws + 1)
        counts = np.arange(n + 1)[:, np.newaxis]
        self._at_most: Array = bdtr(counts, n, self._points)
        self._at_least: Array = bdtrc(counts - 1, n, self._points)

    def p_value(self, ranks: IntArray) -> float:
        """Probability that uniform ranks are at least as far off, at their worst point."""
        counts, column = count_at_most(ranks, self._ranks), np.arange(self._points.size)
        tails = np.minimum(self._at_most[counts, column], self._at_least[counts, column])
        return 1 - self._coverage(*self._bounds(tails.min()))

    def band(self, level: float) -> Band:
        """Narrowest band that uniform ranks leave with probability at most ``level``."""
        low, high = 0.0, 0.5  # of the pointwise tail: certainly covers, certainly does not
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            covers = self._coverage(*self._bounds(middle)) >= 1 - level
            low, high = (middle, high) if covers else (low, middle)
        return Band(self._ranks, self._points, *self._bounds(low))

    def _bounds(self, tail: float) -> tuple[IntArray, IntArray]:
        """Bound the counts whose tail probabilities both exceed ``tail``, at each point."""
        limit = tail * (1 + _ROUNDING)
        lower = (self._at_most <= limit).sum(axis=0)
        return lower, self._n - (self._at_least <= limit).sum(axis=0)

    def _coverage(self, lower: IntArray, upper: IntArray) -> float:
        """Probability that the counts of uniform values keep the bounds at all points.

        Uniform values are a Poisson process given its total, whose increments are
        independent: one convolution leads from a point to the next.
        """
        if (upper < lower).any():
            return 0.0
        n, mass, first, before = self._n, np.ones(1), 0, 0.0
        for point, low, high in zip(self._points, lower, upper, strict=True):
            steps = _poisson(np.arange(high - first + 1), n * (point - before))
            mass = np.convolve(mass, steps)[low - first : high - first + 1]
            first, before = low, point
        rest = _poisson(n - np.arange(first, first + mass.size), n * (1 - before))
        return float(min(1.0, mass @ rest / _poisson(np.array([n]), n)[0]))


def count_at_most(ranks: IntArray, at: IntArray) -> IntArray:
    """Count the ranks that are at most each of ``at``, shape (k,)."""
    return np.searchsorted(np.sort(ranks), at, side="right").astype(np.int64)


def chi_square(ranks: IntArray, draws: int) -> tuple[float, int, float]:
    """Pearson's test on a histogram of ranks.

    Parameters
    ----------
    ranks : ndarray of int, shape (n,)
        In ``0..draws``.
    draws : int

    Returns
    -------
    statistic : float
    degrees : int
        Degrees of freedom.
    p_value : float
    """
    edges = rank_edges(ranks.size, draws)
    observed = np.histogram(ranks, edges)[0]
    expected = ranks.size * np.diff(edges) / (draws + 1)
    statistic = float(((observed - expected) ** 2 / expected).sum())
    degrees = len(observed) - 1
    return statistic, degrees, float(chdtrc(degrees, statistic))


def rank_edges(n: int, draws: int) -> Array:
    """Edges of the bins that ``n`` ranks in ``0..draws`` are counted in: five or more in each.

    The edges lie between ranks; bins may differ by one in the ranks that they hold.
    """
    bins = int(np.clip(n // 5, 2, min(_MAX_BINS, draws + 1)))
    edges: Array = np.linspace(0, draws + 1, bins + 1).round() - 0.5
    return edges


def _poisson(counts: IntArray, mean: float) -> Array:
    mass: Array = np.exp(counts * np.log(mean) - mean - gammaln(counts + 1.0))
    return mass
