import numpy as np
import pytest
from scipy.stats import qmc

from stanrovi.families import sobol
from stanrovi.families.base import base_draws
from stanrovi.families.sobol import MAX_DIM, scrambled_sobol

# 4096 points in a thousand dimensions, and more digits than there are numbers to begin with.
SHAPES = [(1, 1), (2, 3), (7, 10), (11, 300), (12, 1000), (20, 2), (1, MAX_DIM)]


@pytest.mark.parametrize(("exponent", "dim"), SHAPES)
def test_the_points_are_those_of_scipy(exponent, dim):
    mine, theirs = np.random.default_rng(dim), np.random.default_rng(dim)
    for _ in range(2):  # each call scrambles anew
        points = scrambled_sobol(exponent, dim, mine)
        expected = qmc.Sobol(dim, rng=theirs).random_base2(exponent)
        np.testing.assert_array_equal(points, expected)
        assert points.flags.c_contiguous  # sums over the points are bitwise the same, too
    assert mine.random() == theirs.random()


def test_without_its_file_scipy_draws_them(monkeypatch, tmp_path):
    expected = scrambled_sobol(5, 4, np.random.default_rng(1))
    monkeypatch.setattr(sobol, "_NUMBERS", tmp_path / "none.npz")
    sobol._direction_digits.cache_clear()
    sobol._direction_numbers.cache_clear()
    np.testing.assert_array_equal(scrambled_sobol(5, 4, np.random.default_rng(1)), expected)


def test_beyond_sobol_draws_come_in_opposite_pairs():
    z = base_draws(5, MAX_DIM + 1, np.random.default_rng(2))
    assert z.shape == (5, MAX_DIM + 1)
    np.testing.assert_array_equal(z[:2], -z[3:])
    assert abs(z[0].std() - 1) < 5 / np.sqrt(2 * MAX_DIM)
