import numpy as np
import pytest
from comparison_cases import autocorrelated
from scipy.stats import genpareto

from stanrovi.diagnostics.statistics import effective_sizes, ess, psis_khat, rhat


@pytest.mark.parametrize("k", [0.2, 0.5, 0.9])
def test_khat_of_a_known_tail_has_the_right_sign(k):
    # The estimator's standard error is about (1 + k) / sqrt(tail length), and the tail is
    # 3 sqrt(n) long; with the sign wrong, k-hat is near or above 1 for each of these.
    n = 100_000
    ratios = genpareto(k).rvs(n, random_state=np.random.default_rng(2))
    assert abs(psis_khat(np.log(ratios)) - k) < 4 * (1 + k) / np.sqrt(3 * np.sqrt(n))


def test_khat_corner_cases():
    rng = np.random.default_rng(0)
    normal = rng.normal(size=1000)
    assert np.isnan(psis_khat(normal[:24]))
    assert np.isfinite(psis_khat(normal[:30]))  # ArviZ 1.x gives NaN below 30
    assert psis_khat(np.r_[normal, np.nan]) == np.inf
    assert psis_khat(np.r_[normal, np.inf]) == np.inf
    assert psis_khat(np.r_[normal, [-np.inf] * 3]) == psis_khat(normal)


def test_khat_of_constant_ratios_is_zero_however_heavy_the_rounding():
    heavy = np.random.default_rng(1).standard_cauchy(1000)
    heavy /= heavy.std()
    assert psis_khat(0.009 * heavy) == 0
    assert psis_khat(0.011 * heavy) > 0.1


def test_ess_and_rhat_see_chains():
    rng = np.random.default_rng(4)
    values = rng.normal(size=(4, 500, 2))
    values[0, :, 1] += 3
    effective, scale = ess(values), rhat(values)
    assert effective[0] > 1500 > 50 > effective[1]
    assert scale[0] < 1.01 < 1.2 < scale[1]
    assert ess(values, "tail").shape == (2,)


def test_a_tail_too_steep_for_any_shape_has_an_infinite_one():
    ratios = 1000 * np.random.default_rng(14).exponential(size=2000)
    assert psis_khat(ratios) == np.inf


def test_effective_sizes_are_capped_and_see_autocorrelation():
    rng = np.random.default_rng(9)
    values = np.concatenate(
        [autocorrelated(rng, 4, 1000, 1, rho) for rho in (0.9, 0.0, -0.9)], axis=2
    )
    sizes = effective_sizes(values)
    assert 100 < sizes[0] < 450 < 3000 < sizes[1] <= 4000
    assert sizes[2] <= 4000
