"""Monotone one-dimensional maps from a standard normal to a marginal.

One map serves every marginal in this package: the rational-quadratic spline
of Gregory and Delbourgo (1982, doi:10.1093/imanum/2.2.123), which passes
through given values with given slopes, is monotone and continuously
differentiable, and has an inverse in closed form. Beyond its outermost knots
it continues as a straight line, so tails are Gaussian. An affine map is the
special case of equal slopes.

`SplineMap.from_log_density` turns a marginal's log density and score (its
derivative) into the map whose push-forward has that density; this is how the coordinate
updates of the fits arrive here. See docs/mathematics.md for why this replaces
sums of ramps with fixed knots.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri_exp

from stanrovi.families.base import LOG_SQRT_2PI
from stanrovi.target import Array

_N_KNOTS = 129
_ROOT = 5.0
# Tail mass beyond the outermost knots: z = +-4.75.
_TAIL = 1e-6
# A marginal density is never let below this share of its maximum between two
# modes, so that the map's knots stay distinct in double precision.
_GAP_FLOOR = -25.0
# Log of a share of the maximum that is still a normal number.
_UNDERFLOW = -700.0


@dataclass(frozen=True)
class SplineMap:
    """Coordinatewise monotone map ``y = T(z)`` of d coordinates.

    Attributes
    ----------
    z, y, slope : ndarray, shape (d, K)
        Knots, values and derivatives at the knots; ``z`` and ``y`` increase
        along each row and ``slope`` is positive.
    """

    z: Array
    y: Array
    slope: Array

    @classmethod
    def affine(cls, location: Array, scale: Array) -> SplineMap:
        """``T(z) = location + scale * z``, both of shape (d,), scale positive."""
        z = np.tile([-1.0, 1.0], (len(location), 1))
        y = location[:, None] + scale[:, None] * z
        return cls(z, y, np.repeat(scale[:, None], 2, axis=1))

    @classmethod
    def from_log_density(cls, grid: Array, log_density: Array, score: Array) -> SplineMap:
        """Map whose push-forward has given marginal densities.

        Parameters
        ----------
        grid : ndarray, shape (d, G)
            Increasing points that cover all but negligible tails.
        log_density, score : ndarray, shape (d, G)
            Log density up to a constant, and its derivative, on the grid.

        Returns
        -------
        SplineMap
            With knots at the grid points, quantiles integrated to fourth order.
        """
        y = _knots(grid, log_density, score)
        log_density, score = _hermite(grid, log_density, score, y)
        q = np.exp(np.maximum(log_density - log_density.max(axis=1)[:, None], _GAP_FLOOR))
        left, right = _cumulative(y, q, score)
        total = left[:, -1:] + right[:, -1:]
        below = left < right
        log_tail = np.log(np.where(below, left, right) / total)
        z = np.where(below, 1.0, -1.0) * ndtri_exp(np.minimum(log_tail, -np.log(2)))
        slope = np.exp(-0.5 * z**2 - LOG_SQRT_2PI) / (q / total)
        return cls(z, y, slope)

    @property
    def dim(self) -> int:
        """Number of coordinates."""
        return self.z.shape[0]

    @property
    def is_affine(self) -> bool:
        """Whether every coordinate's map is a straight line."""
        return self.z.shape[1] == 2

    def select(self, order: NDArray[np.intp]) -> SplineMap:
        """Return the coordinates ``order`` (indices), in that order."""
        return SplineMap(self.z[order], self.y[order], self.slope[order])

    def value(self, z: Array) -> Array:
        """``T(z)`` for z of shape (n, d)."""
        return self._at(z).value()

    def log_slope(self, z: Array) -> Array:
        """``log T'(z)`` for z of shape (n, d)."""
        return np.log(self._at(z).slope())

    def score(self, z: Array) -> Array:
        """Give the derivative of the marginal log density at ``y = T(z)``, shape (n, d).

        ``d/dy log q(y) = (-z - T''(z) / T'(z)) / T'(z)``.
        """
        return self._at(z).score()

    def push_forward(self, z: Array) -> tuple[Array, Array]:
        """``T(z)`` with log slope there, shape (n, d) each."""
        point = self._at(z)
        return point.value(), np.log(point.slope())

    def inverse(self, y: Array) -> Array:
        """``T^{-1}(y)`` for y of shape (n, d), exact up to rounding."""
        return self._at_value(y).z

    def pull_back(self, y: Array) -> tuple[Array, Array, Array]:
        """``T^{-1}(y)`` with log slope and score there, shape (n, d) each."""
        point = self._at_value(y)
        return point.z, np.log(point.slope()), point.score()

    def log_density(self, y: Array) -> Array:
        """Marginal log densities at y of shape (n, d), normalised."""
        z, log_slope, _ = self.pull_back(y)
        return -0.5 * z**2 - LOG_SQRT_2PI - log_slope

    def quadrature(self) -> tuple[Array, Array]:
        """Nodes and weights for expectations under the standard normal.

        Returns
        -------
        z, weight : ndarray, shape (m, d) each
            Ten Gauss-Legendre nodes on every spline piece and tail.
        """
        nodes, weights = np.polynomial.legendre.leggauss(10)
        edges = np.concatenate(
            [self.z[:, :1] - 6, self.z[:, :1] - 2.5, self.z, self.z[:, -1:] + 2.5,
             self.z[:, -1:] + 6], axis=1
        )  # fmt: skip
        half = np.diff(edges, axis=1) / 2
        z = (edges[:, :-1] + half)[..., None] + half[..., None] * nodes
        w = half[..., None] * weights * np.exp(-0.5 * z**2 - LOG_SQRT_2PI)
        d = self.dim
        return z.reshape(d, -1).T, w.reshape(d, -1).T

    def moments(self) -> tuple[Array, Array]:
        """Mean and variance of each marginal, shape (d,) each."""
        if self.is_affine:
            return self.y.mean(axis=1), self.slope[:, 0] ** 2
        z, w = self.quadrature()
        y = self.value(z)
        mean = (w * y).sum(axis=0)
        return mean, (w * (y - mean) ** 2).sum(axis=0)

    def mean_log_slope(self) -> Array:
        """``E[log T'(z)]`` per coordinate, shape (d,): entropy beyond the normal's."""
        if self.is_affine:
            return np.log(self.slope[:, 0])
        z, w = self.quadrature()
        return np.asarray((w * self.log_slope(z)).sum(axis=0))

    def fisher_information(self) -> Array:
        """``E[score^2]`` per coordinate, shape (d,)."""
        if self.is_affine:
            return self.slope[:, 0] ** -2.0
        z, w = self.quadrature()
        return np.asarray((w * self.score(z) ** 2).sum(axis=0))

    def standardised(self) -> tuple[SplineMap, Array, Array]:
        """Split off location and scale.

        Returns
        -------
        standard : SplineMap
            With mean zero and variance one in each coordinate.
        mean, sd : ndarray, shape (d,)
        """
        mean, variance = self.moments()
        sd = np.sqrt(variance)
        standard = SplineMap(
            self.z, (self.y - mean[:, None]) / sd[:, None], self.slope / sd[:, None]
        )
        return standard, mean, sd

    @cached_property
    def _pieces(self) -> Array:
        """Coefficients of every piece, straight tails included, shape (d, K + 1, 7).

        Per piece: z0, y0 (left end), w, h (widths), d0, d1 (end slopes) and
        the mean slope s = h / w.
        """
        w, h = np.diff(self.z, axis=1), np.diff(self.y, axis=1)
        inner = [self.z[:, :-1], self.y[:, :-1], w, h, self.slope[:, :-1], self.slope[:, 1:], h / w]
        ends = []
        for k, sign in ((0, -1.0), (-1, 1.0)):
            slope = self.slope[:, k]
            one = np.ones_like(slope)
            start_z = self.z[:, k] + min(sign, 0.0)
            start_y = self.y[:, k] + min(sign, 0.0) * slope
            ends.append(np.stack([start_z, start_y, one, slope, slope, slope, slope], axis=-1))
        middle = np.stack(inner, axis=-1)
        return np.concatenate([ends[0][:, None], middle, ends[1][:, None]], axis=1)

    def _at(self, z: Array) -> _Point:
        coefficients = self._gather(self.z, z)
        xi = (z - coefficients[0]) / coefficients[2]
        return _Point(z, xi, *coefficients)

    def _at_value(self, y: Array) -> _Point:
        z0, y0, w, h, d0, d1, s = self._gather(self.y, y)
        t, kappa = y - y0, d0 + d1 - 2 * s
        a, b, c = h * (s - d0) + t * kappa, h * d0 - t * kappa, -s * t
        root = np.sqrt(np.maximum(b * b - 4 * a * c, 0.0))
        xi = 2 * c / (-b - root)
        return _Point(z0 + w * xi, xi, z0, y0, w, h, d0, d1, s)

    def _gather(self, knots: Array, v: Array) -> tuple[Array, ...]:
        """Coefficients (n, d) of the pieces in which the points v (n, d) lie."""
        columns = [np.searchsorted(knots[i], v[:, i], side="right") for i in range(v.shape[1])]
        found = self._pieces[np.arange(v.shape[1]), np.stack(columns, axis=1)]
        return tuple(np.moveaxis(found, -1, 0))


