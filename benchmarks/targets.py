"""Targets whose truth is known exactly: mixtures with normalised components, and a Gaussian."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln, log_ndtr, logsumexp

from stanrovi.target import Array

# Normalised log density (n,) with gradient (n, dim) at x of shape (n, dim).
Component = Callable[[Array], tuple[Array, Array]]


@dataclass(frozen=True)
class MixtureDensity:
    """A mixture of normalised components; a `stanrovi.target.Density`.

    Attributes
    ----------
    name : str
    dim : int
    weights : ndarray, shape (K,)
    components : tuple of Component
    """

    name: str
    dim: int
    weights: Array
    components: tuple[Component, ...]

    def log_density_gradient(self, x: Array, /) -> tuple[Array, Array]:
        """Normalised log density (n,) and gradient (n, dim)."""
        parts = [component(x) for component in self.components]
        joint = np.log(self.weights) + np.stack([p[0] for p in parts], axis=1)
        total = logsumexp(joint, axis=1)
        share = np.exp(joint - total[:, None])
        gradient = sum(share[:, k, None] * p[1] for k, p in enumerate(parts))
        return total, np.asarray(gradient)

    def masses(self, x: Array) -> Array:
        """Mass that the draws x (n, dim) give each component, shape (K,).

        The mean of the components' responsibilities, whose expectation under
        the mixture itself is its weights exactly, however much they overlap.
        """
        joint = np.log(self.weights) + np.stack([c(x)[0] for c in self.components], axis=1)
        return np.exp(joint - logsumexp(joint, axis=1, keepdims=True)).mean(axis=0)


def normal(mean: Array, factor: Array) -> Component:
    """``N(mean, factor @ factor.T)``, factor lower triangular."""
    precision = np.linalg.inv(factor @ factor.T)
    constant = -np.log(np.diag(factor)).sum() - 0.5 * len(mean) * np.log(2 * np.pi)

    def component(x: Array) -> tuple[Array, Array]:
        u = x - mean
        pull = u @ precision
        return constant - 0.5 * (u * pull).sum(axis=1), -pull

    return component


def student(mean: Array, df: float) -> Component:
    """Spherical Student t with unit scale."""
    d = len(mean)
    constant = gammaln((df + d) / 2) - gammaln(df / 2) - 0.5 * d * np.log(df * np.pi)

    def component(x: Array) -> tuple[Array, Array]:
        u = x - mean
        s = (u**2).sum(axis=1)
        return constant - (df + d) / 2 * np.log1p(s / df), -(df + d) * u / (df + s)[:, None]

    return component


def skew_normal(mean: Array, slant: float) -> Component:
    """Azzalini's skew normal, slanted along the first axis, with unit scale."""
    constant = np.log(2) - 0.5 * len(mean) * np.log(2 * np.pi)

    def component(x: Array) -> tuple[Array, Array]:
        u = x - mean
        t = slant * u[:, 0]
        tail = log_ndtr(t)
        gradient = -u
        gradient[:, 0] += slant * np.exp(-0.5 * (t**2 + np.log(2 * np.pi)) - tail)
        return constant - 0.5 * (u**2).sum(axis=1) + tail, gradient

    return component


def two_normals(dim: int, separation: float, weight: float) -> MixtureDensity:
    """Two normals with one covariance, their means so many Mahalanobis distances apart.

    In the plane the target of the paper: unit covariance, means on the diagonal. In
    more dimensions a random covariance (condition number below 8) and a random
    direction, the same for every separation and weight.
    """
    rng = np.random.default_rng(1)
    direction = rng.standard_normal(dim)
    basis = np.linalg.qr(rng.standard_normal((dim, dim)))[0]
    factor = np.linalg.cholesky((basis * np.exp(rng.uniform(-1, 1, dim))) @ basis.T)
    if dim == 2:
        direction, factor = np.ones(2), np.eye(2)
    shift = factor @ direction / np.linalg.norm(direction) * separation / 2
    parts = (normal(-shift, factor), normal(shift, factor))
    return MixtureDensity(f"two normals, d = {dim}", dim, np.array([weight, 1 - weight]), parts)


def gaussian(dim: int, condition: float) -> MixtureDensity:
    """One normal, random axes, variances spread evenly (in logarithm) over a range."""
    rng = np.random.default_rng(2)
    basis = np.linalg.qr(rng.standard_normal((dim, dim)))[0]
    variances = np.geomspace(condition**-0.5, condition**0.5, dim)
    factor = np.linalg.cholesky((basis * variances) @ basis.T)
    part = normal(rng.standard_normal(dim), factor)
    return MixtureDensity(f"Gaussian, d = {dim}", dim, np.ones(1), (part,))


def triangle() -> MixtureDensity:
    """Three unit normals at the corners of an equilateral triangle with sides 6.9."""
    angles = 0.3 + 2 * np.pi / 3 * np.arange(3)
    corners = 4 * np.column_stack([np.cos(angles), np.sin(angles)])
    parts = tuple(normal(corner, np.eye(2)) for corner in corners)
    return MixtureDensity("triangle", 2, np.array([0.5, 0.3, 0.2]), parts)


def hard_pairs() -> tuple[MixtureDensity, ...]:
    """Pairs of components that differ in more than location, overlap, or are not normal."""
    up, down = (np.linalg.cholesky(np.array([[1.0, r], [r, 1.0]])) for r in (0.9, -0.9))
    unit = np.eye(2)

    def pair(
        name: str, first: Component, second: Component, weight: float, dim: int = 2
    ) -> MixtureDensity:
        return MixtureDensity(name, dim, np.array([weight, 1 - weight]), (first, second))

    def at(*position: float) -> Array:
        return np.array(position)

    cases = [
        pair(f"opposite correlations, {2 * m} apart", normal(at(-m, -m), up),
             normal(at(m, m), down), 0.6)
        for m in (2, 4)
    ]  # fmt: skip
    for s in (1.0, 1.5, 2.0):
        first = normal(at(-s / 2, 0), unit)
        cases += [
            pair(f"overlap, {s:g} sd", first, normal(at(s / 2, 0), unit), 0.5),
            pair(f"overlap, {s:g} sd, unlike shapes", first, normal(at(s / 2, 0.5), up), 0.5),
        ]
    cases.append(
        pair("unlike widths", normal(at(-3, 0), unit / 2), normal(at(3, 0), 1.5 * unit), 0.5)
    )
    for df in (3, 5):
        first, second = (student(np.full(3, m), df) for m in (-2.5, 2.5))
        cases.append(pair(f"Student t, {df} degrees of freedom", first, second, 0.4, dim=3))
    skewed = skew_normal(at(-3, -1), 4.0), skew_normal(at(3, 1), -3.0)
    return (*cases, pair("skewed", *skewed, 0.35))
