"""Pareto-smoothed importance resampling of a fit's draws."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from stanrovi.arguments import checked_count, checked_seed
from stanrovi.diagnostics.statistics import psis_weights
from stanrovi.draws import Draws
from stanrovi.errors import DrawsError
from stanrovi.io.arviz import to_arviz
from stanrovi.runs.summary import summary_frame
from stanrovi.target import Array

if TYPE_CHECKING:
    import pandas as pd

_MAX_KHAT = 0.7


@dataclass(frozen=True, repr=False)
class Resampled:
    """Draws of a fit, resampled by importance weights.

    Attributes
    ----------
    draws : Draws
        One chain, in random order; a draw of much weight occurs several times.
    n_distinct : int
        How many different draws of the fit there are among them.
    ess : float
        Effective size of the weights, of all the fit's draws.
    khat : float
        Pareto shape of the weights.
    """

    draws: Draws
    n_distinct: int
    ess: float
    khat: float

    def to_arviz(self) -> Any:
        """Convert to ArviZ's container (InferenceData or DataTree)."""
        return to_arviz(self.draws)

    def summary(self) -> pd.DataFrame:
        """Mean, sd and quantiles of every scalar parameter; see `stanrovi.runs.fit.Fit.summary`."""
        return summary_frame(self.draws)

    def __repr__(self) -> str:
        return (
            f"<Resampled: {self.draws.n_draws} draws, {self.n_distinct} of them distinct, weights "
            f"worth {self.ess:.0f} draws, k-hat {self.khat:.2f}>"
        )


def resampled(draws: Draws, n: int | None = None, *, seed: int | None = None) -> Resampled:
    """Resample draws of a fit by Pareto-smoothed importance weights.

    Vehtari, Simpson, Gelman, Yao and Gabry (2024, JMLR 25, PSIS); the resampling is stratified, so
    that each draw occurs as often as its weight says, up to one.

    Parameters
    ----------
    draws : Draws
        Of a fit.
    n : int, optional
        How many to return; as many as there are by default.
    seed : int, optional
        By default that of the fit.

    Returns
    -------
    Resampled

    Raises
    ------
    DrawsError
        The weights rest on too few draws (their k-hat says so), or the draws carry none.
    UsageError
        For a number of draws or a seed that is none.
    """
    n = draws.n_draws if n is None else checked_count("draws", n, 1)
    seed = checked_seed(int(draws.attrs.get("seed", 0)) if seed is None else seed)
    ratios = draws.log_ratios
    if ratios is None:
        raise DrawsError(
            f"The draws of {draws.method} do not tell their own density, so they have no "
            "importance weights; resample those of a variational fit."
        )
    weights, khat = psis_weights(ratios)
    limit = min(1 - 1 / np.log10(len(ratios)), _MAX_KHAT) if len(ratios) > 1 else 0.0
    if not khat <= limit:
        raise DrawsError(
            f"Importance resampling would rest on a few draws: Pareto k-hat is {khat:.2f}, above "
            f"{limit:.2f} for {len(ratios)} draws. Fit by method auto, or sample instead "
            "(stanrovi.sample); where k-hat is little above the limit, more draws may do."
        )
    rng = np.random.default_rng([seed, len(ratios), n])
    rows = _stratified(weights, n, rng)
    return Resampled(
        draws=_at(draws, rows),
        n_distinct=len(np.unique(rows)),
        ess=float(1 / (weights @ weights)),
        khat=khat,
    )


def _stratified(weights: Array, n: int, rng: np.random.Generator) -> np.ndarray:
    """Rows, one for each of n equal strata of the cumulated weights, in random order."""
    levels = (np.arange(n) + rng.random(n)) / n
    rows = np.searchsorted(np.cumsum(weights), levels, side="right")
    return rng.permutation(np.minimum(rows, len(weights) - 1))


def _at(draws: Draws, rows: np.ndarray) -> Draws:
    def taken(values: Any) -> Any:
        return values.reshape(1, -1, *values.shape[2:])[:, rows]

    return replace(
        draws,
        method=f"{draws.method}+psir",
        posterior={name: taken(values) for name, values in draws.posterior.items()},
        sample_stats={name: taken(values) for name, values in draws.sample_stats.items()},
        attrs={**draws.attrs, "method": f"{draws.method}+psir"},
        unconstrained=None if draws.unconstrained is None else taken(draws.unconstrained),
    )
