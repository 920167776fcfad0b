"""Search for the basins of a log density: where they are and what each weighs.

Dispersed starts climb together, stop early when a known basin's quadratic
explains them, and are clustered in the metric of the local Hessian. The weight
of a basin is its Laplace evidence, ``log p(x_k) - 0.5 log det(-H_k)``. One basin met by all
climbs ends the search; several keep it going until every one of them is met again.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stanrovi.families.axes import DENSE_LIMIT
from stanrovi.modes.ascent import Ascent
from stanrovi.modes.basins import Mode
from stanrovi.modes.coherence import REPEATED, off
from stanrovi.modes.explore import Basins
from stanrovi.modes.found import SearchResult
from stanrovi.modes.starts import all_around, around_origin, outward
from stanrovi.scalars import Scalars
from stanrovi.target import Array, BudgetExhausted, Target

_STARTS, _OUTWARD = 12, 16  # around the origin; a round outward from one mode
_ROUNDS = 6  # outward, which go on while they find new modes
# Where there are several modes: starts of a round, at first and at most.
_FEW, _MANY = 32, 128
# The search goes on until it has found nothing new for so many gradients a mode and dimension (up
# to five of them: in more a mode hides no better from climbs, and in many a Hessian costs as much),
# and the chance of something new is small; but never for more than allowed (and four a dimension).
# Modes that a symmetry exchanges count once.
_QUIET, _HIDING, _FEW_MODES, _UNSEEN, _ALLOWANCE = 80, 5, 4, 0.01, 1600
MOST_ORBITS = 256  # where the search ends, since of more there may be no end
_CROWD = 16  # modes that noise may have made, as far as nothing tells otherwise
_TRACED = 3  # climbs along which a fit may begin, where there is no mode


def search_modes(
    target: Target, rng: np.random.Generator, names: Sequence[str] | None = None
) -> SearchResult:
    """Find the basins of a log density.

    Parameters
    ----------
    target : Target
        Log density on unconstrained space.
    rng : numpy.random.Generator
        Draws the starting points.
    names : sequence of str, optional
        Unconstrained coordinates, which tell what may be exchanged.

    Returns
    -------
    SearchResult

    Raises
    ------
    DensityError
        If the density is finite at none of the starting points.
    BudgetExhausted
        If the target's budget does not cover the starting points.
    """
    basins, repeated = Basins(target), True
    with target.stage("modes"):
        climb = Ascent(target, *around_origin(target, rng, _STARTS))
        complete = True
        try:
            basins.explore(climb)
            _look_outward(basins, rng)
            repeated = _go_on(basins, rng, names)
        except BudgetExhausted:
            complete = False
    modes = basins.weighted() if repeated else basins.weighted()[:1]
    n_more = basins.n_climbs - len(climb.x)
    best = int(np.argmax(climb.first_log_density))
    return SearchResult(
        modes=modes,
        peak=modes[0] if modes else _highest(climb),
        start=climb.first[best],
        n_starts=_STARTS + n_more,
        n_usable=basins.n_climbs,
        n_improper=basins.n_improper,
        unseen=basins.unseen,
        trails=() if modes else _trails(climb, basins.snapshots),
        complete=complete,
        first=(climb.first[best], float(climb.first_log_density[best])),
    )


def extended_search(
    target: Target,
    known: Sequence[Mode],
    places: Array,
    rng: np.random.Generator,
    names: Sequence[str] | None = None,
) -> SearchResult:
    """Go on from modes that are known already: from given points, and from all around.

    Parameters
    ----------
    target : Target
    known : sequence of Mode
        At least one.
    places : ndarray, shape (m, dim)
        At or near other modes.
    rng : numpy.random.Generator
    names : sequence of str, optional
        See `search_modes`.

    Returns
    -------
    SearchResult

    Raises
    ------
    BudgetExhausted
        If the target's budget does not cover the climbs from the places.
    """
    basins = Basins(target, list(known))
    complete = repeated = True
    with target.stage("modes"):
        if len(places):
            basins.climb_from(places)
            try:
                repeated = _go_on(basins, rng, names)
            except BudgetExhausted:
                complete = False
    modes = basins.weighted() if repeated else tuple(known)
    n = basins.n_climbs
    return SearchResult(
        modes, modes[0], modes[0].position, n, n, basins.n_improper, basins.unseen, (), complete
    )


def _look_outward(basins: Basins, rng: np.random.Generator) -> None:
    for _ in range(_ROUNDS):
        known = basins.kept
        if not known:
            return
        n = _OUTWARD * (1 if len(known) == 1 else 2)
        starts, origins = outward([basins.modes[k] for k in known], rng, n)
        basins.explore(Ascent(basins.target, starts, hasty=True), np.asarray(known)[origins])
        if len(basins.kept) <= len(known):
            return


def _go_on(basins: Basins, rng: np.random.Generator, names: Sequence[str] | None) -> bool:
    """Climb from all around, as long as there is something to find and it costs little.

    Returns
    -------
    bool
        False where modes in great number do not have again the density that they had.
    """
    target, checked = basins.target, False
    began = found = target.n_gradients
    size = _FEW
    if len(basins.kept) > 1 and target.dim <= DENSE_LIMIT:
        basins.look_for_symmetries(Scalars.coordinates(target.dim, names).names, rng)
    while len(basins.kept) > 1:
        before, known = target.n_gradients, basins.orbits
        starts, origins = all_around([basins.modes[k] for k in known], rng, size)
        basins.climb_from(starts, np.asarray(known)[origins])
        count = len(basins.orbits)
        if count > _CROWD and not checked:
            checked = True
            if not _repeat(target, [basins.modes[k] for k in basins.orbits]):
                return False
        if count > len(known):
            found = target.n_gradients
        enough = _QUIET * min(target.dim, _HIDING) * count
        enough += 2 * target.dim * max(count, _FEW_MODES)
        left = enough - (target.n_gradients - found)
        quiet = left <= 0 and basins.unseen < _UNSEEN
        if quiet or target.n_gradients - began > (_ALLOWANCE + 4 * target.dim) * count:
            return True
        if count >= MOST_ORBITS:  # `unseen` tells it
            return True
        cost = (target.n_gradients - before) / size
        size = int(np.clip(left / cost, _FEW // 2, _MANY))
    return True


def _repeat(target: Target, modes: Sequence[Mode]) -> bool:
    """Whether most modes have the density that they had, in whatever company."""
    value, _ = target.log_density_gradient(np.stack([mode.position for mode in modes]))
    return bool(np.median(off(value, np.array([mode.log_density for mode in modes]))) <= REPEATED)


def _highest(climb: Ascent) -> Mode:
    return _quadratic(climb, int(np.argmax(climb.log_density)))


def _trails(climb: Ascent, snapshots: list[Ascent]) -> tuple[tuple[Mode, ...], ...]:
    if not snapshots:
        return ()
    highest = np.argsort(-climb.log_density)[:_TRACED]
    return tuple(tuple(_quadratic(state, int(i)) for state in snapshots) for i in highest)


def _quadratic(climb: Ascent, i: int) -> Mode:
    """Where a climber stands, with its own estimate of the curvature."""
    density = float(climb.log_density[i])
    return Mode(position=climb.x[i].copy(), log_density=density, axes=climb.axes(i))
