"""Densities in closed form, whose truth is known: for tests, benchmarks, examples, research.

All are normalised, so KL(q || p) is minus the ELBO.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammaln, log_ndtr, logsumexp

from stanrovi.arguments import checked_between, checked_count, checked_number, listed, told
from stanrovi.errors import UsageError
from stanrovi.given import at_points, real_array
from stanrovi.target import Array, LogDensity


@dataclass(frozen=True)
class FunctionDensity:
    """A plain Python function as a `stanrovi.target.Density`.

    Attributes
    ----------
    function : callable
        Maps ``x`` of shape (n, dim) to ``(log_density (n,), gradient (n, dim))``.
    dim : int
        Number of unconstrained parameters.
    """

    function: Callable[[Array], tuple[Array, Array]]
    dim: int

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise UsageError(f"A density needs a function, not {told(self.function)}.")
        checked_count("dim", self.dim, 1)

    def log_density_gradient(self, x: Array, /) -> tuple[Array, Array]:
        """Evaluate a batch; see `stanrovi.target.Density.log_density_gradient`."""
        return self.function(x)


@dataclass(frozen=True, eq=False)
class MixtureDensity:
    """A mixture of normalised components; a `stanrovi.target.Density`.

    Attributes
    ----------
    name : str
    dim : int
    weights : ndarray, shape (K,)
    components : tuple of callable
        Normalised log densities, such as `normal` makes.
    """

    name: str
    dim: int
    weights: Array
    components: tuple[LogDensity, ...]

    def __post_init__(self) -> None:
        checked_count("dim", self.dim, 1)
        weights = _finite("weights", self.weights, (len(self.components),))
        if (weights <= 0).any() or abs(weights.sum() - 1) > 1e-8:
            raise UsageError(f"weights must be positive and sum to one, not {told(self.weights)}.")

    def log_density_gradient(self, x: Array, /) -> tuple[Array, Array]:
        """Normalised log density (n,) and gradient (n, dim) at x of shape (n, dim)."""
        x = at_points(x, self.dim)
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
        x = at_points(x, self.dim)
        joint = np.log(self.weights) + np.stack([c(x)[0] for c in self.components], axis=1)
        return np.exp(joint - logsumexp(joint, axis=1, keepdims=True)).mean(axis=0)


def normal(mean: Array, factor: Array) -> LogDensity:
    """``N(mean, factor @ factor.T)``, factor lower triangular with positive diagonal."""
    mean = _vector("mean", mean)
    factor = _finite("factor", factor, (len(mean), len(mean)))
    if (np.diag(factor) <= 0).any() or np.triu(factor, 1).any():
        raise UsageError("factor must be lower triangular with a positive diagonal.")
    precision = np.linalg.inv(factor @ factor.T)
    constant = -np.log(np.diag(factor)).sum() - 0.5 * len(mean) * np.log(2 * np.pi)

    def component(x: Array) -> tuple[Array, Array]:
        u = x - mean
        pull = u @ precision
        return constant - 0.5 * (u * pull).sum(axis=1), -pull

    return component


def student(mean: Array, df: float) -> LogDensity:
    """Spherical Student t with unit scale."""
    mean, df = _vector("mean", mean), checked_between("df", df, 0, math.inf)
    d = len(mean)
    constant = gammaln((df + d) / 2) - gammaln(df / 2) - 0.5 * d * np.log(df * np.pi)

    def component(x: Array) -> tuple[Array, Array]:
        u = x - mean
        s = (u**2).sum(axis=1)
        return constant - (df + d) / 2 * np.log1p(s / df), -(df + d) * u / (df + s)[:, None]

    return component


def skew_normal(mean: Array, slant: float) -> LogDensity:
    """Azzalini's skew normal, slanted along the first axis, with unit scale."""
    mean = _vector("mean", mean)
    slant = checked_between("slant", slant, -math.inf, math.inf)
    constant = np.log(2) - 0.5 * len(mean) * np.log(2 * np.pi)

    def component(x: Array) -> tuple[Array, Array]:
        u = x - mean
        t = slant * u[:, 0]
        tail = log_ndtr(t)
        gradient = -u
        gradient[:, 0] += slant * np.exp(-0.5 * (t**2 + np.log(2 * np.pi)) - tail)
        return constant - 0.5 * (u**2).sum(axis=1) + tail, gradient

    return component


def normal_mixture(
    weights: ArrayLike,
    means: Sequence[ArrayLike],
    covariances: Sequence[ArrayLike],
    name: str = "normal mixture",
) -> MixtureDensity:
    """Mixture of normals.

    Parameters
    ----------
    weights : array_like, shape (K,)
    means : sequence of array_like, shape (dim,)
    covariances : sequence of array_like, shape (dim, dim)
    name : str
    """
    centers = [_vector("means", mean) for mean in listed("means", means)]
    spreads = listed("covariances", covariances)
    if not centers or len(spreads) != len(centers):
        raise UsageError(
            f"There must be as many covariances as means, one at least, not {len(spreads)} and "
            f"{len(centers)}."
        )
    dim = len(centers[0])
    centers = [_finite("means", mean, (dim,)) for mean in centers]
    factors = [_cholesky(_finite("covariances", spread, (dim, dim))) for spread in spreads]
    parts = tuple(normal(m, f) for m, f in zip(centers, factors, strict=True))
    return MixtureDensity(name, dim, _finite("weights", weights, (len(parts),)), parts)


def two_normals(
    separation: float, weight: float, factor: Array, direction: Array
) -> MixtureDensity:
    """Two normals with one covariance, so many Mahalanobis distances apart round the origin.

    Parameters
    ----------
    separation : float
    weight : float
        Of the first.
    factor : ndarray, shape (dim, dim)
        Lower triangular root of the covariance.
    direction : ndarray, shape (dim,)
        From the first mean to the second, in whitened coordinates.
    """
    direction = _vector("direction", direction)
    factor = _finite("factor", factor, (len(direction), len(direction)))
    separation = checked_number("separation", separation, 0)
    weight = checked_between("weight", weight, 0, 1)
    if not direction.any():
        raise UsageError("direction must not be zero.")
    shift = factor @ direction / np.linalg.norm(direction) * separation / 2
    parts = (normal(-shift, factor), normal(shift, factor))
    dim = len(direction)
    return MixtureDensity(f"two normals, d = {dim}", dim, np.array([weight, 1 - weight]), parts)


def _vector(name: str, value: ArrayLike) -> Array:
    """Take finite numbers in a row, one at least."""
    return _finite(name, value, None)


def _finite(name: str, value: ArrayLike, shape: tuple[int, ...] | None) -> Array:
    """Take finite numbers of a shape; None: of a row, of whatever length."""
    array = real_array(value)
    row = array is not None and shape is None and array.ndim == 1 and len(array) > 0
    if array is not None and np.isfinite(array).all() and (row or array.shape == shape):
        return array
    wanted = "(dim,)" if shape is None else shape
    raise UsageError(f"{name} must be finite numbers of shape {wanted}, not {told(value)}.")


def _cholesky(covariance: Array) -> Array:
    try:
        return np.asarray(np.linalg.cholesky(covariance))
    except np.linalg.LinAlgError:
        raise UsageError("covariances must be positive definite.") from None
