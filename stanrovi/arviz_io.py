"""The one module that imports ArviZ, and knows that there are two of it.

ArviZ 0.23 (Python 3.11) and ArviZ 1.x (Python >= 3.12) differ in their
container (``InferenceData`` or ``xarray.DataTree``), in the signatures of their
plots and in the sign that ``psislw`` wants. Both read each other's NetCDF files.
ArviZ and xarray are imported inside the functions, so that importing stanrovi
stays light.
"""

from __future__ import annotations

import io
import json
import os
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from stanrovi.draws import Draws
from stanrovi.files import atomic_path
from stanrovi.netcdf import (
    PARAMETERS_ATTR,
    UNCONSTRAINED_GROUP,
    from_arviz,
    netcdf_scalar,
    read_draws,
)
from stanrovi.target import Array

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "ess",
    "forest",
    "from_arviz",
    "is_legacy",
    "kde",
    "psis",
    "psis_khat",
    "read_draws",
    "rhat",
    "to_arviz",
    "write_netcdf",
]

_SAMPLE_DIMS = ("chain", "draw")


def _arviz() -> Any:
    """Import ArviZ; untyped, for the two generations differ in their signatures."""
    import arviz

    return arviz


def is_legacy() -> bool:
    """Whether the installed ArviZ is of the 0.x generation."""
    return metadata.version("arviz").startswith("0.")


def to_arviz(draws: Draws, observed_data: Mapping[str, Any] | None = None) -> Any:
    """Convert draws to ArviZ's container.

    Parameters
    ----------
    draws : Draws
        Draws of a fit or a NUTS run.
    observed_data : mapping of str to array, optional
        Data to store beside them, under their Stan names.

    Returns
    -------
    arviz.InferenceData or xarray.DataTree
        Whichever the installed ArviZ works on, with groups ``posterior`` and,
        where known, ``sample_stats``, ``unconstrained_posterior`` (one vector
        ``unconstrained``) and ``observed_data``. The attributes of ``draws``
        stand on the container.
    """
    if not is_legacy():
        return _tree(draws, observed_data)
    az = _arviz()
    return az.InferenceData(attrs=_container_attrs(draws), **_groups(draws, observed_data))


def _tree(draws: Draws, observed_data: Mapping[str, Any] | None) -> xr.DataTree:
    import xarray as xr

    tree = xr.DataTree.from_dict(_groups(draws, observed_data))
    tree.attrs.update(_container_attrs(draws))
    return tree


def _groups(draws: Draws, observed_data: Mapping[str, Any] | None) -> dict[str, xr.Dataset]:
    groups = {"posterior": _dataset(draws.posterior)}
    if draws.sample_stats:
        groups["sample_stats"] = _dataset(draws.sample_stats)
    if draws.unconstrained is not None:
        groups[UNCONSTRAINED_GROUP] = _dataset({"unconstrained": draws.unconstrained})
    if observed_data:
        groups["observed_data"] = _dataset(observed_data, sample_dims=())
    return groups


