"""ArviZ in its two generations; the one module that imports it for everybody else.

ArviZ 0.23 (Python 3.11) and ArviZ 1.x (Python >= 3.12) differ in their container
(``InferenceData`` or ``xarray.DataTree``) and in the signatures of their
statistics (`stanrovi.diagnostics.statistics`). Both read each
other's NetCDF files. ArviZ and xarray are imported inside the functions, so that
importing stanrovi stays light.
"""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stanrovi.environment import environment
from stanrovi.errors import UsageError

if TYPE_CHECKING:
    import xarray as xr

SAMPLE_DIMS = ("chain", "draw")


@cache  # filters of warnings are the whole process's: they are touched once
def import_arviz() -> Any:
    """Import ArviZ; untyped, for the two generations differ in their signatures.

    Raises
    ------
    UsageError
        If it cannot be imported.
    """
    with warnings.catch_warnings():
        # Once a day the older one tells of the newer, whoever imports it.
        warnings.simplefilter("ignore", FutureWarning)
        try:
            return _arviz()
        except Exception:
            pass
        try:
            with _folders_lent():
                return _arviz()
        except Exception as error:  # whatever its packages raise at import
            raise UsageError(
                f"ArviZ cannot be imported ({type(error).__name__}: {error}). Install it anew, or "
                "look at its settings (arvizrc) and its folders (XDG_CACHE_HOME, TMPDIR)."
            ) from error


def _arviz() -> Any:
    import arviz

    return arviz


@contextmanager
def _folders_lent() -> Iterator[None]:
    """Lend a folder in place of those that ArviZ wants when it is imported.

    The older one writes the day into a folder of caches, which may be read-only or full; both look
    for settings in the home and the working folder, which may not be there.
    """
    names = ("XDG_CACHE_HOME", *([] if _has_home() else ["HOME"]))
    with tempfile.TemporaryDirectory(prefix="stanrovi-") as folder:
        place = None if _has_working_folder() else os.open(os.curdir, os.O_RDONLY)
        try:
            if place is not None:
                os.chdir(folder)
            with environment(dict.fromkeys(names, folder)):
                yield
        finally:
            if place is not None:
                os.fchdir(place)
                os.close(place)


def _has_home() -> bool:
    try:
        Path.home()
    except RuntimeError:  # no HOME, and a user of whom the system knows none
        return False
    return True


def _has_working_folder() -> bool:
    try:
        Path.cwd()
    except OSError:
        return False
    return True


def is_legacy() -> bool:
    """Whether the installed ArviZ is of the 0.x generation."""
    from importlib import metadata

    return metadata.version("arviz").startswith("0.")


def dataset(
    variables: Mapping[str, Any],
    *,
    sample_dims: tuple[str, ...] = SAMPLE_DIMS,
    dims: Mapping[str, Sequence[str]] | None = None,
    coords: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Name the dimensions as ArviZ does, counting from its own index origin.

    Parameters
    ----------
    variables : mapping of str to array, shape (*sample_dims, *shape)
    sample_dims : tuple of str
        Names of the leading dimensions.
    dims : mapping of str to sequence of str, optional
        Names of the others, of some variables; ``NAME_dim_0`` and so on by default.
    coords : mapping of str to sequence, optional
        What counts along some dimensions.

    Returns
    -------
    xarray.Dataset

    Raises
    ------
    UsageError
        If a variable has fewer dimensions than are named, or another length than its coordinate.
    """
    import xarray as xr

    origin = _index_origin()
    arrays: dict[str, Any] = {}
    along: dict[str, Any] = {}
    for name, raw in variables.items():
        values = np.asarray(raw)
        given = (dims or {}).get(name, ())
        if taken := [dim for dim in given if dim in variables or dim in SAMPLE_DIMS]:
            raise UsageError(f"dims: {taken[0]!r} of {name} is taken; choose another name.")
        own = _named_dims(name, given, values.ndim - len(sample_dims))
        own = [_free(dim, variables) for dim in own]
        arrays[name] = ((*sample_dims, *own), values)
        for dim, size in zip(arrays[name][0], values.shape, strict=True):
            start = 0 if dim in sample_dims else origin
            counted = np.arange(start, start + size)
            told = np.asarray((coords or {}).get(dim, along.get(dim, counted)))
            if told.shape != (size,):
                raise UsageError(
                    f"The dimension {dim!r} of {name} is {size} long, but its coordinate holds "
                    f"{told.size} values."
                )
            along[dim] = told
    return xr.Dataset(arrays, coords=along)


def _named_dims(name: str, given: Sequence[str], count: int) -> list[str]:
    if len(given) > count:
        raise UsageError(
            f"dims names {len(given)} dimensions of {name} ({', '.join(given)}), which has {count} "
            "besides chain and draw."
        )
    return [*given, *(f"{name}_dim_{i}" for i in range(len(given), count))]


def _free(dim: str, taken: Container[str]) -> str:
    """Give a dimension a name that no variable has: a program may have x and x_dim_0."""
    while dim in taken:
        dim += "_"
    return dim


def _index_origin() -> int:
    """Read ArviZ's setting; it is loaded only where somebody may have set it."""
    home = os.path.expanduser("~")
    folders = (
        "",
        os.environ.get("ARVIZ_DATA", ""),
        os.path.join(os.environ.get("XDG_CONFIG_HOME", os.path.join(home, ".config")), "arviz"),
        os.path.join(home, ".arviz"),
    )
    if "arviz" in sys.modules or any(
        os.path.isfile(os.path.join(folder, "arvizrc")) for folder in folders
    ):
        return int(import_arviz().rcParams["data.index_origin"])
    return 0
