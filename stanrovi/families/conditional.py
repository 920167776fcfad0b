"""Conditional families: a few roots, and the rest given them.

    u = y_u,    v = m(u) + C(u)^-T y_v,    y from a product measure on linear axes

The mean m and the Cholesky factor C of the precision are smooth functions of the roots, so
that the spread of a group's effects can follow the group's scale (a funnel) exactly. Given
the roots the rest is what a product on linear axes holds: Gaussian, or of any marginal
shapes. This is the form of the integrated nested Laplace approximation (Rue, Martino and
Chopin 2009, doi:10.1111/j.1467-9868.2008.00700.x), here as a distribution with an exact
density. C has the sparsity of the precision's factor under a minimum degree order: an
arrow where leaves are independent given a few others, a band where they are a chain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array
from scipy.spatial.distance import cdist

from stanrovi.families.base import base_draws, sampled
from stanrovi.families.product import Product
from stanrovi.families.sobol import MAX_POINTS
from stanrovi.families.sparse_axes import SparseAxes
from stanrovi.families.triangular import Pattern
from stanrovi.given import at_points, check_sampling
from stanrovi.target import Array, ChangeOfVariables

Indices = NDArray[np.intp]

_MOMENT_DRAWS, _LEAST_MOMENT_DRAWS, _MOMENT_NUMBERS = 8192, 512, 2**21
_ENTRIES, _FEWEST = 2**21, 16  # of the factors of points worked on at once; points at least
_LOG_LARGEST = 100.0
_ON_AXIS = 1e-2  # units; nodes so near to an axis are on it


@dataclass(frozen=True, eq=False)
class RootFunctions:
    """Smooth functions of k roots, given by their values at nodes.

    Cubic radial functions with a linear part: natural cubic splines where there is one
    root, and in any number of roots a function that is smooth between the nodes and grows
    no faster than a line, or hardly, beyond them (Duchon 1977, doi:10.1007/BFb0086566).

    Attributes
    ----------
    origin : ndarray, shape (k,)
    scale : ndarray, shape (k,)
        Distances are taken in these units.
    nodes : ndarray, shape (m, k)
        Distinct, and not all on one hyperplane.
    """

    origin: Array
    scale: Array
    nodes: Array

    @cached_property
    def _weights(self) -> Array:
        """From radial and linear functions to those that are one at a node, zero at others."""
        t = self._scaled(self.nodes)
        m, k = t.shape
        radial = cdist(t, t) ** 3
        linear = np.concatenate([np.ones((m, 1)), t], axis=1)
        zero = np.zeros((k + 1, k + 1))
        system = np.block([[radial, linear], [linear.T, zero]])
        return np.asarray(np.linalg.solve(system, np.eye(m + k + 1, m)))

    def _scaled(self, u: Array) -> Array:
        return np.asarray((u - self.origin) / self.scale)

    def within(self, u: Array) -> Array:
        """Give the nearest points (n, k) to u that lie in the box of the nodes."""
        return np.clip(u, self.nodes.min(axis=0), self.nodes.max(axis=0))

    def weights(self, u: Array) -> Array:
        """Shares (n, m) that the values at the nodes have in those at u, shape (n, k)."""
        t = self._scaled(u)
        radial = cdist(t, self._scaled(self.nodes)) ** 3
        features = np.concatenate([radial, np.ones((len(t), 1)), t], axis=1)
        return np.asarray(features @ self._weights)

    def slopes(self, u: Array, values: Array) -> Array:
        """Differentiate in u (n, k) what has values (n, m) or (m,) at the nodes, shape (n, k)."""
        t, nodes = self._scaled(u), self._scaled(self.nodes)
        of_features = values @ self._weights.T
        pull = 3 * cdist(t, nodes) * of_features[..., : len(nodes)]
        radial = pull.sum(axis=1, keepdims=True) * t - pull @ nodes
        return np.asarray((radial + of_features[..., len(nodes) + 1 :]) / self.scale)


@dataclass(frozen=True, eq=False)
class StarFunctions:
    """Functions of many roots, given by their values on the arms of a star and near its centre.

    A sum of natural cubic splines, one along each axis, and what that leaves at the nodes
    off the axes: within their box as `RootFunctions` have it, constant beyond. Far out two
    arms say what their corner cannot: no node is there.

    Attributes
    ----------
    origin : ndarray, shape (k,)
        A node is there.
    axes : ndarray, shape (k, k)
        Their columns are the axes, one unit long.
    nodes : ndarray, shape (m, k)
    """

    origin: Array
    axes: Array
    nodes: Array

    @property
    def scale(self) -> Array:
        """Units of the roots (k,)."""
        return np.asarray(np.linalg.norm(self.axes, axis=1))

    def within(self, u: Array) -> Array:
        """Give the nearest points (n, k) to u that lie in the box of the nodes."""
        return np.clip(u, self.nodes.min(axis=0), self.nodes.max(axis=0))

    @cached_property
    def _inverse(self) -> Array:
        return np.asarray(np.linalg.inv(self.axes))

    def _place(self, u: Array) -> Array:
        return np.asarray((u - self.origin) @ self._inverse.T)

    @cached_property
    def _center(self) -> int:
        return int(np.argmin(np.abs(self._place(self.nodes)).max(axis=1)))

    @cached_property
    def _arms(self) -> tuple[tuple[int, Indices, RootFunctions], ...]:
        """Axes, the nodes on each, and the splines through them."""
        place = self._place(self.nodes)
        off = np.abs(place) > _ON_AXIS
        arms = []
        for i in range(len(self.origin)):
            on = np.flatnonzero(~np.delete(off, i, axis=1).any(axis=1))
            if len(on) > 1:  # else nothing is known along this axis
                spline = RootFunctions(np.zeros(1), np.ones(1), place[on, i, None])
                arms.append((i, on, spline))
        return tuple(arms)

    @cached_property
    def _corners(self) -> tuple[Array, Array, RootFunctions, Array] | None:
        """Box of the nodes off the axes, functions in it, and what they take of each node."""
        place = self._place(self.nodes)
        off_axes = (np.abs(place) > _ON_AXIS).sum(axis=1) > 1
        if not off_axes.any():
            return None
        low, high = place[off_axes].min(axis=0), place[off_axes].max(axis=0)
        low, high = np.minimum(low, -1.0), np.maximum(high, 1.0)
        inside = ((place >= low - _ON_AXIS) & (place <= high + _ON_AXIS)).all(axis=1)
        left = (np.eye(len(place)) - self._along_arms(place))[inside]
        # Where an arm leaves the box nothing is left either.
        k = len(self.origin)
        gates = np.concatenate([np.diag(low), np.diag(high)])
        apart = np.linalg.norm(gates[:, None] - place[inside], axis=2).min(axis=1)
        gates = gates[apart > _ON_AXIS]
        functions = RootFunctions(np.zeros(k), np.ones(k), np.concatenate([place[inside], gates]))
        return low, high, functions, np.concatenate([left, np.zeros((len(gates), len(place)))])

    def _along_arms(self, place: Array) -> Array:
        """Shares (n, m) of the nodes in the sum of functions along the axes."""
        shares = np.zeros((len(place), len(self.nodes)))
        for i, on, spline in self._arms:
            shares[:, on] += spline.weights(place[:, i, None])
        shares[:, self._center] -= len(self._arms) - 1
        return shares

    def weights(self, u: Array) -> Array:
        """Shares (n, m) that the values at the nodes have in those at u, shape (n, k)."""
        place = self._place(u)
        shares = self._along_arms(place)
        if self._corners is not None:
            low, high, functions, left = self._corners
            shares += functions.weights(np.clip(place, low, high)) @ left
        return shares

    def slopes(self, u: Array, values: Array) -> Array:
        """Differentiate in u (n, k) what has values (n, m) or (m,) at the nodes, shape (n, k)."""
        place = self._place(u)
        slopes = np.zeros(place.shape)
        for i, on, spline in self._arms:
            slopes[:, i] = spline.slopes(place[:, i, None], values[..., on])[:, 0]
        if self._corners is not None:
            low, high, functions, left = self._corners
            inside = (place > low) & (place < high)
            slopes += inside * functions.slopes(np.clip(place, low, high), values @ left.T)
        return slopes @ self._inverse


@dataclass(frozen=True, eq=False)
class ConditionalMap:
    """The bijection from (u, y_v) to (u, v); see the module.

    Attributes
    ----------
    roots, leaves : ndarray of int
        Coordinates; the leaves in the order of the factor's columns. What is neither stays
        as it is.
    functions : RootFunctions or StarFunctions
    pattern : Pattern
    mean, log_scale : ndarray, shape (m, d - k)
        At the nodes: m, and the log diagonal of C.
    lower : ndarray, shape (m, pattern.size)
        At the nodes: entries of C below the diagonal, each over its column's diagonal.
    """

    roots: Indices
    leaves: Indices
    functions: RootFunctions | StarFunctions
    pattern: Pattern
    mean: Array
    log_scale: Array
    lower: Array

    def _blocks(self, n: int) -> Iterator[slice]:
        """Points whose matrices are held at once."""
        step = max(_FEWEST, _ENTRIES // max(self.pattern.size, 1))
        return (slice(at, at + step) for at in range(0, n, step))

    def _parts(self, u: Array) -> tuple[Array, Array, Array]:
        """Give mean (n, d - k), log diagonal and entries (size, n) at roots u.

        Scales go on as lines beyond the nodes, as far as numbers hold them; means and entries
        stay what they are at the last nodes: where a scale shrinks, any slope would leave it.
        """
        weights = self.functions.weights(u)
        log_scale = np.clip(weights @ self.log_scale, -_LOG_LARGEST, _LOG_LARGEST)
        near = self.functions.within(u)
        if (near != u).any():
            weights = self.functions.weights(near)
        return weights @ self.mean, log_scale, self.lower.T @ weights.T

    def spread(self, u: Array, variance: Array | None = None) -> Array:
        """Give the standard deviations (n, d - k) of leaves at roots u.

        The y_v uncorrelated with these variances (d - k,), or with 1.
        """
        m = len(self.leaves)
        rows, columns = self.pattern.positions
        place = np.concatenate([rows, np.arange(m)]), np.concatenate([columns, np.arange(m)])
        wide = np.empty((len(u), m))
        for some in self._blocks(len(u)):
            _, log_scale, lower = self._parts(u[some])
            for i, scale in enumerate(log_scale):
                entries = np.concatenate([lower[:, i], np.ones(m)])
                factor = csc_array((entries, place), shape=(m, m))
                axes = SparseAxes(np.arange(m), factor, np.exp(-scale))
                wide[some.start + i] = axes.sd(variance)
        return wide

    def forward(self, y: Array) -> tuple[Array, Array]:
        """Map y (n, dim) to x (n, dim), with the log determinant (n,)."""
        x, log_det = y.copy(), np.empty(len(y))
        for rows in self._blocks(len(y)):
            mean, log_scale, lower = self._parts(y[rows, self.roots])
            x[rows, self.leaves] = mean + self._spread(log_scale, lower, y[rows, self.leaves])
            log_det[rows] = -log_scale.sum(axis=1)
        return x, log_det

    def _spread(self, log_scale: Array, lower: Array, w: Array) -> Array:
        return self.pattern.solve_transposed(lower, (w * np.exp(-log_scale)).T).T

    def inverse(self, x: Array) -> tuple[Array, Array]:
        """Map x (n, dim) back to y, with the log determinant (n,) of `forward`."""
        y, log_det = x.copy(), np.empty(len(x))
        for rows in self._blocks(len(x)):
            mean, log_scale, lower = self._parts(x[rows, self.roots])
            centred = (x[rows, self.leaves] - mean).T
            whitened = self.pattern.apply_transposed(lower, centred).T
            y[rows, self.leaves] = np.exp(log_scale) * whitened
            log_det[rows] = -log_scale.sum(axis=1)
        return y, log_det

    def transport(self, y: Array) -> tuple[Array, Array, Callable[[Array], Array]]:
        """Change variables from y (n, dim); see `stanrovi.target.ChangeOfVariables`."""
        x, log_det = self.forward(y)

        def lift(gradient: Array) -> Array:
            out = gradient.copy()
            for rows in self._blocks(len(y)):
                u = y[rows, self.roots]
                mean, log_scale, lower = self._parts(u)
                of_mean = gradient[rows, self.leaves]
                solved = self.pattern.solve(lower, of_mean.T)
                slope = solved.T * np.exp(-log_scale)
                inside = np.abs(log_scale) < _LOG_LARGEST
                of_scale = inside * (1 + slope * y[rows, self.leaves])
                centred = (x[rows, self.leaves] - mean).T
                out[rows, self.leaves] = slope
                out[rows, self.roots] += self._through_roots(u, of_mean, of_scale, solved, centred)
            return out

        return x, log_det, lift

    def _through_roots(
        self, u: Array, of_mean: Array, of_scale: Array, solved: Array, centred: Array
    ) -> Array:
        """Differentiate through m and C, shape (n, k), what changes so much with each."""
        rows, columns = self.pattern.positions
        of_entries = solved[columns]
        of_entries *= centred[rows]
        in_nodes = of_mean @ self.mean.T - (self.lower @ of_entries).T
        near = self.functions.within(u)
        inside = np.where(near == u, 1.0, 0.0)
        by_scale = self.functions.slopes(u, of_scale @ self.log_scale.T)
        return inside * self.functions.slopes(near, in_nodes) - by_scale

    def pull(self, x: Array, gradient: Array) -> Array:
        """Turn the gradient (n, dim) in y of log q at y(x) into that of the density of x."""
        out = gradient.copy()
        for rows in self._blocks(len(x)):
            u = x[rows, self.roots]
            mean, log_scale, lower = self._parts(u)
            centred = (x[rows, self.leaves] - mean).T
            w = np.exp(log_scale) * self.pattern.apply_transposed(lower, centred).T
            slope = gradient[rows, self.leaves]
            solved = (slope * np.exp(log_scale)).T
            of_mean = self.pattern.apply(lower, solved).T
            of_scale = (np.abs(log_scale) < _LOG_LARGEST) * (1 + slope * w)
            out[rows, self.leaves] = of_mean
            out[rows, self.roots] -= self._through_roots(u, of_mean, of_scale, solved, centred)
        return out


@dataclass(frozen=True, eq=False)
class Conditional:
    """Roots with marginals of their own, and the rest given them.

    Attributes
    ----------
    maps : tuple of ConditionalMap
        Applied one after the other: roots given the first of them, then the rest given all.
    base : Product
        What is mapped.
    """

    maps: tuple[ConditionalMap, ...]
    base: Product

    @property
    def dim(self) -> int:
        """Number of unconstrained parameters."""
        return self.base.dim

    @property
    def map(self) -> ConditionalMap:
        """The map from all roots to the rest."""
        return self.maps[-1]

    def from_base(self, z: Array) -> Array:
        """Map base points z (n, dim) to x (n, dim)."""
        return self.push_forward(z)[0]

    def to_base(self, x: Array) -> Array:
        """Invert `from_base`."""
        return self.base.to_base(self._pulled_back(x)[0][-1])

    def push_forward(self, z: Array) -> tuple[Array, Array]:
        """Map base points z (n, dim) to x (n, dim), with the log density (n,) there."""
        x, log_q = self.base.push_forward(z)
        for step in self.maps:
            x, log_det = step.forward(x)
            log_q = log_q - log_det
        return x, log_q

    def transport(self, z: Array) -> tuple[Array, Array, Callable[[Array], Array]]:
        """Change variables from base points z (n, dim); see `stanrovi.target.ChangeOfVariables`."""
        return Chain((self.base, *self.maps)).transport(z)

    def _pulled_back(self, x: Array) -> tuple[list[Array], Array]:
        """Give x before each map, the last first, and the log determinant (n,) of all."""
        points, total = [x], np.zeros(len(x))
        for step in reversed(self.maps):
            y, log_det = step.inverse(points[-1])
            points.append(y)
            total = total + log_det
        return points, total

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        """Draw ``n`` points, shape (n, dim): quasi-random, in random order."""
        check_sampling(n, rng, MAX_POINTS)
        return sampled(self.from_base, n, self.dim, rng)

    def log_density(self, x: Array) -> Array:
        """Log density (n,) at x of shape (n, dim); -inf where that is beyond numbers."""
        with np.errstate(all="ignore"):
            points, log_det = self._pulled_back(at_points(x, self.dim))
            log_q = self.base.log_density(points[-1]) - log_det
        return np.where(np.isfinite(log_q), log_q, -np.inf)

    def log_density_gradient(self, x: Array) -> tuple[Array, Array]:
        """Log density (n,) and its gradient (n, dim) at x of shape (n, dim)."""
        with np.errstate(all="ignore"):
            points, log_det = self._pulled_back(at_points(x, self.dim))
            log_q, gradient = self.base.log_density_gradient(points[-1])
            for step, point in zip(self.maps, reversed(points[:-1]), strict=True):
                gradient = step.pull(point, gradient)
            log_q = log_q - log_det
        beyond = ~np.isfinite(log_q) | ~np.isfinite(gradient).all(axis=1)
        return np.where(beyond, -np.inf, log_q), np.where(beyond[:, None], 0.0, gradient)

    def _pairs(self) -> Array:
        """Quasi-random points in opposite pairs, the fewer the more dimensions."""
        n = min(_MOMENT_DRAWS, max(_LEAST_MOMENT_DRAWS, _MOMENT_NUMBERS // self.dim))
        z = base_draws(n, self.dim, np.random.default_rng(0))
        return self.from_base(np.concatenate([z, -z]))

    @cached_property
    def _moments(self) -> tuple[Array, Array]:
        x = self._pairs()
        return x.mean(axis=0), x.std(axis=0)

    def mean(self) -> Array:
        """Mean, shape (dim,), by quasi-random integration: to about a thousandth of an sd."""
        return self._moments[0]

    def sd(self) -> Array:
        """Give the standard deviations, shape (dim,), by the same integration."""
        return self._moments[1]

    def covariance(self) -> Array:
        """Covariance, shape (dim, dim), by the same integration."""
        x = self._pairs()
        centred = x - x.mean(axis=0)
        return np.asarray(centred.T @ centred / len(centred))


@dataclass(frozen=True, eq=False)
class Chain:
    """Changes of variables, one after the other; itself a `stanrovi.target.ChangeOfVariables`."""

    steps: tuple[ChangeOfVariables, ...]

    def transport(self, z: Array) -> tuple[Array, Array, Callable[[Array], Array]]:
        """Change variables from z (n, dim)."""
        x, total, lifts = z, np.zeros(len(z)), []
        for step in self.steps:
            x, log_det, lift = step.transport(x)
            total = total + log_det
            lifts.append(lift)

        def lift_all(gradient: Array) -> Array:
            for lift in reversed(lifts):
                gradient = lift(gradient)
            return gradient

        return x, total, lift_all
