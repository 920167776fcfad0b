import numpy as np
from targets import gaussian_mixture

from stanrovi.densities import FunctionDensity
from stanrovi.modes.look import _WAVES, look_again
from stanrovi.modes.search import search_modes
from stanrovi.target import Target

FAR = gaussian_mixture([0.7, 0.3], [np.zeros(4), np.full(4, 40.0)], [np.eye(4)] * 2)
ONE = gaussian_mixture([1.0], [np.zeros(4)], [np.eye(4)])
NONE = np.empty((0, 4))


def known(density):
    return search_modes(Target(density), np.random.default_rng(0)).modes


def look(density, modes, first=NONE, **limits):
    target = Target(density, **limits)
    rng = np.random.default_rng(1)
    return look_again(target, modes, first, rng, most_gradients=1000).modes, target


def test_a_mode_eighty_sds_away_is_found():
    near = [m for m in known(FAR) if np.linalg.norm(m.position) < 1]
    found, target = look(FAR, near)
    assert len(found) == 1
    np.testing.assert_allclose(found[0].position, 40.0, atol=1e-3)
    assert abs(found[0].weight - 0.3) < 0.01
    assert target.n_gradients < 1000


def test_where_there_is_no_other_a_look_costs_a_gradient_a_start():
    found, target = look(ONE, known(ONE))
    assert found == ()
    assert target.n_gradients == sum(_WAVES)


def test_it_begins_where_it_is_told_to():
    near = [m for m in known(FAR) if np.linalg.norm(m.position) < 1]
    found, target = look(FAR, near, np.full((2, 4), 38.0))
    assert len(found) == 1
    assert target.n_gradients < 200


def test_a_needle_on_the_shoulder_of_a_wide_mode_is_another_basin():
    """No dip lies before it, so that a search takes both for one."""
    place = np.array([0.7, 0.0, 0.0, 0.0])
    density = gaussian_mixture([0.8, 0.2], [np.zeros(4), place], [np.eye(4), 0.04 * np.eye(4)])
    wide = [m for m in known(ONE) if np.linalg.norm(m.position) < 0.1]
    found, _ = look(density, wide, place[None] + 0.3)
    assert len(found) == 1
    np.testing.assert_allclose(found[0].position, place, atol=0.05)


def test_a_density_that_overflows_far_out_makes_no_noise():
    """Warnings are errors in these tests, and a climb may begin anywhere."""

    def function(x):
        return -np.exp(np.abs(x)).sum(axis=1), -np.sign(x) * np.exp(np.abs(x))

    density = FunctionDensity(function, 2)
    modes = known(normal_near_zero())
    found = look_again(
        Target(density), modes, np.full((1, 2), 800.0), np.random.default_rng(0),
        most_gradients=500,
    )  # fmt: skip
    assert found.modes == ()


def normal_near_zero():
    return gaussian_mixture([1.0], [np.zeros(2)], [np.eye(2)])


def test_a_spent_budget_ends_it():
    found, _ = look(ONE, known(ONE), max_gradients=10)
    assert found == ()
