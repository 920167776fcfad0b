"""What chains leave behind, whichever sampler moved them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from stanrovi.target import Array


@dataclass(frozen=True, eq=False)
class Trace:
    """Draws with what the sampler did to get them; shape (chain, draw) unless told.

    Attributes
    ----------
    x : ndarray, shape (chain, draw, dim)
        Unconstrained space.
    log_p : ndarray
        Log density there, up to a constant.
    energy : ndarray
        Hamiltonian of the trajectory, in the coordinates it was made in.
    acceptance, step : ndarray
        Acceptance probability and step size.
    n_steps : ndarray of int
        Leapfrog steps, a gradient each.
    depth : ndarray of int
        Doublings of the trajectory that give so many steps.
    diverged : ndarray of bool
    """

    x: Array
    log_p: Array
    energy: Array
    acceptance: Array
    step: Array
    n_steps: NDArray[np.int64]
    depth: NDArray[np.int64]
    diverged: NDArray[np.bool_]

    @property
    def n_draws(self) -> int:
        """Draws of one chain."""
        return int(self.x.shape[1])

    def sample_stats(self) -> dict[str, NDArray[np.generic]]:
        """Statistics under ArviZ's names."""
        return {
            "lp": self.log_p,
            "diverging": self.diverged,
            "tree_depth": self.depth,
            "n_steps": self.n_steps,
            "energy": self.energy,
            "step_size": self.step,
            "acceptance_rate": self.acceptance,
        }


def chained(traces: Sequence[Trace]) -> Trace:
    """Put stretches of the same chains one after the other."""
    names = [field.name for field in fields(Trace)]
    parts = {name: [getattr(trace, name) for trace in traces] for name in names}
    return Trace(**{name: np.concatenate(part, axis=1) for name, part in parts.items()})
