from itertools import permutations

import numpy as np
import pytest
from targets import (
    finite_difference,
    fit,
    gaussian,
    gaussian_mixture,
    gumbel,
    run_on,
    standard,
    student_t,
    triangle,
    two_gaussians,
)

from stanrovi.densities import FunctionDensity
from stanrovi.families.axes import DenseAxes
from stanrovi.families.mixture import Mixture
from stanrovi.families.moved import Moved
from stanrovi.families.product import Product
from stanrovi.modes.basins import Mode
from stanrovi.modes.found import SearchResult
from stanrovi.target import Target
from stanrovi.vi.components import Part, mixture_of, weighed
from stanrovi.vi.methods import mixture as module
from stanrovi.vi.product import fit_product
from stanrovi.vi.settings import FamilySettings
from stanrovi.vi.steps import ProductSettings


def sum_of(densities, weights, offsets):
    """Mixture of shifted densities."""
    dim = densities[0].dim

    def function(x):
        parts = [
            d.log_density_gradient(np.ascontiguousarray(x - o))
            for d, o in zip(densities, offsets, strict=True)
        ]
        # Two components that overflow leave a point that is as good as rejected.
        log_parts = np.maximum(np.stack([p[0] for p in parts], axis=1), -1e300)
        joint = np.log(weights) + log_parts
        total = np.logaddexp.reduce(joint, axis=1)
        share = np.exp(joint - total[:, None])
        return total, sum(share[:, k, None] * p[1] for k, p in enumerate(parts))

    return FunctionDensity(function, dim)


def masses(result):
    return [m.mass for m in result.modes]


@pytest.mark.parametrize("seed", range(3))
def test_auto_takes_a_mixture_for_a_triangle_and_weighs_it(seed):
    result = fit(triangle(), "auto", seed, n_draws=8000)
    assert isinstance(result.family, Mixture)
    assert result.message.startswith("mixture, since the 3 modes")
    assert np.sort(result.family.weights)[::-1] == pytest.approx([0.5, 0.3, 0.2], abs=0.02)
    assert masses(result) == pytest.approx([0.5, 0.3, 0.2], abs=0.02)
    assert -result.elbo < 0.005
    assert result.verdict.name == "ok"


@pytest.mark.parametrize("seed", range(3))
def test_auto_takes_rovi_where_the_modes_lie_on_a_lattice(seed):
    result = fit(two_gaussians(6.0, 0.3, np.eye(2)), "auto", seed)
    assert isinstance(result.family, Product)
    assert result.message.startswith("rovi, since the basins lie on rotated axes")
    assert masses(result) == pytest.approx([0.7, 0.3], abs=0.02)


def test_auto_takes_rovi_for_one_basin_and_spends_hardly_more():
    density = gumbel([[1.0, 0.5], [0.0, 1.0]])
    auto, rovi = fit(density, "auto"), fit(density, "rovi")
    assert auto.message.startswith("rovi, since one basin was found")
    assert auto.n_fit_gradients <= 1.05 * rovi.n_fit_gradients
    np.testing.assert_array_equal(auto.draws, rovi.draws)


def test_a_mixture_of_one_basin_is_rovi():
    density = gumbel([[1.0, 0.5], [0.0, 1.0]])
    result = fit(density, "mixture")
    assert isinstance(result.family, Product)
    assert result.message.startswith("One basin was found")


@pytest.mark.parametrize("seed", range(2))
def test_opposite_correlations(seed):
    shapes = [np.array([[1.0, c], [c, 1.0]]) for c in (0.8, -0.8)]
    density = gaussian_mixture([0.5, 0.5], [[-3, 0], [3, 0]], shapes)
    result = fit(density, "auto", seed)
    assert isinstance(result.family, Mixture)
    assert -result.elbo < 0.01
    assert result.verdict.name == "ok"


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("separation", [1.0, 1.5, 2.0])
def test_overlapping_components(separation, seed):
    result = fit(two_gaussians(separation, 0.5, np.eye(2)), "auto", seed)
    assert -result.elbo < 0.05


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    "part",
    [student_t(5, 2), gumbel(np.array([[1.0, 0.6], [0.0, 0.8]]))],
    ids=["student", "skewed"],
)
def test_components_that_are_not_gaussian(part, seed):
    density = sum_of([part, part], [0.4, 0.6], [np.full(2, -3.0), np.full(2, 3.0)])
    result = fit(density, "auto", seed)
    assert -result.elbo < 0.05 or result.verdict.name != "ok"
    assert len(result.modes) == 2


