import numpy as np
import pytest
from targets import LOG_2PI, fit, funnel, run_on, standard

from stanrovi.densities import FunctionDensity
from stanrovi.vi import axis_search
from stanrovi.vi.axis_search import axis_gain, promising_axes, promising_rotation
from stanrovi.vi.fit_run import evaluate
from stanrovi.vi.pool import Pool


def test_axis_gain_is_largest_along_the_skewed_axis():
    rng = np.random.default_rng(4)
    z = rng.standard_normal((4000, 2))
    weight = np.full(4000, 1 / 4000)
    # The score residual of a target skewed along the diagonal alone.
    direction = np.array([1.0, 1.0]) / np.sqrt(2)
    residual = 0.3 * ((z @ direction) ** 2 - 1)[:, None] * direction
    angle = np.pi / 4
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    along = axis_gain(z @ turn, residual @ turn, weight)
    assert along == pytest.approx(0.3**2 * 4 / 12, rel=0.2)
    assert along > 1.8 * axis_gain(z, residual, weight)


def test_axis_gain_of_noise_is_nothing():
    rng = np.random.default_rng(5)
    gains = [
        axis_gain(
            rng.standard_normal((300, 3)), rng.standard_normal((300, 3)), np.full(300, 1 / 300)
        )
        for _ in range(200)
    ]
    assert abs(np.mean(gains)) < 4 * np.std(gains) / np.sqrt(200)


def cubic(derivatives, z):
    """Score residual whose expected third derivatives are the symmetric tensor given."""
    second = z[:, :, None] * z[:, None, :] - np.eye(z.shape[1])
    return np.einsum("abc,nbc->na", derivatives, second) / 2


def symmetric(i, j, k, d):
    tensor = np.zeros((d, d, d))
    for place in {(i, j, k), (i, k, j), (j, i, k), (j, k, i), (k, i, j), (k, j, i)}:
        tensor[place] = 0.5
    return tensor


@pytest.mark.parametrize(("d", "pair"), [(2, (0, 1)), (6, (1, 4))])
def test_a_coordinate_that_scales_another_is_turned_against_it(d, pair):
    """Along both coordinates the third derivative vanishes, and with it every rotation step."""
    i, j = pair
    z = np.random.default_rng(0).standard_normal((4000, d))
    residual = cubic(symmetric(i, i, j, d), z)
    weight = np.full(4000, 1 / 4000)
    rotation = promising_rotation(z, residual, weight)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(d), atol=1e-12)
    assert axis_gain(z, residual, weight) < 0.01
    assert axis_gain(z @ rotation, residual @ rotation, weight) > 0.02
    others = np.setdiff1d(np.arange(d), pair)
    np.testing.assert_array_equal(rotation[np.ix_(others, others)], np.eye(d - 2))


@pytest.mark.parametrize("d", [1, 2, 10, 40])
def test_noise_turns_nothing(d):
    turned = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        z, residual = rng.standard_normal((2, 500, d))
        turned += (promising_rotation(z, residual, np.full(500, 0.002)) != np.eye(d)).any()
    assert turned <= 1


def test_the_gaussian_stays_the_same():
    run = run_on(funnel(4, 1.0))
    start = standard(4)
    pool = Pool([evaluate(run.target, start, run.base(256))])
    turned = promising_axes(start, pool)
    np.testing.assert_allclose(turned.covariance(), np.eye(4), atol=1e-12)
    assert turned.marginals.is_affine


def beside_a_normal(density):
    """One more coordinate, standard normal and independent of the rest."""

    def function(x):
        value, gradient = density.log_density_gradient(x[:, :-1])
        value = value - 0.5 * x[:, -1] ** 2 - 0.5 * LOG_2PI
        return value, np.concatenate([gradient, -x[:, -1:]], axis=1)

    return FunctionDensity(function, density.dim + 1)


@pytest.mark.parametrize("seed", range(6))
def test_no_seed_stays_on_the_saddle_of_a_symmetric_funnel(seed):
    """Three uncorrelated coordinates: principal axes are a matter of luck, turned pairs are not."""
    assert -fit(beside_a_normal(funnel(2, 0.9)), "rovi", seed=seed).elbo < 0.07


@pytest.mark.parametrize("seed", range(4))
def test_a_ridge_without_end_is_survived(seed):
    """The fit widens along a + b = const until its covariance is singular to rounding."""

    def function(x):
        total = x.sum(axis=1)
        return -0.5 * total**2, np.repeat(-total[:, None], 2, axis=1)

    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # as `stanrovi.fit` does
        result = fit(FunctionDensity(function, 2), "rovi", seed=seed)
    assert result.verdict.name == "suspect"
    assert np.isfinite(result.draws).all()


def test_turned_derivatives_are_those_of_turned_draws():
    rng = np.random.default_rng(5)
    n, d = 200, 6
    z, residual, weight = rng.standard_normal((n, d)), rng.gamma(2, size=(n, d)), np.full(n, 1 / n)
    i, j = np.triu_indices(d, 1)
    turned = axis_search._Derivatives(z, residual, weight)
    rotation = np.eye(d)
    for plane in ([1, 4], [0, 1], [2, 5]):
        turn = np.array([[0.8, -0.6], [0.6, 0.8]])
        turned.turn(np.array(plane), turn)
        rotation[:, plane] = rotation[:, plane] @ turn
    anew = axis_search._Derivatives(z @ rotation, residual @ rotation, weight)
    np.testing.assert_allclose(turned.gains(i, j), anew.gains(i, j), rtol=1e-9, atol=1e-9)
