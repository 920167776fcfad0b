"""NUTS with Stan's warm-up, over any log density."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from stanrovi.errors import DensityError
from stanrovi.families.axes import Axes
from stanrovi.samplers.nuts import Move, Point, move
from stanrovi.samplers.starts import uniform
from stanrovi.samplers.step_size import DualAveraging
from stanrovi.samplers.trace import Trace
from stanrovi.target import Array, Target

# Stan's windows: a start, slow ones that double from the first, and an end for the step size.
_START, _FIRST_WINDOW, _END = 75, 25, 50
_SHRINK = 5.0  # draws' worth of a unit metric times a thousandth, as in Stan
_RADIUS = 2.0  # of Stan's own starts

IterationListener = Callable[[int, int], None]


class NutsChains:
    """Chains of NUTS, each with its own step size and diagonal metric.

    Parameters
    ----------
    target : Target
    start : ndarray, shape (chain, dim)
        Where the density is finite.
    rng : numpy.random.Generator
    aim : float
        Acceptance rate to adapt to (Stan's ``adapt_delta``).
    max_depth : int
    axes : Axes, optional
        Root of a covariance that all chains move by; adapted if not given.
    """

    def __init__(
        self,
        target: Target,
        start: Array,
        rng: np.random.Generator,
        *,
        aim: float = 0.8,
        max_depth: int = 10,
        axes: Axes | None = None,
    ) -> None:
        chains, dim = start.shape
        self._target, self._rngs, self._max_depth = target, rng.spawn(chains), max_depth
        self._axes, self._scale = axes, np.ones((chains, dim))
        self._x, self._aim = start, aim
        self._points = self._settled()
        self._step = np.full(chains, dim**-0.25)

    def warm_up(self, iterations: int, listener: IterationListener | None = None) -> None:
        """Adapt step sizes and, unless axes are given, metrics.

        With half of what is left of a budget at most.
        """
        enough = self._target.n_left // 2
        averaging = DualAveraging(self._step, self._aim)
        ends = window_ends(iterations) if self._axes is None else ()
        window: list[Array] = []
        for i in range(iterations):
            if 0 < self._target.n_left < enough:
                break
            self._step = averaging.step
            moves = self._iterate()
            averaging.update(np.array([m.acceptance for m in moves]))
            if ends and ends[0] <= i < ends[-1]:
                window.append(self._x)
            if i + 1 in ends[1:]:
                self._learn(np.stack(window))
                window = []
                averaging = DualAveraging(averaging.final_step, self._aim)
            if listener is not None:
                listener(i + 1, iterations)
        if iterations:
            self._step = averaging.final_step

    def sample(self, iterations: int, listener: IterationListener | None = None) -> Trace:
        """Draw."""
        x, moves = [], []
        for i in range(iterations):
            moves.append(self._iterate())
            x.append(self._x)
            if listener is not None:
                listener(i + 1, iterations)

        def of(read: Callable[[Move], float]) -> Array:
            return np.array([[read(m) for m in row] for row in moves]).T

        return Trace(
            x=np.stack(x, axis=1),
            log_p=of(lambda m: m.point.value),
            energy=of(lambda m: m.energy),
            acceptance=of(lambda m: m.acceptance),
            step=np.repeat(self._step[:, None], iterations, axis=1),
            depth=of(lambda m: m.depth).astype(np.int64),
            n_steps=of(lambda m: m.n_steps).astype(np.int64),
            diverged=of(lambda m: m.diverged).astype(bool),
        )

    def _iterate(self) -> list[Move]:
        moves = move(self._evaluate, self._points, self._step, self._rngs, self._max_depth)
        self._points = [m.point for m in moves]
        z = np.stack([p.z for p in self._points])
        self._x = self._forward(np.arange(len(z)), z)
        return moves

    def _forward(self, chains: NDArray[np.intp], z: Array) -> Array:
        return self._axes.apply(z) if self._axes is not None else z * self._scale[chains]

    def _evaluate(self, chains: NDArray[np.intp], z: Array) -> tuple[Array, Array]:
        value, gradient = self._target.log_density_gradient(self._forward(chains, z))
        if self._axes is not None:
            return value, self._axes.apply_transposed(gradient)
        return value, gradient * self._scale[chains]

    def _settled(self) -> list[Point]:
        """Take the chains where they are, under the metric of now."""
        z = self._axes.solve(self._x) if self._axes is not None else self._x / self._scale
        value, gradient = self._evaluate(np.arange(len(z)), z)
        return [Point(*each) for each in zip(z, map(float, value), gradient, strict=True)]

    def _learn(self, x: Array) -> None:
        """Set the metrics by the draws of a window, shape (draw, chain, dim)."""
        n = len(x)
        variance = x.var(axis=0, ddof=1) if n > 1 else self._scale**2
        variance = (n * variance + _SHRINK * 1e-3) / (n + _SHRINK)
        before = self._scale
        self._scale = np.sqrt(variance)
        # Seen in the new units the density is another one, its gradient known.
        self._points = [
            Point(p.z * old / new, p.value, p.gradient * new / old)
            for p, old, new in zip(self._points, before, self._scale, strict=True)
        ]


def window_ends(iterations: int) -> tuple[int, ...]:
    """Give the iteration at which metrics begin to adapt, and those at which a window ends."""
    start, first, end = _START, _FIRST_WINDOW, _END
    if iterations < start + first + end:
        start, end = int(0.15 * iterations), int(0.1 * iterations)
        first = iterations - start - end
    if first < 2:
        return ()
    ends, size, last = [start], first, iterations - end
    while ends[-1] < last:
        # The last window takes what would not hold another of twice its size.
        following = ends[-1] + size
        ends.append(last if following + 2 * size > last else following)
        size *= 2
    return tuple(ends)


def starts(target: Target, rng: np.random.Generator, chains: int) -> Array:
    """Draw starts uniformly in a cube, as Stan does, where the density is finite.

    Raises
    ------
    DensityError
        Where none is found.
    """
    found = uniform(target, rng, (chains, target.dim), _RADIUS)
    if np.isfinite(found.log_p).all():
        return found.x
    raise DensityError(
        "No start was found: the density is finite at none of many points drawn uniformly between "
        f"-{_RADIUS:g} and {_RADIUS:g} (unconstrained)."
    )
