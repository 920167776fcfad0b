import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ortho_group, special_ortho_group

from stanrovi.families.rotation import principal_root, rotate, symmetric_root, with_first_axis

SEEDS = st.integers(0, 2**31 - 1)


def is_rotation(matrix):
    d = len(matrix)
    return np.allclose(matrix.T @ matrix, np.eye(d), atol=1e-12) and np.linalg.det(matrix) > 0


@given(st.integers(2, 12), SEEDS, st.floats(0, 10))
def test_rotate_stays_in_the_rotation_group(d, seed, size):
    rng = np.random.default_rng(seed)
    start = special_ortho_group.rvs(d, random_state=rng)
    skew = size * rng.standard_normal((d, d))
    assert is_rotation(rotate(start, skew - skew.T))


def test_rotate_mends_the_rounding_of_many_steps():
    rng = np.random.default_rng(0)
    rotation = np.eye(6)
    for _ in range(200):
        skew = 0.1 * rng.standard_normal((6, 6))
        rotation = rotate(rotation, skew - skew.T)
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(6), atol=1e-14)


def test_rotate_turns_by_the_angle_of_the_skew():
    angle = 0.3
    turned = rotate(np.eye(2), np.array([[0.0, -angle], [angle, 0.0]]))
    expected = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    np.testing.assert_allclose(turned, expected, atol=1e-14)


@given(st.integers(2, 12), SEEDS, st.floats(-8, 8))
def test_the_first_axis_is_the_direction_asked_for(d, seed, log_size):
    direction = np.exp(log_size) * np.random.default_rng(seed).standard_normal(d)
    rotation = with_first_axis(direction)
    assert is_rotation(rotation)
    np.testing.assert_allclose(rotation[:, 0], direction / np.linalg.norm(direction), atol=1e-12)


@pytest.mark.parametrize("d", [2, 3, 5])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_first_axis_may_be_a_coordinate_axis(d, sign):
    for axis in range(d):
        direction = np.zeros(d)
        direction[axis] = sign
        rotation = with_first_axis(direction)
        assert is_rotation(rotation)
        np.testing.assert_allclose(rotation[:, 0], direction, atol=1e-12)


def test_the_first_axis_may_be_close_to_the_first_coordinate():
    for tilt in 10.0 ** -np.arange(3, 20):
        rotation = with_first_axis(np.array([1.0, tilt, 0.0]))
        expected = np.array([1.0, tilt, 0.0]) / np.hypot(1.0, tilt)
        np.testing.assert_allclose(rotation[:, 0], expected, atol=1e-12)
        np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-12)
        assert np.linalg.det(rotation) > 0


def test_in_one_dimension_the_axis_keeps_its_sign():
    np.testing.assert_array_equal(with_first_axis(np.array([-3.0])), [[-1.0]])


@given(st.integers(1, 8), SEEDS, st.floats(0, 6))
def test_symmetric_root_squares_to_the_covariance(d, seed, spread):
    rng = np.random.default_rng(seed)
    axes = ortho_group.rvs(d, random_state=rng) if d > 1 else np.eye(1)
    sd = 10.0 ** rng.uniform(-spread, spread, d)
    covariance = np.outer(sd, sd) * ((axes * np.geomspace(0.1, 10, d)) @ axes.T)
    root = symmetric_root(covariance)
    np.testing.assert_allclose(root @ root.T / np.outer(sd, sd), covariance / np.outer(sd, sd),
                               atol=1e-10)  # fmt: skip


def test_symmetric_root_of_a_diagonal_covariance_is_diagonal():
    np.testing.assert_allclose(
        symmetric_root(np.diag([1e-12, 4.0, 1e12])), np.diag([1e-6, 2.0, 1e6]), rtol=1e-12
    )


def test_symmetric_root_stays_closest_to_the_coordinate_axes():
    sd = np.array([1.0, 100.0])
    covariance = np.outer(sd, sd) * [[1.0, 0.6], [0.6, 1.0]]
    root = symmetric_root(covariance)
    ours = np.trace(root / sd[:, None])  # sum of correlations of axes with parameters
    for angle in np.linspace(0.1, np.pi - 0.1, 20):
        turned = root @ rotate(np.eye(2), np.array([[0.0, -angle], [angle, 0.0]]))
        assert np.trace(turned / sd[:, None]) < ours


@given(st.integers(2, 8), SEEDS)
def test_principal_root_is_a_root_of_positive_determinant(d, seed):
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((d, d)) + 2 * np.eye(d)
    covariance = root @ root.T + 1e-3 * np.eye(d)
    axes = principal_root(covariance)
    np.testing.assert_allclose(axes @ axes.T, covariance, rtol=1e-8, atol=1e-10)
    assert np.linalg.det(axes) > 0
