"""Every bundled model runs with its data and has the density its README claims."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import pytest
import stanli
from numpy.typing import NDArray
from scipy.special import expit, logsumexp
from scipy.stats import multivariate_normal, norm

import stanrovi_stan_models as bundled
from stanrovi.errors import UsageError

Array = NDArray[np.float64]

EXPECTED = (
    "ar",
    "bimodal_gaussian",
    "challenger",
    "eight_schools",
    "eight_schools_centered",
    "garch",
    "gaussian_mixture_nd",
    "kidscore",
    "label_switching",
    "neals_funnel",
    "sbc_regression",
    "three_modes",
)


@cache
def engine(name: str) -> Any:
    return stanli.bridgestan_model(
        stan_file=str(bundled.program(name)),
        data=str(bundled.data(name)),
        capture_stan_prints=False,  # would take the process's one print callback from stanrovi
    )


@cache
def data(name: str) -> dict[str, Any]:
    values = json.loads(bundled.data(name).read_text(encoding="utf-8"))
    return {key: np.asarray(value) for key, value in values.items()}


def points(name: str, n: int, *, scale: float = 1.0) -> Array:
    """Unconstrained points, the same at every run."""
    dim: int = engine(name).param_unc_num()
    return scale * np.random.default_rng(5).uniform(-1, 1, size=(n, dim))


def log_density(name: str, x: Array) -> Array:
    return np.array([engine(name).log_density(point) for point in np.ascontiguousarray(x)])


def test_names_lists_the_shipped_folders() -> None:
    assert bundled.names() == EXPECTED


@pytest.mark.parametrize("name", EXPECTED)
def test_every_model_is_described(name: str) -> None:
    title, blank, first = (bundled.path(name) / "README.md").read_text().splitlines()[:3]
    assert title == f"# {name}"
    assert blank == ""
    assert bundled.summary(name) == first
    assert first.endswith(".")
    assert len(first) <= 120


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"'eight_scools'.*mean 'eight_schools'"):
        bundled.program("eight_scools")


def test_a_name_near_none_lists_all() -> None:
    with pytest.raises(UsageError, match=r"ar, bimodal_gaussian, .*three_modes"):
        bundled.data("zzz")


@pytest.mark.parametrize("name", ["", ".", "..", "ar/../ar"])
def test_a_path_is_not_a_name(name: str) -> None:
    with pytest.raises(UsageError):
        bundled.path(name)


@pytest.mark.parametrize("name", EXPECTED)
def test_gradient_equals_central_differences(name: str) -> None:
    step = 1e-5
    for x in points(name, 3):
        value, gradient = engine(name).log_density_gradient(x)
        shifts = step * np.eye(x.size)
        numeric = (log_density(name, x + shifts) - log_density(name, x - shifts)) / (2 * step)
        # Cancellation costs eps * |f| / step, truncation step^2 times a third derivative.
        tolerance = 1e-6 * (1 + np.abs(gradient).max()) + 1e-15 * abs(value) / step
        np.testing.assert_allclose(gradient, numeric, rtol=1e-6, atol=tolerance)


def bimodal_gaussian(x: Array) -> Array:
    m, w = float(data("bimodal_gaussian")["m"]), float(data("bimodal_gaussian")["w"])
    return np.logaddexp(
        np.log(w) + norm.logpdf(x, -m).sum(axis=1), np.log1p(-w) + norm.logpdf(x, m).sum(axis=1)
    )


def gaussian_mixture(x: Array, mu: Array, w: Array, covariance: Array) -> Array:
    parts = [
        np.log(weight) + multivariate_normal.logpdf(x, mean, covariance)
        for weight, mean in zip(w, mu, strict=True)
    ]
    return np.asarray(logsumexp(parts, axis=0))


def gaussian_mixture_nd(x: Array) -> Array:
    d = data("gaussian_mixture_nd")
    return gaussian_mixture(x, d["mu"], d["w"], d["L"] @ d["L"].T)


def three_modes(x: Array) -> Array:
    d = data("three_modes")
    return gaussian_mixture(x, d["mu"], d["w"], np.eye(2))


def neals_funnel(unconstrained: Array) -> Array:
    y, x = unconstrained[:, 0], unconstrained[:, 1:]
    return np.asarray(norm.logpdf(y, 0, 3) + norm.logpdf(x, 0, np.exp(y / 2)[:, None]).sum(axis=1))


@pytest.mark.parametrize(
    "closed_form", [bimodal_gaussian, gaussian_mixture_nd, three_modes], ids=lambda f: f.__name__
)
def test_mixtures_have_the_closed_form_and_are_normalised(closed_form: Any) -> None:
    name = closed_form.__name__
    x = points(name, 20, scale=5)
    np.testing.assert_allclose(log_density(name, x), closed_form(x), rtol=1e-11)


def test_funnel_has_the_closed_form_up_to_one_constant() -> None:
    x = points("neals_funnel", 20, scale=3)
    difference = log_density("neals_funnel", x) - neals_funnel(x)
    np.testing.assert_allclose(difference, difference[0], rtol=1e-11)
    # Stan dropped the constants of ten normal densities and log(3).
    assert difference[0] == pytest.approx(5 * np.log(2 * np.pi) + np.log(3), rel=1e-11)


def test_funnel_mode_is_where_its_readme_says() -> None:
    mode = np.zeros(10)
    mode[0] = -40.5
    _, gradient = engine("neals_funnel").log_density_gradient(mode)
    np.testing.assert_allclose(gradient, 0, atol=1e-12)


def test_modes_of_the_nd_mixture_are_six_mahalanobis_distances_apart() -> None:
    d = data("gaussian_mixture_nd")
    distance = np.linalg.norm(np.linalg.solve(d["L"], d["mu"][1] - d["mu"][0]))
    assert distance == pytest.approx(6, abs=1e-3)
    assert not np.allclose(d["L"], np.diag(np.diag(d["L"])))


def test_label_switching_is_its_own_mirror_image() -> None:
    # Unconstrained order: mu (2), log sigma (2), logit theta.
    x = points("label_switching", 20, scale=2)
    mirrored = np.column_stack([x[:, [1, 0]], x[:, [3, 2]], -x[:, 4]])
    assert not np.allclose(x, mirrored)
    np.testing.assert_allclose(
        log_density("label_switching", mirrored), log_density("label_switching", x), rtol=1e-12
    )


def test_the_two_eight_schools_are_one_posterior() -> None:
    """Their densities differ by the Jacobian of theta = mu + tau * theta_trans: tau^8."""
    x = points("eight_schools", 20, scale=2)
    mu, log_tau = x[:, 8], x[:, 9]
    centred = x.copy()
    centred[:, :8] = mu[:, None] + np.exp(log_tau)[:, None] * x[:, :8]
    jacobian = 8 * log_tau
    difference = (
        log_density("eight_schools", x) - log_density("eight_schools_centered", centred) - jacobian
    )
    np.testing.assert_allclose(difference, difference[0], atol=1e-10)


def test_challenger_quadrature_gives_the_moments_of_its_readme() -> None:
    alpha, beta = np.meshgrid(np.linspace(-6, 4, 101), np.linspace(-11, 4, 101), indexing="ij")
    x = np.column_stack([alpha.ravel(), beta.ravel()])
    log_p = log_density("challenger", x)
    p = np.exp(log_p - logsumexp(log_p))
    p_31 = expit(x[:, 0] - 3.9 * x[:, 1])
    quantities = np.column_stack([x, p_31])
    mean = p @ quantities
    sd = np.sqrt(p @ (quantities - mean) ** 2)
    np.testing.assert_allclose(mean, [-1.3145, -2.6944, 0.98745], atol=2e-4)
    np.testing.assert_allclose(sd, [0.6258, 1.1675, 0.05899], atol=2e-4)


def test_kidscore_mode_is_least_squares() -> None:
    """At any sigma the gradient in beta vanishes at the least-squares estimate."""
    d = data("kidscore")
    columns = [np.ones(434), d["mom_hs"], d["mom_iq"], d["mom_hs"] * d["mom_iq"]]
    X = np.column_stack(columns)
    beta = np.linalg.lstsq(X, d["kid_score"], rcond=None)[0]
    np.testing.assert_allclose(beta, [-11.482, 51.268, 0.96889, -0.48427], rtol=1e-4)
    for log_sigma in (2.0, 3.0):
        _, gradient = engine("kidscore").log_density_gradient(np.append(beta, log_sigma))
        scale = np.abs(X.T @ d["kid_score"]) / np.exp(2 * log_sigma)
        np.testing.assert_array_less(np.abs(gradient[:4]) / scale, 1e-9)


def test_garch_draws_stay_in_the_triangle() -> None:
    constrained = np.array(
        [engine("garch").param_constrain(x) for x in points("garch", 50, scale=4)]
    )
    _, alpha0, alpha1, beta1 = constrained.T
    assert (alpha0 > 0).all()
    assert (alpha1 > 0).all()
    assert (beta1 > 0).all()
    assert (alpha1 + beta1 < 1).all()


def test_ar_coefficients_are_gaussian_given_sigma() -> None:
    """The gradient in (alpha, beta) vanishes at the ridge estimate, for any sigma."""
    y = data("ar")["y"]
    X = np.column_stack([np.ones(195), *(y[5 - k : 200 - k] for k in range(1, 6))])
    for log_sigma in (-2.0, 0.0):
        precision = X.T @ X / np.exp(2 * log_sigma) + np.eye(6) / 100
        coefficients = np.linalg.solve(precision, X.T @ y[5:] / np.exp(2 * log_sigma))
        _, gradient = engine("ar").log_density_gradient(np.append(coefficients, log_sigma))
        np.testing.assert_allclose(gradient[:6] / np.diag(precision), 0, atol=1e-12)