@dataclass(frozen=True)
class _Point:
    """Evaluation points with the coefficients of their pieces, shape (n, d) each.

    ``xi`` is the relative position in the piece; a straight tail is the piece
    with equal slopes, where xi may leave [0, 1].
    """

    z: Array
    xi: Array
    z0: Array
    y0: Array
    w: Array
    h: Array
    d0: Array
    d1: Array
    s: Array

    def value(self) -> Array:
        theta = self.xi * (1 - self.xi)
        share = (self.s * self.xi**2 + self.d0 * theta) / self._denominator(theta)
        return np.asarray(self.y0 + self.h * share)

    def slope(self) -> Array:
        theta = self.xi * (1 - self.xi)
        ratio = self.s / self._denominator(theta)
        return np.asarray(ratio * ratio * self._numerator(theta))

    def score(self) -> Array:
        xi, theta = self.xi, self.xi * (1 - self.xi)
        numerator, denominator = self._numerator(theta), self._denominator(theta)
        bend = 2 * (self.d1 * xi + self.s * (1 - 2 * xi) - self.d0 * (1 - xi)) / numerator
        bend -= 2 * (self.d0 + self.d1 - 2 * self.s) * (1 - 2 * xi) / denominator
        ratio = self.s / denominator
        return np.asarray((-self.z - bend / self.w) / (ratio * ratio * numerator))

    def _numerator(self, theta: Array) -> Array:
        return self.d1 * self.xi**2 + 2 * self.s * theta + self.d0 * (1 - self.xi) ** 2

    def _denominator(self, theta: Array) -> Array:
        return self.s + (self.d0 + self.d1 - 2 * self.s) * theta


