"""A variational fit: a Stan model in, constrained draws out."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np

from stanrovi.arguments import check_choice, checked_count, checked_seconds, checked_seed
from stanrovi.diagnostics.statistics import psis_khat
from stanrovi.draws import require_finite
from stanrovi.errors import DensityError
from stanrovi.families.sobol import MAX_POINTS
from stanrovi.methods import METHODS, Method
from stanrovi.runs.fitted import Fit, recorded
from stanrovi.runs.guard import guarded
from stanrovi.runs.plan import Plan, limited_to
from stanrovi.runs.progress import of_fit
from stanrovi.runs.record import constrained_until
from stanrovi.stan.data import DataSource
from stanrovi.stan.memory import drawing
from stanrovi.stan.model import Model, ModelSource, as_model
from stanrovi.vi.fit_run import TraceListener
from stanrovi.vi.methods.driver import fit_density
from stanrovi.vi.result import FitResult
from stanrovi.vi.settings import FamilySettings


def fit(
    model: ModelSource,
    data: DataSource = None,
    *,
    method: Method = "auto",
    seed: int | None = None,
    draws: int = 4000,
    marginals: Literal["flexible", "affine"] = "flexible",
    preconditioner: Literal["full", "diagonal"] = "full",
    updates: Literal["joint", "alternating"] = "joint",
    max_gradients: int | None = None,
    max_seconds: float | None = None,
    progress: bool | TraceListener | None = None,
) -> Fit:
    """Fit a Stan model by variational inference.

    Parameters
    ----------
    model : Model, str or path
        A model, or what `Model` accepts: a ``.stan`` file, a compiled
        BridgeStan library, or the name of a bundled model.
    data : optional
        Data for ``model`` when it is not a `Model` already.
    method : {"auto", "rovi", "structured", "mixture", "mfvi", "gaussian"}
        The choice among the next three; rotational VI; a few parameters and the rest
        given them, for hierarchies; a mixture with one component per mode; mean field;
        a full-rank Gaussian.
    seed : int, optional
        Below 2**32, recorded in the result; drawn from the system when not given. The same
        seed gives the same draws to the last bit on one machine, however many
        threads there are.
    draws : int
        Draws returned: quasi-random, in random order.
    marginals, preconditioner, updates
        See `stanrovi.vi.settings.FamilySettings`.
    max_gradients, max_seconds : optional
        Budget; the best approximation so far is returned when it is spent. Gradients of the
        search and the fit are limited; those at draws and of the checks come on top (all are
        counted in ``n_gradients``). Seconds hold for everything once the model is loaded,
        within a tenth and the time of 16 gradients; fewer draws are evaluated where they end
        early. A program that loops for ever is given up.
    progress : bool or callable, optional
        True shows a line that tells it, on a terminal or below a notebook's cell. A
        callable is called with each `stanrovi.vi.facts.TracePoint`.

    Returns
    -------
    Fit

    Raises
    ------
    UsageError
        For an unknown method or an impossible option.
    ModelError, DataError
        If the model cannot be built.
    DensityError
        If the density is finite nowhere, the budget was too small, or draws of a
        parameter leave the range or the precision of floating-point numbers.
    """
    check_choice("method", method, METHODS)
    draws = checked_count("draws", draws, 2, MAX_POINTS)
    seed = checked_seed(seed)
    settings = FamilySettings(marginals, preconditioner, updates)
    if max_gradients is not None:
        max_gradients = checked_count("max_gradients", max_gradients, 1)
    max_seconds = checked_seconds(max_seconds)
    with of_fit(progress, method) as heard:
        with limited_to(max_seconds):
            built = as_model(model, data)
        plan = Plan.of(built, max_seconds)
        run = partial(
            fit_density,
            built,
            method,
            seed=seed,
            n_draws=draws,
            settings=settings,
            max_gradients=max_gradients,
            max_seconds=plan.left(),
            seconds_per_draw=plan.seconds_per_draw,
            pareto_k=psis_khat,
            progress=heard,
            names=built.unconstrained_names,
            scalars=built.scalars,
        )
        with drawing(built, draws):
            return _with_draws(built, guarded(built, run), plan.until)


def _with_draws(model: Model, result: FitResult, until: float | None) -> Fit:
    """Constrain the draws of a fit, as one chain, as many as the time allows.

    Raises
    ------
    DensityError
        If draws of a parameter are NaN or infinite, or rounding swallows their spread.
    """
    _require_resolution(model, result)
    values, n, note = constrained_until(model, result.draws[None], until, seed=result.seed)
    require_finite(values, model.parameters, DensityError, f"the fit of {model.name}")
    if note:
        result = replace(
            result,
            message=f"{result.message} {note}",
            draws=result.draws[:n],
            log_p=result.log_p[:n],
            log_q=result.log_q[:n],
            warnings=(*result.warnings, note),
        )
    return Fit(result, recorded(model, result, values), model.name, model.engine, model)


def _require_resolution(model: Model, result: FitResult) -> None:
    """Refuse a fit so far from zero that neighbouring numbers lie further apart than its draws."""
    location = result.draws.mean(axis=0)
    lost = np.flatnonzero(result.draws.std(axis=0) < 4 * np.spacing(np.abs(location)))
    if len(lost):
        i, spread = lost[0], result.family.sd()
        raise DensityError(
            f"The posterior of {model.unconstrained_names[i]} is {spread[i]:.1e} wide at "
            f"{location[i]:.1e} (unconstrained), where floating-point numbers are "
            f"{np.spacing(abs(location[i])):.1e} apart; declare it with an offset near it."
        )
