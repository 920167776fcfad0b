"""Exploring basins: climbs, and the tests that tell a new basin from a known one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from stanrovi.families.symmetry import Symmetry
from stanrovi.modes.ascent import Ascent
from stanrovi.modes.basins import Labels, Mode, local_evidence
from stanrovi.modes.local import local_mode
from stanrovi.modes.starts import usable
from stanrovi.modes.symmetry import POINTS, symmetries, with_orbits
from stanrovi.target import Array, Target

Held = Callable[[Array, Array], NDArray[np.bool_]]

_MAX_ITERATIONS = 100  # of climbs in lockstep; what has not converged by then is dropped

# A basin this many nats of local evidence below the best one is not kept.
_NEGLIGIBLE = 9.0
# Starts this far below the best in log density are not worth a Hessian.
_HOPELESS = 30.0
# Two maxima are one basin if the path between them dips less than this (nats).
_DIP = 0.1
# Nats by which an end is above a mode that it is not the same as.
_HIGHER = 1.0
# Iterations after which Newton's method takes over from the best climber so far:
# ill-conditioned densities stall L-BFGS.
_PATIENCE = 40
# Where nothing is known, climbs are traced: every how many iterations, until when.
_PACE, _TRACE_END = 4, 60
# Share of the local evidence from which on a basin counts as one that could be missed.
_COUNTS = 0.01


@dataclass
class Basins:
    """Modes known so far, and how often climbs have met each.

    Attributes
    ----------
    target : Target
    modes : list of Mode
        In the order in which they were found; weights are not kept up.
    n_climbs, n_improper : int
        Climbs made; those that did not end at a maximum with a negative definite Hessian.
    snapshots : list of Ascent
        States of the first climb, while no mode was known.
    symmetries : tuple of Symmetry
        Under which the orbits of the modes are kept complete.
    held : callable, optional
        Given points (n, dim) and the log densities (n,) there, says which a fit explains: a climb
        that comes to one is over. Where no quadratic fits, that comes soon.
    """

    target: Target
    modes: list[Mode] = field(default_factory=list)
    n_climbs: int = 0
    n_improper: int = 0
    snapshots: list[Ascent] = field(default_factory=list)
    symmetries: tuple[Symmetry, ...] = ()
    held: Held | None = None
    _completed: int = 0  # modes, when orbits were completed last
    _met: list[int] = field(default_factory=list)
    _ends: Labels = field(default_factory=lambda: np.empty(0, dtype=np.intp))
    _seen: set[int] = field(default_factory=set)
    _improper: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._met = [0] * len(self.modes)

    @property
    def kept(self) -> list[int]:
        """Indices of the modes that are not negligible, heaviest first."""
        evidence = np.array([local_evidence(m) for m in self.modes])
        order = np.argsort(-evidence, kind="stable")
        return [int(k) for k in order if evidence[k] > evidence[order[0]] - _NEGLIGIBLE]

    @property
    def orbits(self) -> list[int]:
        """Those of the kept modes that are no image of another one by a symmetry."""
        return [k for k in self.kept if self.modes[k].symmetry is None]

    def weighted(self) -> tuple[Mode, ...]:
        """Modes with their share of the local evidence, heaviest first."""
        kept = [self.modes[k] for k in self.kept]
        if not kept:
            return ()
        evidence = np.array([local_evidence(m) for m in kept])
        weights = np.exp(evidence - np.logaddexp.reduce(evidence))
        number: dict[int | None, int | None] = {None: None}  # orbits in the order of their weight
        for mode in kept:
            number.setdefault(mode.orbit, len(number) - 1)
        return tuple(
            replace(m, weight=float(w), orbit=number[m.orbit])
            for m, w in zip(kept, weights, strict=True)
        )

    @property
    def unseen(self) -> float:
        """Chance that the next climb finds a basin not met so far.

        The share of climbs that ended in a basin met only once (Good 1953,
        doi:10.1093/biomet/40.3-4.237). A climb that returns to the mode around which it began
        has met nothing. Zero where all climbs end in one basin.
        """
        weights = self.weighted()
        if len(weights) < 2 or not self.n_climbs:
            return 0.0
        met: dict[int, int] = {}  # of an orbit any member
        for k, mode in zip(self.kept, weights, strict=True):
            if mode.weight >= _COUNTS:
                orbit = self.modes[k].orbit
                first = k if orbit is None else orbit
                met[first] = met.get(first, 0) + self._met[k]
        return sum(times == 1 for times in met.values()) / self.n_climbs

    def look_for_symmetries(self, names: Sequence[str], rng: np.random.Generator) -> None:
        """Find what exchanges the modes, and complete their orbits without a climb."""
        kept = [self.modes[k] for k in self.kept]
        z = rng.standard_normal((POINTS, self.target.dim))
        points = np.stack([kept[i % len(kept)].position for i in range(POINTS)])
        points += np.stack([kept[i % len(kept)].axes.apply(z[i]) for i in range(POINTS)])
        self.symmetries, self._completed = symmetries(self.target, kept, points, names), 0
        self._complete_orbits()

    def _complete_orbits(self) -> None:
        if self.symmetries and len(self.modes) > self._completed:
            self.modes = with_orbits(self.modes, self.symmetries)
            self._met += [0] * (len(self.modes) - len(self._met))
            self._completed = len(self.modes)

    def climb_from(self, starts: Array, origins: Labels | None = None) -> Array:
        """Explore from given points, those where the density is finite.

        Parameters
        ----------
        starts : ndarray, shape (m, dim)
        origins : ndarray of int, optional
            Indices of the modes around which they lie.

        Returns
        -------
        ndarray, shape (m,)
            Log density at the starts, -inf where it is rejected.
        """
        with np.errstate(all="ignore"):  # far out a density may overflow, which is no news
            value, gradient = self.target.log_density_gradient(starts)
        kept = usable(value, gradient)
        if kept.any():
            climb = Ascent(self.target, starts[kept], value[kept], gradient[kept], hasty=True)
            around = None if origins is None else origins[kept]
            self.explore(climb, around, summit=True)
        return value

    def explore(
        self, climb: Ascent, origins: Labels | None = None, *, summit: bool = False
    ) -> None:
        """Climb to the top, and examine where the climbs end.

        Parameters
        ----------
        climb : Ascent
        origins : ndarray of int, optional
            See `climb_from`.
        summit : bool
            Whether the highest end is a mode where it is above every mode, dip or no dip. A
            needle on the shoulder of a wide mode has none before it, and is a basin all the same.
        """
        self._seen, self._improper = set(), set()
        self._ends = np.full(len(climb.x), -1)
        with np.errstate(all="ignore"):
            for iteration in range(_MAX_ITERATIONS):
                self._absorb(climb)
                if not climb.active.any():
                    break
                climb.step()
                if not self.modes:
                    self._watch(climb, iteration)
        self._finish(climb)
        if summit:
            self._add_summit(climb)
        self.n_improper += len(self._improper | set(np.flatnonzero(climb.active)))
        self._count(origins)
        self._complete_orbits()

    def _watch(self, climb: Ascent, iteration: int) -> None:
        if iteration % _PACE == _PACE - 1 and iteration < _TRACE_END:
            self.snapshots.append(climb.snapshot())
        if iteration % _PATIENCE == _PATIENCE - 1:
            self._examine(climb, int(np.argmax(climb.log_density)))

    def _absorb(self, climb: Ascent) -> None:
        """Stop climbers that a known basin explains; look at those that arrived."""
        for k, mode in enumerate(self.modes):
            explained = _explained(climb, mode)
            climb.active[explained] = False
            self._ends[explained] = k
        if self.held is not None and climb.active.any():
            i = np.flatnonzero(climb.active)
            climb.active[i[self.held(climb.x[i], climb.log_density[i])]] = False
        if self.modes:
            return
        # Only the first arrival is examined during the climb: its Hessian stops
        # the others early. The rest waits for the end, where hopeless ones drop out.
        arrived = np.flatnonzero(climb.converged)
        for i in arrived[np.argsort(-climb.log_density[arrived])]:
            if i not in self._seen:
                self._examine(climb, int(i))

    def _finish(self, climb: Ascent) -> None:
        """Examine what converged elsewhere, best first."""
        arrived = np.flatnonzero(climb.converged)
        best = max([m.log_density for m in self.modes], default=-np.inf)
        best = climb.log_density[arrived].max(initial=best)
        for i in arrived[np.argsort(-climb.log_density[arrived])]:
            if i not in self._seen and climb.log_density[i] > best - _HOPELESS - climb.x.shape[1]:
                self._examine(climb, int(i))

    def _add_summit(self, climb: Ascent) -> None:
        top = max([m.log_density for m in self.modes], default=-np.inf)
        height = np.where(climb.converged, climb.log_density, -np.inf)
        i = int(np.argmax(height))
        if height[i] > top + _HIGHER:
            self._ends[i] = self._added(local_mode(self.target, climb.x[i], climb.sd(i)))

    def _count(self, origins: Labels | None) -> None:
        ended = self._ends >= 0
        came = ended if origins is None else ended & (self._ends != origins)
        for k in self._ends[came]:
            self._met[k] += 1
        self.n_climbs += len(self._ends)

    def _examine(self, climb: Ascent, i: int) -> None:
        self._seen.add(i)
        known = self._known(climb.x[i], climb.log_density[i])
        if known < 0:
            mode = local_mode(self.target, climb.x[i], climb.sd(i))
            if mode is None:
                self._improper.add(i)
                return
            known = self._known(mode.position, mode.log_density)
            if known < 0:
                known = self._added(mode)
        self._ends[i] = known

    def _added(self, mode: Mode | None) -> int:
        """Append a mode, if it is one; its index, or -1."""
        if mode is None:
            return -1
        self.modes.append(mode)
        self._met.append(0)
        return len(self.modes) - 1

    def _known(self, x: Array, log_density: float) -> int:
        """Index of the basin of a maximum, -1 if it is none of the known ones."""
        for k, mode in enumerate(self.modes):
            distance = np.linalg.norm(mode.axes.solve(x - mode.position))
            if distance < 1.0:
                return k
            if distance < 6.0 * np.sqrt(len(x)) and self._no_dip(mode, x, log_density):
                return k
        return -1

    def _no_dip(self, mode: Mode, x: Array, log_density: float) -> bool:
        t = np.linspace(0, 1, 9)[1:-1, None]
        path, _ = self.target.log_density_gradient(mode.position + t * (x - mode.position))
        return bool(path.min() > min(mode.log_density, log_density) - _DIP)


def _explained(climb: Ascent, mode: Mode) -> NDArray[np.intp]:
    """Climbers whose value and gradient are those of the basin's quadratic."""
    i = np.flatnonzero(climb.active)
    u = mode.axes.solve(climb.x[i] - mode.position)
    pull = mode.axes.apply_transposed(climb.gradient[i])
    distance = np.sqrt(np.vecdot(u, u))
    # Where a Newton step would end, as a distance from the mode.
    pull = pull + u
    residual = np.sqrt(np.vecdot(pull, pull))
    near = residual < np.minimum(0.3 * distance + 0.1, 2.0 + 0.2 * np.sqrt(climb.x.shape[1]))
    drop = mode.log_density - climb.log_density[i]
    return i[near & (np.abs(drop - distance**2 / 2) < 0.3 * drop + 0.1)]
