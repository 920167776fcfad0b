"""A run of `stanrovi.sample`: its draws, what they cost, and whether they may be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stanrovi.draws import Draws
from stanrovi.markup import trust
from stanrovi.modes.basins import Mode
from stanrovi.runs.as_html import run_html
from stanrovi.runs.chain_answers import ChainAnswers
from stanrovi.samplers.bridge import LogRatio
from stanrovi.samplers.by_fit import Sampled
from stanrovi.vi.result import FitResult


@dataclass(frozen=True, repr=False, eq=False)
class SampleRun(ChainAnswers):
    """Draws that say whether they may be trusted.

    Attributes
    ----------
    draws : Draws
        Method ``"sample"``: chains with sampler statistics, constrained space.
    result : Sampled
        The run on unconstrained space: kernel, R-hat and ESS of every parameter, legs of
        tempering, masses of modes.
    engine : str
        What evaluated the log density.
    seed : int
    trusted : bool
    reason : str
        Why, or why not.
    evidence_note : str
        Up to which constant ``log_evidence`` is known.
    warnings : tuple of str
    """

    draws: Draws
    result: Sampled
    engine: str
    seed: int
    trusted: bool
    reason: str
    log_evidence: LogRatio
    evidence_note: str
    warnings: tuple[str, ...]

    @property
    def fit(self) -> FitResult:
        """The fit that the chains started from and moved by."""
        return self.result.fit

    @property
    def modes(self) -> tuple[Mode, ...]:
        """Basins that the fit knows, heaviest first."""
        return self.fit.modes

    @property
    def n_gradients(self) -> int:
        """Everything evaluated: fit, checks, warm-up, legs, draws."""
        return self.result.n_gradients

    @property
    def gradients_by_stage(self) -> Mapping[str, int]:
        """The same, by what it was for."""
        return self.result.gradients_by_stage

    @property
    def seconds(self) -> float:
        """Wall time."""
        return self.result.seconds

    @property
    def divergences(self) -> int:
        """Divergent trajectories."""
        return int(self.result.trace.diverged.sum())

    def _repr_html_(self) -> str:
        draws, evidence = self.draws, self.log_evidence
        facts = (
            f"{draws.n_chains} x {draws.n_draws:,} draws",
            f"{self.divergences} divergent",
            f"{self.n_gradients:,} gradients, {self.seconds:.2f} s",
            f"log evidence {evidence.value:.3f} ± {evidence.se:.3f} ({self.evidence_note})",
            f"seed {self.seed}, engine {self.engine}",
        )
        title = f"Sample of {draws.attrs['model']}"
        verdict = trust(self.trusted, self.reason)
        return run_html(title, verdict, facts, self.warnings, draws, chains=True)

    def __repr__(self) -> str:
        found, draws = self.result.mixed, self.draws
        return (
            f"<SampleRun: {draws.attrs['model']}, {draws.n_chains} x {draws.n_draws} draws, R-hat "
            f"at most {found.rhat_max:.3f}, ESS at least {found.ess_min:.0f}, "
            f"{self.n_gradients:,} gradients, {'trusted' if self.trusted else 'NOT trusted'}>"
        )
