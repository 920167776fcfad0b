"""Warnings of a fit: what a user should know whatever the verdict."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stanrovi.families.base import Family
from stanrovi.modes.coherence import Flaw
from stanrovi.modes.found import SearchResult
from stanrovi.target import Target
from stanrovi.vi.facts import TracePoint
from stanrovi.vi.outcome import Outcome

_REJECTIONS = 0.05
_WINDOW = 8
_RISE = 2.0  # nats over the window


def warnings(
    search: SearchResult,
    target: Target,
    trace: Sequence[TracePoint],
    outcome: Outcome,
    names: Sequence[str] | None,
    flaw: Flaw | None,
) -> tuple[str, ...]:
    """Collect the warnings of a fit.

    Parameters
    ----------
    search : SearchResult
    target : Target
        With its counts.
    trace : sequence of TracePoint
    outcome : Outcome
    names : sequence of str, optional
        Unconstrained parameters.
    flaw : Flaw or None
        That the verdict does not tell.

    Returns
    -------
    tuple of str
    """
    found = [] if outcome.anchored else list(search.doubts)
    if found:
        rise = _rise(trace)
        if rise > _RISE:
            found.append(
                f"The ELBO was still rising, by {rise:.1f} nats over the last {_WINDOW} steps, "
                "when the steps ran out: the posterior may be improper or its density without "
                f"bound. The fit is widest along {_widest(outcome.family, names)}."
            )
    if target.n_rejections > _REJECTIONS * target.n_gradients:
        found.append(
            f"{target.n_rejections} of {target.n_gradients} evaluations were rejected: the "
            "program throws or is not finite in part of the space."
        )
    if flaw is not None:
        found.append(str(flaw))
    return tuple(found)


def _rise(trace: Sequence[TracePoint]) -> float:
    """Rise of the ELBO over the last steps of the first fitting stage."""
    stage = [p for p in trace if p.stage == trace[0].stage] if trace else []
    if len(stage) <= 2 * _WINDOW:
        return 0.0
    return stage[-1].elbo - stage[-1 - _WINDOW].elbo


def _widest(family: Family, names: Sequence[str] | None) -> str:
    i = int(np.argmax(family.sd()))
    return f"{names[i]} (unconstrained)" if names else f"unconstrained coordinate {i + 1}"
