"""Laplace approximations given the roots, at nodes in their space: nested Laplace.

Given the roots u the rest v has a mode, a curvature there and so an evidence,
``log p(u, v*) - log det(C)`` with ``C C^T`` the precision, which is the marginal density of
the roots (Tierney and Kadane 1986, doi:10.1080/01621459.1986.10478240; Rue, Martino and
Chopin 2009, doi:10.1111/j.1467-9868.2008.00700.x). Nodes lie on a grid where there are one
or two roots, along axes and on corners where there are more. The mode of the
evidence is a sound place even where the joint density has none, down in the neck of a funnel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import hadamard

from stanrovi.families.axes import DenseAxes
from stanrovi.families.conditional import ConditionalMap, RootFunctions, StarFunctions
from stanrovi.modes.curvature import Curvature, conditional_sd
from stanrovi.modes.precision import Precision, factorised, is_finite, sound_factor
from stanrovi.modes.sparsity import SparseCurvature
from stanrovi.target import Array, Target
from stanrovi.vi.newton import NewtonClimb

Indices = NDArray[np.intp]

# Curvatures for a node, and for the first, or as many as make so many gradients.
_NEWTON, _PATIENCE, _PATIENT = 8, 60, 1500
_MOVED = 0.01  # twice the nats after which a curvature is measured again
_QUADRATIC = 1e-3  # unless one step left no more than this share
# A leaf that the others explain to this share is a ridge: what is left is rounding.
_RIDGE = 1e-7
_WALK = 24
_STEP, _STRETCH = 2.0, 3.0  # of a walk, in present standard deviations; and of those
_FLAT = 0.02
_NEAR, _ALIKE = 0.7, (0.55, 1.7)
_SAME = 1.0  # squared standard deviations; what is so near is one mode
_NEARBY, _EDGE = 2.0, 3  # standard deviations around the mode
_APART = 0.6  # nodes are so many standard deviations apart at least
# Nodes go out until the evidence is so many nats below the best: with one root, with more, and
# with more where a node costs more than `_DEAR` gradients. There a grid is as wide as `_SPACED`.
_DEPTH, _DEPTH_OF_MORE, _DEPTH_OF_DEAR, _DEAR = 12.0, 8.0, 6.0, 40
_MOST = 150
_BELOW = 25.0  # nodes so many nats below the best say nothing
_SPACED = 1.6
_AXIAL, _LONG, _LONGEST = 1.2, 5, 15
_ARM = 0.01  # from an axis; nodes nearer are on an arm
_GRID, _EXPECTED = 2, (0, 20, 70)  # roots that a grid can cover, and nodes that takes
# Gradients of a node beside its curvature; what nodes may cost, and more for each dimension.
_BESIDES, _WORTH, _WORTH_EACH = 5, 5000, 100


@dataclass(frozen=True, eq=False)
class Node:
    """The rest given one value of the roots.

    Attributes
    ----------
    roots : ndarray, shape (k,)
    mean : ndarray, shape (m,)
        Conditional mode.
    precision : ndarray or csc_array, shape (m, m)
    evidence : float
        Log marginal density of the roots by Laplace's approximation, up to a constant.
    """

    roots: Array
    mean: Array
    precision: Precision
    evidence: float


@dataclass
class Nodes:
    """Nodes of one target and one choice of roots.

    Attributes
    ----------
    target : Target
    roots : ndarray of int, shape (k,)
    curvature : Curvature
        In the leaves, all other coordinates.
    scale : ndarray, shape (m,)
        Conditional standard deviations of the leaves, roughly.
    center : ndarray, shape (k,)
        Mode of the evidence, once walked to.
    axes : ndarray, shape (k, k)
        Its spread: a root of the covariance of the roots.
    """

    target: Target
    roots: Indices
    curvature: Curvature | SparseCurvature
    scale: Array
    center: Array
    axes: Array
    found: list[Node] = field(default_factory=list)

    @property
    def best(self) -> Node:
        """The node of most evidence."""
        return max(self.found, key=lambda node: node.evidence)

    @property
    def too_many(self) -> bool:
        """Whether so many roots want more nodes than they are worth."""
        k, dim = len(self.roots), len(self.roots) + len(self.scale)
        spread = _EXPECTED[k] if k <= _GRID else 12 * k + 2 * k * k
        return spread * (self.curvature.cost + _BESIDES) > _WORTH + _WORTH_EACH * dim

    def begin(self, leaves: Array, precision: Precision | None) -> bool:
        """Find the first node, from a guess of the leaves; whether there is one worth having."""
        if self.too_many:
            return False
        patience = int(np.clip(_PATIENT / self.curvature.cost, _NEWTON, _PATIENCE))
        node = self._solve(self.center, leaves, precision, patience)
        if node is not None:
            self.found.append(node)
        return node is not None

    def walk(self) -> bool:
        """Go to the mode of the evidence and measure its spread; whether there is one.

        Steps that go on in one direction grow: the way can be many times the spread.
        """
        reach, before = np.full(len(self.roots), _STEP), np.zeros(len(self.roots))
        for _ in range(_WALK):
            if self._evidence(np.zeros(len(self.roots))) < self.best.evidence - _FLAT:
                self.center = self.best.roots
            shift, stretch = self._looked_around(reach)
            onward = (shift * before > 0) & (np.abs(shift) >= reach)
            before, reach = shift, np.where(onward, 2 * reach, _STEP)
            self.center = self.center + self.axes @ shift
            self.axes = self.axes * stretch
            near = np.abs(shift).max() < _NEAR
            if near and stretch.min() > _ALIKE[0] and stretch.max() < _ALIKE[1]:
                self._turn()
                return True
        return False

    def _evidence(self, place: Array) -> float:
        """Evidence at ``center + axes @ place``; -inf where the rest has no mode."""
        roots = self.center + self.axes @ place
        start = self._nearest(roots)
        if np.abs(np.linalg.inv(self.axes) @ (start.roots - roots)).max() < 1e-3:
            return start.evidence
        node = self._solve(roots, start.mean, start.precision)
        if node is None:
            return -np.inf
        self.found.append(node)
        return node.evidence

    def _nearest(self, roots: Array) -> Node:
        return self.found[int(np.argmin(np.abs(self._places(roots)).max(axis=1)))]

    def _places(self, origin: Array) -> Array:
        """Nodes found (n, k) along the axes, from an origin."""
        away = np.array([n.roots for n in self.found]) - origin
        return np.asarray((np.linalg.inv(self.axes) @ away[..., None])[..., 0])

    def _looked_around(self, reach: Array) -> tuple[Array, Array]:
        """Where the mode is and how wide, seen from a star of nodes, axis by axis."""
        k = len(self.roots)
        shift, stretch = np.zeros(k), np.ones(k)
        here = self._evidence(np.zeros(k))
        for i, unit in enumerate(np.eye(k)):
            low, high = (max(self._evidence(s * unit), here - 30) for s in (-1, 1))
            bend, slope = 2 * here - low - high, (high - low) / 2
            if bend > _FLAT:
                shift[i] = np.clip(slope / bend, -reach[i], reach[i])
                stretch[i] = np.clip(bend**-0.5, 1 / _STRETCH, _STRETCH)
            elif abs(slope) > _FLAT:
                shift[i], stretch[i] = reach[i] * np.sign(slope), _STRETCH
            else:
                stretch[i] = _STRETCH**2
        return shift, stretch

    def _turn(self) -> None:
        """Take the correlations of the roots into the axes."""
        k = len(self.roots)
        if k == 1:
            return
        unit, here = np.eye(k), self._evidence(np.zeros(k))
        bend = np.zeros((k, k))
        sides = np.array([[self._evidence(s * e) for s in (-1, 1)] for e in unit])
        np.fill_diagonal(bend, 2 * here - sides.sum(axis=1))
        for i, j in combinations(range(k), 2):
            corners = [self._evidence(s * (unit[i] + unit[j])) for s in (-1, 1)]
            both = 2 * here - sum(corners)
            bend[i, j] = bend[j, i] = (both - bend[i, i] - bend[j, j]) / 2
        if not np.isfinite(bend).all():
            return
        spectrum, vectors = np.linalg.eigh(bend)
        if spectrum[0] > 0.1:
            self.axes = self.axes @ ((vectors * spectrum**-0.5) @ vectors.T)

    def lead_to(self, x: Array) -> bool:
        """Whether the rest, followed from the nodes to the roots of x, comes to x."""
        place = DenseAxes(self.axes).solve((x[self.roots] - self.center)[None])[0]
        if not np.isfinite(self._evidence(place)):
            return False
        node = self._nearest(x[self.roots])
        away = x[self.curvature.coordinates] - node.mean
        return float(away @ (node.precision @ away)) < _SAME

    def edge(self) -> Node | None:
        """Give the node before the rest loses its mode, or jumps to another, if it does nearby."""
        if self.curvature.cost > _DEAR:
            return None
        for unit in np.eye(len(self.roots)):
            for way in (unit, -unit):
                last = self.best
                for step in range(1, _EDGE + 1):
                    if self._evidence(step * way) < self.best.evidence - _BELOW:
                        return last
                    last = self._nearest(self.center + self.axes @ (step * way))
        return None

    def nats(self) -> Array:
        """Give what each root explains (k,): how much the log scales of the leaves follow it."""
        return np.asarray((self._slopes() ** 2).sum(axis=1))

    def tilts(self) -> Array:
        """Give by how many of its standard deviations the leaves' volume shifts each root (k,).

        So far off is the mean of a root that is taken for a leaf.
        """
        return np.asarray(self._slopes().sum(axis=1))

    def _slopes(self) -> Array:
        """Change of the leaves' log scales for one standard deviation of each root, (k, m)."""
        near = np.abs(self._places(self.center)).max(axis=1) < _NEARBY
        roots = np.array([n.roots for n in self.found])[near]
        log_scale = -np.log([n.precision.diagonal() for n in self.found])[near] / 2
        lines = np.concatenate([np.ones((len(roots), 1)), roots - self.center], axis=1)
        slopes = np.linalg.lstsq(lines, log_scale, rcond=None)[0][1:]
        return np.asarray(slopes * np.linalg.norm(self.axes, axis=1)[:, None])

    def spread_out(self) -> None:
        """Cover where the evidence is with nodes that stand well apart."""
        k = len(self.roots)
        dear = self.curvature.cost > _DEAR
        depth = _DEPTH if k == 1 else _DEPTH_OF_DEAR if dear else _DEPTH_OF_MORE
        spacing = _SPACED if dear and k <= _GRID else 1.0
        if k <= _GRID:
            self._flood(depth, spacing)
        else:
            for place in [*self._reach_along_axes(depth), *_corners(k)]:
                self._evidence(place)
        best = self.best.evidence
        places = self._places(self.center)
        off_grid = np.abs(places / spacing - np.round(places / spacing)).max(axis=1)
        kept: list[int] = []
        for i in np.argsort(off_grid, kind="stable"):
            apart = (np.linalg.norm(places[kept] - places[i], axis=1) > _APART).all()
            # What the walk left far from all arms would stretch the box around the centre.
            astray = k > _GRID and (np.abs(places[i]) > _ARM).sum() > 1
            if apart and best - self.found[i].evidence < (depth if astray else _BELOW):
                kept.append(int(i))
        self.found = [self.found[i] for i in kept]

    def _flood(self, depth: float, spacing: float) -> None:
        """Fill the grid from the centre down to a depth, and one node beyond."""
        k = len(self.roots)
        front, seen = [(0,) * k], {(0,) * k}
        while front and len(self.found) < _MOST:
            place = front.pop(0)
            if self.best.evidence - self._evidence(spacing * np.array(place)) > depth:
                continue
            for neighbour in _neighbours(place):
                if neighbour not in seen:
                    seen.add(neighbour)
                    front.append(neighbour)

    def _reach_along_axes(self, depth: float) -> list[Array]:
        """Go out on every axis, both ways, down to a depth; give places beside long arms."""
        units, beside = np.eye(len(self.roots)), []
        for i, unit in enumerate(units):
            sides = _AXIAL * np.delete(units, i, axis=0)
            for way in (unit, -unit):
                step = 1
                while step < _LONGEST and self.best.evidence - self._evidence(step * way) < depth:
                    step += 1
                if step > _LONG:
                    beside += [step / 2 * way + side for side in (*sides, *-sides)]
        return beside

    def _solve(
        self, roots: Array, mean: Array, precision: Precision | None, patience: int = _NEWTON
    ) -> Node | None:
        """Find the conditional mode, from a guess and the precision nearby."""
        x = np.empty(len(self.roots) + len(mean))
        x[self.roots], x[self.curvature.coordinates] = roots, mean
        at = NewtonClimb(self.target, self.curvature.coordinates, x)
        scale = self.scale if precision is None else conditional_sd(precision, self.scale)
        fresh = precision is None
        for _ in range(patience):
            if not np.isfinite(at.value):
                return None
            if fresh or precision is None:
                precision = self.curvature.precision(self.target, at.x, at.gradient, scale)
                if not is_finite(precision):
                    return None
                scale = conditional_sd(precision, scale)
            first, second, settled = at.ascend(sound_factor(precision, self.curvature.order))
            quadratic = second < _QUADRATIC * first
            if settled and fresh and (first < _MOVED or quadratic):
                break
            fresh = True
        else:
            return None
        try:
            factor = factorised(precision, _RIDGE, self.curvature.order)
        except np.linalg.LinAlgError:
            return None
        evidence = at.value - factor.half_log_det
        return Node(roots, at.x[self.curvature.coordinates], precision, float(evidence))

    def map(self) -> ConditionalMap:
        """Give the rest as a function of the roots, from all nodes."""
        order, pattern, log_scale, lower = self.curvature.factors([n.precision for n in self.found])
        places = np.stack([n.roots for n in self.found])
        functions: RootFunctions | StarFunctions = RootFunctions(
            self.center, np.linalg.norm(self.axes, axis=1), places
        )
        if len(self.roots) > _GRID:
            functions = StarFunctions(self.center, self.axes, places)
        return ConditionalMap(
            roots=self.roots,
            leaves=self.curvature.coordinates[order],
            functions=functions,
            pattern=pattern,
            mean=np.stack([n.mean[order] for n in self.found]),
            log_scale=log_scale,
            lower=lower,
        )


def _neighbours(place: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    for i in range(len(place)):
        for step in (1, -1):
            yield (*place[:i], place[i] + step, *place[i + 1 :])


def _corners(k: int) -> Iterator[Array]:
    """Corners of every pair of axes, and a fraction of those of all axes in opposite pairs."""
    for first, second in combinations(np.eye(k), 2):
        for sign in (1.0, -1.0):
            yield from (_AXIAL * (first + sign * second), -_AXIAL * (first + sign * second))
    runs = hadamard(2 ** int(np.ceil(np.log2(k + 1))))[:, 1 : k + 1].astype(float)
    for corner in runs:
        yield from (_AXIAL * corner, -_AXIAL * corner)
