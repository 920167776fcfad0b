"""Mixtures, for modes that no single product holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from stanrovi.families.base import Family
from stanrovi.families.conditional import Conditional
from stanrovi.families.moved import Component
from stanrovi.families.product import Product
from stanrovi.families.sobol import MAX_POINTS
from stanrovi.given import at_points, check_sampling
from stanrovi.target import Array


@dataclass(frozen=True, eq=False)
class Mixture:
    """Weighted mixture of product measures, conditional families, and images of either.

    Attributes
    ----------
    weights : ndarray, shape (K,)
        Positive, summing to one (but see `near`).
    components : tuple of Product, Conditional or Moved
    """

    weights: Array
    components: tuple[Component, ...]

    @property
    def dim(self) -> int:
        """Number of unconstrained parameters."""
        return self.components[0].dim

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        """Draw ``n`` points, shape (n, dim): quasi-random, in random order.

        Components get their share of ``n`` up to a randomly rounded point.
        """
        check_sampling(n, rng, MAX_POINTS)
        edges = np.floor(n * np.concatenate([[0.0], np.cumsum(self.weights)]) + rng.random())
        edges[0], edges[-1] = 0, n
        counts = np.diff(np.clip(edges, 0, n)).astype(int)
        parts = [c.sample(k, rng) for c, k in zip(self.components, counts, strict=True)]
        return np.asarray(rng.permutation(np.concatenate(parts)))

    def joint_log_density(self, x: Array) -> Array:
        """``log w_k + log q_k(x)``, shape (n, K)."""
        x = at_points(x, self.dim)
        parts = [c.log_density(x) for c in self.components]
        return np.asarray(np.log(self.weights) + np.stack(parts, axis=1))

    def log_density(self, x: Array) -> Array:
        """Log density (n,) at x of shape (n, dim)."""
        return np.asarray(logsumexp(self.joint_log_density(x), axis=1))

    def log_density_gradient(self, x: Array) -> tuple[Array, Array]:
        """Log density (n,) and its gradient (n, dim) at x of shape (n, dim)."""
        x = at_points(x, self.dim)
        parts = [c.log_density_gradient(x) for c in self.components]
        joint = np.log(self.weights) + np.stack([p[0] for p in parts], axis=1)
        total = logsumexp(joint, axis=1)
        share = np.exp(joint - total[:, None])
        gradient = sum(share[:, k, None] * p[1] for k, p in enumerate(parts))
        return np.asarray(total), np.asarray(gradient)

    def near(self, x: Array, share: float) -> Mixture:
        """Keep what has more than a share of the density at some of the points x (n, dim).

        Weights stay as they are, so that the density there stays the same.
        """
        joint = self.joint_log_density(x)
        log_share = joint - logsumexp(joint, axis=1, keepdims=True)
        kept = np.flatnonzero((log_share > np.log(share)).any(axis=0))
        return Mixture(self.weights[kept], tuple(self.components[k] for k in kept))

    def mean(self) -> Array:
        """Mean, shape (dim,)."""
        return np.asarray(self.weights @ np.stack([c.mean() for c in self.components]))

    def sd(self) -> Array:
        """Give the standard deviations, shape (dim,), without the covariance."""
        center = self.mean()
        variance = np.zeros(self.dim)
        for weight, component in zip(self.weights, self.components, strict=True):
            variance += weight * (component.sd() ** 2 + (component.mean() - center) ** 2)
        return np.sqrt(variance)

    def covariance(self) -> Array:
        """Covariance, shape (dim, dim)."""
        center = self.mean()
        total = np.zeros((self.dim, self.dim))
        for weight, component in zip(self.weights, self.components, strict=True):
            offset = component.mean() - center
            total += weight * (component.covariance() + np.outer(offset, offset))
        return total


def parts(family: Family) -> tuple[tuple[Component, ...], Array]:
    """Components of a family that have base coordinates, with their weights."""
    if isinstance(family, Mixture):
        return family.components, family.weights
    assert isinstance(family, (Product, Conditional))
    return (family,), np.ones(1)
