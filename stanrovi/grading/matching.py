"""Runs made comparable: named, of one model, over the quantities that they share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from stanrovi.diagnostics.statistics import varying
from stanrovi.draws import Draws, Run, as_draws, is_container, require_finite
from stanrovi.errors import DrawsError, UsageError
from stanrovi.target import Array


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
        There are none, one carries no draws, or one has the name of the reference.
    """
    named: dict[str, Draws] = {}
    if isinstance(fits, Mapping) and not is_container(fits):
        named = {name: as_draws(fit) for name, fit in fits.items()}
    else:
        for fit in map(
            as_draws, fits if isinstance(fits, Sequence) and not isinstance(fits, str) else [fits]
        ):
            named[_free_name(fit.method, {*named, reference.method})] = fit
    if not named:
        raise UsageError("There is nothing to compare: give at least one fit.")
    if reference.method in named:
        raise UsageError(
            f"A fit and the reference are both called {reference.method!r}; give the fit another "
            "name, or a reference of another method."
        )
    return named


def shared_quantities(
    fits: Mapping[str, Draws], reference: Draws
) -> tuple[tuple[str, ...], Array, dict[str, Array]]:
    """Gather the scalar parameters that can be compared.

    Parameters
    ----------
    fits : mapping of str to Draws
    reference : Draws

    Returns
    -------
    names : tuple of str
        The k parameters, without those that are constant in the reference and without
        copies of others.
    reference : ndarray, shape (chain, draw, k)
    fits : dict of str to ndarray, shape (chain, draw, k)

    Raises
    ------
    DrawsError
        The runs are of different models or data, hold NaN or infinite draws, or
        nothing varies.
    """
    variables = _common_parameters(fits, reference)
    for name, run in {reference.method: reference, **fits}.items():
        require_finite(run.posterior, variables, DrawsError, name)
    values = _matrix(reference, variables)
    matrices = {name: _matrix(fit, variables) for name, fit in fits.items()}
    kept = varying(values)
    if not kept.any():
        raise DrawsError("Every parameter of the reference is constant; run the sampler again.")
    kept &= _first_of_copies([values, *matrices.values()])
    labels = reference.scalars(variables)
    names = tuple(label for label, keep in zip(labels, kept, strict=True) if keep)
    return names, values[..., kept], {name: of[..., kept] for name, of in matrices.items()}


def _free_name(name: str, taken: set[str]) -> str:
    candidates = (name, *(f"{name} #{i}" for i in range(2, len(taken) + 2)))
    return next(candidate for candidate in candidates if candidate not in taken)


def _common_parameters(fits: Mapping[str, Draws], reference: Draws) -> tuple[str, ...]:
    for name, fit in fits.items():
        only_fit = [key for key in fit.parameters if key not in reference.posterior]
        only_reference = [key for key in reference.parameters if key not in fit.posterior]
        if only_fit or only_reference:
            raise DrawsError(
                f"{name} and {reference.method} come from different models: parameters only in "
                f"{name}: {_listed(only_fit)}; only in {reference.method}: "
                f"{_listed(only_reference)}. Compare runs of one program."
            )
        for key in fit.parameters:
            mine, theirs = fit.posterior[key].shape[2:], reference.posterior[key].shape[2:]
            if mine != theirs:
                raise DrawsError(
                    f"{name} and {reference.method} come from different data: {key} has shape "
                    f"{mine} in {name} and {theirs} in {reference.method}."
                )
    common = [
        key for key in reference.parameters if all(key in fit.parameters for fit in fits.values())
    ]
    if not common:
        raise DrawsError(f"The fits and {reference.method} have no parameter in common.")
    return tuple(common)


def _listed(names: list[str]) -> str:
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "") if names else "none"


def _matrix(draws: Draws, variables: tuple[str, ...]) -> Array:
    """Scalars of the variables, shape (chain, draw, k)."""
    return np.stack(list(draws.scalars(variables).values()), axis=-1)


def _first_of_copies(runs: list[Array]) -> NDArray[np.bool_]:
    """Which quantities are no copy of an earlier one in all runs, as in a symmetric matrix."""
    first: dict[tuple[int, ...], int] = {}
    keys = (tuple(hash(run[..., i].tobytes()) for run in runs) for i in range(runs[0].shape[-1]))
    return np.array([first.setdefault(key, i) == i for i, key in enumerate(keys)])
