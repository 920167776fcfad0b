import numpy as np
import pytest

from stanrovi.families.pieces import Intervals, Lines, Pieces


@pytest.mark.parametrize(("c", "n"), [(3, 5), (20, 5), (3, 500), (20, 500)])
@pytest.mark.parametrize("crowded", [False, True])
def test_intervals_are_those_of_a_search(c, n, crowded):
    rng = np.random.default_rng(c * n)
    knots = np.sort(rng.standard_normal((c + 2, 129)) ** (9 if crowded else 1), axis=1)
    points = rng.standard_normal((c, n)) * 2
    points[:, :3] = knots[2:, [0, 64, 128]]  # a point at a knot lies after it
    points[:, 3], points[:, 4] = 1e300, -np.inf
    expected = [np.searchsorted(knots[2 + i], points[i], "right") for i in range(c)]
    np.testing.assert_array_equal(Intervals(knots).of(points, 2), expected)


def test_a_point_that_is_no_number_lies_in_some_interval_and_stays_none():
    z = np.tile(np.linspace(-4, 4, 129), (2, 1))
    pieces = Pieces(z, 2 * z, np.full(z.shape, 2.0))
    points = np.full((100, 2), np.nan)
    assert np.isnan(pieces.at(points, "value")[0]).all()
    assert np.isnan(pieces.at_value(points, "z")[0]).all()


def test_lines_are_pieces_of_equal_slopes():
    z = np.tile(np.linspace(-4, 4, 9), (2, 1))
    location, scale = np.array([1.0, -2.0]), np.array([0.5, 3.0])
    lines = Lines(location, scale)
    pieces = Pieces(z, location[:, None] + scale[:, None] * z, np.tile(scale[:, None], (1, 9)))
    points = np.random.default_rng(0).standard_normal((2000, 2)) * 4
    for method in ("at", "at_value"):
        parts = ("z", "value", "log_slope", "score")
        for mine, other in zip(
            getattr(lines, method)(points, *parts),
            getattr(pieces, method)(points, *parts),
            strict=True,
        ):
            np.testing.assert_allclose(mine, other, rtol=1e-12, atol=1e-12)
    expected = pieces.expectations()
    for name, value in vars(lines.expectations()).items():
        np.testing.assert_allclose(value, getattr(expected, name), rtol=1e-6)


def test_points_in_many_blocks_are_those_one_by_one():
    rng = np.random.default_rng(1)
    z, y = np.cumsum(rng.uniform(0.05, 0.2, (2, 7, 129)), axis=2) - 8.0
    pieces = Pieces(z, y, rng.uniform(0.5, 2.0, z.shape))
    points = rng.standard_normal((5000, 7)) * 5
    parts = ("z", "value", "log_slope", "score")
    whole = pieces.at_value(points, *parts)
    few = np.array([0, 17, 4999])
    for mine, other in zip(pieces.at_value(points[few], *parts), whole, strict=True):
        np.testing.assert_array_equal(mine, other[few])
