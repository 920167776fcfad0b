"""Which variables of a program stand where ArviZ looks for them: the groups beside `posterior`.

Pointwise log likelihoods are ``log_lik``, ``log_likelihood``, or ``log_lik_NAME`` where NAME is
in the data. Replicated data are ``NAME_rep``, ``NAMErep`` or ``NAME_pred`` where NAME is in the
data and of the same shape, or ``y`` where the data hold no ``y``. Names that the user gives count
instead of these.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stanrovi.arguments import checked_mapping, listed, suggestion, told
from stanrovi.draws import Draws, Values
from stanrovi.errors import UsageError

# A name, several, or a mapping of the name to store under to that of the program.
Names = str | Sequence[str] | Mapping[str, str]
ObservedData = str | Sequence[str] | Mapping[str, Any]

LOG_LIKELIHOOD, PREDICTIVE = "log_likelihood", "posterior_predictive"
_LOG_LIKELIHOODS = ("log_lik", "log_likelihood")
_OF_DATA = "log_lik_"
_ENDINGS = ("_rep", "rep", "_pred")
_USUAL_DATA = "y"


@dataclass(frozen=True)
class Groups:
    """Variables sorted into groups.

    Attributes
    ----------
    posterior : mapping of str to ndarray, shape (chain, draw, *shape)
        What is left there.
    log_likelihood, posterior_predictive : mapping of str to str
        Stan's name of each variable, by the name to store it under.
    observed_data : mapping of str to ndarray
    """

    posterior: Mapping[str, Values]
    log_likelihood: Mapping[str, str]
    posterior_predictive: Mapping[str, str]
    observed_data: Mapping[str, NDArray[Any]]


def grouped(
    draws: Draws,
    *,
    observed_data: ObservedData | None = None,
    log_likelihood: Names | None = None,
    posterior_predictive: Names | None = None,
) -> Groups:
    """Sort the variables of draws into groups; see `stanrovi.io.arviz.to_arviz`.

    Raises
    ------
    UsageError
        For a name that is none of a variable, or of the data, with the nearest that is.
    """
    named = observed_data if isinstance(observed_data, Mapping) else {}
    values = checked_mapping("observed_data", named, "names")
    given = {key: value for key, value in values.items() if not isinstance(value, str)}
    data = {**draws.data, **given}
    if log_likelihood is None:
        likelihoods = {name: name for name in log_likelihoods(_computed(draws), data)}
    else:
        likelihoods = _chosen(LOG_LIKELIHOOD, log_likelihood, draws.posterior)
    if posterior_predictive is None:
        predictive = {name: name for name in replicated(_computed(draws), data)}
    else:
        predictive = _chosen(PREDICTIVE, posterior_predictive, draws.posterior)
    moved = {*likelihoods.values(), *predictive.values()}
    if observed_data is None:
        names = dict(_data_of(likelihoods, predictive, draws.posterior, data))
    else:
        names = _mapping("observed_data", observed_data, {key: key for key in given})
        _require("observed_data", names.values(), data, "the program's data")
    return Groups(
        {name: x for name, x in draws.posterior.items() if name not in moved},
        likelihoods,
        predictive,
        {stored: _array(name, data[name]) for stored, name in names.items()},
    )


def posterior_names(draws: Draws) -> tuple[str, ...]:
    """Names of the variables that stay in the posterior by what they are called."""
    computed = _computed(draws)
    moved = {*log_likelihoods(computed, draws.data), *replicated(computed, draws.data)}
    return tuple(name for name in draws.posterior if name not in moved)


def _computed(draws: Draws) -> dict[str, Values]:
    """Variables that are no parameters."""
    return {name: x for name, x in draws.posterior.items() if name not in draws.parameters}


def log_likelihoods(variables: Mapping[str, Values], data: Mapping[str, Any]) -> list[str]:
    """Names of the variables that hold pointwise log likelihoods by what they are called."""
    return [
        name
        for name in variables
        if name in _LOG_LIKELIHOODS
        or (name.startswith(_OF_DATA) and name.removeprefix(_OF_DATA) in data)
    ]


def replicated(variables: Mapping[str, Values], data: Mapping[str, Any]) -> list[str]:
    """Names of the variables that hold replicated data by what they are called."""
    return [
        name
        for name, values in variables.items()
        if (datum := _replicates(name, data))
        and (datum not in data or _shape(data[datum]) == values.shape[2:])
    ]


def _replicates(name: str, data: Mapping[str, Any]) -> str | None:
    """Name of the data that a variable of this name replicates."""
    stems = [name.removesuffix(ending) for ending in _ENDINGS if name.endswith(ending)]
    return next((stem for stem in stems if stem in data or stem == _USUAL_DATA), None)


def _data_of(
    likelihoods: Mapping[str, str],
    predictive: Mapping[str, str],
    variables: Mapping[str, Values],
    data: Mapping[str, Any],
) -> Iterator[tuple[str, str]]:
    """Find the data that belong to the variables, with the names to store them under.

    What is stored under another name than the program's lends that name to its data.
    """
    for stored, name in (*predictive.items(), *likelihoods.items()):
        likely = name.removeprefix(_OF_DATA) if name.startswith(_OF_DATA) else _USUAL_DATA
        of = stored if stored in data else _replicates(name, data) or likely
        if of in data and _shape(data[of]) == variables[name].shape[2:]:
            yield (of if stored == name else stored), of


def _chosen(group: str, names: Names, variables: Mapping[str, Values]) -> dict[str, str]:
    chosen = _mapping(group, names, {})
    _require(group, chosen.values(), variables, "the program's variables")
    return chosen


def _mapping(what: str, names: Any, known: Mapping[str, str]) -> dict[str, str]:
    """Names as a mapping of the name to store under to that which it has."""
    if isinstance(names, str):
        return {names: names}
    if isinstance(names, Mapping):
        names = checked_mapping(what, names, "names")
        chosen = {stored: known.get(stored, name) for stored, name in names.items()}
        _require_texts(what, chosen.values())
        return chosen
    if not isinstance(names, Iterable):
        raise UsageError(
            f"{what} must be a name, a list of names, or a mapping of new names to the program's, "
            f"not {told(names)}."
        )
    found = listed(what, names)
    _require_texts(what, found)
    return {name: name for name in found}


def _require_texts(what: str, names: Iterable[Any]) -> None:
    for name in names:
        if not isinstance(name, str):
            raise UsageError(f"{what} names {told(name)}, and names are texts.")


def _require(what: str, names: Any, known: Mapping[str, Any], of: str) -> None:
    for name in names:
        if name not in known:
            there = f"those are {', '.join(known)}" if known else "none are known of these draws"
            raise UsageError(
                f"{what} names {name!r}, which is none of {of}; {there}.{suggestion(name, known)}"
            )


def _shape(value: Any) -> tuple[int, ...] | None:
    """Shape of data; None of what is no array, as tuples."""
    try:
        return np.shape(value)
    except ValueError:
        return None


def _array(name: str, value: Any) -> NDArray[Any]:
    """Make data numbers; Stan's JSON spells infinity and NaN."""
    try:
        array = np.asarray(value)
        return array if array.dtype.kind in "fiub" else array.astype(np.float64)
    except (TypeError, ValueError):
        raise UsageError(f"observed_data {name!r} is no array of numbers; leave it out.") from None
