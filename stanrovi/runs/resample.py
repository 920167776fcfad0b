"""Pareto-smoothed importance resampling of a fit's draws."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from stanrovi.arguments import checked_count, checked_seed
from stanrovi.diagnostics.statistics import psis_weights
from stanrovi.draws import Draws
from stanrovi.errors import DrawsError
from stanrovi.families.sobol import MAX_POINTS
from stanrovi.runs.answers import Answers
from stanrovi.runs.completing import completed
from stanrovi.runs.summary import summary_frame
from stanrovi.stan.model import Model
from stanrovi.target import Array

if TYPE_CHECKING:
    import pandas as pd

_MAX_KHAT = 0.7
_LEAST = 25


@dataclass(frozen=True, repr=False)
class Resampled(Answers):
    """Draws of a fit, resampled by importance weights.

    Attributes
    ----------
    draws : Draws
        One chain, in random order; a draw of much weight occurs several times.
    n_distinct : int
        How many different draws of the fit there are among them.
    ess : float
        Effective size of the weights.
    khat : float
        Pareto shape of the weights.
    n_weighted, n_left_out : int
        How many of the fit's draws have weights, and how many have none since the log density
        was not evaluated there.
    n_gradients : int
        Evaluated for the weights, beyond what the fit counts.
    """

    draws: Draws
    n_distinct: int
    ess: float
    khat: float
    n_weighted: int = 0
    n_left_out: int = 0
    n_gradients: int = 0

    @property
    def note(self) -> str:
        """What the weights rest on, where that is not all draws of the fit."""
        if not self.n_left_out:
            return ""
        n = self.n_weighted + self.n_left_out
        return (
            f"{self.n_weighted:,} of the fit's {n:,} draws were resampled: at the others the log "
            "density was not evaluated, which takes the model."
        )

    def summary(self, vars: str | Iterable[str] | None = None) -> pd.DataFrame:
        """Mean, sd and quantiles of every scalar quantity; see `stanrovi.Fit.summary`."""
        return summary_frame(self.draws, names=vars)

    def __repr__(self) -> str:
        return (
            f"<Resampled: {self.draws.n_draws} draws, {self.n_distinct} of them distinct, weights "
            f"worth {self.ess:.0f} draws, k-hat {self.khat:.2f}>"
            + (f"\n{self.note}" if self.note else "")
        )


def resampled(
    draws: Draws,
    n: int | None = None,
    *,
    seed: int | None = None,
    model: Model | None = None,
    max_seconds: float | None = None,
) -> Resampled:
    """Resample draws of a fit by Pareto-smoothed importance weights.

    Vehtari, Simpson, Gelman, Yao and Gabry (2024, JMLR 25, PSIS); the resampling is stratified, so
    that each draw occurs as often as its weight says, up to one.

    Parameters
    ----------
    draws : Draws
        Of a fit.
    n : int, optional
        How many to return; by default as many as have weights.
    seed : int, optional
        By default that of the fit.
    model : Model, optional
        Of the fit, to evaluate its log density where that is not known yet. Draws at which it
        stays unknown are left out.
    max_seconds : float, optional
        For that; draws for which it does not suffice are left out.

    Returns
    -------
    Resampled

    Raises
    ------
    DrawsError
        The weights rest on too few draws (their k-hat says so), or the draws carry none.
    UsageError
        For a number of draws or a seed that is none, or another model.
    """
    n = None if n is None else checked_count("draws", n, 1, MAX_POINTS)
    seed = checked_seed(int(draws.attrs.get("seed", 0)) if seed is None else seed)
    n_gradients = 0
    if model is not None:
        draws, n_gradients = completed(draws, model, max_seconds)
    ratios, known = draws.log_ratios, draws.evaluated
    if ratios is None:
        raise DrawsError(
            f"The draws of {draws.method} do not tell their own density, so they have no "
            "importance weights; resample those of a variational fit."
        )
    weights, khat = psis_weights(ratios)
    limit = min(1 - 1 / np.log10(len(ratios)), _MAX_KHAT) if len(ratios) > 1 else 0.0
    if not khat <= limit and len(ratios) < _LEAST:
        raise DrawsError(
            f"Importance resampling needs at least {_LEAST} draws with weights to judge them by, "
            f"not {len(ratios)}; take more."
        )
    if not khat <= limit:
        raise DrawsError(
            f"Importance resampling would rest on a few draws: Pareto k-hat is {khat:.2f}, above "
            f"{limit:.2f} for {len(ratios)} draws. Fit by method auto, or sample instead "
            "(stanrovi.sample); where k-hat is little above the limit, more draws may do."
        )
    n = len(ratios) if n is None else n
    rng = np.random.default_rng([seed, len(ratios), n])
    rows = known[_stratified(weights, n, rng)]
    return Resampled(
        draws=_at(draws, rows),
        n_distinct=len(np.unique(rows)),
        ess=float(1 / (weights @ weights)),
        khat=khat,
        n_weighted=len(ratios),
        n_left_out=draws.n_chains * draws.n_draws - len(ratios),
        n_gradients=n_gradients,
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
