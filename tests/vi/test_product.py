import numpy as np
import pytest
from scipy.stats import special_ortho_group
from targets import (
    banana,
    covariance_of,
    flat,
    gaussian,
    gaussian_mixture,
    gumbel,
    rejecting,
    run_on,
    standard,
    student_t,
    two_gaussians,
)

from stanrovi.families.axes import DenseAxes
from stanrovi.families.product import Product
from stanrovi.vi.fit_run import evaluate
from stanrovi.vi.pool import Pool
from stanrovi.vi.product import fit_product
from stanrovi.vi.scan import mixture_marginal, with_marginal
from stanrovi.vi.steps import ProductSettings, improved

MEAN_FIELD = ProductSettings(axes_moves="fixed", forward=0.0)


def fresh_elbo(density, family, seed=99):
    run = run_on(density, seed)
    batch = evaluate(run.target, family, run.base(4096))
    return batch.elbo, batch.elbo_se


def assert_elbo_above(density, family, level, slack=0.0):
    elbo, se = fresh_elbo(density, family)
    assert elbo > level - slack - 3 * se


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_mean_field_on_a_gaussian_has_variances_of_one_over_the_precision(correlation):
    covariance = np.array([[1.0, correlation], [correlation, 1.0]]) * np.outer([1, 3], [1, 3])
    run = run_on(gaussian([1.0, -1.0], covariance))
    settings = ProductSettings(axes_moves="fixed", flexible=False, forward=0.0)
    family = fit_product(run, Product.gaussian(np.zeros(2), np.diag([0.5, 0.5])), settings).family
    expected = 1 / np.diag(np.linalg.inv(covariance))
    np.testing.assert_allclose(np.diag(family.covariance()), expected, rtol=0.1)
    axes = family.axes.matrix
    np.testing.assert_array_equal(axes, np.diag(np.diag(axes)))


@pytest.mark.parametrize("dim", [1, 3])
@pytest.mark.parametrize("make", [lambda d: gumbel(np.eye(d)), lambda d: student_t(4, d)])
def test_flexible_marginals_fit_independent_coordinates(make, dim):
    density = make(dim)
    fit = fit_product(run_on(density), standard(dim), MEAN_FIELD)
    assert fit.converged
    assert_elbo_above(density, fit.family, -0.012 * dim)


def test_axes_turn_to_independent_sources():
    axes = covariance_of(3, 4) @ special_ortho_group.rvs(3, random_state=1)
    density = gumbel(axes)
    covariance = np.pi**2 / 6 * axes @ axes.T
    start = Product.gaussian(axes @ np.full(3, 0.577), np.linalg.cholesky(covariance))
    fit = fit_product(run_on(density), start, ProductSettings())
    assert_elbo_above(density, fit.family, 0.0, slack=0.04)
    sources = np.abs(np.linalg.solve(axes, fit.family.axes.matrix))
    sources /= sources.max(axis=0)
    # Every fitted axis is one source's, up to its sign and length.
    assert sorted(np.argmax(sources, axis=0)) == [0, 1, 2]
    assert np.sort(sources, axis=0)[:2].max() < 0.2


@pytest.mark.parametrize("alternating", [False, True])
def test_plain_axes_stay_a_rotation_behind_the_preconditioner(alternating):
    density = gumbel(np.diag([1.0, 5.0]) @ special_ortho_group.rvs(2, random_state=2))
    sd = np.array([1.0, 4.0])
    settings = ProductSettings(
        axes_moves="rotation", forward=0.0, alternating=alternating, preconditioner=np.diag(sd)
    )
    start = Product.gaussian(np.zeros(2), np.diag(sd))
    fit = fit_product(run_on(density), start, settings)
    turned = fit.family.axes.matrix / sd[:, None]
    turned /= np.linalg.norm(turned, axis=0)
    np.testing.assert_allclose(turned.T @ turned, np.eye(2), atol=1e-10)
    assert fresh_elbo(density, start)[0] < -0.3
    assert_elbo_above(density, fit.family, 0.0, slack=0.03)


def test_rotation_without_a_preconditioner_keeps_orthogonal_axes():
    density = gaussian(np.zeros(2), covariance_of(2, 9, seed=4))
    fit = fit_product(
        run_on(density), standard(2), ProductSettings(axes_moves="rotation", forward=0.0)
    )
    inner = fit.family.axes.matrix.T @ fit.family.axes.matrix
    np.testing.assert_allclose(inner, np.diag(np.diag(inner)), atol=1e-9)
    assert_elbo_above(density, fit.family, 0.0, slack=0.05)


def test_frozen_coordinates_keep_their_marginal_and_place():
    bimodal = mixture_marginal(np.array([-4.0, 4.0]), np.array([0.3, 0.7]))
    start = with_marginal(standard(2), 0, bimodal)
    density = two_gaussians(8.0, 0.3, np.eye(2))
    turn = special_ortho_group.rvs(2, random_state=5)
    start = Product(np.array([0.0, 0.5]), DenseAxes(turn), start.marginals).standardised()
    pool = Pool([evaluate(run_on(density).target, start, run_on(density).base(256))])
    settings = ProductSettings(frozen=(0,))
    family, _, _ = improved(start, pool, settings)
    z = np.linspace(-3, 3, 31)[:, None] * np.ones(2)
    np.testing.assert_allclose(
        family.marginals.value(z)[:, 0], start.marginals.value(z)[:, 0], atol=1e-6
    )
    moved = start.axes.solve(family.center - start.center)
    assert abs(moved[0]) < 1e-6
    assert abs(moved[1]) > 1e-3


