"""Draws as ArviZ's containers, and back from them, whichever program made them."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stanrovi.arguments import checked_mapping, checked_text, is_text, suggestion, told
from stanrovi.draws import (
    Draws,
    Run,
    Values,
    as_draws,
    is_cmdstan_run,
    is_container,
    is_scalar,
    no_draws,
    require_finite,
)
from stanrovi.errors import DrawsError, UsageError
from stanrovi.io import notes
from stanrovi.io.cmdstan_runs import groups_of_cmdstan
from stanrovi.io.generations import SAMPLE_DIMS, dataset, import_arviz, is_legacy
from stanrovi.io.groups import (
    LOG_LIKELIHOOD,
    PREDICTIVE,
    Groups,
    Names,
    ObservedData,
    grouped,
    log_likelihoods,
    replicated,
)

if TYPE_CHECKING:
    import xarray as xr

_log = logging.getLogger(__name__)

# ArviZ's own name for draws on unconstrained space; ours is one flat vector.
UNCONSTRAINED_GROUP = "unconstrained_posterior"
OBSERVED = "observed_data"
_TAKEN = (".", "..")
# Groups of variables that Stan computes beside the posterior, and where their own names stand.
MOVED = (LOG_LIKELIHOOD, PREDICTIVE)
STAN_NAME = "stan_name"


def to_arviz(
    draws: Run,
    *,
    observed_data: ObservedData | None = None,
    log_likelihood: Names | None = None,
    posterior_predictive: Names | None = None,
    coords: Mapping[str, Any] | None = None,
    dims: Mapping[str, str | Sequence[str]] | None = None,
) -> Any:
    """Convert draws to ArviZ's container, with the groups that LOO and predictive checks look for.

    Parameters
    ----------
    draws : Draws, Fit, NutsRun or SampleRun
        Draws, or a run that carries them.
    observed_data : str, sequence of str or mapping, optional
        Which of the program's data to store: names, or a mapping of names to arrays or to names
        in the data. By default those that the variables of the next two groups belong to.
    log_likelihood : str, sequence of str or mapping of str to str, optional
        Variables that hold pointwise log likelihoods; a mapping renames (``{"y": "log_lik"}``).
        By default ``log_lik``, ``log_likelihood``, and ``log_lik_NAME`` where NAME is in the data.
    posterior_predictive : str, sequence of str or mapping of str to str, optional
        Variables that hold replicated data (``{"y": "y_rep"}`` renames). By default ``NAME_rep``,
        ``NAMErep`` and ``NAME_pred`` where NAME is in the data and of the same shape, or ``y``
        where the data hold no ``y``. An empty list leaves all where they are.
    coords : mapping of str to sequence, optional
        What counts along dimensions: ``{"school": ["A", "B"]}``.
    dims : mapping of str to str or sequence of str, optional
        Names of the dimensions of variables and data: ``{"theta": ["school"]}``.

    Returns
    -------
    arviz.InferenceData or xarray.DataTree
        Whichever the installed ArviZ works on, with groups ``posterior`` and,
        where known, ``log_likelihood``, ``posterior_predictive`` and ``observed_data``,
        ``sample_stats``, ``unconstrained_posterior`` (one vector
        ``unconstrained``) and ``fit`` (axes of a fit, and of the modes it knows).
        Integers are integers. The attributes of ``draws`` stand on the container.

    Raises
    ------
    UsageError
        ``draws`` carries none, or a name is unknown or a length wrong.
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
    if not is_legacy():
        return as_tree(draws, groups)
    az = import_arviz()
    return az.InferenceData(attrs=_container_attrs(draws), **groups)


def as_tree(draws: Draws, groups: Mapping[str, xr.Dataset] | None = None) -> xr.DataTree:
    """Convert draws, in the usual groups or those given, to xarray's tree, under any ArviZ."""
    import xarray as xr

    tree = xr.DataTree.from_dict(dict(as_groups(draws) if groups is None else groups))
    tree.attrs.update(_container_attrs(draws))
    return tree


def as_groups(
    draws: Draws,
    *,
    observed_data: ObservedData | None = None,
    log_likelihood: Names | None = None,
    posterior_predictive: Names | None = None,
    coords: Mapping[str, Any] | None = None,
    dims: Mapping[str, str | Sequence[str]] | None = None,
) -> dict[str, xr.Dataset]:
    """Sort draws into datasets by the names of their groups; see `to_arviz`."""
    import xarray as xr

    coords = checked_mapping("coords", coords, "dimensions to what counts along them")
    dims = checked_mapping("dims", dims, "variables to names of dimensions")
    require_storable([*draws.posterior, *draws.sample_stats, *draws.attrs])
    found = grouped(
        draws,
        observed_data=observed_data,
        log_likelihood=log_likelihood,
        posterior_predictive=posterior_predictive,
    )
    named = {name: _dimensions(name, own) for name, own in dims.items()}
    _require_variables(named, draws, found)
    groups = {"posterior": dataset(found.posterior, dims=named, coords=coords)}
    for group in MOVED:
        if variables := getattr(found, group):
            groups[group] = _moved(draws, variables, named, coords)
    if draws.sample_stats:
        groups["sample_stats"] = dataset(draws.sample_stats)
    if draws.unconstrained is not None:
        groups[UNCONSTRAINED_GROUP] = dataset({"unconstrained": draws.unconstrained})
    if draws.facts is not None and (arrays := notes.arrays(draws.facts)):
        groups[notes.GROUP] = xr.Dataset(arrays)
    if found.observed_data:
        groups[OBSERVED] = dataset(found.observed_data, sample_dims=(), dims=named, coords=coords)
    _require_dimensions(coords, groups)
    return groups


