"""The pieces of monotone rational-quadratic splines, straight lines, and how they are evaluated.

A batch of points is worked through in blocks of columns, transposed, so that the dozen
intermediate arrays of a block stay in the processor's cache and nothing is held that is larger
than the result.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stanrovi.target import Array

Indices = NDArray[np.intp]

Part = Literal["z", "value", "log_slope", "score"]

_BLOCK = 2**13  # points of a block
_STEPS = 4  # from the first knot of a bucket; fuller ones are searched
_MANY_ROWS, _MANY_POINTS = 16, 64  # from which on buckets are worth it
_NODES = 10  # of Gauss and Legendre's rule on every piece
_TAILS = (2.5, 6.0)  # where the rule ends a piece of a tail


@dataclass(frozen=True)
class Expectations:
    """What a map comes to under the standard normal, shape (d,) each.

    Attributes
    ----------
    mean, variance : ndarray
        Of ``T(z)``.
    log_slope : ndarray
        ``E[log T'(z)]``.
    fisher : ndarray
        ``E[score^2]``.
    """

    mean: Array
    variance: Array
    log_slope: Array
    fisher: Array

    def standardised(self) -> Expectations:
        """Give those of the map less its mean, over its standard deviation."""
        log_slope = self.log_slope - 0.5 * np.log(self.variance)
        zero, one = np.zeros_like(self.mean), np.ones_like(self.mean)
        return Expectations(zero, one, log_slope, self.fisher * self.variance)


class Intervals:
    """Which knots a point lies between, for d rows of knots.

    By buckets of equal width, each of which knows how many knots lie before it, and a step for
    each knot inside; by bisection where many knots share a bucket, and for few points.

    Parameters
    ----------
    knots : ndarray, shape (d, K)
        Increasing along each row.
    """

    def __init__(self, knots: Array) -> None:
        self._knots = knots

    def of(self, points: Array, start: int) -> Indices:
        """Count the knots at or below points (c, n), row i by the knots of row ``start + i``."""
        c, n = points.shape
        if c < _MANY_ROWS and n < _MANY_POINTS:
            index, left = np.empty((c, n), dtype=np.intp), np.arange(c)
        else:
            index, left = self._by_buckets(points, start)
        for i in left:
            index[i] = self._knots[start + i].searchsorted(points[i], "right")
        return index

    def _by_buckets(self, points: Array, start: int) -> tuple[Indices, Indices]:
        """Give counts, and the rows whose buckets are too full for them to be right."""
        rows = slice(start, start + len(points))
        before, steps, ends = self._buckets
        offset = np.arange(start, start + len(points))[:, None]
        index = before.take(self._bucket(points, rows) + before.shape[1] * offset)
        offset = ends.shape[1] * offset
        for _ in range(min(int(steps[rows].max()), _STEPS)):
            index += ends.take(index + offset) <= points
        return index, np.flatnonzero(steps[rows] > _STEPS)

    def _bucket(self, points: Array, rows: slice) -> Indices:
        low, high = self._knots[rows, :1], self._knots[rows, -1:]
        count = 2 * self._knots.shape[1]
        with np.errstate(all="ignore"):
            place = (points - low) * (count / (high - low)) + 1
        return np.fmin(np.fmax(place, 0.0), count + 1.0).astype(np.intp)

    @cached_property
    def _buckets(self) -> tuple[Indices, Indices, Array]:
        """Knots before each bucket, most knots in one (d,), and the knots with an end to each row.

        Where a point is not below a knot its bucket is not before that of the knot, to the last
        bit.
        """
        d, n_knots = self._knots.shape
        size = 2 * n_knots + 2
        bucket = self._bucket(self._knots, slice(None)) + size * np.arange(d)[:, None]
        inside = np.bincount(bucket.ravel(), minlength=size * d).reshape(d, size)
        before = np.zeros((d, size), dtype=np.intp)
        np.cumsum(inside[:, :-1], axis=1, out=before[:, 1:])
        ends = np.concatenate([self._knots, np.full((d, 1), np.inf)], axis=1)
        return before, inside.max(axis=1), ends


class Pieces:
    """Pieces of d splines between their knots, and the straight lines beyond.

    Parameters
    ----------
    z, y, slope : ndarray, shape (d, K)
        See `stanrovi.families.maps.SplineMap`.
    """

    def __init__(self, z: Array, y: Array, slope: Array) -> None:
        self._z, self._y, self._count = z, y, z.shape[1] + 1
        self._by_z, self._by_y = Intervals(z), Intervals(y)
        one = np.ones((len(z), 1))
        first, last = slope[:, :1], slope[:, -1:]
        # A tail is a piece of width one with equal slopes, which a point may leave.
        z0 = np.concatenate([z[:, :1] - 1.0, z], axis=1)
        y0 = np.concatenate([y[:, :1] - first, y], axis=1)
        w = np.concatenate([one, np.diff(z, axis=1), one], axis=1)
        h = np.concatenate([first, np.diff(y, axis=1), last], axis=1)
        d0 = np.concatenate([first, slope], axis=1)
        d1 = np.concatenate([slope, last], axis=1)
        self._coefficients = z0, y0, w, h, d0, d1, h / w

    def at(self, z: Array, *parts: Part) -> tuple[Array, ...]:
        """Evaluate at points z of shape (n, d), each part of that shape."""
        return self._blockwise(self._by_z, z, parts)

    def at_value(self, y: Array, *parts: Part) -> tuple[Array, ...]:
        """Evaluate at points that the maps take to values y of shape (n, d)."""
        return self._blockwise(self._by_y, y, parts)

    def _blockwise(self, by: Intervals, v: Array, parts: tuple[Part, ...]) -> tuple[Array, ...]:
        n, d = v.shape
        out = tuple(np.empty((n, d)) for _ in parts)
        width = max(1, _BLOCK // max(n, 1))
        for start in range(0, d, width):
            columns = slice(start, start + width)
            block = np.ascontiguousarray(v[:, columns].T)
            index = by.of(block, start)
            index += (self._count * np.arange(start, start + len(block)))[:, None]
            coefficients = [c.take(index) for c in self._coefficients]
            point = _point(block, *coefficients, by_value=by is self._by_y)
            for whole, part in zip(out, point.parts(parts), strict=True):
                whole[:, columns] = part.T
        return out

    def expectations(self) -> Expectations:
        """Integrate over the standard normal, to rounding."""
        size = (self._count + 2) * _NODES
        width = max(1, _BLOCK // size)
        with np.errstate(all="ignore"):  # what is beyond numbers shows in what comes out
            blocks = [self._expected(slice(at, at + width)) for at in range(0, len(self._z), width)]
        return Expectations(*(np.concatenate(part) for part in zip(*blocks, strict=True)))

    def _expected(self, rows: slice) -> tuple[Array, ...]:
        z, w = quadrature(self._z[rows])
        # Each tail is cut in two.
        pick = np.r_[0, np.arange(self._count), self._count - 1]
        point = _point(z, *(c[rows, pick, None] for c in self._coefficients), by_value=False)
        y, log_slope, score = point.parts(("value", "log_slope", "score"))
        mean = np.einsum("cpq,cpq->c", w, y)
        y -= mean[:, None, None]
        variance = np.einsum("cpq,cpq,cpq->c", w, y, y)
        fisher = np.einsum("cpq,cpq,cpq->c", w, score, score)
        return mean, variance, np.einsum("cpq,cpq->c", w, log_slope), fisher


class Lines:
    """Affine maps ``T(z) = location + scale * z``, evaluated as `Pieces` are.

    Parameters
    ----------
    location, scale : ndarray, shape (d,)
    """

    def __init__(self, location: Array, scale: Array) -> None:
        self._location, self._scale = location, scale

    def at(self, z: Array, *parts: Part) -> tuple[Array, ...]:
        """Evaluate at points z of shape (n, d); see `Pieces.at`."""
        return tuple(self._part(z, part) for part in parts)

    def at_value(self, y: Array, *parts: Part) -> tuple[Array, ...]:
        """Evaluate at points that the maps take to values y of shape (n, d)."""
        return self.at((y - self._location) / self._scale, *parts)

    def _part(self, z: Array, part: Part) -> Array:
        if part == "z":
            return z
        if part == "value":
            return np.asarray(self._location + self._scale * z)
        if part == "score":
            return z * (-1 / self._scale)
        return np.broadcast_to(np.log(self._scale), z.shape)

    def expectations(self) -> Expectations:
        """Give what the maps come to under the standard normal."""
        scale = self._scale
        return Expectations(self._location, scale**2, np.log(scale), scale**-2.0)


def quadrature(knots: Array) -> tuple[Array, Array]:
    """Nodes and weights for expectations under the standard normal.

    Parameters
    ----------
    knots : ndarray, shape (d, K)

    Returns
    -------
    z, weight : ndarray, shape (d, K + 3, m) each
        Ten Gauss-Legendre nodes between knots, and on two parts of each tail.
    """
    nodes, weights = _rule()
    near, far = _TAILS
    low, high = knots[:, :1], knots[:, -1:]
    edges = np.concatenate([low - far, low - near, knots, high + near, high + far], axis=1)
    half = np.diff(edges, axis=1)[..., None] / 2
    z = (edges[:, :-1, None] + half) + half * nodes
    return z, half * (weights / np.sqrt(2 * np.pi)) * np.exp(-0.5 * z**2)


@cache
def _rule() -> tuple[Array, Array]:
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    return nodes, weights


@dataclass(frozen=True)
class _Point:
    """Points with the coefficients of their pieces, of one shape or shapes that broadcast.

    ``xi`` is the relative position in the piece, with end slopes d0 and d1 and mean slope s.
    """

    z: Array
    xi: Array
    y0: Array
    w: Array
    h: Array
    d0: Array
    d1: Array
    s: Array

    def parts(self, names: tuple[Part, ...]) -> list[Array]:
        """Evaluate what is asked for."""
        if names == ("z",):
            return [self.z]
        xi, rest = self.xi, 1 - self.xi
        theta = xi * rest
        kappa = self.d0 + self.d1 - 2 * self.s
        denominator = self.s + kappa * theta
        found = {"z": self.z}
        if "value" in names:
            share = (self.s * xi * xi + self.d0 * theta) / denominator
            found["value"] = self.y0 + self.h * share
        if "log_slope" in names or "score" in names:
            numerator = self.d1 * xi * xi + 2 * self.s * theta + self.d0 * rest * rest
            ratio = self.s / denominator
            slope = ratio * ratio * numerator
            if "log_slope" in names:
                found["log_slope"] = np.log(slope)
            if "score" in names:
                turn = xi - rest
                bend = (self.d1 * xi - self.s * turn - self.d0 * rest) / numerator
                bend += kappa * turn / denominator
                found["score"] = (-self.z - 2 * bend / self.w) / slope
        return [found[name] for name in names]


def _point(
    v: Array,
    z0: Array,
    y0: Array,
    w: Array,
    h: Array,
    d0: Array,
    d1: Array,
    s: Array,
    *,
    by_value: bool,
) -> _Point:
    """Points in given pieces, by their z or by their value."""
    if not by_value:
        return _Point(v, (v - z0) / w, y0, w, h, d0, d1, s)
    t, bend = v - y0, d0 + d1 - 2 * s
    a, b, c = h * (s - d0) + t * bend, h * d0 - t * bend, s * t
    root = np.sqrt(np.maximum(b * b + 4 * a * c, 0.0))
    xi = 2 * c / (b + root)
    return _Point(z0 + w * xi, xi, y0, w, h, d0, d1, s)
