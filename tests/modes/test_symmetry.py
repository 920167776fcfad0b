from itertools import permutations

import numpy as np
import pytest
from targets import gaussian_mixture

from stanrovi.densities import FunctionDensity
from stanrovi.families.axes import DenseAxes, DiagonalAxes
from stanrovi.modes.basins import Mode, local_evidence
from stanrovi.modes.guesses import _elements_exchanged, guesses
from stanrovi.modes.search import search_modes
from stanrovi.modes.symmetry import exchanged, images, symmetries, with_orbits
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
    assert sum("exchanged" in image.symmetry.told(X) for image in promised) >= 4
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
    assert found.entries.toarray().tolist() == np.diag([-1, -1, -1, -1, -1, 1]).tolist()


def test_roundness_around_one_mode_is_no_symmetry_of_two():
    """Points around the first mode alone would prove every rotation."""
    density = gaussian_mixture([0.7, 0.3], [np.zeros(3), np.array([30.0, 9, 2])], [np.eye(3)] * 2)
    unit = DenseAxes(np.eye(3))
    heights = density.log_density_gradient(np.array([np.zeros(3), [30.0, 9, 2]]))[0]
    modes = tuple(
        Mode(position=np.array(at), log_density=float(value), axes=unit)
        for at, value in zip(([0.0, 0, 0], [30.0, 9, 2]), heights, strict=True)
    )
    points = np.random.default_rng(0).standard_normal((5, 3))
    assert found_in(density, modes, points) == ()


@pytest.mark.parametrize("size", [2, 3, 4])
def test_elements_of_a_simplex_are_exchanged_as_stan_describes_them(size):
    """Isometric log ratios turn when elements are exchanged."""
    rng = np.random.default_rng(size)
    basis = np.array(
        [[1.0 if i <= k else -(k + 1.0) if i == k + 1 else 0.0 for k in range(size - 1)]
         for i in range(size)]
    )  # fmt: skip
    basis /= np.linalg.norm(basis, axis=0)
    for i in range(size - 1):
        turned = _elements_exchanged(size, i)
        x = rng.standard_normal(size - 1)
        theta = np.exp(basis @ x)
        theta[[i, i + 1]] = theta[[i + 1, i]]
        np.testing.assert_allclose(basis.T @ np.log(theta), turned @ x, atol=1e-12)
        np.testing.assert_allclose(turned @ turned.T, np.eye(size - 1), atol=1e-12)


def test_indices_of_two_axes_are_exchanged_each_alone():
    """Columns of a matrix with a vector: components of a factor model."""
    names = (*(f"l.{p}.{k}" for p in (1, 2, 3) for k in (1, 2)), "s.1", "s.2")
    place = np.array([1.0, -4, 2, 5, 3, 0.5, 2.0, 7.0])
    mode = Mode(position=place, log_density=0.0, axes=DiagonalAxes(np.ones(8)))
    told = {g.told(names) for family in guesses([mode], names) for g in family}
    assert "l.1.1 and l.1.2, l.2.1 and l.2.2, l.3.1 and l.3.2, s.1 and s.2 exchanged" in told


def test_orbits_are_completed_with_exact_images():
    modes, points = modes_of(labels())
    found = found_in(labels(), modes[:1], points)
    whole = with_orbits(modes[:2], found)
    assert len(whole) == 6
    assert {m.orbit for m in whole} == {0}
    first = whole[0]
    assert first.symmetry is None
    for mode in whole[1:]:
        np.testing.assert_allclose(mode.symmetry.apply(first.position), mode.position)
        value, _ = labels().log_density_gradient(mode.position[None])
        assert value[0] == pytest.approx(first.log_density)
        assert local_evidence(mode) == pytest.approx(local_evidence(first))
    assert with_orbits(modes[:1], ())[0].orbit is None


def test_one_guess_stands_for_its_kind():
    """A long vector whose elements are not exchangeable costs one evaluation, not one each."""
    names = [f"{a}.{i}" for a in ("a", "b", "c") for i in range(1, 31)]
    mean = np.linspace(1, 5, 90)
    density = gaussian_mixture([1.0], [mean], [np.eye(90)])
    mode = Mode(position=mean, log_density=0.0, axes=DenseAxes(np.eye(90)))
    target = Target(density)
    assert symmetries(target, (mode,), mean + 0.3 * np.ones((1, 90)), names) == ()
    assert target.n_gradients < 40


def test_a_quarter_turn_without_a_mirror_is_found():
    """Four blades: turned by a right angle they are the same, mirrored they are not."""
    blade = np.array([[1.0, 0.6], [0.6, 1.0]])
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    means, covariances, at = [], [], np.array([6.0, 1.0])
    for _ in range(4):
        means, covariances = [*means, at], [*covariances, blade]
        at, blade = turn @ at, turn @ blade @ turn.T
    density = gaussian_mixture(np.full(4, 0.25), means, covariances)
    names = ("x.1", "x.2")
    mode = next(m for m in search_modes(Target(density), np.random.default_rng(0)).modes)
    points = mode.position + 0.3 * np.random.default_rng(1).standard_normal((5, 2))
    found = symmetries(Target(density), (mode,), points, names)
    assert len(list(images((mode,), found))) == 3
    mirrored = np.diag([1.0, -1.0])
    assert not any(np.allclose(g.entries.toarray(), mirrored) for g in found)
