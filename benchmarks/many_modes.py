"""Targets of several modes whose truth is known exactly: general position, unlike shapes, hidden.

`cases(variant)` builds the suite; another variant has other places, shapes and weights, of the
same kinds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from exact import Case, mixture, permuted, random_factor, signs

from stanrovi import densities
from stanrovi.densities import MixtureDensity
from stanrovi.target import Array, LogDensity

_LEAST, _MOST = 4.0, 30.0  # standard deviations from a mode to the nearest other one
_TRIES = 1000


def placed(factors: Sequence[Array], rng: np.random.Generator) -> list[Array]:
    """Place means so that each has its nearest neighbour 4 to 30 pooled sds away."""
    d = len(factors[0])

    def apart(i: int, j: int, step: Array) -> float:
        pooled = (factors[i] @ factors[i].T + factors[j] @ factors[j].T) / 2
        return float(np.sqrt(step @ np.linalg.solve(pooled, step)))

    means = [np.zeros(d)]
    while len(means) < len(factors):
        j = len(means)
        for _ in range(_TRIES):
            i = int(rng.integers(j))
            step = rng.standard_normal(d)
            step *= np.exp(rng.uniform(np.log(_LEAST), np.log(_MOST))) / apart(i, j, step)
            at = means[i] + step
            if all(apart(k, j, at - mean) >= _LEAST for k, mean in enumerate(means)):
                break
        means.append(at)
    shift = np.mean(means, axis=0) + rng.standard_normal(d)
    return [mean - shift for mean in means]


def weights(count: int, rng: np.random.Generator) -> Array:
    """Draw weights from .02 to .5."""
    while True:
        found = 0.02 + (1 - 0.02 * count) * rng.dirichlet(np.full(count, 1.5))
        if found.max() <= 0.5:
            return np.asarray(found)


def general(count: int, d: int, rng: np.random.Generator) -> Case:
    """Put normals in general position."""
    factors = [random_factor(d, rng, 0.3) for _ in range(count)]
    if d > 10:  # volumes alike
        factors = [f * np.exp(-np.log(np.diag(f)).mean()) for f in factors]
    return mixture(
        f"{count} normals, d = {d}", "general", weights(count, rng), placed(factors, rng), factors
    )


def shaped(
    name: str, kind: str, shares: Sequence[float], means: Sequence[Array], shapes: Sequence[Shape]
) -> Case:
    """Mix shapes other than normal at given places."""
    parts = tuple(moved(shape.density, mean) for shape, mean in zip(shapes, means, strict=True))
    d = len(means[0])
    density = MixtureDensity(name, d, np.asarray(shares, dtype=float), parts)

    def sample(n: int, rng: np.random.Generator) -> Array:
        counts = rng.multinomial(n, density.weights)
        drawn = [
            mean + shape.sample(int(m), rng)
            for shape, mean, m in zip(shapes, means, counts, strict=True)
        ]
        return np.asarray(rng.permutation(np.concatenate(drawn)))

    return Case(name, kind, density, sample, mixture=density)


def moved(density: LogDensity, mean: Array) -> LogDensity:
    """Put a density elsewhere."""
    return lambda x: density(x - mean)


class Shape:
    """A normalised density around the origin, with draws."""

    def __init__(self, density: LogDensity, sample: Callable[..., Array]) -> None:
        self.density, self.sample = density, sample


def banana(d: int, bend: float) -> Shape:
    """``u ~ N(0, 1)``, ``v ~ N(bend (u^2 - 1), 1)``, the rest standard normal."""

    def density(x: Array) -> tuple[Array, Array]:
        rest = x.copy()
        rest[:, 1] -= bend * (x[:, 0] ** 2 - 1)
        gradient = -rest
        gradient[:, 0] += 2 * bend * x[:, 0] * rest[:, 1]
        return -0.5 * (rest**2).sum(axis=1) - 0.5 * d * np.log(2 * np.pi), gradient

    def sample(n: int, rng: np.random.Generator) -> Array:
        x = rng.standard_normal((n, d))
        x[:, 1] += bend * (x[:, 0] ** 2 - 1)
        return x

    return Shape(density, sample)


def funnel(d: int, strength: float) -> Shape:
    """``u ~ N(0, strength^2)``, the others ``N(0, e^u)``."""

    def density(x: Array) -> tuple[Array, Array]:
        u, v = np.clip(x[:, 0], -200, 200), x[:, 1:]
        with np.errstate(over="ignore"):
            pull = v * np.exp(-u)[:, None]
            square = (v * pull).sum(axis=1)
        value = -0.5 * ((u / strength) ** 2 + square + (d - 1) * u)
        value -= np.log(strength) + 0.5 * d * np.log(2 * np.pi)
        along = -u / strength**2 + 0.5 * (square - (d - 1))
        return value, np.concatenate([along[:, None], -pull], axis=1)

    def sample(n: int, rng: np.random.Generator) -> Array:
        u = strength * rng.standard_normal((n, 1))
        return np.concatenate([u, np.exp(u / 2) * rng.standard_normal((n, d - 1))], axis=1)

    return Shape(density, sample)


def student(d: int, df: float) -> Shape:
    """Spherical Student t."""

    def sample(n: int, rng: np.random.Generator) -> Array:
        return rng.standard_normal((n, d)) / np.sqrt(rng.chisquare(df, (n, 1)) / df)

    return Shape(densities.student(np.zeros(d), df), sample)


def gaussian(d: int, width: float) -> Shape:
    """Spherical normal."""

    def density(x: Array) -> tuple[Array, Array]:
        value = -0.5 * (x**2).sum(axis=1) / width**2 - d * np.log(width)
        return value - 0.5 * d * np.log(2 * np.pi), -x / width**2

    return Shape(density, lambda n, rng: width * rng.standard_normal((n, d)))


def _around(d: int, gap: float, count: int, rng: np.random.Generator) -> list[Array]:
    """Place modes in random directions, neighbours ``gap`` apart or more."""
    while True:
        places = [gap * u / np.linalg.norm(u) for u in rng.standard_normal((count, d))]
        if all(np.linalg.norm(a - b) >= gap for i, a in enumerate(places) for b in places[:i]):
            return places


def cases(variant: int = 0) -> list[Case]:
    """Build the suite.

    Parameters
    ----------
    variant : int
        0 for the table in docs; others for targets of the same kinds that no one has seen.
    """
    rng = np.random.default_rng(5000 + variant)
    found: list[Case] = []
    add = found.append
    for d in (2, 5, 10, 30, 100):
        for count in (3, 6, 10):
            add(general(count, d, rng))
    for d, count in ((2, 20), (5, 30)):
        add(replace(general(count, d, rng), kind="many"))
    for count, others in ((2, 3), (3, 2), (4, 0)):
        levels = np.cumsum(rng.uniform(5, 8, count))
        add(permuted(list(levels - levels.mean()), 1.0, others))
    for count in (1, 3):
        add(signs(count, rng.uniform(6, 9), 2, rng))
    for d in (2, 5, 10):
        for gap in (20.0, 50.0):
            step = rng.standard_normal(d)
            step *= gap / np.linalg.norm(step)
            share = rng.uniform(0.1, 0.4)
            add(
                mixture(
                    f"hidden {gap:g} sd away, d = {d}",
                    "hidden",
                    [1 - share, share],
                    [np.zeros(d), step],
                    [np.eye(d), np.eye(d)],
                )
            )
    for d, width in ((2, 0.1), (5, 0.4), (10, 0.65), (5, 0.05)):
        share = rng.uniform(0.2, 0.5)
        name = f"widths 1 : {1 / width:.3g}, d = {d}"
        kind = "widths" if width**d >= 0.0099 else "needle"
        shapes = [gaussian(d, 1.0), gaussian(d, width)]
        add(shaped(name, kind, [1 - share, share], _around(d, 5.0, 2, rng), shapes))
    for d in (2, 5):
        shapes = [banana(d, rng.uniform(0.3, 1.0)) for _ in range(3)]
        add(
            shaped(f"3 bananas, d = {d}", "shapes", [0.5, 0.3, 0.2], _around(d, 12, 3, rng), shapes)
        )
        places = _around(d, 14, 2, rng)
        shapes = [funnel(d, rng.uniform(0.5, 1.0)) for _ in range(2)]
        add(shaped(f"2 funnels, d = {d}", "shapes", [0.6, 0.4], places, shapes))
        shapes = [gaussian(d, 1.0), student(d, 4.0)]
        places = _around(d, 9, 2, rng)
        add(shaped(f"normal and t(4), d = {d}", "shapes", [0.7, 0.3], places, shapes))
    shapes = [gaussian(10, 1.0), student(10, 3.0)]
    add(shaped("normal and t(3), d = 10", "shapes", [0.9, 0.1], _around(10, 12, 2, rng), shapes))
    return found
