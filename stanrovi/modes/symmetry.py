"""Symmetries of a density that exchange its modes: permutations and signs of coordinates.

Labels that switch, factors that turn their sign: modes of such a density come in full orbits, all
equally heavy. A symmetry is guessed (from two modes, from equal indices, from signs) and then
proven at points of the posterior, where the density must be the same to rounding.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from stanrovi.modes.ascent import Indices
from stanrovi.modes.basins import Mode
from stanrovi.target import Array, Target

_POINTS = 5
_ROUNDING = 1e-7  # relative to the size of the log density
_CLOSE = 0.05  # standard deviations; coordinates of two modes that are the same
_MODES = 12  # whose pairs are tried
_DIMENSIONS = 40  # up to which every single coordinate is turned
_ORBIT = 256
_FEW = 4
_VARIABLES = 6  # whose signs are turned in all combinations
_INDEX = re.compile(r"(?P<name>.*?)[.\[](?P<first>\d+)(?P<rest>[.,\d]*)\]?")


@dataclass(frozen=True)
class Symmetry:
    """``(g x)[i] = sign[i] * x[order[i]]``.

    Attributes
    ----------
    order : ndarray of int, shape (dim,)
    sign : ndarray, shape (dim,)
    """

    order: Indices
    sign: Array

    def apply(self, x: Array) -> Array:
        """Image of points x, shape (..., dim)."""
        return np.asarray(self.sign * x[..., self.order])

    def told(self, names: Sequence[str]) -> str:
        """Say in words what it does: which coordinates it exchanges, which it turns."""
        exchanged: list[str] = []
        seen: set[int] = set()
        for i, j in enumerate(self.order.tolist()):
            if i not in seen and j != i:
                cycle: list[int] = [i]
                while (after := int(self.order[cycle[-1]])) != i:
                    cycle.append(after)
                seen |= set(cycle)
                exchanged.append(" and ".join(names[member] for member in cycle))
        turned = [names[i] for i in np.flatnonzero(self.sign < 0).tolist()]
        said = [f"{_listed(exchanged)} exchanged"] if exchanged else []
        said += [f"the sign of {_listed(turned)} turned"] if turned else []
        return " and ".join(said)


def _listed(items: list[str]) -> str:
    return ", ".join(items[:4]) + (f" and {len(items) - 4} more" if len(items) > 4 else "")


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
        Proven at points; those that leave every mode in its place are left out.
    """
    if not modes or not len(points):
        return ()
    guesses = [
        g
        for g in _distinct(_guesses(modes, names))
        if any(_apart(mode, g.apply(mode.position)) for mode in modes)
    ]
    points = points[:_POINTS]
    value, _ = target.log_density_gradient(points)
    limit = _ROUNDING * (1 + np.abs(value))
    # One point rules out nearly all.
    first = _values(target, [g.apply(points[:1]) for g in guesses])
    left = [g for g, at in zip(guesses, first, strict=True) if abs(at[0] - value[0]) < limit[0]]
    rest = _values(target, [g.apply(points[1:]) for g in left])
    return tuple(
        g for g, at in zip(left, rest, strict=True) if (np.abs(at - value[1:]) < limit[1:]).all()
    )


def images(modes: Sequence[Mode], found: Sequence[Symmetry]) -> Iterator[Image]:
    """Members of the orbits of the modes that are near none of them."""
    places = [mode.position for mode in modes]
    todo = deque((k, _identity(len(places[0]))) for k in range(len(modes)))
    while todo and len(places) < _ORBIT:
        k, so_far = todo.popleft()
        for g in found:
            both = Symmetry(so_far.order[g.order], g.sign * so_far.sign[g.order])
            place = both.apply(modes[k].position)
            scale = modes[k].sd[both.order]
            if all(np.linalg.norm((place - other) / scale) > 1.0 for other in places):
                places.append(place)
                todo.append((k, both))
                yield Image(k, both, place)


def exchanged(modes: Sequence[Mode], found: Sequence[Symmetry]) -> Iterator[tuple[int, int]]:
    """Pairs of modes that a symmetry takes to one another."""
    for k, mode in enumerate(modes):
        for g in found:
            place = g.apply(mode.position)
            for other in range(k + 1, len(modes)):
                if not _apart(modes[other], place):
                    yield k, other


def _values(target: Target, batches: list[Array]) -> list[Array]:
    if not batches:
        return []
    value, _ = target.log_density_gradient(np.concatenate(batches))
    return list(value.reshape(len(batches), -1))


def _identity(dim: int) -> Symmetry:
    return Symmetry(np.arange(dim), np.ones(dim))


def _apart(mode: Mode, place: Array) -> bool:
    return bool(np.linalg.norm(mode.axes.solve(place - mode.position)) > 1.0)


