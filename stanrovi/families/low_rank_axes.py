"""Axes that stretch the coordinates, and a few directions besides: diagonal plus low rank.

``B = diag(s) (I + U diag(f - 1) U^T) diag(t)`` with U of few orthonormal columns: symmetric but
for the lengths, so that each axis stays as near as can be to one coordinate. Memory and time are
linear in the dimension.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stanrovi.families.thin_axes import ThinAxes
from stanrovi.target import Array


@dataclass(frozen=True, eq=False)
class LowRankAxes(ThinAxes):
    """Axes of a normal distribution whose scaled covariance differs from one in few directions.

    Attributes
    ----------
    scale : ndarray, shape (dim,)
        s, positive.
    directions : ndarray, shape (dim, r)
        U, orthonormal columns.
    stretch : ndarray, shape (r,)
        f, positive: standard deviations along them.
    length : ndarray, shape (dim,)
        t, positive: of each axis.
    """

    scale: Array
    directions: Array
    stretch: Array
    length: Array

    @classmethod
    def of_precision(cls, scale: Array, diagonal: Array, u: Array, core: Array) -> LowRankAxes:
        """Take a precision ``diag(diagonal) + u core u^T`` in coordinates over their scales.

        Parameters
        ----------
        scale, diagonal : ndarray, shape (dim,)
            The diagonal positive.
        u : ndarray, shape (dim, r)
        core : ndarray, shape (r, r)
            Symmetric. Directions with less than a millionth of the precision that the
            diagonal has get that much.
        """
        root = diagonal**-0.5
        q, t = np.linalg.qr(root[:, None] * u)
        spectrum, vectors = np.linalg.eigh(t @ core @ t.T)
        stretch = np.maximum(1.0 + spectrum, 1e-6) ** -0.5
        return cls(scale * root, q @ vectors, stretch, np.ones(len(scale)))

    @property
    def dim(self) -> int:
        """Number of axes."""
        return len(self.scale)

    @property
    def log_volume(self) -> float:
        """``log |det B|``."""
        return float(
            np.log(self.scale).sum() + np.log(self.length).sum() + np.log(self.stretch).sum()
        )

    def _stretched(self, y: Array, factor: Array) -> Array:
        return np.asarray(y + ((y @ self.directions) * (factor - 1.0)) @ self.directions.T)

    def apply(self, y: Array) -> Array:
        """``B y`` for every row of y, shape (n, dim), or for one y of shape (dim,)."""
        return self._stretched(y * self.length, self.stretch) * self.scale

    def solve(self, x: Array) -> Array:
        """``B^-1 x`` for every row of x, shape (n, dim), or for one x of shape (dim,)."""
        return self._stretched(x / self.scale, 1.0 / self.stretch) / self.length

    def apply_transposed(self, gradient: Array) -> Array:
        """``B^T g``: gradients (n, dim) in x as gradients in y."""
        return self._stretched(gradient * self.scale, self.stretch) * self.length

    def solve_transposed(self, gradient: Array) -> Array:
        """``B^-T g``: gradients (n, dim) in y as gradients in x."""
        return self._stretched(gradient / self.length, 1.0 / self.stretch) / self.scale

    def scaled(self, factor: Array | float) -> LowRankAxes:
        """Axes that are so many times as long, factor of shape (dim,) or one for all."""
        return LowRankAxes(self.scale, self.directions, self.stretch, self.length * factor)

    def sd(self, variance: Array | None = None) -> Array:
        """Give the sds (dim,) of ``B y``, the y uncorrelated with these variances, or with 1."""
        spread = self.length**2 * (1.0 if variance is None else variance)
        return self.scale * np.sqrt(_quadratic(self.directions, self.stretch - 1.0, spread))

    def precision_diagonal(self, variance: Array | None = None) -> Array:
        """Diagonal (dim,) of the inverse of that covariance."""
        spread = self.length**2 * (1.0 if variance is None else variance)
        inverse = _quadratic(self.directions, 1.0 / self.stretch - 1.0, 1.0 / spread)
        return np.asarray(inverse / self.scale**2)

    def is_finite(self) -> bool:
        """Whether no entry is NaN or infinite."""
        parts = (self.scale, self.directions, self.stretch, self.length)
        return all(bool(np.isfinite(part).all()) for part in parts)


def _quadratic(u: Array, change: Array, spread: Array) -> Array:
    """Diagonal of ``(I + U F U^T) diag(spread) (I + U F U^T)``, F = diag(change)."""
    inner = change[:, None] * ((u.T * spread) @ u) * change
    along = ((u @ inner) * u).sum(axis=1)
    return np.asarray(spread * (1.0 + 2.0 * ((u * change) * u).sum(axis=1)) + along)
