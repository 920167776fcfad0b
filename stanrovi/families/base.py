"""What a distribution on unconstrained space must know, and the base draws behind all of them."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from scipy.special import ndtri

from stanrovi.families.sobol import MAX_DIM, scrambled_sobol
from stanrovi.target import Array

LOG_SQRT_2PI = 0.5 * np.log(2 * np.pi)


class Family(Protocol):
    """A normalised distribution on unconstrained R^dim."""

    @property
    def dim(self) -> int:
        """Number of unconstrained parameters."""

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        """Draw ``n`` points, shape (n, dim): quasi-random, in random order."""

    def log_density(self, x: Array) -> Array:
        """Log density (n,) at x of shape (n, dim)."""

    def log_density_gradient(self, x: Array) -> tuple[Array, Array]:
        """Log density (n,) and its gradient (n, dim) at x of shape (n, dim)."""

    def mean(self) -> Array:
        """Mean, shape (dim,)."""

    def sd(self) -> Array:
        """Give the standard deviations, shape (dim,), without the covariance."""

    def covariance(self) -> Array:
        """Covariance, shape (dim, dim)."""


def base_draws(n: int, dim: int, rng: np.random.Generator) -> Array:
    """Scrambled Sobol points through the normal quantile, shape (n, dim).

    Owen scrambling: every point is standard normal, every set an unbiased
    sample of its own, and averages over a set err less than over independent
    draws (Owen 1997, doi:10.1214/aos/1031594731). In more than 21,201 dimensions, for
    which there are no Sobol points: pseudo-random draws in pairs of z and -z.
    """
    if dim > MAX_DIM:
        z = rng.standard_normal((-(-n // 2), dim))
        return np.stack([z, -z], axis=1).reshape(-1, dim)[:n]
    exponent = int(np.ceil(np.log2(max(n, 2))))
    return standard_normal(scrambled_sobol(exponent, dim, rng)[:n])


def standard_normal(u: Array) -> Array:
    """Turn uniforms into standard normal quantiles, kept finite."""
    return np.asarray(ndtri(np.clip(u, 1e-12, 1 - 1e-12)))


def normal_log_density(z: Array) -> Array:
    """Log density (n,) of the standard normal at z (n, d)."""
    return np.asarray(-0.5 * (z**2).sum(axis=1) - z.shape[1] * LOG_SQRT_2PI)
