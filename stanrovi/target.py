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
from functools import partial
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


class Wait(Protocol):
    """Makes a call, and gives it up when a value of ``time.perf_counter()`` has passed."""

    def __call__(self, call: LogDensity, x: Array, /, *, until: float) -> tuple[Array, Array]:
        """Return what the call returns; raises `BudgetExhausted` where it is given up."""


# Shares of all the time: a piece of a batch at most; what is kept for the points reserved at least
# and at most; and by how much an evaluation may be late.
_PIECE, _KEPT, _MOST_KEPT, _LATE = 0.025, 0.05, 0.5, 0.02
_SMALL_PIECE = 4  # points: as many as are evaluated whatever they cost
_LATE_GRADIENTS = 8
_LEADING_PIECES = 16  # of a batch of which the first points are wanted


class Clock:
    """A time by which evaluations end, and what one costs; targets of one run share it.

    Batches are evaluated in pieces sized by the measured cost, so that the time is looked at in
    between. Points are independent of each other: results do not depend on the pieces.

    Parameters
    ----------
    seconds : float
        From now on.
    wait : callable
        Makes each evaluation.
    seconds_per_draw : float
        What a draw costs beyond the evaluations, afterwards.
    n_draws : int
        How many there will be at least, evaluated or not.

    Attributes
    ----------
    overdue : bool
        Whether an evaluation was given up.
    """

    def __init__(
        self, seconds: float, wait: Wait, seconds_per_draw: float = 0.0, n_draws: int = 0
    ) -> None:
        self._seconds, self._wait = seconds, wait
        self._per_draw, self._n_draws = seconds_per_draw, n_draws
        self._cost: float | None = None
        self._until = time.perf_counter() + seconds
        self._afterwards = self._judging = self._to_judge = 0.0
        self.overdue = False

    @property
    def left(self) -> float:
        """Seconds that are left, but for those kept for draws afterwards."""
        return max(self._until - self._afterwards - time.perf_counter(), 0.0)

    def keep(self, n: int, seconds: float) -> None:
        """Keep time for judging n points, each of which takes so long besides its evaluation."""
        self._to_judge, self._judging = seconds, n * seconds

    def covers(self, n: int) -> bool:
        """Whether what is left is enough to evaluate and to judge n points."""
        return self.left > n * ((self._cost or 0.0) + self._to_judge)

    def begin_draws(self, n: int) -> None:
        """Keep time for what n draws cost afterwards, up to half of what is left."""
        self._afterwards = 0.0
        self._afterwards = min(n * self._per_draw, self.left / 2)

    def piece(self, n: int, reserved: int) -> int:
        """How many of n points to evaluate before the time is looked at again; 0 if it is over.

        Parameters
        ----------
        n : int
        reserved : int
            Points to be evaluated afterwards, for which time must be kept.
        """
        left = self._end(reserved) - time.perf_counter()
        if left <= 0:
            return 0
        if self._cost is None:
            return 1
        affordable = min(left, _PIECE * self._seconds) / max(self._cost, 1e-9)
        return min(n, max(_SMALL_PIECE, int(affordable)))

    def evaluate(self, density: LogDensity, x: Array, reserved: int) -> tuple[Array, Array]:
        """Evaluate a piece, and learn what it costs."""
        cost, began = self._cost or 0.0, time.perf_counter()
        over = max(self._end(reserved), began + len(x) * cost)
        late = max(_LATE * self._seconds, _LATE_GRADIENTS * cost)
        try:
            evaluated = self._wait(density, x, until=over + late)
        except BudgetExhausted:
            self.overdue = True
            raise
        latest = (time.perf_counter() - began) / len(x)
        self._cost = latest if self._cost is None else (self._cost + latest) / 2
        return evaluated

    def _end(self, reserved: int) -> float:
        """When to stop, for time to be left for the points reserved and what comes afterwards."""
        if not reserved:
            return self._until - self._afterwards
        needed = reserved * (self._cost or 0.0) + max(reserved, self._n_draws) * self._per_draw
        needed += self._judging
        least, most = _KEPT * self._seconds, _MOST_KEPT * self._seconds
        return self._until - min(max(needed, least), most)


