"""Where a density was evaluated of late."""

from __future__ import annotations

import numpy as np

from stanrovi.target import Array, Density

_POINTS = 4000
_MOST_DIM = 16  # in more, no point of a fit's making is near anything that its draws are not


class Seen:
    """A density that remembers the latest points with their values.

    Parameters
    ----------
    density : Density
    """

    def __init__(self, density: Density) -> None:
        self._density, self.dim = density, density.dim
        self._batches: list[tuple[Array, Array]] = []

    def log_density_gradient(self, x: Array, /) -> tuple[Array, Array]:
        """Evaluate a batch; see `stanrovi.target.Density`."""
        value, gradient = self._density.log_density_gradient(x)
        if self.dim <= _MOST_DIM:
            self._batches.append((x.copy(), value))
        return value, gradient

    @property
    def points(self) -> tuple[Array, Array]:
        """The latest points (n, dim), with the log density there (n,)."""
        x = [batch[0] for batch in self._batches] or [np.empty((0, self.dim))]
        value = [batch[1] for batch in self._batches] or [np.empty(0)]
        latest = np.concatenate(x)[-_POINTS:], np.concatenate(value)[-_POINTS:]
        self._batches = [latest]
        return latest
