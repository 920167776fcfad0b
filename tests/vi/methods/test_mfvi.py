import numpy as np
import pytest
from targets import covariance_of, fit, gaussian, gumbel, scaled, student_t

from stanrovi.vi.settings import FamilySettings

AFFINE = FamilySettings(marginals="affine")


def assert_optimal(result, mean, covariance):
    """Mean field of a Gaussian: its mean, and variances one over the precision's diagonal."""
    variances = 1 / np.diag(np.linalg.inv(covariance))
    fitted = result.family.covariance()
    np.testing.assert_allclose(np.diag(fitted), variances, rtol=1e-3)
    np.testing.assert_allclose(fitted, np.diag(np.diag(fitted)), atol=0)
    assert (np.abs(result.family.mean() - mean) < 1e-3 * np.sqrt(variances)).all()
    kl = 0.5 * (np.linalg.slogdet(covariance)[1] - np.log(variances).sum())
    assert result.elbo == pytest.approx(-kl, abs=5 * result.elbo_se + 1e-5)


@pytest.mark.parametrize("settings", [None, AFFINE], ids=["flexible", "affine"])
@pytest.mark.parametrize("correlation", [0.0, 0.5, -0.9, 0.999])
def test_two_correlated_coordinates(correlation, settings):
    covariance = np.outer([1, 2], [1, 2]) * [[1.0, correlation], [correlation, 1.0]]
    result = fit(gaussian([1.0, -3.0], covariance), "mfvi", settings=settings)
    assert_optimal(result, [1.0, -3.0], covariance)


@pytest.mark.parametrize("dim", [1, 5, 10, 50])
def test_random_correlations(dim):
    mean, covariance = np.linspace(-2, 2, dim), covariance_of(dim, 100)
    assert_optimal(fit(gaussian(mean, covariance), "mfvi"), mean, covariance)


def test_scales_from_a_millionth_to_a_million():
    scale = 10.0 ** np.arange(-6, 7, 2)
    covariance = covariance_of(7, 10)
    result = fit(scaled(gaussian(np.ones(7), covariance), scale), "mfvi")
    assert_optimal(result, scale, covariance * np.outer(scale, scale))


@pytest.mark.parametrize("density", [gumbel(np.diag([1.0, 5.0])), student_t(4, 3)])
def test_independent_coordinates_of_any_shape(density):
    result = fit(density, "mfvi")
    assert -result.elbo < 0.03
    affine = fit(density, "mfvi", settings=AFFINE)
    assert affine.family.marginals.is_affine
    assert result.elbo > affine.elbo + 0.05


def test_correlation_it_cannot_hold_is_suspect():
    result = fit(gaussian([0, 0], [[1.0, 0.9], [0.9, 1.0]]), "mfvi")
    assert result.verdict.name == "suspect"
    assert any("from the posterior" in reason for reason in result.verdict.reasons)
