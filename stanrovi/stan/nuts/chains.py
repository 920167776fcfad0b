"""What the NUTS engines are asked and what they answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stanrovi.draws import SAMPLER_COLUMNS, Values
from stanrovi.target import Array

ChainListener = Callable[[int, int, int], None]


@dataclass(frozen=True)
class NutsSettings:
    """Settings of a NUTS run, under Stan's names.

    Attributes
    ----------
    chains, iter_warmup, iter_sampling, seed : int
    adapt_delta : float
    max_treedepth : int
    save_warmup : bool
        Keep warm-up iterations, so that their gradients can be counted.
    starts : ndarray, shape (chain, dim), optional
        Unconstrained space.
    inits : tuple of mapping, optional
        The same, constrained, one for each chain.
    inv_metric : ndarray, shape (dim, dim) or (dim,), optional
        What the chains move by; warm-up then adapts the step size alone.
    """

    chains: int
    iter_warmup: int
    iter_sampling: int
    seed: int
    adapt_delta: float
    max_treedepth: int
    save_warmup: bool = True
    starts: Array | None = None
    inits: tuple[Mapping[str, Any], ...] | None = None
    inv_metric: Array | None = None

    @property
    def metric(self) -> Literal["diag_e", "dense_e"]:
        """Stan's name of the metric."""
        dense = self.inv_metric is not None and self.inv_metric.ndim == 2
        return "dense_e" if dense else "diag_e"

    @property
    def iterations(self) -> int:
        """Iterations of one chain."""
        return self.iter_warmup + self.iter_sampling


@dataclass(frozen=True)
class Chains:
    """What an engine returns.

    Attributes
    ----------
    variables : mapping of str to ndarray, shape (chain, draw, *shape)
        Draws after warm-up.
    sampler : mapping of str to ndarray, shape (chain, draw)
        Stan's sampler columns (``lp__``, ...) of the same draws.
    n_gradients : int
        Leapfrog steps of all saved iterations.
    includes_warmup : bool
        Whether ``n_gradients`` includes warm-up.
    seconds_warmup, seconds_sampling : float
        As the engine tells, summed over chains.
    """

    variables: Mapping[str, Values]
    sampler: Mapping[str, Array]
    n_gradients: int
    includes_warmup: bool
    seconds_warmup: float
    seconds_sampling: float

    def sample_stats(self) -> dict[str, NDArray[np.generic]]:
        """Sampler columns under ArviZ's names, ``(chain, draw)`` each."""
        return {
            name: np.asarray(self.sampler[column]).astype(kind)
            for column, (name, kind) in SAMPLER_COLUMNS.items()
        }
