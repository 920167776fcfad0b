"""What a distribution on unconstrained space must know, and the base draws behind all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from scipy.special import ndtri

from stanrovi.families.sobol import scrambled_sobol
from stanrovi.target import Array

_SAMPLED = 2**21  # numbers of a block of points
_SOBOL = 2000  # dimensions up to which base points are quasi-random
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
    draws (Owen 1997, doi:10.1214/aos/1031594731). In more than 2,000 dimensions, where
    that is true of larger sets only: pseudo-random draws in pairs of z and -z.
    """
    if dim > _SOBOL:
        z = np.empty((n, dim))
        half = -(-n // 2)
        rng.standard_normal(out=z[:half])
        np.negative(z[: n - half], out=z[half:])
        return z
    exponent = int(np.ceil(np.log2(max(n, 2))))
    return standard_normal(scrambled_sobol(exponent, dim, rng)[:n])


def sampled(
    from_base: Callable[[Array], Array], n: int, dim: int, rng: np.random.Generator
) -> Array:
    """Draw ``n`` points, shape (n, dim): images of quasi-random base points, in random order.

    A block at a time: what a map holds besides its result is as large as the block.
    """
    z = base_draws(n, dim, rng)
    order = rng.permutation(n)
    rows = max(1, _SAMPLED // dim)
    if n <= rows:
        return from_base(z[order])
    out = np.empty((n, dim))
    for at in range(0, n, rows):
        some = slice(at, at + rows)
        out[some] = from_base(z[order[some]])
    return out


def standard_normal(u: Array) -> Array:
    """Turn uniforms into standard normal quantiles, kept finite."""
    inside = np.clip(u, 1e-12, 1 - 1e-12)
    return np.asarray(ndtri(inside, out=inside))


def in_blocks(function: Callable[[Array], Array], x: Array) -> Array:
    """Values (n,) of a function of points x (n, dim), a block of them at a time."""
    rows = max(1, _SAMPLED // max(x.shape[1], 1))
    parts = [function(x[at : at + rows]) for at in range(0, max(len(x), 1), rows)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def normal_log_density(z: Array) -> Array:
    """Log density (n,) of the standard normal at z (n, d)."""
    return np.asarray(-0.5 * (z**2).sum(axis=1) - z.shape[1] * LOG_SQRT_2PI)
