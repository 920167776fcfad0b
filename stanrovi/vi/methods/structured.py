"""Hierarchies: a conditional family, or RoVI where nothing rules anything.

Parameters that rule the spread of others are found first, where second derivatives are
sparse by a few differences at the mode, else in the evaluations of a Gaussian fit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag

from stanrovi.families.product import Product
from stanrovi.modes.curvature import Curvature, curvature_at
from stanrovi.modes.search import SearchResult
from stanrovi.target import Array
from stanrovi.vi.conditional import fit_conditional
from stanrovi.vi.fit_run import FitRun
from stanrovi.vi.gaussian import fit_gaussian
from stanrovi.vi.methods.rovi import rovi_from_gaussian
from stanrovi.vi.nodes import Nodes
from stanrovi.vi.outcome import Outcome
from stanrovi.vi.roots import (
    LEAST_NATS,
    Landscape,
    landscape,
    roots_from_differences,
    roots_from_pool,
)
from stanrovi.vi.settings import FamilySettings
from stanrovi.vi.start import best_on_trails, laplace, starting_gaussian
from stanrovi.vi.steps import ProductSettings

Indices = NDArray[np.intp]

_ROUNDS = 3
_GOOD = 0.1  # nats of Jeffreys divergence per four dimensions that want no further roots


def fit_structured(run: FitRun, search: SearchResult, settings: FamilySettings) -> Outcome:
    """Fit a conditional family.

    Parameters
    ----------
    run, search, settings
        See `stanrovi.vi.methods.rovi.fit_rovi`.

    Returns
    -------
    Outcome
    """
    nodes = _nodes_from_differences(run, search)
    if nodes is None:
        gaussian, pool, settled = fit_gaussian(run, starting_gaussian(run, search))
        if settled:
            nodes = _nodes_from_gaussian(run, gaussian, roots_from_pool(gaussian, pool))
        if nodes is None:
            return rovi_from_gaussian(run, gaussian, pool, settings)
    product = ProductSettings(
        flexible=settings.marginals == "flexible", max_gradients=max(2500, 40 * run.target.dim)
    )
    outcome, missed = fit_conditional(run, nodes, product)
    if _is_good(outcome) or not len(missed):
        return outcome
    more = _extended(run, nodes, missed)
    if more is None:
        return outcome
    again, _ = fit_conditional(run, more, product)
    return again if _better(again, outcome) else outcome


def _nodes_from_differences(run: FitRun, search: SearchResult) -> Nodes | None:
    """Look for roots where the search was, in turns until their evidence has a mode."""
    with run.stage("roots"):
        starts = best_on_trails(run, search.trails) or [laplace(search.peak)]
        for start in starts:
            scale = start.axes.precision_diagonal() ** -0.5
            at = landscape(run.target, start.center, scale)
            if at is None:
                continue
            nodes = _nodes_near(run, at)
            if nodes is not None:
                return nodes
    return None


def _nodes_near(run: FitRun, at: Landscape) -> Nodes | None:
    """Look for roots at a point, and again where they lead; drop those that rule little there."""
    roots = roots_from_differences(run.target, at)
    if not len(roots):
        return None
    spread, nodes, idle = np.diag(at.scale[roots]), None, np.zeros(0, dtype=np.intp)
    for _ in range(_ROUNDS):
        nodes = _nodes(run, at, roots, spread)
        if nodes is None:
            return None
        ruling = nodes.nats() > LEAST_NATS / 3
        ruling[np.argmax(nodes.nats())] = True
        idle = np.union1d(idle, roots[~ruling])
        at = _at_best(run, nodes, at.curvature)
        found = roots_from_differences(run.target, at, np.union1d(roots, idle))
        if ruling.all() and not len(found):
            return nodes
        kept = np.diag(np.linalg.norm(nodes.axes, axis=1)[ruling])
        more = np.diag(np.sqrt(np.diag(at.ridges(roots))[found]))
        spread = block_diag(kept, more)
        roots = np.concatenate([roots[ruling], found])
    return nodes


def _nodes(run: FitRun, at: Landscape, roots: Indices, spread: Array) -> Nodes | None:
    leaves = np.setdiff1d(np.arange(run.target.dim), roots)
    inside = np.ix_(leaves, leaves)
    curvature = Curvature(leaves, at.curvature.adjacent[inside])
    scale = at.scale[leaves]
    nodes = Nodes(run.target, roots, curvature, scale, at.x[roots], spread)
    walked = nodes.begin(at.x[leaves], at.precision[inside]) and nodes.walk()
    return nodes if walked else None


def _at_best(run: FitRun, nodes: Nodes, curvature: Curvature) -> Landscape:
    best = nodes.best
    x = _joined(nodes, best.roots, best.mean)
    _, gradient = run.target.log_density_gradient(x[None])
    scale = np.ones(len(x))
    scale[nodes.curvature.coordinates] = np.diag(best.precision) ** -0.5
    scale[nodes.roots] = np.linalg.norm(nodes.axes, axis=1)
    precision = curvature.precision(run.target, x, gradient[0], scale)
    return Landscape(x, gradient[0], curvature, precision)


def _nodes_from_gaussian(run: FitRun, gaussian: Product, roots: Indices) -> Nodes | None:
    """Begin with what a Gaussian knows of some roots."""
    if not len(roots):
        return None
    covariance = gaussian.covariance()[np.ix_(roots, roots)]
    scale = gaussian.axes.precision_diagonal() ** -0.5
    return _walked(run, roots, gaussian.center, scale, np.linalg.cholesky(covariance))


def _extended(run: FitRun, nodes: Nodes, missed: Indices) -> Nodes | None:
    """Take further roots, from the mode of the evidence of the first ones."""
    best, leaves = nodes.best, nodes.curvature.coordinates
    x, scale = _joined(nodes, best.roots, best.mean), np.ones(run.target.dim)
    scale[leaves] = np.diag(best.precision) ** -0.5
    covariance = np.linalg.inv(best.precision)[np.ix_(*2 * [np.searchsorted(leaves, missed)])]
    axes = block_diag(nodes.axes, np.linalg.cholesky(covariance))
    return _walked(run, np.concatenate([nodes.roots, missed]), x, scale, axes)


def _walked(run: FitRun, roots: Indices, x: Array, scale: Array, axes: Array) -> Nodes | None:
    """Measure the sparsity of the rest at a point, and go to the mode of the evidence."""
    leaves = np.setdiff1d(np.arange(run.target.dim), roots)
    with run.stage("roots"):
        _, gradient = run.target.log_density_gradient(x[None])
        found = curvature_at(run.target, leaves, x, gradient[0], scale[leaves])
        if found is None:
            return None
        curvature, precision = found
        nodes = Nodes(run.target, roots, curvature, scale[leaves], x[roots], axes)
        return nodes if nodes.begin(x[leaves], precision) and nodes.walk() else None


def _joined(nodes: Nodes, roots: Array, leaves: Array) -> Array:
    x = np.empty(len(roots) + len(leaves))
    x[nodes.roots], x[nodes.curvature.coordinates] = roots, leaves
    return x


def _is_good(outcome: Outcome) -> bool:
    assert outcome.check is not None
    return outcome.check.divergence()[0] < _GOOD * max(1.0, outcome.family.dim / 4)


def _better(new: Outcome, old: Outcome) -> bool:
    assert new.check is not None
    assert old.check is not None
    return new.check.elbo > old.check.elbo
