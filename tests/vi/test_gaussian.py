import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from targets import (
    covariance_of,
    fit,
    gaussian,
    gaussian_kl,
    gumbel,
    rejecting,
    run_on,
    scaled,
    standard,
    student_t,
    two_gaussians,
    unbounded,
)

from stanrovi.families.product import Product
from stanrovi.vi.gaussian import fit_gaussian


@pytest.mark.parametrize("dim", [1, 2, 5, 10, 50])
@pytest.mark.parametrize("condition", [1.0, 1e4])
def test_a_gaussian_target_is_fitted_exactly(dim, condition):
    mean, covariance = np.linspace(-2, 2, dim), covariance_of(dim, condition)
    result = fit(gaussian(mean, covariance), "gaussian")
    assert gaussian_kl(result.family, mean, covariance) < 1e-8
    assert result.status == "converged"
    assert result.verdict.name == "ok"
    assert result.n_fit_gradients < 500 + 40 * dim


def test_scales_from_a_millionth_to_a_million_and_correlation_close_to_one():
    scale = 10.0 ** np.arange(-6, 7, 2)
    covariance = 0.999 * np.ones((7, 7)) + 0.001 * np.eye(7)
    result = fit(scaled(gaussian(np.ones(7), covariance), scale), "gaussian")
    shape = result.family.covariance() / np.outer(scale, scale)
    np.testing.assert_allclose(shape, covariance, atol=1e-6)
    np.testing.assert_allclose(result.family.mean() / scale, 1.0, atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_a_start_ten_deviations_off_and_ten_times_too_narrow_does_no_harm(seed):
    covariance = covariance_of(4, 10, seed)
    mean = 10.0 * np.ones(4)
    run = run_on(gaussian(mean, covariance), seed)
    family, pool, ended = fit_gaussian(run, Product.gaussian(np.zeros(4), 0.1 * np.eye(4)))
    assert ended == "settled"
    assert gaussian_kl(family, mean, covariance) < 1e-3
    assert run.target.by_stage["gaussian"] >= len(pool.x) > 0


def best_elbo(density):
    """ELBO of the best Gaussian at the origin for a density on the line, by quadrature."""
    z = np.linspace(-8, 8, 4001)
    weight = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi) * (z[1] - z[0])

    def loss(log_scale):
        log_p = density.log_density_gradient(np.exp(log_scale) * z[:, None])[0]
        return -(weight @ log_p) - log_scale

    return -minimize_scalar(loss, bounds=(-3, 3), method="bounded").fun + standard(1).entropy()


@pytest.mark.parametrize("df", [3, 10])
@pytest.mark.parametrize("seed", range(3))
def test_the_best_elbo_is_reached_on_a_heavy_tailed_target(df, seed):
    result = fit(student_t(df, 2), "gaussian", seed)
    assert result.elbo == pytest.approx(2 * best_elbo(student_t(df, 1)), abs=0.02)


def test_a_skew_target_gets_the_mean_of_the_elbo_and_not_the_mode():
    family = fit(gumbel(np.eye(2)), "gaussian").family
    # Stationarity of E[-y - exp(-y)] + log s: mean s^2 / 2, s = 1.
    np.testing.assert_allclose(family.mean(), 0.5, atol=0.1)
    np.testing.assert_allclose(np.sqrt(np.diag(family.covariance())), 1.0, atol=0.1)


def test_it_settles_on_one_of_two_far_modes():
    result = fit(two_gaussians(12.0, 0.3, np.eye(2)), "gaussian")
    assert result.elbo == pytest.approx(np.log(0.7), abs=1e-3)
    assert result.verdict.name == "collapsed"


def test_rejections_shrink_the_start_and_do_not_stop_the_fit():
    inside = rejecting(
        gaussian(np.zeros(2), 0.01 * np.eye(2)), lambda x: (np.abs(x) < 0.6).all(axis=1)
    )
    run = run_on(inside)
    family, _, ended = fit_gaussian(run, standard(2))
    assert ended == "settled"
    np.testing.assert_allclose(family.covariance(), 0.01 * np.eye(2), atol=1e-3)
    assert run.target.n_rejections > 0


def test_a_density_without_a_maximum_does_not_converge():
    _, _, ended = fit_gaussian(run_on(unbounded()), standard(2))
    assert ended == "stopped"


@pytest.mark.slow
def test_two_hundred_dimensions_of_condition_ten_thousand():
    dim = 200
    mean, covariance = np.linspace(-2, 2, dim), covariance_of(dim, 1e4)
    for method in ("gaussian", "rovi"):
        result = fit(gaussian(mean, covariance), method)
        assert -result.elbo < 0.01 * dim
        assert result.n_fit_gradients <= 20_000
