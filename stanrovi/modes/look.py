"""A second look for basins, from further away than the search: for a verdict, not for a fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stanrovi.modes.basins import Mode
from stanrovi.modes.explore import Basins, Held
from stanrovi.modes.starts import all_around
from stanrovi.target import Array, BudgetExhausted, Target

_WAVES = 64, 192, 256  # climbs side by side: few, and many more where those cost little
_WORTH = 16  # climbs; fewer are not worth a wave


@dataclass(frozen=True)
class Look:
    """What a second look found.

    Attributes
    ----------
    modes : tuple of Mode
        Basins that are new, with their share of the local evidence of all.
    starts : ndarray, shape (n, dim)
        Where climbs began, draws of `stanrovi.modes.starts.all_around`.
    log_density : ndarray, shape (n,)
        The target there.
    """

    modes: tuple[Mode, ...]
    starts: Array
    log_density: Array


def look_again(
    target: Target,
    known: Sequence[Mode],
    first: Array,
    rng: np.random.Generator,
    *,
    most_gradients: int,
    held: Held | None = None,
) -> Look:
    """Climb from all around, until some basin is found that is not among the known ones.

    Climbs that a known basin explains end at once, so that most cost one gradient.

    Parameters
    ----------
    target : Target
    known : sequence of Mode
        At least one.
    first : ndarray, shape (m, dim)
        Where to begin as well.
    rng : numpy.random.Generator
    most_gradients : int
        Spent about at most; the first wave is made in any case.
    held : callable, optional
        See `stanrovi.modes.explore.Basins`.

    Returns
    -------
    Look
    """
    basins = Basins(target, list(known), held=held)
    before = target.n_gradients
    begun, values, made = [np.empty((0, target.dim))], [np.empty(0)], 0
    for wave, planned in enumerate(_WAVES):
        n, spent = planned, target.n_gradients - before
        if made:
            n = min(planned, int((most_gradients - spent) * made / spent))
        if n < _WORTH:
            break
        starts = all_around(known, rng, n)[0]
        try:
            if not wave and len(first):
                basins.climb_from(first)
            values.append(basins.climb_from(starts))
            begun.append(starts)
            made += n + (0 if wave else len(first))
        except BudgetExhausted:
            break
        new = [m for m in basins.weighted() if not any(m.position is k.position for k in known)]
        if new:
            return Look(tuple(new), np.concatenate(begun), np.concatenate(values))
    return Look((), np.concatenate(begun), np.concatenate(values))
