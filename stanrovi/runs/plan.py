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
_LEAST, _MOST = 0.02, 0.4  # shares kept for constraining draws
_UNKNOWN = 0.05  # share kept where a draw takes too long to be measured

_LOADING = 100  # ratios with a tail


@dataclass(frozen=True)
class Plan:
    """How long a run may take, and how long what comes before its draws are constrained.

    Attributes
    ----------
    seconds : float or None
        For everything before transformed parameters and generated quantities.
    until : float or None
        Value of ``time.perf_counter()`` at which all is over.
    """

    seconds: float | None
    until: float | None

    @classmethod
    def of(cls, model: Model, n_draws: int, max_seconds: float | None) -> Plan:
        """Plan a run that begins now, by what a draw of a model costs."""
        if max_seconds is None:
            return cls(None, None)
        began = time.perf_counter()
        # Loads what a verdict needs, which can take a second.
        psis_khat(np.random.default_rng(0).standard_normal(_LOADING))
        cost = model.seconds_per_draw(time.perf_counter() + _TO_MEASURE * max_seconds)
        needed = np.clip(n_draws * cost, _LEAST * max_seconds, _MOST * max_seconds)
        kept = float(needed) if np.isfinite(cost) else _UNKNOWN * max_seconds
        left = began + max_seconds - kept - time.perf_counter()
        return cls(max(left, 0.0), began + max_seconds)


def limited_to(max_seconds: float | None) -> AbstractContextManager[None]:
    """Give up what takes longer inside the block, such as transformed data that loop for ever."""
    return limited(None if max_seconds is None else time.perf_counter() + max_seconds)
