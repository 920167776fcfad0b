"""Linear symmetries of a density, and a distribution moved by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from stanrovi.families.conditional import Conditional
from stanrovi.families.product import Product
from stanrovi.target import Array

Indices = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Symmetry:
    """An orthogonal map ``g x = M x``: of coordinates exchanged, signs turned, blocks rotated.

    Attributes
    ----------
    matrix : csr_array, shape (dim, dim)
        M.
    """

    matrix: csr_array

    @classmethod
    def signed(cls, order: Indices, sign: Array) -> Symmetry:
        """Make ``(g x)[i] = sign[i] * x[order[i]]``."""
        d = len(order)
        return cls(csr_array((np.asarray(sign, dtype=float), (np.arange(d), order)), shape=(d, d)))

    @classmethod
    def identity(cls, dim: int) -> Symmetry:
        """Leave everything as it is."""
        return cls.signed(np.arange(dim), np.ones(dim))

    @property
    def key(self) -> bytes:
        """The same for the same map."""
        rows, columns = self.matrix.nonzero()
        entries = np.round(self.matrix[rows, columns], 9)
        order = np.lexsort((columns, rows))
        kept = order[np.abs(entries[order]) > 0]
        return b"".join(part[kept].tobytes() for part in (rows, columns, entries))

    @property
    def inverse(self) -> Symmetry:
        """What undoes it."""
        return Symmetry(csr_array(self.matrix.T))

    def after(self, other: Symmetry) -> Symmetry:
        """First ``other``, then this."""
        return Symmetry(csr_array(self.matrix @ other.matrix))

    def apply(self, x: Array) -> Array:
        """Image of a point (dim,), or of points (n, dim)."""
        return np.asarray((self.matrix @ x.T).T)

    def told(self, names: Sequence[str]) -> str:
        """Say in words what it does: which coordinates it exchanges, which it turns."""
        dense = self.matrix.toarray()
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


@dataclass(frozen=True)
class Moved:
    """The distribution of ``g x`` where x has a given one.

    Attributes
    ----------
    component : Product or Conditional
    by : Symmetry
        g.
    """

    component: Product | Conditional
    by: Symmetry

    @property
    def dim(self) -> int:
        """Number of unconstrained parameters."""
        return self.component.dim

    def from_base(self, z: Array) -> Array:
        """Map base points z (n, dim) to x (n, dim)."""
        return self.by.apply(self.component.from_base(z))

    def to_base(self, x: Array) -> Array:
        """Invert `from_base`."""
        return self.component.to_base(self.by.inverse.apply(x))

    def push_forward(self, z: Array) -> tuple[Array, Array]:
        """Map base points z (n, dim) to x (n, dim), with the log density (n,) there."""
        x, log_q = self.component.push_forward(z)
        return self.by.apply(x), log_q

    def transport(self, z: Array) -> tuple[Array, Array, Callable[[Array], Array]]:
        """Change variables from base points z (n, dim); see `stanrovi.target.ChangeOfVariables`."""
        x, log_det, lift = self.component.transport(z)
        return self.by.apply(x), log_det, lambda gradient: lift(self.by.inverse.apply(gradient))

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        """Draw ``n`` points, shape (n, dim): quasi-random, in random order."""
        return self.by.apply(self.component.sample(n, rng))

    def log_density(self, x: Array) -> Array:
        """Log density (n,) at x of shape (n, dim)."""
        return self.component.log_density(self.by.inverse.apply(x))

    def log_density_gradient(self, x: Array) -> tuple[Array, Array]:
        """Log density (n,) and its gradient (n, dim) at x of shape (n, dim)."""
        value, gradient = self.component.log_density_gradient(self.by.inverse.apply(x))
        return value, self.by.apply(gradient)

    def mean(self) -> Array:
        """Mean, shape (dim,)."""
        return self.by.apply(self.component.mean())

    def sd(self) -> Array:
        """Give the standard deviations, shape (dim,)."""
        return np.asarray(np.sqrt(np.diag(self.covariance())))

    def covariance(self) -> Array:
        """Covariance, shape (dim, dim)."""
        return self.by.apply(self.by.apply(self.component.covariance()).T)
