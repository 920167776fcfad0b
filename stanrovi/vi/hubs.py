"""Roots among the hubs of a sparse curvature, in any number of dimensions.

What rules the spread of many others has a second derivative with each of them, so it is a hub.
How much it explains shows in two measurements of the curvature (`stanrovi.vi.roots`), one of them
a little further along the ridge on which the others follow it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag

from stanrovi.families.product import Product
from stanrovi.modes.curvature import conditional_sd
from stanrovi.modes.precision import Factor, is_finite, sound_factor
from stanrovi.modes.sparsity import SparseCurvature, find_sparsity
from stanrovi.target import Array, Target
from stanrovi.vi.nodes import Nodes
from stanrovi.vi.root_moments import LEAST_NATS, MOST_ROOTS

Indices = NDArray[np.intp]

_MOVE = 0.2  # of the spread of a candidate
_WIDEST = 1.0  # spread of a candidate where the curvature does not tell it
_ROUNDS = 4
_NONE = np.zeros(0, dtype=np.intp)


def nodes_at_hubs(
    target: Target,
    start: Product,
    rng: np.random.Generator,
    curvature: SparseCurvature | None = None,
) -> tuple[Nodes | None, SparseCurvature | None]:
    """Look for roots among the hubs, and walk to the mode of their evidence.

    Parameters
    ----------
    target : Target
    start : Product
        A rough Gaussian; its centre is the place.
    rng : numpy.random.Generator
    curvature : SparseCurvature, optional
        As it was found elsewhere.

    Returns
    -------
    nodes : Nodes or None
        See `stanrovi.vi.hierarchy.nodes_near`.
    curvature : SparseCurvature or None
        None where it is not sparse.
    """
    x, scale = start.center, start.axes.precision_diagonal() ** -0.5
    curvature = curvature or find_sparsity(target, x, scale, rng)
    if curvature is None:
        return None, None
    nodes = None
    roots, idle, axes = _NONE, _NONE, np.zeros((0, 0))
    for _ in range(_ROUNDS):
        found, widths = _ruling(target, curvature, x, scale, roots, idle)
        if not len(found) and (nodes is None or len(nodes.roots) == len(roots)):
            break
        roots, axes = np.concatenate([roots, found]), block_diag(axes, np.diag(widths))
        leaves = np.setdiff1d(np.arange(target.dim), roots)
        inside = curvature.restricted(leaves)
        nodes = Nodes(target, roots, inside, scale[leaves], x[roots], axes)
        if nodes.too_many:
            break
        if not (nodes.begin(x[leaves], None) and nodes.walk()):
            return None, curvature
        best = nodes.best
        x, scale = np.empty(target.dim), np.ones(target.dim)
        x[roots], x[leaves] = best.roots, best.mean
        scale[leaves] = conditional_sd(best.precision, nodes.scale)
        widths = np.linalg.norm(nodes.axes, axis=1)
        scale[roots], axes = widths, nodes.axes
        # What was found far from the mass may rule nothing where it is.
        nats = nodes.nats() + nodes.tilts() ** 2 / 2
        ruling = nats >= min(LEAST_NATS / 3, nats.max())
        if not ruling.all():
            idle, roots = np.union1d(idle, roots[~ruling]), roots[ruling]
            axes = np.diag(widths[ruling])
    return nodes, curvature


def _ruling(
    target: Target,
    curvature: SparseCurvature,
    x: Array,
    scale: Array,
    known: Indices,
    idle: Indices,
) -> tuple[Indices, Array]:
    """Hubs that rule others, one given the next, and how wide each is."""
    value, gradient = target.log_density_gradient(x[None])
    found: list[int] = []
    widths: list[float] = []
    while np.isfinite(value[0]) and len(known) + len(found) < MOST_ROOTS:
        given = np.concatenate([known, np.array(found, dtype=np.intp)])
        free = np.setdiff1d(np.arange(target.dim), given)
        inside = curvature.restricted(free)
        precision = inside.precision(target, x, gradient[0], scale[free])
        if not is_finite(precision):
            break
        factor, before = sound_factor(precision, inside.order), precision.diagonal()
        nats, width = np.zeros(len(inside.hubs)), np.zeros(len(inside.hubs))
        for k, hub in enumerate(inside.hubs):
            if free[hub] not in idle:
                ridge, width[k] = _ridge(factor, len(free), int(hub))
                there = x.copy()
                there[free] += _MOVE * width[k] * ridge
                nats[k] = _explained(target, inside, there, before, scale[free])
        if not nats.max(initial=0.0) > LEAST_NATS:
            break
        best = int(np.argmax(nats))
        found.append(int(free[inside.hubs[best]]))
        widths.append(float(width[best]))
    return np.array(found, dtype=np.intp), np.array(widths)


def _explained(
    target: Target, curvature: SparseCurvature, there: Array, before: Array, scale: Array
) -> float:
    """Nats that a hub explains, by the curvature a little further along its ridge.

    Those that it shares with the scales of the others, and what it costs to have its mean where
    their joint mode is: their volume shifts it, by little each but all in one direction.
    """
    value, gradient = target.log_density_gradient(there[None])
    if not np.isfinite(value[0]):
        return 0.0
    after = curvature.precision(target, there, gradient[0], scale).diagonal()
    ruled = (before > 0) & (after > 0)
    ruled[curvature.hubs] = False
    change = np.log(after[ruled] / before[ruled]) / 2 / _MOVE
    return float((change**2).sum() + change.sum() ** 2 / 2)


def _ridge(factor: Factor, size: int, hub: int) -> tuple[Array, float]:
    """How the others move with a hub at best, for one of its standard deviation; and that."""
    unit = np.zeros(size)
    unit[hub] = 1.0
    column = factor.solve(unit)
    width = float(np.sqrt(max(column[hub], 1e-300)))
    return column / column[hub], min(width, _WIDEST)
