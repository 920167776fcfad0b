"""The one interface through which the numerical core sees a posterior.

Everything below this module works on a `Target`: a log density with its
gradient on unconstrained space, evaluated in batches, with evaluations
counted by stage. It knows nothing of Stan. Densities made of others (localised,
tempered, pulled back through a map) are one thing, `Composed`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Density(Protocol):
    """A log density up to a constant, with its gradient, on unconstrained space."""

    @property
    def dim(self) -> int:
        """Number of unconstrained parameters."""

    def log_density_gradient(self, x: Array, /) -> tuple[Array, Array]:
        """Evaluate a batch.

        Parameters
        ----------
        x : ndarray, shape (n, dim)
            Unconstrained points, C-contiguous float64.

        Returns
        -------
        log_density : ndarray, shape (n,)
            ``-inf`` where the density rejects the point.
        gradient : ndarray, shape (n, dim)
        """


# Log density (n,) with gradient (n, dim) at x of shape (n, dim).
LogDensity = Callable[[Array], tuple[Array, Array]]


class ChangeOfVariables(Protocol):
    """A differentiable bijection ``x = T(z)`` of R^dim."""

    def transport(self, z: Array) -> tuple[Array, Array, Callable[[Array], Array]]:
        """Map a batch.

        Parameters
        ----------
        z : ndarray, shape (n, dim)

        Returns
        -------
        x : ndarray, shape (n, dim)
        log_det : ndarray, shape (n,)
            ``log |det T'(z)|``.
        lift : callable
            Takes the gradient (n, dim) in x of some f at x to the gradient in z of
            ``f(T(z)) + log |det T'(z)|``.
        """


@dataclass(frozen=True)
class Composed:
    """A density made of another one.

    ``log f(z) = power * log p(x) + sum_i c_i log q_i(x) + log |det T'(z)|``, ``x = T(z)``.

    *Localised* to component k of a mixture q: terms ``(-1, q), (1, q_k)``. *Tempered*
    between q and p: power b, terms ``(1 - b, q)``. *Pulled back* to the base coordinates
    of a fitted map: ``through`` that map (Parno and Marzouk 2018, doi:10.1137/17M1134640).

    Attributes
    ----------
    density : Density
        p.
    power : float
        Above zero.
    terms : sequence of (float, callable)
        Coefficients with log densities.
    through : ChangeOfVariables, optional
        T; the identity if not given.
    """

    density: Density
    power: float = 1.0
    terms: Sequence[tuple[float, LogDensity]] = ()
    through: ChangeOfVariables | None = None

    @property
    def dim(self) -> int:
        """Number of parameters."""
        return self.density.dim

    def log_density_gradient(self, z: Array, /) -> tuple[Array, Array]:
        """Evaluate a batch; see `Density.log_density_gradient`."""
        if self.through is None:
            return self._in_x(z)
        x, log_det, lift = self.through.transport(z)
        value, gradient = self._in_x(np.ascontiguousarray(x))
        return value + log_det, lift(gradient)

    def _in_x(self, x: Array) -> tuple[Array, Array]:
        value, gradient = self.density.log_density_gradient(x)
        value, gradient = self.power * value, self.power * gradient
        for coefficient, term in self.terms:
            more, slope = term(x)
            value, gradient = value + coefficient * more, gradient + coefficient * slope
        return value, gradient


class BudgetExhausted(Exception):  # noqa: N818 - control flow, not a failure
    """The gradient or time budget is spent; caught by the fit driver, never shown."""


@dataclass
class _Ledger:
    """What has been spent, by stage, and what may be; targets made of one another share it."""

    max_gradients: int | None
    deadline: float | None
    n_gradients: int = 0
    n_rejections: int = 0
    density_seconds: float = 0.0
    gradients: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    stage: str = "other"
    since: float = field(default_factory=lambda: time.perf_counter())

    def admit(self, n: int) -> None:
        """Let n evaluations begin, if the budget covers them."""
        if self.max_gradients is not None and self.n_gradients + n > self.max_gradients:
            raise BudgetExhausted
        if self.deadline is not None and time.perf_counter() > self.deadline:
            raise BudgetExhausted

    def enter(self, stage: str) -> str:
        """Count what follows under a stage; gives the one before."""
        now, previous = time.perf_counter(), self.stage
        self.seconds[previous] = self.seconds.get(previous, 0.0) + now - self.since
        self.stage, self.since = stage, now
        return previous


@dataclass(frozen=True)
class _Metered:
    """A density whose evaluations, rejections and time are written into a ledger."""

    density: Density
    ledger: _Ledger

    @property
    def dim(self) -> int:
        return self.density.dim

    def log_density_gradient(self, x: Array, /) -> tuple[Array, Array]:
        ledger, n = self.ledger, len(x)
        ledger.admit(n)
        start = time.perf_counter()
        value, gradient = self.density.log_density_gradient(x)
        ledger.density_seconds += time.perf_counter() - start
        ledger.n_gradients += n
        ledger.gradients[ledger.stage] = ledger.gradients.get(ledger.stage, 0) + n
        value, gradient, n_rejected = _with_rejections(value, gradient)
        ledger.n_rejections += n_rejected
        return value, gradient


def _with_rejections(value: Array, gradient: Array) -> tuple[Array, Array, int]:
    """Turn what is not finite into rejections, and count them."""
    bad = ~(np.isfinite(value) & np.isfinite(gradient).all(axis=1))
    if not bad.any():
        return value, gradient, 0
    return np.where(bad, -np.inf, value), np.where(bad[:, None], 0.0, gradient), int(bad.sum())


class Target:
    """A density with counting, rejection handling and a budget.

    A point is *rejected* where the log density or its gradient is not finite.
    Rejected points come back with log density ``-inf`` and gradient zero, so
    no NaN ever reaches an optimiser; callers must look at the log density.

    Parameters
    ----------
    density : Density
        The log density to evaluate.
    max_gradients : int, optional
        Evaluations allowed before `BudgetExhausted` is raised.
    deadline : float, optional
        Value of ``time.perf_counter()`` after which `BudgetExhausted` is raised.

    Attributes
    ----------
    dim : int
    """

    def __init__(
        self,
        density: Density,
        *,
        max_gradients: int | None = None,
        deadline: float | None = None,
    ) -> None:
        self._ledger = _Ledger(max_gradients, deadline)
        self._density: _Metered | Composed = _Metered(density, self._ledger)
        self.dim = density.dim

    def composed(
        self,
        *,
        power: float = 1.0,
        terms: Sequence[tuple[float, LogDensity]] = (),
        through: ChangeOfVariables | None = None,
    ) -> Target:
        """Make a target of this one; its evaluations count, and are limited, as this one's.

        Parameters
        ----------
        power, terms, through
            See `Composed`.
        """
        made = copy(self)
        made._density = Composed(self._density, power, terms, through)
        return made

    @property
    def n_gradients(self) -> int:
        """Points evaluated so far (value and gradient together count once)."""
        return self._ledger.n_gradients

    @property
    def n_rejections(self) -> int:
        """Points that the density itself has rejected so far."""
        return self._ledger.n_rejections

    @property
    def seconds(self) -> float:
        """Wall time spent inside the density."""
        return self._ledger.density_seconds

    @property
    def by_stage(self) -> dict[str, int]:
        """Evaluations per stage; see `stage`."""
        return self._ledger.gradients

    @property
    def seconds_by_stage(self) -> dict[str, float]:
        """Wall time per stage that has ended, inside the density and outside; see `stage`."""
        return self._ledger.seconds

    @property
    def n_left(self) -> int:
        """Gradients left in the budget; 0 where none was given."""
        limit = self._ledger.max_gradients
        return 0 if limit is None else limit - self.n_gradients

    def log_density_gradient(self, x: Array) -> tuple[Array, Array]:
        """Evaluate a batch, counting it.

        Parameters
        ----------
        x : ndarray, shape (n, dim)
            Unconstrained points.

        Returns
        -------
        log_density : ndarray, shape (n,)
            ``-inf`` at rejected points.
        gradient : ndarray, shape (n, dim)
            Zero at rejected points.

        Raises
        ------
        BudgetExhausted
            When the budget does not cover this batch.
        """
        x = np.ascontiguousarray(x, dtype=np.float64)
        evaluated = self._density.log_density_gradient(x)
        if isinstance(self._density, _Metered):
            return evaluated
        # What the program accepts can still be beyond numbers once it is composed.
        return _with_rejections(*evaluated)[:2]

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Attribute evaluations and time inside the block to ``name``, inner blocks apart."""
        previous = self._ledger.enter(name)
        try:
            yield
        finally:
            self._ledger.enter(previous)
