"""Whether chains agree, and have said enough."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stanrovi.scalars import Scalars, first_of_copies, varying
from stanrovi.target import Array

# Rank R-hat, bulk and tail ESS (k,) of values (chain, draw, k).
Mixing = Callable[[Array], tuple[Array, Array, Array]]


@dataclass(frozen=True)
class Goal:
    """What draws must be like, and what they may cost.

    Attributes
    ----------
    chains : int
    ess : float
        Bulk and tail ESS that every quantity must have.
    rhat : float
        Rank R-hat that every quantity must be below.
    max_gradients : int or None
        Everything counted, the fit too.
    max_seconds : float or None
    """

    chains: int = 4
    ess: float = 400.0
    rhat: float = 1.01
    max_gradients: int | None = None
    max_seconds: float | None = None


@dataclass(frozen=True)
class Mixed:
    """How well chains mix, quantity by quantity.

    Attributes
    ----------
    names : tuple of str
        Of the k quantities that vary, copies left out.
    rhat, bulk, tail : ndarray, shape (k,)
        Rank R-hat, bulk and tail ESS.
    """

    names: tuple[str, ...]
    rhat: Array
    bulk: Array
    tail: Array

    @property
    def ess(self) -> Array:
        """The smaller of both ESS, shape (k,); zero where unknown."""
        return np.asarray(np.nan_to_num(np.minimum(self.bulk, self.tail)))

    @property
    def ess_min(self) -> float:
        """Of the worst quantity."""
        return float(self.ess.min(initial=np.inf))

    @property
    def rhat_max(self) -> float:
        """Of the worst quantity; infinite where unknown."""
        return float(np.nan_to_num(self.rhat, nan=np.inf).max(initial=1.0))

    def lacking(self, goal: Goal) -> NDArray[np.bool_]:
        """Which quantities have not reached the goal."""
        # A single chain has no R-hat.
        apart = ~(self.rhat < goal.rhat) if goal.chains > 1 else np.zeros(len(self.rhat), bool)
        return np.asarray(apart | (self.ess < goal.ess))


def mixed(scalars: Scalars, x: Array, mixing: Mixing) -> Mixed:
    """Judge chains x (chain, draw, dim) by the quantities that vary."""
    values = scalars.of(x.reshape(-1, x.shape[2]))
    kept = varying(values) & first_of_copies(values)
    values = values[:, kept].reshape(*x.shape[:2], -1)
    names = tuple(name for name, keep in zip(scalars.names, kept, strict=True) if keep)
    if not names:
        return Mixed((), *(np.empty(0) for _ in range(3)))
    return Mixed(names, *mixing(values))
