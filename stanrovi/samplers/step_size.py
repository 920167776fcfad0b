"""Step sizes that adapt to an acceptance rate."""

from __future__ import annotations

import numpy as np

from stanrovi.target import Array


class DualAveraging:
    """Step size of every chain (Hoffman and Gelman 2014, section 3.2.1; constants as in Stan).

    Parameters
    ----------
    first : ndarray, shape (chains,)
        Step sizes to begin with.
    aim : float
        Acceptance rate to reach.

    Attributes
    ----------
    step : ndarray, shape (chains,)
        For the next step of warm-up.
    """

    def __init__(self, first: Array, aim: float) -> None:
        self.step = first
        self._log_first, self._aim = np.log(first), aim
        self._count = 0
        self._error = self._log_mean = np.zeros(len(first))

    def update(self, accepted: Array) -> None:
        """Move the step size towards the acceptance aimed at."""
        self._count += 1
        t = self._count
        share, weight = 1 / (t + 10), t**-0.75
        self._error = (1 - share) * self._error + share * (self._aim - accepted)
        log_step = self._log_first - self._error * np.sqrt(t) / 0.05
        self._log_mean = weight * log_step + (1 - weight) * self._log_mean
        self.step = np.exp(log_step)

    @property
    def final_step(self) -> Array:
        """The averaged step size, shape (chains,)."""
        return np.exp(self._log_mean)
