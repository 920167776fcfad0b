"""What a fit returns: one frozen record for every method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from stanrovi.families.base import Family
from stanrovi.families.product import Product
from stanrovi.modes.basins import Mode
from stanrovi.modes.coherence import Flaw
from stanrovi.target import Array
from stanrovi.vi.facts import FitFacts, MarginalErrors, Root, TracePoint, Verdict
from stanrovi.vi.settings import FamilySettings

Status = Literal["converged", "max_iterations", "budget", "fallback"]


@dataclass(frozen=True, eq=False)
class FitResult:
    """A variational fit.

    Attributes
    ----------
    method : str
        As asked for: ``"auto"`` also where it chose another.
    status : {"converged", "max_iterations", "budget", "fallback"}
        ``"fallback"``: a simpler family was returned because the richer one
        was not better on fresh draws.
    message : str
        One sentence that explains the status.
    family : Family
        The fitted distribution on unconstrained space.
    draws : ndarray, shape (n, dim)
        Draws from ``family``, unconstrained space: quasi-random, in random order.
    log_p, log_q : ndarray, shape (m,)
        Target (up to a constant) and family log density at the first m <= n draws: those that
        were evaluated, 1,000 where they tell enough. ``log_p`` is -inf where the target rejects
        the draw.
    elbo, elbo_se : float
        ELBO on draws that no fitting step has seen (those evaluated, and more of the
        same where they are few), with its standard error (nats, up to the
        constant that Stan drops).
    khat : float
        Pareto shape of the importance ratios at the same draws; 0 where they
        are constant, NaN where nearly all are rejected.
    trace : tuple of TracePoint
    n_gradients, n_rejections : int
        Log density evaluations in all (mode search, fit, at draws, and of the checks behind the
        verdict), and how many of them the target rejected.
    gradients_by_stage : mapping of str to int
        Sums to ``n_gradients``; ``draws`` and ``checks`` are what was spent to judge the fit.
    seconds, density_seconds : float
        Wall time of the same, and the part spent inside the log density.
    seconds_by_stage : mapping of str to float
        Wall time of each stage, inside the log density and outside.
    settings : FamilySettings
    dim, seed : int
    modes : tuple of Mode
        Basins found by the mode search, heaviest first.
    verdict : Verdict
    warnings : tuple of str
    errors : MarginalErrors
        Estimated error of the marginal of each scalar parameter.
    absent : ndarray, shape (m, dim)
        Where modes are that the checks found and the fit lacks, unconstrained space.
    unseen : float
        Chance that another climb of the mode search finds a new basin: the share of its climbs
        that ended in a basin met only once.
    roots : tuple of Root
        What a conditional fit found to rule the spread of others.
    flaw : Flaw or None
        Noise, a jump or a foreign gradient, where the density was found to have one.
    """

    method: str
    status: Status
    message: str
    family: Family
    draws: Array
    log_p: Array
    log_q: Array
    elbo: float
    elbo_se: float
    khat: float
    trace: tuple[TracePoint, ...]
    n_gradients: int
    n_rejections: int
    gradients_by_stage: Mapping[str, int]
    seconds: float
    density_seconds: float
    seconds_by_stage: Mapping[str, float]
    settings: FamilySettings
    dim: int
    seed: int
    modes: tuple[Mode, ...]
    verdict: Verdict
    warnings: tuple[str, ...]
    errors: MarginalErrors
    absent: Array
    unseen: float = 0.0
    roots: tuple[Root, ...] = ()
    flaw: Flaw | None = None

    @property
    def n_fit_gradients(self) -> int:
        """Gradients of search and fit, which ``max_gradients`` limits: without what judged it."""
        stages = self.gradients_by_stage
        return self.n_gradients - stages["draws"] - stages["checks"]

    @cached_property
    def facts(self) -> FitFacts:
        """What travels with the draws."""
        family = self.family
        return FitFacts(
            verdict=self.verdict,
            modes=self.modes,
            trace=self.trace,
            frame=family.standardised().frame if isinstance(family, Product) else None,
            settings=self.settings,
            warnings=self.warnings,
            gradients_by_stage=self.gradients_by_stage,
            roots=self.roots,
            errors=self.errors,
        )
