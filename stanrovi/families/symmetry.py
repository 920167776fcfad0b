"""Linear symmetries: coordinates exchanged, signs turned, blocks rotated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from stanrovi.target import Array

Indices = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Symmetry:
    """An orthogonal map ``g x = M x``: of coordinates exchanged, signs turned, blocks rotated.

    Attributes
    ----------
    entries : csr_array, shape (dim, dim)
        M.
    """

    entries: csr_array

    @classmethod
    def signed(cls, order: Indices, sign: Array) -> Symmetry:
        """Make ``(g x)[i] = sign[i] * x[order[i]]``."""
        d = len(order)
        signs = np.array(sign, dtype=float)
        return cls(csr_array((signs, np.array(order), np.arange(d + 1)), shape=(d, d)))

    @classmethod
    def identity(cls, dim: int) -> Symmetry:
        """Leave everything as it is."""
        return cls.signed(np.arange(dim), np.ones(dim))

    @property
    def key(self) -> bytes:
        """The same for the same map."""
        columns, entries = self.entries.indices, np.round(self.entries.data, 9)
        rows = np.repeat(np.arange(self.entries.shape[0]), np.diff(self.entries.indptr))
        order = np.lexsort((columns, rows))
        kept = order[np.abs(entries[order]) > 0]
        return b"".join(part[kept].tobytes() for part in (rows, columns, entries))

    @cached_property
    def inverse(self) -> Symmetry:
        """What undoes it."""
        return Symmetry(csr_array(self.entries.T))

    def after(self, other: Symmetry) -> Symmetry:
        """First ``other``, then this."""
        return Symmetry(csr_array(self.entries @ other.entries))

    def apply(self, x: Array) -> Array:
        """Image of a point (dim,), or of points (n, dim)."""
        return np.asarray((self.entries @ x.T).T)

    def told(self, names: Sequence[str]) -> str:
        """Say in words what it does: which coordinates it exchanges, which it turns."""
        dense = self.entries.toarray()
        simple = (np.abs(dense) > 1 - 1e-9).any(axis=1)
        order = np.where(simple, np.abs(dense).argmax(axis=1), np.arange(len(dense)))
        exchanged: list[str] = []
        seen: set[int] = set()
        for i, j in enumerate(order.tolist()):
            if i not in seen and j != i:
                cycle: list[int] = [i]
                while (after := int(order[cycle[-1]])) != i:
                    cycle.append(after)
                seen |= set(cycle)
                exchanged.append(" and ".join(names[member] for member in cycle))
        sign = dense[np.arange(len(dense)), order]
        turned = [names[i] for i in np.flatnonzero(simple & (sign < 0)).tolist()]
        mixed = [names[i] for i in np.flatnonzero(~simple).tolist()]
        said = [f"{_listed(exchanged)} exchanged"] if exchanged else []
        said += [f"the sign of {_listed(turned)} turned"] if turned else []
        said += [f"{_listed(mixed)} rotated"] if mixed else []
        return " and ".join(said)


def _listed(items: list[str]) -> str:
    return ", ".join(items[:4]) + (f" and {len(items) - 4} more" if len(items) > 4 else "")
