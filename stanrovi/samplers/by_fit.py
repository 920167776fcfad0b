"""Draws to trust: a fit, and chains that start and move by it until they agree.

One basin: trajectories in the fit's base coordinates, or NUTS where those do not mix. Several:
tempering between the fit and the target, with jumps between basins, and a second leg from a
wide reference that knows little of the fit: what both say of the evidence must agree
(Surjanovic, Syed, Bouchard-Cote and Campbell 2022, arXiv:2206.00080), since a fit without a mode
gives chains without it, whatever R-hat says.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from stanrovi.errors import DensityError
from stanrovi.families.axes import DiagonalAxes
from stanrovi.given import Guarded
from stanrovi.modes.basins import Mode, basin_labels
from stanrovi.modes.symmetry import symmetries
from stanrovi.samplers.adaptation import NutsChains
from stanrovi.samplers.base_chains import BaseChains
from stanrovi.samplers.bridge import LogRatio, bridge
from stanrovi.samplers.legs import LegReport, fit_leg, look_from_afar
from stanrovi.samplers.mixing import Goal, Mixed, Mixing, mixed
from stanrovi.samplers.starts import chosen
from stanrovi.samplers.tempering import TUNING, Tempering, tuning_gradients
from stanrovi.samplers.trace import Trace, chained
from stanrovi.scalars import Scalars
from stanrovi.target import Array, BudgetExhausted, Clock, Density, Target
from stanrovi.vi.checks.basins import lost_modes
from stanrovi.vi.result import FitResult
from stanrovi.waiting import within

_REPAIRS = 2  # times that a fit is made anew with the modes it lacks
# Of what is left of a budget, that the first fit may take, and each further one or look.
_FIT_SHARE, _SHARE = 0.5, 0.25
_NUTS_WARM_UP, _NUTS_ACCEPTANCE = 1000, 0.9
_FIRST, _GROWTH = 100, 1.15  # draws of a chain before the first look, and from look to look
_PIECE = 10  # draws of a chain that are lost, at most, where a budget ends
_HOPELESS = 0.05  # effective draws a draw, below which base coordinates do not serve
DIVERGENT_SHARE = 0.01  # share of divergent trajectories above which they do not either
_SPENT = "The budget is spent before the first draws; allow more gradients or seconds."

Report = Callable[[str], None]


class Fitter(Protocol):
    """Fits the density that is sampled."""

    def __call__(
        self,
        known: FitResult | None,
        attempt: int,
        *,
        max_gradients: int | None,
        max_seconds: float | None,
    ) -> FitResult:
        """Fit.

        Parameters
        ----------
        known : FitResult or None
            An earlier fit, whose modes are taken with those that it lacks, instead of a search.
        attempt : int
            From zero; every one with a seed of its own.
        max_gradients, max_seconds
            What is left.
        """


Sampler = Callable[[int], Trace]


@dataclass(frozen=True, eq=False)
class Sampled:
    """Draws with all that is known of them.

    Attributes
    ----------
    kernel : {"base", "nuts", "tempering"}
        What moved the chains: trajectories in base coordinates, NUTS, or the first with
        tempering.
    trace : Trace
    fit : FitResult
        That the chains moved by; its ``absent`` are modes known to be missing still.
    mixed : Mixed
        R-hat and ESS of every quantity.
    legs : tuple of LegReport
        Of tempering.
    evidence : LogRatio
        Log of the target's normalising constant.
    masses, mass_errors : ndarray, shape (K,)
        Share of the draws in each of the fit's basins, with its Monte Carlo error.
    unvisited : tuple of str
        Where no mode is known: symmetries of the target that take the draws to where none is.
    gradients_by_stage : mapping of str to int
    seconds : float
    """

    kernel: str
    trace: Trace
    fit: FitResult
    mixed: Mixed
    legs: tuple[LegReport, ...]
    evidence: LogRatio
    masses: Array
    mass_errors: Array
    unvisited: tuple[str, ...]
    gradients_by_stage: dict[str, int]
    seconds: float

    @property
    def n_warm_up(self) -> int:
        """Iterations of every chain that are not among the draws."""
        return {"base": BaseChains.n_warm_up, "nuts": _NUTS_WARM_UP, "tempering": sum(TUNING)}[
            self.kernel
        ]

    @property
    def n_gradients(self) -> int:
        """Everything evaluated: fits, checks, warm-up, legs, draws."""
        return sum(self.gradients_by_stage.values())


def sample_density(
    density: Density,
    *,
    seed: int,
    goal: Goal,
    mixing: Mixing,
    fitter: Fitter,
    names: Sequence[str] | None = None,
    scalars: Scalars | None = None,
    init: FitResult | None = None,
    wide_leg: bool = False,
    report: Report | None = None,
) -> Sampled:
    """Sample a density until its draws can be trusted, or a budget is spent.

    Parameters
    ----------
    density : Density
        Log density on unconstrained space.
    seed : int
        Same seed, same draws.
    goal : Goal
    mixing : callable
        Rank R-hat, bulk and tail ESS of values (chain, draw, k), shape (k,) each.
    fitter : Fitter
    names : sequence of str, optional
        Unconstrained parameters.
    scalars : Scalars, optional
        Quantities that the goal is about; the unconstrained parameters if not given.
    init : FitResult, optional
        A fit to begin from, instead of one by ``fitter``.
    wide_leg : bool
        Whether to look for unseen modes by tempering from a wide reference also where one
        basin is known.
    report : callable, optional
        Takes a few words on what is done now.

    Returns
    -------
    Sampled

    Raises
    ------
    DensityError
        If the density is finite nowhere, or the budget is spent before the first draws.
    """
    run = _Run(Guarded(density), goal, report or (lambda _: None), time.perf_counter())
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence([seed, 1]).spawn(3)]
    result, wide = _fitted(run, fitter, init, streams[0], wide_leg=wide_leg)
    coordinates = Scalars.coordinates(density.dim, names)
    of = scalars or coordinates
    kernel, trace, found, tempering = _Chains(run, result, of, mixing, streams[1]).draw()
    evidence = _bridged(result, trace) if tempering is None else tempering.evidence()
    legs = () if tempering is None else (LegReport.of("fit", tempering, evidence),)
    unvisited = () if result.modes else run.images(trace, coordinates.names, streams[2])
    masses, errors = _masses(result, trace, mixing)
    return Sampled(
        kernel=kernel,
        trace=trace,
        fit=result,
        mixed=found,
        legs=legs if wide is None else (*legs, wide),
        evidence=evidence,
        masses=masses,
        mass_errors=errors,
        unvisited=unvisited,
        gradients_by_stage=run.stages,
        seconds=time.perf_counter() - run.began,
    )


def _fitted(
    run: _Run, fitter: Fitter, init: FitResult | None, rng: np.random.Generator, *, wide_leg: bool
) -> tuple[FitResult, LegReport | None]:
    """Fit, and again with modes that lacked; and temper from afar where there are several."""
    if init is None:
        result = run.fit(fitter, None, 0)
    else:
        result = init
        run.add("fit", init.gradients_by_stage)
    wide: LegReport | None = None
    for attempt in range(1, _REPAIRS + 1):
        if len(result.absent) or lost_modes(result.modes):
            result = run.fit(fitter, result, attempt)
        if len(result.absent) or not (wide_leg or len(result.modes) > 1):
            continue
        wide, absent = run.look(result, rng)
        if not len(absent):
            break
        result = replace(result, absent=absent)
    return result, wide


@dataclass
class _Run:
    """What has been spent, and what is left."""

    density: Density
    goal: Goal
    tell: Report
    began: float

    def __post_init__(self) -> None:
        self.stages: dict[str, int] = {}

    def add(self, prefix: str, stages: Mapping[str, int]) -> None:
        """Count the gradients of something finished."""
        for stage, n in stages.items():
            name = f"{prefix}: {stage}"
            self.stages[name] = self.stages.get(name, 0) + n

    def left(self) -> tuple[int | None, float | None]:
        """Give the gradients and seconds that are left.

        Raises
        ------
        DensityError
            If none are.
        """
        gradients, seconds = self.goal.max_gradients, self.goal.max_seconds
        if gradients is not None:
            gradients -= sum(self.stages.values())
        if seconds is not None:
            seconds -= time.perf_counter() - self.began
        if (gradients is not None and gradients <= 0) or (seconds is not None and seconds <= 0):
            raise DensityError(_SPENT)
        return gradients, seconds

    def target(self, share: float = 1.0) -> Target:
        """Give a target that may spend a share of what is left."""
        gradients, seconds = self.left()
        clock = None if seconds is None else Clock(share * seconds, within)
        most = None if gradients is None else max(1, int(share * gradients))
        return Target(self.density, max_gradients=most, clock=clock)

    def fit(self, fitter: Fitter, known: FitResult | None, attempt: int) -> FitResult:
        """Fit with a share of what is left."""
        self.tell("fitting" if known is None else "fitting again, with modes that the fit lacked")
        gradients, seconds = self.left()
        share = _FIT_SHARE if known is None else _SHARE
        # A fit that is given a budget goes on while steps promise gains. That is worth it: chains
        # through a fit that has not converged may not mix.
        result = fitter(
            known,
            attempt,
            max_gradients=None if gradients is None else max(1, int(share * gradients)),
            max_seconds=None if seconds is None else share * seconds,
        )
        self.add("fit", result.gradients_by_stage)
        return result

    def look(self, fit: FitResult, rng: np.random.Generator) -> tuple[LegReport | None, Array]:
        """Look from afar for what a fit lacks."""
        self.tell("tempering from a wide reference")
        target = self.target(_SHARE)
        try:
            return look_from_afar(target, fit, rng)
        except BudgetExhausted:
            return LegReport.unfinished("wide"), np.empty((0, target.dim))
        finally:
            self.add("wide leg", {"all": target.n_gradients})

    def images(
        self, trace: Trace, names: Sequence[str], rng: np.random.Generator
    ) -> tuple[str, ...]:
        """Tell symmetries of the target that take the draws to where none is."""
        x = rng.permutation(trace.x.reshape(-1, trace.x.shape[2]))
        around = Mode(position=x.mean(axis=0), log_density=0.0, axes=DiagonalAxes(x.std(axis=0)))
        try:
            target = self.target()
            found = symmetries(target, (around,), x, names)
        except (BudgetExhausted, DensityError):
            return ()  # then the budget is what is said against the draws
        self.add("checks", {"symmetries": target.n_gradients})
        return tuple(g.told(names) for g in found)


class _Chains:
    """Chains by a fit, in the way that serves."""

    def __init__(
        self,
        run: _Run,
        fit: FitResult,
        scalars: Scalars,
        mixing: Mixing,
        rng: np.random.Generator,
    ) -> None:
        self._run, self._fit, self._scalars, self._mixing = run, fit, scalars, mixing
        self._rng, self._target = rng, run.target()

    def draw(self) -> tuple[str, Trace, Mixed, Tempering | None]:
        """Draw until the goal is reached or the budget spent; tells by what."""
        try:
            with self._target.stage("draws"):
                return self._draw()
        finally:
            self._run.add("chains", self._target.by_stage)

    def _draw(self) -> tuple[str, Trace, Mixed, Tempering | None]:
        ratio = self._fit.log_p - self._fit.log_q
        start = self._fit.draws[chosen(ratio, self._run.goal.chains, self._rng)]
        try:
            if len(self._fit.modes) > 1 and self._affords_tempering():
                tempering = self._tempering(start)
                if not tempering.dead:
                    return "tempering", *self._until(tempering.sample), tempering
            chains = BaseChains(
                self._target,
                self._fit.family,
                start,
                self._rng,
                log_ratio=self._fit.log_p - self._fit.log_q,
                khat=self._fit.khat,
            )
            with self._target.stage("warm-up"):
                chains.warm_up()
            trace, found = self._until(chains.sample, demanding=True)
            if not _hopeless(trace, found):
                return "base", trace, found, None
        except BudgetExhausted:
            raise DensityError(_SPENT) from None
        self._run.tell("warming NUTS up")
        try:
            nuts = NutsChains(self._target, trace.x[:, -1], self._rng, aim=_NUTS_ACCEPTANCE)
            with self._target.stage("warm-up"):
                nuts.warm_up(_NUTS_WARM_UP)
            return "nuts", *self._until(nuts.sample), None
        except BudgetExhausted:
            return "base", trace, found, None

    def _affords_tempering(self) -> bool:
        """Whether half of what is left suffices to begin."""
        needed = tuning_gradients(self._target.dim, self._run.goal.chains)
        return self._run.goal.max_gradients is None or self._target.n_left > 2 * needed

    def _tempering(self, start: Array) -> Tempering:
        self._run.tell("tempering from the fit")
        with self._target.stage("warm-up"):
            return Tempering(self._target, fit_leg(self._fit), start, self._rng)

    def _until(self, sample: Sampler, *, demanding: bool = False) -> tuple[Trace, Mixed]:
        """Sample until the goal is reached, the budget spent, or there is no hope.

        Gives the draws with how well they mix.
        """
        traces: list[Trace] = []
        wanted, spent = _FIRST, False
        while True:
            try:
                while sum(t.n_draws for t in traces) < wanted:
                    traces.append(sample(_PIECE))
            except BudgetExhausted:
                if not traces:
                    raise
                spent = True
            trace = chained(traces)
            found = mixed(self._scalars, trace.x, self._mixing)
            self._run.tell(
                f"{trace.n_draws} draws a chain, R-hat {found.rhat_max:.3f}, ESS at least "
                f"{found.ess_min:.0f}"
            )
            reached = not found.lacking(self._run.goal).any()
            if spent or reached or (demanding and _hopeless(trace, found)):
                return trace, found
            wanted = int(np.ceil(_GROWTH * trace.n_draws))


def _hopeless(trace: Trace, found: Mixed) -> bool:
    few = found.ess_min < _HOPELESS * trace.log_p.size
    return few or bool(trace.diverged.mean() > DIVERGENT_SHARE)


def _bridged(fit: FitResult, trace: Trace) -> LogRatio:
    """Bridge between the fit's draws and the chains'."""
    below = (fit.log_p - fit.log_q)[:, None]  # independent: chains of one draw
    x = trace.x.reshape(-1, trace.x.shape[2])
    above = trace.log_p - fit.family.log_density(x).reshape(trace.log_p.shape)
    return bridge(below, above).ratio


def _masses(fit: FitResult, trace: Trace, mixing: Mixing) -> tuple[Array, Array]:
    """Share of each basin among the draws, with its Monte Carlo error."""
    if len(fit.modes) < 2:
        return np.ones(len(fit.modes)), np.zeros(len(fit.modes))
    labels = basin_labels(fit.modes, trace.x.reshape(-1, trace.x.shape[2]))
    inside = np.stack([labels == k for k in range(len(fit.modes))], axis=1).astype(float)
    masses = inside.mean(axis=0)
    effective = mixing(inside.reshape(*trace.log_p.shape, -1))[1]
    # A basin that none visits, or all the time, has no effective draws to tell.
    effective = np.where(np.isfinite(effective), effective, 1.0)
    return masses, np.sqrt(masses * (1 - masses) / np.maximum(effective, 1.0))
