"""A run of `stanrovi.sample`: its draws, what they cost, and whether they may be trusted."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stanrovi.draws import Draws
from stanrovi.io.arviz import to_arviz
from stanrovi.io.stan_csv import write_stan_csv
from stanrovi.modes.basins import Mode
from stanrovi.runs.summary import summary_frame
from stanrovi.samplers.bridge import LogRatio
from stanrovi.samplers.by_fit import Sampled
from stanrovi.vi.result import FitResult

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class SampleRun:
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

    def summary(self) -> pd.DataFrame:
        """Mean, sd, quantiles, R-hat and ESS of every scalar parameter.

        Returns
        -------
        pandas.DataFrame
            Rows under Stan's names; columns mean, sd, q5, q50, q95, r_hat, ess_bulk, ess_tail
            (NaN for constants and copies).
        """
        import pandas as pd

        found = self.result.mixed
        columns = {"r_hat": found.rhat, "ess_bulk": found.bulk, "ess_tail": found.tail}
        return summary_frame(self.draws).join(pd.DataFrame(columns, index=found.names))

    def save_csv(
        self, folder: str | os.PathLike[str], *, overwrite: bool = False
    ) -> tuple[Path, ...]:
        """Write the chains as CmdStan's CSV files, which R's posterior and cmdstanr read.

        Parameters
        ----------
        folder : path-like
        overwrite : bool
            Whether it may hold files, and those of an earlier run be replaced.

        Returns
        -------
        tuple of Path
            One file a chain.

        Raises
        ------
        OutputError
            If a file exists or cannot be written.
        """
        return write_stan_csv(self.draws, folder, overwrite=overwrite)

    def to_arviz(self) -> Any:
        """Convert to ArviZ's container (InferenceData or DataTree)."""
        return to_arviz(self.draws)

    def __repr__(self) -> str:
        found, draws = self.result.mixed, self.draws
        return (
            f"<SampleRun: {draws.attrs['model']}, {draws.n_chains} x {draws.n_draws} draws, R-hat "
            f"at most {found.rhat_max:.3f}, ESS at least {found.ess_min:.0f}, "
            f"{self.n_gradients:,} gradients, {'trusted' if self.trusted else 'NOT trusted'}>"
        )