def stack(maps: list[SplineMap]) -> SplineMap:
    """Join coordinates of several maps, refining affine ones to the common knot count."""
    count = max(m.z.shape[1] for m in maps)
    refined = [_refined(m, count) for m in maps]
    return SplineMap(
        np.concatenate([m.z for m in refined]),
        np.concatenate([m.y for m in refined]),
        np.concatenate([m.slope for m in refined]),
    )


def _refined(m: SplineMap, count: int) -> SplineMap:
    if m.z.shape[1] == count:
        return m
    z = np.tile(np.linspace(-4.75, 4.75, count), (m.dim, 1))
    return SplineMap(z, m.value(z.T).T, np.exp(m.log_slope(z.T).T))


def _knots(grid: Array, log_density: Array, score: Array) -> Array:
    """Knots (d, K) between the tails of mass `_TAIL`.

    Two thirds are spread evenly over the range, one as a root of the density,
    so that far modes and long tails keep their resolution.
    """
    log_q = np.maximum(log_density - log_density.max(axis=1)[:, None], _UNDERFLOW)
    left, right = _cumulative(grid, np.exp(log_q), score)
    log_mass, log_left, log_right = np.log(_TAIL * left[:, -1]), np.log(left), np.log(right)
    root = np.exp(log_q / _ROOT)
    crowd = np.cumsum(np.diff(grid, axis=1) * (root[:, 1:] + root[:, :-1]), axis=1)
    crowd = np.concatenate([np.zeros((len(grid), 1)), crowd], axis=1)
    even, knots = np.linspace(0.0, 3.0, _N_KNOTS), np.empty((len(grid), _N_KNOTS))
    for i, (g, c) in enumerate(zip(grid, crowd, strict=True)):
        ends = np.array([
            np.interp(log_mass[i], log_left[i], g),
            np.interp(log_mass[i], log_right[i, ::-1], g[::-1]),
        ])  # fmt: skip
        (low, high), (start, end) = ends, np.interp(ends, g, c)
        place = np.clip(g, low, high)
        spread = 2 * (place - low) / (high - low) + (np.clip(c, start, end) - start) / (end - start)
        knots[i] = np.interp(even, spread, place)
    return knots


def _hermite(grid: Array, value: Array, slope: Array, at: Array) -> tuple[Array, Array]:
    """Cubic Hermite interpolants and their derivatives, row by row, at points inside the grids."""
    right = [np.searchsorted(g, a, side="right") for g, a in zip(grid, at, strict=True)]
    k = np.clip(np.stack(right), 1, grid.shape[1] - 1)
    x0, v0, m0 = (np.take_along_axis(part, k - 1, axis=1) for part in (grid, value, slope))
    x1, v1, m1 = (np.take_along_axis(part, k, axis=1) for part in (grid, value, slope))
    h, t = x1 - x0, (at - x0) / (x1 - x0)
    rise = (v1 - v0) / h
    # v0 + t h (m0 + t (a + t b))
    a, b = 3 * rise - 2 * m0 - m1, m0 + m1 - 2 * rise
    return v0 + t * h * (m0 + t * (a + t * b)), m0 + t * (2 * a + t * 3 * b)


def _cumulative(grid: Array, q: Array, score: Array) -> tuple[Array, Array]:
    """Integrals of q (d, G) from the left end and from the right end, Hermite-corrected.

    Both start from the Gaussian-like tail beyond the grid (density over rate).
    """
    h = np.diff(grid, axis=1)
    trapezoid = h / 2 * (q[:, :-1] + q[:, 1:])
    piece = trapezoid - h**2 / 12 * np.diff(q * score, axis=1)
    # The correction can overshoot where the density changes by orders within a step.
    piece = np.clip(piece, 0.3 * trapezoid, 1.5 * trapezoid)
    scale = grid[:, -1:] - grid[:, :1]
    tail_left = q[:, :1] / np.maximum(score[:, :1], 1 / scale)
    tail_right = q[:, -1:] / np.maximum(-score[:, -1:], 1 / scale)
    left = np.cumsum(np.concatenate([tail_left, piece], axis=1), axis=1)
    right = np.cumsum(np.concatenate([piece, tail_right], axis=1)[:, ::-1], axis=1)[:, ::-1]
    return left, right