def _distinct(guesses: Iterator[Symmetry]) -> list[Symmetry]:
    found: dict[bytes, Symmetry] = {}
    for g in guesses:
        found.setdefault(g.order.tobytes() + g.sign.tobytes(), g)
    return list(found.values())


def _guesses(modes: Sequence[Mode], names: Sequence[str]) -> Iterator[Symmetry]:
    dim = len(modes[0].position)
    still = _identity(dim)
    yield from _exchanged_indices(names)
    yield from _turned_variables(names)
    for i, first in enumerate(modes[:_MODES]):
        for second in modes[i + 1 : _MODES]:
            guess = _between(first, second)
            if guess is not None:
                yield guess
    if dim <= _DIMENSIONS:
        for i in range(dim):
            sign = np.ones(dim)
            sign[i] = -1
            yield Symmetry(still.order, sign)
    yield Symmetry(still.order, -still.sign)


def _exchanged_indices(names: Sequence[str]) -> Iterator[Symmetry]:
    """Neighbouring indices exchanged in all variables of one length; and their signs turned."""
    groups: dict[str, dict[int, dict[str, int]]] = {}
    alone = []  # such as the share of the first of two
    for at, name in enumerate(names):
        match = _INDEX.fullmatch(name)
        if match is None:
            alone.append(at)
        else:
            group = groups.setdefault(match["name"], {})
            group.setdefault(int(match["first"]), {})[match["rest"]] = at
    lengths: dict[int, list[dict[int, dict[str, int]]]] = {}
    for group in groups.values():
        if len({frozenset(member) for member in group.values()}) == 1:
            lengths.setdefault(len(group), []).append(group)
    dim = len(names)
    for length, alike in lengths.items():
        if length < 2 or length > _DIMENSIONS:
            continue
        for i, j in zip(sorted(alike[0])[:-1], sorted(alike[0])[1:], strict=True):
            order = np.arange(dim)
            for group in alike:
                for rest, at in group.get(i, {}).items():
                    other = group.get(j, {}).get(rest, at)
                    order[at], order[other] = other, at
            for turned in _subsets(alone):
                sign = np.ones(dim)
                sign[turned] = -1
                yield Symmetry(order, sign)
        for i in sorted(alike[0]):
            sign = np.ones(dim)
            for group in alike:
                sign[list(group.get(i, {}).values())] = -1
            yield Symmetry(np.arange(dim), sign)


def _turned_variables(names: Sequence[str]) -> Iterator[Symmetry]:
    """Turn the signs of whole variables, in all combinations where those are few."""
    variables: dict[str, list[int]] = {}
    for at, name in enumerate(names):
        match = _INDEX.fullmatch(name)
        variables.setdefault(match["name"] if match else name, []).append(at)
    if len(variables) > _VARIABLES:
        return
    for size in range(1, len(variables) + 1):
        for turned in combinations(variables.values(), size):
            sign = np.ones(len(names))
            sign[np.concatenate(turned)] = -1
            yield Symmetry(np.arange(len(names)), sign)


def _subsets(items: list[int]) -> list[list[int]]:
    """List no item, each item and all of them, where they are few."""
    few = items if len(items) <= _FEW else []
    return [[], *([i] for i in few), *([few] if len(few) > 1 else [])]


def _between(first: Mode, second: Mode) -> Symmetry | None:
    """Guess what takes one mode to another, from their coordinates and widths."""
    if abs(first.log_density - second.log_density) > 0.01:
        return None
    a, b = first.position, second.position
    sd_a, sd_b = first.sd, second.sd
    dim = len(a)
    order, sign = np.arange(dim), np.ones(dim)

    def alike(value: Array, other: Array, i: Indices, j: Indices) -> NDArray[np.bool_]:
        scale = np.minimum(sd_a[i], sd_b[j])
        same_width = np.abs(np.log(sd_a[i] / sd_b[j])) < _CLOSE
        return np.asarray((np.abs(value - other) < _CLOSE * scale) & same_width)

    at = np.arange(dim)
    fixed = alike(a, b, at, at)
    turned = ~fixed & alike(-a, b, at, at)
    sign[turned] = -1
    free = list(np.flatnonzero(~fixed & ~turned))
    left = list(free)
    for j in free:
        index = np.array(left)
        same = np.flatnonzero(
            alike(a[index], np.full(len(index), b[j]), index, np.full(len(index), j))
        )
        if not len(same):
            same = np.flatnonzero(
                alike(-a[index], np.full(len(index), b[j]), index, np.full(len(index), j))
            )
            sign[j] = -1
        if not len(same):
            return None
        order[j] = left.pop(int(same[0]))
    return Symmetry(order, sign)
