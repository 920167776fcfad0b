"""Contours enclose their share of the draws, and smear neither modes nor bounds."""

import numpy as np
import pytest

from stanrovi.plots.contours import heights, surfaces

SHARES = (0.9, 0.5)


def enclosed(found, shares=SHARES):
    """Share of the estimated mass above each height."""
    return [
        sum(np.nansum(one.density[one.density >= height]) * one.cell for one in found)
        for height in heights(found, shares)
    ]


def extent(found, share=0.9):
    """Width and height of the contour of a share, for each surface that it crosses."""
    level = heights(found, [share])[0]
    above = [(one.x[one.density >= level], one.y[one.density >= level]) for one in found]
    return [(np.ptp(x), np.ptp(y)) for x, y in above if x.size]


def test_a_narrow_ridge_keeps_its_width_and_contours_their_share():
    x, y = np.random.default_rng(11).normal(size=(2, 20_000))
    y = 50 * (x + 0.02 * y)
    (one,) = surfaces(x, y)
    density = np.nan_to_num(one.density)
    across = (density * (one.y / 50 - one.x) ** 2).sum() / density.sum()
    assert np.sqrt(across) == pytest.approx(0.02, rel=0.05)
    assert density.sum() * one.cell == pytest.approx(1, abs=0.02)
    assert enclosed([one]) == pytest.approx([0.9, 0.5], abs=0.02)
    area = [(density >= height).sum() for height in heights([one], SHARES)]
    # Discs that hold 90% and 50% of a Gaussian have areas as log 10 to log 2.
    assert area[0] / area[1] == pytest.approx(np.log(10) / np.log(2), rel=0.1)


def test_points_on_a_line_have_no_surface():
    x = np.random.default_rng(0).normal(size=500)
    assert surfaces(x, 3 * x) is None
    assert surfaces(x, np.zeros(500)) is None


@pytest.mark.parametrize("weight", [0.5, 0.15])
def test_a_narrow_mode_beside_a_wide_one_is_not_smeared(weight):
    rng = np.random.default_rng(1)
    narrow = rng.random((4000, 1)) < weight
    points = np.where(narrow, 6 + 0.1 * rng.normal(size=(4000, 2)), rng.normal(size=(4000, 2)))
    found = surfaces(*points.T)
    assert len(found) == 2
    assert enclosed(found) == pytest.approx([0.9, 0.5], abs=0.02)
    wide, small = sorted(extent(found), reverse=True)
    assert 3.5 < wide[0] < 5
    assert 0.4 < small[0] < 0.8


def test_modes_that_only_their_principal_axes_part_are_told_apart():
    rng = np.random.default_rng(2)
    along = np.where(rng.random(4000) < 0.5, 1, -1) * 1.3 + 0.15 * rng.normal(size=4000)
    across = rng.normal(size=4000)
    found = surfaces(3 * along + 4 * across, 3 * along - 4 * across)
    assert len(found) == 2


def test_the_arms_of_a_banana_stay_narrow():
    rng = np.random.default_rng(3)
    a = rng.normal(size=4000)
    b = a**2 + 0.15 * rng.normal(size=4000)
    (one,) = surfaces(a, b)
    density = np.nan_to_num(one.density)
    arm = np.abs(one.x) < 1.5
    spread = (density * (one.y - one.x**2) ** 2)[arm].sum() / density[arm].sum()
    assert np.sqrt(spread) < 0.27


def test_the_neck_of_a_funnel_stays_narrow():
    rng = np.random.default_rng(4)
    y = 3 * rng.normal(size=4000)
    found = surfaces(y, np.exp(y / 2) * rng.normal(size=4000))
    level = heights(found, [0.9])[0]
    necks = [np.abs(one.y[(one.density >= level) & (one.x < -2)]).max(initial=0) for one in found]
    assert max(necks) < 4  # the funnel is some hundred wide


def test_density_ends_at_a_bound_and_is_not_lost_there():
    x, y = np.random.default_rng(5).exponential(size=(2, 6000))
    (one,) = surfaces(x, y)
    outside = (one.x < 0) | (one.y < 0)
    assert np.isnan(one.density[outside]).all()
    assert np.nansum(one.density) * one.cell == pytest.approx(1, abs=0.03)
    corner = (one.x > 0) & (one.x < 0.1) & (one.y > 0) & (one.y < 0.1)
    assert np.nanmean(one.density[corner]) == pytest.approx(0.9, abs=0.15)


def test_a_few_strays_between_modes_do_not_count():
    rng = np.random.default_rng(6)
    mode = np.repeat([[0.0, 0.0], [9.0, 9.0]], 1000, axis=0)
    points = np.concatenate([mode + rng.normal(size=(2000, 2)), [[0.0, 9.0]] * 5])
    assert len(surfaces(*points.T)) == 2
