"""Axes of a distribution whose precision is sparse, in memory and time linear in its entries.

Chains, arrows, blocks and what is made of them have precisions with few entries, and Cholesky
factors with few more once their coordinates are eliminated in a good order (minimum degree;
George and Liu 1989, doi:10.1137/1031001). The factor is all that is kept: ``Q = L D L^T`` in that
order, and ``B = L^-T S`` with S diagonal.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, diags_array
from scipy.sparse.linalg import splu

from stanrovi.families.thin_axes import ThinAxes
from stanrovi.target import Array

if TYPE_CHECKING:
    from scipy.sparse.linalg import SuperLU


Indices = NDArray[np.intp]
# A coordinate that the others explain to this share is a ridge: what is left is rounding.
_RIDGE = 1e-10


@dataclass(frozen=True, eq=False)
class SparseAxes(ThinAxes):
    """Triangular axes of a normal distribution with a sparse precision.

    Attributes
    ----------
    order : ndarray of int, shape (dim,)
        Coordinates in the order of their elimination.
    factor : csc_array, shape (dim, dim)
        L, lower triangular with a unit diagonal, rows and columns in that order.
    scale : ndarray, shape (dim,)
        S, positive.
    """

    order: Indices
    factor: csc_array
    scale: Array

    @classmethod
    def of_precision(cls, precision: csc_array, order: Indices | None = None) -> SparseAxes:
        """Factorise a sparse precision.

        Parameters
        ----------
        precision : csc_array, shape (dim, dim)
            Symmetric; both triangles are read.
        order : ndarray of int, optional
            A good order of elimination, if known.

        Raises
        ------
        numpy.linalg.LinAlgError
            If it is not positive definite.
        """
        given = None if order is None else precision[order][:, order]
        plan = "MMD_AT_PLUS_A" if given is None else "NATURAL"
        matrix = csc_array(precision if given is None else given)
        if not np.isfinite(matrix.data).all():
            raise np.linalg.LinAlgError("the precision has entries that are no numbers")
        try:
            found = splu(
                matrix,
                permc_spec=plan,
                diag_pivot_thresh=0.0,
                options={"SymmetricMode": True},
            )
        except RuntimeError as e:  # exactly singular
            raise np.linalg.LinAlgError("the precision is singular") from e
        pivot = found.U.diagonal()
        inner = np.argsort(found.perm_c)
        sound = bool((found.perm_r == found.perm_c).all())
        if not (sound and (pivot > _RIDGE * matrix.diagonal()[inner]).all()):
            raise np.linalg.LinAlgError("the precision is not positive definite")
        chosen = inner if order is None else order[inner]
        return cls(np.asarray(chosen, dtype=np.intp), csc_array(found.L), pivot**-0.5)

    def __reduce__(self) -> tuple[type[SparseAxes], tuple[Indices, csc_array, Array]]:
        return SparseAxes, (self.order, self.factor, self.scale)  # without what was derived

    @property
    def dim(self) -> int:
        """Number of axes."""
        return len(self.scale)

    @cached_property
    def _solver(self) -> SuperLU:
        return splu(self.factor, permc_spec="NATURAL", diag_pivot_thresh=0.0)

    @cached_property
    def _rank(self) -> Indices:
        """Place of each coordinate in the order."""
        rank = np.empty(self.dim, dtype=np.intp)
        rank[self.order] = np.arange(self.dim)
        return rank

    @property
    def log_volume(self) -> float:
        """``log |det B|``."""
        return float(np.log(self.scale).sum())

    def apply(self, y: Array) -> Array:
        """``B y`` for every row of y, shape (n, dim), or for one y of shape (dim,)."""
        solved = self._solver.solve(np.ascontiguousarray((y * self.scale).T), "T")
        return np.ascontiguousarray(solved[self._rank].T)

    def solve(self, x: Array) -> Array:
        """``B^-1 x`` for every row of x, shape (n, dim), or for one x of shape (dim,)."""
        return np.asarray((self.factor.T @ x.T[self.order]).T / self.scale)

    def apply_transposed(self, gradient: Array) -> Array:
        """``B^T g``: gradients (n, dim) in x as gradients in y."""
        solved = self._solver.solve(np.ascontiguousarray(gradient.T[self.order]))
        return np.ascontiguousarray(solved.T) * self.scale

    def solve_transposed(self, gradient: Array) -> Array:
        """``B^-T g``: gradients (n, dim) in y as gradients in x."""
        return np.ascontiguousarray((self.factor @ (gradient / self.scale).T)[self._rank].T)

    def scaled(self, factor: Array | float) -> SparseAxes:
        """Axes that are so many times as long, factor of shape (dim,) or one for all."""
        made = SparseAxes(self.order, self.factor, np.asarray(self.scale * factor))
        made.__dict__.update(_solver=self._solver, _rank=self._rank)  # not to be found twice
        return made

    def sd(self, variance: Array | None = None) -> Array:
        """Give the sds (dim,) of ``B y``, the y uncorrelated with these variances, or with 1."""
        scale = self.scale if variance is None else self.scale * np.sqrt(variance)
        return np.sqrt(_inverse_diagonal(self.factor, scale))[self._rank]

    def precision_diagonal(self, variance: Array | None = None) -> Array:
        """Diagonal (dim,) of the inverse of that covariance."""
        spread = self.scale**2 * (1.0 if variance is None else variance)
        return np.asarray(self.factor.power(2) @ (1.0 / spread))[self._rank]

    def is_finite(self) -> bool:
        """Whether no entry is NaN or infinite."""
        return bool(np.isfinite(self.factor.data).all() and np.isfinite(self.scale).all())


def precision_of(axes: SparseAxes) -> csc_array:
    """Give the precision itself, with the zeros that its factor has filled in."""
    root = axes.factor @ diags_array(1.0 / axes.scale)
    made = csc_array(root @ root.T)
    return csc_array(made[axes._rank][:, axes._rank])


def _inverse_diagonal(factor: csc_array, scale: Array) -> Array:
    """Diagonal of ``(L S^-2 L^T)^-1`` from its entries where L has any.

    Takahashi, Fagan and Chen (1973): backwards through the columns, each entry from later ones.
    """
    d, start = len(scale), factor.indptr
    below = factor.copy()
    below.sort_indices()
    rows, values = below.indices.astype(np.int64), below.data
    columns = np.repeat(np.arange(d), np.diff(start))
    keys = columns * d + rows  # sorted, as rows are within each column
    inverse = np.zeros(len(values))
    place = np.empty(0, dtype=np.intp)
    for j in range(d - 1, -1, -1):
        first, last = start[j] + 1, start[j + 1]  # the diagonal comes first
        lower = values[first:last]
        if first == last:
            inverse[start[j]] = scale[j] ** 2
            continue
        at = rows[first:last]
        low, high = np.minimum(at[:, None], at), np.maximum(at[:, None], at)
        place = np.searchsorted(keys, low * d + high)
        inverse[first:last] = -inverse[place] @ lower
        inverse[start[j]] = scale[j] ** 2 - inverse[first:last] @ lower
    return inverse[start[:-1]]
