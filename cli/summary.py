"""The table of parameters that fits and NUTS runs end with."""

from __future__ import annotations

import numpy as np

from stanrovi.draws import Draws
from stanrovi_cli import console

MAX_ROWS = 30
_QUANTILES = (0.05, 0.5, 0.95)


def print_summary(draws: Draws, *, chains: bool = False) -> None:
    """Print mean, sd and quantiles of every scalar quantity, the first of many.

    Parameters
    ----------
    draws : Draws
    chains : bool
        Show R-hat and bulk ESS as well.
    """
    scalars = draws.scalars(tuple(draws.posterior))
    shown = dict(list(scalars.items())[:MAX_ROWS])
    values = np.stack(list(shown.values()), axis=-1)
    flat = values.reshape(-1, len(shown))
    columns = ["", "mean", "sd", "5%", "50%", "95%"]
    numbers = [flat.mean(axis=0), flat.std(axis=0), *np.quantile(flat, _QUANTILES, axis=0)]
    cells = [[console.short(float(x)) for x in column] for column in numbers]
    if chains:
        rhat, ess = _mixing(values)
        columns += ["R-hat", "ESS"]
        cells += [[_fixed(x, ".3f") for x in rhat], [_fixed(x, ".0f") for x in ess]]
    console.table(columns, zip(shown, *cells, strict=True))
    if len(scalars) > len(shown):
        console.say(f"... and {len(scalars) - len(shown)} more quantities.")


def _mixing(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    from stanrovi import draw_stats

    many = values.shape[0] > 1
    rhat = draw_stats.rhat(values) if many else np.full(values.shape[2], np.nan)
    return rhat, draw_stats.ess(values)


def _fixed(value: float, style: str) -> str:
    return format(value, style) if np.isfinite(value) else "-"
