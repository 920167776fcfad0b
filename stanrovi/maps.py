"""Monotone one-dimensional maps from a standard normal to a marginal.

One map serves every marginal in this package: the rational-quadratic spline
of Gregory and Delbourgo (1982, doi:10.1093/imanum/2.2.123), which passes
through given values with given slopes, is monotone and continuously
differentiable, and has an inverse in closed form. Beyond its outermost knots
it continues as a straight line, so tails are Gaussian. An affine map is the
special case of equal slopes.

`SplineMap.from_score` turns the score (log-density derivative) of a marginal
into the map whose push-forward has that density; this is how the coordinate
updates of the fits arrive here. See docs/mathematics.md for why this replaces
sums of ramps with fixed knots.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicHermiteSpline
from scipy.special import ndtri, ndtri_exp

from stanrovi.target import Array

_LOG_SQRT_2PI = 0.5 * np.log(2 * np.pi)
_N_KNOTS = 129
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
        rows = [
            _quantile_knots(g, lq, s) for g, lq, s in zip(grid, log_density, score, strict=True)
        ]
        z, y, slope = (np.stack(part) for part in zip(*rows, strict=True))
        return cls(z, y, slope)

    @property
    def dim(self) -> int:
        """Number of coordinates."""
        return self.z.shape[0]

    @property
    def is_affine(self) -> bool:
        """Whether every coordinate's map is a straight line."""
        return self.z.shape[1] == 2

    def select(self, order: Array) -> SplineMap:
        """Return the coordinates ``order`` (indices), in that order."""
        return SplineMap(self.z[order], self.y[order], self.slope[order])

    def replaced(self, coordinate: int, other: SplineMap) -> SplineMap:
        """Exchange one coordinate for the first coordinate of ``other``."""
        rows = [self.select(np.array([i])) for i in range(self.dim)]
        rows[coordinate] = other
        return stack(rows)

    def value(self, z: Array) -> Array:
        """``T(z)`` for z of shape (n, d)."""
        k, xi, inside = self._locate(self.z, z)
        p = _Piece.of(self, k)
        theta = xi * (1 - xi)
        y = p.y0 + p.h * (p.s * xi**2 + p.d0 * theta) / (p.s + p.kappa * theta)
        return np.where(inside, y, self._tail_value(z))

    def log_slope(self, z: Array) -> Array:
        """``log T'(z)`` for z of shape (n, d)."""
        k, xi, inside = self._locate(self.z, z)
        p = _Piece.of(self, k)
        theta = xi * (1 - xi)
        numerator = p.d1 * xi**2 + 2 * p.s * theta + p.d0 * (1 - xi) ** 2
        log_slope = 2 * np.log(p.s / (p.s + p.kappa * theta)) + np.log(numerator)
        return np.where(inside, log_slope, np.log(self._tail_slope(z)))

    def inverse(self, y: Array) -> Array:
        """``T^{-1}(y)`` for y of shape (n, d), exact up to rounding."""
        k, _, inside = self._locate(self.y, y)
        p = _Piece.of(self, k)
        t = np.where(inside, y - p.y0, 0.0)
        a = p.h * (p.s - p.d0) + t * p.kappa
        b = p.h * p.d0 - t * p.kappa
        c = -p.s * t
        root = np.sqrt(np.maximum(b * b - 4 * a * c, 0.0))
        z = p.z0 + p.w * (2 * c / (-b - root))
        low = y < self.y[:, 0]
        tail = np.where(
            low,
            self.z[:, 0] + (y - self.y[:, 0]) / self.slope[:, 0],
            self.z[:, -1] + (y - self.y[:, -1]) / self.slope[:, -1],
        )
        return np.where(inside, z, tail)

    def score(self, z: Array) -> Array:
        """Give the derivative of the marginal log density at ``y = T(z)``, shape (n, d).

        ``d/dy log q(y) = (-z - T''(z) / T'(z)) / T'(z)``.
        """
        k, xi, inside = self._locate(self.z, z)
        p = _Piece.of(self, k)
        theta = xi * (1 - xi)
        numerator = p.d1 * xi**2 + 2 * p.s * theta + p.d0 * (1 - xi) ** 2
        denominator = p.s + p.kappa * theta
        d_numerator = 2 * (p.d1 * xi + p.s * (1 - 2 * xi) - p.d0 * (1 - xi))
        curvature = d_numerator / numerator - 2 * p.kappa * (1 - 2 * xi) / denominator
        slope = p.s**2 * numerator / denominator**2
        curvature = np.where(inside, curvature / p.w, 0.0)
        return (-z - curvature) / np.where(inside, slope, self._tail_slope(z))

    def log_density(self, y: Array) -> Array:
        """Marginal log densities at y of shape (n, d), normalised."""
        z = self.inverse(y)
        return -0.5 * z**2 - _LOG_SQRT_2PI - self.log_slope(z)

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
        w = half[..., None] * weights * np.exp(-0.5 * z**2 - _LOG_SQRT_2PI)
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

    def _locate(self, knots: Array, v: Array) -> tuple[NDIndex, Array, NDBool]:
        columns = [
            np.searchsorted(knots[i, 1:-1], v[:, i], side="right") for i in range(v.shape[1])
        ]
        k = np.stack(columns, axis=1)
        row = np.arange(v.shape[1])
        low, high = knots[row, k], knots[row, k + 1]
        position = (v - low) / (high - low)
        inside = (position >= 0) & (position <= 1)
        return k, np.clip(position, 0.0, 1.0), inside

    def _tail_value(self, z: Array) -> Array:
        left = self.y[:, 0] + self.slope[:, 0] * (z - self.z[:, 0])
        right = self.y[:, -1] + self.slope[:, -1] * (z - self.z[:, -1])
        return np.where(z < self.z[:, 0], left, right)

    def _tail_slope(self, z: Array) -> Array:
        return np.where(z < self.z[:, 0], self.slope[:, 0], self.slope[:, -1])


