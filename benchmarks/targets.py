"""Suites of targets whose truth is known exactly."""

from __future__ import annotations

import numpy as np

from stanrovi.densities import (
    FunctionDensity,
    MixtureDensity,
    normal,
    normal_mixture,
    skew_normal,
    student,
    two_normals,
)
from stanrovi.families.base import LOG_SQRT_2PI
from stanrovi.target import Array, LogDensity


def pair_of_normals(dim: int, separation: float, weight: float) -> MixtureDensity:
    """Two normals with one covariance, their means so many Mahalanobis distances apart.

    In the plane the target of the paper: unit covariance, means on the diagonal. In
    more dimensions a random covariance (condition number below 8) and a random
    direction, the same for every separation and weight.
    """
    if dim == 2:
        return two_normals(separation, weight, np.eye(2), np.ones(2))
    rng = np.random.default_rng(1)
    direction = rng.standard_normal(dim)
    basis = np.linalg.qr(rng.standard_normal((dim, dim)))[0]
    factor = np.linalg.cholesky((basis * np.exp(rng.uniform(-1, 1, dim))) @ basis.T)
    return two_normals(separation, weight, factor, direction)


def gaussian_moments(dim: int, condition: float) -> tuple[Array, Array]:
    """Mean and covariance with random axes, variances spread evenly (in logarithm) over a range."""
    rng = np.random.default_rng(2)
    basis = np.linalg.qr(rng.standard_normal((dim, dim)))[0]
    variances = np.geomspace(condition**-0.5, condition**0.5, dim)
    return rng.standard_normal(dim), (basis * variances) @ basis.T


def gaussian(dim: int, condition: float) -> MixtureDensity:
    """One normal with these moments."""
    mean, covariance = gaussian_moments(dim, condition)
    return normal_mixture([1.0], [mean], [covariance], f"Gaussian, d = {dim}")


def triangle() -> MixtureDensity:
    """Three unit normals at the corners of an equilateral triangle with sides 6.9."""
    angles = 0.3 + 2 * np.pi / 3 * np.arange(3)
    corners = 4 * np.column_stack([np.cos(angles), np.sin(angles)])
    return normal_mixture([0.5, 0.3, 0.2], list(corners), [np.eye(2)] * 3, "triangle")


def hard_pairs() -> tuple[MixtureDensity, ...]:
    """Pairs of components that differ in more than location, overlap, or are not normal."""
    up, down = (np.linalg.cholesky(np.array([[1.0, r], [r, 1.0]])) for r in (0.9, -0.9))
    unit = np.eye(2)

    def pair(
        name: str, first: LogDensity, second: LogDensity, weight: float, dim: int = 2
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


def funnel(leaves: int, strength: float = 3.0, *, correlated: bool = False) -> FunctionDensity:
    """Neal's funnel: ``u ~ N(0, strength^2)``, leaves ``N(0, e^u)``, independent or correlated."""
    factor = np.eye(leaves)
    if correlated:
        draws = np.random.default_rng(0).standard_normal((leaves + 3, leaves))
        factor = np.linalg.cholesky(draws.T @ draws / (leaves + 3))
    precision = np.linalg.inv(factor @ factor.T)
    constant = -np.log(np.diag(factor)).sum() - np.log(strength) - (leaves + 1) * LOG_SQRT_2PI

    def function(x: Array) -> tuple[Array, Array]:
        u, v = x[:, 0], x[:, 1:]
        with np.errstate(over="ignore", invalid="ignore"):
            pull = v @ precision * np.exp(-u)[:, None]
            square = (v * pull).sum(axis=1)
        value = constant - 0.5 * ((u / strength) ** 2 + square + leaves * u)
        along = -u / strength**2 + 0.5 * (square - leaves)
        return value, np.concatenate([along[:, None], -pull], axis=1)

    return FunctionDensity(function, leaves + 1)


def banana(bend: float = 1.0, arms: int = 1) -> FunctionDensity:
    """``u ~ N(0, 1)``, each arm ``v ~ N(bend (u^2 - 1), 1)``."""

    def function(x: Array) -> tuple[Array, Array]:
        u = x[:, 0]
        rest = x[:, 1:] - bend * (x[:, :1] ** 2 - 1)
        along = -u + 2 * bend * u * rest.sum(axis=1)
        value = -0.5 * (u**2 + (rest**2).sum(axis=1)) - (arms + 1) * LOG_SQRT_2PI
        return value, np.concatenate([along[:, None], -rest], axis=1)

    return FunctionDensity(function, arms + 1)


def ring(radius: float = 4.0, width: float = 0.5) -> FunctionDensity:
    """Distance from the origin about normal, all directions alike."""
    grid = np.linspace(0, radius + 20 * width, 140_001)
    height = np.exp(-0.5 * ((grid - radius) / width) ** 2)
    mass = np.trapezoid(2 * np.pi * grid * height, grid)

    def function(x: Array) -> tuple[Array, Array]:
        distance = np.linalg.norm(x, axis=1)
        value = -0.5 * ((distance - radius) / width) ** 2 - np.log(mass)
        pull = -(distance - radius) / width**2 / np.maximum(distance, 1e-300)
        return value, pull[:, None] * x

    return FunctionDensity(function, 2)
