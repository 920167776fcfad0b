"""Runs as HTML, for notebooks."""

from __future__ import annotations

import math
from collections.abc import Iterable

from stanrovi.draws import Draws
from stanrovi.io.groups import posterior_names
from stanrovi.markup import block, judgement, line, short, table
from stanrovi.runs.summary import summary_frame
from stanrovi.vi.facts import MarginalErrors

_MOST = 15  # parameters in a table
_FORMATS = {"r_hat": "{:.3f}", "ess_bulk": "{:.0f}", "ess_tail": "{:.0f}"}


def run_html(
    title: str,
    verdict: str,
    facts: Iterable[str],
    warnings: Iterable[str],
    draws: Draws,
    errors: MarginalErrors | None = None,
    *,
    chains: bool = False,
) -> str:
    """Render a run: whether to trust it and why, what it cost, and its first parameters.

    Parameters
    ----------
    title : str
    verdict : str
        HTML, as `stanrovi.markup.judgement` gives it.
    facts : iterable of str
    warnings : iterable of str
        What a user should know whatever the verdict.
    draws : Draws
    errors, chains
        See `stanrovi.runs.summary.summary_frame`.

    Returns
    -------
    str
        An HTML fragment.
    """
    warned = [(warning, "") for warning in warnings]
    parts = [verdict, line(*facts)]
    if warned:
        parts.append(judgement("!", "Warnings", warned))
    return block(title, *parts, _summary(draws, errors, chains=chains))


def _summary(draws: Draws, errors: MarginalErrors | None, *, chains: bool) -> str:
    frame = summary_frame(draws, errors, chains=chains, first=_MOST)
    rows = [
        (str(name), *(_cell(str(column), x) for column, x in row.items()))
        for name, row in frame.iterrows()
    ]
    more = sum(draws.posterior[name][0, 0].size for name in posterior_names(draws)) - len(rows)
    told = f"The first {len(rows)} quantities; summary() has {more:,} more." if more else ""
    return table(("", *frame.columns), rows, told)


def _cell(column: str, value: float) -> str:
    known = math.isfinite(value) and column in _FORMATS
    return _FORMATS[column].format(value) if known else short(value)
