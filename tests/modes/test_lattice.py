import itertools

import numpy as np
import pytest
from targets import covariance_of

from stanrovi.families.axes import DenseAxes
from stanrovi.families.rotation import symmetric_root
from stanrovi.modes.basins import Mode
from stanrovi.modes.lattice import find_lattice


def modes_at(positions, weights=None, covariances=None):
    positions = np.asarray(positions, dtype=float)
    k, d = positions.shape
    weights = np.full(k, 1 / k) if weights is None else weights
    covariances = [np.eye(d)] * k if covariances is None else covariances
    return tuple(
        Mode(position=p, log_density=0.0, axes=DenseAxes.of_covariance(np.asarray(c)), weight=w)
        for p, c, w in zip(positions, covariances, weights, strict=True)
    )


@pytest.mark.parametrize("dim", [1, 2, 3, 10])
def test_two_modes_always_fill_a_lattice_along_the_first_axis(dim):
    covariance = covariance_of(dim, 20, seed=dim)
    positions = np.random.default_rng(dim).standard_normal((2, dim)) * 10
    lattice = find_lattice(modes_at(positions, [0.3, 0.7], [covariance] * 2))
    assert lattice.misfit is None
    assert (lattice.n_cells, lattice.n_occupied) == (2, 2)
    np.testing.assert_allclose(lattice.center, 0.3 * positions[0] + 0.7 * positions[1])
    np.testing.assert_allclose(lattice.axes.covariance(), covariance, atol=1e-10)
    y = lattice.axes.solve(positions - lattice.center)
    np.testing.assert_allclose(y[:, 1:], 0.0, atol=1e-9)
    order = np.argsort(y[:, 0])
    np.testing.assert_allclose(lattice.levels[0], y[order, 0])
    np.testing.assert_allclose(lattice.weights[0], np.array([0.3, 0.7])[order])


def test_collinear_modes_are_levels_of_one_axis():
    direction = np.array([2.0, 1.0, -1.0])
    lattice = find_lattice(
        modes_at([-4 * direction, 0 * direction, 3 * direction], [0.2, 0.5, 0.3])
    )
    assert lattice.misfit is None
    assert [len(x) for x in lattice.levels] == [3]
    gaps = np.diff(lattice.levels[0]) / np.linalg.norm(direction)
    assert sorted(gaps) == pytest.approx([3.0, 4.0])


@pytest.mark.parametrize("angle", [0.0, 0.4, 1.0])
def test_a_turned_box_has_two_multimodal_axes(angle):
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners = np.array(list(itertools.product([-4, 4], [-3, 3]))) @ turn.T
    along, across = np.array([0.3, 0.7]), np.array([0.6, 0.4])
    weights = [a * b for a, b in itertools.product(along, across)]
    lattice = find_lattice(modes_at(corners, weights))
    assert lattice.misfit is None
    assert lattice.n_cells == lattice.n_occupied == 4
    assert lattice.weight_gap < 1e-12
    widths = sorted(np.ptp(x) for x in lattice.levels)
    assert widths == pytest.approx([6.0, 8.0])


def test_weights_that_are_no_product_are_a_misfit():
    corners = list(itertools.product([-4, 4], [-4, 4]))
    lattice = find_lattice(modes_at(corners, [0.4, 0.1, 0.1, 0.4]))
    assert lattice.holds
    assert lattice.weight_gap == pytest.approx(0.15)
    assert lattice.misfit is not None
    assert "0.15" in lattice.misfit


def test_a_triangle_is_a_misfit():
    lattice = find_lattice(modes_at([[0, 6], [-5, -3], [5, -3]]))
    assert not lattice.holds
    assert lattice.n_cells > lattice.n_occupied == 3
    assert lattice.misfit is not None
    assert "3 modes" in lattice.misfit


@pytest.mark.parametrize("factor", [9.0, 1 / 9.0])
def test_modes_of_different_shape_are_a_misfit(factor):
    lattice = find_lattice(
        modes_at([[-5, 0], [5, 0]], covariances=[np.eye(2), np.diag([1.0, factor])])
    )
    assert lattice.shape_ratio == pytest.approx(9.0)
    assert lattice.misfit is not None
    assert "9.0" in lattice.misfit


def test_axes_come_from_the_pooled_covariance():
    covariances = [np.diag([1.0, 2.0]), np.diag([2.0, 1.0])]
    lattice = find_lattice(modes_at([[-9, 0], [9, 0]], [0.25, 0.75], covariances))
    pooled = 0.25 * covariances[0] + 0.75 * covariances[1]
    np.testing.assert_allclose(lattice.axes.covariance(), pooled)
    root = symmetric_root(pooled)
    rotation = np.linalg.solve(root, lattice.axes.matrix)
    assert np.linalg.det(rotation) == pytest.approx(1.0)


def test_every_pair_of_modes_is_compared():
    shapes = [np.diag([1.0, v]) for v in (1.0, 4.0, 0.25)]
    lattice = find_lattice(modes_at([[-9, 0], [0, 0], [9, 0]], covariances=shapes))
    assert lattice.shape_ratio == pytest.approx(16.0)


@pytest.mark.parametrize("dim", [1, 3])
def test_widths_along_the_separating_axis_may_differ(dim):
    wide, narrow = np.eye(dim), np.diag([0.09, *np.ones(dim - 1)])
    positions = np.outer([0.0, 9.0], np.eye(dim)[0])
    lattice = find_lattice(modes_at(positions, covariances=[wide, narrow]))
    assert lattice.misfit is None
    assert lattice.shape_ratio == pytest.approx(1.0)


def test_opposite_correlations_with_the_separating_axis_are_a_misfit():
    turned = [np.array([[1.0, c], [c, 1.0]]) for c in (0.9, -0.9)]
    lattice = find_lattice(modes_at([[-9, 0], [9, 0]], covariances=turned))
    assert lattice.shape_ratio > 10
