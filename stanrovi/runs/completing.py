"""Log densities of a fit's draws, where the fit itself did not need them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from stanrovi.draws import Draws
from stanrovi.given import Guarded
from stanrovi.runs.guard import guarded
from stanrovi.runs.record import is_of, not_of
from stanrovi.stan.model import Model
from stanrovi.target import Clock, Target
from stanrovi.waiting import within


def completed(draws: Draws, model: Model, max_seconds: float | None = None) -> tuple[Draws, int]:
    """Evaluate the log density of a fit's draws where it is not known.

    Parameters
    ----------
    draws : Draws
    model : Model
        That of the fit.
    max_seconds : float, optional

    Returns
    -------
    draws : Draws
        With ``lp`` filled in, as far as the time suffices.
    n_gradients : int
        Evaluated for that.

    Raises
    ------
    UsageError
        For another model.
    """
    if not is_of(model, draws.attrs):
        raise not_of(model, draws.attrs)
    if not draws.is_variational or "lp" not in draws.sample_stats or draws.unconstrained is None:
        return draws, 0
    lp = np.array(draws.sample_stats["lp"], dtype=np.float64)
    missing = np.flatnonzero(np.isnan(lp.ravel()))
    clock = None if max_seconds is None else Clock(max_seconds, within)
    target = Target(Guarded(model), clock=clock)
    x = draws.unconstrained.reshape(-1, model.dim)[missing]
    value, _ = guarded(model, lambda: target.leading(x, 0))
    lp.ravel()[missing[: len(value)]] = value
    return replace(draws, sample_stats={**draws.sample_stats, "lp": lp}), target.n_gradients
