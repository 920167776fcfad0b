"""Unit lower triangular matrices of one sparsity, one for each of many points."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from stanrovi.target import Array

Indices = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Pattern:
    """Where a unit lower triangular matrix N of order d has entries below its diagonal.

    Entries of n such matrices have shape (size, n) and what they are applied to (d, n): the
    points come last, so that whatever is done to a row is done to memory in a row.

    Attributes
    ----------
    rows : tuple of ndarray of int
        For each column, the rows below the diagonal, ascending.
    """

    rows: tuple[Indices, ...]

    @cached_property
    def _starts(self) -> Indices:
        """Where the entries of each column begin, and the number of all at the end."""
        return np.concatenate([[0], np.cumsum([len(r) for r in self.rows])]).astype(np.intp)

    @cached_property
    def _columns(self) -> tuple[tuple[int, Indices | slice, slice], ...]:
        """Columns that have entries, with their rows and the places of the entries."""
        return tuple(
            (j, _as_slice(rows), slice(int(self._starts[j]), int(self._starts[j + 1])))
            for j, rows in enumerate(self.rows)
            if len(rows)
        )

    @property
    def size(self) -> int:
        """Number of entries."""
        return int(self._starts[-1])

    @cached_property
    def positions(self) -> tuple[Indices, Indices]:
        """Row and column of every entry."""
        columns = np.repeat(np.arange(len(self.rows)), np.diff(self._starts))
        rows = np.concatenate([*self.rows, np.zeros(0, dtype=np.intp)]).astype(np.intp)
        return rows, columns

    def solve(self, entries: Array, b: Array) -> Array:
        """``N^-1 b`` for entries (size, n) and b (d, n)."""
        x = b.copy()
        for j, rows, part in self._columns:
            x[rows] -= entries[part] * x[j]
        return x

    def solve_transposed(self, entries: Array, b: Array) -> Array:
        """``N^-T b``."""
        x = b.copy()
        for j, rows, part in reversed(self._columns):
            x[j] -= np.einsum("en,en->n", entries[part], x[rows])
        return x

    def apply(self, entries: Array, a: Array) -> Array:
        """``N a``."""
        x = a.copy()
        for j, rows, part in self._columns:
            x[rows] += entries[part] * a[j]
        return x

    def apply_transposed(self, entries: Array, a: Array) -> Array:
        """``N^T a``."""
        x = a.copy()
        for j, rows, part in self._columns:
            x[j] += np.einsum("en,en->n", entries[part], a[rows])
        return x


def _as_slice(rows: Indices) -> Indices | slice:
    """Rows as a slice where they follow each other."""
    first, last = int(rows[0]), int(rows[-1])
    return slice(first, last + 1) if last - first == len(rows) - 1 else rows
