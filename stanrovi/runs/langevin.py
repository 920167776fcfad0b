"""Langevin Monte Carlo on a Stan model."""

from __future__ import annotations

import numpy as np

from stanrovi.draws import Draws
from stanrovi.runs.record import constrained, record
from stanrovi.samplers.langevin import LangevinRun
from stanrovi.stan.model import Model


def langevin_draws(model: Model, run: LangevinRun, *, seed: int) -> Draws:
    """Draws of a Langevin run on a Stan model, ready for ArviZ.

    Parameters
    ----------
    model : Model
        The model whose target was sampled.
    run : LangevinRun
    seed : int
        Of the run, recorded.

    Returns
    -------
    Draws
        Method ``"lmc"`` or ``"mala"``; sample statistics ``lp``,
        ``acceptance_rate`` and ``step_size`` (the same for all draws of a chain).
    """
    shape = run.log_density.shape
    return record(
        model,
        run.method,
        constrained(model, run.draws, seed=seed),
        engine=model.engine,
        seed=seed,
        unconstrained=run.draws,
        sample_stats={
            "lp": run.log_density,
            "acceptance_rate": np.broadcast_to(run.acceptance[:, None], shape),
            "step_size": np.broadcast_to(run.step_size[:, None], shape),
        },
        attrs={"n_gradients": run.n_gradients, "n_rejections": run.n_rejections},
    )