def _dimensions(name: str, own: Any) -> list[str]:
    """Names of the dimensions of one variable."""
    names = [own] if isinstance(own, str) else own
    if not isinstance(names, Sequence) or not all(isinstance(dim, str) and dim for dim in names):
        raise UsageError(f"dims must give {name} a name, or a list of names, not {told(own)}.")
    return list(names)


def require_storable(names: Iterable[str]) -> None:
    """Refuse names that no file of draws can hold.

    Raises
    ------
    UsageError
    """
    for name in names:
        if name in SAMPLE_DIMS:
            raise UsageError(
                f"{name!r} can be no name in a file of draws, whose dimensions are chain and draw; "
                "rename the variable."
            )
        if name in _TAKEN or "/" in name or "\0" in name or not is_text(name):
            raise UsageError(
                f"{name!r} can be no name in a file of draws; choose another, without slashes."
            )


def _moved(
    draws: Draws,
    variables: Mapping[str, str],
    dims: Mapping[str, Sequence[str]],
    coords: Mapping[str, Any] | None,
) -> xr.Dataset:
    """Variables by the names to store them under, each with that of the program."""
    own = {stored: dims.get(stored, dims.get(name, ())) for stored, name in variables.items()}
    values = {stored: draws.posterior[name] for stored, name in variables.items()}
    data = dataset(values, dims=own, coords=coords)
    for stored, name in variables.items():
        data[stored].attrs[STAN_NAME] = name
    return data


def _require_variables(dims: Mapping[str, Any], draws: Draws, found: Groups) -> None:
    """Refuse dimensions of what is not there."""
    stored = (found.log_likelihood, found.posterior_predictive, found.observed_data)
    known = dict.fromkeys([*draws.posterior, *(name for group in stored for name in group)])
    for name in dims:
        if name not in known:
            raise UsageError(
                f"dims names {name!r}, which is no variable.{suggestion(name, known)} "
                f"Choose from {', '.join(known)}."
            )


def _require_dimensions(coords: Mapping[str, Any], groups: Mapping[str, xr.Dataset]) -> None:
    """Refuse coordinates along what is no dimension."""
    known = {str(dim) for data in groups.values() for dim in data.dims} - set(SAMPLE_DIMS)
    for name in coords:
        if name not in known:
            raise UsageError(
                f"coords names {name!r}, which is no dimension of a variable; name it in dims, "
                f"such as dims={{'theta': [{name!r}]}}.{suggestion(name, sorted(known))}"
            )


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
    """Convert what ArviZ or cmdstanpy holds to draws.

    Parameters
    ----------
    data : arviz.InferenceData, xarray.DataTree or cmdstanpy.CmdStanMCMC
        Either container, from any sampler, or a run of NUTS by cmdstanpy.
    method : str, optional
        Name of the method where the container's attributes do not give one.
    source : str
        What messages call the data.

    Returns
    -------
    Draws
        Variables of the groups ``log_likelihood`` and ``posterior_predictive`` stand beside those
        of ``posterior``, under their Stan names where the container tells them. Where it does not
        say which are parameters, all of ``posterior`` are, but for log likelihoods and
        replicated data by their usual names (`to_arviz`).

    Raises
    ------
    UsageError
        The data are none of these.
    DrawsError
        No posterior group, no chain and draw dimensions, or NaN draws.
    """
    method, source = checked_text("method", method), checked_text("source", source) or "The data"
    if is_cmdstan_run(data):
        groups, own_attrs = groups_of_cmdstan(data)
        source = "The CmdStanMCMC" if source == "The ArviZ data" else source
    elif is_container(data):
        groups, own_attrs = _groups_of(data), dict(data.attrs)
    else:
        raise _no_container(data)
    if "posterior" not in groups:
        found = ", ".join(sorted(groups)) or "none"
        raise DrawsError(
            f"{source} has no posterior group (groups found: {found}); "
            "give the file of a fit or a NUTS run."
        )
    posterior = _arrays(groups["posterior"], source)
    if not posterior:
        raise DrawsError(f"{source} has no numeric variables in its posterior group.")
    lead = next(iter(posterior.values())).shape[:2]
    stats = _statistics(groups["sample_stats"], lead, source) if "sample_stats" in groups else {}
    stored = {
        str(name): variable.values.astype(np.float64)
        for name, variable in (groups[notes.GROUP].items() if notes.GROUP in groups else ())
        if variable.dtype.kind in "fiu"
    }
    told, others = notes.read({**groups["posterior"].attrs, **own_attrs}, stored)
    attrs = {
        str(key): netcdf_scalar(value) for key, value in others.items() if key and is_scalar(value)
    }
    known = {
        str(name): variable.values
        for name, variable in (groups[OBSERVED].items() if OBSERVED in groups else ())
    }
    usual = {*log_likelihoods(posterior, known), *replicated(posterior, known)}
    parameters = told.parameters or tuple(name for name in posterior if name not in usual)
    posterior |= _moved_back(groups, posterior, source)
    order = [name for name in told.variables if name in posterior]
    posterior = {name: posterior[name] for name in dict.fromkeys([*order, *posterior])}
    if missing := [name for name in parameters if name not in posterior]:
        raise DrawsError(f"{source} has no draws of parameter {', '.join(missing)}.")
    require_finite(posterior, parameters, DrawsError, source)
    unconstrained = None
    if UNCONSTRAINED_GROUP in groups:
        unconstrained = _arrays(groups[UNCONSTRAINED_GROUP], source).get("unconstrained")
    own_method = attrs.get("method")
    try:
        return Draws(
            method=(own_method if isinstance(own_method, str) else "")
            or method
            or _guess_method(stats),
            posterior=posterior,
            parameters=tuple(dict.fromkeys(parameters)),
            sample_stats=stats,
            attrs=attrs,
            unconstrained=None if unconstrained is None else unconstrained.astype(np.float64),
            facts=told.facts,
            data=known,
            parameters_assumed=not told.parameters,
        )
    except DrawsError as error:
        raise DrawsError(f"{source} holds no draws that can be used: {error}") from None


