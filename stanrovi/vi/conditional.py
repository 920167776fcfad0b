"""The fit of a conditional family: nodes to begin with, the product fit to finish.

Behind the map that the nodes give, a posterior ruled by its roots is nearly a product: the
roots with the marginal density that the nodes' evidence tells, the rest standard normal. The
product fit starts there, on the target pulled back through the map, and finds what Laplace's
approximation missed: skewness, shifts, correlations between roots and leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from stanrovi.families.axes import DENSE_LIMIT, DenseAxes
from stanrovi.families.base import Family
from stanrovi.families.block_axes import BlockAxes
from stanrovi.families.conditional import (
    Chain,
    Conditional,
    ConditionalMap,
    RootFunctions,
    StarFunctions,
)
from stanrovi.families.maps import SplineMap, stack
from stanrovi.families.mixture import Mixture
from stanrovi.families.product import Product
from stanrovi.modes.curvature import Curvature
from stanrovi.target import Array, BudgetExhausted, Target
from stanrovi.vi.axis_search import promising_axes
from stanrovi.vi.facts import Root
from stanrovi.vi.fit_run import FitRun, evaluate
from stanrovi.vi.gaussian import fit_gaussian
from stanrovi.vi.nodes import Nodes
from stanrovi.vi.outcome import Outcome
from stanrovi.vi.pool import Pool
from stanrovi.vi.product import fit_product
from stanrovi.vi.root_moments import LEAST_NATS, roots_from_pool
from stanrovi.vi.steps import ProductSettings

Indices = NDArray[np.intp]

_GRID = 1025  # points for the density of a single root
_MANY = 1024  # draws where they cost nothing
_WORTH_TELLING = np.log(1.1)


def fit_conditional(
    run: FitRun, nodes: Nodes, settings: ProductSettings
) -> tuple[Outcome, Indices]:
    """Fit a conditional family.

    Parameters
    ----------
    run : FitRun
    nodes : Nodes
        That have walked to the mode of the evidence.
    settings : ProductSettings

    Returns
    -------
    outcome : Outcome
        Its family is a `Conditional`.
    missed : ndarray of int
        Further roots that show behind the map, if any.
    """
    with run.stage("nodes"):
        nodes.spread_out()
    rest = nodes.map()
    among, roots = _root_density(nodes, rest.functions, run.rng)
    maps = (*(_embedded(step, rest.roots) for step in among), rest)
    return refit_conditional(run, Conditional(maps, _base(rest, roots)), settings)


def refit_conditional(
    run: FitRun, start: Conditional, settings: ProductSettings
) -> tuple[Outcome, Indices]:
    """Fit what is behind the maps of a conditional family; see `fit_conditional`."""
    run.family = start
    pulled = run.target.composed(through=Chain(start.maps))
    inner = FitRun(pulled, run.rng, run.progress, run.trace, label=run.label)
    pool = Pool()
    try:
        fit = fit_product(inner, start.base, settings, pool)
    except BudgetExhausted:
        if isinstance(inner.family, Product):
            run.family = replace(start, base=inner.family)
        raise
    family = replace(start, base=fit.family)
    run.family = family
    missed = np.zeros(0, dtype=np.intp)
    if family.dim <= DENSE_LIMIT:
        covariance = DenseAxes.of_covariance(fit.family.covariance())
        gaussian = Product.gaussian(fit.family.mean(), covariance)
        missed = roots_from_pool(gaussian, pool, LEAST_NATS / 3)
        missed = np.setdiff1d(missed, family.map.roots)
    return replace(fit.outcome(), family=family, anchored=True), missed


@dataclass(frozen=True)
class _Evidence:
    """The marginal density of the roots, as a function through the nodes.

    A normal density with the spread of the nodes, and what is left of their evidence as a
    function that grows no faster than a line. Beyond the nodes it falls faster: of what is
    there nothing is known.
    """

    functions: RootFunctions | StarFunctions
    center: Array
    axes: DenseAxes
    excess: Array

    @property
    def dim(self) -> int:
        return len(self.center)

    def log_density_gradient(self, u: Array, /) -> tuple[Array, Array]:
        place = self.axes.solve(u - self.center)
        value = -0.5 * (place**2).sum(axis=1) + self.functions.weights(u) @ self.excess
        slope = self.functions.slopes(u, self.excess)
        beyond = (u - self.functions.within(u)) / self.functions.scale
        value = value - 0.5 * (beyond**2).sum(axis=1)
        slope = slope - self.axes.solve_transposed(place) - beyond / self.functions.scale
        return value, slope


def _root_density(
    nodes: Nodes, functions: RootFunctions | StarFunctions, rng: np.random.Generator
) -> tuple[tuple[ConditionalMap, ...], Product]:
    """Fit the density of the roots that the nodes tell; costs no gradients of the target.

    A root can rule other roots: then their density is a conditional family as well.
    """
    axes = DenseAxes(nodes.axes)
    evidence = np.array([n.evidence for n in nodes.found])
    place = axes.solve(functions.nodes - nodes.center)
    excess = evidence - evidence.max() + 0.5 * (place**2).sum(axis=1)
    evidence_of = _Evidence(functions, nodes.center, axes, excess)
    if evidence_of.dim == 1:
        return (), _on_a_grid(evidence_of)
    density = Target(evidence_of)
    run = FitRun(density, rng)
    gaussian, pool, _ = fit_gaussian(run, Product.gaussian(nodes.center, axes))
    pool.add(evaluate(density, gaussian, run.base(_MANY)))
    ruling = roots_from_pool(gaussian, pool, LEAST_NATS / 3)[:1]
    inner = _ruled(density, gaussian, ruling) if len(ruling) else None
    if inner is not None:
        outcome, _ = fit_conditional(run, inner, ProductSettings())
        assert isinstance(outcome.family, Conditional)
        return outcome.family.maps, outcome.family.base
    return (), fit_product(run, promising_axes(gaussian, pool), ProductSettings(), pool).family


def _on_a_grid(evidence: _Evidence) -> Product:
    """Give the density of a single root, tails and all."""
    nodes, scale = evidence.functions.nodes, evidence.functions.scale
    grid = np.linspace(nodes.min() - 4 * scale, nodes.max() + 4 * scale, _GRID)
    value, slope = evidence.log_density_gradient(grid)
    marginal = SplineMap.from_log_density(grid.T, value[None], slope.T)
    return Product(np.zeros(1), DenseAxes(np.eye(1)), marginal).standardised()


def _ruled(density: Target, gaussian: Product, roots: Indices) -> Nodes | None:
    """Walk to the mode of the first root's evidence."""
    d = density.dim
    leaves = np.setdiff1d(np.arange(d), roots)
    curvature = Curvature.of(leaves, np.ones((d - 1, d - 1), dtype=bool))
    scale = gaussian.axes.precision_diagonal()[leaves] ** -0.5
    axes = np.diag(gaussian.sd()[roots])
    nodes = Nodes(density, roots, curvature, scale, gaussian.center[roots], axes)
    return nodes if nodes.begin(gaussian.center[leaves], None) and nodes.walk() else None


