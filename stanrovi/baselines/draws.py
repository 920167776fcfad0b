"""From a baseline's unconstrained draws to what every comparison works on."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata

import numpy as np
from numpy.typing import NDArray

from stanrovi.baselines.langevin import LangevinRun
from stanrovi.draws import Draws
from stanrovi.stan import Model
from stanrovi.target import Array

Attrs = Mapping[str, str | int | float]


def constrained_draws(
    model: Model,
    method: str,
    x: Array,
    *,
    seed: int,
    sample_stats: Mapping[str, NDArray[np.generic]],
    attrs: Attrs,
) -> Draws:
    """Constrained draws at unconstrained points.

    Parameters
    ----------
    model : Model
    method : str
    x : ndarray, shape (chain, draw, dim)
        Unconstrained space.
    seed : int
        Of the method; also of random numbers in generated quantities.
    sample_stats : mapping of str to ndarray, shape (chain, draw)
    attrs : mapping
        Beyond model, method, engine and seed.

    Returns
    -------
    Draws
    """
    lead = x.shape[:2]
    values = model.constrain(x.reshape(-1, model.dim), seed=seed)
    return Draws(
        method=method,
        posterior={name: v.reshape(*lead, *v.shape[1:]) for name, v in values.items()},
        parameters=model.parameters,
        sample_stats=sample_stats,
        attrs=common_attrs(model, method, model.engine, seed) | dict(attrs),
        unconstrained=x,
    )


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
    return constrained_draws(
        model,
        run.method,
        run.draws,
        seed=seed,
        sample_stats={
            "lp": run.log_density,
            "acceptance_rate": np.broadcast_to(run.acceptance[:, None], shape),
            "step_size": np.broadcast_to(run.step_size[:, None], shape),
        },
        attrs={"n_gradients": run.n_gradients, "n_rejections": run.n_rejections},
    )


def common_attrs(model: Model, method: str, engine: str, seed: int) -> dict[str, str | int | float]:
    """Attributes that every baseline carries."""
    return {
        "inference_library": "stanrovi",
        "inference_library_version": metadata.version("stanrovi"),
        "model": model.name,
        "method": method,
        "engine": engine,
        "seed": seed,
    }
