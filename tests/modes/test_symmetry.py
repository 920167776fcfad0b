from itertools import permutations

import numpy as np
import pytest
from targets import gaussian_mixture

from stanrovi.densities import FunctionDensity
from stanrovi.families.axes import DiagonalAxes
from stanrovi.modes.basins import Mode
from stanrovi.modes.search import search_modes
from stanrovi.modes.symmetry import exchanged, images, symmetries
from stanrovi.target import Target

X = ("x[1]", "x[2]", "x[3]")


def labels(levels=(-6.0, 0.0, 6.0)):
    means = [np.array(order) for order in permutations(levels)]
    return gaussian_mixture(np.full(6, 1 / 6), means, [0.5 * np.eye(3)] * 6)


def mirrored():
    """Two blocks of one sign each, turned together: ``(a, b) -> (-a, -b)``; c stands apart."""
    means = [np.array([2.0, 3.0, 1.0]), np.array([-2.0, -3.0, 1.0])]
    return gaussian_mixture([0.5, 0.5], means, [np.diag([0.25, 0.25, 1.0])] * 2)


def modes_of(density, seed=0):
    found = search_modes(Target(density), np.random.default_rng(seed)).modes
    points = np.concatenate([m.position + 0.3 * np.eye(3) @ [1.0, -0.7, 0.4] for m in found])
    return found, points.reshape(-1, 3)


def found_in(density, modes, points, names=X):
    return symmetries(Target(density), modes, points, names)


def test_one_mode_of_six_promises_the_other_five():
    modes, points = modes_of(labels())
    one = modes[:1]
    promised = list(images(one, found_in(labels(), one, points)))
    assert len(promised) == 5
    assert all("exchanged" in image.symmetry.told(X) for image in promised)
    places = {tuple(image.position.round(1)) for image in promised}
    assert len(places | {tuple(one[0].position.round(1))}) == 6


def test_all_six_promise_nothing_more_and_are_images_of_one_another():
    modes, points = modes_of(labels())
    assert len(modes) == 6
    found = found_in(labels(), modes, points)
    assert not list(images(modes, found))
    assert {k for pair in exchanged(modes, found) for k in pair} == set(range(6))


def test_signs_that_turn_together_are_read_off_two_modes():
    modes, points = modes_of(mirrored())
    assert len(modes) == 2
    found = found_in(mirrored(), modes, points)
    assert [g.told(("a", "b", "c")) for g in found] == ["the sign of a, b turned"]
    assert list(exchanged(modes, found)) == [(0, 1)]


def test_no_symmetry_is_made_up():
    density = gaussian_mixture([0.6, 0.4], [np.zeros(3), np.full(3, 5.0)], [np.eye(3)] * 2)
    modes, points = modes_of(density)
    assert found_in(density, modes, points) == ()


def test_a_symmetry_that_leaves_its_mode_alone_is_of_no_use():
    density = gaussian_mixture([1.0], [np.zeros(3)], [np.eye(3)])
    modes, points = modes_of(density)
    assert found_in(density, modes, points) == ()


@pytest.mark.parametrize("names", [("mu.1", "mu.2", "share"), ("mu[1]", "mu[2]", "share")])
def test_two_labels_and_the_logit_of_their_share_turn_together(names):
    """What a two-component mixture looks like on unconstrained space."""
    means = [np.array([-3.0, 3.0, 0.8]), np.array([3.0, -3.0, -0.8])]
    density = gaussian_mixture([0.5, 0.5], means, [np.eye(3) / 4] * 2)
    modes, points = modes_of(density)
    one = modes[:1]
    promised = list(images(one, found_in(density, one, points, names)))
    assert len(promised) == 1
    told = promised[0].symmetry.told(names)
    assert told == f"{names[0]} and {names[1]} exchanged and the sign of share turned"


def test_without_modes_there_is_nothing_to_find():
    assert found_in(labels(), (), np.zeros((5, 3))) == ()


def test_the_signs_of_whole_variables_are_turned_together():
    """Loadings and factors: all of both change their sign, not the scale beside them."""
    names = ("l.1", "l.2", "f.1", "f.2", "f.3", "s")

    def function(x):
        table = x[:, :2, None] * x[:, None, 2:5]
        off = table - np.outer([1.0, -0.5], [0.8, 1.2, -1.0])
        value = -0.5 * (off**2).sum(axis=(1, 2)) - 0.5 * (x[:, 5] - 1) ** 2
        return value, np.zeros_like(x)

    place = np.array([1.0, -0.5, 0.8, 1.2, -1.0, 1.0])
    mode = Mode(position=place, log_density=0.0, axes=DiagonalAxes(np.full(6, 0.1)))
    points = place + 0.1 * np.random.default_rng(0).standard_normal((5, 6))
    (found,) = symmetries(Target(FunctionDensity(function, 6)), (mode,), points, names)
    assert found.sign.tolist() == [-1, -1, -1, -1, -1, 1]
    assert found.order.tolist() == list(range(6))
