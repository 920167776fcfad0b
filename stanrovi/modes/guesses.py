"""Guesses at symmetries of a density: from the names of its coordinates, and from two modes.

Indices exchanged, signs turned. A simplex of K elements, which Stan describes by K - 1 coordinates
(the isometric log ratio: Egozcue and others 2003, doi:10.1023/A:1023818214614), turns by a
rotation of these when its elements are exchanged; so does a vector that sums to zero.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, eye_array

from stanrovi.families.symmetry import Indices, Symmetry
from stanrovi.modes.basins import Mode
from stanrovi.target import Array

_CLOSE = 0.05  # standard deviations; coordinates of two modes that are the same
_MODES = 12  # whose pairs are tried
_LONGEST = 40  # index, or vector of coordinates, of which every single one is tried
_FEW = 4  # groups of one length, of which choices are tried
_VARIABLES = 6  # whose signs are turned in all combinations
_NAME = re.compile(r"(?P<name>.*?)[.\[](?P<indices>\d+(?:[.,]\d+)*)\]?")


def guesses(modes: Sequence[Mode], names: Sequence[str]) -> Iterator[list[Symmetry]]:
    """Enumerate maps that may leave a density as it is.

    Parameters
    ----------
    modes : sequence of Mode
        At least one.
    names : sequence of str
        Coordinates; those of one index (``a.1``, ``b.1``) may be exchanged together.

    Yields
    ------
    list of Symmetry
        That hold together or not at all, as exchanges of neighbours do: one tells of the others.
    """
    dim = len(names)
    yield from _exchanged_indices(names)
    for turned in _turned_variables(names):
        yield [turned]
    for i, first in enumerate(modes[:_MODES]):
        for second in modes[i + 1 : _MODES]:
            guess = _between(first, second)
            if guess is not None:
                yield [guess]
    if dim <= _LONGEST:
        for i in range(dim):
            yield [_turned(dim, [i])]
    yield [_turned(dim, range(dim))]


@dataclass(frozen=True)
class _Group:
    """Coordinates of one variable by one of its indices."""

    variable: str
    members: tuple[tuple[int, ...], ...]  # by that index; alike in their other indices


def _groups(names: Sequence[str]) -> tuple[list[_Group], list[int]]:
    """Collect the variables with indices, by each index; and the coordinates without any."""
    variables: dict[str, dict[tuple[int, ...], int]] = {}
    alone = []
    for at, name in enumerate(names):
        match = _NAME.fullmatch(name)
        if match is None:
            alone.append(at)
        else:
            index = tuple(int(i) for i in re.split("[.,]", match["indices"]))
            variables.setdefault(match["name"], {})[index] = at
    found = []
    for variable, places in variables.items():
        for axis in range(len(next(iter(places)))):
            by: dict[int, dict[tuple[int, ...], int]] = {}
            for index, at in places.items():
                rest = (*index[:axis], *index[axis + 1 :])
                by.setdefault(index[axis], {})[rest] = at
            if len({frozenset(member) for member in by.values()}) == 1:
                rests = sorted(next(iter(by.values())))
                members = tuple(tuple(by[i][rest] for rest in rests) for i in sorted(by))
                found.append(_Group(variable, members))
    return found, alone


def _exchanged_indices(names: Sequence[str]) -> Iterator[list[Symmetry]]:
    """Exchange neighbouring indices in variables of one length; and turn their signs."""
    groups, alone = _groups(names)
    dim = len(names)
    for length in sorted({len(group.members) for group in groups}):
        alike = [group for group in groups if len(group.members) == length]
        if length > _LONGEST:
            continue
        for chosen in _chosen(alike):
            if length > 1:
                neighbours = [_exchanged(chosen, i, groups, alone, dim) for i in range(length - 1)]
                yield from (list(same) for same in zip(*neighbours, strict=True))
            members = zip(*(group.members for group in chosen), strict=True)
            yield [_turned(dim, [at for member in same for at in member]) for same in members]


def _chosen(alike: list[_Group]) -> Iterator[list[_Group]]:
    """All groups together; where they are few also each alone and all but one.

    Of one variable one index at a time.
    """
    sizes = {len(alike), len(alike) - 1, 1} - {0} if len(alike) <= _FEW else {len(alike)}
    for size in sorted(sizes, reverse=True):
        for chosen in combinations(alike, size):
            if len({group.variable for group in chosen}) == size:
                yield list(chosen)


def _exchanged(
    chosen: list[_Group], i: int, groups: list[_Group], alone: list[int], dim: int
) -> Iterator[Symmetry]:
    """Exchange members i and i + 1, and with them what describes a simplex of as many elements."""
    length = len(chosen[0].members)
    order = np.arange(dim)
    for group in chosen:
        for a, b in zip(group.members[i], group.members[i + 1], strict=True):
            order[a], order[b] = b, a
    plain = Symmetry.signed(order, np.ones(dim))
    yield plain
    # A quarter turn in the plane of both.
    yield _turned(dim, [at for group in chosen for at in group.members[i]]).after(plain)
    for turned in _subsets(alone):  # such as the share of the first of two
        if turned:
            yield _turned(dim, turned).after(plain)
    shorter = [group for group in groups if len(group.members) == length - 1]
    if shorter:
        block = _elements_exchanged(length, i)
        for some in _chosen(shorter):
            matrix = eye_array(dim, format="lil")
            for group in some:
                for places in np.array(group.members).T:
                    matrix[np.ix_(places, places)] = block
            yield Symmetry(csr_array(matrix)).after(plain)


def _elements_exchanged(length: int, i: int) -> Array:
    """Give what exchanging elements i and i + 1 of a simplex does to its coordinates."""
    k = np.arange(1, length)
    basis = np.triu(np.ones((length, length - 1)))
    basis[k, k - 1] = -k
    basis[np.tril_indices(length, -2, length - 1)] = 0.0
    basis /= np.sqrt(k * (k + 1.0))
    order = np.arange(length)
    order[[i, i + 1]] = order[[i + 1, i]]
    return np.asarray(basis.T @ basis[order])


def _turned(dim: int, places: Sequence[int]) -> Symmetry:
    sign = np.ones(dim)
    sign[list(places)] = -1
    return Symmetry.signed(np.arange(dim), sign)


def _turned_variables(names: Sequence[str]) -> Iterator[Symmetry]:
    """Turn the signs of whole variables, in all combinations where those are few."""
    variables: dict[str, list[int]] = {}
    for at, name in enumerate(names):
        match = _NAME.fullmatch(name)
        variables.setdefault(match["name"] if match else name, []).append(at)
    if len(variables) > _VARIABLES:
        return
    for size in range(1, len(variables) + 1):
        for turned in combinations(variables.values(), size):
            yield _turned(len(names), np.concatenate(turned).tolist())


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
    return Symmetry.signed(order, sign)
