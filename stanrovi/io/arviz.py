"""Draws as ArviZ's containers, and back from them, whichever program made them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from stanrovi.draws import Draws, Run, as_draws, require_finite
from stanrovi.errors import DrawsError
from stanrovi.io import notes
from stanrovi.io.generations import SAMPLE_DIMS, dataset, import_arviz, is_legacy
from stanrovi.target import Array

if TYPE_CHECKING:
    import xarray as xr

_log = logging.getLogger(__name__)

# ArviZ's own name for draws on unconstrained space; ours is one flat vector.
UNCONSTRAINED_GROUP = "unconstrained_posterior"


def to_arviz(draws: Run, observed_data: Mapping[str, Any] | None = None) -> Any:
    """Convert draws to ArviZ's container.

    Parameters
    ----------
    draws : Draws, Fit or NutsRun
        Draws, or a run that carries them.
    observed_data : mapping of str to array, optional
        Data to store beside them, under their Stan names.

    Returns
    -------
    arviz.InferenceData or xarray.DataTree
        Whichever the installed ArviZ works on, with groups ``posterior`` and,
        where known, ``sample_stats``, ``unconstrained_posterior`` (one vector
        ``unconstrained``), ``fit`` (axes of a fit, and of the modes it knows) and
        ``observed_data``. The attributes of ``draws`` stand on the container.

    Raises
    ------
    UsageError
        ``draws`` carries none.
    """
    draws = as_draws(draws)
    if not is_legacy():
        return as_tree(draws, observed_data)
    az = import_arviz()
    return az.InferenceData(attrs=_container_attrs(draws), **_groups(draws, observed_data))


def as_tree(draws: Draws, observed_data: Mapping[str, Any] | None = None) -> xr.DataTree:
    """Convert draws to xarray's tree, whichever ArviZ is installed; see `to_arviz`."""
    import xarray as xr

    tree = xr.DataTree.from_dict(_groups(draws, observed_data))
    tree.attrs.update(_container_attrs(draws))
    return tree


def _groups(draws: Draws, observed_data: Mapping[str, Any] | None) -> dict[str, xr.Dataset]:
    import xarray as xr

    groups = {"posterior": dataset(draws.posterior)}
    if draws.sample_stats:
        groups["sample_stats"] = dataset(draws.sample_stats)
    if draws.unconstrained is not None:
        groups[UNCONSTRAINED_GROUP] = dataset({"unconstrained": draws.unconstrained})
    if draws.facts is not None and (arrays := notes.arrays(draws.facts)):
        groups[notes.GROUP] = xr.Dataset(arrays)
    if observed_data:
        groups["observed_data"] = dataset(observed_data, sample_dims=())
    return groups


def _container_attrs(draws: Draws) -> dict[str, str | int | float]:
    from importlib import metadata

    attrs: dict[str, Any] = {
        "inference_library": "stanrovi",
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "creation_library": "ArviZ",
        "creation_library_version": metadata.version("arviz"),
        **draws.attrs,
        "method": draws.method,
        **notes.text(draws),
    }
    return {key: netcdf_scalar(value) for key, value in attrs.items()}


def from_arviz(data: Any, *, method: str | None = None, source: str = "The ArviZ data") -> Draws:
    """Convert ArviZ's container to draws.

    Parameters
    ----------
    data : arviz.InferenceData or xarray.DataTree
        Either container, from any sampler.
    method : str, optional
        Name of the method where the container's attributes do not give one.
    source : str
        What messages call the data.

    Returns
    -------
    Draws

    Raises
    ------
    DrawsError
        No posterior group, no chain and draw dimensions, or NaN draws.
    """
    groups = _groups_of(data)
    if "posterior" not in groups:
        found = ", ".join(sorted(groups)) or "none"
        raise DrawsError(
            f"{source} has no posterior group (groups found: {found}); "
            "give the file of a fit or a NUTS run."
        )
    posterior = _arrays(groups["posterior"], source)
    if not posterior:
        raise DrawsError(f"{source} has no numeric variables in its posterior group.")
    stats = _arrays(groups["sample_stats"], source) if "sample_stats" in groups else {}
    stored = {
        str(name): variable.values.astype(np.float64)
        for name, variable in (groups[notes.GROUP].items() if notes.GROUP in groups else ())
        if variable.dtype.kind in "fiu"
    }
    told, attrs = notes.read({**groups["posterior"].attrs, **data.attrs}, stored)
    parameters = told.parameters or tuple(posterior)
    if missing := [name for name in parameters if name not in posterior]:
        raise DrawsError(f"{source} has no draws of parameter {', '.join(missing)}.")
    require_finite(posterior, parameters, DrawsError, source)
    unconstrained = None
    if UNCONSTRAINED_GROUP in groups and "unconstrained" in groups[UNCONSTRAINED_GROUP]:
        unconstrained = _arrays(groups[UNCONSTRAINED_GROUP], source)["unconstrained"]
    return Draws(
        method=str(attrs.get("method") or method or _guess_method(stats)),
        posterior=posterior,
        parameters=parameters,
        sample_stats=stats,
        attrs={key: netcdf_scalar(value) for key, value in attrs.items() if _is_scalar(value)},
        unconstrained=unconstrained,
        facts=told.facts,
    )


def _groups_of(data: Any) -> dict[str, xr.Dataset]:
    if hasattr(data, "children"):
        return {name: node.to_dataset() for name, node in data.children.items()}
    return {name: data[name] for name in data.groups()}


def _arrays(dataset: xr.Dataset, source: str) -> dict[str, Array]:
    """Numeric variables as float64 arrays of shape (chain, draw, *shape)."""
    out = {}
    for name, variable in dataset.data_vars.items():
        if variable.dtype.kind not in "fiub":
            _log.debug("%s: variable %s is not numeric, left out", source, name)
            continue
        if not set(SAMPLE_DIMS) <= set(variable.dims):
            raise DrawsError(
                f"{source}: variable {name} has dimensions {tuple(map(str, variable.dims))}, "
                "but draws need chain and draw; give the file of a fit or a NUTS run."
            )
        values = variable.transpose(*SAMPLE_DIMS, ...).values
        out[str(name)] = values.astype(np.float64)
    return out


def _guess_method(stats: Mapping[str, Array]) -> str:
    return "vi" if "log_q" in stats else "nuts"


def _is_scalar(value: Any) -> bool:
    return isinstance(value, (str, bool, int, float, np.generic)) or (
        isinstance(value, np.ndarray) and value.ndim == 0
    )


def netcdf_scalar(value: Any) -> str | int | float:
    """Convert to a plain Python scalar; NetCDF has no booleans."""
    plain = value.item() if isinstance(value, (np.generic, np.ndarray)) else value
    return int(plain) if isinstance(plain, bool) else plain
