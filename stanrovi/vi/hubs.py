"""Roots among the hubs of a sparse curvature, in any number of dimensions.

What rules the spread of many others has a second derivative with each of them, so it is a hub.
How much it explains shows in two measurements of the curvature (`stanrovi.vi.roots`), one of them
a little further along the ridge on which the others follow it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stanrovi.families.product import Product
from stanrovi.modes.curvature import conditional_sd
from stanrovi.modes.precision import Factor, is_finite, sound_factor
from stanrovi.modes.sparsity import SparseCurvature, find_sparsity
from stanrovi.target import Array, Target
from stanrovi.vi.nodes import Nodes
from stanrovi.vi.roots import LEAST_NATS

Indices = NDArray[np.intp]

_MOVE = 0.2  # of the spread of a candidate
_WIDEST = 1.0  # spread of a candidate where the curvature does not tell it
_ROUNDS = 3


def nodes_at_hubs(
    target: Target, start: Product, rng: np.random.Generator
) -> tuple[Nodes | None, SparseCurvature | None]:
    """Look for roots among the hubs, and walk to the mode of their evidence.

    Parameters
    ----------
    target : Target
    start : Product
        A rough Gaussian; its centre is the place.
    rng : numpy.random.Generator

    Returns
    -------
    nodes : Nodes or None
        See `stanrovi.vi.hierarchy.nodes_near`.
    curvature : SparseCurvature or None
        None where it is not sparse.
    """
    x, scale = start.center, start.axes.precision_diagonal() ** -0.5
    curvature = find_sparsity(target, x, scale, rng)
    if curvature is None or not len(curvature.hubs):
        return None, curvature
    known, nodes = np.zeros(0, dtype=np.intp), None
    spread = np.zeros((0, 0))
    for _ in range(_ROUNDS):
        found, widths = _ruling(target, curvature, x, scale, known)
        if not len(found):
            break
        roots = np.concatenate([known, found])
        spread = np.block([
            [spread, np.zeros((len(known), len(found)))],
            [np.zeros((len(found), len(known))), np.diag(widths)],
        ])  # fmt: skip
        leaves = np.setdiff1d(np.arange(target.dim), roots)
        inside = curvature.restricted(leaves)
        nodes = Nodes(target, roots, inside, scale[leaves], x[roots], spread)
        if nodes.too_many:
            return nodes, curvature
        if not (nodes.begin(x[leaves], None) and nodes.walk()):
            return None, curvature
        nats = nodes.nats()
        ruling = nats >= min(LEAST_NATS / 3, nats.max())
        known, spread = roots, nodes.axes
        best = nodes.best
        x = np.empty(target.dim)
        x[roots], x[leaves] = best.roots, best.mean
        scale = np.ones(target.dim)
        scale[leaves] = conditional_sd(best.precision, nodes.scale)
        scale[roots] = np.linalg.norm(nodes.axes, axis=1)
        if not ruling.all():
            # What was found far from the mass may rule nothing where it is.
            known, spread = roots[ruling], np.diag(np.linalg.norm(nodes.axes, axis=1)[ruling])
    return nodes, curvature


def _ruling(
    target: Target, curvature: SparseCurvature, x: Array, scale: Array, known: Indices
) -> tuple[Indices, Array]:
    """Hubs that rule others, those that explain most first, and how wide each is."""
    value, gradient = target.log_density_gradient(x[None])
    if not np.isfinite(value[0]):
        return np.zeros(0, dtype=np.intp), np.zeros(0)
    free = np.setdiff1d(np.arange(target.dim), known)
    inside = curvature.restricted(free)
    precision = inside.precision(target, x, gradient[0], scale[free])
    if not is_finite(precision):
        return np.zeros(0, dtype=np.intp), np.zeros(0)
    factor = sound_factor(precision, inside.order)
    found, widths, nats = [], [], []
    for hub in inside.hubs:
        ridge, width = _ridge(factor, precision.diagonal(), int(hub))
        move = np.zeros(target.dim)
        move[free] = _MOVE * width * ridge
        there = x + move
        value, slope = target.log_density_gradient(there[None])
        if not np.isfinite(value[0]):
            continue
        moved = inside.precision(target, there, slope[0], scale[free])
        before, after = precision.diagonal(), moved.diagonal()
        ruled = (before > 0) & (after > 0)
        ruled[inside.hubs] = False
        change = np.log(after[ruled] / before[ruled]) / 2 / _MOVE
        explained = float((change**2).sum())
        if explained > LEAST_NATS:
            found.append(int(free[hub]))
            widths.append(width)
            nats.append(explained)
    order = np.argsort(-np.array(nats), kind="stable")
    return np.array(found, dtype=np.intp)[order], np.array(widths)[order]


def _ridge(factor: Factor, diagonal: Array, hub: int) -> tuple[Array, float]:
    """How the others move with a hub at best, for one of its standard deviation; and that."""
    unit = np.zeros(len(diagonal))
    unit[hub] = 1.0
    column = factor.solve(unit)
    width = float(np.sqrt(max(column[hub], 1e-300)))
    return column / column[hub], min(width, _WIDEST)
