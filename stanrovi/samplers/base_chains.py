"""Chains in the base coordinates of one fit."""

from __future__ import annotations

import numpy as np

from stanrovi.families.base import Family
from stanrovi.samplers.charts import QUARTER_TURN, Charts, Path, Walkers, trajectory_steps
from stanrovi.samplers.step_size import DualAveraging
from stanrovi.samplers.trace import Trace
from stanrovi.target import Array, Target

_ACCEPTANCE = 0.8
_MOST_STEPS = 30


class BaseChains:
    """Trajectories of a quarter turn, one step size for all chains.

    Parameters
    ----------
    target : Target
    family : Family
    start : ndarray, shape (chain, dim)
    rng : numpy.random.Generator
    """

    def __init__(
        self, target: Target, family: Family, start: Array, rng: np.random.Generator
    ) -> None:
        self._charts, self._rng = Charts(target, family), rng
        self._walkers = Walkers.at(target, start)
        self._path = Path(None, np.ones(len(start)))
        self._set_step(QUARTER_TURN / trajectory_steps(target.dim))

    def _set_step(self, step: float) -> None:
        """Take as many steps as make a quarter turn, or nearly."""
        # A turn a little short forgets as much, and saves a step.
        self._n_steps = int(np.clip(np.ceil(QUARTER_TURN / step - 0.2), 1, _MOST_STEPS))
        self._step = min(step, QUARTER_TURN / self._n_steps)

    def warm_up(self, iterations: int) -> None:
        """Adapt the step size."""
        averaging = DualAveraging(np.array([self._step]), _ACCEPTANCE)
        for _ in range(iterations):
            self._set_step(float(averaging.step[0]))
            averaging.update(np.array([self.sample(1).acceptance.mean()]))
        self._set_step(float(averaging.final_step[0]))

    def sample(self, iterations: int) -> Trace:
        """Draw."""
        turns = []
        for _ in range(iterations):
            turned = self._charts.turn(
                self._walkers,
                self._path,
                np.full(len(self._walkers.x), self._step),
                self._n_steps,
                self._rng,
            )
            self._walkers = turned.walkers
            turns.append(turned)
        shape = (len(self._walkers.x), iterations)
        return Trace(
            x=np.stack([t.walkers.x for t in turns], axis=1),
            log_p=np.stack([t.walkers.log_p for t in turns], axis=1),
            energy=np.stack([t.energy for t in turns], axis=1),
            acceptance=np.stack([t.acceptance for t in turns], axis=1),
            step=np.full(shape, self._step),
            n_steps=np.full(shape, self._n_steps),
            depth=np.full(shape, self._n_steps.bit_length()),
            diverged=np.stack([t.diverged for t in turns], axis=1),
        )