def test_no_step_is_promised_at_the_optimum():
    family = standard(3)
    run = run_on(gaussian(np.zeros(3), np.eye(3)))
    pool = Pool([evaluate(run.target, family, run.base(256))])
    moved, gain, noise = improved(family, pool, ProductSettings())
    assert gain < 1e-12
    assert noise < 1e-12
    np.testing.assert_allclose(moved.center, 0.0, atol=1e-9)
    np.testing.assert_allclose(moved.axes.matrix, np.eye(3), atol=1e-4)


def test_the_promise_is_kept():
    density = gumbel(np.eye(2))
    family = standard(2)
    run = run_on(density)
    pool = Pool([evaluate(run.target, family, run.base(512))])
    moved, gain, noise = improved(family, pool, MEAN_FIELD)
    true_gain = fresh_elbo(density, moved)[0] - fresh_elbo(density, family)[0]
    assert true_gain > 0.05
    assert noise < gain
    assert 0.3 * true_gain < gain < 5 * true_gain


def test_tails_keep_falling_where_the_target_does_not():
    family = standard(1)
    run = run_on(flat(1))
    pool = Pool([evaluate(run.target, family, run.base(256))])
    moved, _, _ = improved(family, pool, MEAN_FIELD)
    # A full step would make the marginal flat; three tenths of the old rate of fall remain.
    log_density = moved.log_density(np.array([[-6.0], [0.0], [6.0]]))
    assert log_density[1] - log_density[0] > 3.0
    assert log_density[1] - log_density[2] > 3.0


@pytest.mark.parametrize("center", [[5.0, -5.0], [0.0, 20.0]])
def test_a_start_far_away_is_left(center):
    density = gaussian(np.zeros(2), np.eye(2))
    fit = fit_product(run_on(density), Product.gaussian(np.array(center), np.eye(2)), MEAN_FIELD)
    assert_elbo_above(density, fit.family, -0.02)


def test_the_budget_is_kept_and_the_best_iterate_returned():
    density = banana(1.0)
    run = run_on(density)
    settings = ProductSettings(max_gradients=300)
    fit = fit_product(run, standard(2), settings)
    assert not fit.converged
    assert run.target.n_gradients <= 300
    assert run.family is fit.family


def test_a_budget_below_one_batch_returns_the_start():
    run = run_on(banana(1.0))
    fit = fit_product(run, standard(2), ProductSettings(max_gradients=10))
    assert not fit.converged
    z = np.linspace(-2, 2, 5)[:, None] * np.ones(2)
    np.testing.assert_allclose(fit.family.from_base(z), z, atol=1e-12)


def test_first_and_last_belong_to_the_start_and_to_the_result():
    density = gumbel(np.eye(2))
    fit = fit_product(run_on(density), standard(2), MEAN_FIELD)
    np.testing.assert_allclose(fit.first.log_q, standard(2).log_density(fit.first.x), atol=1e-9)
    np.testing.assert_allclose(fit.last.log_q, fit.family.log_density(fit.last.x), atol=1e-6)
    assert fit.last.elbo > fit.first.elbo


def test_a_wall_keeps_the_fit_inside():
    density = rejecting(gaussian(np.zeros(2), np.eye(2)), lambda x: x[:, 0] > -1.0)
    fit = fit_product(run_on(density), standard(2), MEAN_FIELD)
    rejected = (fit.family.sample(4000, np.random.default_rng(0))[:, 0] <= -1.0).mean()
    assert rejected < 0.08  # 16% at the start


def test_gaussian_coordinates_are_not_turned_before_they_have_shapes():
    # All rotations of a Gaussian are one fit, so a first rotation would follow noise alone.
    start = Product.gaussian(np.zeros(3), np.eye(3))
    run = run_on(gumbel(np.array([[1.0, 0.5, 0.0], [0.0, 1.0, 0.5], [0.3, 0.0, 1.0]])))
    pool = Pool()
    pool.add(run.evaluate("product", start, run.base(256)))
    axes = improved(start, pool, ProductSettings())[0].axes.matrix
    relative = axes / np.diag(axes)
    assert np.abs(relative - np.eye(3)).max() > 0.01
    np.testing.assert_allclose(relative, relative.T, atol=1e-12)


def test_affine_marginals_leave_frozen_coordinates_alone_too():
    start = with_marginal(standard(2), 0, mixture_marginal(np.array([-4.0, 4.0]), np.full(2, 0.5)))
    density = gaussian_mixture([0.5, 0.5], [[-4.0, 1.0], [4.0, 1.0]], [np.diag([1.0, 0.25])] * 2)
    settings = ProductSettings(flexible=False, frozen=(0,))
    fitted = fit_product(run_on(density), start, settings)
    assert fitted.converged
    assert_elbo_above(density, fitted.family, -0.01)
