"""The one builder of draws: from what a run made on a model to what everything after reads."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata

import numpy as np
from numpy.typing import NDArray

from stanrovi.draws import Draws
from stanrovi.stan.model import Model
from stanrovi.target import Array
from stanrovi.vi.facts import FitFacts


def record(
    model: Model,
    method: str,
    posterior: Mapping[str, Array],
    *,
    engine: str,
    seed: int,
    unconstrained: Array | None = None,
    sample_stats: Mapping[str, NDArray[np.generic]],
    attrs: Mapping[str, str | int | float],
    facts: FitFacts | None = None,
) -> Draws:
    """Make the draws of a run on a model.

    Parameters
    ----------
    model : Model
    method : str
    posterior : mapping of str to ndarray, shape (chain, draw, *shape)
        Constrained space.
    engine : str
        Who made them.
    seed : int
    unconstrained : ndarray, shape (chain, draw, dim), optional
    sample_stats : mapping of str to ndarray, shape (chain, draw)
    attrs : mapping
        Beyond library, model, method, engine, seed, and hashes of program and data.
    facts : FitFacts, optional
        Of a variational fit.

    Returns
    -------
    Draws
    """
    common: dict[str, str | int | float] = {
        "inference_library": "stanrovi",
        "inference_library_version": metadata.version("stanrovi"),
        "model": model.name,
        "method": method,
        "engine": engine,
        "seed": seed,
        **model.hashes,
    }
    return Draws(
        method=method,
        posterior=posterior,
        parameters=tuple(model.parameters),
        sample_stats=sample_stats,
        attrs=common | dict(attrs),
        unconstrained=unconstrained,
        facts=facts,
    )


def constrained(model: Model, x: Array, *, seed: int) -> dict[str, Array]:
    """Stan's variables (chain, draw, *shape) at unconstrained points x (chain, draw, dim).

    ``seed`` is that of random numbers in generated quantities.
    """
    values = model.constrain(x.reshape(-1, model.dim), seed=seed)
    return {
        name: np.asarray(v, dtype=np.float64).reshape(*x.shape[:2], *v.shape[1:])
        for name, v in values.items()
    }
