"""Densities in many dimensions whose truth is known exactly."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array, diags_array, vstack

from stanrovi.densities import FunctionDensity


@dataclass(frozen=True)
class Links:
    """Independent quadratics, and a quadratic and a quartic of each of some contrasts.

    ``log p = -sum_i a_i x_i^2 / 2 - sum_e (w t_e^2 / 2 + c t_e^4 / 12)``, ``t = B x``.
    """

    contrasts: csr_array
    own: np.ndarray
    weight: float = 1.0
    quartic: float = 0.0

    @property
    def dim(self):
        return len(self.own)

    def log_density_gradient(self, x, /):
        t = (self.contrasts @ x.T).T
        value = -0.5 * (self.own * x**2).sum(axis=1)
        value -= (self.weight * t**2 / 2 + self.quartic * t**4 / 12).sum(axis=1)
        slope = self.weight * t + self.quartic * t**3 / 3
        return value, -self.own * x - (self.contrasts.T @ slope.T).T

    def precision(self, x):
        """Minus the second derivatives at one point, sparse."""
        t = self.contrasts @ x
        inner = diags_array(self.weight + self.quartic * t**2)
        return csr_array(self.contrasts.T @ inner @ self.contrasts + diags_array(self.own))

    def covariance(self):
        """That of the normal distribution without the quartics."""
        return np.linalg.inv(self.precision(np.zeros(self.dim)).toarray())


def _rows(groups, dim):
    """One contrast a group: the first coordinate less a part of each of the others."""
    rows = []
    for group in groups:
        row = np.zeros((1, dim))
        row[0, group[0]], row[0, group[1:]] = 1.0, -0.6
        rows.append(csr_array(row))
    return csr_array(vstack(rows))


def _links(groups, dim, seed=0, **shape):
    own = np.random.default_rng(seed).uniform(0.5, 2.0, dim)
    return Links(_rows(groups, dim), own, **shape)


def chain(dim, **shape):
    """Each coordinate with the next one."""
    return _links([(i, i + 1) for i in range(dim - 1)], dim, **shape)


def arrow(dim, hubs, **shape):
    """Each coordinate with all hubs, which are spread over the coordinates."""
    places = np.linspace(0, dim - 1, hubs).astype(int)
    return _links([(i, *places) for i in np.setdiff1d(np.arange(dim), places)], dim, **shape)


def blocks(dim, size, **shape):
    """All pairs of neighbours of a block."""
    pairs = [
        (start + i, start + j)
        for start in range(0, dim, size)
        for i in range(size)
        for j in range(i)
    ]
    return _links(pairs, dim, **shape)


def factor_covariance(dim, rank, seed=0):
    """Covariance that is diagonal plus low rank."""
    rng = np.random.default_rng(seed)
    loadings = rng.standard_normal((dim, rank))
    return np.diag(rng.uniform(0.5, 2.0, dim)) + loadings @ loadings.T


def factor_normal(dim, rank, seed=0):
    """Normal distribution with `factor_covariance`, in memory linear in the dimension."""
    rng = np.random.default_rng(seed)
    loadings = rng.standard_normal((dim, rank))
    unique = rng.uniform(0.5, 2.0, dim)
    scaled = loadings / unique[:, None]
    inner = np.linalg.inv(np.eye(rank) + loadings.T @ scaled)

    def function(x):
        pull = x / unique - ((x @ scaled) @ inner) @ scaled.T
        return -0.5 * (x * pull).sum(axis=1), -pull

    return FunctionDensity(function, dim)


def separate(dim, least):
    """Independent logs of gamma variables, of shapes from the least to 8; with the shapes."""
    shape = np.geomspace(least, 8.0, dim)

    def function(x):
        with np.errstate(over="ignore"):
            rise = np.exp(x)
        return (shape * x - rise).sum(axis=1), shape - rise

    return FunctionDensity(function, dim), shape


@dataclass(frozen=True)
class Groups:
    """Normal effects of a common mean and scale, one observation of each: ``x = (mu, u, theta)``.

    ``mu ~ N(0, 2^2)``, ``u ~ N(0, 1)``, ``theta_j ~ N(mu, exp(u)^2)``, ``y_j ~ N(theta_j, s_j^2)``.
    """

    y: np.ndarray
    noise: np.ndarray

    @classmethod
    def simulated(cls, n, spread=1.0, seed=0):
        rng = np.random.default_rng(seed)
        noise = rng.uniform(0.5, 2.0, n)
        return cls(rng.normal(1.0, np.hypot(spread, noise)), noise)

    @property
    def dim(self):
        return len(self.y) + 2

    def log_density_gradient(self, x, /):
        mu, u, theta = x[:, :1], x[:, 1:2], x[:, 2:]
        with np.errstate(all="ignore"):
            away, pull = theta - mu, (theta - mu) * np.exp(-2 * u)
            miss = (theta - self.y) / self.noise**2
            value = -0.5 * (mu[:, 0] ** 2 / 4 + u[:, 0] ** 2) - len(self.y) * u[:, 0]
            value -= 0.5 * (away * pull + (theta - self.y) * miss).sum(axis=1)
            gradient = np.concatenate(
                [
                    -mu / 4 + pull.sum(axis=1, keepdims=True),
                    -u + (away * pull).sum(axis=1, keepdims=True) - len(self.y),
                    -pull - miss,
                ],
                axis=1,
            )
        return value, gradient

    def moments(self):
        """Means and sds (dim,), by a sum over a grid of u: the rest is normal given it."""
        u = np.linspace(-5.0, 4.0, 3001)
        tau2, s2 = np.exp(2 * u)[:, None], self.noise**2
        w = 1 / (tau2 + s2)
        precision = 0.25 + w.sum(axis=1)
        mean = (w @ self.y) / precision
        log_p = -0.5 * u**2 + 0.5 * np.log(w).sum(axis=1) - 0.5 * np.log(precision)
        log_p -= 0.5 * (w @ self.y**2 - precision * mean**2)
        p = np.exp(log_p - log_p.max())
        p /= p.sum()
        share = tau2 * w  # of the observation in theta's mean given mu and u
        theta = share * self.y + (1 - share) * mean[:, None]
        within = tau2 * s2 * w + (1 - share) ** 2 / precision[:, None]
        first = np.concatenate([mean[:, None], u[:, None], theta], axis=1)
        own = np.concatenate([1 / precision[:, None], np.zeros((len(u), 1)), within], axis=1)
        m = p @ first
        return m, np.sqrt(p @ (own + (first - m) ** 2))


@dataclass(frozen=True)
class Walk:
    """A random walk seen with noise of one: ``x = (u, z)``, steps of scale ``exp(u)``."""

    y: np.ndarray

    @classmethod
    def simulated(cls, n, seed=0):
        rng = np.random.default_rng(seed)
        return cls(0.4 * rng.standard_normal(n).cumsum() + rng.standard_normal(n))

    @property
    def dim(self):
        return len(self.y) + 1

    def log_density_gradient(self, x, /):
        u, z = x[:, :1], x[:, 1:]
        with np.errstate(all="ignore"):
            steps = np.diff(z, axis=1, prepend=0.0)
            pull = steps * np.exp(-2 * u)
            miss = z - self.y
            value = -0.5 * (u[:, 0] + 1) ** 2 - len(self.y) * u[:, 0]
            value -= 0.5 * (steps * pull + miss**2).sum(axis=1)
            along = -(u + 1) + (steps * pull).sum(axis=1, keepdims=True) - len(self.y)
            onward = np.concatenate([pull[:, 1:], np.zeros((len(x), 1))], axis=1)
            return value, np.concatenate([along, -pull + onward - miss], axis=1)

    def moments(self):
        """Means and sds (dim,), by a sum over a grid of u."""
        n = len(self.y)
        inner = 2 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1)
        inner[-1, -1] = 1.0
        spectrum, vectors = np.linalg.eigh(inner)
        turned = vectors.T @ self.y
        grid = np.linspace(-3.0, 1.5, 801)
        precision = 1 + np.exp(-2 * grid)[:, None] * spectrum
        log_p = -0.5 * (grid + 1) ** 2 - n * grid - 0.5 * np.log(precision).sum(axis=1)
        log_p += 0.5 * (turned**2 / precision).sum(axis=1)
        p = np.exp(log_p - log_p.max())
        p /= p.sum()
        z = (turned / precision) @ vectors.T
        within = (1 / precision) @ (vectors.T**2)
        first = np.concatenate([grid[:, None], z], axis=1)
        own = np.concatenate([np.zeros((len(grid), 1)), within], axis=1)
        m = p @ first
        return m, np.sqrt(p @ (own + (first - m) ** 2))


def basins(dim, apart: float, weights: Sequence[float]):
    """Two chains of normal coordinates that differ in their centres alone."""
    shape = chain(dim)
    center = np.zeros((2, dim))
    center[0, : dim // 2], center[1, : dim // 2] = -apart, apart

    def function(x):
        parts = [shape.log_density_gradient(x - c) for c in center]
        log_parts = np.stack([value for value, _ in parts]) + np.log(weights)[:, None]
        value = np.logaddexp(*log_parts)
        share = np.exp(log_parts - value)
        return value, sum(s[:, None] * g for s, (_, g) in zip(share, parts, strict=True))

    return FunctionDensity(function, dim)


def funnels(dim):
    """Pairs of a scale and what it rules: ``v ~ N(0, 2^2), w ~ N(0, exp(v)^2)``, all alone."""
    half = dim // 2

    def function(x):
        v, w = x[:, :half], x[:, half:]
        with np.errstate(all="ignore"):
            pull = w * np.exp(-2 * v)
            value = -(v**2 / 8 + v + w * pull / 2).sum(axis=1)
            return value, np.concatenate([-v / 4 - 1 + w * pull, -pull], axis=1)

    return FunctionDensity(function, dim)
