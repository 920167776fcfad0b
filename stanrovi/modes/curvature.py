"""Curvature of a log density by differences of gradients, as few as its sparsity allows.

Where effects of groups are independent given a few common parameters, or follow each other
in a chain, most second derivatives are zero. Coordinates that share none can be moved at
once and still be told apart (Coleman and More 1984, doi:10.1007/BF02612334): an arrow of
any length costs a gradient for each common parameter and one for all the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from stanrovi.families.triangular import Pattern
from stanrovi.modes.precision import Precision
from stanrovi.target import Array, Target

Indices = NDArray[np.intp]
Adjacency = NDArray[np.bool_]

_STEP = 1e-4  # of differences, in conditional standard deviations
_ZERO = 1e-6  # second derivatives below this share of their diagonals are none
_SPARSE = 0.25  # a larger share of colours counts as dense
_REMEASURE = 100.0  # a scale so far off wants a second look


@dataclass(frozen=True, eq=False)
class Curvature:
    """Second derivatives in some coordinates, the others fixed, wherever they are wanted.

    Attributes
    ----------
    coordinates : ndarray of int, shape (m,)
    adjacent : ndarray of bool, shape (m, m)
        Which second derivatives may differ from zero; symmetric, true on the diagonal.
    colours : ndarray of int, shape (m,)
        Groups of coordinates that are moved at once.
    """

    coordinates: Indices
    adjacent: Adjacency
    colours: Indices

    @classmethod
    def of(cls, coordinates: Indices, adjacent: Adjacency, most: float = np.inf) -> Curvature:
        """Curvature of given sparsity; dense where that would take more than so many gradients."""
        m = len(coordinates)
        colours = None if adjacent.all() else _colouring(adjacent, most)
        if colours is None:
            return cls(coordinates, np.ones((m, m), dtype=bool), np.arange(m))
        return cls(coordinates, adjacent, colours)

    @property
    def cost(self) -> int:
        """Gradients for one evaluation, beyond that at the point."""
        return int(self.colours.max()) + 1

    @property
    def order(self) -> None:
        """Order of elimination that a factorisation asks for: none, all entries are held."""
        return

    def factors(self, precisions: Sequence[Array]) -> tuple[Indices, Pattern, Array, Array]:
        """Cholesky factors of several precisions, as they are wherever they may have entries.

        Returns
        -------
        order : ndarray of int, shape (m,)
            Of elimination.
        pattern : Pattern
        log_scale : ndarray, shape (k, m)
            Log diagonal of each factor, in that order.
        lower : ndarray, shape (k, pattern.size)
            Entries below the diagonal, each over its column's diagonal.
        """
        order, rows = elimination_order(self.adjacent)
        pattern = Pattern(rows)
        below, across = pattern.positions
        factors = [np.linalg.cholesky(p[np.ix_(order, order)]) for p in precisions]
        diagonals = np.stack([np.diag(f) for f in factors])
        lower = np.stack([(f / np.diag(f))[below, across] for f in factors])
        return order, pattern, np.log(diagonals), lower

    @cached_property
    def _plan(self) -> tuple[Indices, Indices, NDArray[np.bool_]]:
        """Entries, and whether a move of the column's group shows them without mixture."""
        rows, columns = np.nonzero(self.adjacent)
        members = np.stack(
            [self.adjacent[:, self.colours == c].sum(axis=1) for c in range(self.cost)], axis=1
        )
        return rows, columns, members[rows, self.colours[columns]] == 1

    def precision(self, target: Target, x: Array, gradient: Array, scale: Array) -> Array:
        """Minus the second derivatives at a point.

        Parameters
        ----------
        target : Target
        x, gradient : ndarray, shape (dim,)
            A point and the gradient there.
        scale : ndarray, shape (m,)
            Conditional standard deviations, roughly.

        Returns
        -------
        ndarray, shape (m, m)
            NaN where a point was rejected.
        """
        step = _STEP * scale
        points = np.repeat(np.asarray(x, dtype=np.float64)[None], self.cost, axis=0)
        points[self.colours, self.coordinates] += step
        value, moved = target.log_density_gradient(points)
        change = gradient[self.coordinates] - moved[:, self.coordinates]
        change = np.where(np.isfinite(value)[:, None], change, np.nan)
        rows, columns, clean = self._plan
        rows, columns = rows[clean], columns[clean]
        entries = change[self.colours[columns], rows] / step[columns]
        total, count = np.zeros((2, len(scale), len(scale)))
        total[rows, columns], count[rows, columns] = entries, 1.0
        total, count = total + total.T, count + count.T
        return np.asarray(np.divide(total, count, out=np.zeros_like(total), where=count > 0))