def _embedded(step: ConditionalMap, coordinates: Indices) -> ConditionalMap:
    """Let a map of some coordinates act on all."""
    return replace(step, roots=coordinates[step.roots], leaves=coordinates[step.leaves])


def _base(conditional: ConditionalMap, roots: Product) -> Product:
    """Roots as they are, leaves standard normal."""
    k, d = roots.dim, len(conditional.roots) + len(conditional.leaves)
    order = np.argsort(np.concatenate([conditional.roots, conditional.leaves]))
    center = np.concatenate([roots.center, np.zeros(d - k)])[order]
    leaves = SplineMap.affine(np.zeros(d - k), np.ones(d - k))
    marginals = stack([roots.marginals, leaves]).select(order)
    if d > DENSE_LIMIT:
        ascending = np.argsort(conditional.roots)
        return Product(center, _among_roots(roots, conditional.roots, ascending, d), marginals)
    matrix = np.eye(d)
    matrix[:k, :k] = roots.axes.matrix
    return Product(center, DenseAxes(matrix[np.ix_(order, order)]), marginals)


def _among_roots(roots: Product, places: Indices, order: Indices, dim: int) -> BlockAxes:
    inner = DenseAxes(roots.axes.matrix[np.ix_(order, order)])
    return BlockAxes(places[order], inner, np.ones(dim))


def told_roots(
    family: Family, draws: Array, names: Sequence[str] | None = None
) -> tuple[Root, ...]:
    """Say which parameters rule which, and how much.

    Parameters
    ----------
    family : Family
        Has roots if it is a `Conditional`, or a mixture of such.
    draws : ndarray, shape (n, dim)
        Of the family.
    names : sequence of str, optional
        Unconstrained parameters.

    Returns
    -------
    tuple of Root
        Without those that hardly move anything. Of a mixture's component of most weight
        that has any.
    """
    if isinstance(family, Mixture):
        for k in np.argsort(-family.weights):
            found = told_roots(family.components[k], draws, names)
            if found:
                return found
    if not isinstance(family, Conditional):
        return ()
    rest = family.map
    label = names or [f"coordinate {i + 1}" for i in range(family.dim)]
    low, middle, high = np.quantile(draws[:, rest.roots], ndtr([-1.0, 0.0, 1.0]), axis=0)
    told = []
    for k, root in enumerate(rest.roots):
        ends = np.stack([middle, middle])
        ends[:, k] = low[k], high[k]
        below, above = rest.spread(ends)
        change = np.log(above / below)
        ruled = [j for j in np.argsort(-np.abs(change)) if abs(change[j]) > _WORTH_TELLING]
        factors = {label[rest.leaves[j]]: float(np.exp(change[j])) for j in ruled}
        if factors:
            told.append(Root(label[root], factors))
    return tuple(told)
