"""The Python API: a Stan model in, a fit with constrained draws out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from importlib import metadata
from typing import Any, Literal, TypeVar

import numpy as np

from stanrovi.arguments import check_choice, checked_count, checked_seed
from stanrovi.arviz_io import to_arviz
from stanrovi.determinism import one_blas_thread
from stanrovi.draw_stats import psis_khat
from stanrovi.draws import Draws, require_finite
from stanrovi.errors import DensityError, UsageError
from stanrovi.families import Product
from stanrovi.json_values import plain
from stanrovi.modes import SearchSettings
from stanrovi.modes import find_modes as search_modes
from stanrovi.result import FitResult
from stanrovi.separateness import ModeReport, mode_report
from stanrovi.stan.data import DataSource
from stanrovi.stan.model import Model, ModelSource, as_model
from stanrovi.target import Target
from stanrovi.vi.driver import METHODS, Method, fit_density
from stanrovi.vi.outcome import FamilySettings
from stanrovi.vi.run import Progress

_MAX_DRAWS = 2**30  # all points of the quasi-random sequence

T = TypeVar("T")


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
        first = f" ({r.verdict.reasons[0]})" if r.verdict.reasons else ""
        return (
            f"<Fit: {self.model_name} by {r.method}, {r.verdict.name}{first}, ELBO {r.elbo:.3f}, "
            f"k-hat {r.khat:.2f}, {r.n_gradients:,} gradients>"
        )


def fit(
    model: ModelSource,
    data: DataSource = None,
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
        Below 2**32, recorded in the result; drawn from the system when not given. The same
        seed gives the same draws to the last bit on one machine, however many
        threads there are.
    draws : int
        Draws returned: quasi-random, in random order.
    marginals, preconditioner, updates
        See `stanrovi.vi.outcome.FamilySettings`.
    max_gradients, max_seconds : optional
        Budget; the best approximation so far is returned when it is spent. The log
        densities at the result's draws come on top of it, and are not counted in
        ``n_gradients``.
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
    check_choice("method", method, METHODS)
    draws = checked_count("draws", draws, 2, _MAX_DRAWS)
    seed = checked_seed(seed)
    settings = FamilySettings(marginals, preconditioner, updates)
    if max_gradients is not None:
        max_gradients = checked_count("max_gradients", max_gradients, 1)
    if max_seconds is not None and not max_seconds > 0:
        raise UsageError(f"max_seconds must be positive, not {max_seconds}.")
    built = as_model(model, data)
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
    result = _guarded(built, run)
    return Fit(result, fit_draws(built, result), built.name, built.engine)


def find_modes(
    model: ModelSource, data: DataSource = None, *, seed: int | None = None
) -> ModeReport:
    """Search for the modes of a Stan model and report how separate they are.

    Parameters
    ----------
    model, data
        See `fit`.
    seed : int, optional
        Of the starting points, below 2**32.

    Returns
    -------
    ModeReport
        Mode table, epsilon-separateness and the collapse bound, in the
        original and in rotated coordinates.

    Raises
    ------
    UsageError
        For a seed that is none.
    ModelError, DataError
        If the model cannot be built.
    DensityError
        If the density is finite nowhere.
    """
    seed = checked_seed(seed)
    built = as_model(model, data)
    target = Target(built)
    rng = np.random.default_rng(np.random.SeedSequence(seed).spawn(3)[0])
    names = tuple(built.unconstrained_names)

    def work() -> ModeReport:
        search = search_modes(target, rng, SearchSettings())
        return mode_report(search, target.n_gradients, built.name, names)

    return _guarded(built, work)


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


def mode_rows(result: FitResult) -> list[dict[str, Any]]:
    """Modes of a fit as JSON values: weight, log_density, mass, position."""
    fields = ("weight", "log_density", "mass", "position")
    return [plain({name: getattr(mode, name) for name in fields}) for mode in result.modes]


def _attrs(model: Model, result: FitResult) -> dict[str, str | int | float]:
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
        "trace": json.dumps([plain(asdict(point)) for point in result.trace]),
    }
    if isinstance(result.family, Product):
        family = result.family.standardised()
        attrs["axes"] = json.dumps(plain({"center": family.center, "matrix": family.axes}))
    return attrs


def _guarded(model: Model, work: Callable[[], T]) -> T:
    """Run numerical work, and add the program's own reason to a density that is finite nowhere.

    Climbs on densities without bound run out of floating-point numbers; what comes of it is
    judged by the result's own numbers, so NumPy need not warn.
    """
    try:
        with one_blas_thread(), np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return work()
    except DensityError as error:
        if model.last_rejection:
            raise DensityError(
                f"{error} The program's last message: {model.last_rejection}"
            ) from None
        raise
