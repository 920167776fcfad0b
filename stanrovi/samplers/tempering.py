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

from stanrovi.families.base import Family
from stanrovi.samplers.bridge import LogRatio, bridge, mean_error
from stanrovi.samplers.charts import QUARTER_TURN, Charts, Path, Turned, Walkers, trajectory_steps
from stanrovi.samplers.step_size import DualAveraging
from stanrovi.samplers.swaps import Swaps
from stanrovi.samplers.trace import Trace
from stanrovi.target import Array, Target

_ACCEPTANCE = 0.8
_FIRST_RUNGS = 6
_LEAST_RUNGS, _MOST_RUNGS = 3, 40
_LEAST_REJECTION = 1e-3  # so that powers stay distinct where nobody refuses
_SUPPLY = 256  # draws of the reference at a time
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


def tuning_gradients(dim: int, systems: int) -> int:
    """Gradients that tuning takes before anything counts, at least."""
    return sum(TUNING) * systems * _FIRST_RUNGS * (trajectory_steps(dim) + 1)


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
        self._systems = len(start)
        self._n_steps = trajectory_steps(target.dim)
        self._longest = QUARTER_TURN / self._n_steps
        self._supply = Walkers.at(target, np.empty((0, target.dim)))
        self.barrier = float("nan")
        powers = np.linspace(0.0, 1.0, _FIRST_RUNGS) ** 2
        walkers = Walkers.at(target, np.repeat(start, _FIRST_RUNGS - 1, axis=0))
        self._settle(powers, walkers, np.full(_FIRST_RUNGS - 1, 1.1 * target.dim**-0.25))
        for scans in TUNING:
            self._tune(scans)

    @property
    def dead(self) -> bool:
        """Whether the barrier is too high for any schedule of reasonable length."""
        return bool(2 * self.barrier > _MOST_RUNGS)

    @property
    def round_trips(self) -> int:
        """Points that went from the reference to the target and back, all systems together."""
        return self._swaps.round_trips

    def sample(self, scans: int) -> Trace:
        """Make scans that count; gives what the highest rung saw."""
        turns = []
        for _ in range(scans):
            turned = self._explore(np.minimum(self._step, self._longest))
            everyone, ratio = self._with_fresh()
            self._ratios.append(ratio)
            self._swap(everyone, ratio)
            turns.append(turned)
        self.barrier = float(self._swaps.rejection.sum())
        inner = len(self.powers) - 1
        top, shape = slice(inner - 1, None, inner), (self._systems, scans)
        return Trace(
            x=np.stack([t.walkers.x[top] for t in turns], axis=1),
            log_p=np.stack([t.walkers.log_p[top] for t in turns], axis=1),
            energy=np.stack([t.energy[top] for t in turns], axis=1),
            acceptance=np.stack([t.acceptance[top] for t in turns], axis=1),
            step=np.full(shape, min(self._step[-1], self._longest)),
            n_steps=np.full(shape, self._n_steps),
            depth=np.full(shape, self._n_steps.bit_length()),
            diverged=np.stack([t.diverged[top] for t in turns], axis=1),
        )

    def evidence(self) -> LogRatio:
        """Log of the target's normalising constant, by a bridge between every two rungs."""
        ratio = np.stack(self._ratios, axis=1)
        total, error = 0.0, np.zeros(ratio.shape[:2])
        for i, width in enumerate(np.diff(self.powers)):
            step = bridge(width * ratio[:, :, i], width * ratio[:, :, i + 1])
            total += step.value
            error += step.below + step.above  # of the same scan, hence not independent
        return LogRatio(total, mean_error(error))

    def _settle(self, powers: Array, walkers: Walkers, step: Array) -> None:
        """Take walkers, those of one system side by side, at the rungs above the lowest."""
        self.powers, self._walkers, self._step = powers, walkers, step
        self._swaps = Swaps(powers, self._systems)
        self._ratios: list[Array] = []
        inner = len(powers) - 1
        rows = np.arange(self._systems * inner)
        groups = [rows] if self._leg.common else [rows[i::inner] for i in range(inner)]
        self._charts = [
            (Charts(self._target, self._leg.coordinates(float(b))), group)
            for b, group in zip(powers[1:], groups, strict=False)
        ]

    def _tune(self, scans: int) -> None:
        """Make some scans that adapt steps, then spread the powers anew."""
        averaging = DualAveraging(self._step, _ACCEPTANCE)
        for _ in range(scans):
            turned = self._explore(np.minimum(averaging.step, self._longest))
            averaging.update(turned.acceptance.reshape(self._systems, -1).mean(axis=0))
            self._swap(*self._with_fresh())
        self._respace(np.minimum(averaging.final_step, self._longest))

    def _respace(self, step: Array) -> None:
        """Choose powers between which swaps are refused equally often, and begin there."""
        from scipy.interpolate import PchipInterpolator  # slow to import

        old = self.powers
        rejection = np.clip(self._swaps.rejection, _LEAST_REJECTION, 1.0)
        cumulated = np.concatenate([[0.0], np.cumsum(rejection)])
        self.barrier = float(cumulated[-1])
        count = int(np.clip(np.ceil(2 * self.barrier) + 1, _LEAST_RUNGS, _MOST_RUNGS))
        powers = PchipInterpolator(cumulated, old)(np.linspace(0.0, self.barrier, count))
        powers[0], powers[-1] = 0.0, 1.0
        # Walkers come from the nearest rung of before.
        nearest = np.abs(old[1:, None] - powers[1:]).argmin(axis=0)
        rows = np.arange(self._systems)[:, None] * (len(old) - 1) + nearest
        step = np.interp(powers[1:], old[1:], step)
        self._settle(np.asarray(powers), self._walkers.take(rows.ravel()), step)

    def _explore(self, step: Array) -> Turned:
        """Move the walkers of every rung by its step, shape (rungs - 1,)."""
        power, size = np.tile(self.powers[1:], self._systems), np.tile(step, self._systems)
        out, none = self._walkers, np.empty(len(power))
        turned = Turned(out, none, none.copy(), np.zeros(len(power), dtype=bool))
        for charts, rows in self._charts:
            path = Path(self._leg.reference.log_density_gradient, power[rows])
            part = charts.turn(out.take(rows), path, size[rows], self._n_steps, self._rng)
            moved = part.walkers
            if len(charts.parts) > 1:
                moved = charts.jump(moved, path, self._rng)
            out = out.put(rows, moved)
            for name in ("acceptance", "energy", "diverged"):
                getattr(turned, name)[rows] = getattr(part, name)
        self._walkers = out
        return replace(turned, walkers=out)

    def _with_fresh(self) -> tuple[Walkers, Array]:
        """All walkers with fresh ones at the lowest rung, and log p - log reference there.

        Those of one system side by side; the ratios have shape (system, rungs).
        """
        n, inner = self._systems, len(self.powers) - 1
        if len(self._supply.x) < n:
            self._supply = Walkers.at(self._target, self._leg.reference.sample(_SUPPLY, self._rng))
        rows = np.arange(len(self._supply.x))
        fresh, self._supply = self._supply.take(rows[:n]), self._supply.take(rows[n:])
        own = np.arange(n * inner).reshape(n, inner)
        order = np.concatenate([n * inner + np.arange(n)[:, None], own], axis=1)
        everyone = self._walkers.joined(fresh).take(order.ravel())
        reference = self._leg.reference.log_density(everyone.x)
        ratio = np.where(np.isfinite(everyone.log_p), everyone.log_p - reference, -np.inf)
        return everyone, ratio.reshape(n, inner + 1)

    def _swap(self, everyone: Walkers, ratio: Array) -> None:
        """Let neighbours swap."""
        order = self._swaps.draw(ratio, self._rng)
        offset = np.arange(self._systems)[:, None] * len(self.powers)
        self._walkers = everyone.take((order + offset)[:, 1:].ravel())
