"""Climbs to a mode in some coordinates, with curvatures that are used for several steps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stanrovi.modes.precision import Factor
from stanrovi.target import Array, Target

Indices = NDArray[np.intp]

_DECREMENT = 1e-5  # twice the nats by which a mode may be missed
_FAR = 0.01  # and those from which a longer step is tried
_HALVINGS = 12


class NewtonClimb:
    """Newton steps in some coordinates, the others fixed.

    Attributes
    ----------
    x, gradient : ndarray, shape (dim,)
        Where the climb is.
    value : float
        Log density there.
    """

    def __init__(self, target: Target, coordinates: Indices, x: Array) -> None:
        self._target, self._coordinates = target, coordinates
        self.x = x
        self.value, self.gradient = self._look(x)

    def _look(self, x: Array) -> tuple[float, Array]:
        value, gradient = self._target.log_density_gradient(x[None])
        return float(value[0]), gradient[0]

    def ascend(self, factor: Factor) -> tuple[float, float, bool]:
        """Step with one curvature while that helps.

        Returns twice the nats that the first step promised and the second, and whether
        nothing is left to gain.
        """
        promised = [np.inf]
        for _ in range(4):
            slope = self.gradient[self._coordinates]
            step = factor.solve(slope)
            promised.append(float(slope @ step))
            if promised[-1] < _DECREMENT:
                break
            length = self._search(step, promised[-1])
            if length != 1.0:
                break
        settled = promised[-1] < _DECREMENT
        return promised[1], promised[min(2, len(promised) - 1)], settled

    def _search(self, step: Array, promised: float) -> float:
        """Step, shorter where it does not help, longer where it helps more than it should."""
        length = 1.0
        for _ in range(_HALVINGS):
            x = self._along(step, length)
            value, gradient = self._look(x)
            if value > self.value - 1e-9 * max(1.0, abs(self.value)):
                break
            length /= 4
        else:
            return 0.0
        while length >= 1.0 and promised > _FAR and value - self.value > 0.7 * length * promised:
            further = self._along(step, 4 * length)
            more, slope = self._look(further)
            if not more > value:
                break
            x, value, gradient, length = further, more, slope, 4 * length
        self.x, self.value, self.gradient = x, value, gradient
        return length

    def _along(self, step: Array, length: float) -> Array:
        x = self.x.copy()
        x[self._coordinates] += length * step
        return x