def test_affine_marginals_give_a_mixture_of_gaussians():
    result = fit(triangle(), "mixture", settings=FamilySettings(marginals="affine"))
    assert all(c.marginals.is_affine for c in result.family.components)
    assert -result.elbo < 0.005


def test_overlap_is_not_counted_twice_in_the_weights():
    """Two components on one Gaussian each: weights come from the whole, not from each part."""
    density = two_gaussians(3.0, 0.3, np.eye(2))
    parts = tuple(
        Product.gaussian(np.array(s) * 1.5 / np.sqrt(2), np.eye(2)) for s in ([-1, -1], [1, 1])
    )
    run = run_on(density)
    weighted, se = weighed(run, [Part(family, (), 0.5) for family in parts])
    mixture = mixture_of(weighted)
    np.testing.assert_allclose(mixture.weights, [0.3, 0.7], atol=0.01)
    assert 0 < se < 0.01
    assert module._checked(run, mixture).elbo == pytest.approx(0.0, abs=0.01)


def test_the_localised_target_is_the_target_times_a_share():
    density = two_gaussians(3.0, 0.3, np.eye(2))
    parts = tuple(Product.gaussian(np.full(2, s), np.eye(2)) for s in (-1.0, 1.0))
    family = Mixture(np.array([0.4, 0.6]), parts)
    target = Target(density)
    terms = (-1.0, family.log_density_gradient), (1.0, parts[1].log_density_gradient)
    local = target.composed(terms=terms)
    x = np.random.default_rng(0).standard_normal((50, 2))
    value, gradient = local.log_density_gradient(x)
    share = parts[1].log_density(x) - family.log_density(x)
    np.testing.assert_allclose(value, density.log_density_gradient(x)[0] + share)
    assert local.n_gradients == target.n_gradients == 50
    numeric = finite_difference(lambda p: local.log_density_gradient(p)[0], x)
    np.testing.assert_allclose(gradient, numeric, atol=1e-6)
    assert local.dim == 2


def search_with(*positions):
    """Outcome of a search that took these points for modes of unit width."""
    weight = 1 / len(positions)
    modes = tuple(
        Mode(position=np.array(p), log_density=0.0, axes=DenseAxes(np.eye(len(p))), weight=weight)
        for p in positions
    )
    return SearchResult(modes, modes[0], modes[0].position, 16, 16, 0)


def test_components_that_become_one_are_merged():
    run = run_on(gaussian(np.zeros(2), np.eye(2)))
    outcome = module.fit_mixture(run, search_with([-0.2, 0.0], [0.2, 0.0]), FamilySettings())
    assert len(outcome.family.weights) == 1
    assert "merged" in outcome.message
    np.testing.assert_allclose(outcome.family.covariance(), np.eye(2), atol=0.1)


def test_a_component_without_mass_is_dropped_with_a_note():
    notes = []
    parts = (standard(2), Product.gaussian(np.full(2, 9.0), np.eye(2)))
    many = [Part(family, (), w) for family, w in zip(parts, [0.999, 0.001], strict=True)]
    (kept,) = module._without_tiny(many, notes)
    assert kept.family is parts[0]
    assert kept.weight == 1.0
    assert "negligible" in notes[0]
    same = [Part(family, (), w) for family, w in zip(parts, [0.9, 0.1], strict=True)]
    assert module._without_tiny(same, []) == same


