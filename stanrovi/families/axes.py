"""Linear axes of a distribution, ``x = center + B y``, whatever B looks like in memory.

`DenseAxes` is any invertible matrix, `DiagonalAxes` scales the coordinates and costs
memory and time linear in the dimension. What works on axes asks for products, solutions
and spreads, not for entries, so that others (diagonal plus low rank, say) can stand here.
Points and gradients are rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np

from stanrovi.target import Array

DENSE_LIMIT = 500  # dimensions up to which matrices are held whole


class Axes(Protocol):
    """An invertible linear map B of R^dim."""

    @property
    def dim(self) -> int:
        """Number of axes."""

    @property
    def matrix(self) -> Array:
        """B itself, shape (dim, dim), column j the direction of axis j."""

    @property
    def log_volume(self) -> float:
        """``log |det B|``."""

    def apply(self, y: Array) -> Array:
        """``B y`` for every row of y, shape (n, dim), or for one y of shape (dim,)."""

    def solve(self, x: Array) -> Array:
        """``B^-1 x`` for every row of x, shape (n, dim), or for one x of shape (dim,)."""

    def apply_transposed(self, gradient: Array) -> Array:
        """``B^T g``: gradients (n, dim) in x as gradients in y."""

    def solve_transposed(self, gradient: Array) -> Array:
        """``B^-T g``: gradients (n, dim) in y as gradients in x."""

    def solve_transposed_once(self, gradient: Array) -> Array:
        """``B^-T g`` for few rows, when no other solution will be asked for."""

    def column(self, j: int) -> Array:
        """Direction of axis j, shape (dim,)."""

    def scaled(self, factor: Array | float) -> Axes:
        """Axes that are so many times as long, factor of shape (dim,) or one for all."""

    def times(self, matrix: Array) -> DenseAxes:
        """``B @ matrix``."""

    def sd(self, variance: Array | None = None) -> Array:
        """Give the sds (dim,) of ``B y``, the y uncorrelated with these variances, or with 1."""

    def covariance(self, variance: Array | None = None) -> Array:
        """Covariance (dim, dim) of ``B y``, the y uncorrelated with these variances, or with 1."""

    def precision_diagonal(self, variance: Array | None = None) -> Array:
        """Diagonal (dim,) of the inverse of that covariance."""

    def log_det_covariance(self) -> float:
        """Log determinant of the covariance of ``B y``, y of unit variance; -inf if singular."""

    def outward(self, direction: Array, distance: float, *, along_widest: bool) -> Array:
        """Step (dim,) of so many standard deviations in a direction (dim,) of whitened space.

        Directions count in proportion to their variance, if it is to be along the widest.
        """

    def is_finite(self) -> bool:
        """Whether no entry is NaN or infinite."""


@dataclass(frozen=True, eq=False)
class DenseAxes:
    """Axes of any directions.

    Attributes
    ----------
    matrix : ndarray, shape (dim, dim)
        Invertible; column j is the direction of axis j.
    given_covariance : ndarray, shape (dim, dim), optional
        ``B @ B.T`` where B was made from it, without the rounding of a product.
    """

    matrix: Array
    given_covariance: Array | None = field(default=None, repr=False)

    @classmethod
    def of_covariance(cls, covariance: Array) -> DenseAxes:
        """Lower triangular axes of a normal distribution with a given covariance (Cholesky).

        Raises
        ------
        numpy.linalg.LinAlgError
            If the covariance is not positive definite.
        """
        return cls(np.asarray(np.linalg.cholesky(covariance), dtype=np.float64), covariance)

    def __reduce__(self) -> tuple[type[DenseAxes], tuple[Array, Array | None]]:
        return DenseAxes, (self.matrix, self.given_covariance)  # without what was derived

    @property
    def dim(self) -> int:
        """Number of axes."""
        return len(self.matrix)

    @cached_property
    def log_volume(self) -> float:
        """``log |det B|``."""
        return float(np.linalg.slogdet(self.matrix)[1])

    @cached_property
    def _inverse(self) -> Array:
        # Many points are mapped on the same axes, so one inversion is cheaper than solves.
        return np.asarray(np.linalg.inv(self.matrix), dtype=np.float64)

    @cached_property
    def _gram(self) -> Array:
        if self.given_covariance is not None:
            return self.given_covariance
        return np.asarray(self.matrix @ self.matrix.T)

    @cached_property
    def _principal(self) -> tuple[Array, Array]:
        spectrum, vectors = np.linalg.eigh(self._gram)
        return np.asarray(spectrum), np.asarray(vectors)

    def apply(self, y: Array) -> Array:
        """``B y`` for every row of y, shape (n, dim), or for one y of shape (dim,)."""
        return np.asarray(self.matrix @ y if y.ndim == 1 else y @ self.matrix.T)

    def solve(self, x: Array) -> Array:
        """``B^-1 x`` for every row of x, shape (n, dim), or for one x of shape (dim,)."""
        return np.asarray(self._inverse @ x if x.ndim == 1 else x @ self._inverse.T)

    def apply_transposed(self, gradient: Array) -> Array:
        """``B^T g``: gradients (n, dim) in x as gradients in y."""
        return np.asarray(gradient @ self.matrix)

    def solve_transposed(self, gradient: Array) -> Array:
        """``B^-T g``: gradients (n, dim) in y as gradients in x."""
        return np.asarray(gradient @ self._inverse)

    def solve_transposed_once(self, gradient: Array) -> Array:
        """``B^-T g`` for few rows, when no other solution will be asked for."""
        return np.asarray(np.linalg.solve(self.matrix.T, gradient.T).T)

    def column(self, j: int) -> Array:
        """Direction of axis j, shape (dim,)."""
        return self.matrix[:, j]

    def scaled(self, factor: Array | float) -> DenseAxes:
        """Axes that are so many times as long, factor of shape (dim,) or one for all."""
        return DenseAxes(self.matrix * factor)

    def times(self, matrix: Array) -> DenseAxes:
        """``B @ matrix``."""
        return DenseAxes(np.asarray(self.matrix @ matrix))

    def sd(self, variance: Array | None = None) -> Array:
        """Give the sds (dim,) of ``B y``, the y uncorrelated with these variances, or with 1."""
        squared = np.diag(self._gram) if variance is None else self.matrix**2 @ variance
        return np.asarray(np.sqrt(squared))

    def covariance(self, variance: Array | None = None) -> Array:
        """Covariance (dim, dim) of ``B y``, the y uncorrelated with these variances, or with 1."""
        if variance is None:
            return self._gram
        return np.asarray((self.matrix * variance) @ self.matrix.T)

    def precision_diagonal(self, variance: Array | None = None) -> Array:
        """Diagonal (dim,) of the inverse of that covariance."""
        return np.diag(np.linalg.inv(self.covariance(variance)))

    def log_det_covariance(self) -> float:
        """Log determinant of the covariance of ``B y``, y of unit variance; -inf if singular."""
        sign, log_det = np.linalg.slogdet(self._gram)
        return float(log_det) if sign > 0 else -np.inf

    def outward(self, direction: Array, distance: float, *, along_widest: bool) -> Array:
        """Step (dim,) of a length in whitened coordinates; see `Axes`."""
        spectrum, vectors = self._principal
        step = direction * (spectrum / spectrum[-1]) if along_widest else direction
        step = step * (distance / np.linalg.norm(step))
        return np.asarray(vectors @ (np.sqrt(np.maximum(spectrum, 0.0)) * step))

    def is_finite(self) -> bool:
        """Whether no entry is NaN or infinite."""
        return bool(np.isfinite(self.matrix).all())


@dataclass(frozen=True, eq=False)
class DiagonalAxes:
    """The coordinate axes, each with a length of its own.

    Attributes
    ----------
    scale : ndarray, shape (dim,)
        Lengths, positive.
    """

    scale: Array

    @property
    def dim(self) -> int:
        """Number of axes."""
        return len(self.scale)

    @property
    def matrix(self) -> Array:
        """B itself, shape (dim, dim), for what is small."""
        return np.diag(self.scale)

    @cached_property
    def log_volume(self) -> float:
        """``log |det B|``, summed in order: to the last bit that of a dense diagonal matrix."""
        return float(np.cumsum(np.log(self.scale))[-1])

    @cached_property
    def _inverse(self) -> Array:
        return np.asarray(1.0 / self.scale)

    def apply(self, y: Array) -> Array:
        """``B y`` for every row of y, shape (n, dim), or for one y of shape (dim,)."""
        return np.asarray(y * self.scale)

    def solve(self, x: Array) -> Array:
        """``B^-1 x`` for every row of x, shape (n, dim), or for one x of shape (dim,)."""
        return np.asarray(x * self._inverse)

    def apply_transposed(self, gradient: Array) -> Array:
        """``B^T g``: gradients (n, dim) in x as gradients in y."""
        return np.asarray(gradient * self.scale)

    def solve_transposed(self, gradient: Array) -> Array:
        """``B^-T g``: gradients (n, dim) in y as gradients in x."""
        return np.asarray(gradient * self._inverse)

    def solve_transposed_once(self, gradient: Array) -> Array:
        """``B^-T g`` for few rows, when no other solution will be asked for."""
        return self.solve_transposed(gradient)

    def column(self, j: int) -> Array:
        """Direction of axis j, shape (dim,)."""
        out = np.zeros(self.dim)
        out[j] = self.scale[j]
        return out

    def scaled(self, factor: Array | float) -> DiagonalAxes:
        """Axes that are so many times as long, factor of shape (dim,) or one for all."""
        return DiagonalAxes(self.scale * factor)

    def times(self, matrix: Array) -> DenseAxes:
        """``B @ matrix``."""
        return DenseAxes(self.scale[:, None] * matrix)

    def sd(self, variance: Array | None = None) -> Array:
        """Give the sds (dim,) of ``B y``, the y uncorrelated with these variances, or with 1."""
        return self.scale if variance is None else np.asarray(self.scale * np.sqrt(variance))

    def covariance(self, variance: Array | None = None) -> Array:
        """Covariance (dim, dim) of ``B y``, the y uncorrelated with these variances, or with 1."""
        return np.diag(self.scale**2 if variance is None else self.scale**2 * variance)

    def precision_diagonal(self, variance: Array | None = None) -> Array:
        """Diagonal (dim,) of the inverse of that covariance."""
        return np.asarray(1.0 / (self.scale**2 * (1.0 if variance is None else variance)))

    def log_det_covariance(self) -> float:
        """Log determinant of the covariance of ``B y``, y of unit variance."""
        return 2 * self.log_volume

    def outward(self, direction: Array, distance: float, *, along_widest: bool) -> Array:
        """Step (dim,) of a length in whitened coordinates; see `Axes`."""
        variance = self.scale**2
        step = direction * (variance / variance.max()) if along_widest else direction
        return np.asarray(self.scale * (step * (distance / np.linalg.norm(step))))

    def is_finite(self) -> bool:
        """Whether no entry is NaN or infinite."""
        return bool(np.isfinite(self.scale).all())


def as_axes(axes: Axes | Array) -> Axes:
    """Take axes as they are, or a matrix (dim, dim) of them."""
    return DenseAxes(axes) if isinstance(axes, np.ndarray) else axes


@dataclass(frozen=True, eq=False)
class Frame:
    """Axes with their origin.

    Attributes
    ----------
    center : ndarray, shape (dim,)
        Unconstrained space.
    axes : Axes
    """

    center: Array
    axes: Axes

    def coordinates(self, x: Array) -> Array:
        """Coordinates y of points x, both of shape (..., dim): ``x = center + B y``."""
        away = x - self.center
        if away.ndim <= 2:
            return self.axes.solve(away)
        return self.axes.solve(away.reshape(-1, self.axes.dim)).reshape(away.shape)
