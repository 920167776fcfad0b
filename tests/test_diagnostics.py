import re

import numpy as np
import pytest
from comparison_cases import nuts, run

from stanrovi.diagnostics.reference import check_draws, check_reference
from stanrovi.diagnostics.statistics import effective_sizes, varying
from stanrovi.draws import Draws
from stanrovi.errors import DrawsError
from stanrovi.grading.distances import distances, noise_floor, pair_distances
from stanrovi.grading.verdicts import exceeds


def named(count):
    return tuple(f"p[{i + 1}]" for i in range(count))


def autocorrelated(rng, chains, draws, count, rho):
    noise = rng.normal(size=(chains, draws, count))
    out = noise.copy()
    for i in range(1, draws):
        out[:, i] = rho * out[:, i - 1] + np.sqrt(1 - rho**2) * noise[:, i]
    return out


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


def test_effective_sizes_are_capped_and_see_autocorrelation():
    rng = np.random.default_rng(9)
    values = np.concatenate(
        [autocorrelated(rng, 4, 1000, 1, rho) for rho in (0.9, 0.0, -0.9)], axis=2
    )
    sizes = effective_sizes(values)
    assert 100 < sizes[0] < 450 < 3000 < sizes[1] <= 4000
    assert sizes[2] <= 4000


def check(values, **options):
    return check_reference(nuts(values, **options), values, named(values.shape[2]))


def test_a_good_reference_is_trusted():
    result = check(np.random.default_rng(1).normal(size=(4, 500, 3)), divergent=1)
    assert result.trusted
    assert result.rhat_max < 1.01
    assert "1 divergence." in result.reason


@pytest.mark.parametrize(
    ("chains", "shift", "divergent", "message"),
    [
        (4, 1.0, 0, r"chains disagree: rank R-hat is 1\.\d+ for p\[2\]"),
        (1, 0.0, 0, "single chain cannot be checked"),
        (4, 0.0, 25, "25 of 2000 transitions diverged; raise adapt_delta \\(--adapt-delta"),
    ],
)
def test_a_bad_reference_is_not(chains, shift, divergent, message):
    values = np.random.default_rng(2).normal(size=(chains, 500, 3))
    values[0, :, 1] += shift
    result = check(values, divergent=divergent)
    assert not result.trusted
    assert re.search(message, result.reason)


def test_an_r_hat_hardly_above_the_limit_reads_as_above():
    normal = np.random.default_rng(2).normal(size=(4, 500, 1))
    digits = set()
    for shift in np.linspace(0.2, 0.4, 81):
        values = normal.copy()
        values[0] += shift
        result = check(values)
        if not result.trusted and result.rhat_max < 1.015:
            told = re.search(r"R-hat is ([\d.]+) for", result.reason)[1]
            assert float(told) > 1.01
            assert float(told) == pytest.approx(result.rhat_max, abs=0.5 * 10.0 ** -len(told[2:]))
            digits.add(len(told[2:]))
    assert 3 in digits


def test_a_frozen_chain_and_a_short_run_are_not_trusted():
    values = np.random.default_rng(2).normal(size=(4, 500, 1))
    values[2] = 0.3
    assert not check(values).trusted
    short = np.random.default_rng(2).normal(size=(4, 12, 1))
    assert not check(short).trusted


def test_divergences_that_a_file_leaves_open_do_not_count():
    values = np.random.default_rng(2).normal(size=(4, 500, 1))
    diverging = np.full((4, 500), np.nan)
    diverging[0, 0] = 1
    reference = run("nuts", values, stats={"diverging": diverging})
    assert check_reference(reference, values, named(1)).divergences == 1


def test_number_reads_attributes():
    x = {"x": np.zeros((1, 2))}
    assert Draws("vi", x, ("x",), attrs={"a": "1.5"}).number("a") == 1.5
    assert np.isnan(Draws("vi", x, ("x",), attrs={"a": "x"}).number("a"))
    assert np.isnan(Draws("vi", x, ("x",)).number("a"))


def test_what_only_rounding_moves_is_constant():
    """Ones of a correlation matrix, off by a bit in one chain, have no R-hat of their own."""
    values = np.random.default_rng(23).normal(size=(4, 500, 3)) * [1.0, 1e-9, 1e9]
    values[..., 1] += 1
    ones = np.ones((4, 500, 1))
    ones[0] += np.finfo(float).eps
    both = np.concatenate([values, ones], axis=-1)
    np.testing.assert_array_equal(varying(both), [True, True, True, False])
    checked, alone = (check_draws(Draws("nuts", {"R": x}, ("R",))) for x in (both, values))
    assert checked.rhat_max == alone.rhat_max < 1.01
    with pytest.raises(DrawsError, match="constant"):
        check_draws(Draws("nuts", {"R": ones}, ("R",)))
