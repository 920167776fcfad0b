"""The table of quantities that fits and NUTS runs end with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stanrovi.draws import Draws
from stanrovi_cli import console

if TYPE_CHECKING:
    from stanrovi.target import Array

MAX_ROWS = 30


def print_summary(draws: Draws, *, chains: bool = False) -> None:
    """Print mean, sd and quantiles of the scalar quantities, smallest variables first.

    Scalars and short vectors are what a model is about, and large arrays, such as the
    raw effects of a hierarchical model or its pointwise log likelihood, would hide them.

    Parameters
    ----------
    draws : Draws
    chains : bool
        Show R-hat and bulk ESS as well.
    """
    from stanrovi.markup import short
    from stanrovi.runs.summary import summary_columns

    variables = [_varying(draws, name) for name in draws.posterior]
    if not any(variables):  # of a posterior so narrow that rounding is all that is seen
        variables = [draws.scalars((name,)) for name in draws.posterior]
    n_all = sum(draws.posterior[name][0, 0].size for name in draws.posterior)
    scalars = {k: v for one in sorted(variables, key=len) for k, v in one.items()}
    shown = dict(list(scalars.items())[:MAX_ROWS])
    values = np.stack(list(shown.values()), axis=-1)
    flat = values.reshape(-1, len(shown))
    numbers = summary_columns(flat)
    columns = ["", *(f"{name[1:]}%" if name[0] == "q" else name for name in numbers)]
    cells = [[short(float(x)) for x in column] for column in numbers.values()]
    if chains:
        rhat, ess = _mixing(values)
        columns += ["R-hat", "ESS"]
        cells += [[_fixed(x, ".3f") for x in rhat], [_fixed(x, ".0f") for x in ess]]
    console.table(columns, zip(shown, *cells, strict=True))
    _tell_rest(len(scalars) - len(shown), n_all - len(scalars))


def moments(draws: Draws) -> dict[str, dict[str, float]]:
    """Mean and sd of every scalar parameter, as ``--json`` tells them."""
    return {
        name: {"mean": float(values.mean()), "sd": float(values.std())}
        for name, values in draws.scalars().items()
    }


def _varying(draws: Draws, name: str) -> dict[str, Array]:
    """Scalars of a variable, but for constants such as the zeros of a Cholesky factor."""
    from stanrovi.scalars import varying

    whole = draws.posterior[name].reshape(draws.n_chains, draws.n_draws, -1)
    values = whole.astype(np.float64, copy=False)
    keep = varying(values) | ~np.isfinite(values).all(axis=(0, 1))
    scalars = draws.scalars((name,)).items()
    return {label: x for (label, x), kept in zip(scalars, keep, strict=True) if kept}


def _tell_rest(n_more: int, n_constant: int) -> None:
    left_out = [
        *([f"{n_more} more quantities"] if n_more else []),
        *([f"{n_constant} that are constant"] if n_constant else []),
    ]
    if left_out:
        console.say(
            f"Not shown: {' and '.join(left_out)}. --output FILE.nc keeps the draws of all, "
            "--json tells mean and sd of every parameter."
        )


def _mixing(values: Array) -> tuple[Array, Array]:
    from stanrovi.diagnostics import statistics

    many = values.shape[0] > 1
    rhat = statistics.rhat(values) if many else np.full(values.shape[2], np.nan)
    return rhat, statistics.ess(values)


def _fixed(value: float, style: str) -> str:
    return format(value, style) if np.isfinite(value) else "-"