NDIndex = np.ndarray
NDBool = np.ndarray


@dataclass(frozen=True)
class _Piece:
    """Spline coefficients gathered for each evaluation point, shape (n, d) each."""

    z0: Array
    y0: Array
    w: Array
    h: Array
    s: Array
    d0: Array
    d1: Array
    kappa: Array

    @classmethod
    def of(cls, spline: SplineMap, k: NDIndex) -> _Piece:
        row = np.arange(k.shape[1])
        z0, y0, d0, d1 = (
            spline.z[row, k],
            spline.y[row, k],
            spline.slope[row, k],
            spline.slope[row, k + 1],
        )
        w, h = spline.z[row, k + 1] - z0, spline.y[row, k + 1] - y0
        s = h / w
        return cls(z0, y0, w, h, s, d0, d1, d0 + d1 - 2 * s)


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


def _quantile_knots(grid: Array, log_density: Array, score: Array) -> tuple[Array, Array, Array]:
    trimmed = _trimmed(grid, log_density, score)
    if len(grid) != _N_KNOTS or trimmed[0] > grid[0] or trimmed[-1] < grid[-1]:
        hermite = CubicHermiteSpline(grid, log_density, score)
        grid, log_density, score = trimmed, hermite(trimmed), hermite(trimmed, 1)
    q = np.exp(np.maximum(log_density - log_density.max(), _GAP_FLOOR))
    left, right = _cumulative(grid, q, score)
    total = left[-1] + right[-1]
    below = left < right
    log_tail = np.log(np.where(below, left, right) / total)
    z = np.where(below, 1.0, -1.0) * ndtri_exp(np.minimum(log_tail, -np.log(2)))
    slope = np.exp(-0.5 * z**2 - _LOG_SQRT_2PI) / (q / total)
    return z, grid, slope


def _trimmed(grid: Array, log_density: Array, score: Array) -> Array:
    """Equidistant grid between the tails of mass `_TAIL`."""
    q = np.exp(np.maximum(log_density - log_density.max(), _UNDERFLOW))
    left, right = _cumulative(grid, q, score)
    mass = _TAIL * left[-1]
    low = np.interp(np.log(mass), np.log(left), grid)
    high = -np.interp(np.log(mass), np.log(right[::-1]), -grid[::-1])
    return np.linspace(low, high, _N_KNOTS)


def _cumulative(grid: Array, q: Array, score: Array) -> tuple[Array, Array]:
    """Integrals of q from the left end and from the right end, Hermite-corrected.

    Both start from the Gaussian-like tail beyond the grid (density over rate).
    """
    h = np.diff(grid)
    trapezoid = h / 2 * (q[:-1] + q[1:])
    piece = trapezoid - h**2 / 12 * np.diff(q * score)
    # The correction can overshoot where the density changes by orders within a step.
    piece = np.clip(piece, 0.3 * trapezoid, 1.5 * trapezoid)
    scale = grid[-1] - grid[0]
    tail_left = q[0] / max(score[0], 1 / scale)
    tail_right = q[-1] / max(-score[-1], 1 / scale)
    left = tail_left + np.concatenate([[0.0], np.cumsum(piece)])
    right = tail_right + np.concatenate([np.cumsum(piece[::-1])[::-1], [0.0]])
    return left, right


def standard_normal(u: Array) -> Array:
    """Turn uniforms into standard normal quantiles, kept finite."""
    return np.asarray(ndtri(np.clip(u, 1e-12, 1 - 1e-12)))
