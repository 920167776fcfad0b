"""Where chains start."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stanrovi.samplers.charts import Walkers
from stanrovi.target import Array, Target

_MAX_START_ROUNDS = 100
_LEAST = 1e-9  # of the largest weight, so that there are always enough rows to choose from


def uniform(
    target: Target, rng: np.random.Generator, shape: tuple[int, int], radius: float
) -> Walkers:
    """Draw points (chain, dim) uniformly in a cube, and again where the target rejects them.

    Those that it rejects every time come back with a log density of -inf.
    """
    found = Walkers.at(target, rng.uniform(-radius, radius, shape))
    for _ in range(_MAX_START_ROUNDS):
        lost = ~np.isfinite(found.log_p)
        if not lost.any():
            break
        found = Walkers.at(target, rng.uniform(-radius, radius, shape)).where(lost, found)
    return found


def chosen(log_ratio: Array, chains: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Choose draws of a fit by their importance weights, as far as those carry.

    Weights are truncated, so that no few draws have all of it (Ionides 2008,
    doi:10.1198/106186008X320456).

    Parameters
    ----------
    log_ratio : ndarray, shape (n,)
        log p - log q of the draws; -inf where the target rejects one, which is then not chosen.
    chains : int
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of int, shape (chains,)
        Different rows, unless there are fewer than that.
    """
    usable = np.flatnonzero(np.isfinite(log_ratio))
    kept = log_ratio[usable]
    weight = np.exp(kept - kept.max())
    weight = np.minimum(weight, np.sqrt(len(weight)) * weight.mean())
    weight = np.maximum(weight, _LEAST * weight.max())
    share = weight / weight.sum()
    return np.asarray(rng.choice(usable, chains, replace=chains > len(usable), p=share))
