"""Draws in NetCDF files, which both generations of ArviZ read."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stanrovi.draws import Draws, Run, as_draws
from stanrovi.errors import DrawsError
from stanrovi.io.arviz import as_groups, as_tree, from_arviz
from stanrovi.io.files import atomic_path, usable_path
from stanrovi.io.groups import Names, ObservedData
from stanrovi.io.posteriordb import read_posteriordb

if TYPE_CHECKING:
    import xarray as xr

_PACKED = 1032  # bytes that deflate makes of one, at most
_HARMLESS = 2**26  # bytes


def write_netcdf(
    draws: Run,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    observed_data: ObservedData | None = None,
    log_likelihood: Names | None = None,
    posterior_predictive: Names | None = None,
    coords: Mapping[str, Any] | None = None,
    dims: Mapping[str, str | Sequence[str]] | None = None,
) -> Path:
    """Write draws to a NetCDF file that both generations of ArviZ read.

    Parameters
    ----------
    draws : Draws, Fit or NutsRun
        Draws, or a run that carries them.
    path : path-like
        Destination.
    overwrite : bool
        Whether an existing file may be replaced.
    observed_data, log_likelihood, posterior_predictive, coords, dims : optional
        See `to_arviz`.

    Returns
    -------
    Path
        ``path``.

    Raises
    ------
    UsageError
        ``draws`` carries none, or a name is unknown or a length wrong.
    OutputError
        The path exists or cannot be written.
    """
    draws = as_draws(draws)
    groups = as_groups(
        draws,
        observed_data=observed_data,
        log_likelihood=log_likelihood,
        posterior_predictive=posterior_predictive,
        coords=coords,
        dims=dims,
    )
    return write_tree(as_tree(draws, groups), path, overwrite=overwrite)


def write_tree(tree: xr.DataTree, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write a tree of draws; see `write_netcdf`."""
    with atomic_path(path, overwrite=overwrite) as temporary:
        # By way of memory: a disk that fills up would crash the HDF5 library, and Python with it.
        content = io.BytesIO()
        # Draws are digits that nothing makes shorter; integers, counts of a sampler, text are not.
        packed: dict[str, dict[str, Any]] = {}
        for group in tree.subtree:
            for name, variable in group.data_vars.items():
                if group.name == "sample_stats" or variable.dtype.kind in "iub":
                    packed.setdefault(group.path, {})[str(name)] = {"zlib": True, "complevel": 1}
        tree.to_netcdf(content, engine="h5netcdf", encoding=packed or None)
        temporary.write_bytes(content.getvalue())
    return Path(path)


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
    source = usable_path(path)
    if source.name.endswith((".json.zip", ".json")) and source.is_file():
        return read_posteriordb(source)
    return from_arviz(read_tree(path), source=str(path))


def read_tree(path: str | os.PathLike[str]) -> xr.DataTree:
    """Read the groups of a NetCDF file; see `read_draws`."""
    import xarray as xr

    source = usable_path(path)
    if source.is_dir():
        raise DrawsError(f"{path} is a folder; name a NetCDF file of draws inside it.")
    if not source.exists():
        raise DrawsError(f"There is no file {path}; check the path.")
    try:
        with warnings.catch_warnings():
            # A foreign file that xarray warns about is refused below, or reads well.
            warnings.simplefilter("ignore")
            # From memory: xarray keeps files open that it could not read, and would read them
            # again when another file stands under the name.
            content = io.BytesIO(source.read_bytes())
            _require_contents(content)
            with xr.open_datatree(content, engine="h5netcdf") as tree:
                return tree.load()
    except Exception as error:  # whatever h5py, h5netcdf and xarray raise for a foreign file
        raise DrawsError(
            f"{path} cannot be read as NetCDF ({type(error).__name__}: {error}); "
            "give a file written by `stanrovi fit`, `stanrovi nuts` or ArviZ's to_netcdf."
        ) from error


def _require_contents(content: io.BytesIO) -> None:
    """Refuse variables that are larger than what a file of this size can hold.

    HDF5 declares a size and fills what is not there: a small file could ask for all of the memory.
    """
    import h5py

    sizes: list[int] = []
    with h5py.File(content, "r") as file:
        file.visititems(lambda _, item: sizes.append(getattr(item, "nbytes", 0)))
    declared = sum(sizes)
    if declared > max(_PACKED * content.getbuffer().nbytes, _HARMLESS):
        raise ValueError(f"it declares {declared:,} bytes, which it does not hold")
