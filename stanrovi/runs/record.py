"""The one builder of draws: from what a run made on a model to what everything after reads."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata

import numpy as np
from numpy.typing import NDArray

from stanrovi.draws import Draws, Values
from stanrovi.errors import UsageError, few
from stanrovi.stan.model import Model
from stanrovi.target import Array
from stanrovi.vi.facts import FitFacts

_ENOUGH = 100  # draws of a chain; fewer are not worth the loss of the others


def record(
    model: Model,
    method: str,
    posterior: Mapping[str, Values],
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
        posterior=model.as_declared(posterior),
        parameters=tuple(model.parameters),
        sample_stats=sample_stats,
        attrs=common | dict(attrs),
        unconstrained=unconstrained,
        facts=facts,
        data=model.data,
    )


def is_of(model: Model, attrs: Mapping[str, str | int | float]) -> bool:
    """Whether draws with these attributes are of a model, program and data."""
    return all(attrs.get(name) == value for name, value in model.hashes.items())


def not_of(model: Model, attrs: Mapping[str, str | int | float]) -> UsageError:
    """Tell that draws are not of a model."""
    return UsageError(
        f"The run is not one of {model.name} with this program and data, but of "
        f"{attrs.get('model', 'another model')}; give the model of the run, with the same data."
    )


def constrained(model: Model, x: Array, *, seed: int) -> dict[str, Values]:
    """Stan's variables (chain, draw, *shape) at unconstrained points x (chain, draw, dim).

    ``seed`` is that of random numbers in generated quantities.
    """
    return _shaped(model.constrain(_flat(x), seed=seed), len(x))


def constrained_until(
    model: Model, x: Array, until: float | None, *, seed: int
) -> tuple[dict[str, Values], int, str]:
    """Stan's variables at unconstrained points, as far as the time allows.

    Parameters
    ----------
    model : Model
    x : ndarray, shape (chain, draw, dim)
    until : float or None
        Value of ``time.perf_counter()``; no limit if None.
    seed : int
        Of random numbers in generated quantities.

    Returns
    -------
    values : dict of str to ndarray, shape (chain, m, *shape)
    m : int
        Draws of each chain that are left. Where they would be too few all are, without what is
        computed from the parameters.
    note : str
        What the budget did not cover; empty where it covered all.
    """
    if until is None:
        return constrained(model, x, seed=seed), x.shape[1], ""
    done = model.constrain(_flat(x), seed=seed, until=until)
    chains, n = x.shape[:2]
    m = len(done[model.parameters[0]]) // chains
    values = _shaped({name: v[: m * chains] for name, v in done.items()}, chains)
    ended = "The budget ran out while transformed parameters and generated quantities were computed"
    if m == n:
        return values, n, ""
    if m >= _ENOUGH:
        return values, m, f"{ended}: {_told(chains, m)} of {_told(chains, n)} draws are left."
    whole = _shaped(model.constrain_parameters(_flat(x)), chains)
    lost = few([name for name in values if name not in whole])
    note = (
        f"{ended}: {lost} are left out, as {_told(chains, m)} of {_told(chains, n)} draws were "
        "done. Allow more seconds, or ask for fewer draws."
    )
    return whole, n, note


def _told(chains: int, draws: int) -> str:
    return f"{draws:,}" if chains == 1 else f"{chains} x {draws:,}"


def _flat(x: Array) -> Array:
    """First draws of all chains first, since what ends early has done the first."""
    return x.swapaxes(0, 1).reshape(-1, x.shape[2])


def _shaped(values: Mapping[str, Values], chains: int) -> dict[str, Values]:
    """Undo `_flat`."""
    return {
        name: np.ascontiguousarray(v.reshape(-1, chains, *v.shape[1:]).swapaxes(0, 1))
        for name, v in values.items()
    }
