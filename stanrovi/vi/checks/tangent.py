"""How quantities of a fit move with its base coordinates, to first order.

A quantity's normal score is about ``a^T z``; the vectors a, one a quantity, make the score of the
target a control variate (`stanrovi.vi.checks.chains`). In few dimensions a regression gives them,
in many they are never written down: the map of the fit, moved a little along a vector v, gives
``a^T v`` of all coordinates at once, and the structure of its axes their lengths.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from stanrovi.families.base import base_draws
from stanrovi.families.conditional import Conditional, ConditionalMap
from stanrovi.families.moved import Component, Moved
from stanrovi.families.product import Product
from stanrovi.scalars import Scalars
from stanrovi.target import Array
from stanrovi.vi.checks.normal_scores import NormalScores
from stanrovi.vi.checks.scores import regressed

_REGRESSED = 2048  # points that say how quantities depend on base coordinates
_STEP = 0.01  # of differences


class Tangent(Protocol):
    """The vectors a of k quantities."""

    @property
    def size(self) -> Array:
        """Squared lengths, shape (k,)."""

    def along(self, v: Array) -> Array:
        """``a^T v`` (n, k) for rows of v (n, dim)."""


@dataclass(frozen=True)
class Regressed:
    """Written down, as the columns of a matrix (dim, k)."""

    matrix: Array

    @property
    def size(self) -> Array:
        """Squared lengths, shape (k,)."""
        return np.asarray((self.matrix**2).sum(axis=0))

    def along(self, v: Array) -> Array:
        """``a^T v`` (n, k) for rows of v (n, dim)."""
        return np.asarray(v @ self.matrix)


@dataclass(frozen=True)
class OfMap:
    """Those of coordinates, by differences of the map at its centre, in units of ``scale``."""

    part: Component
    scalars: Scalars
    scale: Array
    size: Array

    def along(self, v: Array) -> Array:
        """``a^T v`` (n, k) for rows of v (n, dim)."""
        return self.scalars.of(_differences(self.part, v)) / self.scale


def regressed_tangent(
    part: Component, scalars: Scalars, scores: NormalScores, rng: np.random.Generator
) -> Regressed:
    """Regress the quantities' normal scores on base coordinates."""
    z = base_draws(max(_REGRESSED, 4 * part.dim), part.dim, rng)
    return Regressed(regressed(scores.of(scalars.of(part.from_base(z))), z)[1])


def tangent_of_map(part: Component, coordinates: Scalars, scores: NormalScores) -> OfMap:
    """Take some of the coordinates, each in units of its standard deviation."""
    square = coordinates.of(_spread(part)[None] ** 2)[0]
    return OfMap(part, coordinates, scores.scale, square / scores.scale**2)


def _differences(part: Component, v: Array) -> Array:
    step = _STEP / np.maximum(np.sqrt((v**2).mean(axis=1, keepdims=True)), 1e-300)
    return np.asarray((part.from_base(step * v) - part.from_base(-step * v)) / (2 * step))


def _spread(part: Component) -> Array:
    """Root of the diagonal (dim,) of ``J J^T``, J the derivative of the map at its centre."""
    if isinstance(part, Moved):
        raise NotImplementedError("images of components are for few dimensions")
    zero = np.zeros((1, part.dim))
    base: Product = part if isinstance(part, Product) else part.base
    slope = np.exp(base.marginals.log_slope(zero)[0])
    if isinstance(part, Product):
        return base.axes.sd(slope**2)
    return _spread_behind(part, part.map, slope)


def _spread_behind(part: Conditional, rest: ConditionalMap, slope: Array) -> Array:
    """Behind a conditional map: what comes through the roots, and the leaves' own."""
    units = np.zeros((len(rest.roots), part.dim))
    units[np.arange(len(rest.roots)), rest.roots] = 1.0
    square = (_differences(part, units) ** 2).sum(axis=0)
    x = part.from_base(np.zeros((1, part.dim)))
    # Leaves have axes of their own, each as long as its coordinate's in the base.
    length = part.base.axes.scaled(slope).sd()[rest.leaves]
    square[rest.leaves] += rest.spread(x[:, rest.roots], length**2)[0] ** 2
    return np.sqrt(square)
