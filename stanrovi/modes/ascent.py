"""Many L-BFGS ascents in lockstep: one batch of gradients per step.

Nocedal (1980, doi:10.1090/S0025-5718-1980-0572855-7) with backtracking; the
two-loop recursion runs over all climbers at once, so a step costs one call of
the density however many climb.
"""

from __future__ import annotations

from copy import copy

import numpy as np
from numpy.typing import NDArray

from stanrovi.families.axes import DENSE_LIMIT, DenseAxes
from stanrovi.families.low_rank_axes import LowRankAxes
from stanrovi.target import Array, Target

Indices = NDArray[np.intp]

_MEMORY = 8
_ARMIJO = 1e-4
_SMALL_GAIN = 1e-3  # nats; two such steps in a row end a climb
_MAX_BACKTRACKS = 25
_GROWTH = 4.0
_LEAST = 1e-280  # curvature times a squared step whose inverse is a number


class Ascent:
    """State of S climbers.

    Parameters
    ----------
    target : Target
    x : ndarray, shape (S, dim)
        Where the climbs begin.
    log_density, gradient : ndarray, shape (S,) and (S, dim), optional
        The target there, if known.
    hasty : bool
        Whether steps grow where the density does not curve down, as in a heavy tail.

    Attributes
    ----------
    x : ndarray, shape (S, dim)
    log_density : ndarray, shape (S,)
    gradient : ndarray, shape (S, dim)
    active, converged : ndarray of bool, shape (S,)
    first, first_log_density : ndarray, shape (S, dim) and (S,)
        Where the climbs began.
    """

    def __init__(
        self,
        target: Target,
        x: Array,
        log_density: Array | None = None,
        gradient: Array | None = None,
        *,
        hasty: bool = False,
    ) -> None:
        if log_density is None or gradient is None:
            log_density, gradient = target.log_density_gradient(x)
        self._target = target
        self.x, self.log_density, self.gradient = x.copy(), log_density, gradient
        self.first, self.first_log_density = x.copy(), self.log_density.copy()
        self._growth = _GROWTH if hasty else 1.0
        n, d = x.shape
        self.active = np.isfinite(self.log_density)
        self.converged = np.zeros(n, dtype=bool)
        self._steps = np.zeros((n, _MEMORY, d))
        self._changes = np.zeros((n, _MEMORY, d))
        self._rho = np.zeros((n, _MEMORY))
        self._scale = 1.0 / np.maximum(np.linalg.norm(self.gradient, axis=1), 1.0)
        self._direction = self._ascent_direction(np.arange(n))
        self._t = np.ones(n)
        self._small = np.zeros(n, dtype=int)
        self._backtracks = np.zeros(n, dtype=int)

    def step(self) -> None:
        """Try one step of every active climber."""
        i = np.flatnonzero(self.active)
        trial = self.x[i] + self._t[i, None] * self._direction[i]
        value, gradient = self._target.log_density_gradient(trial)
        slope = np.vecdot(self.gradient[i], self._direction[i])
        accept = value >= self.log_density[i] + _ARMIJO * self._t[i] * slope
        if accept.all():
            self._accept(i, trial, value, gradient)
            return
        self._backtrack(i[~accept], value[~accept], slope[~accept])
        if accept.any():
            self._accept(i[accept], trial[accept], value[accept], gradient[accept])

    def snapshot(self) -> Ascent:
        """Keep the state, for a look at the curvature there later on."""
        kept = copy(self)
        for name in ("x", "log_density", "_steps", "_changes", "_rho", "_scale"):
            setattr(kept, name, getattr(self, name).copy())
        return kept

    def axes(self, i: int) -> DenseAxes | LowRankAxes:
        """Axes of climber i's L-BFGS approximation to ``(-H)^{-1}``."""
        if self.x.shape[1] > DENSE_LIMIT:
            return self._thin_axes(i)
        return DenseAxes.of_covariance(self._inverse_hessian(i))

    def sd(self, i: int) -> Array:
        """Climber i's estimate of the local standard deviations, shape (dim,)."""
        if self.x.shape[1] > DENSE_LIMIT:
            return self._thin_axes(i).sd()
        return np.asarray(np.sqrt(np.diag(self._inverse_hessian(i))))

    def _inverse_hessian(self, i: int) -> Array:
        """Give the approximation whole, positive definite, (dim, dim)."""
        matrix = self._two_loop(np.array([i]), np.eye(self.x.shape[1]))
        spectrum, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
        floor = max(1e-12 * float(spectrum[-1]), 1e-300)
        return np.asarray((vectors * np.maximum(spectrum, floor)) @ vectors.T)

    def _thin_axes(self, i: int) -> LowRankAxes:
        """Write the approximation as a multiple of one, and what it is in few directions."""
        kept = self._rho[i] > 0
        memory = np.concatenate([self._steps[i, kept], self._changes[i, kept]])
        scale = np.full(self.x.shape[1], np.sqrt(self._scale[i]))
        if not len(memory):
            none = np.empty((len(scale), 0))
            return LowRankAxes(scale, none, np.empty(0), np.ones(len(scale)))
        q = np.linalg.qr(memory.T)[0]
        inner = q.T @ self._two_loop(np.array([i]), np.ascontiguousarray(q.T)).T
        spectrum, vectors = np.linalg.eigh((inner + inner.T) / (2 * self._scale[i]))
        stretch = np.sqrt(np.maximum(spectrum, 1e-12 * float(spectrum[-1])))
        return LowRankAxes(scale, q @ vectors, stretch, np.ones(len(scale)))

    def _backtrack(self, i: Indices, value: Array, slope: Array) -> None:
        t = self._t[i]
        with np.errstate(all="ignore"):
            quadratic = 0.5 * slope * t / (slope * t - (value - self.log_density[i]))
        quadratic = np.where(np.isfinite(quadratic), quadratic, 0.1)
        self._t[i] = t * np.clip(quadratic, 0.1, 0.5)
        self._backtracks[i] += 1
        stuck = i[self._backtracks[i] > _MAX_BACKTRACKS]
        # No ascent along the direction to working precision: as good as converged.
        self.active[stuck] = False
        self.converged[stuck] = True

    def _accept(self, i: Indices, x: Array, value: Array, gradient: Array) -> None:
        self._remember(i, x - self.x[i], self.gradient[i] - gradient)
        gain = value - self.log_density[i]
        self.x[i], self.log_density[i], self.gradient[i] = x, value, gradient
        direction = self._ascent_direction(i)
        self._direction[i] = direction
        self._t[i], self._backtracks[i] = 1.0, 0
        promised = np.vecdot(gradient, direction)
        small = (gain < _SMALL_GAIN) & (promised < 10 * _SMALL_GAIN)
        self._small[i] = np.where(small, self._small[i] + 1, 0)
        done = i[self._small[i] >= 2]
        self.active[done] = False
        self.converged[done] = True

    def _remember(self, i: Indices, step: Array, change: Array) -> None:
        curvature, size = np.vecdot(step, change), np.vecdot(change, change)
        good = curvature > 1e-10 * np.sqrt(size * np.vecdot(step, step))
        good &= np.minimum(curvature, size) > _LEAST  # of noise alone a climb never comes to rest
        if not good.all():
            self._scale[i[~good]] *= self._growth
            i, step, change = i[good], step[good], change[good]
            curvature, size = curvature[good], size[good]
        for memory, newest in ((self._steps, step), (self._changes, change)):
            memory[i, :-1] = memory[i, 1:]
            memory[i, -1] = newest
        self._rho[i, :-1] = self._rho[i, 1:]
        self._rho[i, -1] = 1.0 / curvature
        self._scale[i] = curvature / size

    def _ascent_direction(self, i: Indices) -> Array:
        direction = self._two_loop(i, self.gradient[i])
        limit = 100.0 * np.maximum(1.0, np.sqrt(np.vecdot(self.x[i], self.x[i])))
        norm = np.sqrt(np.vecdot(direction, direction))
        return direction * (limit / np.maximum(norm, limit))[:, None]

    def _two_loop(self, i: Indices, vector: Array) -> Array:
        """Apply the approximate inverse Hessians of climbers i to a vector each, or one to many."""
        rho = self._rho[i]
        first = _MEMORY - int((rho > 0).sum(axis=1).max(initial=0))  # what came before is nothing
        steps, changes = self._steps[i, first:], self._changes[i, first:]
        rho = rho[:, first:]
        v = vector.copy()
        alpha = np.empty((len(v), _MEMORY - first))
        for j in range(_MEMORY - first - 1, -1, -1):
            alpha[:, j] = rho[:, j] * np.vecdot(steps[:, j], v)
            v -= alpha[:, j, None] * changes[:, j]
        v *= self._scale[i, None]
        for j in range(_MEMORY - first):
            beta = rho[:, j] * np.vecdot(changes[:, j], v)
            v += (alpha[:, j] - beta)[:, None] * steps[:, j]
        return v
