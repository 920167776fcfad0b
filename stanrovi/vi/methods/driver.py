"""From a density and a method's name to a `FitResult`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from stanrovi.arguments import (
    check_choice,
    checked_count,
    checked_flag,
    checked_number,
    checked_seed,
    listed,
    told,
)
from stanrovi.errors import DensityError, UsageError
from stanrovi.families.axes import DENSE_LIMIT
from stanrovi.families.sobol import MAX_POINTS
from stanrovi.given import Guarded, foreign
from stanrovi.methods import METHODS, Method
from stanrovi.modes.basins import Mode, basin_shares
from stanrovi.modes.coherence import Flaw, find_flaw
from stanrovi.modes.found import SearchResult
from stanrovi.modes.search import extended_search, search_modes
from stanrovi.scalars import Scalars
from stanrovi.target import Array, BudgetExhausted, Clock, Density, Target
from stanrovi.vi.checks.basins import Shift
from stanrovi.vi.checks.evidence import Evidence
from stanrovi.vi.checks.examine import examine, most_gradients
from stanrovi.vi.checks.found import Checks
from stanrovi.vi.checks.marginals import with_enough_draws
from stanrovi.vi.checks.verdict import Case, judge
from stanrovi.vi.conditional import told_roots
from stanrovi.vi.fit_run import FitRun, TraceListener
from stanrovi.vi.methods.auto import fit_auto
from stanrovi.vi.methods.gaussian import fit_full_rank
from stanrovi.vi.methods.large import fit_large
from stanrovi.vi.methods.mfvi import fit_mfvi
from stanrovi.vi.methods.mixture import fit_mixture
from stanrovi.vi.methods.rovi import fit_rovi
from stanrovi.vi.methods.structured import fit_structured
from stanrovi.vi.outcome import Outcome
from stanrovi.vi.result import FitResult
from stanrovi.vi.seen import Seen
from stanrovi.vi.settings import FamilySettings
from stanrovi.vi.start import laplace
from stanrovi.vi.warnings import warnings
from stanrovi.waiting import within

MethodFunction = Callable[[FitRun, SearchResult, FamilySettings], Outcome]

_JUDGED_DRAWS = 1000  # evaluated at first; a verdict from fewer would be a matter of luck
_SEVERAL: tuple[Method, ...] = ("rovi", "mixture", "auto")  # which can hold several modes
_AFTER = ("draws", "checks")  # stages that follow a fit
_FEWEST = 64  # draws, when the time is over
_TIMED, _TO_JUDGE = 64, 6.0  # draws timed, and what judging takes in units of making them
_REPAIRS = 3  # fits with modes that the checks of the fit before have found

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
    seconds_per_draw: float = 0.0,
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
        Draws returned. ELBO, k-hat and verdict of the result are computed on the first
        1,000 of them, on more where those do not tell the error of a marginal, and on
        further ones where fewer are returned.
    settings : FamilySettings, optional
    max_gradients, max_seconds : optional
        Budget; when it is spent the best approximation so far is returned, with status
        ``"budget"``. Gradients at the draws and of the checks behind the verdict come on top of
        it; seconds hold for everything, and where they end early fewer draws are evaluated.
    seconds_per_draw : float
        What each draw costs the caller afterwards, for which part of the seconds is kept.
    pareto_k : callable
        Pareto shape of log importance ratios (n,).
    progress : callable, optional
        Called with each `stanrovi.vi.facts.TracePoint`.
    names : sequence of str, optional
        Unconstrained parameters, for messages.
    scalars : Scalars, optional
        Quantities whose marginals the verdict is about; the unconstrained parameters if not given,
        and in more than 500 dimensions.
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
        starting points and a few draws.
    UsageError
        For an unknown method.
    """
    check_choice("method", method, METHODS)
    seed, n_draws = checked_seed(seed), checked_count("n_draws", n_draws, 1, MAX_POINTS)
    if max_gradients is not None:
        max_gradients = checked_count("max_gradients", max_gradients, 1)
    if max_seconds is not None:  # zero, where what came before has taken all
        max_seconds = checked_number("max_seconds", max_seconds, 0)
    seconds_per_draw = checked_number("seconds_per_draw", seconds_per_draw, 0)
    probe = checked_flag("probe", probe)
    settings = FamilySettings() if settings is None else settings
    for name, value, kind in (
        ("settings", settings, FamilySettings),
        ("scalars", scalars, Scalars),
        ("known", known, FitResult),
    ):
        if value is not None and not isinstance(value, kind):
            raise UsageError(f"{name} must be of type {kind.__name__}, not {told(value)}.")
    if not callable(pareto_k) or not (progress is None or callable(progress)):
        raise UsageError("pareto_k and progress must be functions.")
    density = Guarded(density)
    seen = Seen(density)
    if names is not None:
        names = listed("names", names)
        if len(names) != seen.dim or not all(isinstance(name, str) for name in names):
            raise UsageError(
                f"names must be {seen.dim} texts, one for each unconstrained parameter, not "
                f"{told(names)}."
            )
    began = time.perf_counter()
    n_drawn = max(n_draws, _JUDGED_DRAWS if probe else 0)
    n_judged = min(n_drawn, _JUDGED_DRAWS)
    clock = None if max_seconds is None else Clock(max_seconds, within, seconds_per_draw, n_draws)
    target = Target(seen, max_gradients=max_gradients, clock=clock, reserved=n_judged)
    checking = Target(density, clock=clock)
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(4)]
    run = FitRun(target, streams[1], progress)
    coordinates = Scalars.coordinates(target.dim, names)
    judged = coordinates if scalars is None or target.dim > DENSE_LIMIT else scalars

    def tail(log_ratio: Array) -> float:
        return foreign("pareto_k", lambda: float(pareto_k(log_ratio)))

    def tried(search: SearchResult) -> _Tried:
        cost = 0.0 if clock is None else _seconds_to_judge(search)
        if clock is not None:
            clock.keep(n_drawn, cost)
        outcome = _fitted(run, search, method, settings, clock)
        n = n_drawn
        if clock is not None:
            clock.begin_draws(n_draws)
            n = min(n_drawn, max(_FEWEST, int(clock.left / cost)))
        draws = outcome.family.sample(n, streams[2])
        evidence = Evidence.at(checking, outcome.family, draws, min(n, n_judged), tail)
        if len(evidence.x) < n_judged:
            outcome = _cut(outcome, len(evidence.x), n_judged, clock)
        modes = _with_masses(search.modes, draws)
        with checking.stage("checks"):
            if probe:
                most = most_gradients(target.n_gradients)
                evidence = with_enough_draws(evidence, judged, modes, most, streams[3])
                evidence = replace(evidence, seen=seen.points)
            checks = examine(
                evidence,
                modes,
                judged,
                coordinates.names,
                streams[3],
                n_gradients=target.n_gradients,
                probe=probe,
                search=outcome.misfit is None,
            )
        modes = _with_errors(modes, checks.shifts)
        return _Tried(search, outcome, modes, draws, evidence, checks)

    search = _searched(run, streams[0], known, coordinates.names, clock)
    try:
        last = tried(search)
    except BudgetExhausted:
        raise DensityError(
            "The budget ended before draws of the fit could be evaluated, so nothing can be said "
            f"of it; allow more seconds.{_overdue(clock)}"
        ) from None
    for _ in range(_REPAIRS if method in _SEVERAL else 0):
        if not last.checks.places or last.outcome.status == "budget":
            break
        try:
            places = np.stack(last.checks.places)
            search = extended_search(
                target, last.search.modes, places, streams[0], coordinates.names
            )
            if not search.complete or len(search.modes) <= len(last.search.modes):
                break
            again = tried(search)
        except BudgetExhausted:
            break
        if len(again.evidence.x) < n_judged:
            break
        last = again
    outcome, evidence = last.outcome, last.evidence
    accepted = np.isfinite(evidence.log_p)
    ratio = evidence.log_ratio[accepted]
    roots = told_roots(outcome.family, last.draws, names)
    with checking.stage("checks"):
        flaw = _flaw(last, coordinates.names)
    verdict = judge(
        Case(
            method,
            outcome,
            last.modes,
            evidence.log_ratio,
            evidence.khat,
            last.checks,
            last.search.unseen,
            roots,
            coordinates.names,
            flaw,
        )
    )
    is_told = flaw is not None and flaw.reason in verdict.reasons
    return FitResult(
        method=method,
        status=outcome.status,
        message=" ".join([outcome.message, *(f"{root}." for root in roots)]),
        family=outcome.family,
        draws=last.draws[:n_draws],
        log_p=evidence.log_p[:n_draws],
        log_q=evidence.log_q[:n_draws],
        elbo=float(ratio.mean()) if accepted.all() else float("-inf"),
        elbo_se=float(ratio.std(ddof=1) / np.sqrt(len(ratio))) if len(ratio) > 1 else float("nan"),
        khat=evidence.khat,
        trace=tuple(run.trace),
        n_gradients=target.n_gradients + checking.n_gradients,
        n_rejections=target.n_rejections + checking.n_rejections,
        gradients_by_stage={
            **target.by_stage,
            **{stage: checking.by_stage.get(stage, 0) for stage in _AFTER},
        },
        seconds_by_stage={
            **target.seconds_by_stage,
            **{stage: checking.seconds_by_stage[stage] for stage in _AFTER},
        },
        settings=settings,
        seconds=time.perf_counter() - began,
        density_seconds=target.seconds + checking.seconds,
        dim=target.dim,
        seed=seed,
        modes=last.modes,
        verdict=verdict,
        warnings=(
            *warnings(last.search, target, run.trace, outcome, names, None if is_told else flaw),
            *_fewer(len(evidence.x), n_judged, len(last.draws), n_draws),
        ),
        errors=last.checks.errors,
        absent=np.array(last.checks.places).reshape(-1, target.dim),
        unseen=last.search.unseen,
        roots=roots,
        flaw=flaw,
    )


