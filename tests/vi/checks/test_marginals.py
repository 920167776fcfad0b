"""Estimated errors of marginals against errors that are known exactly."""

import numpy as np
import pytest
from scipy.stats import norm
from targets import gaussian, standard, student_t

from stanrovi.densities import FunctionDensity
from stanrovi.diagnostics.statistics import psis_khat
from stanrovi.families.axes import DiagonalAxes
from stanrovi.families.base import base_draws
from stanrovi.families.mixture import Mixture
from stanrovi.families.product import Product
from stanrovi.scalars import Scalars
from stanrovi.target import Target
from stanrovi.vi.checks.chains import from_chains, gradients_of
from stanrovi.vi.checks.distances import spread
from stanrovi.vi.checks.evidence import Evidence
from stanrovi.vi.checks.marginals import marginal_errors
from stanrovi.vi.checks.normal_scores import NormalScores
from stanrovi.vi.checks.scores import from_scores
from stanrovi.vi.checks.weights import weigh_widened, widen

N = 4000


def evidence(density, family, seed=0, n=N):
    x = family.sample(n, np.random.default_rng(seed))
    log_p, gradient = Target(density).log_density_gradient(x)
    log_q = family.log_density(x)
    khat = psis_khat(log_p - log_q)
    return Evidence(Target(density), family, x, gradient, log_p, log_q, khat, psis_khat)


def judged(density, family, seed=0, scalars=None):
    scalars = scalars or Scalars.coordinates(density.dim)
    rng = np.random.default_rng(seed + 100)
    return marginal_errors(evidence(density, family, seed), scalars, 2000, rng)[0]


def diagonal(*sd):
    return Product.gaussian(np.zeros(len(sd)), DiagonalAxes(np.array(sd)))


def normal_scores(x):
    ranked = np.sort(x, axis=0)
    return NormalScores(ranked, spread(ranked, np.full(ranked.shape, 1 / len(x)))[0])


def w1_of_sds(mine, true):
    """W1 between centred normals, in sds of the second."""
    return abs(mine / true - 1) * np.sqrt(2 / np.pi)


def test_an_exact_fit_has_no_error():
    errors = judged(standard(5), diagonal(1, 1, 1, 1, 1))
    assert errors.error.max() < 1e-9
    assert set(errors.source) == {"weights"}


def test_one_wrong_marginal_among_many_is_found_by_name():
    errors = judged(standard(60), diagonal(*[1] * 59, 0.8))
    assert errors.names[errors.worst(errors.error > 0)] == "x[60]"
    assert errors.error[59] == pytest.approx(w1_of_sds(0.8, 1), abs=0.03)
    assert errors.error[:59].max() < 0.05


def test_scores_tell_the_correlation_that_mean_field_lacks():
    """In thirty dimensions, where importance weights tell nothing."""
    d, rho = 30, 0.5
    covariance = np.full((d, d), rho) + (1 - rho) * np.eye(d)
    sd = np.linalg.inv(covariance)[0, 0] ** -0.5
    found = evidence(gaussian(np.zeros(d), covariance), diagonal(*[sd] * d))
    z = found.family.to_base(found.x)
    residual = found.family.transport(z)[2](found.gradient) + z
    scores = normal_scores(found.x)
    error, unseen = from_scores(z, residual, scores, scores.of(found.x))
    np.testing.assert_allclose(error, w1_of_sds(sd, 1.0), atol=0.02)
    assert unseen.max() < 1e-6
    errors = judged(gaussian(np.zeros(d), covariance), diagonal(*[sd] * d))
    assert set(errors.source) == {"scores"}
    np.testing.assert_allclose(errors.error, w1_of_sds(sd, 1.0), atol=0.02)


def test_chains_find_their_way_to_the_target():
    density = gaussian(np.array([0.5, 0.0]), np.diag([1.0, 4.0]))
    family = diagonal(1, 1)
    x = family.sample(N, np.random.default_rng(1))
    target = Target(density)
    moved = from_chains(
        target, family, Scalars.coordinates(2), normal_scores(x), 128, np.random.default_rng(2)
    )
    assert not moved.stuck
    np.testing.assert_allclose(moved.error, [0.5, w1_of_sds(1, 2)], atol=0.06)
    assert target.n_gradients <= 1.3 * 128 * gradients_of(2)


