"""Axes of many dimensions as arrays of a file, in memory linear in their entries."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.sparse import csc_array, tril

from stanrovi.families.axes import Axes, DiagonalAxes
from stanrovi.families.low_rank_axes import LowRankAxes
from stanrovi.families.sparse_axes import SparseAxes, precision_of
from stanrovi.target import Array

_ORTHONORMAL = 1e-6


def thin_arrays(axes: Axes, prefix: str) -> dict[str, tuple[tuple[str, ...], Array]]:
    """Arrays that hold axes, with the names of their dimensions.

    Parameters
    ----------
    axes : Axes
    prefix : str
        Of their names.

    Returns
    -------
    dict
        Empty for axes that are not held thin.
    """
    if isinstance(axes, DiagonalAxes):
        return {f"{prefix}scale": (("coordinate",), axes.scale)}
    if isinstance(axes, LowRankAxes):
        direction = f"{prefix}direction"
        return {
            f"{prefix}scale": (("coordinate",), axes.scale),
            f"{prefix}length": (("coordinate",), axes.length),
            f"{prefix}directions": (("coordinate", direction), axes.directions),
            f"{prefix}stretch": ((direction,), axes.stretch),
        }
    if isinstance(axes, SparseAxes):
        lower = tril(precision_of(axes), format="coo")
        entries = {"row": lower.row, "column": lower.col, "value": lower.data}
        return {
            f"{prefix}order": (("coordinate",), axes.order.astype(np.float64)),
            **{
                f"{prefix}{name}": ((f"{prefix}entry",), part.astype(np.float64))
                for name, part in entries.items()
            },
        }
    return {}


def axes_of_arrays(stored: Mapping[str, Array], prefix: str, dim: int) -> Axes | None:
    """Read what `thin_arrays` has made; None where that is not there, or no axes."""
    own = {name[len(prefix) :]: part for name, part in stored.items() if name.startswith(prefix)}
    scale = own.get("scale")
    if "order" in own:
        return _sparse(own, dim)
    if scale is None or not _positive(scale, dim):
        return None
    if "directions" in own:
        return _low_rank(scale, own, dim)
    return DiagonalAxes(scale)


def _positive(part: Array, size: int) -> bool:
    return part.shape == (size,) and bool((part > 0).all() and np.isfinite(part).all())


def _low_rank(scale: Array, own: Mapping[str, Array], dim: int) -> LowRankAxes | None:
    u, stretch, length = (own.get(name) for name in ("directions", "stretch", "length"))
    if u is None or stretch is None or length is None or u.ndim != 2 or len(u) != dim:
        return None
    sound = _positive(stretch, u.shape[1]) and _positive(length, dim)
    gram = u.T @ u
    gram.flat[:: u.shape[1] + 1] -= 1.0
    if not (sound and (np.abs(gram) < _ORTHONORMAL).all()):
        return None
    return LowRankAxes(scale, u, stretch, length)


def _sparse(own: Mapping[str, Array], dim: int) -> SparseAxes | None:
    parts = [own.get(name) for name in ("order", "row", "column", "value")]
    order, row, column, value = (np.empty(0) if part is None else part for part in parts)
    if not np.array_equal(np.sort(order.ravel()), np.arange(dim)):
        return None
    if value.ndim != 1 or not row.shape == column.shape == value.shape:
        return None
    if not ((column >= 0) & (column <= row) & (row < dim)).all():
        return None
    places = row.astype(np.intp), column.astype(np.intp)
    lower = csc_array((value, places), shape=(dim, dim))
    below = tril(lower, k=-1)
    try:
        precision = csc_array(lower + below.T)
        return SparseAxes.of_precision(precision, order.ravel().astype(np.intp))
    except np.linalg.LinAlgError:
        return None
