import numpy as np
import pytest
from comparison_cases import autocorrelated, nuts, run
from scipy.stats import wasserstein_distance

from stanrovi.grading import distances as module
from stanrovi.grading.distances import pair_yardstick, yardstick
from stanrovi.grading.findings import examine
from stanrovi.grading.verdicts import exceeds, wrong_sd


def named(count):
    return tuple(f"p[{i + 1}]" for i in range(count))


@pytest.mark.parametrize("count", [1, 6])
def test_equal_distributions_stay_within_the_noise_floor(count):
    rng = np.random.default_rng(10 + count)
    within = 0
    for _ in range(200):
        reference = rng.normal(size=(4, 125, count))
        result = yardstick(reference, named(count), rng).distances(rng.normal(size=(1, 500, count)))
        within += bool((result.w1 <= result.floor).all())
    assert within >= 190


def test_floor_holds_for_an_autocorrelated_reference():
    rng = np.random.default_rng(3)
    within = 0
    for _ in range(60):
        reference = autocorrelated(rng, 4, 500, 3, 0.7)
        result = yardstick(reference, named(3), rng).distances(rng.normal(size=(1, 2000, 3)))
        within += bool((result.w1 <= result.floor).all())
    assert within >= 57


@pytest.mark.parametrize(("shift", "scale"), [(0.2, 1.0), (0.0, 0.8), (0.0, 1.2)])
def test_small_errors_are_flagged_at_4000_draws(shift, scale):
    rng = np.random.default_rng(4)
    flagged = 0
    for _ in range(40):
        draws = shift + scale * rng.normal(size=(1, 4000, 5))
        flagged += exceeds(
            yardstick(rng.normal(size=(4, 1000, 5)), named(5), rng).distances(draws)
        ).all()
    assert flagged >= 38


def test_distances_measure_what_they_say():
    rng = np.random.default_rng(5)
    scale, location = np.array([1e-3, 1.0, 1e4]), np.array([0.0, -7.0, 1e6])
    reference = location + scale * rng.normal(size=(4, 1000, 3))
    draws = location + scale * (0.5 + 0.7 * rng.normal(size=(1, 4000, 3)))
    result = yardstick(reference, named(3), rng).distances(draws)
    error = 4 * np.sqrt(1 / 4000 + 1 / 4000)
    np.testing.assert_allclose(result.mean_error, 0.5, atol=error)
    np.testing.assert_allclose(result.sd_ratio, 0.7, atol=error)
    assert (result.w1 >= np.abs(result.mean_error) - 1e-12).all()
    np.testing.assert_allclose(result.floor, result.floor[1], rtol=0.25)


def test_floor_shrinks_with_the_draws():
    rng = np.random.default_rng(6)
    small, large = rng.normal(size=(4, 100, 2)), rng.normal(size=(4, 1600, 2))
    ratio = yardstick(small, named(2), rng).floor(400) / yardstick(large, named(2), rng).floor(6400)
    np.testing.assert_allclose(ratio, 4, rtol=0.25)


def test_pairs_see_a_missing_correlation_that_marginals_cannot():
    rng = np.random.default_rng(7)
    cov = np.array([[1, 0.9, 0], [0.9, 1, 0], [0, 0, 1]])
    reference = rng.multivariate_normal(np.zeros(3), cov, size=(4, 1000))
    draws = rng.normal(size=(1, 4000, 3))
    marginals = yardstick(reference, named(3), rng).distances(draws)
    measure = pair_yardstick(reference, named(3), rng)
    pairs = measure.distances(draws)
    assert not exceeds(marginals).any()
    worst = int(pairs.w1.argmax())
    assert pairs.names[worst] == "p[1] - p[2]"
    assert pairs.sd_ratio[worst] == pytest.approx(np.sqrt(2 / 0.2), rel=0.1)
    assert pairs.w1[worst] > 5 * pairs.floor[worst]
    good = measure.distances(rng.multivariate_normal(np.zeros(3), cov, size=(1, 4000)))
    assert (good.w1 <= good.floor).all()


def test_pairs_of_one_or_of_identical_parameters():
    rng = np.random.default_rng(8)
    one = rng.normal(size=(4, 200, 1))
    assert pair_yardstick(one, named(1), rng) is None
    twins = np.repeat(one, 2, axis=2)
    assert pair_yardstick(twins, named(2), rng).distances(twins).names == ("p[1] + p[2]",)


@pytest.mark.parametrize("df", [2.2, 3.0, 30.0])
def test_sds_of_heavy_tails_differ_by_chance(df):
    """Where the kurtosis is infinite, that of a sample promises more than its sd can keep."""
    rng = np.random.default_rng(31)
    wrong = 0
    for _ in range(60):
        reference, mine = rng.standard_t(df, (4, 500, 1)), rng.standard_t(df, (1, 2000, 1))
        wrong += bool(wrong_sd(yardstick(reference, named(1), rng).distances(mine)).any())
    assert wrong <= 6


def test_a_wrong_sd_of_light_tails_is_seen_all_the_same():
    rng = np.random.default_rng(32)
    reference, mine = rng.normal(size=(4, 500, 1)), 0.75 * rng.normal(size=(1, 2000, 1))
    assert wrong_sd(yardstick(reference, named(1), rng).distances(mine)).all()


@pytest.mark.parametrize("size", [400, 401, 90, 1])
def test_distances_are_those_of_scipy(size):
    rng = np.random.default_rng(33)
    reference = rng.standard_cauchy(size=(4, 100, 4))
    draws = rng.normal(size=(1, size, 4))
    draws[..., 1] = np.round(draws[..., 1])
    reference[..., 1:] = np.round(reference[..., 1:])
    found = yardstick(reference, named(4), rng).distances(draws)
    flat, mine = reference.reshape(-1, 4), draws.reshape(-1, 4)
    w1 = [wasserstein_distance(a, b) for a, b in zip(mine.T, flat.T, strict=True)]
    np.testing.assert_allclose(found.w1, w1 / flat.std(axis=0), rtol=1e-10)


def test_the_reference_is_split_once_for_all_fits(monkeypatch):
    splits = []
    half_distances = module._half_distances

    def counted(thinned, rng):
        splits.append(thinned.shape[1])
        return half_distances(thinned, rng)

    monkeypatch.setattr(module, "_half_distances", counted)
    rng = np.random.default_rng(34)
    fits = {name: run(name, rng.normal(size=(1, 400, 2))) for name in ("one", "two", "three")}
    examine(fits, nuts(rng.normal(size=(4, 100, 2))))
    assert splits == [2, 2]  # marginals, and the slices of one pair