@dataclass(frozen=True)
class _Tried:
    """A fit with the modes that it began from, and what the checks say of it."""

    search: SearchResult
    outcome: Outcome
    modes: tuple[Mode, ...]
    draws: Array
    evidence: Evidence
    checks: Checks


def _seconds_to_judge(search: SearchResult) -> float:
    """Seconds that a draw costs besides its evaluation: made, weighed, and compared.

    By a few of the local quadratic's, whose cost is that of its axes.
    """
    family = laplace(search.peak)
    z = np.random.default_rng(0).standard_normal((_TIMED, family.dim))
    seconds = []
    for _ in range(3):  # the least, since others may use the machine
        began = time.perf_counter()
        family.push_forward(z)
        seconds.append(time.perf_counter() - began)
    return max(_TO_JUDGE * min(seconds) / _TIMED, 1e-9)


def _flaw(tried: _Tried, names: Sequence[str]) -> Flaw | None:
    evidence = tried.evidence
    return find_flaw(
        evidence.target,
        evidence.x,
        evidence.log_p,
        evidence.gradient,
        evidence.family.log_density_gradient,
        names,
        tried.search.first,
    )


def _searched(
    run: FitRun,
    rng: np.random.Generator,
    known: FitResult | None,
    names: Sequence[str],
    clock: Clock | None,
) -> SearchResult:
    try:
        if known is not None and known.modes:
            return extended_search(run.target, known.modes, known.absent, rng, names)
        return search_modes(run.target, rng, names)
    except BudgetExhausted:
        raise DensityError(
            "The budget does not cover the starting points of the mode search, so there is no "
            f"approximation to return; allow more gradients or seconds.{_overdue(clock)}"
        ) from None


