import numpy as np
import pytest
from comparison_cases import autocorrelated

from stanrovi.grading.distances import distances, noise_floor, pair_distances
from stanrovi.grading.verdicts import exceeds, wrong_sd


def named(count):
    return tuple(f"p[{i + 1}]" for i in range(count))


@pytest.mark.parametrize("count", [1, 6])
def test_equal_distributions_stay_within_the_noise_floor(count):
    rng = np.random.default_rng(10 + count)
    within = 0
    for _ in range(200):
        reference = rng.normal(size=(4, 125, count))
        result = distances(rng.normal(size=(1, 500, count)), reference, named(count), rng)
        within += bool((result.w1 <= result.floor).all())
    assert within >= 190


def test_floor_holds_for_an_autocorrelated_reference():
    rng = np.random.default_rng(3)
    within = 0
    for _ in range(60):
        reference = autocorrelated(rng, 4, 500, 3, 0.7)
        result = distances(rng.normal(size=(1, 2000, 3)), reference, named(3), rng)
        within += bool((result.w1 <= result.floor).all())
    assert within >= 57


@pytest.mark.parametrize(("shift", "scale"), [(0.2, 1.0), (0.0, 0.8), (0.0, 1.2)])
def test_small_errors_are_flagged_at_4000_draws(shift, scale):
    rng = np.random.default_rng(4)
    flagged = 0
    for _ in range(40):
        draws = shift + scale * rng.normal(size=(1, 4000, 5))
        flagged += exceeds(distances(draws, rng.normal(size=(4, 1000, 5)), named(5), rng)).all()
    assert flagged >= 38


def test_distances_measure_what_they_say():
    rng = np.random.default_rng(5)
    scale, location = np.array([1e-3, 1.0, 1e4]), np.array([0.0, -7.0, 1e6])
    reference = location + scale * rng.normal(size=(4, 1000, 3))
    draws = location + scale * (0.5 + 0.7 * rng.normal(size=(1, 4000, 3)))
    result = distances(draws, reference, named(3), rng)
    error = 4 * np.sqrt(1 / 4000 + 1 / 4000)
    np.testing.assert_allclose(result.mean_error, 0.5, atol=error)
    np.testing.assert_allclose(result.sd_ratio, 0.7, atol=error)
    assert (result.w1 >= np.abs(result.mean_error) - 1e-12).all()
    np.testing.assert_allclose(result.floor, result.floor[1], rtol=0.25)


def test_floor_shrinks_with_the_draws():
    rng = np.random.default_rng(6)
    small, large = rng.normal(size=(4, 100, 2)), rng.normal(size=(4, 1600, 2))
    ratio = noise_floor(small, np.full(2, 400.0), 400, rng) / noise_floor(
        large, np.full(2, 6400.0), 6400, rng
    )
    np.testing.assert_allclose(ratio, 4, rtol=0.25)


def test_pairs_see_a_missing_correlation_that_marginals_cannot():
    rng = np.random.default_rng(7)
    cov = np.array([[1, 0.9, 0], [0.9, 1, 0], [0, 0, 1]])
    reference = rng.multivariate_normal(np.zeros(3), cov, size=(4, 1000))
    draws = rng.normal(size=(1, 4000, 3))
    marginals = distances(draws, reference, named(3), rng)
    pairs = pair_distances(draws, reference, named(3), rng)
    assert not exceeds(marginals).any()
    worst = int(pairs.w1.argmax())
    assert pairs.names[worst] == "p[1] - p[2]"
    assert pairs.sd_ratio[worst] == pytest.approx(np.sqrt(2 / 0.2), rel=0.1)
    assert pairs.w1[worst] > 5 * pairs.floor[worst]
    good = pair_distances(
        rng.multivariate_normal(np.zeros(3), cov, size=(1, 4000)), reference, named(3), rng
    )
    assert (good.w1 <= good.floor).all()


def test_pairs_of_one_or_of_identical_parameters():
    rng = np.random.default_rng(8)
    one = rng.normal(size=(4, 200, 1))
    assert pair_distances(one, one, named(1), rng) is None
    twins = np.repeat(one, 2, axis=2)
    assert pair_distances(twins, twins, named(2), rng).names == ("p[1] + p[2]",)


@pytest.mark.parametrize("df", [2.2, 3.0, 30.0])
def test_sds_of_heavy_tails_differ_by_chance(df):
    """Where the kurtosis is infinite, that of a sample promises more than its sd can keep."""
    rng = np.random.default_rng(31)
    wrong = 0
    for _ in range(60):
        reference, mine = rng.standard_t(df, (4, 500, 1)), rng.standard_t(df, (1, 2000, 1))
        wrong += bool(wrong_sd(distances(mine, reference, named(1), rng)).any())
    assert wrong <= 6


def test_a_wrong_sd_of_light_tails_is_seen_all_the_same():
    rng = np.random.default_rng(32)
    reference, mine = rng.normal(size=(4, 500, 1)), 0.75 * rng.normal(size=(1, 2000, 1))
    assert wrong_sd(distances(mine, reference, named(1), rng)).all()
