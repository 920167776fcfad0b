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
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

SAMPLE_DIMS = ("chain", "draw")


def import_arviz() -> Any:
    """Import ArviZ; untyped, for the two generations differ in their signatures."""
    with warnings.catch_warnings():
        # Once a day the older one tells of the newer, whoever imports it.
        warnings.simplefilter("ignore", FutureWarning)
        import arviz

    return arviz


def is_legacy() -> bool:
    """Whether the installed ArviZ is of the 0.x generation."""
    from importlib import metadata

    return metadata.version("arviz").startswith("0.")


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
    import xarray as xr

    origin = _index_origin()
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


def _index_origin() -> int:
    """Read ArviZ's setting; it is loaded only where somebody may have set it."""
    home = os.path.expanduser("~")
    folders = (
        "",
        os.environ.get("ARVIZ_DATA", ""),
        os.path.join(os.environ.get("XDG_CONFIG_HOME", os.path.join(home, ".config")), "arviz"),
        os.path.join(home, ".arviz"),
    )
    if "arviz" in sys.modules or any(Path(folder, "arvizrc").is_file() for folder in folders):
        return int(import_arviz().rcParams["data.index_origin"])
    return 0
