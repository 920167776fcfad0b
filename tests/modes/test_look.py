import numpy as np
from targets import gaussian_mixture

from stanrovi.modes.look import look_again
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
    return look_again(target, modes, first, rng, most_gradients=1000), target


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
    assert target.n_gradients <= 300


def test_it_begins_where_it_is_told_to():
    near = [m for m in known(FAR) if np.linalg.norm(m.position) < 1]
    found, target = look(FAR, near, np.full((2, 4), 38.0))
    assert len(found) == 1
    assert target.n_gradients < 200


def test_a_spent_budget_ends_it():
    found, _ = look(ONE, known(ONE), max_gradients=10)
    assert found == ()
