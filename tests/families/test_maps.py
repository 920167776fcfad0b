import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import logsumexp
from scipy.stats import norm

from stanrovi.families.base import standard_normal
from stanrovi.families.maps import SplineMap, stack
from stanrovi.families.pieces import quadrature

LOG_SQRT_2PI = 0.5 * np.log(2 * np.pi)


@st.composite
def splines(draw):
    """Maps of 1 to 3 coordinates, knots and slopes spread over orders of magnitude."""
    d, count = draw(st.integers(1, 3)), draw(st.integers(3, 12))

    def positive(shape, low, high):
        return np.exp(draw(arrays(float, shape, elements=st.floats(low, high))))

    z = np.cumsum(positive((d, count), -3, 1), axis=1)
    z -= z.mean(axis=1, keepdims=True)
    y = np.cumsum(positive((d, count), -5, 3), axis=1) - 5.0
    return SplineMap(z, y, positive((d, count), -4, 4))


def across(spline, n=301):
    """Points (n, d) over the knots and a good way beyond them."""
    low, high = spline.z[:, 0], spline.z[:, -1]
    return np.linspace(low - 3, high + 3, n)


@given(splines())
def test_a_map_increases_and_its_inverse_is_exact(spline):
    z = across(spline)
    y = spline.value(z)
    assert (np.diff(y, axis=0) > 0).all()
    back = spline.inverse(y)
    # Rounding of y, carried back through the slope, is the only error there is.
    rounding = 1e-14 * (np.abs(y).max(axis=0) + np.ptp(y, axis=0))
    assert (np.abs(back - z) <= 1e-11 + rounding / np.exp(spline.log_slope(z))).all()


@given(splines())
def test_the_slope_is_the_derivative_of_the_value(spline):
    z = across(spline, 97)
    h = 1e-5
    # Across a knot the second derivative jumps, so differences are only first order there.
    away = (np.abs(z[:, :, None] - spline.z).min(axis=2) > 2 * h) & (np.abs(z) > 0)
    numeric = (spline.value(z + h) - spline.value(z - h)) / (2 * h)
    curvature = np.abs(np.exp(spline.log_slope(z + h)) - np.exp(spline.log_slope(z - h)))
    slack = 0.2 * curvature + 1e-10 * np.ptp(spline.y, axis=1) / h + 1e-6
    assert (np.abs(numeric - np.exp(spline.log_slope(z))) <= slack)[away].all()


@given(splines())
def test_the_slope_is_continuous_across_the_knots(spline):
    knots = spline.z.T
    step = 1e-9 * np.diff(spline.z, axis=1).min()
    for side in (-step, step):
        np.testing.assert_allclose(
            np.exp(spline.log_slope(knots + side)), spline.slope.T, rtol=1e-4
        )
        np.testing.assert_allclose(spline.value(knots + side), spline.y.T, rtol=0, atol=1e-6)


@given(splines())
def test_the_score_is_the_derivative_of_the_log_density(spline):
    z = across(spline, 53)
    width = np.diff(spline.z, axis=1).min()
    h = 1e-6 * width
    away = np.abs(z[:, :, None] - spline.z).min(axis=2) > 2 * h

    def log_density(point):
        return -0.5 * point**2 - LOG_SQRT_2PI - spline.log_slope(point)

    numeric = (log_density(z + h) - log_density(z - h)) / (2 * h)
    slope = np.exp(spline.log_slope(z))
    # Both in units of z, where the function is of order one over the knot spacing.
    np.testing.assert_allclose(
        (spline.score(z) * slope)[away], numeric[away], rtol=1e-3, atol=1e-3 / width
    )
    np.testing.assert_allclose(spline.log_density(spline.value(z)), log_density(z), atol=1e-6)


