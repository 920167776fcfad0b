"""Reading draws from NetCDF files and ArviZ containers, whichever program wrote them.

Needs xarray only, so files of both generations of ArviZ read alike.
"""

from __future__ import annotations

import io
import logging
import os
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from stanrovi.draws import Draws, require_finite
from stanrovi.errors import DrawsError
from stanrovi.files import usable_path
from stanrovi.json_values import json_attribute
from stanrovi.posteriordb import read_posteriordb
from stanrovi.target import Array

if TYPE_CHECKING:
    import xarray as xr

_log = logging.getLogger(__name__)

# ArviZ's own name for draws on unconstrained space; ours is one flat vector.
UNCONSTRAINED_GROUP = "unconstrained_posterior"
# The attribute that keeps which variables are parameters, as JSON.
PARAMETERS_ATTR = "parameters"
SAMPLE_DIMS = ("chain", "draw")


def read_draws(path: str | os.PathLike[str]) -> Draws:
    """Read draws from a NetCDF file, or from posteriordb's reference draws.

    Parameters
    ----------
    path : path-like
        A NetCDF file of stanrovi, ArviZ, cmdstanpy, PyMC ..., or a
        ``NAME.json.zip`` of posteriordb's reference draws.

    Returns
    -------
    Draws
        In a file that does not say which variables are parameters, all are.

    Raises
    ------
    UsageError
        The path cannot be looked up.
    DrawsError
        The file is missing, no NetCDF, without a posterior group, or its
        parameters hold NaN or infinite draws.
    """
    import xarray as xr

    source = usable_path(path)
    if source.is_dir():
        raise DrawsError(f"{path} is a folder; name a NetCDF file of draws inside it.")
    if not source.exists():
        raise DrawsError(f"There is no file {path}; check the path.")
    if source.name.endswith((".json.zip", ".json")):
        return read_posteriordb(source)
    try:
        with warnings.catch_warnings():
            # A foreign file that xarray warns about is refused below, or reads well.
            warnings.simplefilter("ignore")
            # From memory: xarray keeps files open that it could not read, and would read them
            # again when another file stands under the name.
            content = io.BytesIO(source.read_bytes())
            with xr.open_datatree(content, engine="h5netcdf") as tree:
                tree = tree.load()
    except Exception as error:  # whatever h5py, h5netcdf and xarray raise for a foreign file
        raise DrawsError(
            f"{path} cannot be read as NetCDF ({type(error).__name__}: {error}); "
            "give a file written by `stanrovi fit`, `stanrovi nuts` or ArviZ's to_netcdf."
        ) from error
    return from_arviz(tree, source=str(path))


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
    groups = _groups(data)
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
    attrs = {**groups["posterior"].attrs, **data.attrs}
    parameters = json_attribute(attrs, PARAMETERS_ATTR, _names) or tuple(posterior)
    attrs.pop(PARAMETERS_ATTR, None)
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
    )


def _groups(data: Any) -> dict[str, xr.Dataset]:
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


def _names(stored: Any) -> tuple[str, ...]:
    if not isinstance(stored, list) or not all(isinstance(name, str) for name in stored):
        raise TypeError("no list of names")
    return tuple(stored)


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
