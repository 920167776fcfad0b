"""A distribution moved by a symmetry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stanrovi.families.conditional import Conditional
from stanrovi.families.product import Product
from stanrovi.families.symmetry import Symmetry
from stanrovi.target import Array


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
        return np.asarray(np.sqrt(self.covariance().diagonal()))

    def covariance(self) -> Array:
        """Covariance, shape (dim, dim)."""
        return self.by.apply(self.by.apply(self.component.covariance()).T)


Component = Product | Conditional | Moved
