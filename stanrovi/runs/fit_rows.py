"""Many fits: models by methods by seeds, none lost to another's failure."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from stanrovi.errors import DataError, ModelError, StanroviError
from stanrovi.methods import Method
from stanrovi.runs.fitted import Fit
from stanrovi.stan.locate import locate
from stanrovi.stan.model import Model

Fitter = Callable[[Model, Method, int], Fit]


@dataclass(frozen=True)
class FitRow:
    """One fit of many, in numbers; None for what a failed one does not tell.

    Attributes
    ----------
    model, method : str
    seed : int
    dim : int or None
    engine, status, verdict : str or None
    elbo, elbo_se, khat, seconds : float or None
    n_gradients : int or None
    error : str or None
        Why there is no fit.
    """

    model: str
    dim: int | None
    engine: str | None
    method: Method
    seed: int
    status: str | None = None
    elbo: float | None = None
    elbo_se: float | None = None
    khat: float | None = None
    n_gradients: int | None = None
    seconds: float | None = None
    verdict: str | None = None
    error: str | None = None


def fit_many(
    models: Sequence[str],
    methods: Sequence[Method],
    seeds: Sequence[int],
    fitter: Fitter,
    include_paths: Sequence[str | os.PathLike[str]] = (),
) -> Iterator[FitRow]:
    """Fit every model by every method with every seed.

    Parameters
    ----------
    models : sequence of str
        Names of bundled models, or of files, whose data stand beside them; see
        `stanrovi.Model`.
    methods : sequence of str
    seeds : sequence of int
        Of the fits, and of random transformed data.
    fitter : callable
        Takes a model, a method and a seed to a fit.
    include_paths : sequence of path
        Folders searched for ``#include``.

    Yields
    ------
    FitRow
        One for each fit, failed or not.

    Raises
    ------
    UsageError
        For a model that is not there, before the first fit.
    """
    for model in models:
        with suppress(ModelError, DataError):  # becomes the error of its rows
            locate(model, include_paths)
    for name, method, seed in product(models, methods, seeds):
        yield _row(name, method, seed, fitter, include_paths)


def _row(
    name: str,
    method: Method,
    seed: int,
    fitter: Fitter,
    include_paths: Sequence[str | os.PathLike[str]],
) -> FitRow:
    model: Model | None = None
    try:
        model = Model(name, include_paths=include_paths, seed=seed)
        result = fitter(model, method, seed).result
    except StanroviError as error:
        if model is None:
            return FitRow(Path(name).stem, None, None, method, seed, error=str(error))
        return FitRow(model.name, model.dim, model.engine, method, seed, error=str(error))
    return FitRow(
        model=model.name,
        dim=model.dim,
        engine=model.engine,
        method=method,
        seed=seed,
        status=result.status,
        elbo=result.elbo,
        elbo_se=result.elbo_se,
        khat=result.khat,
        n_gradients=result.n_gradients,
        seconds=result.seconds,
        verdict=result.verdict.name,
    )
