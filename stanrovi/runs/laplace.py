"""Laplace's approximation: the Gaussian of the heaviest mode."""

from __future__ import annotations

import time

import numpy as np

from stanrovi.arguments import checked_count, checked_seed
from stanrovi.draws import Draws
from stanrovi.errors import DensityError
from stanrovi.given import Guarded
from stanrovi.modes.search import search_modes
from stanrovi.runs.record import constrained, record
from stanrovi.stan.model import Model
from stanrovi.target import Target
from stanrovi.vi.start import laplace

_EVALUATED = 1000  # draws that tell k-hat


def laplace_draws(model: Model, *, seed: int, draws: int = 4000) -> Draws:
    """Draw from Laplace's approximation on unconstrained space.

    Parameters
    ----------
    model : Model
    seed : int
        Of the mode search and the draws.
    draws : int

    Returns
    -------
    Draws
        Method ``"laplace"``, with log_q, and lp at the first 1,000; one chain of independent
        draws.

    Raises
    ------
    UsageError
        For a seed or a number of draws that is none.
    DensityError
        If the density is finite nowhere, or has no proper mode.
    """
    seed, draws = checked_seed(seed), checked_count("draws", draws, 1)
    began = time.perf_counter()
    target = Target(Guarded(model))
    searching, sampling = np.random.default_rng(seed).spawn(2)
    search = search_modes(target, searching)
    if not search.modes:
        raise DensityError(
            f"Laplace's approximation needs a mode, and none of {search.n_starts} climbs on "
            f"{model.name} ended at one; use a variational fit or NUTS."
        )
    family = laplace(search.modes[0])
    x = family.sample(draws, sampling)
    lp = np.full(draws, np.nan)
    lp[:_EVALUATED], _ = target.log_density_gradient(x[:_EVALUATED])
    seconds, n_gradients = time.perf_counter() - began, target.n_gradients
    return record(
        model,
        "laplace",
        constrained(model, x[None], seed=seed),
        engine=model.engine,
        seed=seed,
        unconstrained=x[None],
        sample_stats={"lp": lp[None], "log_q": family.log_density(x)[None]},
        attrs={"n_gradients": n_gradients, "seconds": seconds},
    )
