"""Non-reversible parallel tempering from a normalised reference to a target.

Rungs ``reference^(1 - b) p^b`` from b = 0, drawn afresh at every scan, to b = 1; neighbours
swap by turns of even and odd pairs, so that points travel in one direction until a swap is
rejected (Syed, Bouchard-Cote, Deligiannidis and Doucet 2021, doi:10.1111/rssb.12464). The powers
are spread so that every pair rejects equally often, and there are about twice as many as the
communication barrier, the sum of the rejection rates, asks for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from stanrovi.families.base import Family
from stanrovi.samplers.bridge import LogRatio, bridge, mean_error
from stanrovi.samplers.charts import QUARTER_TURN, Charts, Path, Turned, Walkers, trajectory_steps
from stanrovi.samplers.step_size import DualAveraging
from stanrovi.samplers.trace import Trace
from stanrovi.target import Array, Target

_ACCEPTANCE = 0.8
_FIRST_RUNGS = 6
_MOST_RUNGS = 40
_SUPPLY = 256
TUNING = 10, 20, 40  # scans of the rounds that tune schedule and steps


@dataclass(frozen=True)
class Leg:
    """A way to the target.

    Attributes
    ----------
    reference : Family
    coordinates : callable
        The family through whose base coordinates walkers at power b move.
    common : bool
        Whether that is the same family at every b.
    """

    reference: Family
    coordinates: Callable[[float], Family]
    common: bool


class Tempering:
    """Several independent systems of tempered chains on one leg.

    Parameters
    ----------
    target : Target
    leg : Leg
    start : ndarray, shape (system, dim)
        Where the rungs begin.
    rng : numpy.random.Generator

    Attributes
    ----------
    powers : ndarray, shape (rungs,)
    barrier : float
        Sum of the rejection rates of swaps.
    """

    def __init__(self, target: Target, leg: Leg, start: Array, rng: np.random.Generator) -> None:
        self._target, self._leg, self._rng = target, leg, rng
        self._start = start
        self._systems = len(start)
        self._steps_per_scan = trajectory_steps(target.dim)
        self._longest = QUARTER_TURN / self._steps_per_scan
        self.powers = np.linspace(0.0, 1.0, _FIRST_RUNGS) ** 2
        self.barrier = float("nan")
        self._supply = Walkers.at(target, np.empty((0, target.dim)))
        self._begin()
        self._settle(Walkers.at(target, np.repeat(start, len(self.powers) - 1, axis=0)))
        for scans in TUNING:
            self._tune(scans)

    @property
    def dead(self) -> bool:
        """Whether the barrier is too high for any schedule of reasonable length."""
        return bool(2 * self.barrier > _MOST_RUNGS)

    def _begin(self) -> None:
        """Forget what happened."""
        pairs = len(self.powers) - 1
        self._ratios: list[Array] = []
        self._rejected, self._tried = np.zeros(pairs), np.zeros(pairs)
        self.round_trips = 0
        self._scan = 0
        # Which replica is at each rung of each system, and whether it was last at the bottom.
        self._replica = np.tile(np.arange(pairs + 1), (self._systems, 1))
        self._upward = np.zeros((self._systems, pairs + 1), dtype=bool)
        self._visited = np.zeros((self._systems, pairs + 1), dtype=bool)

    def _settle(self, walkers: Walkers) -> None:
        """Take walkers, those of one system side by side, at the rungs above the lowest."""
        self._walkers = walkers
        inner = self.powers[1:]
        families = [self._leg.coordinates(float(b)) for b in inner]
        if self._leg.common:
            rows = np.arange(len(walkers.x))
            self._charts = [(Charts(self._target, families[0]), rows)]
        else:
            rows = np.arange(self._systems) * len(inner)
            self._charts = [
                (Charts(self._target, family), rows + i) for i, family in enumerate(families)
            ]
        first = 1.1 * self._target.dim**-0.25
        self._adapting = DualAveraging(np.full(len(inner), first), _ACCEPTANCE)
        self._step = np.full(len(inner), first)

    def _tune(self, scans: int) -> None:
        """Run some scans that adapt steps, then spread the powers anew."""
        self._begin()
        for _ in range(scans):
            self._step = self._adapting.step
            acceptance = self._explore().acceptance.reshape(self._systems, -1)
            self._adapting.update(acceptance.mean(axis=0))
            self._swap(*self._log_ratios(self._fresh()))
        self._step = np.minimum(self._adapting.final_step, self._longest)
        self._respace()

    def _respace(self) -> None:
        rejection = np.clip(self._rejected / np.maximum(self._tried, 1), 1e-3, 1.0)
        cumulated = np.concatenate([[0.0], np.cumsum(rejection)])
        self.barrier = float(cumulated[-1])
        count = int(np.clip(np.ceil(2 * self.barrier) + 1, 3, _MOST_RUNGS))
        levels = np.linspace(0.0, self.barrier, count)
        powers = np.clip(PchipInterpolator(cumulated, self.powers)(levels), 0.0, 1.0)
        powers[0], powers[-1] = 0.0, 1.0
        old = self.powers
        self.powers = np.asarray(powers)
        nearest = np.abs(old[1:, None] - self.powers[1:]).argmin(axis=0)
        rows = np.arange(self._systems)[:, None] * (len(old) - 1) + nearest
        step = np.interp(self.powers[1:], old[1:], self._step)
        self._settle(self._walkers.take(rows.ravel()))
        self._adapting = DualAveraging(step, _ACCEPTANCE)
        self._step = step

    def sample(self, scans: int) -> Trace:
        """Make scans that count; gives what the highest rung saw."""
        if not self._ratios:
            self._begin()
        x, log_p, energy, acceptance, diverged = [], [], [], [], []
        for _ in range(scans):
            turned = self._explore()
            fresh = self._fresh()
            everyone, ratio = self._log_ratios(fresh)
            self._ratios.append(ratio)
            x.append(turned.walkers.x)
            log_p.append(turned.walkers.log_p)
            energy.append(turned.energy)
            acceptance.append(turned.acceptance)
            diverged.append(turned.diverged)
            self._swap(everyone, ratio)
        self.barrier = float((self._rejected / np.maximum(self._tried, 1)).sum())
        top, inner = slice(len(self.powers) - 2, None, len(self.powers) - 1), self._steps_per_scan
        shape = (self._systems, scans)
        return Trace(
            x=np.stack([each[top] for each in x], axis=1),
            log_p=np.stack([each[top] for each in log_p], axis=1),
            energy=np.stack([each[top] for each in energy], axis=1),
            acceptance=np.stack([each[top] for each in acceptance], axis=1),
            step=np.full(shape, min(self._step[-1], self._longest)),
            n_steps=np.full(shape, inner),
            depth=np.full(shape, inner.bit_length()),
            diverged=np.stack([each[top] for each in diverged], axis=1),
        )

    def _fresh(self) -> Walkers:
        """Draw the lowest rung anew."""
        n = self._systems
        if len(self._supply.x) < n:
            self._supply = Walkers.at(self._target, self._leg.reference.sample(_SUPPLY, self._rng))
        rows = np.arange(len(self._supply.x))
        taken, self._supply = self._supply.take(rows[:n]), self._supply.take(rows[n:])
        return taken

    def _explore(self) -> Turned:
        """Move the walkers of every rung."""
        power = np.tile(self.powers[1:], self._systems)
        step = np.tile(np.minimum(self._step, self._longest), self._systems)
        out, none = self._walkers, np.empty(len(power))
        turned = Turned(out, none, none.copy(), np.zeros(len(power), dtype=bool))
        for charts, rows in self._charts:
            path = Path(self._leg.reference.log_density_gradient, power[rows])
            part = charts.turn(out.take(rows), path, step[rows], self._steps_per_scan, self._rng)
            moved = part.walkers
            if len(charts.parts) > 1:
                moved = charts.jump(moved, path, self._rng)
            out = out.put(rows, moved)
            for name in ("acceptance", "energy", "diverged"):
                getattr(turned, name)[rows] = getattr(part, name)
        self._walkers = out
        return replace(turned, walkers=out)

    def _log_ratios(self, fresh: Walkers) -> tuple[Walkers, Array]:
        """All walkers, the lowest rung included, with log p - log reference (system, rungs)."""
        inner = len(self.powers) - 1
        order = np.arange(len(self._walkers.x)).reshape(self._systems, inner)
        low = len(self._walkers.x) + np.arange(self._systems)[:, None]
        everyone = self._walkers.joined(fresh).take(np.concatenate([low, order], axis=1).ravel())
        reference = self._leg.reference.log_density(everyone.x)
        ratio = np.where(np.isfinite(everyone.log_p), everyone.log_p - reference, -np.inf)
        return everyone, ratio.reshape(self._systems, inner + 1)

    def _swap(self, everyone: Walkers, ratio: Array) -> None:
        """Let neighbours swap, and count it."""
        rungs = len(self.powers)
        first = np.arange(self._scan % 2, rungs - 1, 2)
        self._scan += 1
        width = np.diff(self.powers)[first]
        with np.errstate(invalid="ignore"):
            gain = width * (ratio[:, first] - ratio[:, first + 1])
        gain = np.where(np.isnan(gain), -np.inf, gain)
        chance = np.exp(np.minimum(gain, 0.0))
        self._rejected[first] += (1 - chance).mean(axis=0)
        self._tried[first] += 1
        accepted = self._rng.random(chance.shape) < chance
        order = np.tile(np.arange(rungs), (self._systems, 1))
        system, pair = np.nonzero(accepted)
        low = first[pair]
        order[system, low], order[system, low + 1] = low + 1, low
        offset = np.arange(self._systems)[:, None] * rungs
        self._walkers = everyone.take((order + offset)[:, 1:].ravel())
        self._count_trips(order)

    def _count_trips(self, order: NDArray[np.intp]) -> None:
        self._replica = np.take_along_axis(self._replica, order, axis=1)
        system = np.arange(self._systems)
        bottom, top = self._replica[:, 0], self._replica[:, -1]
        # A round trip: from the bottom to the top and back.
        self.round_trips += int((self._visited[system, bottom]).sum())
        self._visited[system, bottom] = False
        self._upward[system, bottom] = True
        arrived = self._upward[system, top]
        self._visited[system[arrived], top[arrived]] = True
        self._upward[system, top] = False

    def evidence(self) -> LogRatio:
        """Log of the target's normalising constant, by a bridge between every two rungs."""
        ratio = np.stack(self._ratios, axis=1)
        total, error = 0.0, np.zeros(ratio.shape[:2])
        for i, width in enumerate(np.diff(self.powers)):
            step = bridge(width * ratio[:, :, i], width * ratio[:, :, i + 1])
            total += step.value
            error += step.below + step.above  # of the same scan, hence not independent
        return LogRatio(total, mean_error(error))
