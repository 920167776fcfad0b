"""Product measures on linear axes: ``x = c + B T(z)`` with ``z ~ N(0, I)``.

A full-rank Gaussian (affine T), mean field (diagonal B) or rotated (``B = A O``). The
log density, its gradient, the moments and draws are exact; `tests/families` holds every
family to one contract.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import qr

from stanrovi.families.axes import Axes, Frame, as_axes
from stanrovi.families.base import LOG_SQRT_2PI, normal_log_density, sampled
from stanrovi.families.maps import SplineMap
from stanrovi.families.sobol import MAX_POINTS
from stanrovi.given import at_points, check_sampling
from stanrovi.target import Array


@dataclass(frozen=True, eq=False)
class Product:
    """Product measure on linear axes: ``x = center + axes @ T(z)``, z standard normal.

    Attributes
    ----------
    center : ndarray, shape (dim,)
    axes : Axes
        B; its columns are the directions of the coordinates.
    marginals : SplineMap
        T, one monotone map per axis.
    """

    center: Array
    axes: Axes
    marginals: SplineMap

    @classmethod
    def gaussian(cls, center: Array, axes: Axes | Array) -> Product:
        """``N(center, B @ B.T)`` for axes B, or a matrix of them, shape (dim, dim)."""
        d = len(center)
        return cls(center, as_axes(axes), SplineMap.affine(np.zeros(d), np.ones(d)))

    @property
    def dim(self) -> int:
        """Number of unconstrained parameters."""
        return len(self.center)

    @property
    def log_volume(self) -> float:
        """``log |det B|``."""
        return self.axes.log_volume

    @property
    def frame(self) -> Frame:
        """The axes with their origin."""
        return Frame(self.center, self.axes)

    def from_base(self, z: Array) -> Array:
        """Map base points z (n, dim) to x (n, dim)."""
        return np.asarray(self.center + self.axes.apply(self.marginals.value(z)))

    def push_forward(self, z: Array) -> tuple[Array, Array]:
        """Map base points z (n, dim) to x (n, dim), with the log density (n,) there."""
        y, log_slope = self.marginals.push_forward(z)
        log_q = normal_log_density(z) - log_slope.sum(axis=1) - self.log_volume
        return np.asarray(self.center + self.axes.apply(y)), np.asarray(log_q)

    def transport(self, z: Array) -> tuple[Array, Array, Callable[[Array], Array]]:
        """Change variables from base points z (n, dim); see `stanrovi.target.ChangeOfVariables`."""
        y, log_slope, score = self.marginals.push_forward_with_score(z)
        slope = np.exp(log_slope)
        bend = -z - score * slope  # T'' / T'

        def lift(gradient: Array) -> Array:
            return np.asarray(slope * self.axes.apply_transposed(gradient) + bend)

        log_det = log_slope.sum(axis=1) + self.log_volume
        return np.asarray(self.center + self.axes.apply(y)), np.asarray(log_det), lift

    def coordinates(self, x: Array) -> Array:
        """Coordinates ``y = T(z)`` of x along the axes, shape (n, dim)."""
        return self.axes.solve(x - self.center)

    def to_base(self, x: Array) -> Array:
        """Invert `from_base`."""
        return self.marginals.inverse(self.coordinates(x))

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        """Draw ``n`` points, shape (n, dim): quasi-random, in random order."""
        check_sampling(n, rng, MAX_POINTS)
        return sampled(self.from_base, n, self.dim, rng)

    def log_density_base(self, z: Array) -> Array:
        """Log density (n,) at the points whose base points are z (n, dim)."""
        slopes = self.marginals.log_slope(z).sum(axis=1)
        return np.asarray(normal_log_density(z) - slopes - self.log_volume)

    def log_density(self, x: Array) -> Array:
        """Log density (n,) at x of shape (n, dim)."""
        z, log_slope = self.marginals.pull_back(self.coordinates(at_points(x, self.dim)))
        return np.asarray(normal_log_density(z) - log_slope.sum(axis=1) - self.log_volume)

    def log_density_gradient(self, x: Array) -> tuple[Array, Array]:
        """Log density (n,) and its gradient (n, dim) at x of shape (n, dim)."""
        y = self.coordinates(at_points(x, self.dim))
        z, log_slope, score = self.marginals.pull_back_with_score(y)
        log_q = normal_log_density(z) - log_slope.sum(axis=1) - self.log_volume
        return log_q, self.axes.solve_transposed(score)

    def entropy(self) -> float:
        """Differential entropy in nats."""
        base = self.dim * (0.5 + LOG_SQRT_2PI)
        return float(base + self.marginals.mean_log_slope().sum() + self.log_volume)

    def mean(self) -> Array:
        """Mean, shape (dim,)."""
        return np.asarray(self.center + self.axes.apply(self.marginals.moments()[0]))

    def sd(self) -> Array:
        """Give the standard deviations, shape (dim,), without the covariance."""
        return self.axes.sd(self.marginals.moments()[1])

    def covariance(self) -> Array:
        """Covariance, shape (dim, dim)."""
        return self.axes.covariance(self.marginals.moments()[1])

    def standardised(self) -> Product:
        """Return the same distribution, with marginals of mean zero and variance one."""
        marginals, mean, sd = self.marginals.standardised()
        return Product(self.center + self.axes.apply(mean), self.axes.scaled(sd), marginals)

    def preconditioner_rotation(self) -> tuple[Array, Array]:
        """Split the axes of the standardised distribution as ``A @ O``.

        Returns
        -------
        A : ndarray, shape (dim, dim)
            Lower triangular with positive diagonal; ``A @ A.T`` is the covariance.
        O : ndarray, shape (dim, dim)
            Rotation, determinant one (a reflection is absorbed by one axis's sign).
        """
        axes = self.standardised().axes.matrix
        q, r = qr(axes.T)
        sign = np.sign(np.diag(r))
        sign[sign == 0] = 1.0
        lower, rotation = (r.T * sign), (q * sign).T
        if np.linalg.det(rotation) < 0:
            rotation[:, -1] *= -1
        return lower, rotation
