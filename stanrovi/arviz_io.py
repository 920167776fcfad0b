"""Draws as ArviZ's containers and NetCDF files; the one module that imports ArviZ.

There are two of it: ArviZ 0.23 (Python 3.11) and ArviZ 1.x (Python >= 3.12) differ in
their container (``InferenceData`` or ``xarray.DataTree``) and in the signatures of their
plots and statistics (`stanrovi.forest_plot`, `stanrovi.draw_stats`). Both read each
other's NetCDF files. ArviZ and xarray are imported inside the functions, so that
importing stanrovi stays light.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stanrovi.draws import Draws, Run, as_draws
from stanrovi.files import atomic_path
from stanrovi.netcdf import PARAMETERS_ATTR, SAMPLE_DIMS, UNCONSTRAINED_GROUP, netcdf_scalar

if TYPE_CHECKING:
    import xarray as xr


def import_arviz() -> Any:
    """Import ArviZ; untyped, for the two generations differ in their signatures."""
    import arviz

    return arviz


def is_legacy() -> bool:
    """Whether the installed ArviZ is of the 0.x generation."""
    return metadata.version("arviz").startswith("0.")


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
        ``unconstrained``) and ``observed_data``. The attributes of ``draws``
        stand on the container.

    Raises
    ------
    UsageError
        ``draws`` carries none.
    """
    draws = as_draws(draws)
    if not is_legacy():
        return _tree(draws, observed_data)
    az = import_arviz()
    return az.InferenceData(attrs=_container_attrs(draws), **_groups(draws, observed_data))


def _tree(draws: Draws, observed_data: Mapping[str, Any] | None) -> xr.DataTree:
    import xarray as xr

    tree = xr.DataTree.from_dict(_groups(draws, observed_data))
    tree.attrs.update(_container_attrs(draws))
    return tree


def _groups(draws: Draws, observed_data: Mapping[str, Any] | None) -> dict[str, xr.Dataset]:
    groups = {"posterior": dataset(draws.posterior)}
    if draws.sample_stats:
        groups["sample_stats"] = dataset(draws.sample_stats)
    if draws.unconstrained is not None:
        groups[UNCONSTRAINED_GROUP] = dataset({"unconstrained": draws.unconstrained})
    if observed_data:
        groups["observed_data"] = dataset(observed_data, sample_dims=())
    return groups


def write_netcdf(
    draws: Run,
    path: str | os.PathLike[str],
    *,
    observed_data: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write draws to a NetCDF file that both generations of ArviZ read.

    Parameters
    ----------
    draws : Draws, Fit or NutsRun
        Draws, or a run that carries them.
    path : path-like
        Destination.
    observed_data : mapping of str to array, optional
        See `to_arviz`.
    overwrite : bool
        Whether an existing file may be replaced.

    Returns
    -------
    Path
        ``path``.

    Raises
    ------
    UsageError
        ``draws`` carries none.
    OutputError
        The path exists or cannot be written.
    """
    draws = as_draws(draws)
    with atomic_path(path, overwrite=overwrite) as temporary:
        # By way of memory: a disk that fills up would crash the HDF5 library, and Python with it.
        content = io.BytesIO()
        tree = _tree(draws, observed_data)
        packed = {
            node.path: {name: {"zlib": True} for name in node.data_vars} for node in tree.leaves
        }
        tree.to_netcdf(content, engine="h5netcdf", encoding=packed)
        temporary.write_bytes(content.getvalue())
    return Path(path)


def dataset(
    variables: Mapping[str, Any], *, sample_dims: tuple[str, ...] = SAMPLE_DIMS
) -> xr.Dataset:
    """Name the dimensions as ArviZ does, counting from its own index origin.

    Parameters
    ----------
    variables : mapping of str to array, shape (*sample_dims, *shape)
    sample_dims : tuple of str
        Names of the leading dimensions.

    Returns
    -------
    xarray.Dataset
    """
    az = import_arviz()
    import xarray as xr

    origin = int(az.rcParams["data.index_origin"])
    arrays, coords = {}, {}
    for name, raw in variables.items():
        values = np.asarray(raw)
        axes = [f"{name}_dim_{i}" for i in range(values.ndim - len(sample_dims))]
        dims = (*sample_dims, *axes)
        arrays[name] = (dims, values)
        for dim, size in zip(dims, values.shape, strict=True):
            start = 0 if dim in sample_dims else origin
            coords[dim] = np.arange(start, start + size)
    return xr.Dataset(arrays, coords=coords)


def _container_attrs(draws: Draws) -> dict[str, str | int | float]:
    attrs: dict[str, Any] = {
        "inference_library": "stanrovi",
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "creation_library": "ArviZ",
        "creation_library_version": metadata.version("arviz"),
        **draws.attrs,
        "method": draws.method,
        PARAMETERS_ATTR: json.dumps(list(draws.parameters)),
    }
    return {key: netcdf_scalar(value) for key, value in attrs.items()}
