"""Monotone one-dimensional maps from a standard normal to a marginal.

One map serves every marginal in this package: the rational-quadratic spline
of Gregory and Delbourgo (1982, doi:10.1093/imanum/2.2.123), which passes
through given values with given slopes, is monotone and continuously
differentiable, and has an inverse in closed form. Beyond its outermost knots
it continues as a straight line, so tails are Gaussian. An affine map is the
special case of equal slopes.

`SplineMap.from_log_density` turns a marginal's log density and score (its
derivative) into the map whose push-forward has that density; this is how the coordinate
updates of the fits arrive here. See docs/explanation/mathematics.md for why this replaces
sums of ramps with fixed knots.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri_exp

from stanrovi.families.base import LOG_SQRT_2PI
from stanrovi.families.pieces import Expectations, Lines, Pieces
from stanrovi.target import Array

_N_KNOTS = 129
_ROOT = 5.0
# Tail mass beyond the outermost knots: z = +-4.75.
_TAIL = 1e-6
# A marginal density is never let below this share of its maximum between two
# modes, so that the map's knots stay distinct in double precision.
_GAP_FLOOR = -25.0
# Beyond the outermost knots a tail falls at this share at least of the rate between the last two.
_STEEP = 0.3
# Log of a share of the maximum that is still a normal number.
_UNDERFLOW = -700.0


@dataclass(frozen=True, eq=False)
class SplineMap:
    """Coordinatewise monotone map ``y = T(z)`` of d coordinates.

    Attributes
    ----------
    z, y, slope : ndarray, shape (d, K)
        Knots, values and derivatives at the knots; ``z`` and ``y`` increase
        along each row and ``slope`` is positive.
    known : Expectations, optional
        What the map comes to under the standard normal, where that need not be integrated.
    """

    z: Array
    y: Array
    slope: Array
    known: Expectations | None = field(default=None, repr=False, compare=False)

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
        return self._form.at(z, "value")[0]

    def log_slope(self, z: Array) -> Array:
        """``log T'(z)`` for z of shape (n, d)."""
        return self._form.at(z, "log_slope")[0]

    def score(self, z: Array) -> Array:
        """Give the derivative of the marginal log density at ``y = T(z)``, shape (n, d).

        ``d/dy log q(y) = (-z - T''(z) / T'(z)) / T'(z)``.
        """
        return self._form.at(z, "score")[0]

    def push_forward(self, z: Array) -> tuple[Array, Array]:
        """``T(z)`` with log slope there, shape (n, d) each."""
        value, log_slope = self._form.at(z, "value", "log_slope")
        return value, log_slope

    def push_forward_with_score(self, z: Array) -> tuple[Array, Array, Array]:
        """``T(z)`` with log slope and score there, shape (n, d) each."""
        value, log_slope, score = self._form.at(z, "value", "log_slope", "score")
        return value, log_slope, score

    def inverse(self, y: Array) -> Array:
        """``T^{-1}(y)`` for y of shape (n, d), exact up to rounding."""
        return self._form.at_value(y, "z")[0]

    def pull_back(self, y: Array) -> tuple[Array, Array]:
        """``T^{-1}(y)`` with log slope there, shape (n, d) each."""
        z, log_slope = self._form.at_value(y, "z", "log_slope")
        return z, log_slope

    def pull_back_with_score(self, y: Array) -> tuple[Array, Array, Array]:
        """``T^{-1}(y)`` with log slope and score there, shape (n, d) each."""
        z, log_slope, score = self._form.at_value(y, "z", "log_slope", "score")
        return z, log_slope, score

    def log_density(self, y: Array) -> Array:
        """Marginal log densities at y of shape (n, d), normalised."""
        z, log_slope = self.pull_back(y)
        return -0.5 * z**2 - LOG_SQRT_2PI - log_slope

    def moments(self) -> tuple[Array, Array]:
        """Mean and variance of each marginal, shape (d,) each."""
        return self._expectations.mean, self._expectations.variance

    def mean_log_slope(self) -> Array:
        """``E[log T'(z)]`` per coordinate, shape (d,): entropy beyond the normal's."""
        return self._expectations.log_slope

    def fisher_information(self) -> Array:
        """``E[score^2]`` per coordinate, shape (d,)."""
        return self._expectations.fisher

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
        y, slope = (self.y - mean[:, None]) / sd[:, None], self.slope / sd[:, None]
        return SplineMap(self.z, y, slope, self._expectations.standardised()), mean, sd

    @cached_property
    def _form(self) -> Pieces | Lines:
        if not self.is_affine:
            return Pieces(self.z, self.y, self.slope)
        scale = self.slope[:, 0]
        return Lines(self.y.mean(axis=1) - scale * self.z.mean(axis=1), scale)

    @cached_property
    def _expectations(self) -> Expectations:
        return self._form.expectations() if self.known is None else self.known


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
    # A score can be off at a single knot; the last step tells the rate, too.
    rise = _STEEP * np.log(q[:, 1:2] / q[:, :1]) / h[:, :1]
    fall = _STEEP * np.log(q[:, -2:-1] / q[:, -1:]) / h[:, -1:]
    tail_left = q[:, :1] / np.maximum(np.maximum(score[:, :1], rise), 1 / scale)
    tail_right = q[:, -1:] / np.maximum(np.maximum(-score[:, -1:], fall), 1 / scale)
    left = np.cumsum(np.concatenate([tail_left, piece], axis=1), axis=1)
    right = np.cumsum(np.concatenate([piece, tail_right], axis=1)[:, ::-1], axis=1)[:, ::-1]
    return left, right
