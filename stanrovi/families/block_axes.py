"""Axes of a few coordinates among each other, the other coordinates each for itself."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stanrovi.families.thin_axes import ThinAxes
from stanrovi.target import Array

if TYPE_CHECKING:
    from stanrovi.families.axes import Axes

Indices = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class BlockAxes(ThinAxes):
    """A block of axes, and coordinate axes.

    Attributes
    ----------
    block : ndarray of int, shape (k,)
        Coordinates of the block, ascending; its axes take their places.
    inner : Axes
        Among those, k of them.
    scale : ndarray, shape (dim,)
        Lengths of the others; one in the block.
    """

    block: Indices
    inner: Axes
    scale: Array

    @property
    def dim(self) -> int:
        """Number of axes."""
        return len(self.scale)

    @cached_property
    def _outside(self) -> Array:
        """Lengths of the coordinate axes."""
        return np.delete(self.scale, self.block)

    @property
    def log_volume(self) -> float:
        """``log |det B|``."""
        return self.inner.log_volume + float(np.log(self._outside).sum())

    def _with_block(self, whole: Array, inside: Array) -> Array:
        whole[..., self.block] = inside
        return whole

    def apply(self, y: Array) -> Array:
        """``B y`` for every row of y, shape (n, dim), or for one y of shape (dim,)."""
        return self._with_block(y * self.scale, self.inner.apply(y[..., self.block]))

    def solve(self, x: Array) -> Array:
        """``B^-1 x`` for every row of x, shape (n, dim), or for one x of shape (dim,)."""
        return self._with_block(x / self.scale, self.inner.solve(x[..., self.block]))

    def apply_transposed(self, gradient: Array) -> Array:
        """``B^T g``: gradients (n, dim) in x as gradients in y."""
        inside = self.inner.apply_transposed(gradient[..., self.block])
        return self._with_block(gradient * self.scale, inside)

    def solve_transposed(self, gradient: Array) -> Array:
        """``B^-T g``: gradients (n, dim) in y as gradients in x."""
        inside = self.inner.solve_transposed(gradient[..., self.block])
        return self._with_block(gradient / self.scale, inside)

    def scaled(self, factor: Array | float) -> BlockAxes:
        """Axes that are so many times as long, factor of shape (dim,) or one for all."""
        every = np.broadcast_to(np.asarray(factor, dtype=np.float64), (self.dim,))
        scale = self.scale * every
        scale[self.block] = 1.0
        return BlockAxes(self.block, self.inner.scaled(every[self.block]), scale)

    def sd(self, variance: Array | None = None) -> Array:
        """Give the sds (dim,) of ``B y``, the y uncorrelated with these variances, or with 1."""
        own = np.ones(self.dim) if variance is None else variance
        return self._with_block(self.scale * np.sqrt(own), self.inner.sd(own[self.block]))

    def precision_diagonal(self, variance: Array | None = None) -> Array:
        """Diagonal (dim,) of the inverse of that covariance."""
        own = np.ones(self.dim) if variance is None else variance
        inside = self.inner.precision_diagonal(own[self.block])
        return self._with_block(1.0 / (self.scale**2 * own), inside)

    def is_finite(self) -> bool:
        """Whether no entry is NaN or infinite."""
        return self.inner.is_finite() and bool(np.isfinite(self.scale).all())
