"""Quantities of a fit on the scale on which its own marginals are standard normal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from stanrovi.target import Array

_LEVELS = 400


@dataclass(frozen=True)
class NormalScores:
    """Marginals of a fit by their draws.

    Attributes
    ----------
    ranked : ndarray, shape (n, k)
        Draws of k quantities, each sorted.
    scale : ndarray, shape (k,)
        Standard deviations, robust ones where there are none.
    """

    ranked: Array
    scale: Array

    def of(self, values: Array) -> Array:
        """Give the normal scores (m, k) of values (m, k)."""
        n = len(self.ranked)
        below = np.empty(values.shape)
        for j in range(values.shape[1]):
            column = self.ranked[:, j]
            order = np.argsort(values[:, j])  # a search for sorted values is a walk
            wanted = values[order, j]
            rank = np.searchsorted(column, wanted, "left") + 0.5
            if (column[1:] == column[:-1]).any():  # atoms count by their middle
                rank = (rank - 0.5 + np.searchsorted(column, wanted, "right")) / 2
            below[order, j] = rank
        return np.asarray(ndtri(np.clip(below / n, 0.25 / n, 1 - 0.25 / n)))

    def w1(self, mean: Array, more_variance: Array) -> Array:
        """W1 between the fit and marginals whose normal scores have other moments, in their sds.

        Parameters
        ----------
        mean, more_variance : ndarray, shape (k,)
            Of normal scores: zero and zero for the fit itself.

        Returns
        -------
        ndarray, shape (k,)
        """
        n = len(self.ranked)
        level = ndtri((np.arange(_LEVELS) + 0.5) / _LEVELS)
        sd = np.sqrt(np.clip(1 + more_variance, 0.05, 100.0))
        row = ndtr(mean + level[:, None] * sd) * n - 0.5
        out = np.empty(len(mean))
        for j in range(len(mean)):
            moved = np.interp(row[:, j], np.arange(n), self.ranked[:, j])
            still = np.interp(ndtr(level) * n - 0.5, np.arange(n), self.ranked[:, j])
            wider = moved.std() / max(still.std(), 1e-300)
            out[j] = np.abs(moved - still).mean() / (self.scale[j] * max(wider, 1e-300))
        return out
