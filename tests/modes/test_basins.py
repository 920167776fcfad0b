"""Whose a draw is: one definition for fits, runs and chains."""

import numpy as np
import pytest

from stanrovi.families.axes import DenseAxes
from stanrovi.modes.basins import (
    Mode,
    Peak,
    basin_labels,
    basin_shares,
    common_axes,
    local_evidence,
    shares,
    with_common_axes,
)


def mode(position, covariance, weight=0.5, log_density=0.0):
    axes = DenseAxes.of_covariance(np.array(covariance, dtype=float))
    return Mode(
        position=np.array(position, dtype=float), log_density=log_density, axes=axes, weight=weight
    )


def test_a_draw_belongs_to_the_densest_weighted_gaussian():
    narrow, wide = mode([0.0], [[0.01]]), mode([1.0], [[4.0]])
    x = np.array([[0.05], [-0.6], [0.6], [5.0], [-5.0]])
    np.testing.assert_array_equal(basin_labels([narrow, wide], x), [0, 1, 1, 1, 1])
    heavy = mode([-1.0], [[1.0]], weight=0.99), mode([1.0], [[1.0]], weight=0.01)
    np.testing.assert_array_equal(basin_labels(heavy, np.array([[1.0], [3.0]])), [0, 1])


def test_shares_are_of_all_draws():
    modes = [mode([-3.0, 0.0], np.eye(2)), mode([3.0, 0.0], np.eye(2))]
    x = np.array([[-3.0, 1.0], [3.0, 1.0], [2.0, 0.0], [4.0, 9.0]])
    np.testing.assert_array_equal(basin_shares(modes, x), [0.25, 0.75])
    np.testing.assert_array_equal(shares(np.array([[0, 0], [2, 0]]), 3), [0.75, 0, 0.25])


def test_evidence_is_exact_for_a_normal():
    covariance = np.array([[2.0, 0.5], [0.5, 1.0]])
    height = -np.log(2 * np.pi) - 0.5 * np.linalg.slogdet(covariance)[1]
    found = local_evidence(mode([0.0, 0.0], covariance, log_density=height))
    assert found == pytest.approx(-np.log(2 * np.pi))


def test_sd_and_covariance_are_those_of_the_axes():
    found = mode([0.0, 0.0], [[4.0, 1.0], [1.0, 9.0]])
    np.testing.assert_allclose(found.sd, [2.0, 3.0])
    np.testing.assert_allclose(found.covariance, [[4.0, 1.0], [1.0, 9.0]])


def test_peaks_without_widths_take_those_of_the_draws_around_them():
    """Along a ridge, standard deviations would give draws to the mode beside it."""
    rng = np.random.default_rng(0)
    covariance = [[1, 0.98], [0.98, 1]]
    ridge = rng.multivariate_normal([0, 0], covariance, size=4000)
    truth = rng.random(4000) < 0.4
    x = ridge + 2 * np.outer(truth, [1, 0])
    peaks = [
        Peak(position=np.zeros(2), log_density=0.0, weight=0.6),
        Peak(position=np.array([2.0, 0.0]), log_density=0.0, weight=0.4),
    ]
    modes = with_common_axes(peaks, x)
    np.testing.assert_array_equal(basin_labels(modes, x), truth)
    np.testing.assert_allclose(modes[0].covariance, covariance, atol=0.08)
    assert modes[1].weight == 0.4


def test_few_draws_count_by_their_standard_deviations_alone():
    rng = np.random.default_rng(1)
    axes = common_axes(rng.standard_normal((10, 30)) * np.linspace(1, 3, 30))
    covariance = axes.covariance()
    np.testing.assert_array_equal(covariance, np.diag(np.diag(covariance)))
