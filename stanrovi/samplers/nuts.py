"""The no-U-turn sampler over any log density, many chains in step.

Hoffman and Gelman (2014, JMLR 15) in the form of Betancourt (arXiv:1701.02434) that Stan
has: states of a trajectory are drawn by their weights, the later half preferred, and a
trajectory ends where it turns back on itself, across the seam of two subtrees too. Every
chain is a generator that asks for one point at a time; all that ask are one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stanrovi.target import Array

# Log density (n,) with gradient (n, dim) for chains (n,) of these indices at z (n, dim).
Evaluate = Callable[[NDArray[np.intp], Array], tuple[Array, Array]]
_Asking = Generator[Array, tuple[float, Array], "_Tree"]

DIVERGENT = 1000.0  # nats of energy, as in Stan


@dataclass(slots=True)
class Point:
    """Where a chain is.

    Attributes
    ----------
    z : ndarray, shape (dim,)
    value : float
        Log density.
    gradient : ndarray, shape (dim,)
    """

    z: Array
    value: float
    gradient: Array


@dataclass(slots=True)
class Move:
    """One transition of a chain.

    Attributes
    ----------
    point : Point
        Where it ends.
    acceptance : float
        Mean acceptance probability over the trajectory, which step sizes adapt to.
    depth : int
        Of the tree.
    n_steps : int
        Leapfrog steps, a gradient each.
    energy : float
        Of the state it ends in: minus log density plus kinetic energy.
    diverged : bool
    """

    point: Point
    acceptance: float
    depth: int
    n_steps: int
    energy: float
    diverged: bool


def move(
    evaluate: Evaluate,
    points: Sequence[Point],
    steps: Array,
    rngs: Sequence[np.random.Generator],
    max_depth: int,
) -> list[Move]:
    """Make one transition of every chain.

    Parameters
    ----------
    evaluate : callable
    points : sequence of Point
    steps : ndarray, shape (chains,)
        Step sizes.
    rngs : sequence of numpy.random.Generator
        One for each chain.
    max_depth : int

    Returns
    -------
    list of Move
    """
    moves: dict[int, Move] = {}
    chains = [
        _transition(p, float(step), rng, max_depth)
        for p, step, rng in zip(points, steps, rngs, strict=True)
    ]
    asked = {i: next(chain) for i, chain in enumerate(chains)}
    while asked:
        indices = np.fromiter(asked, dtype=np.intp)
        value, gradient = evaluate(indices, np.stack(list(asked.values())))
        answers = dict(zip(asked, zip(value, gradient, strict=True), strict=True))
        asked = {}
        for i, (v, g) in answers.items():
            try:
                asked[i] = chains[i].send((float(v), g))
            except StopIteration as stop:
                moves[i] = stop.value
    return [moves[i] for i in range(len(points))]


@dataclass(slots=True)
class _State:
    """A point of phase space."""

    point: Point
    momentum: Array

    @property
    def energy(self) -> float:
        """Minus log density plus kinetic energy."""
        return float(0.5 * self.momentum @ self.momentum - self.point.value)


@dataclass(slots=True)
class _Tree:
    """A stretch of a trajectory.

    Attributes
    ----------
    near, end : _State
        Its ends; it grows from the second.
    total : ndarray, shape (dim,)
        Sum of all momenta.
    log_weight : float
        Log of the sum of the densities of all states, relative to that of the start.
    drawn : _State
    going : bool
        Whether it has neither turned back on itself nor diverged.
    """

    near: _State
    end: _State
    total: Array
    log_weight: float
    drawn: _State
    going: bool = True

    def flipped(self) -> _Tree:
        """Turn it round, to grow from its other end."""
        return replace(self, near=self.end, end=self.near)

    def joined(self, more: _Tree) -> _Tree:
        """Append a stretch, without drawing anew."""
        total = self.total + more.total
        # Across the seam as well: two halves may each be straight, and turn where they meet.
        going = (
            more.going
            and _straight(self.near, more.end, total)
            and _straight(self.near, more.near, self.total + more.near.momentum)
            and _straight(self.end, more.end, self.end.momentum + more.total)
        )
        log_weight = float(np.logaddexp(self.log_weight, more.log_weight))
        return _Tree(self.near, more.end, total, log_weight, self.drawn, going)


def _straight(one: _State, other: _State, total: Array) -> bool:
    return bool(one.momentum @ total > 0 and other.momentum @ total > 0)


class _Trajectory:
    """What all parts of one trajectory share."""

    def __init__(self, start: _State, step: float, rng: np.random.Generator) -> None:
        self._energy, self._step, self._rng = start.energy, step, rng
        self.n_steps, self.acceptance, self.diverged = 0, 0.0, False

    def grow(self, state: _State, sign: int, depth: int) -> _Asking:
        """Go on from a state by 2^depth steps, as far as it goes."""
        if depth == 0:
            return (yield from self._leap(state, sign * self._step))
        first = yield from self.grow(state, sign, depth - 1)
        if not first.going:
            return first
        second = yield from self.grow(first.end, sign, depth - 1)
        both = first.joined(second)
        if self.happens(second.log_weight - both.log_weight):
            both.drawn = second.drawn
        return both

    def _leap(self, state: _State, size: float) -> _Asking:
        half = state.momentum + 0.5 * size * state.point.gradient
        z = state.point.z + size * half
        value, gradient = yield z
        new = _State(Point(z, value, gradient), half + 0.5 * size * gradient)
        gain = self._energy - new.energy
        if np.isnan(gain):
            gain = -np.inf
        self.n_steps += 1
        self.acceptance += float(np.exp(min(0.0, gain)))
        going = gain > -DIVERGENT
        self.diverged |= not going
        return _Tree(new, new, new.momentum, gain, new, going)

    def happens(self, log_chance: float) -> bool:
        """Draw an event of this log probability, certain from zero."""
        return log_chance >= 0 or self._rng.random() < np.exp(log_chance)


def _transition(
    point: Point, step: float, rng: np.random.Generator, max_depth: int
) -> Generator[Array, tuple[float, Array], Move]:
    state = _State(point, rng.standard_normal(len(point.z)))
    path = _Trajectory(state, step, rng)
    whole, facing, depth = _Tree(state, state, state.momentum, 0.0, state), 1, 0
    while whole.going and depth < max_depth:
        sign = 1 if rng.random() < 0.5 else -1
        if sign != facing:
            whole, facing = whole.flipped(), sign
        more = yield from path.grow(whole.end, sign, depth)
        if not more.going:
            break
        depth += 1
        # The new half is preferred, which keeps the distribution and goes further.
        drawn = more.drawn if path.happens(more.log_weight - whole.log_weight) else whole.drawn
        whole = whole.joined(more)
        whole.drawn = drawn
    return Move(
        point=whole.drawn.point,
        acceptance=path.acceptance / path.n_steps,
        depth=depth,
        n_steps=path.n_steps,
        energy=whole.drawn.energy,
        diverged=path.diverged,
    )
