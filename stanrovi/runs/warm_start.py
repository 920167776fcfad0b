"""Starts and metric for NUTS from a fit."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stanrovi.arguments import checked_count
from stanrovi.draws import Draws
from stanrovi.errors import DrawsError
from stanrovi.io.files import usable_path, write_text
from stanrovi.io.folders import filled_folder
from stanrovi.modes.basins import Mode, basin_labels
from stanrovi.samplers.starts import chosen
from stanrovi.target import Array

# A dense metric of more dimensions costs more in every step than it saves, and needs more draws.
_MOST_DENSE = 500
_DRAWS_PER_DIMENSION = 4


@dataclass(frozen=True)
class WarmStart:
    """Where chains start, and what they move by.

    Attributes
    ----------
    unconstrained : ndarray, shape (chain, dim)
        Draws of the fit.
    inits : tuple of dict
        The same as Stan's parameters, constrained: one mapping for each chain.
    inv_metric : ndarray, shape (dim, dim) or (dim,)
        Covariance of the fit on unconstrained space, within its basins; variances where the
        dimension is too high for more.
    """

    unconstrained: Array
    inits: tuple[dict[str, Any], ...]
    inv_metric: Array


def warm_start(draws: Draws, chains: int, *, seed: int) -> WarmStart:
    """Take starts and metric from the draws of a fit.

    Parameters
    ----------
    draws : Draws
        Of a fit, as `stanrovi.fit` returns or `stanrovi.read_draws` reads them.
    chains : int
    seed : int
        Of the choice of starts.

    Returns
    -------
    WarmStart

    Raises
    ------
    DrawsError
        If the draws are not those of a fit, on unconstrained space.
    """
    if not draws.is_variational or draws.unconstrained is None:
        raise DrawsError(
            f"The draws of {draws.method} are not those of a fit on unconstrained space; give what "
            "stanrovi.fit returns, or the NetCDF file of `stanrovi fit --output`."
        )
    chains = checked_count("chains", chains, 1, 1000)
    x = draws.unconstrained.reshape(-1, draws.unconstrained.shape[2])
    ratios, rows = draws.log_ratios, draws.evaluated
    if ratios is None:  # evaluated nowhere: all draws are alike
        ratios, rows = np.zeros(len(x)), np.arange(len(x))
    rows = rows[chosen(ratios, chains, np.random.default_rng([seed, len(x)]))]
    inits = tuple(
        {name: draws.posterior[name][0, row].tolist() for name in draws.parameters} for row in rows
    )
    return WarmStart(x[rows], inits, _covariance(x, draws))


def write_warm_start(
    start: WarmStart, folder: str | os.PathLike[str], *, overwrite: bool = False
) -> tuple[Path, ...]:
    """Write ``init_1.json`` and so on, one a chain, and ``inv_metric.json``, as CmdStan reads them.

    Parameters
    ----------
    start : WarmStart
    folder : path-like
        New or empty.
    overwrite : bool
        Whether it may hold files, and those be replaced.

    Returns
    -------
    tuple of Path
        The metric last.

    Raises
    ------
    OutputError
        If a file exists or cannot be written.
    """
    files: dict[str, Mapping[str, Any]] = {
        f"init_{chain}.json": values for chain, values in enumerate(start.inits, 1)
    }
    files["inv_metric.json"] = {"inv_metric": start.inv_metric.tolist()}
    where = usable_path(folder)
    with filled_folder(where, overwrite=overwrite, names=files, listed=False) as place:
        for name, values in files.items():
            write_text(place / name, json.dumps(values) + "\n")
    return tuple(where / name for name in files)


def _covariance(x: Array, draws: Draws) -> Array:
    modes = [m for m in draws.facts.modes if isinstance(m, Mode)] if draws.facts else []
    centred = x - x.mean(axis=0)
    if len(modes) > 1:
        labels = basin_labels(modes, x)
        centre = [
            x[labels == k].mean(axis=0) if (labels == k).any() else x[0] for k in range(len(modes))
        ]
        centred = x - np.stack(centre)[labels]
    n, dim = centred.shape
    if dim > _MOST_DENSE or n < _DRAWS_PER_DIMENSION * dim:
        return np.asarray((centred**2).mean(axis=0))
    return np.asarray(centred.T @ centred / n)
