"""Runs made comparable: named, of one model, over the quantities that they share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stanrovi.arguments import is_text, told
from stanrovi.draws import Draws, Run, as_draws, require_finite
from stanrovi.errors import DrawsError, UsageError
from stanrovi.scalars import first_of_copies, unvaried, varying
from stanrovi.target import Array

_LARGEST = 1e152  # of a draw whose square, and sums of those, are numbers still


def reference_draws(run: Run) -> Draws:
    """Take the draws of a reference; a variational fit is refused (`UsageError`)."""
    draws = as_draws(run)
    if draws.is_variational:
        raise UsageError(
            f"The reference is a variational fit ({draws.method}), which can grade nothing; give "
            "the fits first and NUTS second: compare(fits, reference)."
        )
    return draws


def named_fits(fits: Run | Sequence[Run] | Mapping[str, Run], reference: Draws) -> dict[str, Draws]:
    """Name every fit, by its method where the caller gives no name.

    Raises
    ------
    UsageError
        There are none, one carries no draws, or one has the name of the reference, or one that
        is no text.
    """
    named: dict[str, Draws] = {}
    if isinstance(fits, Mapping):
        named = {name: as_draws(fit) for name, fit in fits.items()}
    else:
        for fit in map(
            as_draws, fits if isinstance(fits, Sequence) and not isinstance(fits, str) else [fits]
        ):
            named[_free_name(fit.method, {*named, reference.method})] = fit
    for name in named:
        if not is_text(name):
            raise UsageError(f"Fits are named by texts that can be written, not {told(name)}.")
    if not named:
        raise UsageError("There is nothing to compare: give at least one fit.")
    if reference.method in named:
        raise UsageError(
            f"A fit and the reference are both called {reference.method!r}; give the fit another "
            "name, or a reference of another method."
        )
    return named


@dataclass(frozen=True)
class Shared:
    """What several runs have in common.

    Attributes
    ----------
    names : tuple of str
        The k scalars, without those that are constant in the reference and without
        copies of others.
    reference : ndarray, shape (chain, draw, k)
    fits : mapping of str to ndarray, shape (chain, draw, k)
    left_out : tuple of str
        Variables that are parameters of some run and unknown to another.
    """

    names: tuple[str, ...]
    reference: Array
    fits: Mapping[str, Array]
    left_out: tuple[str, ...]


def shared_quantities(fits: Mapping[str, Draws], reference: Draws) -> Shared:
    """Gather the scalars that can be compared.

    They are parameters of one run at least, and known to all: what is a parameter of a centred
    program is computed by the non-centred one.

    Parameters
    ----------
    fits : mapping of str to Draws
    reference : Draws

    Returns
    -------
    Shared

    Raises
    ------
    DrawsError
        The runs are of different data, have nothing in common, hold draws that are NaN,
        infinite or too large to be squared, or nothing varies.
    """
    runs = {reference.method: reference, **fits}
    _require_same_data(runs)
    variables, left_out = _common_variables(runs)
    for name, run in runs.items():
        require_finite(run.posterior, variables, DrawsError, name, most=_LARGEST)
    values = _matrix(reference, variables)
    matrices = {name: _matrix(fit, variables) for name, fit in fits.items()}
    kept = varying(values)
    if not kept.any():
        raise DrawsError(f"The reference cannot grade anything. {unvaried(values)}")
    kept &= first_of_copies(values, *matrices.values())
    labels = reference.scalars(variables)
    names = tuple(label for label, keep in zip(labels, kept, strict=True) if keep)
    fitted = {name: of[..., kept] for name, of in matrices.items()}
    return Shared(names, values[..., kept], fitted, left_out)


def _require_same_data(runs: Mapping[str, Draws]) -> None:
    told = {name: run.attrs["data_hash"] for name, run in runs.items() if "data_hash" in run.attrs}
    if len(set(told.values())) > 1:
        first, *others = told
        other = next(name for name in others if told[name] != told[first])
        raise DrawsError(
            f"{first} and {other} come from different data (their hashes are {told[first]} and "
            f"{told[other]}), so nothing of one tells of the other. Run both on the same data, and "
            "with the same seed where the program draws transformed data at random."
        )


def _free_name(name: str, taken: set[str]) -> str:
    candidates = (name, *(f"{name} #{i}" for i in range(2, len(taken) + 2)))
    return next(candidate for candidate in candidates if candidate not in taken)


def _common_variables(runs: Mapping[str, Draws]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Variables to compare, and those that some run does not know."""
    telling = [run for run in runs.values() if not run.parameters_assumed] or list(runs.values())
    parameters = dict.fromkeys(key for run in telling for key in run.parameters)
    common = [key for key in parameters if all(key in run.posterior for run in runs.values())]
    if not common:
        told = "; ".join(f"{name} has {_listed(run.parameters)}" for name, run in runs.items())
        raise DrawsError(f"The runs have no parameter in common: {told}. Compare one posterior.")
    first, *others = runs
    for name in others:
        for key in common:
            mine, theirs = (runs[who].posterior[key].shape[2:] for who in (name, first))
            if mine != theirs:
                raise DrawsError(
                    f"{name} and {first} come from different data: {key} has shape {mine} in "
                    f"{name} and {theirs} in {first}."
                )
    return tuple(common), tuple(key for key in parameters if key not in common)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "") if names else "none"


def _matrix(draws: Draws, variables: tuple[str, ...]) -> Array:
    """Scalars of the variables, shape (chain, draw, k)."""
    scalars = draws.scalars(variables)
    if not scalars:
        names = ", ".join(variables)
        raise DrawsError(f"There is nothing to compare: {names} have no elements.")
    return np.stack(list(scalars.values()), axis=-1)