def test_an_affine_map_is_a_line_with_closed_form_moments():
    spline = SplineMap.affine(np.array([1.0, -2.0]), np.array([0.5, 1e6]))
    z = np.linspace(-8, 8, 7)[:, None] * np.ones(2)
    np.testing.assert_allclose(spline.value(z), [1.0, -2.0] + z * [0.5, 1e6])
    np.testing.assert_allclose(spline.score(z), -z / [0.5, 1e6])
    assert spline.is_affine
    assert spline.dim == 2
    mean, variance = spline.moments()
    np.testing.assert_allclose(mean, [1.0, -2.0], atol=1e-9)
    np.testing.assert_allclose(variance, [0.25, 1e12])
    np.testing.assert_allclose(spline.mean_log_slope(), np.log([0.5, 1e6]))
    np.testing.assert_allclose(spline.fisher_information(), [4.0, 1e-12])


def logistic(y):
    return -np.abs(y) - 2 * np.log1p(np.exp(-np.abs(y))), -np.tanh(y / 2)


def gumbel(y):
    return -y - np.exp(-y), np.exp(-y) - 1


def student(y):
    return -2.5 * np.log1p(y**2 / 4), -5 * y / (4 + y**2)


def normal(y):
    return -0.5 * y**2, -y


def from_function(function, grid):
    log_density, score = function(grid)
    return SplineMap.from_log_density(grid[None], log_density[None], score[None])


@pytest.mark.parametrize(
    ("function", "low", "high", "log_norm"),
    [
        (normal, -7, 7, LOG_SQRT_2PI),
        (logistic, -30, 30, 0.0),
        (gumbel, -3.4, 25, 0.0),
        (student, -150, 150, -np.log(0.375)),
    ],
)
def test_the_push_forward_has_the_density_that_was_asked_for(function, low, high, log_norm):
    spline = from_function(function, np.linspace(low, high, 2001))
    # Where 99.99% of the mass lies, and then the last knots of the tails.
    for outermost, tolerance in ((3.9, 2e-3), (4.7, 0.1)):
        z = np.linspace(-outermost, outermost, 501)[:, None]
        y = spline.value(z)
        expected = function(y[:, 0])[0] - log_norm
        np.testing.assert_allclose(spline.log_density(y)[:, 0], expected, atol=tolerance)
    mass = np.exp(spline.log_density(np.linspace(low, high, 200_001)[:, None])[:, 0]).sum()
    assert mass * (high - low) / 200_000 == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("separation", [0.0, 2.0, 5.0, 10.0, 20.0, 30.0])
@pytest.mark.parametrize("weight", [0.5, 0.1, 0.02])
def test_two_separated_modes_keep_their_weights_and_shapes(separation, weight):
    levels, weights = np.array([0.0, separation]), np.array([1 - weight, weight])

    def function(y):
        parts = np.log(weights) + norm.logpdf(y[:, None] - levels)
        share = np.exp(parts - logsumexp(parts, axis=1, keepdims=True))
        return logsumexp(parts, axis=1), (share * (levels - y[:, None])).sum(axis=1)

    spline = from_function(function, np.arange(-6.5, separation + 6.5, 0.05))
    middle = separation / 2
    right = norm.sf(spline.inverse(np.array([[middle]]))[0, 0])
    if separation > 5:
        assert right == pytest.approx(weight, abs=2e-4)
    y = np.concatenate([level + np.linspace(-3, 3, 61) for level in levels])
    np.testing.assert_allclose(spline.log_density(y[:, None])[:, 0], function(y)[0], atol=0.03)
    mean, variance = spline.moments()
    assert mean[0] == pytest.approx(weight * separation, abs=2e-3 * (1 + separation))
    expected = 1 + weight * (1 - weight) * separation**2
    assert variance[0] == pytest.approx(expected, rel=5e-3)


