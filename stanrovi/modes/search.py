"""Search for the basins of a log density: where they are and what each weighs.

Dispersed starts climb together, stop early when a known basin's quadratic
explains them, and are clustered in the metric of the local Hessian. The weight
of a basin is its Laplace evidence, ``log p(x_k) - 0.5 log det(-H_k)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from stanrovi.errors import DensityError
from stanrovi.families.axes import DenseAxes
from stanrovi.modes.ascent import Ascent
from stanrovi.modes.basins import Mode, local_evidence
from stanrovi.modes.local import local_mode
from stanrovi.target import Array, BudgetExhausted, Target

# A basin this many nats of local evidence below the best one is not kept.
_NEGLIGIBLE = 9.0
# Starts this far below the best in log density are not worth a Hessian.
_HOPELESS = 30.0
# Two maxima are one basin if the path between them dips less than this (nats).
_DIP = 0.1
# Nats by which an end is above a mode that it is not the same as.
_HIGHER = 1.0
# Local standard deviations from a mode at which others are looked for.
_OUTWARD = (3.0, 20.0)
# Iterations after which Newton's method takes over from the best climber so far:
# ill-conditioned densities stall L-BFGS.
_PATIENCE = 40
# Climbs that are traced for where a fit may begin, and every how many iterations, until when.
_TRACED, _PACE, _TRACE_END = 3, 4, 60


@dataclass(frozen=True)
class SearchSettings:
    """How a mode search spends its gradients.

    Attributes
    ----------
    n_starts : int
        Dispersed starts in opposite pairs, so that no half-space is without
        one: uniform in cubes of half-width ``radius`` (Stan's own
        initialisation) and, every other pair, of twice that.
    radius : float
    n_outward : int
        Further starts per round, some standard deviations away from the modes
        known so far; rounds go on while they find new modes.
    max_rounds : int
    max_iterations : int
        Lockstep iterations a round; a start that has not converged by then is
        dropped.
    """

    n_starts: int = 12
    radius: float = 2.0
    n_outward: int = 16
    max_rounds: int = 6
    max_iterations: int = 100


@dataclass(frozen=True)
class SearchResult:
    """Outcome of a mode search.

    Attributes
    ----------
    modes : tuple of Mode
        Heaviest first; empty when no start ended at a proper maximum.
    peak : Mode
        The heaviest mode. Without any, the highest point reached, with the
        climb's own (L-BFGS) estimate of the covariance and weight zero.
    start : ndarray, shape (dim,)
        The best starting point.
    n_starts, n_usable, n_improper : int
        Starts made; starts with a finite density; climbs that did not end at
        a maximum with a negative definite Hessian (a ridge, a plateau, an
        unbounded density).
    trails : tuple of tuple of Mode
        Where there is no mode: local quadratics along the highest climbs, one after the other.
    complete : bool
        False if the target's budget ran out: this is what was found by then.
    """

    modes: tuple[Mode, ...]
    peak: Mode
    start: Array
    n_starts: int
    n_usable: int
    n_improper: int
    trails: tuple[tuple[Mode, ...], ...] = ()
    complete: bool = True

    @property
    def doubts(self) -> tuple[str, ...]:
        """What a user should know of a search that found nothing."""
        if self.modes or not self.complete:
            return ()
        return (
            f"No proper mode: {self.n_improper} of {self.n_starts} climbs ended on a ridge, a "
            "plateau or without bound (common for centred hierarchical models; consider the "
            "non-centred form).",
        )


def search_modes(
    target: Target, rng: np.random.Generator, settings: SearchSettings | None = None
) -> SearchResult:
    """Find the basins of a log density.

    Parameters
    ----------
    target : Target
        Log density on unconstrained space.
    rng : numpy.random.Generator
        Draws the starting points.
    settings : SearchSettings, optional

    Returns
    -------
    SearchResult

    Raises
    ------
    DensityError
        If the density is finite at none of the starting points.
    BudgetExhausted
        If the target's budget does not cover the starting points.
    """
    settings = settings or SearchSettings()
    basins = Basins(target)
    with target.stage("modes"):
        climb = Ascent(target, *_usable_starts(target, rng, settings))
        n_starts, n_usable, complete = settings.n_starts, len(climb.x), True
        try:
            basins.explore(climb, settings.max_iterations)
            for _ in range(settings.max_rounds):
                known = basins.weighted()
                if not known or settings.n_outward == 0:
                    break
                n_outward = settings.n_outward * (1 if len(known) == 1 else 2)
                outward = Ascent(target, _outward_starts(known, rng, n_outward))
                n_starts, n_usable = n_starts + n_outward, n_usable + n_outward
                basins.explore(outward, settings.max_iterations)
                if len(basins.weighted()) <= len(known):
                    break
        except BudgetExhausted:
            complete = False
    modes = basins.weighted()
    return SearchResult(
        modes=modes,
        peak=modes[0] if modes else _highest(climb),
        start=climb.first[np.argmax(climb.first_log_density)],
        n_starts=n_starts,
        n_usable=n_usable,
        n_improper=basins.n_improper,
        trails=() if modes else _trails(climb, basins.snapshots),
        complete=complete,
    )


def extended_search(target: Target, known: Sequence[Mode], places: Array) -> SearchResult:
    """Take modes that are known already, and those that climbs from given points reach.

    Parameters
    ----------
    target : Target
    known : sequence of Mode
        At least one.
    places : ndarray, shape (m, dim)
        At or near other modes.

    Returns
    -------
    SearchResult

    Raises
    ------
    BudgetExhausted
        If the target's budget does not cover the climbs.
    """
    basins = Basins(target, list(known))
    if len(places):
        with target.stage("modes"):
            basins.climb_from(places, SearchSettings().max_iterations)
    modes = basins.weighted()
    n = len(known) + len(places)
    return SearchResult(modes, modes[0], modes[0].position, n, n, basins.n_improper)


def _highest(climb: Ascent) -> Mode:
    return _quadratic(climb, int(np.argmax(climb.log_density)))


def _trails(climb: Ascent, snapshots: list[Ascent]) -> tuple[tuple[Mode, ...], ...]:
    if not snapshots:
        return ()
    highest = np.argsort(-climb.log_density)[:_TRACED]
    return tuple(tuple(_quadratic(state, int(i)) for state in snapshots) for i in highest)


def _quadratic(climb: Ascent, i: int) -> Mode:
    """Where a climber stands, with its own estimate of the curvature."""
    axes = DenseAxes.of_covariance(climb.inverse_hessian(i))
    return Mode(position=climb.x[i].copy(), log_density=float(climb.log_density[i]), axes=axes)


def _outward_starts(modes: tuple[Mode, ...], rng: np.random.Generator, n: int) -> Array:
    """Place starts 3 to 20 local standard deviations from a mode, modes taking turns.

    In opposite pairs, half in random whitened directions, half along the widest
    axes, where other modes hide behind a long, thin one.
    """
    starts = []
    for i in range(-(-n // 2)):
        k = i % len(modes)
        spectrum = modes[k].axes.principal_variances()
        direction = rng.standard_normal(len(spectrum))
        if (i // len(modes) + k) % 2 == 1:
            direction *= spectrum / spectrum[-1]
        direction *= rng.uniform(*_OUTWARD) / np.linalg.norm(direction)
        step = modes[k].axes.along_principal(direction)
        starts += [modes[k].position + step, modes[k].position - step]
    return np.stack(starts[:n])


def usable(value: Array, gradient: Array) -> NDArray[np.bool_]:
    """Tell where a climb may begin: not where a point is as good as rejected (1e30 and beyond)."""
    return np.asarray(np.isfinite(value) & (np.abs(gradient).max(axis=1) < 1e30))


def _usable_starts(
    target: Target, rng: np.random.Generator, settings: SearchSettings
) -> tuple[Array, Array, Array]:
    """Draw starting points with a finite density; with the values and gradients there."""
    radius = np.where(np.arange(settings.n_starts) // 2 % 2 == 0, 1.0, 2.0) * settings.radius
    found = []
    missing = radius
    for _ in range(8):
        half = rng.uniform(-1.0, 1.0, (-(-len(missing) // 2), target.dim))
        x = np.stack([half, -half], axis=1).reshape(-1, target.dim)[: len(missing)]
        x *= missing[:, None]
        value, gradient = target.log_density_gradient(x)
        kept = usable(value, gradient)
        found.append((x[kept], value[kept], gradient[kept]))
        missing = missing[~kept] * 0.3
        if not len(missing):
            break
    starts, value, gradient = (np.concatenate(part) for part in zip(*found, strict=True))
    if not len(starts):
        raise DensityError(
            f"The log density is not finite at any of {8 * settings.n_starts} points within "
            f"{2 * settings.radius:g} of the origin of unconstrained space, or its gradient is "
            "beyond 1e30 there. Check the data and the constraints of the program: a parameter "
            "without its bounds, a division by zero, or data outside the likelihood's support "
            "are the usual causes. Parameters on scales far from 1 want an offset and multiplier."
        )
    return starts, value, gradient


@dataclass
class Basins:
    """Modes known so far, and the tests that tell a new one from an old one."""

    target: Target
    modes: list[Mode] = field(default_factory=list)
    n_improper: int = 0
    snapshots: list[Ascent] = field(default_factory=list)  # of the first climb
    _seen: set[int] = field(default_factory=set)
    _improper: set[int] = field(default_factory=set)

    def explore(self, climb: Ascent, max_iterations: int) -> None:
        """Climb to the top, and examine where the climbs end."""
        self._seen, self._improper = set(), set()
        for iteration in range(max_iterations):
            self.absorb(climb)
            if not climb.active.any():
                break
            climb.step()
            if not self.modes and iteration % _PACE == _PACE - 1 and iteration < _TRACE_END:
                self.snapshots.append(climb.snapshot())
            if iteration % _PATIENCE == _PATIENCE - 1 and not self.modes:
                self._examine(climb, int(np.argmax(climb.log_density)))
        self.finish(climb)
        self.n_improper += len(self._improper | set(np.flatnonzero(climb.active)))

    def absorb(self, climb: Ascent) -> None:
        """Stop climbers that a known basin explains; look at those that arrived."""
        for mode in self.modes:
            climb.active[_explained(climb, mode)] = False
        if self.modes:
            return
        # Only the first arrival is examined during the climb: its Hessian stops
        # the others early. The rest waits for `finish`, where hopeless ones drop out.
        arrived = np.flatnonzero(climb.converged)
        for i in arrived[np.argsort(-climb.log_density[arrived])]:
            if i not in self._seen:
                self._examine(climb, int(i))

    def finish(self, climb: Ascent) -> None:
        """Examine what converged elsewhere, best first."""
        arrived = np.flatnonzero(climb.converged)
        best = max([m.log_density for m in self.modes], default=-np.inf)
        best = climb.log_density[arrived].max(initial=best)
        for i in arrived[np.argsort(-climb.log_density[arrived])]:
            if i not in self._seen and climb.log_density[i] > best - _HOPELESS - climb.x.shape[1]:
                self._examine(climb, int(i))

    def climb_from(self, starts: Array, max_iterations: int) -> None:
        """Explore from given points, those first where the density is finite."""
        value, gradient = self.target.log_density_gradient(starts)
        kept = usable(value, gradient)
        if kept.any():
            climb = Ascent(self.target, starts[kept], value[kept], gradient[kept])
            self.explore(climb, max_iterations)
            self._add_summit(climb)

    def _add_summit(self, climb: Ascent) -> None:
        """Add the highest end of a climb where it is above every mode.

        A needle on the shoulder of a wide mode has no dip before it, and is another basin all
        the same.
        """
        top = max([m.log_density for m in self.modes], default=-np.inf)
        height = np.where(climb.converged, climb.log_density, -np.inf)
        i = int(np.argmax(height))
        if height[i] > top + _HIGHER:
            mode = local_mode(self.target, climb.x[i], climb.sd(i))
            if mode is not None:
                self.modes.append(mode)

    def weighted(self) -> tuple[Mode, ...]:
        """Modes with their share of the local evidence, heaviest first."""
        evidence = np.array([local_evidence(m) for m in self.modes])
        if not len(evidence):
            return ()
        kept = np.flatnonzero(evidence > evidence.max() - _NEGLIGIBLE)
        weight = np.exp(evidence[kept] - logsumexp(evidence[kept]))
        order = np.argsort(-weight)
        return tuple(replace(self.modes[kept[i]], weight=float(weight[i])) for i in order)

    def _examine(self, climb: Ascent, i: int) -> None:
        self._seen.add(i)
        if self._known(climb.x[i], climb.log_density[i]):
            return
        mode = local_mode(self.target, climb.x[i], climb.sd(i))
        if mode is None:
            self._improper.add(i)
        elif not self._known(mode.position, mode.log_density):
            self.modes.append(mode)

    def _known(self, x: Array, log_density: float) -> bool:
        for mode in self.modes:
            distance = np.linalg.norm(mode.axes.solve(x - mode.position))
            if distance < 1.0:
                return True
            if distance < 6.0 * np.sqrt(len(x)) and self._no_dip(mode, x, log_density):
                return True
        return False

    def _no_dip(self, mode: Mode, x: Array, log_density: float) -> bool:
        t = np.linspace(0, 1, 9)[1:-1, None]
        path, _ = self.target.log_density_gradient(mode.position + t * (x - mode.position))
        return bool(path.min() > min(mode.log_density, log_density) - _DIP)


def _explained(climb: Ascent, mode: Mode) -> Array:
    """Climbers whose value and gradient are those of the basin's quadratic."""
    i = np.flatnonzero(climb.active)
    u = mode.axes.solve(climb.x[i] - mode.position)
    pull = mode.axes.apply_transposed(climb.gradient[i])
    distance = np.linalg.norm(u, axis=1)
    # Where a Newton step would end, as a distance from the mode.
    residual = np.linalg.norm(pull + u, axis=1)
    near = residual < np.minimum(0.3 * distance + 0.1, 2.0 + 0.2 * np.sqrt(climb.x.shape[1]))
    drop = mode.log_density - climb.log_density[i]
    return i[near & (np.abs(drop - distance**2 / 2) < 0.3 * drop + 0.1)]
