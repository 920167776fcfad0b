import numpy as np
import pytest
from scipy.stats import norm, wasserstein_distance

from stanrovi.vi.checks.distances import spread, weighted_w1, without_noise


def even(n):
    return np.full(n, 1 / n)


def test_it_is_the_wasserstein_distance_in_sds_of_the_first():
    rng = np.random.default_rng(0)
    x = rng.gamma(2.0, size=(500, 2))
    first, second = rng.dirichlet(np.ones(500)), even(500)
    w1, _ = weighted_w1(x, first, second)
    for j in range(2):
        sd = np.sqrt(first @ (x[:, j] - first @ x[:, j]) ** 2)
        expected = wasserstein_distance(x[:, j], x[:, j], first, second) / sd
        assert w1[j] == pytest.approx(expected, rel=1e-9)


def test_equal_weights_are_no_distance_apart_and_make_no_noise():
    w1, noise = weighted_w1(np.random.default_rng(1).normal(size=(50, 3)), even(50), even(50))
    np.testing.assert_allclose(w1, 0, atol=1e-12)
    np.testing.assert_allclose(noise, 0, atol=1e-7)


def test_the_noise_is_what_chance_alone_gives():
    rng = np.random.default_rng(2)
    seen, told = [], []
    for _ in range(200):
        x = rng.normal(size=(400, 1))
        raw = np.exp(0.8 * rng.normal(size=400))  # weights that know nothing of x
        w1, noise = weighted_w1(x, raw / raw.sum(), even(400))
        seen.append(w1[0])
        told.append(noise[0])
    assert np.mean(told) == pytest.approx(np.mean(seen), rel=0.1)


def test_many_columns_are_taken_in_blocks():
    x = np.random.default_rng(3).normal(size=(3000, 1500))
    weights = np.random.default_rng(4).dirichlet(np.ones(3000))
    w1, _ = weighted_w1(x, weights, even(3000))
    alone, _ = weighted_w1(x[:, [1400]], weights, even(3000))
    assert w1[1400] == alone[0]


@pytest.mark.parametrize(("df", "heavy"), [(1.0, True), (1.5, True), (3.0, False), (30.0, False)])
def test_a_scale_without_variance_is_robust(df, heavy):
    x = np.sort(np.random.default_rng(5).standard_t(df, (40_000, 1)), axis=0)
    scale, robust = spread(x, np.full(x.shape, 1 / len(x)))
    assert robust[0] == heavy
    if heavy:
        low, high = np.quantile(x, norm.cdf([-1, 1]))
        assert scale[0] == pytest.approx((high - low) / 2, rel=1e-3)


def test_weights_on_one_point_give_a_large_number_and_no_warning():
    x = np.linspace(-1, 1, 100)[:, None]
    one = np.zeros(100)
    one[3] = 1.0
    w1, noise = weighted_w1(x, one, even(100))
    assert np.isfinite(w1).all()
    assert np.isfinite(noise).all()
    assert w1[0] > 10


def test_a_tail_of_one_point_among_points_without_weight_is_not_heavy():
    points = np.sort(np.random.default_rng(5).standard_normal(1000))
    weights = np.zeros(1000)
    weights[20], weights[400:600] = 0.02, 0.98 / 200
    _, heavy = spread(points[:, None], weights[:, None])
    assert not heavy[0]


@pytest.mark.parametrize("sd", [0.0, 1.0, 5.0])
def test_scales_of_many_are_those_of_each_alone(sd):
    rng = np.random.default_rng(6)
    x = np.column_stack([rng.standard_t(df, 2000) for df in (0.8, 1.5, 2.0, 4.0, 50.0)])
    x = np.column_stack([x, np.zeros(2000), np.where(np.arange(2000) < 1900, 0.0, 1.0)])
    order = np.argsort(x, axis=0)
    raw = np.exp(sd * rng.standard_normal(2000))[order]
    ranked, weights = np.take_along_axis(x, order, axis=0), raw / raw.sum(axis=0)
    scale, heavy = spread(ranked, weights)
    for j in range(x.shape[1]):
        alone = spread(ranked[:, [j]], weights[:, [j]])
        np.testing.assert_allclose(alone[0], scale[j], rtol=1e-12)
        assert alone[1] == heavy[j]
    assert heavy.any()
    assert not heavy[5:].any()


def test_levels_between_two_points_are_interpolated():
    x = np.sort(np.random.default_rng(7).standard_cauchy((4001, 1)), axis=0)
    weights = np.random.default_rng(8).dirichlet(np.ones(4001))[:, None]
    scale, heavy = spread(x, weights)
    low, high = np.interp([0.1587, 0.8413], np.cumsum(weights), x[:, 0])
    assert heavy[0]
    assert scale[0] == pytest.approx((high - low) / 2, rel=1e-12)


def test_errors_without_their_noise():
    error = np.array([5.0, 1.0, 0.0, 5e200, 1e-300, np.inf, np.inf, np.nan, 2.0])
    noise = np.array([3.0, 2.0, 0.0, 3e200, 1.0, 1.0, np.inf, 1.0, np.inf])
    expected = [4.0, 0.0, 0.0, 4e200, 0.0, np.inf, np.inf, np.nan, 0.0]
    np.testing.assert_allclose(without_noise(error, noise), expected, rtol=1e-14)
