"""The Python API: a Stan model in, a fit with constrained draws out."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from importlib import metadata
from typing import Any, Literal, TypeVar

import numpy as np

from stanrovi.arviz_io import to_arviz
from stanrovi.determinism import one_blas_thread
from stanrovi.draw_stats import psis_khat
from stanrovi.draws import Draws, require_finite
from stanrovi.errors import DensityError, UsageError
from stanrovi.families import Product
from stanrovi.modes import SearchSettings
from stanrovi.modes import find_modes as search_modes
from stanrovi.result import FitResult
from stanrovi.separateness import ModeReport, mode_report
from stanrovi.stan import Model
from stanrovi.target import Target
from stanrovi.vi.driver import METHODS, Method, fit_density
from stanrovi.vi.outcome import FamilySettings
from stanrovi.vi.run import Progress

_MAX_DRAWS = 2**30  # all points of the quasi-random sequence

T = TypeVar("T")
Data = str | os.PathLike[str] | Mapping[str, Any] | None


@dataclass(frozen=True, repr=False)
class Fit:
    """A variational fit of a Stan model.

    Attributes
    ----------
    result : FitResult
        The fit on unconstrained space: family, ELBO, k-hat, modes, verdict.
    draws : Draws
        Constrained draws with transformed parameters and generated quantities.
    model_name, engine : str
        The model, and the engine that evaluated its log density.
    """

    result: FitResult
    draws: Draws
    model_name: str
    engine: str

    def to_arviz(self) -> Any:
        """Convert to ArviZ's container (InferenceData or DataTree)."""
        return to_arviz(self.draws)

    def __repr__(self) -> str:
        r = self.result
        return (
            f"Fit({self.model_name!r}, method={r.method!r}, verdict={r.verdict.name!r}, "
            f"elbo={r.elbo:.3f}, khat={r.khat:.2f}, n_gradients={r.n_gradients})"
        )