def test_moments_entropy_and_information_of_a_logistic():
    spline = from_function(logistic, np.linspace(-30, 30, 2001))
    mean, variance = spline.moments()
    assert mean[0] == pytest.approx(0.0, abs=1e-6)
    # Beyond z = 4.75 the tails are Gaussian: the logistic's own weigh a little more.
    assert variance[0] == pytest.approx(np.pi**2 / 3, rel=1e-3)
    entropy = spline.mean_log_slope()[0] + 0.5 + LOG_SQRT_2PI
    assert entropy == pytest.approx(2.0, abs=1e-4)
    assert spline.fisher_information()[0] == pytest.approx(1 / 3, rel=1e-3)


@given(splines())
def test_quadrature_weights_integrate_the_normal(spline):
    z, weight = (part.reshape(len(spline.z), -1).T for part in quadrature(spline.z))
    covered = norm.sf(spline.z[:, 0] - 6) - norm.sf(spline.z[:, -1] + 6)
    np.testing.assert_allclose(weight.sum(axis=0), covered, atol=1e-9)
    if (spline.z[:, 0] < -1).all() and (spline.z[:, -1] > 1).all():
        np.testing.assert_allclose((weight * z**2).sum(axis=0), 1.0, atol=1e-6)


@given(splines())
def test_standardised_splits_off_location_and_scale(spline):
    standard, mean, sd = spline.standardised()
    z = across(spline, 41)
    np.testing.assert_allclose(
        mean + sd * standard.value(z), spline.value(z), rtol=1e-9, atol=1e-9 * sd.max()
    )
    np.testing.assert_allclose(standard.moments()[0], 0.0, atol=1e-6)
    np.testing.assert_allclose(standard.moments()[1], 1.0, rtol=1e-6)


def test_select_replace_and_stack_move_whole_coordinates():
    bent = from_function(gumbel, np.linspace(-3.4, 25, 2001))
    affine = SplineMap.affine(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    joined = stack([affine, bent])
    z = np.linspace(-7, 7, 101)[:, None] * np.ones(3)
    np.testing.assert_allclose(joined.value(z)[:, :2], affine.value(z[:, :2]), atol=1e-12)
    np.testing.assert_allclose(joined.value(z)[:, 2:], bent.value(z[:, :1]), atol=1e-12)
    turned = joined.select(np.array([2, 0]))
    np.testing.assert_array_equal(turned.value(z[:, :2]), joined.value(z)[:, [2, 0]])


def test_standard_normal_keeps_the_ends_finite():
    values = standard_normal(np.array([0.0, 0.5, 1.0]))
    assert np.isfinite(values).all()
    assert values[1] == 0.0
    assert values[2] == pytest.approx(7.03, abs=0.01)
    np.testing.assert_allclose(values[0], -values[2], rtol=1e-4)


def test_a_grid_that_reaches_where_the_density_underflows_does_no_harm():
    wide = np.linspace(-80, 80, 6401)
    spline = from_function(normal, wide)
    assert np.isfinite(spline.y).all()
    mean, variance = spline.moments()
    assert mean[0] == pytest.approx(0.0, abs=1e-6)
    assert variance[0] == pytest.approx(1.0, rel=1e-4)


@pytest.mark.parametrize("shift", np.linspace(0.0, 0.04, 9))
def test_scores_that_are_off_at_the_last_knot_make_no_long_tail(shift):
    """The tail falls like exp(-exp(y)), and scores near its end say that it rises."""
    grid = np.linspace(-8.0, 3.0, 257)[None] + shift
    log_density, score = grid - np.exp(grid), 1 - np.exp(grid)
    score[(grid > 2.3) & (grid < 2.9)] = 0.5
    spline = SplineMap.from_log_density(grid, log_density, score)
    assert spline.value(np.full((1, 1), 6.0))[0, 0] < 6.0
    mirrored = SplineMap.from_log_density(-grid[:, ::-1], log_density[:, ::-1], -score[:, ::-1])
    assert mirrored.value(np.full((1, 1), -6.0))[0, 0] > -6.0