def test_chains_at_the_end_of_a_gaussian_make_no_noise():
    family = diagonal(1, 1, 1)
    x = base_draws(N, 3, np.random.default_rng(0))
    moved = from_chains(
        Target(standard(3)), family, Scalars.coordinates(3), normal_scores(x), 64,
        np.random.default_rng(3),
    )  # fmt: skip
    assert moved.error.max() < 0.02
    assert moved.noise.max() < 0.02


def test_the_widened_fit_is_a_distribution():
    """The mean of q over the density of its widened self, at draws of that, is one."""
    family = Mixture(np.array([0.3, 0.7]), (diagonal(1, 2), diagonal(0.5, 0.5)))
    found = evidence(standard(2), family)
    both = weigh_widened(found, widen(found, 4000, np.random.default_rng(4)))
    assert len(both.x) > 7900
    # Under either weighting the moments are those of fit and target.
    np.testing.assert_allclose(both.fit @ both.x**2, [0.475, 1.375], rtol=0.1)
    np.testing.assert_allclose(both.target @ both.x**2, [1, 1], rtol=0.1)


@pytest.mark.parametrize("seed", range(4))
def test_a_tail_that_the_fit_does_not_reach_is_seen(seed):
    """A Cauchy by a normal: the draws themselves reach to a few sds alone."""
    errors = judged(student_t(1, 1), diagonal(1.6), seed)
    assert errors.error[0] > 0.5


def test_a_wide_mode_around_a_narrow_one_is_seen():
    """A fit of the needle alone, in a haystack of seven tenths."""
    density = FunctionDensity(haystack, 5)
    errors = judged(density, diagonal(*[0.1] * 5))
    assert errors.error.min() > 0.3


def haystack(x):
    wide = np.log(0.7) + norm.logpdf(x).sum(axis=1)
    narrow = np.log(0.3) + norm.logpdf(x, scale=0.1).sum(axis=1)
    total = np.logaddexp(wide, narrow)
    pull = np.exp(wide - total)[:, None] + 100 * np.exp(narrow - total)[:, None]
    return total, -pull * x


def test_constants_and_copies_are_left_out():
    def of(x):
        return np.stack([x[:, 0], np.ones(len(x)), x[:, 0], np.exp(x[:, 1])], axis=1)

    errors = judged(standard(2), diagonal(1, 1), scalars=Scalars(("a", "one", "again", "b"), of))
    assert errors.names == ("a", "b")


def test_what_matters_is_the_constrained_marginal():
    """The logit of a uniform has tails that a normal has not, and its uniform is fitted well."""

    def function(x):
        u = 1 / (1 + np.exp(-x))
        return (np.log(u) + np.log1p(-u)).sum(axis=1), 1 - 2 * u

    density, family = FunctionDensity(function, 1), diagonal(1.75)
    logit = judged(density, family)
    uniform = judged(density, family, scalars=Scalars(("p",), lambda x: 1 / (1 + np.exp(-x))))
    assert uniform.error[0] < 0.05
    assert uniform.error[0] < logit.error[0] + 0.02


def test_a_spent_budget_leaves_what_the_draws_tell():
    found = evidence(student_t(1, 2), diagonal(1, 1))
    late = Evidence(
        Target(student_t(1, 2), max_gradients=0), found.family, found.x, found.gradient,
        found.log_p, found.log_q, found.khat, psis_khat,
    )  # fmt: skip
    errors, _ = marginal_errors(late, Scalars.coordinates(2), 2000, np.random.default_rng(0))
    assert errors.error.max() > 0.05


def test_a_large_error_is_told_with_its_size_where_weights_have_collapsed():
    """Mean field on a nearly singular pair among others: a handful of draws has all the weight."""
    d, rho = 6, 0.99
    covariance = np.full((d, d), rho) + (1 - rho) * np.eye(d)
    sd = np.linalg.inv(covariance)[0, 0] ** -0.5
    errors = judged(gaussian(np.zeros(d), covariance), diagonal(*[sd] * d))
    np.testing.assert_allclose(errors.error, w1_of_sds(sd, 1.0), atol=0.05)


def test_where_nothing_varies_there_is_nothing_to_tell():
    """As where the map to constrained space fails everywhere."""
    broken = Scalars(("a", "b"), lambda x: np.full((len(x), 2), np.nan))
    assert judged(standard(2), diagonal(1, 1), scalars=broken).names == ()
