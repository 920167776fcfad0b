"""How the seconds of a run are shared among its parts."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np

from stanrovi.diagnostics.statistics import psis_khat
from stanrovi.stan.model import Model
from stanrovi.waiting import limited

_TO_MEASURE = 0.1  # share of the time in which the cost of a draw must be known
_MOST = 0.4  # share kept for constraining draws
_TO_LOAD = 2.0  # seconds that loading a model may take in any case
_LOADING = 100  # ratios with a tail


@dataclass(frozen=True)
class Plan:
    """How long a run may take, and what its draws will cost in the end.

    Attributes
    ----------
    until : float or None
        Value of ``time.perf_counter()`` at which all is over.
    seconds_per_draw : float
        For transformed parameters and generated quantities; zero where there is no limit, or where
        it is so much that few draws could be had.
    """

    until: float | None
    seconds_per_draw: float = 0.0

    @classmethod
    def of(cls, model: Model, max_seconds: float | None) -> Plan:
        """Plan a run that begins now."""
        if max_seconds is None:
            return cls(None)
        until = time.perf_counter() + max_seconds
        _ = model.hashes  # which takes seconds of millions of data
        # Loads what a verdict needs, which can take a second.
        psis_khat(np.random.default_rng(0).standard_normal(_LOADING))
        cost = model.seconds_per_draw(time.perf_counter() + _TO_MEASURE * max_seconds)
        return cls(until, cost if np.isfinite(cost) else 0.0)

    def left(self, n_draws: int = 0) -> float | None:
        """Seconds that are left but for those kept for draws; None where there is no limit."""
        if self.until is None:
            return None
        left = max(self.until - time.perf_counter(), 0.0)
        return left - min(n_draws * self.seconds_per_draw, _MOST * left)


def limited_to(max_seconds: float | None) -> AbstractContextManager[None]:
    """Give up what takes longer inside the block, such as transformed data that loop for ever."""
    if max_seconds is None:
        return limited(None)
    return limited(time.perf_counter() + max(max_seconds, _TO_LOAD))
