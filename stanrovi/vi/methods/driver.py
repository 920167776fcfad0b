"""From a density and a method's name to a `FitResult`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from stanrovi.arguments import check_choice
from stanrovi.errors import DensityError
from stanrovi.methods import METHODS, Method
from stanrovi.modes.basins import Mode, basin_shares
from stanrovi.modes.search import SearchResult, extended_search, search_modes
from stanrovi.scalars import Scalars
from stanrovi.target import Array, BudgetExhausted, Density, Target
from stanrovi.vi.checks.evidence import Evidence
from stanrovi.vi.checks.examine import examine
from stanrovi.vi.checks.verdict import Case, judge
from stanrovi.vi.conditional import told_roots
from stanrovi.vi.fit_run import FitRun, TraceListener
from stanrovi.vi.methods.auto import fit_auto
from stanrovi.vi.methods.gaussian import fit_full_rank
from stanrovi.vi.methods.mfvi import fit_mfvi
from stanrovi.vi.methods.mixture import fit_mixture
from stanrovi.vi.methods.rovi import fit_rovi
from stanrovi.vi.methods.structured import fit_structured
from stanrovi.vi.outcome import Outcome
from stanrovi.vi.result import FitResult
from stanrovi.vi.settings import FamilySettings
from stanrovi.vi.start import laplace
from stanrovi.vi.warnings import warnings

MethodFunction = Callable[[FitRun, SearchResult, FamilySettings], Outcome]

_JUDGED_DRAWS = 1000  # a verdict from fewer would be a matter of luck

_FUNCTIONS: dict[Method, MethodFunction] = {
    "gaussian": fit_full_rank,
    "mfvi": fit_mfvi,
    "rovi": fit_rovi,
    "structured": fit_structured,
    "mixture": fit_mixture,
    "auto": fit_auto,
}


def fit_density(
    density: Density,
    method: Method,
    *,
    seed: int,
    n_draws: int = 4000,
    settings: FamilySettings | None = None,
    max_gradients: int | None = None,
    max_seconds: float | None = None,
    pareto_k: Callable[[Array], float],
    progress: TraceListener | None = None,
    names: Sequence[str] | None = None,
    scalars: Scalars | None = None,
    known: FitResult | None = None,
    probe: bool = True,
) -> FitResult:
    """Fit a variational family to a density.

    Parameters
    ----------
    density : Density
        Log density on unconstrained space.
    method : {"gaussian", "mfvi", "rovi", "structured", "mixture", "auto"}
    seed : int
        Same seed, same result.
    n_draws : int
        Draws returned. ELBO, k-hat and verdict of the result are computed on
        them, or on `_JUDGED_DRAWS` of which they are the first.
    settings : FamilySettings, optional
    max_gradients, max_seconds : optional
        Budget of the fit, that of the checks behind its verdict apart; when it is spent the
        best approximation so far is returned, with status ``"budget"``.
    pareto_k : callable
        Pareto shape of log importance ratios (n,).
    progress : callable, optional
        Called with each `TracePoint`.
    names : sequence of str, optional
        Unconstrained parameters, for messages.
    scalars : Scalars, optional
        Quantities whose marginals the verdict is about; the unconstrained parameters if not given.
    known : FitResult, optional
        An earlier fit, whose modes are taken instead of a search's, with those that it lacks.
    probe : bool
        Whether the checks spend gradients on the error of marginals where the weights and
        scores at the draws do not tell it.

    Returns
    -------
    FitResult

    Raises
    ------
    DensityError
        If the density is nowhere finite, or the budget does not cover the
        starting points.
    UsageError
        For an unknown method.
    """
    check_choice("method", method, METHODS)
    settings = settings or FamilySettings()
    began = time.perf_counter()
    deadline = None if max_seconds is None else began + max_seconds
    target = Target(density, max_gradients=max_gradients, deadline=deadline)
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(4)]
    run = FitRun(target, streams[1], progress)
    search, outcome = _search_and_fit(run, streams[0], method, settings, known)
    seconds = time.perf_counter() - began
    draws = outcome.family.sample(max(n_draws, _JUDGED_DRAWS if probe else 0), streams[2])
    log_p, gradient = Target(density).log_density_gradient(draws)
    log_q = outcome.family.log_density(draws)
    modes = _with_masses(search.modes, draws)
    # What a family itself cannot tell of a draw counts as rejected, too.
    log_p = np.where(np.isfinite(log_q), log_p, -np.inf)
    ratio = log_p[np.isfinite(log_p)] - log_q[np.isfinite(log_p)]
    if not len(ratio):
        raise DensityError(
            "The target rejects every draw of the fit, so nothing can be said of it. Check the "
            "constraints of the program: the density is not finite where its mass should be."
        )
    khat = pareto_k(ratio)
    roots = told_roots(outcome.family, draws, names)
    rejected = len(draws) - len(ratio)
    coordinates = Scalars.coordinates(target.dim, names)
    checking = Target(density, deadline=deadline)
    evidence = Evidence(checking, outcome.family, draws, gradient, log_p, log_q, khat, pareto_k)
    with checking.stage("checks"):
        checks = examine(
            evidence,
            modes,
            scalars or coordinates,
            coordinates.names,
            streams[3],
            n_gradients=target.n_gradients,
            probe=probe,
            search=outcome.misfit is None,
        )
    verdict = judge(
        Case(method, outcome, modes, evidence.log_ratio, khat, checks, roots, coordinates.names)
    )
    return FitResult(
        method=method,
        status=outcome.status,
        message=" ".join([outcome.message, *(f"{root}." for root in roots)]),
        family=outcome.family,
        draws=draws[:n_draws],
        log_p=log_p[:n_draws],
        log_q=log_q[:n_draws],
        elbo=float(ratio.mean()) if rejected == 0 else float("-inf"),
        elbo_se=float(ratio.std(ddof=1) / np.sqrt(len(ratio))) if len(ratio) > 1 else float("nan"),
        khat=khat,
        trace=tuple(run.trace),
        n_gradients=target.n_gradients,
        n_rejections=target.n_rejections,
        gradients_by_stage={
            **target.by_stage,
            "draws": len(draws),
            "checks": checking.n_gradients,
        },
        seconds_by_stage={**target.seconds_by_stage, **checking.seconds_by_stage},
        settings=settings,
        seconds=seconds,
        density_seconds=target.seconds,
        dim=target.dim,
        seed=seed,
        modes=modes,
        verdict=verdict,
        warnings=warnings(search, target, run.trace, outcome, names),
        errors=checks.errors,
        absent=np.array(checks.places).reshape(-1, target.dim),
        roots=roots,
    )


def _search_and_fit(
    run: FitRun,
    rng: np.random.Generator,
    method: Method,
    settings: FamilySettings,
    known: FitResult | None,
) -> tuple[SearchResult, Outcome]:
    try:
        if known is not None and known.modes:
            search = extended_search(run.target, known.modes, known.absent)
        else:
            search = search_modes(run.target, rng)
    except BudgetExhausted:
        raise DensityError(
            "The budget does not cover the starting points of the mode search, so there is no "
            "approximation to return; allow more gradients or seconds."
        ) from None
    first = laplace(search.peak)
    if not search.complete:
        message = "The budget ran out during the mode search; this is the local quadratic at the "
        message += "best mode so far." if search.modes else "highest point so far."
        return search, Outcome(first, "budget", message)
    run.family = first
    try:
        return search, _FUNCTIONS[method](run, search, settings)
    except BudgetExhausted:
        message = "The budget ran out; this is the best approximation so far."
        return search, Outcome(run.family, "budget", message)


def _with_masses(modes: tuple[Mode, ...], draws: Array) -> tuple[Mode, ...]:
    if not modes:
        return ()
    share = basin_shares(modes, draws)
    return tuple(replace(m, mass=float(s)) for m, s in zip(modes, share, strict=True))