def write_netcdf(
    draws: Draws,
    path: str | os.PathLike[str],
    *,
    observed_data: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write draws to a NetCDF file that both generations of ArviZ read.

    Parameters
    ----------
    draws : Draws
        Draws of a fit or a NUTS run.
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
    OutputError
        The path exists or cannot be written.
    """
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


def psis(log_weights: Array) -> tuple[Array, float]:
    """Pareto-smooth importance weights.

    Parameters
    ----------
    log_weights : ndarray, shape (n,)
        Log importance ratios log p - log q, up to a constant; -inf where the
        target rejects the draw.

    Returns
    -------
    smoothed : ndarray, shape (n,)
        Normalised log weights (their exponentials sum to one).
    khat : float
        Pareto shape of the largest ratios. 0 for constant ratios, NaN for fewer
        than 25 usable draws, infinite where a ratio is NaN or +inf.
    """
    log_weights = np.asarray(log_weights, dtype=np.float64)
    usable = np.isfinite(log_weights)
    if np.isnan(log_weights).any() or np.isposinf(log_weights).any():
        return np.full(log_weights.shape, -np.log(log_weights.size)), float("inf")
    ratios = log_weights[usable]
    smoothed = np.full(log_weights.shape, -np.inf)
    if ratios.size < 25:  # the tail is at most a fifth of the draws and needs five of them
        smoothed[usable] = ratios - np.logaddexp.reduce(ratios)
        return smoothed, float("nan")
    if np.ptp(ratios) < 1e-8:  # rounding noise has a tail, too, but no meaning
        smoothed[usable] = -np.log(ratios.size)
        return smoothed, 0.0
    # In nearly constant ratios ArviZ's fit of the tail overflows, to a weight that is rightly 0.
    with np.errstate(over="ignore"):
        smoothed[usable], khat = _psislw(ratios)
    return smoothed, float(khat)


def psis_khat(log_weights: Array) -> float:
    """Pareto k-hat of importance ratios; see `psis`.

    Parameters
    ----------
    log_weights : ndarray, shape (n,)
        Log importance ratios log p - log q, up to a constant.

    Returns
    -------
    float
    """
    return psis(log_weights)[1]


def ess(values: Array, kind: Literal["bulk", "tail"] = "bulk") -> Array:
    """Effective sample size of each quantity.

    Parameters
    ----------
    values : ndarray, shape (chain, draw, k)
        Draws of k scalar quantities.
    kind : {"bulk", "tail"}
        Which of the rank-normalised estimates.

    Returns
    -------
    ndarray, shape (k,)
        NaN for a constant quantity.
    """
    az = _arviz()
    return _per_quantity(az.ess(_stacked(values), method=kind))


def rhat(values: Array, method: Literal["rank", "split"] = "rank") -> Array:
    """Potential scale reduction of each quantity.

    Parameters
    ----------
    values : ndarray, shape (chain, draw, k)
        Draws of k scalar quantities, at least two chains.
    method : {"rank", "split"}
        Rank-normalised (and folded), or plain split R-hat.

    Returns
    -------
    ndarray, shape (k,)
        NaN for a constant quantity.
    """
    az = _arviz()

    with np.errstate(invalid="ignore", divide="ignore"):
        return _per_quantity(az.rhat(_stacked(values), method=method))


def kde(values: Array) -> tuple[Array, Array]:
    """Kernel density estimate of a scalar, by ArviZ.

    Parameters
    ----------
    values : ndarray
        Draws, any shape, not all equal.

    Returns
    -------
    grid, density : ndarray, shape (512,)
    """
    flat = np.ravel(values)
    if is_legacy():
        az = _arviz()

        grid, density = az.kde(flat)
    else:
        from arviz_stats.base import array_stats

        grid, density, _ = array_stats.kde(flat)
    return np.asarray(grid), np.asarray(density)


def forest(samples: Mapping[str, Mapping[str, Array]], colors: Mapping[str, str]) -> Figure:
    """ArviZ's forest plot of several runs: median, 50% and 94% intervals.

    Parameters
    ----------
    samples : mapping of str to mapping of str to ndarray, shape (chain, draw)
        Runs by name, each with the same scalar quantities in the order wanted
        from top to bottom.
    colors : mapping of str to str
        Colour of each run.

    Returns
    -------
    matplotlib.figure.Figure
        Detached from pyplot: it is in no window and no global state. Its last
        axes hold the intervals.
    """
    # ArviZ 1.x joins the runs into one array, so all must have one shape.
    common = min(values.size for run in samples.values() for values in run.values())
    datasets = {
        name: _dataset({key: _resized(values, common) for key, values in run.items()})
        for name, run in samples.items()
    }
    rows = len(next(iter(samples.values())))
    size = (7.0, 1.2 + rows * (0.16 + 0.12 * len(samples)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # layout advice about a figure we lay out ourselves
        if is_legacy():
            return _forest_legacy(datasets, colors, size)
        return _forest(datasets, colors, size)


def _resized(values: Array, size: int) -> Array:
    return values.reshape(1, -1)[:, np.linspace(0, values.size - 1, size).astype(int)]


def _forest_legacy(
    datasets: Mapping[str, xr.Dataset], colors: Mapping[str, str], size: tuple[float, float]
) -> Figure:
    az = _arviz()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    az.plot_forest(
        list(datasets.values()),
        model_names=list(datasets),
        var_names=list(next(iter(datasets.values())).data_vars),  # else in a set's order
        combined=True,
        hdi_prob=0.94,
        colors=[colors[name] for name in datasets],
        textsize=9,
        linewidth=1.6,
        markersize=5,
        legend=False,
        ax=axis,
        show=False,
    )
    _label_once(axis, list(datasets))
    return figure


def _label_once(axis: Axes, models: list[str]) -> None:
    """Name each quantity once, in the middle of its models, instead of once per model."""
    rows: dict[str, list[float]] = {}
    for tick, label in zip(axis.get_yticks(), axis.get_yticklabels(), strict=True):
        model = next(name for name in models if label.get_text().startswith(f"{name}: "))
        rows.setdefault(label.get_text().removeprefix(f"{model}: "), []).append(tick)
    axis.set_yticks([float(np.mean(ticks)) for ticks in rows.values()], list(rows))
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)


def _forest(
    datasets: Mapping[str, xr.Dataset], colors: Mapping[str, str], size: tuple[float, float]
) -> Figure:
    az = _arviz()
    import matplotlib.pyplot as plt
    import xarray as xr
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    # A tree takes "/" for a path, and a name may hold one; the division slash looks the same.
    trees = {
        name: xr.DataTree.from_dict(
            {"posterior": data.rename({key: str(key).replace("/", "\u2215") for key in data})}
        )
        for name, data in datasets.items()
    }
    collection = az.plot_forest(
        trees,
        combined=True,
        point_estimate="median",
        ci_kind="eti",
        ci_probs=(0.5, 0.94),
        aes={"color": ["model"]},
        color=[colors[name] for name in datasets],
        backend="matplotlib",
        figure_kwargs={"figsize": size, "layout": "constrained"},
    )
    figure = cast("Figure", collection.viz["figure"].item())
    plt.close(figure)
    FigureCanvasAgg(figure)  # closing leaves a canvas that cannot draw
    labels = figure.axes[0]
    labels.set_xticks([])
    labels.spines["bottom"].set_visible(False)
    return figure


def _psislw(log_weights: Array) -> tuple[Array, Any]:
    if is_legacy():
        az = _arviz()

        return cast("tuple[Array, Any]", az.psislw(log_weights))
    from arviz_stats.base import array_stats

    # ArviZ 1.x takes the NEGATIVE of the log weights (as loo has log likelihoods).
    return cast("tuple[Array, Any]", array_stats.psislw(-log_weights))


def _stacked(values: Array) -> xr.Dataset:
    import xarray as xr

    return xr.Dataset({"values": ((*_SAMPLE_DIMS, "quantity"), values)})


def _per_quantity(result: Any) -> Array:
    return np.atleast_1d(np.asarray(result["values"].values, dtype=np.float64))


def _dataset(
    variables: Mapping[str, Any], *, sample_dims: tuple[str, ...] = _SAMPLE_DIMS
) -> xr.Dataset:
    """Name the dimensions as ArviZ does, counting from its own index origin."""
    az = _arviz()
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
