"""A NUTS run: its draws, its cost, and whether it may be trusted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from stanrovi.diagnostics.reference import ReferenceCheck, check_draws
from stanrovi.draws import Draws
from stanrovi.markup import trust
from stanrovi.runs.as_html import run_html
from stanrovi.runs.chain_answers import ChainAnswers

NutsEngine = Literal["cmdstan", "stanli", "numpy"]


@dataclass(frozen=True, repr=False)
class NutsRun(ChainAnswers):
    """A NUTS run.

    Attributes
    ----------
    draws : Draws
        Method ``"nuts"``; draws after warm-up with sampler statistics.
    engine : {"cmdstan", "stanli", "numpy"}
    seed : int
    seconds : float
        Wall time of the run, compilation not included; NaN when read from files.
    seconds_warmup, seconds_sampling : float
        As the engine tells, summed over chains.
    n_gradients : int
        Leapfrog steps; with warm-up if ``includes_warmup``.
    includes_warmup : bool
    divergences : int
        Divergent iterations after warm-up.
    warnings : tuple of str
    """

    draws: Draws
    engine: NutsEngine
    seed: int
    seconds: float
    seconds_warmup: float
    seconds_sampling: float
    n_gradients: int
    includes_warmup: bool
    divergences: int
    warnings: tuple[str, ...]

    @cached_property
    def check(self) -> ReferenceCheck:
        """Tell whether the run may be trusted: R-hat, ESS and divergences of what varies."""
        return check_draws(self.draws)

    def _repr_html_(self) -> str:
        draws, found = self.draws, self.check
        facts = (
            f"{draws.n_chains} x {draws.n_draws:,} draws",
            f"{self.divergences} divergent",
            f"{self.n_gradients:,} gradients",
            "" if math.isnan(self.seconds) else f"{self.seconds:.2f} s",
            f"seed {self.seed}",
        )
        title = f"NUTS of {draws.attrs['model']} by {self.engine}"
        told = trust(found.trusted, found.reason)
        return run_html(title, told, facts, self.warnings, draws, chains=True)

    def __repr__(self) -> str:
        draws, found = self.draws, self.check
        return (
            f"<NutsRun: {draws.attrs['model']} by {self.engine}, {draws.n_chains} x "
            f"{draws.n_draws} draws, {self.divergences} divergent, R-hat at most "
            f"{found.rhat_max:.3f}, ESS at least {found.ess_min:.0f}, "
            f"{'trusted' if found.trusted else 'NOT trusted'}>"
        )
