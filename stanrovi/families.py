"""Distributions on unconstrained space that the fits return.

`Product` is a product measure on linearly transformed axes, ``x = c + B T(z)``
with ``z ~ N(0, I)``: a full-rank Gaussian (affine T), mean field (diagonal B)
or rotated (B = A O). `Mixture` combines several. Each knows its exact log
density, its gradient, and how to draw; `tests/test_families.py` holds all of
them to one contract.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from scipy.linalg import qr
from scipy.special import logsumexp
from scipy.stats import qmc

from stanrovi.maps import SplineMap, standard_normal
from stanrovi.target import Array

_LOG_SQRT_2PI = 0.5 * np.log(2 * np.pi)


def base_draws(n: int, dim: int, rng: np.random.Generator) -> Array:
    """Scrambled Sobol points through the normal quantile, shape (n, dim).

    Owen scrambling: every point is standard normal, every set an unbiased
    sample of its own, and averages over a set err less than over independent
    draws (Owen 1997, doi:10.1214/aos/1031594731).
    """
    sobol = qmc.Sobol(dim, scramble=True, rng=rng)
    exponent = int(np.ceil(np.log2(max(n, 2))))
    return standard_normal(sobol.random_base2(exponent)[:n])


def normal_log_density(z: Array) -> Array:
    """Log density (n,) of the standard normal at z (n, d)."""
    return np.asarray(-0.5 * (z**2).sum(axis=1) - z.shape[1] * _LOG_SQRT_2PI)


class Family(Protocol):
    """A normalised distribution on unconstrained R^dim."""

    @property
    def dim(self) -> int:
        """Number of unconstrained parameters."""

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        """Draw ``n`` points, shape (n, dim): quasi-random, in random order."""

    def log_density_gradient(self, x: Array) -> tuple[Array, Array]:
        """Log density (n,) and its gradient (n, dim) at x of shape (n, dim)."""

    def mean(self) -> Array:
        """Mean, shape (dim,)."""

    def covariance(self) -> Array:
        """Covariance, shape (dim, dim)."""


@dataclass(frozen=True)
class Product:
    """Product measure on linear axes: ``x = center + axes @ T(z)``, z standard normal.

    Attributes
    ----------
    center : ndarray, shape (dim,)
    axes : ndarray, shape (dim, dim)
        Invertible; column j is the direction of coordinate j.
    marginals : SplineMap
        T, one monotone map per axis.
    """

    center: Array
    axes: Array
    marginals: SplineMap

    @classmethod
    def gaussian(cls, center: Array, axes: Array) -> Product:
        """``N(center, axes @ axes.T)``."""
        d = len(center)
        return cls(center, axes, SplineMap.affine(np.zeros(d), np.ones(d)))

    @property
    def dim(self) -> int:
        """Number of unconstrained parameters."""
        return len(self.center)

    @cached_property
    def _inverse_axes(self) -> Array:
        # Many points are mapped per family, so one inversion is cheaper than solves.
        return np.asarray(np.linalg.inv(self.axes), dtype=np.float64)

    @cached_property
    def log_volume(self) -> float:
        """``log |det axes|``."""
        return float(np.linalg.slogdet(self.axes)[1])

    def from_base(self, z: Array) -> Array:
        """Map base points z (n, dim) to x (n, dim)."""
        return np.asarray(self.center + self.marginals.value(z) @ self.axes.T)

    def push_forward(self, z: Array) -> tuple[Array, Array]:
        """Map base points z (n, dim) to x (n, dim), with the log density (n,) there."""
        y, log_slope = self.marginals.push_forward(z)
        log_q = normal_log_density(z) - log_slope.sum(axis=1) - self.log_volume
        return np.asarray(self.center + y @ self.axes.T), np.asarray(log_q)

    def coordinates(self, x: Array) -> Array:
        """Coordinates ``y = T(z)`` of x along the axes, shape (n, dim)."""
        return np.asarray((x - self.center) @ self._inverse_axes.T)

    def to_base(self, x: Array) -> Array:
        """Invert `from_base`."""
        return self.marginals.inverse(self.coordinates(x))

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        """Draw ``n`` points, shape (n, dim): quasi-random, in random order."""
        return self.from_base(rng.permutation(base_draws(n, self.dim, rng)))

    def log_density_base(self, z: Array) -> Array:
        """Log density (n,) at the points whose base points are z (n, dim)."""
        slopes = self.marginals.log_slope(z).sum(axis=1)
        return np.asarray(normal_log_density(z) - slopes - self.log_volume)

    def log_density(self, x: Array) -> Array:
        """Log density (n,) at x of shape (n, dim)."""
        z, log_slope, _ = self.marginals.pull_back(self.coordinates(x))
        return np.asarray(normal_log_density(z) - log_slope.sum(axis=1) - self.log_volume)

    def log_density_gradient(self, x: Array) -> tuple[Array, Array]:
        """Log density (n,) and its gradient (n, dim) at x of shape (n, dim)."""
        z, log_slope, score = self.marginals.pull_back(self.coordinates(x))
        log_q = normal_log_density(z) - log_slope.sum(axis=1) - self.log_volume
        return log_q, np.asarray(score @ self._inverse_axes)

    def entropy(self) -> float:
        """Differential entropy in nats."""
        base = self.dim * (0.5 + _LOG_SQRT_2PI)
        return float(base + self.marginals.mean_log_slope().sum() + self.log_volume)

    def mean(self) -> Array:
        """Mean, shape (dim,)."""
        return np.asarray(self.center + self.axes @ self.marginals.moments()[0])

    def covariance(self) -> Array:
        """Covariance, shape (dim, dim)."""
        return np.asarray((self.axes * self.marginals.moments()[1]) @ self.axes.T)

    def standardised(self) -> Product:
        """Return the same distribution, with marginals of mean zero and variance one."""
        marginals, mean, sd = self.marginals.standardised()
        return Product(self.center + self.axes @ mean, self.axes * sd, marginals)

    def preconditioner_rotation(self) -> tuple[Array, Array]:
        """Split the axes of the standardised distribution as ``A @ O``.

        Returns
        -------
        A : ndarray, shape (dim, dim)
            Lower triangular with positive diagonal; ``A @ A.T`` is the covariance.
        O : ndarray, shape (dim, dim)
            Rotation, determinant one (a reflection is absorbed by one axis's sign).
        """
        axes = self.standardised().axes
        q, r = qr(axes.T)
        sign = np.sign(np.diag(r))
        sign[sign == 0] = 1.0
        lower, rotation = (r.T * sign), (q * sign).T
        if np.linalg.det(rotation) < 0:
            rotation[:, -1] *= -1
        return lower, rotation


@dataclass(frozen=True)
class Mixture:
    """Weighted mixture of product measures.

    Attributes
    ----------
    weights : ndarray, shape (K,)
        Positive, summing to one.
    components : tuple of Product
    """

    weights: Array
    components: tuple[Product, ...]

    @property
    def dim(self) -> int:
        """Number of unconstrained parameters."""
        return self.components[0].dim

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        """Draw ``n`` points, shape (n, dim): quasi-random, in random order.

        Components get their share of ``n`` up to a randomly rounded point.
        """
        edges = np.floor(n * np.concatenate([[0.0], np.cumsum(self.weights)]) + rng.random())
        edges[0], edges[-1] = 0, n
        counts = np.diff(np.clip(edges, 0, n)).astype(int)
        parts = [c.sample(k, rng) for c, k in zip(self.components, counts, strict=True)]
        return np.asarray(rng.permutation(np.concatenate(parts)))

    def joint_log_density(self, x: Array) -> Array:
        """``log w_k + log q_k(x)``, shape (n, K)."""
        parts = [c.log_density(x) for c in self.components]
        return np.asarray(np.log(self.weights) + np.stack(parts, axis=1))

    def log_density(self, x: Array) -> Array:
        """Log density (n,) at x of shape (n, dim)."""
        return np.asarray(logsumexp(self.joint_log_density(x), axis=1))

    def log_density_gradient(self, x: Array) -> tuple[Array, Array]:
        """Log density (n,) and its gradient (n, dim) at x of shape (n, dim)."""
        parts = [c.log_density_gradient(x) for c in self.components]
        joint = np.log(self.weights) + np.stack([p[0] for p in parts], axis=1)
        total = logsumexp(joint, axis=1)
        share = np.exp(joint - total[:, None])
        gradient = sum(share[:, k, None] * p[1] for k, p in enumerate(parts))
        return np.asarray(total), np.asarray(gradient)

    def mean(self) -> Array:
        """Mean, shape (dim,)."""
        return np.asarray(self.weights @ np.stack([c.mean() for c in self.components]))

    def covariance(self) -> Array:
        """Covariance, shape (dim, dim)."""
        center = self.mean()
        total = np.zeros((self.dim, self.dim))
        for weight, component in zip(self.weights, self.components, strict=True):
            offset = component.mean() - center
            total += weight * (component.covariance() + np.outer(offset, offset))
        return total