def _fitted(
    run: FitRun,
    search: SearchResult,
    method: Method,
    settings: FamilySettings,
    clock: Clock | None,
) -> Outcome:
    first = laplace(search.peak)
    if not search.complete:
        message = "The budget ran out during the mode search; this is the local quadratic at the "
        message += "best mode so far." if search.modes else "highest point so far."
        return Outcome(first, "budget", message + _overdue(clock))
    run.family = first
    try:
        if run.target.dim > DENSE_LIMIT:
            return fit_large(run, search, method, settings)
        return _FUNCTIONS[method](run, search, settings)
    except BudgetExhausted:
        message = "The budget ran out; this is the best approximation so far."
        return Outcome(run.family, "budget", message + _overdue(clock))


def _cut(outcome: Outcome, n: int, wanted: int, clock: Clock | None) -> Outcome:
    """Tell of a fit whose draws could not all be judged, so that no time is left for checks."""
    if outcome.status == "budget":
        return outcome
    message = f"The budget ran out at {n:,} of the {wanted:,} draws that the verdict rests on."
    message = f"{outcome.message} {message}{_overdue(clock)}"
    return replace(outcome, status="budget", message=message)


def _fewer(n: int, wanted: int, made: int, n_draws: int) -> tuple[str, ...]:
    """Warn of draws that the budget did not cover, or an evaluation at them."""
    if n >= wanted:
        return ()
    text = f"The budget ran out: the fit is judged by {n:,} draws instead of {wanted:,}"
    return (text + (f", and has {made:,} instead of {n_draws:,}." if made < n_draws else "."),)


def _overdue(clock: Clock | None) -> str:
    """Tell of an evaluation that was given up."""
    if clock is None or not clock.overdue:
        return ""
    return (
        " An evaluation of the log density had not returned by then: it takes long at some points, "
        "or loops for ever there."
    )


def _with_masses(modes: tuple[Mode, ...], draws: Array) -> tuple[Mode, ...]:
    if not modes:
        return ()
    share = basin_shares(modes, draws)
    return tuple(replace(m, mass=float(s)) for m, s in zip(modes, share, strict=True))


def _with_errors(modes: tuple[Mode, ...], shifts: Sequence[Shift]) -> tuple[Mode, ...]:
    if not shifts:
        return tuple(replace(m, mass_se=0.0) for m in modes)
    return tuple(replace(m, mass_se=s.noise) for m, s in zip(modes, shifts, strict=True))
