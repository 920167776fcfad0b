"""Swaps of tempered chains between neighbouring rungs, and who travels by them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stanrovi.target import Array


class Swaps:
    """Even and odd pairs of rungs by turns, in several systems at once.

    Parameters
    ----------
    powers : ndarray, shape (rungs,)
    systems : int

    Attributes
    ----------
    round_trips : int
        Points that went from the lowest rung to the highest and back, all systems together.
    """

    def __init__(self, powers: Array, systems: int) -> None:
        rungs = len(powers)
        self._powers, self._scan, self.round_trips = powers, 0, 0
        self._rejected, self._tried = np.zeros(rungs - 1), np.zeros(rungs - 1)
        # Which point is at each rung of each system, whether it was last at the lowest, and
        # whether it has been at the highest since.
        self._point = np.tile(np.arange(rungs), (systems, 1))
        self._rising = np.zeros((systems, rungs), dtype=bool)
        self._topped = np.zeros((systems, rungs), dtype=bool)

    @property
    def rejection(self) -> Array:
        """Rate at which every pair refused to swap, shape (rungs - 1,)."""
        return np.asarray(self._rejected / np.maximum(self._tried, 1))

    def draw(self, log_ratio: Array, rng: np.random.Generator) -> NDArray[np.intp]:
        """Decide who swaps.

        Parameters
        ----------
        log_ratio : ndarray, shape (system, rungs)
            Log of target over reference at every point.
        rng : numpy.random.Generator

        Returns
        -------
        ndarray of int, shape (system, rungs)
            The rung that each rung takes its point from.
        """
        low = np.arange(self._scan % 2, len(self._powers) - 1, 2)
        self._scan += 1
        with np.errstate(invalid="ignore"):
            gain = np.diff(self._powers)[low] * (log_ratio[:, low] - log_ratio[:, low + 1])
        chance = np.exp(np.minimum(np.where(np.isnan(gain), -np.inf, gain), 0.0))
        self._rejected[low] += (1 - chance).mean(axis=0)
        self._tried[low] += 1
        order = np.tile(np.arange(len(self._powers)), (len(log_ratio), 1))
        system, pair = np.nonzero(rng.random(chance.shape) < chance)
        order[system, low[pair]], order[system, low[pair] + 1] = low[pair] + 1, low[pair]
        self._count(order)
        return order

    def _count(self, order: NDArray[np.intp]) -> None:
        self._point = np.take_along_axis(self._point, order, axis=1)
        system = np.arange(len(order))
        bottom, top = self._point[:, 0], self._point[:, -1]
        self.round_trips += int(self._topped[system, bottom].sum())
        self._topped[system, bottom], self._rising[system, bottom] = False, True
        self._topped[system, top] |= self._rising[system, top]
        self._rising[system, top] = False