def test_images_share_one_fit_and_one_weight():
    """Labels of three: one component is fitted, five are its images."""
    levels = [-6.0, 0.0, 6.0]
    means = [np.array(order) for order in permutations(levels)]
    density = gaussian_mixture(np.full(6, 1 / 6), means, [0.5 * np.eye(3)] * 6)
    result = fit(density, "mixture", 1)
    kinds = [type(c) for c in result.family.components]
    assert kinds.count(Moved) == 5
    np.testing.assert_allclose(result.family.weights, 1 / 6)
    assert -result.elbo < 0.005
    assert result.verdict.name == "ok"
    assert result.n_fit_gradients < 3000


def test_light_components_cost_less():
    """A component of a tenth of the average weight may be further from the target."""
    target, start = gumbel([[1.0, 0.5], [0.0, 1.0]]), standard(2)
    spent = []
    for share in (1.0, 0.1):
        run = run_on(target)
        fit_product(run, start, ProductSettings(share=share))
        spent.append(run.target.n_gradients)
    assert spent[1] < spent[0]


@pytest.mark.slow
def test_nineteen_of_twenty_seeds_weigh_the_triangle():
    good = 0
    for seed in range(20):
        result = fit(triangle(), "auto", seed, n_draws=8000)
        masses_ok = (
            len(result.modes) == 3
            and np.abs(np.subtract(masses(result), [0.5, 0.3, 0.2])).max() <= 0.02
        )
        forced = fit(triangle(), "rovi", seed).verdict.name
        good += bool(masses_ok and forced == "family cannot hold these modes")
    assert good >= 19


def test_auto_takes_a_mixture_where_the_modes_are_too_far_apart_for_one_map():
    result = fit(two_gaussians(2000.0, 0.3, np.eye(2)), "auto")
    assert -result.elbo < 0.01
    assert sorted(m.mass for m in result.modes) == pytest.approx([0.3, 0.7], abs=0.01)


@pytest.mark.parametrize("share", [0.06, 0.3, 0.6])
def test_a_budget_spent_in_a_mixture_keeps_every_mode(share):
    full = fit(triangle(), "mixture")
    search = full.gradients_by_stage["modes"]
    budget = search + round(share * (full.n_fit_gradients - search))
    result = fit(triangle(), "mixture", max_gradients=budget)
    assert result.status == "budget"
    assert min(mode.mass for mode in result.modes) > 0.1


def test_a_component_far_from_all_mass_does_not_lower_the_elbo_of_the_mixture():
    density = gaussian(np.zeros(2), np.eye(2))
    run = run_on(density)
    done = module.fit_mixture(run, search_with([0, 0], [60, 0]), FamilySettings())
    assert len(done.family.components) == 1
    assert done.check.elbo == pytest.approx(0.0, abs=1e-3)


@pytest.mark.slow
def test_a_mixture_in_four_hundred_dimensions_takes_steps():
    centre = np.zeros(400)
    density = gaussian_mixture([0.5, 0.5], [centre - 5, centre + 5], [np.eye(400)] * 2)
    result = fit(density, "mixture", n_draws=1000)
    assert result.status == "converged"
    assert result.elbo == pytest.approx(0.0, abs=0.05)


def waves(height, rate):
    """A normal of standard deviation 5 with waves on it."""

    def function(x):
        wave = height * rate * np.sin(rate * x)
        return (height * np.cos(rate * x) - x**2 / 50)[:, 0], -wave - x / 25

    return FunctionDensity(function, 1)


@pytest.mark.slow
def test_a_crowd_of_modes_is_fitted_though_each_feels_its_neighbours_alone():
    density = waves(3.0, 8.0)
    result = fit(density, "mixture", 1)
    x = np.linspace(-40, 40, 400_001)
    p = np.exp(density.log_density_gradient(x[:, None])[0])
    assert len(result.family.components) > module.CROWD
    assert result.verdict.name == "ok"
    assert result.family.sd()[0] == pytest.approx(np.sqrt(x**2 @ p / p.sum()), rel=0.01)


@pytest.mark.slow
def test_modes_without_end_are_told_and_not_refitted():
    result = fit(waves(1.0, 1e6), "mixture", 1)
    assert result.verdict.name == "suspect"
    assert result.flaw is None  # its gradient is its own, though waves are finer than steps
    assert "no end of them in sight" in result.message
    assert result.n_gradients < 60_000