def fit(
    model: Model | str | os.PathLike[str],
    data: Data = None,
    *,
    method: Method = "rovi",
    seed: int | None = None,
    draws: int = 4000,
    marginals: Literal["flexible", "affine"] = "flexible",
    preconditioner: Literal["full", "diagonal"] = "full",
    updates: Literal["joint", "alternating"] = "joint",
    max_gradients: int | None = None,
    max_seconds: float | None = None,
    progress: Progress | None = None,
) -> Fit:
    """Fit a Stan model by variational inference.

    Parameters
    ----------
    model : Model, str or path
        A model, or what `Model` accepts: a ``.stan`` file, a compiled
        BridgeStan library, or the name of a bundled model.
    data : optional
        Data for ``model`` when it is not a `Model` already.
    method : {"rovi", "mfvi", "gaussian", "mixture", "auto"}
        Rotational VI, mean field, a full-rank Gaussian, a mixture of one
        rotated product per mode, or the choice between rovi and mixture.
    seed : int, optional
        Recorded in the result; drawn from the system when not given. The same
        seed gives the same draws to the last bit on one machine, however many
        threads there are.
    draws : int
        Draws returned: quasi-random, in random order.
    marginals, preconditioner, updates
        See `stanrovi.vi.outcome.FamilySettings`.
    max_gradients, max_seconds : optional
        Budget; the best approximation so far is returned when it is spent.
    progress : callable, optional
        Called with each `stanrovi.result.TracePoint`.

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
    _check_options(method, draws, max_gradients, max_seconds)
    built = _model(model, data)
    seed = fresh_seed() if seed is None else seed
    settings = FamilySettings(marginals, preconditioner, updates)
    run = partial(
        fit_density,
        built,
        method,
        seed=seed,
        n_draws=draws,
        settings=settings,
        max_gradients=max_gradients,
        max_seconds=max_seconds,
        pareto_k=psis_khat,
        progress=progress,
        names=built.unconstrained_names,
    )
    # Climbs on densities without bound run out of floating-point numbers. What comes of
    # it is judged by the result's own numbers.
    with one_blas_thread(), np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        result = _explained(built, run)
    return Fit(result, fit_draws(built, result), built.name, built.engine)


def find_modes(
    model: Model | str | os.PathLike[str], data: Data = None, *, seed: int | None = None
) -> ModeReport:
    """Search for the modes of a Stan model and report how separate they are.

    Parameters
    ----------
    model, data
        See `fit`.
    seed : int, optional
        Of the starting points.

    Returns
    -------
    ModeReport
        Mode table, epsilon-separateness and the collapse bound, in the
        original and in rotated coordinates.

    Raises
    ------
    DensityError
        If the density is finite nowhere.
    """
    built = _model(model, data)
    seed = fresh_seed() if seed is None else seed
    target = Target(built)
    rng = np.random.default_rng(np.random.SeedSequence(seed).spawn(3)[0])
    names = tuple(built.unconstrained_names)
    with one_blas_thread():
        search = _explained(built, lambda: search_modes(target, rng, SearchSettings()))
        return mode_report(search, target.n_gradients, built.name, names)


def fit_draws(model: Model, result: FitResult) -> Draws:
    """Constrained draws of a fit, as one chain.

    Raises
    ------
    DensityError
        If draws of a parameter are NaN or infinite, or rounding swallows their spread.
    """
    _require_resolution(model, result)
    values = model.constrain(result.draws, seed=result.seed)
    require_finite(values, model.parameters, DensityError, f"the fit of {model.name}")
    return Draws(
        method=result.method,
        posterior={name: np.asarray(v, dtype=float)[None] for name, v in values.items()},
        parameters=tuple(model.parameters),
        sample_stats={"lp": result.log_p[None], "log_q": result.log_q[None]},
        attrs=_attrs(model, result),
        unconstrained=result.draws[None],
    )


def _require_resolution(model: Model, result: FitResult) -> None:
    """Refuse a fit so far from zero that neighbouring numbers lie further apart than its draws."""
    location, spread = result.draws.mean(axis=0), np.sqrt(np.diag(result.family.covariance()))
    lost = np.flatnonzero(spread < 4 * np.spacing(np.abs(location)))
    if len(lost):
        i = lost[0]
        raise DensityError(
            f"The posterior of {model.unconstrained_names[i]} is {spread[i]:.1e} wide at "
            f"{location[i]:.1e} (unconstrained), where floating-point numbers are "
            f"{np.spacing(abs(location[i])):.1e} apart; declare it with an offset near it."
        )


def fresh_seed() -> int:
    """Draw a seed from the system, below 2**31 (what CmdStan accepts)."""
    return int(np.random.SeedSequence().generate_state(1)[0] >> 1)


def mode_rows(result: FitResult) -> list[dict[str, Any]]:
    """Modes of a fit as plain data: weight, log_density, mass, position."""
    return [
        {
            "weight": m.weight,
            "log_density": m.log_density,
            "mass": m.mass if math.isfinite(m.mass) else None,
            "position": m.position.tolist(),
        }
        for m in result.modes
    ]


def _attrs(model: Model, result: FitResult) -> dict[str, str | int | float]:
    trace = [
        {
            "stage": p.stage,
            "n_gradients": p.n_gradients,
            "elbo": p.elbo if math.isfinite(p.elbo) else None,
            "elbo_se": p.elbo_se if math.isfinite(p.elbo_se) else None,
        }
        for p in result.trace
    ]
    attrs: dict[str, str | int | float] = {
        "inference_library": "stanrovi",
        "inference_library_version": metadata.version("stanrovi"),
        "model": model.name,
        "method": result.method,
        "engine": model.engine,
        "seed": result.seed,
        "status": result.status,
        "message": result.message,
        "elbo": result.elbo,
        "elbo_se": result.elbo_se,
        "khat": result.khat,
        "n_gradients": result.n_gradients,
        "n_rejections": result.n_rejections,
        "gradients_by_stage": json.dumps(dict(result.gradients_by_stage)),
        "seconds": result.seconds,
        "density_seconds": result.density_seconds,
        "verdict": result.verdict.name,
        "verdict_reasons": "\n".join(result.verdict.reasons),
        "warnings": "\n".join(result.warnings),
        "modes": json.dumps(mode_rows(result)),
        "trace": json.dumps(trace),
    }
    if isinstance(result.family, Product):
        family = result.family.standardised()
        axes = {"center": family.center.tolist(), "matrix": family.axes.tolist()}
        attrs["axes"] = json.dumps(axes)
    return attrs


def _model(model: Model | str | os.PathLike[str], data: Data) -> Model:
    if not isinstance(model, Model):
        return Model(model, data)
    if data is not None:
        raise UsageError("This model has its data already; pass data only with a program.")
    return model


def _check_options(
    method: str, draws: int, max_gradients: int | None, max_seconds: float | None
) -> None:
    if method not in METHODS:
        close = get_close_matches(str(method), METHODS, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else "."
        raise UsageError(f"Unknown method {method!r}{hint} Choose from {', '.join(METHODS)}.")
    if draws < 2:
        raise UsageError(f"draws must be at least 2, not {draws}.")
    if draws > _MAX_DRAWS:
        raise UsageError(f"draws must be at most {_MAX_DRAWS:,}, not {draws}.")
    for name, value in (("max_gradients", max_gradients), ("max_seconds", max_seconds)):
        if value is not None and not value > 0:
            raise UsageError(f"{name} must be positive, not {value}.")


def _explained(model: Model, work: Callable[[], T]) -> T:
    """Add the program's own reason to a density that is finite nowhere."""
    try:
        return work()
    except DensityError as error:
        if model.last_rejection:
            raise DensityError(
                f"{error} The program's last message: {model.last_rejection}"
            ) from None
        raise
