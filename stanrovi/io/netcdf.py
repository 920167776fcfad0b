"""Draws in NetCDF files, which both generations of ArviZ read."""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stanrovi.draws import Draws, Run, as_draws
from stanrovi.environment import environment
from stanrovi.errors import DrawsError, UsageError
from stanrovi.io.arviz import as_groups, as_tree, from_arviz
from stanrovi.io.files import atomic_path, usable_path
from stanrovi.io.groups import Names, ObservedData
from stanrovi.io.json_values import MOST_JSON
from stanrovi.io.posteriordb import read_posteriordb
from stanrovi.io.reading import other_format, read_bytes, regular_size

if TYPE_CHECKING:
    import h5py
    import xarray as xr

_PACKED = 1032  # bytes that deflate makes of one, at most
_HARMLESS = 2**26  # bytes
_MOST_GROUPS = 100  # ArviZ knows a dozen


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
        _load_h5py()
        tree.to_netcdf(content, engine="h5netcdf", encoding=packed or None)
        temporary.write_bytes(content.getvalue())
    return Path(path)


@cache
def _load_h5py() -> Any:
    """Load HDF5 without the drivers that variables name for another build of it: it would crash."""
    with environment({"HDF5_DRIVER": None, "HDF5_VOL_CONNECTOR": None}):
        import h5py
    return h5py


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
            content = io.BytesIO(_bytes(source))
            _require_contents(content)
            with xr.open_datatree(content, engine="h5netcdf") as tree:
                return tree.load()
    except (UsageError, DrawsError, MemoryError):
        raise
    except Exception as error:  # whatever h5py, h5netcdf and xarray raise for a foreign file
        raise DrawsError(
            f"{path} cannot be read as NetCDF ({type(error).__name__}: {error}); "
            "give a file written by `stanrovi fit`, `stanrovi nuts` or ArviZ's to_netcdf."
        ) from error


def _bytes(source: Path) -> bytes:
    h5py = _load_h5py()
    size = regular_size(source)
    if size is not None and size > _HARMLESS and not h5py.is_hdf5(source):
        with source.open("rb") as file:
            _require_known(source, file.read(16))
        raise ValueError("it does not begin as files of NetCDF 4 do")
    content = read_bytes(source, most=sys.maxsize if size is not None else MOST_JSON)
    _require_known(source, content)
    return content


def _require_known(source: Path, content: bytes) -> None:
    if told := other_format(content):
        raise DrawsError(
            f"{source} {told} (draws are read from NetCDF 4, CmdStan's CSV and posteriordb's JSON)."
        )


def _require_contents(content: io.BytesIO) -> None:
    """Refuse variables that are larger than what a file of this size can hold, and endless groups.

    HDF5 declares a size and fills what is not there: a small file could ask for all of the memory.
    """
    h5py = _load_h5py()
    sizes: list[int] = []
    with h5py.File(content, "r") as file:
        _require_end(file)
        file.visititems(lambda _, item: sizes.append(getattr(item, "nbytes", 0)))
    declared = sum(sizes)
    if declared > max(_PACKED * content.getbuffer().nbytes, _HARMLESS):
        raise ValueError(f"it declares {declared:,} bytes, which it does not hold")


def _require_end(file: h5py.File) -> None:
    """Refuse groups that lie in each other, or are in so many places that they have no end."""
    h5py = _load_h5py()
    found: list[Any] = [file]
    for group in found:
        found += [group[name] for name in group if group.get(name, getclass=True) is h5py.Group]
        if len(found) > _MOST_GROUPS:
            raise ValueError(f"it has more than {_MOST_GROUPS} groups, or some lie in each other")
