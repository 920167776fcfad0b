"""Draws to publish from a Stan model: a fit, and chains that move by it."""

from __future__ import annotations

from functools import partial
from typing import Protocol

from stanrovi.arguments import (
    checked_count,
    checked_flag,
    checked_number,
    checked_seconds,
    checked_seed,
    told,
)
from stanrovi.diagnostics.statistics import mixing, psis_khat
from stanrovi.draws import Draws, Values, not_finite, require_finite
from stanrovi.errors import DensityError, UsageError
from stanrovi.runs.guard import guarded
from stanrovi.runs.plan import Plan, limited_to
from stanrovi.runs.progress import of_words
from stanrovi.runs.record import constrained_until, record
from stanrovi.runs.sample_run import SampleRun
from stanrovi.samplers.bridge import LogRatio
from stanrovi.samplers.by_fit import Report, Sampled, sample_density
from stanrovi.samplers.mixing import Goal
from stanrovi.samplers.trust import doubts, support
from stanrovi.stan.data import DataSource
from stanrovi.stan.model import Model, ModelSource, as_model
from stanrovi.vi.methods.driver import fit_density
from stanrovi.vi.result import FitResult

_MOST_GRADIENTS = 500_000
_DRAWS_AN_ESS = 1.5  # that chains will need, to plan by
_FIT_DRAWS = 512  # of the fit, which chains only start from


class Fitted(Protocol):
    """What `stanrovi.fit` returns, as far as it is needed here."""

    @property
    def result(self) -> FitResult:
        """The fit on unconstrained space."""


def sample(
    model: ModelSource,
    data: DataSource = None,
    *,
    chains: int = 4,
    ess: float = 400,
    seed: int | None = None,
    init: Fitted | None = None,
    wide_leg: bool = False,
    max_gradients: int = _MOST_GRADIENTS,
    max_seconds: float | None = None,
    progress: bool | Report | None = None,
) -> SampleRun:
    """Sample a posterior until its draws can be trusted, at a fraction of the cost of NUTS.

    A fit comes first (method ``auto``). One basin: chains in the fit's base coordinates, where
    the posterior is nearly standard normal; NUTS where those do not mix. Several: parallel
    tempering between fit and posterior with jumps between basins, and a second leg from a wide
    reference, whose evidence must agree. Sampling goes on until every parameter has rank R-hat
    below 1.01 and the bulk and tail ESS asked for, or the budget is spent.

    Parameters
    ----------
    model, data
        See `stanrovi.fit`.
    chains : int
    ess : float
        Bulk and tail effective sample size that every parameter must have.
    seed : int, optional
        Below 2**32, recorded; drawn from the system when not given.
    init : Fit, optional
        A fit of the same model to begin from. One that lacks modes it knows of is made anew.
    wide_leg : bool
        Whether to temper from a wide reference also where the fit knows one basin: a look for
        modes that no climb has found, at several times the cost.
    max_gradients : int
        Budget, everything counted.
    max_seconds : float, optional
        For everything once the model is loaded; see `stanrovi.fit`.
    progress : bool or callable, optional
        True shows a line that tells it, on a terminal or below a notebook's cell. A
        callable takes a few words on what is done now.

    Returns
    -------
    SampleRun
        Trusted or not, with the reason.

    Raises
    ------
    UsageError
        For an impossible option, or a fit of another model.
    ModelError, DataError
        If the model cannot be built.
    DensityError
        If the density is finite nowhere, or the budget is spent before the first draws.
    """
    chains = checked_count("chains", chains, 1, 1000)
    max_gradients = checked_count("max_gradients", max_gradients, 1)
    seed = checked_seed(seed)
    ess = checked_number("ess", ess, 1)
    wide_leg = checked_flag("wide_leg", wide_leg)
    if init is not None and not isinstance(getattr(init, "result", None), FitResult):
        raise UsageError(f"init must be a fit, as stanrovi.fit returns it, not {told(init)}.")
    max_seconds = checked_seconds(max_seconds)
    with of_words(progress, "sampling") as heard:
        with limited_to(max_seconds):
            built = as_model(model, data)
        if init is not None and init.result.dim != built.dim:
            raise UsageError(
                f"The fit has {init.result.dim} unconstrained parameters and {built.name} has "
                f"{built.dim}; give a fit of the same model with the same data."
            )
        plan = Plan.of(built, max_seconds)
        seconds = plan.left(round(_DRAWS_AN_ESS * ess))
        goal = Goal(chains, float(ess), max_gradients=max_gradients, max_seconds=seconds)
        run = partial(
            sample_density,
            built,
            seed=seed,
            goal=goal,
            mixing=mixing,
            fitter=partial(_fitted, built, seed),
            names=built.unconstrained_names,
            scalars=built.scalars,
            init=None if init is None else init.result,
            wide_leg=wide_leg,
            report=heard,
        )
        result = guarded(built, run)
        reasons = doubts(result, goal)
        reason = " ".join(reasons) if reasons else support(result, goal)
        evidence, note = _evidence(built, result)
        values, n, short = constrained_until(built, result.trace.x, plan.until, seed=seed)
        draws = _draws(
            built, result, values, n, seed, trusted=not reasons, reason=reason, evidence=evidence
        )
        warnings = (short,) if short else ()
        if not short and (found := not_finite(values)):
            warnings = (f"{' and '.join(found)}, as computed by the program",)
        flaw = result.fit.flaw
        if flaw is not None and str(flaw) not in reasons:
            warnings = (*warnings, str(flaw))
        return SampleRun(
            draws=draws,
            result=result,
            engine=built.engine,
            seed=seed,
            trusted=not reasons,
            reason=reason,
            log_evidence=evidence,
            evidence_note=note,
            warnings=warnings,
        )


def _fitted(
    model: Model,
    seed: int,
    known: FitResult | None,
    attempt: int,
    *,
    max_gradients: int | None,
    max_seconds: float | None,
) -> FitResult:
    return fit_density(
        model,
        "auto",
        seed=seed + attempt,
        n_draws=_FIT_DRAWS,
        max_gradients=max_gradients,
        max_seconds=max_seconds,
        pareto_k=psis_khat,
        names=model.unconstrained_names,
        scalars=model.scalars,
        known=known,
        probe=False,
    )


def _evidence(model: Model, result: Sampled) -> tuple[LogRatio, str]:
    """Log evidence with the constant that the engine drops, where that can be known."""
    constant, note = model.dropped_constant
    own = result.evidence
    return LogRatio(own.value + constant, own.se), note


def _draws(
    model: Model,
    result: Sampled,
    values: dict[str, Values],
    n: int,
    seed: int,
    *,
    trusted: bool,
    reason: str,
    evidence: LogRatio,
) -> Draws:
    """Record the first n draws of each chain, of which the values are known."""
    trace = result.trace
    require_finite(values, model.parameters, DensityError, f"the draws of {model.name}")
    return record(
        model,
        "sample",
        values,
        engine=model.engine,
        seed=seed,
        unconstrained=trace.x[:, :n],
        sample_stats={name: values[:, :n] for name, values in trace.sample_stats().items()},
        attrs={
            "kernel": result.kernel,
            "iter_warmup": result.n_warm_up,
            "seconds": result.seconds,
            "n_gradients": result.n_gradients,
            "divergences": int(trace.diverged.sum()),
            "log_evidence": evidence.value,
            "log_evidence_se": evidence.se,
            "trusted": int(trusted),
            "reason": reason,
        },
    )
