"""Automatic differentiation variational inference of any density.

The algorithm of Kucukelbir, Tran, Ranganath, Gelman and Blei (2017, JMLR 18(14)) with the
constants and the stop rule that CmdStan has by default: one draw a gradient, a step size chosen
among five powers of ten, at most 10,000 steps, and an end when the ELBO of 100 draws, taken every
100 steps, has changed by less than a hundredth in the mean or the median of ten such changes.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from stanrovi.errors import DensityError
from stanrovi.target import Array, Density, Target

ETAS = (100.0, 10.0, 1.0, 0.1, 0.01)
TRIAL, ELBO_DRAWS, EVERY, MOST, TOLERANCE = 50, 100, 100, 10_000, 0.01
_TRIES = 10  # draws for a gradient that is not rejected
_STARTS = 100


class Family(Protocol):
    """Normals with one vector of parameters, the mean first."""

    def start(self, mean: Array) -> Array:
        """Parameters of the unit normal at a mean (dim,)."""

    def move(self, parameters: Array, eps: Array) -> Array:
        """Draws (n, dim) from standard normal ones."""

    def slope(self, parameters: Array, eps: Array, gradient: Array) -> Array:
        """Gradient of the ELBO by the parameters, from one draw and its gradient."""

    def entropy(self, parameters: Array) -> float:
        """Entropy, the constant of the unit normal included."""


@dataclass(frozen=True)
class MeanField:
    """Diagonal covariance: mean, then logarithms of standard deviations."""

    dim: int

    def start(self, mean: Array) -> Array:
        """See `Family`."""
        return np.concatenate([mean, np.zeros(self.dim)])

    def move(self, parameters: Array, eps: Array) -> Array:
        """See `Family`."""
        mean, log_sd = np.split(parameters, 2)
        return mean + eps * np.exp(log_sd)

    def slope(self, parameters: Array, eps: Array, gradient: Array) -> Array:
        """See `Family`."""
        log_sd = parameters[self.dim :]
        return np.concatenate([gradient, gradient * eps * np.exp(log_sd) + 1])

    def entropy(self, parameters: Array) -> float:
        """See `Family`."""
        return _unit_entropy(self.dim) + float(parameters[self.dim :].sum())


@dataclass(frozen=True)
class FullRank:
    """Any covariance: mean, then the lower triangular factor row by row."""

    dim: int

    def start(self, mean: Array) -> Array:
        """See `Family`."""
        return np.concatenate([mean, np.eye(self.dim).ravel()])

    def move(self, parameters: Array, eps: Array) -> Array:
        """See `Family`."""
        return parameters[: self.dim] + eps @ self._factor(parameters).T

    def slope(self, parameters: Array, eps: Array, gradient: Array) -> Array:
        """See `Family`."""
        lower = np.tril(np.outer(gradient, eps))
        lower[np.diag_indices(self.dim)] += 1 / np.diag(self._factor(parameters))
        return np.concatenate([gradient, lower.ravel()])

    def entropy(self, parameters: Array) -> float:
        """See `Family`."""
        diagonal = np.abs(np.diag(self._factor(parameters)))
        return _unit_entropy(self.dim) + float(np.log(diagonal).sum())

    def _factor(self, parameters: Array) -> Array:
        return parameters[self.dim :].reshape(self.dim, self.dim)


def _unit_entropy(dim: int) -> float:
    return 0.5 * dim * (1 + np.log(2 * np.pi))


@dataclass(frozen=True)
class Advi:
    """What a run found.

    Attributes
    ----------
    x : ndarray, shape (n, dim)
        Draws, unconstrained space.
    n_gradients : int
        Everything evaluated: trial steps, steps, ELBOs.
    converged : bool
        Whether the stop rule ended it, near the best ELBO and with no sign of divergence before.
    """

    x: Array
    n_gradients: int
    converged: bool


def advi(
    density: Density, family: Family, *, seed: int, n_draws: int, constant: float = 0.0
) -> Advi:
    """Fit, and draw.

    ``constant`` is what the log density lacks: the stop rule looks at changes relative to the
    ELBO, so it depends on that.

    Raises
    ------
    DensityError
        If the density is finite at no start, no step size helps, or the gradient is rejected at
        ten draws in a row.
    """
    run = _Run(Target(density), family, np.random.default_rng(seed), constant)
    start = family.start(run.start())
    with np.errstate(over="ignore", invalid="ignore"):  # of step sizes that are too large
        parameters, converged = run.ascend(start, run.step_size(start))
    x = family.move(parameters, run.rng.standard_normal((n_draws, density.dim)))
    return Advi(x, run.target.n_gradients, converged)


@dataclass(frozen=True)
class _Run:
    target: Target
    family: Family
    rng: np.random.Generator
    constant: float

    def start(self) -> Array:
        """Draw a point uniformly between -2 and 2 until the density is finite there."""
        for _ in range(_STARTS):
            x = self.rng.uniform(-2, 2, self.target.dim)
            if np.isfinite(self.target.log_density_gradient(x[None])[0][0]):
                return x
        raise DensityError(f"the density is finite at none of {_STARTS} starts")

    def step_size(self, start: Array) -> float:
        """Try step sizes from above until the ELBO after a few steps gets worse again."""
        first = self.elbo(start)
        if first == -np.inf:
            raise DensityError("the density is rejected at every draw round the start")
        best, chosen = -np.inf, 0.0
        for eta in ETAS:
            steps = _Steps(start, eta)
            for _ in range(TRIAL):
                slope = self.slope(steps.parameters)
                steps.take(np.zeros_like(start) if slope is None else slope)
            elbo = self.elbo(steps.parameters)
            if elbo < best and best > first:
                return chosen
            best, chosen = elbo, eta
        if best > first:
            return chosen
        raise DensityError("all step sizes of ADVI fail")

    def ascend(self, start: Array, eta: float) -> tuple[Array, bool]:
        """Climb until the ELBO stands still; parameters, and whether it does."""
        steps, elbo, best, wild = _Steps(start, eta), 0.0, -np.inf, False
        changes: deque[float] = deque(maxlen=max(MOST // (10 * EVERY), 2))
        for k in range(1, MOST + 1):
            slope = self.slope(steps.parameters)
            if slope is None:
                raise DensityError(f"the gradient is rejected at {_TRIES} draws in a row")
            steps.take(slope)
            if k % EVERY:
                continue
            before, elbo = elbo, self.elbo(steps.parameters)
            if not np.isfinite(elbo):
                raise DensityError("the ELBO is not finite")
            best = max(best, elbo)
            changes.append(abs((before - elbo) / elbo))
            mean, middle = float(np.mean(changes)), float(np.median(changes))
            wild |= k > 10 * EVERY and max(mean, middle) > 0.5
            if min(mean, middle) < TOLERANCE:
                return steps.parameters, not wild and best - elbo <= 0.05 * abs(elbo)
        return steps.parameters, False

    def slope(self, parameters: Array) -> Array | None:
        """Gradient of the ELBO from one draw; None if every draw tried is rejected."""
        for _ in range(_TRIES):
            eps = self.rng.standard_normal(self.target.dim)
            x = self.family.move(parameters, eps[None])
            value, gradient = self.target.log_density_gradient(x)
            if np.isfinite(value[0]):
                return self.family.slope(parameters, eps, gradient[0])
        return None

    def elbo(self, parameters: Array) -> float:
        """Evidence lower bound, of the draws that are not rejected; minus infinity if all are."""
        eps = self.rng.standard_normal((ELBO_DRAWS, self.target.dim))
        x = self.family.move(parameters, eps)
        value, _ = self.target.log_density_gradient(x)
        value = value[np.isfinite(value)]
        if not len(value):
            return -np.inf
        return float(value.mean()) + self.constant + self.family.entropy(parameters)


class _Steps:
    """Steps scaled by a running mean of squared slopes, and by one over the root of their number.

    Attributes
    ----------
    parameters : ndarray
    """

    def __init__(self, start: Array, eta: float) -> None:
        self.parameters = start
        self._eta, self._n = eta, 0
        self._squares = np.zeros_like(start)

    def take(self, slope: Array) -> None:
        """One step uphill."""
        self._n += 1
        fresh = 1.0 if self._n == 1 else 0.1
        self._squares = (1 - fresh) * self._squares + fresh * slope**2
        scale = self._eta / np.sqrt(self._n) / (1 + np.sqrt(self._squares))
        self.parameters = self.parameters + scale * slope
