"""Chains in the base coordinates of one fit."""

from __future__ import annotations

import numpy as np

from stanrovi.families.base import Family
from stanrovi.samplers.charts import QUARTER_TURN, Charts, Path, Turned, Walkers, trajectory_steps
from stanrovi.samplers.step_size import DualAveraging
from stanrovi.samplers.trace import Trace
from stanrovi.target import Array, Target

_ACCEPTANCE = 0.8
_MOST_STEPS = 30
_WARM_UP = 30
_TURN_EVERY = 6  # draws: between trajectories the fit proposes
_BOUNDED = 0.7  # Pareto shape of the weights above which a fit's tails are too light to propose
_WORTH = 0.9  # effective draws of a trajectory


class BaseChains:
    """Trajectories of a quarter turn, and proposals of the fit itself where it is that good.

    A proposal costs one evaluation, a trajectory several; one in six draws is a trajectory all
    the same, so that no chain waits long where the fit has too little mass.

    Parameters
    ----------
    target : Target
    family : Family
    start : ndarray, shape (chain, dim)
    rng : numpy.random.Generator
    log_ratio : ndarray, shape (n,)
        log p - log q at draws of the fit.
    khat : float
        Pareto shape of the weights that follow from them.
    """

    n_warm_up = _WARM_UP

    def __init__(
        self,
        target: Target,
        family: Family,
        start: Array,
        rng: np.random.Generator,
        *,
        log_ratio: Array,
        khat: float,
    ) -> None:
        self._charts, self._rng = Charts(target, family), rng
        self._walkers = Walkers.at(target, start)
        self._path = Path(None, np.ones(len(start)))
        self._count = 0
        self._set_step(QUARTER_TURN / trajectory_steps(target.dim))
        # Of independent proposals, accepted with this rate, so many are worth a draw.
        rate = _acceptance(log_ratio, rng)
        cheaper = rate / (2 - rate) > _WORTH / self._n_steps
        self._proposes = bool(khat < _BOUNDED and cheaper)

    def _set_step(self, step: float) -> None:
        """Take as many steps as make a quarter turn, or nearly."""
        # A turn a little short forgets as much, and saves a step.
        self._n_steps = int(np.clip(np.ceil(QUARTER_TURN / step - 0.2), 1, _MOST_STEPS))
        self._step = min(step, QUARTER_TURN / self._n_steps)

    def warm_up(self) -> None:
        """Adapt the step size, with half of what is left of a budget at most."""
        averaging = DualAveraging(np.array([self._step]), _ACCEPTANCE)
        enough = self._charts.target.n_left // 2
        for _ in range(_WARM_UP):
            if 0 < self._charts.target.n_left < enough:
                break
            self._set_step(float(averaging.step[0]))
            averaging.update(np.array([self._turn().acceptance.mean()]))
        self._set_step(float(averaging.final_step[0]))

    def _turn(self) -> Turned:
        step = np.full(len(self._walkers.x), self._step)
        turned = self._charts.turn(self._walkers, self._path, step, self._n_steps, self._rng)
        self._walkers = turned.walkers
        return turned

    def _move(self) -> tuple[Turned, int]:
        """Make one draw of every chain; tells the gradients that it took."""
        self._count += 1
        if not self._proposes or self._count % _TURN_EVERY == 0:
            return self._turn(), self._n_steps
        self._walkers, acceptance = self._charts.leap(self._walkers, self._rng)
        none = np.zeros(len(acceptance), dtype=bool)
        return Turned(self._walkers, acceptance, -self._walkers.log_p, none), 1

    def sample(self, iterations: int) -> Trace:
        """Draw."""
        moves = [self._move() for _ in range(iterations)]
        shape = (len(self._walkers.x), iterations)
        n_steps = np.broadcast_to(np.array([n for _, n in moves]), shape)
        return Trace(
            x=np.stack([m.walkers.x for m, _ in moves], axis=1),
            log_p=np.stack([m.walkers.log_p for m, _ in moves], axis=1),
            energy=np.stack([m.energy for m, _ in moves], axis=1),
            acceptance=np.stack([m.acceptance for m, _ in moves], axis=1),
            step=np.full(shape, self._step),
            n_steps=n_steps,
            depth=np.frexp(n_steps)[1].astype(np.int64),
            diverged=np.stack([m.diverged for m, _ in moves], axis=1),
        )


def _acceptance(log_ratio: Array, rng: np.random.Generator) -> float:
    """Rate at which draws of a fit would be accepted, from log p - log q at some."""
    kept = log_ratio[np.isfinite(log_ratio)]
    weight = np.exp(kept - kept.max())
    # Those that a chain is at are draws of the target.
    at = rng.choice(kept, len(kept), p=weight / weight.sum())
    rate = np.exp(np.minimum(kept - at, 0.0)).mean()
    return float(rate * len(kept) / len(log_ratio))