@dataclass
class _Ledger:
    """What has been spent, by stage, and what may be; targets made of one another share it."""

    max_gradients: int | None
    clock: Clock | None
    reserved: int = 0
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

    def add(self, n: int, n_rejected: int, seconds: float) -> None:
        """Write down evaluations."""
        self.density_seconds += seconds
        self.n_gradients += n
        self.gradients[self.stage] = self.gradients.get(self.stage, 0) + n
        self.n_rejections += n_rejected

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
        self.ledger.admit(len(x))
        if self.ledger.clock is None:
            return self._evaluated(self.density.log_density_gradient, x)
        value, gradient = self.leading(x, self.ledger.clock, 0, len(x))
        if len(value) < len(x):
            raise BudgetExhausted
        return value, gradient

    def leading(self, x: Array, clock: Clock, least: int, most: int) -> tuple[Array, Array]:
        """Evaluate the first points, until the time is over; at least some, in pieces."""
        reserved = self.ledger.reserved
        evaluate = partial(self._piece, clock, reserved)
        pieces: list[tuple[Array, Array]] = []
        done, n = 0, len(x)
        while done < n:
            size = clock.piece(min(n - done, most), reserved) or min(least - done, n - done)
            if size <= 0:
                break
            try:
                pieces.append(self._evaluated(evaluate, x[done : done + size]))
            except BudgetExhausted:
                break
            done += size
        if len(pieces) == 1:
            return pieces[0]
        if not pieces:
            return np.empty(0), np.empty((0, self.dim))
        values, gradients = zip(*pieces, strict=True)
        return np.concatenate(values), np.concatenate(gradients)

    def _piece(self, clock: Clock, reserved: int, x: Array) -> tuple[Array, Array]:
        return clock.evaluate(self.density.log_density_gradient, x, reserved)

    def _evaluated(self, evaluate: LogDensity, x: Array) -> tuple[Array, Array]:
        start = time.perf_counter()
        value, gradient = evaluate(x)
        seconds = time.perf_counter() - start
        value, gradient, n_rejected = _with_rejections(value, gradient)
        self.ledger.add(len(x), n_rejected, seconds)
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
    clock : Clock, optional
        `BudgetExhausted` is raised when its time is over.
    reserved : int
        Points that another target evaluates afterwards, for which time is kept.

    Attributes
    ----------
    dim : int
    """

    def __init__(
        self,
        density: Density,
        *,
        max_gradients: int | None = None,
        clock: Clock | None = None,
        reserved: int = 0,
    ) -> None:
        self._ledger = _Ledger(max_gradients, clock, reserved)
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
    def over(self) -> bool:
        """Whether the time is over."""
        clock = self._ledger.clock
        return clock is not None and not clock.left

    def covers(self, n: int) -> bool:
        """Whether the time that is left is enough to evaluate and to judge n points."""
        clock = self._ledger.clock
        return clock is None or clock.covers(n)

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

    def leading(self, x: Array, least: int) -> tuple[Array, Array]:
        """Evaluate the first points of a batch, as many as the time allows, counting them.

        Parameters
        ----------
        x : ndarray, shape (n, dim)
        least : int
            Points that are evaluated even when the time is over.

        Returns
        -------
        log_density : ndarray, shape (m,)
        gradient : ndarray, shape (m, dim)
        """
        clock, density = self._ledger.clock, self._density
        if clock is None or not isinstance(density, _Metered):
            return self.log_density_gradient(x)
        x = np.ascontiguousarray(x, dtype=np.float64)
        return density.leading(x, clock, least, -(-len(x) // _LEADING_PIECES))

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Attribute evaluations and time inside the block to ``name``, inner blocks apart."""
        previous = self._ledger.enter(name)
        try:
            yield
        finally:
            self._ledger.enter(previous)
