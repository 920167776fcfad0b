import numpy as np
import pytest

from stanrovi.diagnostics.pareto import fit_tail, tail_size
from stanrovi.diagnostics.statistics import psis_khat, psis_weights
from stanrovi.io.generations import import_arviz, is_legacy


def arviz(log_ratios):
    """Pareto-smoothed weights and k-hat by ArviZ, of either generation."""
    with np.errstate(all="ignore"):
        if is_legacy():
            smoothed, khat = import_arviz().psislw(log_ratios)
        else:
            from arviz_stats.base import array_stats

            # ArviZ 1.x takes the negative of the log ratios, as loo has log likelihoods.
            smoothed, khat = array_stats.psislw(-log_ratios)
    weights = np.exp(smoothed - smoothed.max())
    return weights / weights.sum(), float(khat)


# Sizes of which both generations take the same tail: ArviZ 1.x rounds it down.
@pytest.mark.parametrize("n", [50, 100, 400, 2500, 10_000])
@pytest.mark.parametrize("scale", [0.02, 0.3, 1, 3, 30])
@pytest.mark.parametrize("kind", ["standard_normal", "standard_exponential", "standard_cauchy"])
def test_weights_and_shape_are_those_of_arviz(kind, scale, n):
    values = getattr(np.random.default_rng(n), kind)(n)
    ratios = 40 + scale * 10 * np.arctan(values / 10)  # within what exp() can tell apart
    expected, khat = arviz(ratios)
    weights, found = psis_weights(ratios)
    if np.isfinite(khat) and np.isfinite(expected).all():
        assert found == pytest.approx(khat, rel=1e-10, abs=1e-10)
        np.testing.assert_allclose(weights, expected, rtol=1e-9, atol=1e-300)
    else:
        assert not np.isfinite(found)


def test_a_light_tail_is_that_of_arviz_too():
    ratios = np.log(np.random.default_rng(3).random(2500))
    expected, khat = arviz(ratios)
    weights, found = psis_weights(ratios)
    assert found == pytest.approx(khat, rel=1e-10)
    assert found < 0
    np.testing.assert_allclose(weights, expected, rtol=1e-9)


def test_the_tail_is_the_largest_ratios_and_needs_five():
    ratios = np.random.default_rng(4).normal(size=1000)
    tail = fit_tail(ratios)
    assert tail_size(1000) == len(tail.rows) == 95
    np.testing.assert_array_equal(tail.rows, np.argsort(ratios)[-95:])
    # Expected and found ratios agree in the middle of a tail, where the fit is best.
    middle = ratios[tail.rows][40:60] - ratios.max()
    np.testing.assert_allclose(tail.log_expected()[40:60], middle, atol=0.1)
    tied = np.where(np.arange(1000) < 4, 1.0, 0.0)
    assert fit_tail(tied).shape == psis_khat(tied) == np.inf
