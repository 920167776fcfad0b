"""A second look for basins, from further away than the search: for a verdict, not for a fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from stanrovi.modes.basins import Mode
from stanrovi.modes.search import Basins
from stanrovi.target import Array, BudgetExhausted, Target

# Distances at which climbs begin, in local standard deviations of a known mode.
_RANGE = 3.0, 200.0
_WAVES = 64, 192
_MAX_ITERATIONS = 60


def look_again(
    target: Target,
    known: Sequence[Mode],
    first: Array,
    rng: np.random.Generator,
    *,
    most_gradients: int,
) -> tuple[Mode, ...]:
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
        When to give up.

    Returns
    -------
    tuple of Mode
        Basins that are new, with their share of the local evidence of all.
    """
    basins = Basins(target, list(known))
    before = target.n_gradients
    for starts in _waves(known, first, rng):
        if target.n_gradients - before >= most_gradients:
            break
        try:
            # Far out a density may overflow, which is no news.
            with np.errstate(all="ignore"):
                basins.climb_from(starts, _MAX_ITERATIONS)
        except BudgetExhausted:
            break
        new = [m for m in basins.weighted() if not any(m.position is k.position for k in known)]
        if new:
            return tuple(new)
    return ()


def _waves(known: Sequence[Mode], first: Array, rng: np.random.Generator) -> Iterator[Array]:
    """Give the starts of climbs side by side: few, and many more where those cost little."""
    few, many = _WAVES
    yield np.concatenate([first, _around(known, rng, few)])
    yield _around(known, rng, many)


def _around(known: Sequence[Mode], rng: np.random.Generator, n: int) -> Array:
    """Place starts in opposite pairs around the modes by turns, at all orders of distance."""
    starts = []
    for i in range(n // 2):
        mode = known[i % len(known)]
        direction = rng.standard_normal(len(mode.position))
        direction *= np.exp(rng.uniform(*np.log(_RANGE))) / np.linalg.norm(direction)
        step = mode.axes.apply(direction[None])[0]
        starts += [mode.position + step, mode.position - step]
    return np.stack(starts)
