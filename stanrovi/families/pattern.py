"""Unit lower triangular matrices with entries in few places, a different one for each row."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from stanrovi.target import Array

Indices = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Pattern:
    """Where a unit lower triangular matrix of order d has entries below its diagonal.

    Attributes
    ----------
    rows : tuple of ndarray of int
        For each column, the rows below the diagonal, ascending.
    """

    rows: tuple[Indices, ...]

    @cached_property
    def starts(self) -> Indices:
        """Where the entries of each column begin, and the number of all at the end."""
        return np.concatenate([[0], np.cumsum([len(r) for r in self.rows])]).astype(np.intp)

    @property
    def size(self) -> int:
        """Number of entries."""
        return int(self.starts[-1])

    @cached_property
    def positions(self) -> tuple[Indices, Indices]:
        """Row and column of every entry."""
        columns = np.repeat(np.arange(len(self.rows)), np.diff(self.starts))
        rows = np.concatenate([*self.rows, np.zeros(0, dtype=np.intp)]).astype(np.intp)
        return rows, columns

    def solve(self, entries: Array, b: Array) -> Array:
        """``N^-1 b`` for unit lower triangular N; entries (n, size), b (n, d)."""
        x = b.copy()
        for j, rows in enumerate(self.rows):
            if len(rows):
                x[:, rows] -= entries[:, self.starts[j] : self.starts[j + 1]] * x[:, j, None]
        return x

    def solve_transposed(self, entries: Array, b: Array) -> Array:
        """``N^-T b``."""
        x = b.copy()
        for j in range(len(self.rows) - 1, -1, -1):
            rows = self.rows[j]
            if len(rows):
                part = entries[:, self.starts[j] : self.starts[j + 1]]
                x[:, j] -= np.einsum("ne,ne->n", part, x[:, rows])
        return x

    def apply(self, entries: Array, a: Array) -> Array:
        """``N a``."""
        x = a.copy()
        for j, rows in enumerate(self.rows):
            if len(rows):
                x[:, rows] += entries[:, self.starts[j] : self.starts[j + 1]] * a[:, j, None]
        return x

    def apply_transposed(self, entries: Array, a: Array) -> Array:
        """``N^T a``."""
        x = a.copy()
        for j, rows in enumerate(self.rows):
            if len(rows):
                part = entries[:, self.starts[j] : self.starts[j + 1]]
                x[:, j] += np.einsum("ne,ne->n", part, a[:, rows])
        return x
