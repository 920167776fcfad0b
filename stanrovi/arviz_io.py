"""The one module that imports ArviZ, and knows that there are two of it.

ArviZ 0.23 (Python 3.11) and ArviZ 1.x (Python >= 3.12) differ in their
container (``InferenceData`` or ``xarray.DataTree``), in the signatures of their
plots and in the sign that ``psislw`` wants. Both read each other's NetCDF files.
ArviZ and xarray are imported inside the functions, so that importing stanrovi
stays light.
"""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from stanrovi.draws import Draws
from stanrovi.errors import DrawsError
from stanrovi.files import atomic_path
from stanrovi.posteriordb import read_posteriordb
from stanrovi.target import Array

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

_log = logging.getLogger(__name__)

# ArviZ's own name for draws on unconstrained space; ours is one flat vector.
_UNCONSTRAINED = "unconstrained_posterior"
# The group attribute that keeps which variables are parameters, as JSON.
_PARAMETERS = "parameters"
_SAMPLE_DIMS = ("chain", "draw")


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
    import xarray as xr

    groups = {"posterior": _dataset(draws.posterior)}
    if draws.sample_stats:
        groups["sample_stats"] = _dataset(draws.sample_stats)
    if draws.unconstrained is not None:
        groups[_UNCONSTRAINED] = _dataset({"unconstrained": draws.unconstrained})
    if observed_data:
        groups["observed_data"] = _dataset(observed_data, sample_dims=())
    attrs = _container_attrs(draws)
    if not is_legacy():
        tree = xr.DataTree.from_dict(groups)
        tree.attrs.update(attrs)
        return tree
    import arviz as az

    return az.InferenceData(attrs=attrs, **groups)


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
        to_arviz(draws, observed_data).to_netcdf(str(temporary), engine="h5netcdf")
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
    DrawsError
        The file is missing, no NetCDF, without a posterior group, or its
        parameters hold NaN or infinite draws.
    """
    import xarray as xr

    source = Path(path)
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
            with xr.open_datatree(source, engine="h5netcdf") as tree:
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
    parameters = tuple(json.loads(attrs.pop(_PARAMETERS, "null")) or posterior)
    _check_finite(posterior, parameters, source)
    unconstrained = None
    if _UNCONSTRAINED in groups and "unconstrained" in groups[_UNCONSTRAINED]:
        unconstrained = _arrays(groups[_UNCONSTRAINED], source)["unconstrained"]
    return Draws(
        method=str(attrs.get("method") or method or _guess_method(stats)),
        posterior=posterior,
        parameters=parameters,
        sample_stats=stats,
        attrs={key: _scalar(value) for key, value in attrs.items() if _is_scalar(value)},
        unconstrained=unconstrained,
    )


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
    import arviz as az

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
    import arviz as az

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
        import arviz as az

        grid, density = az.kde(flat)
    else:
        from arviz_stats.base import array_stats

        grid, density, _ = array_stats.kde(flat)
    return np.asarray(grid), np.asarray(density)


def forest(samples: Mapping[str, Mapping[str, Array]], colors: Mapping[str, str]) -> Figure:
    """ArviZ's forest plot of several runs.

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
        Detached from pyplot: it is in no window and no global state.
    """
    datasets = {name: _dataset(quantities) for name, quantities in samples.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # layout advice about a figure we lay out ourselves
        return _forest_legacy(datasets, colors) if is_legacy() else _forest(datasets, colors)


def _forest_legacy(datasets: Mapping[str, xr.Dataset], colors: Mapping[str, str]) -> Figure:
    import arviz as az
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=_forest_size(datasets))
    FigureCanvasAgg(figure)
    az.plot_forest(
        list(datasets.values()),
        model_names=list(datasets),
        combined=True,
        hdi_prob=0.94,
        colors=[colors[name] for name in datasets],
        textsize=9,
        linewidth=1.6,
        markersize=5,
        legend=False,
        ax=figure.subplots(),
        show=False,
    )
    return figure


def _forest(datasets: Mapping[str, xr.Dataset], colors: Mapping[str, str]) -> Figure:
    import arviz as az
    import matplotlib.pyplot as plt
    import xarray as xr

    trees = {name: xr.DataTree.from_dict({"posterior": data}) for name, data in datasets.items()}
    collection = az.plot_forest(
        trees,
        combined=True,
        ci_kind="hdi",
        ci_probs=(0.5, 0.94),
        labels=["variable"],
        visuals={"point_estimate": {"width": 1.0}},
        aes={"color": ["model"]},
        color=[colors[name] for name in datasets],
        backend="matplotlib",
        figure_kwargs={"figsize": _forest_size(datasets)},
    )
    figure = cast("Figure", collection.viz["figure"].item())
    plt.close(figure)
    return figure


def _forest_size(datasets: Mapping[str, xr.Dataset]) -> tuple[float, float]:
    rows = len(next(iter(datasets.values())).data_vars)
    return 7.0, 1.2 + rows * (0.16 + 0.12 * len(datasets))


def _psislw(log_weights: Array) -> tuple[Array, Any]:
    if is_legacy():
        import arviz as az

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
    import arviz as az
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
        _PARAMETERS: json.dumps(list(draws.parameters)),
    }
    return {key: _scalar(value) for key, value in attrs.items()}


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
        if not set(_SAMPLE_DIMS) <= set(variable.dims):
            raise DrawsError(
                f"{source}: variable {name} has dimensions {tuple(map(str, variable.dims))}, "
                "but draws need chain and draw; give the file of a fit or a NUTS run."
            )
        values = variable.transpose(*_SAMPLE_DIMS, ...).values
        out[str(name)] = values.astype(np.float64)
    return out


def _check_finite(posterior: Mapping[str, Array], parameters: tuple[str, ...], source: str) -> None:
    missing = [name for name in parameters if name not in posterior]
    if missing:
        raise DrawsError(f"{source} has no draws of parameter {', '.join(missing)}.")
    for name in parameters:
        bad = int((~np.isfinite(posterior[name])).sum())
        if bad:
            raise DrawsError(
                f"{source}: variable {name} has {bad} NaN or infinite values; "
                "rerun the sampler, or drop the variable from the file."
            )


def _guess_method(stats: Mapping[str, Array]) -> str:
    return "vi" if "log_q" in stats else "nuts"


def _is_scalar(value: Any) -> bool:
    return isinstance(value, (str, bool, int, float, np.generic)) or (
        isinstance(value, np.ndarray) and value.ndim == 0
    )


def _scalar(value: Any) -> str | int | float:
    """A plain Python scalar; NetCDF has no booleans."""
    plain = value.item() if isinstance(value, (np.generic, np.ndarray)) else value
    return int(plain) if isinstance(plain, bool) else plain
