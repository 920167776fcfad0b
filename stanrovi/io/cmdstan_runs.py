"""Runs of cmdstanpy as groups of draws, without importing it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from stanrovi.draws import SAMPLER_COLUMNS
from stanrovi.io.generations import SAMPLE_DIMS

if TYPE_CHECKING:
    import xarray as xr


def groups_of_cmdstan(run: Any) -> tuple[dict[str, xr.Dataset], dict[str, Any]]:
    """Take the draws of a run of NUTS.

    Parameters
    ----------
    run : cmdstanpy.CmdStanMCMC

    Returns
    -------
    groups : dict of str to xarray.Dataset
        ``posterior``, and ``sample_stats`` under ArviZ's names.
    attrs : dict
        Model, method, engine, seed, gradients (with warm-up where it was saved), divergences.
    """
    import xarray as xr

    told = run.metadata.cmdstan_config
    sampler = {name: np.swapaxes(x, 0, 1) for name, x in run.method_variables().items()}
    posterior = run.draws_xr()
    for name, variable in posterior.data_vars.items():
        if variable.dtype.kind == "c":  # real and imaginary parts along a last axis
            parts = [variable.real, variable.imag]
            posterior[name] = xr.concat(parts, f"{name}_part").transpose(*SAMPLE_DIMS, ...)
    skip = next(iter(sampler.values())).shape[1] - posterior.sizes["draw"]  # saved warm-up
    stats = {
        name: (SAMPLE_DIMS, sampler[column][:, skip:].astype(kind))
        for column, (name, kind) in SAMPLER_COLUMNS.items()
        if column in sampler
    }
    attrs = {
        "model": str(told.get("model", "")).removesuffix("_model"),
        "method": "nuts" if "divergent__" in sampler else str(told.get("method", "")),
        "engine": "cmdstan",
        "seed": int(told.get("seed", 0)),
    }
    if "divergent__" in sampler:
        attrs["n_gradients"] = int(sampler["n_leapfrog__"].sum())
        attrs["n_gradients_include_warmup"] = int(skip > 0)
        attrs["divergences"] = int(sampler["divergent__"][:, skip:].sum())
    posterior.attrs = {}
    return {"posterior": posterior, "sample_stats": xr.Dataset(stats)}, attrs