def _no_container(data: Any) -> UsageError:
    """Tell that something is neither ArviZ's nor cmdstanpy's, and what to do with it."""
    if isinstance(data, (str, os.PathLike)):
        return no_draws(data)
    cure = "give an InferenceData, an xarray.DataTree or a CmdStanMCMC"
    if isinstance(getattr(data, "draws", data), Draws):
        cure = "it is a run of stanrovi already, which every function takes as it is"
    elif hasattr(data, "data_vars") or isinstance(data, Mapping):
        cure += "; ArviZ's from_dict makes one of arrays by name, each (chain, draw, ...)"
    return UsageError(
        f"What is given (of type {type(data).__name__}) is no container of draws; {cure}."
    )


def _moved_back(
    groups: Mapping[str, xr.Dataset], posterior: Mapping[str, Values], source: str
) -> dict[str, Values]:
    """Variables of the groups beside the posterior, by their Stan names, where those are free."""
    lead = next(iter(posterior.values())).shape[:2]
    back: dict[str, Values] = {}
    for data in (groups[group] for group in MOVED if group in groups):
        whole = data[[key for key, x in data.data_vars.items() if set(SAMPLE_DIMS) <= set(x.dims)]]
        for stored, values in _arrays(whole, source).items():
            own = data[stored].attrs.get(STAN_NAME)
            name = own if isinstance(own, str) and own else stored
            if values.shape[:2] == lead and name not in posterior:
                back.setdefault(name, values)
    return back


def _groups_of(data: Any) -> dict[str, xr.Dataset]:
    if hasattr(data, "children"):
        return {name: node.to_dataset() for name, node in data.children.items()}
    return {name: data[name] for name in data.groups()}


def _arrays(dataset: xr.Dataset, source: str) -> dict[str, Values]:
    """Numeric variables as float64 or int64 arrays of shape (chain, draw, *shape)."""
    return {
        name: values.astype(np.int64 if np.can_cast(values.dtype, np.int64) else np.float64)
        for name, values in _numeric(dataset, source).items()
    }


def _statistics(dataset: xr.Dataset, lead: tuple[int, ...], source: str) -> dict[str, NDArray[Any]]:
    """Statistics of each draw, shape (chain, draw); what is of something else is left out."""
    whole = dataset[
        [key for key, x in dataset.data_vars.items() if set(x.dims) == set(SAMPLE_DIMS)]
    ]
    found = _numeric(whole, source)
    fitting = {name: values for name, values in found.items() if values.shape == lead}
    if len(fitting) < len(found):
        _log.warning(
            "%s: %s in sample_stats are of other draws than those of the posterior, and left out",
            source, ", ".join(name for name in found if name not in fitting),
        )  # fmt: skip
    return fitting


def _numeric(dataset: xr.Dataset, source: str) -> dict[str, NDArray[Any]]:
    """Numeric variables, shape (chain, draw, *shape), as they are."""
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
        out[str(name)] = variable.transpose(*SAMPLE_DIMS, ...).values
    return out


def _guess_method(stats: Mapping[str, Any]) -> str:
    return "vi" if "log_q" in stats else "nuts"


def netcdf_scalar(value: Any) -> str | int | float:
    """Convert to a plain Python scalar; NetCDF has no booleans and no zero bytes in texts."""
    plain = value.item() if isinstance(value, (np.generic, np.ndarray)) else value
    if isinstance(plain, str):
        return plain.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
    return int(plain) if isinstance(plain, bool) else plain
