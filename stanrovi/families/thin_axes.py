"""What axes that are no matrix have in common, told by their products alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NoReturn

import numpy as np

from stanrovi.target import Array


class ThinAxes(ABC):
    """Axes in memory linear in the dimension; see `stanrovi.families.axes.Axes`."""

    @property
    @abstractmethod
    def dim(self) -> int:
        """Number of axes."""

    @property
    @abstractmethod
    def log_volume(self) -> float:
        """``log |det B|``."""

    @abstractmethod
    def apply(self, y: Array) -> Array:
        """``B y`` for every row of y, shape (n, dim), or for one y of shape (dim,)."""

    @abstractmethod
    def apply_transposed(self, gradient: Array) -> Array:
        """``B^T g``: gradients (n, dim) in x as gradients in y."""

    @abstractmethod
    def solve_transposed(self, gradient: Array) -> Array:
        """``B^-T g``: gradients (n, dim) in y as gradients in x."""

    @property
    def matrix(self) -> Array:
        """B itself, shape (dim, dim): dense, and only on demand."""
        return self.apply(np.eye(self.dim)).T

    def solve_transposed_once(self, gradient: Array) -> Array:
        """``B^-T g`` for few rows, when no other solution will be asked for."""
        return self.solve_transposed(gradient)

    def column(self, j: int) -> Array:
        """Direction of axis j, shape (dim,)."""
        unit = np.zeros(self.dim)
        unit[j] = 1.0
        return self.apply(unit)

    def times(self, matrix: Array) -> NoReturn:
        """Refuse: it would be dense."""
        raise NotImplementedError("axes that are no matrix are not turned")

    def covariance(self, variance: Array | None = None) -> Array:
        """Covariance (dim, dim) of ``B y``: dense, and only on demand."""
        matrix = self.matrix
        return np.asarray((matrix * (1.0 if variance is None else variance)) @ matrix.T)

    def log_det_covariance(self) -> float:
        """Log determinant of the covariance of ``B y``, y of unit variance."""
        return 2 * self.log_volume

    def outward(self, direction: Array, distance: float, *, along_widest: bool) -> Array:
        """Step (dim,) of a length in whitened coordinates; see `stanrovi.families.axes.Axes`."""
        step = direction
        if along_widest:
            step = self.apply_transposed(self.apply(direction)[None])[0]
        return self.apply(step * (distance / np.linalg.norm(step)))