def curvature_at(
    target: Target, coordinates: Indices, x: Array, gradient: Array, scale: Array
) -> tuple[Curvature, Array] | None:
    """Find the sparsity at a point, one coordinate after the other.

    Parameters
    ----------
    target : Target
    coordinates : ndarray of int, shape (m,)
    x, gradient : ndarray, shape (dim,)
    scale : ndarray, shape (m,)
        Conditional standard deviations, roughly.

    Returns
    -------
    curvature : Curvature
    precision : ndarray, shape (m, m)
        At this point. Costs m gradients, twice that where the scales were far off. None in
        the place of both where the target rejects a point nearby.
    """
    m = len(coordinates)
    curvature = Curvature.of(coordinates, np.ones((m, m), dtype=bool))
    for _ in range(2):
        precision = curvature.precision(target, x, gradient, scale)
        if not np.isfinite(precision).all():
            return None
        measured = conditional_sd(precision, scale)
        off = np.abs(np.log(measured / scale)).max()
        scale = measured
        if off < np.log(_REMEASURE):
            break
    unit = np.sqrt(np.maximum(np.abs(np.diag(precision)), 1e-300))
    share = np.abs(precision) / np.outer(unit, unit)
    # What is nearly dense may be dense elsewhere, where a correlation reaches further.
    adjacent = (share > _ZERO) | np.eye(m, dtype=bool)
    return Curvature.of(coordinates, adjacent, _SPARSE * m), precision


def conditional_sd(precision: Precision, otherwise: Array) -> Array:
    """Give ``diag(precision) ** -0.5``, and something else where that is no number."""
    diagonal = precision.diagonal()
    return np.where(diagonal > 0, np.maximum(diagonal, 1e-300) ** -0.5, otherwise)


def elimination_order(adjacent: Adjacency) -> tuple[Indices, tuple[Indices, ...]]:
    """Order in which a Cholesky factor stays sparse, by minimum degree.

    Parameters
    ----------
    adjacent : ndarray of bool, shape (m, m)

    Returns
    -------
    order : ndarray of int, shape (m,)
    rows : tuple of ndarray of int
        For each column of the factor, in that order, its rows below the diagonal.
    """
    neighbours = _neighbours(adjacent)
    left, order, below = set(range(len(adjacent))), [], []
    while left:
        first = min(left, key=lambda i: (len(neighbours[i]), i))
        left.discard(first)
        order.append(first)
        below.append(neighbours[first])
        for other in neighbours[first]:
            neighbours[other] = (neighbours[other] | neighbours[first]) - {first, other}
    position = np.empty(len(order), dtype=np.intp)
    position[order] = np.arange(len(order))
    rows = tuple(np.sort(position[sorted(b)]).astype(np.intp) for b in below)
    return np.array(order, dtype=np.intp), rows


def _neighbours(adjacent: Adjacency) -> list[set[int]]:
    return [set(np.flatnonzero(row).tolist()) - {i} for i, row in enumerate(adjacent)]


def _colouring(adjacent: Adjacency, most: float) -> Indices | None:
    """Colour a graph so that every entry shows in a move of its row's or its column's group.

    Greedy, the coordinates with the most neighbours first. None if it takes more colours than
    allowed.
    """
    neighbours = _neighbours(adjacent)
    painter = _Painter(neighbours)
    for i in sorted(range(len(neighbours)), key=lambda i: -len(neighbours[i])):
        colour = 0
        while not painter.paint(i, colour):
            colour += 1
            if colour + 1 > most:
                return None
    return np.array([painter.colour[i] for i in range(len(neighbours))], dtype=np.intp)


class _Painter:
    """Colours given so far, and in each closed neighbourhood how many have which."""

    def __init__(self, neighbours: list[set[int]]) -> None:
        self._neighbours = neighbours
        self.colour: dict[int, int] = {}
        self._count: list[dict[int, int]] = [{} for _ in neighbours]

    def paint(self, i: int, colour: int) -> bool:
        """Give i a colour, if all entries can still be told."""
        near = self._neighbours[i]
        if any(self.colour.get(j) == colour for j in near):
            return False
        # A row that is to be told by its own colour later must find its neighbours apart.
        if any(j not in self.colour and colour in self._count[j] for j in near):
            return False
        self._add(i, colour, 1)
        self.colour[i] = colour
        if self._told(i):
            return True
        self._add(i, colour, -1)
        del self.colour[i]
        return False

    def _add(self, i: int, colour: int, change: int) -> None:
        for j in (i, *self._neighbours[i]):
            count = self._count[j].get(colour, 0) + change
            if count:
                self._count[j][colour] = count
            else:
                del self._count[j][colour]

    def _told(self, i: int) -> bool:
        """Whether the entries can be told whose row or column saw a new colour."""
        mine = self.colour[i]
        for j in self._neighbours[i]:
            if j not in self.colour:
                continue
            if not self._tells(i, j):
                return False
            for k in self._neighbours[j]:
                if k != i and self.colour.get(k) == mine and not self._tells(k, j):
                    return False
        return True

    def _tells(self, i: int, j: int) -> bool:
        """Whether entry (i, j) shows unmixed in row j or in row i."""
        by_row = self._count[j].get(self.colour[i]) == 1
        return by_row or self._count[i].get(self.colour[j]) == 1
