"""The fit of a conditional family: nodes to begin with, the product fit to finish.

Behind the map that the nodes give, a posterior ruled by its roots is nearly a product: the
roots with the marginal density that the nodes' evidence tells, the rest standard normal. The
product fit starts there, on the target pulled back through the map, and finds what Laplace's
approximation missed: skewness, shifts, correlations between roots and leaves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stanrovi.families.axes import DenseAxes
from stanrovi.families.conditional import Conditional, ConditionalMap, RootFunctions
from stanrovi.families.maps import SplineMap, stack
from stanrovi.families.product import Product
from stanrovi.target import Array, BudgetExhausted, Target
from stanrovi.vi.axis_search import promising_axes
from stanrovi.vi.fit_run import FitRun
from stanrovi.vi.gaussian import fit_gaussian
from stanrovi.vi.nodes import Nodes
from stanrovi.vi.outcome import Outcome
from stanrovi.vi.product import fit_product
from stanrovi.vi.steps import ProductSettings


def fit_conditional(run: FitRun, nodes: Nodes, settings: ProductSettings) -> Outcome:
    """Fit a conditional family.

    Parameters
    ----------
    run : FitRun
    nodes : Nodes
        That have walked to the mode of the evidence.
    settings : ProductSettings

    Returns
    -------
    Outcome
        Its family is a `Conditional`.
    """
    with run.stage("nodes"):
        nodes.spread_out()
    conditional = nodes.map()
    start = _base(conditional, _root_marginals(nodes, conditional.functions, run.rng))
    run.family = Conditional(conditional, start)
    pulled = run.target.composed(through=conditional)
    inner = FitRun(pulled, run.rng, run.progress, run.trace, label=run.label)
    try:
        fit = fit_product(inner, start, settings)
    except BudgetExhausted:
        if isinstance(inner.family, Product):
            run.family = Conditional(conditional, inner.family)
        raise
    outcome = fit.outcome()
    assert isinstance(outcome.family, Product)
    family = Conditional(conditional, outcome.family)
    run.family = family
    return Outcome(family, outcome.status, outcome.message, outcome.check)


@dataclass(frozen=True)
class _Evidence:
    """The marginal density of the roots, as a function through the nodes.

    A normal density with the spread of the nodes, and what is left of their evidence as a
    function that grows no faster than a line, so that tails fall.
    """

    functions: RootFunctions
    center: Array
    axes: DenseAxes
    excess: Array

    @property
    def dim(self) -> int:
        return len(self.center)

    def log_density_gradient(self, u: Array, /) -> tuple[Array, Array]:
        place = self.axes.solve(u - self.center)
        value = -0.5 * (place**2).sum(axis=1) + self.functions.weights(u) @ self.excess
        slope = self.functions.weights_gradient(u) @ self.excess
        return value, slope - self.axes.solve_transposed(place)


def _root_marginals(nodes: Nodes, functions: RootFunctions, rng: np.random.Generator) -> Product:
    """Fit the density of the roots that the nodes tell; costs no gradients of the target."""
    axes = DenseAxes(nodes.axes)
    evidence = np.array([n.evidence for n in nodes.found])
    place = axes.solve(functions.nodes - nodes.center)
    excess = evidence - evidence.max() + 0.5 * (place**2).sum(axis=1)
    run = FitRun(Target(_Evidence(functions, nodes.center, axes, excess)), rng)
    gaussian, pool, _ = fit_gaussian(run, Product.gaussian(nodes.center, axes))
    return fit_product(run, promising_axes(gaussian, pool), ProductSettings(), pool).family


def _base(conditional: ConditionalMap, roots: Product) -> Product:
    """Roots as they are, leaves standard normal."""
    k, d = roots.dim, conditional.dim
    order = np.argsort(np.concatenate([conditional.roots, conditional.leaves]))
    center = np.concatenate([roots.center, np.zeros(d - k)])[order]
    matrix = np.eye(d)
    matrix[:k, :k] = roots.axes.matrix
    leaves = SplineMap.affine(np.zeros(d - k), np.ones(d - k))
    marginals = stack([roots.marginals, leaves]).select(order)
    return Product(center, DenseAxes(matrix[np.ix_(order, order)]), marginals)
