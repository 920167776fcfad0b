"""Symmetries of a density that exchange its modes, and the orbits of modes under them.

Labels that switch, factors that turn their sign: modes of such a density come in full orbits, all
equally heavy. A symmetry is guessed (`stanrovi.modes.guesses`) and then proven at points of the
posterior, where the density must be the same to rounding.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stanrovi.families.symmetry import Symmetry
from stanrovi.modes.basins import Mode
from stanrovi.modes.guesses import guesses
from stanrovi.target import Array, Target

POINTS = 5  # at which a symmetry is tried
_MODES = 24  # at whose peaks it is tried as well
_ROUNDING = 1e-7  # relative to the size of the log density
_ORBIT = 256  # modes, of all orbits together


@dataclass(frozen=True)
class Image:
    """A mode that must be there, since another one is.

    Attributes
    ----------
    source : int
        Index of the known mode.
    symmetry : Symmetry
        From the source to it.
    position : ndarray, shape (dim,)
    """

    source: int
    symmetry: Symmetry
    position: Array


def symmetries(
    target: Target, modes: Sequence[Mode], points: Array, names: Sequence[str]
) -> tuple[Symmetry, ...]:
    """Find symmetries that move a mode.

    Parameters
    ----------
    target : Target
    modes : sequence of Mode
    points : ndarray, shape (n, dim)
        Of the posterior, in general position.
    names : sequence of str
        Coordinates; those of one index (``a.1``, ``b.1``) may be exchanged together.

    Returns
    -------
    tuple of Symmetry
        Proven at the points and at the modes. Those that leave every mode where it is are left
        out.
    """
    if not modes or not len(points):
        return ()
    families = [
        moving
        for family in guesses(modes, names)
        if (moving := [g for g in family if any(_apart(m, g.apply(m.position)) for m in modes)])
    ]
    # Around one mode a density can be round, as others show.
    points = np.concatenate([points[:POINTS], [mode.position for mode in modes[:_MODES]]])
    value, _ = target.log_density_gradient(points)

    def proven(maps: list[Symmetry]) -> list[bool]:
        """Which maps hold; one point rules out nearly all."""
        limit = _ROUNDING * (1 + np.abs(value))
        first = _values(target, [g.apply(points[:1]) for g in maps])
        left = [i for i, at in enumerate(first) if abs(at[0] - value[0]) < limit[0]]
        rest = _values(target, [maps[i].apply(points[1:]) for i in left])
        held = [i for i, at in zip(left, rest, strict=True) if (np.abs(at - value[1:])
                < limit[1:]).all()]  # fmt: skip
        return [i in held for i in range(len(maps))]

    first = _distinct(family[0] for family in families)
    good = {g.key for g, holds in zip(first, proven(first), strict=True) if holds}
    others = _distinct(g for family in families if family[0].key in good for g in family)
    return tuple(g for g, holds in zip(others, proven(others), strict=True) if holds)


def images(modes: Sequence[Mode], found: Sequence[Symmetry]) -> Iterator[Image]:
    """Members of the orbits of the modes that are near none of them."""
    places = np.stack([mode.position for mode in modes])
    for k, mode in enumerate(modes):
        for by, image in _orbit(mode, found):
            if len(places) < _ORBIT and not _near(image, places).any():
                places = np.concatenate([places, image.position[None]])
                yield Image(k, by, image.position)


def with_orbits(modes: Sequence[Mode], found: Sequence[Symmetry]) -> list[Mode]:
    """Complete the orbits of modes, and replace known members by exact images of the first.

    Parameters
    ----------
    modes : sequence of Mode
    found : sequence of Symmetry

    Returns
    -------
    list of Mode
        First the given ones in their order, then what was missing. Modes of one orbit have the
        same number; those that no symmetry moves have none.
    """
    complete = [replace(mode, orbit=None, symmetry=None) for mode in modes]
    places = np.stack([mode.position for mode in modes])
    for k in range(len(modes)):
        if complete[k].orbit is not None:
            continue
        for _, image in _orbit(complete[k], found):
            near = np.flatnonzero(_near(image, places))
            nearest = near[np.argsort(np.linalg.norm(places[near] - image.position, axis=1))]
            free = [int(j) for j in nearest if j > k and complete[j].orbit is None]
            image = replace(image, orbit=k)
            if free:
                complete[free[0]], places[free[0]] = image, image.position
            elif not len(near) and len(complete) < _ORBIT:
                complete.append(image)
                places = np.concatenate([places, image.position[None]])
            else:
                continue
            complete[k] = replace(complete[k], orbit=k)
    return complete


def exchanged(modes: Sequence[Mode], found: Sequence[Symmetry]) -> Iterator[tuple[int, int]]:
    """Pairs of modes that a symmetry takes to one another."""
    places = np.stack([mode.position for mode in modes])
    furthest = np.array([np.linalg.norm(mode.sd) for mode in modes])  # of what may be near
    for k, mode in enumerate(modes):
        for g in found:
            place = g.apply(mode.position)
            close = np.linalg.norm(places[k + 1 :] - place, axis=1) <= 1.001 * furthest[k + 1 :]
            for other in (k + 1 + np.flatnonzero(close)).tolist():
                if not _apart(modes[other], place):
                    yield k, other


def _orbit(mode: Mode, found: Sequence[Symmetry]) -> Iterator[tuple[Symmetry, Mode]]:
    """Other members of a mode's orbit, with the maps to them."""
    d = len(mode.position)
    # Within so much of each other are two members in any case; most maps lead to a known one.
    reach = mode.axes.precision_diagonal().sum() ** -0.5
    places = mode.position[None]
    todo = deque([(Symmetry.identity(d), mode.position)])
    while todo and len(places) < _ORBIT:
        so_far, here = todo.popleft()
        for g in found:
            if np.linalg.norm(places - g.apply(here), axis=1).min() < reach:
                continue
            by = g.after(so_far)
            image = mode.moved(by)
            if not _near(image, places).any():
                places = np.concatenate([places, image.position[None]])
                todo.append((by, image.position))
                yield by, image


def _values(target: Target, batches: list[Array]) -> list[Array]:
    if not batches:
        return []
    value, _ = target.log_density_gradient(np.concatenate(batches))
    return list(value.reshape(len(batches), -1))


def _near(mode: Mode, places: Array) -> NDArray[np.bool_]:
    """Which places (n, dim) are within a standard deviation of a mode."""
    distance = np.linalg.norm(mode.axes.solve(places - mode.position), axis=1)
    return np.asarray(distance <= 1.0)


def _apart(mode: Mode, place: Array) -> bool:
    return not _near(mode, place[None])[0]


def _distinct(maps: Iterable[Symmetry]) -> list[Symmetry]:
    found: dict[bytes, Symmetry] = {}
    for g in maps:
        found.setdefault(g.key, g)
    return list(found.values())
