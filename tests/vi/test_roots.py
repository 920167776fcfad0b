import numpy as np
import pytest
from scipy.optimize import minimize
from targets import funnel, gaussian, gumbel, run_on, two_scales

from stanrovi.densities import FunctionDensity
from stanrovi.families.axes import DenseAxes
from stanrovi.families.product import Product
from stanrovi.target import Target
from stanrovi.vi.gaussian import fit_gaussian
from stanrovi.vi.hierarchy import extended, nodes_from_gaussian, nodes_near
from stanrovi.vi.root_moments import roots_from_pool
from stanrovi.vi.roots import landscape, roots_from_differences


def dense(density, seed=0, unmixed=1):
    """The same in coordinates of which all but the first are mixed."""
    d = density.dim
    mix, mixed = np.eye(d), d - unmixed
    mix[unmixed:, unmixed:] += 0.3 * np.random.default_rng(seed).standard_normal((mixed, mixed))

    def function(x):
        value, gradient = density.log_density_gradient(x @ mix.T)
        return value, gradient @ mix

    return FunctionDensity(function, d)


def looked_at(density, x=None):
    target = Target(density)
    at = landscape(target, np.zeros(density.dim) if x is None else x, np.ones(density.dim))
    before = target.n_gradients
    return list(roots_from_differences(target, at)), target.n_gradients - before


@pytest.mark.parametrize("dim", [6, 41])
def test_the_root_of_a_funnel_is_found_by_differences(dim):
    x = np.full(dim, 0.7)
    assert looked_at(funnel(dim), x)[0] == [0]


def test_a_sparse_hierarchy_costs_few_gradients():
    density = two_scales(20)
    roots, spent = looked_at(density, np.r_[0.1, -0.2, 0.3, np.linspace(-1, 1, 40)])
    assert sorted(roots) == [1, 2]
    assert spent <= 2 * density.dim


def test_a_dense_one_costs_five_for_each_coordinate():
    density = dense(funnel(12))
    roots, spent = looked_at(density, np.full(12, 0.4))
    assert roots == [0]
    assert spent <= 5 * 12 + 5 * 12


@pytest.mark.parametrize("seed", range(20))
def test_nothing_rules_anything_in_a_normal_distribution(seed):
    rng = np.random.default_rng(seed)
    d = int(rng.integers(2, 15))
    factor = rng.standard_normal((d, 2 * d))
    density = gaussian(rng.standard_normal(d), factor @ factor.T / d)
    assert looked_at(density, rng.standard_normal(d))[0] == []
    run = run_on(density, seed)
    fitted, pool, _ = fit_gaussian(run, Product.gaussian(np.zeros(d), DenseAxes(np.eye(d))))
    assert list(roots_from_pool(fitted, pool)) == []


def test_nothing_rules_anything_in_a_skew_product():
    """Third derivatives along rotated axes look like roots to who looks along others."""
    for seed, dim in enumerate((2, 3, 5, 8, 12)):
        axes = np.random.default_rng(seed).standard_normal((dim, dim)) + 2 * np.eye(dim)
        assert looked_at(gumbel(axes))[0] == []


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("build", [lambda: funnel(10, scale=1.0), lambda: dense(funnel(10, 1.0))])
def test_the_pool_of_a_gaussian_fit_tells_the_root(build, seed):
    run = run_on(build(), seed)
    start = Product.gaussian(np.zeros(10), DenseAxes(np.eye(10)))
    fitted, pool, _ = fit_gaussian(run, start)
    before = run.target.n_gradients
    assert roots_from_pool(fitted, pool)[0] == 0
    assert run.target.n_gradients == before


def test_roots_are_found_from_deep_in_the_neck():
    density = two_scales(20)
    x = np.r_[0.5, -4.0, -3.0, 0.5 + 0.01 * np.linspace(-1, 1, 40)]
    start = Product.gaussian(x, DenseAxes(0.02 * np.eye(43)))
    nodes = nodes_near(Target(density), start)
    assert sorted(nodes.roots) == [1, 2]
    # The evidence of the scales, the effects integrated out, is normal.
    np.testing.assert_allclose(nodes.center, 0.0, atol=0.05)
    assert np.linalg.norm(nodes.axes, axis=1) == pytest.approx(1.0, rel=0.1)


def test_roots_that_were_missed_are_added_where_the_first_ones_lead():
    density = dense(funnel(8, scale=1.0))
    fitted, pool, _ = fit_gaussian(
        run_on(density), Product.gaussian(np.zeros(8), DenseAxes(np.eye(8)))
    )
    nodes = nodes_from_gaussian(Target(density), fitted, pool)
    assert list(nodes.roots) == [0]
    more = extended(nodes, np.array([3]))
    assert list(more.roots) == [0, 3]
    assert len(more.found) > len(more.roots)
    assert extended(nodes, np.array([], dtype=int)) is None


def crossed(k, levels, n, seed):
    """Non-centred effects of k crossed factors, their log scales first; unit noise."""
    rng = np.random.default_rng(seed)
    design = np.eye(levels)[rng.integers(levels, size=(n, k))]
    effects = rng.standard_normal((k, levels)) * np.linspace(0.3, 1, k)[:, None]
    y = np.einsum("njl,jl->n", design, effects) + rng.standard_normal(n)

    def function(x):
        scale, z = np.exp(x[:, :k, None]), x[:, k:].reshape(-1, k, levels)
        left = y - np.einsum("njl,sjl->sn", design, scale * z)
        back = np.einsum("njl,sn->sjl", design, left)
        value = -0.5 * (left**2).sum(axis=1) - 0.5 * (x**2).sum(axis=1)
        by_scale, by_effect = (back * z * scale).sum(axis=2), (back * scale).reshape(len(x), -1)
        return value, np.concatenate([by_scale, by_effect], axis=1) - x

    return FunctionDensity(function, k * (1 + levels))


@pytest.mark.parametrize("seed", range(12))
def test_effects_that_seem_to_rule_their_scale_give_it_their_place(seed):
    density = crossed(3, 6, 80, seed)

    def negative(x):
        value, gradient = density.log_density_gradient(x[None])
        return -value[0], -gradient[0]

    start = np.random.default_rng(seed).standard_normal(density.dim)
    mode = minimize(negative, start, jac=True, method="BFGS").x
    roots, spent = looked_at(density, mode)
    assert sorted(roots) == [0, 1, 2]
    assert spent <= 5 * density.dim * (len(roots) + 2)


def test_what_shows_no_shape_before_a_root_is_taken_is_looked_at_after_it():
    """Along the first scale the density curves upwards here."""
    density = dense(two_scales(8), unmixed=3)

    def function(x):
        value, gradient = density.log_density_gradient(x)
        gradient = gradient.copy()
        gradient[:, 1] += 2.0 * x[:, 1]
        return value + x[:, 1] ** 2, gradient

    target = Target(FunctionDensity(function, density.dim))
    at = landscape(target, np.zeros(density.dim), np.ones(density.dim))
    with pytest.raises(np.linalg.LinAlgError):
        np.linalg.cholesky(at.precision)
    assert sorted(roots_from_differences(target, at)) == [1, 2]
