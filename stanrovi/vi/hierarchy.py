"""From a place in the posterior to its roots and the mode of their evidence."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag

from stanrovi.families.axes import DenseAxes
from stanrovi.families.product import Product
from stanrovi.modes.curvature import Curvature, conditional_sd, curvature_at
from stanrovi.target import Array, Target
from stanrovi.vi.nodes import Node, Nodes
from stanrovi.vi.pool import Pool
from stanrovi.vi.root_moments import LEAST_NATS, roots_from_pool
from stanrovi.vi.roots import (
    Landscape,
    landscape,
    roots_from_differences,
)

Indices = NDArray[np.intp]

_ROUNDS = 3
_NONE = np.zeros(0, dtype=np.intp)


def nodes_near(target: Target, start: Product) -> Nodes | None:
    """Look for roots by differences at a place, and again where they lead.

    Parameters
    ----------
    target : Target
    start : Product
        A rough Gaussian; its centre is the place.

    Returns
    -------
    Nodes or None
        That have walked to the mode of the evidence, or that are not worth the walk
        (`Nodes.too_many`); None where nothing rules anything, or the evidence has no mode
        that can be found from here.
    """
    at = landscape(target, start.center, start.axes.precision_diagonal() ** -0.5)
    roots = _NONE if at is None else roots_from_differences(target, at)
    if at is None or not len(roots):
        return None
    nodes, idle, spread = None, _NONE, np.diag(at.scale[roots])
    for _ in range(_ROUNDS):
        leaves = np.setdiff1d(np.arange(target.dim), roots)
        inside = np.ix_(leaves, leaves)
        curvature = Curvature.of(leaves, at.curvature.adjacent[inside])
        nodes = Nodes(target, roots, curvature, at.scale[leaves], at.x[roots], spread)
        if nodes.too_many:
            return nodes
        if not (nodes.begin(at.x[leaves], at.precision[inside]) and nodes.walk()):
            return None
        # A root found far from the mass may rule nothing where it is.
        nats = nodes.nats()
        ruling = nats >= min(LEAST_NATS / 3, nats.max())
        idle = np.union1d(idle, roots[~ruling])
        at, known = _around(nodes, nodes.best, at.curvature), np.union1d(roots, idle)
        found = roots_from_differences(target, at, known)
        edge = None if len(found) else nodes.edge()
        if edge is not None:
            there = _around(nodes, edge, at.curvature)
            found = roots_from_differences(target, there, known, LEAST_NATS / 10)[:1]
        room = target.dim - 1 - int(ruling.sum())
        found = found[: max(room, 0)]
        if ruling.all() and not len(found):
            return nodes
        ruled = np.linalg.norm(nodes.axes, axis=1)[ruling]
        spread = np.diag(np.concatenate([ruled, np.sqrt(np.diag(at.ridges(roots))[found])]))
        roots = np.concatenate([roots[ruling], found])
    return nodes


def nodes_from_gaussian(target: Target, gaussian: Product, pool: Pool) -> Nodes | None:
    """Look for roots in the evaluations of a Gaussian fit, and walk from its centre."""
    roots = roots_from_pool(gaussian, pool)
    if not len(roots):
        return None
    axes = DenseAxes.of_covariance(gaussian.covariance()[np.ix_(roots, roots)]).matrix
    scale = gaussian.axes.precision_diagonal() ** -0.5
    return _walked(target, roots, gaussian.center, scale, axes)


def extended(nodes: Nodes, missed: Indices) -> Nodes | None:
    """Take further roots, and walk on from the mode of the evidence of the first ones."""
    missed = missed[: len(nodes.curvature.coordinates) - 1]
    if not len(missed):
        return None
    best, leaves = nodes.best, nodes.curvature.coordinates
    scale = np.ones(len(nodes.roots) + len(leaves))
    scale[leaves] = conditional_sd(best.precision, nodes.scale)
    inside = np.searchsorted(leaves, missed)
    covariance = np.linalg.inv(best.precision)[np.ix_(inside, inside)]
    axes = block_diag(nodes.axes, np.linalg.cholesky(covariance))
    roots = np.concatenate([nodes.roots, missed])
    return _walked(nodes.target, roots, _place(nodes, best), scale, axes)


def _walked(target: Target, roots: Indices, x: Array, scale: Array, axes: Array) -> Nodes | None:
    """Measure the sparsity of the rest at a point, and walk from there."""
    leaves = np.setdiff1d(np.arange(target.dim), roots)
    _, gradient = target.log_density_gradient(x[None])
    found = curvature_at(target, leaves, x, gradient[0], scale[leaves])
    if found is None:
        return None
    curvature, precision = found
    nodes = Nodes(target, roots, curvature, scale[leaves], x[roots], axes)
    return nodes if nodes.begin(x[leaves], precision) and nodes.walk() else None


def _around(nodes: Nodes, node: Node, curvature: Curvature) -> Landscape:
    """Look around at a node."""
    x, scale = _place(nodes, node), np.ones(len(curvature.coordinates))
    scale[nodes.curvature.coordinates] = conditional_sd(node.precision, nodes.scale)
    scale[nodes.roots] = np.linalg.norm(nodes.axes, axis=1)
    _, gradient = nodes.target.log_density_gradient(x[None])
    precision = curvature.precision(nodes.target, x, gradient[0], scale)
    return Landscape(x, gradient[0], curvature, precision)


def _place(nodes: Nodes, node: Node) -> Array:
    x = np.empty(len(nodes.roots) + len(nodes.curvature.coordinates))
    x[nodes.roots], x[nodes.curvature.coordinates] = node.roots, node.mean
    return x
