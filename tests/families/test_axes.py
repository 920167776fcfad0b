"""Dense and diagonal axes answer alike, and as the matrix itself does."""

import numpy as np
import pytest
from scipy.sparse import csc_array

from stanrovi.families.axes import DenseAxes, DiagonalAxes, Frame, as_axes
from stanrovi.families.block_axes import BlockAxes
from stanrovi.families.low_rank_axes import LowRankAxes
from stanrovi.families.product import Product
from stanrovi.families.sparse_axes import SparseAxes, precision_of

SCALE = np.array([0.5, 3.0, 1.0, 20.0])
MATRIX = np.array([[1.0, 0.2, 0, 0], [0.5, 2.0, 0, 1], [0, -1.0, 3.0, 0], [0.1, 0, 0, 0.7]])
VARIANCE = np.array([1.0, 0.3, 2.0, 5.0])
PRECISION = np.array([[2.0, -1, 0, 0.5], [-1, 2, 0, 0.3], [0, 0, 1, 0.1], [0.5, 0.3, 0.1, 3]])
DIRECTIONS = np.linalg.qr(MATRIX[:, :2])[0]
AXES = {
    "dense": DenseAxes(MATRIX),
    "diagonal": DiagonalAxes(SCALE),
    "diagonal as dense": DenseAxes(np.diag(SCALE)),
    "cholesky": DenseAxes.of_covariance(MATRIX @ MATRIX.T),
    "sparse": SparseAxes.of_precision(csc_array(PRECISION)).scaled(SCALE),
    "low rank": LowRankAxes(SCALE, DIRECTIONS, np.array([3.0, 0.2]), 1 / np.arange(1.0, 5.0)),
}
AXES["block"] = BlockAxes(
    np.array([1, 3]), DenseAxes(MATRIX[:2, :2]), np.array([0.5, 1, 3, 1])
).scaled(SCALE)
TURNED = ("dense", "diagonal", "diagonal as dense", "cholesky")


@pytest.fixture(params=AXES)
def axes(request):
    return AXES[request.param]


@pytest.fixture
def points():
    return np.random.default_rng(0).standard_normal((7, 4))


def test_products_and_solutions_are_those_of_the_matrix(axes, points):
    b = axes.matrix
    np.testing.assert_allclose(axes.apply(points), points @ b.T)
    np.testing.assert_allclose(axes.apply(points[0]), b @ points[0])
    np.testing.assert_allclose(axes.apply(axes.solve(points)), points, atol=1e-12)
    np.testing.assert_allclose(axes.solve(axes.apply(points[0])), points[0], atol=1e-12)
    np.testing.assert_allclose(axes.apply_transposed(points), points @ b)
    np.testing.assert_allclose(
        axes.apply_transposed(axes.solve_transposed(points)), points, atol=1e-12
    )
    np.testing.assert_allclose(axes.scaled(SCALE).matrix, b * SCALE)
    np.testing.assert_allclose(axes.scaled(0.5).matrix, b / 2)
    np.testing.assert_allclose(np.stack([axes.column(j) for j in range(4)], axis=1), b)
    assert axes.dim == 4
    assert axes.is_finite()


def test_spreads_are_those_of_the_covariance(axes):
    b = axes.matrix
    covariance = (b * VARIANCE) @ b.T
    np.testing.assert_allclose(axes.covariance(VARIANCE), covariance)
    np.testing.assert_allclose(axes.covariance(), b @ b.T, atol=1e-12)
    np.testing.assert_allclose(axes.sd(VARIANCE), np.sqrt(np.diag(covariance)))
    np.testing.assert_allclose(
        axes.precision_diagonal(VARIANCE), np.diag(np.linalg.inv(covariance)), rtol=1e-9
    )
    assert axes.log_volume == pytest.approx(np.linalg.slogdet(b)[1])
    assert axes.log_det_covariance() == pytest.approx(2 * axes.log_volume)


@pytest.mark.parametrize("name", TURNED)
def test_axes_can_be_multiplied(name):
    axes = AXES[name]
    np.testing.assert_allclose(axes.times(MATRIX).matrix, axes.matrix @ MATRIX)


def test_steps_outward_have_a_length_in_whitened_coordinates(axes):
    direction = np.array([1.0, -2.0, 0.5, 3.0])
    for along_widest in (False, True):
        step = axes.outward(direction, 7.0, along_widest=along_widest)
        assert np.linalg.norm(axes.solve(step)) == pytest.approx(7.0)


def test_steps_along_the_widest_axes_are_longer_than_others(axes):
    rng = np.random.default_rng(2)
    lengths = [
        np.mean(
            [
                np.linalg.norm(axes.outward(rng.standard_normal(4), 1.0, along_widest=wide))
                for _ in range(200)
            ]
        )
        for wide in (False, True)
    ]
    widest = np.sqrt(np.linalg.eigvalsh(axes.matrix @ axes.matrix.T)[-1])
    assert lengths[0] < lengths[1] <= widest * (1 + 1e-9)
    assert lengths[1] > 0.8 * widest


def test_a_sparse_precision_is_given_back_whole():
    axes = SparseAxes.of_precision(csc_array(PRECISION))
    np.testing.assert_allclose(precision_of(axes).toarray(), PRECISION, atol=1e-12)
    again = SparseAxes.of_precision(csc_array(PRECISION), axes.order)
    np.testing.assert_allclose(precision_of(again).toarray(), PRECISION, atol=1e-12)


@pytest.mark.parametrize("spoiled", [-1.0, 0.0, np.nan])
def test_what_is_no_precision_is_refused(spoiled):
    matrix = PRECISION.copy()
    matrix[2, 2] = spoiled
    with pytest.raises(np.linalg.LinAlgError):
        SparseAxes.of_precision(csc_array(matrix))


def test_axes_of_low_rank_come_from_a_precision():
    core = np.array([[2.0, 0.3], [0.3, -0.2]])
    diagonal = np.array([1.0, 2.0, 0.5, 1.5])
    precision = np.diag(diagonal) + DIRECTIONS @ core @ DIRECTIONS.T
    axes = LowRankAxes.of_precision(SCALE, diagonal, DIRECTIONS, core)
    expected = np.linalg.inv(precision) * np.outer(SCALE, SCALE)
    np.testing.assert_allclose(axes.covariance(), expected, atol=1e-10)


def test_diagonal_axes_are_those_of_a_diagonal_matrix_to_the_last_bit():
    rng = np.random.default_rng(1)
    scale, y = np.exp(rng.standard_normal(20)), rng.standard_normal((9, 20))
    thin, thick = DiagonalAxes(scale), DenseAxes(np.diag(scale))
    assert thin.log_volume == thick.log_volume
    for operation in ("apply", "solve", "apply_transposed", "solve_transposed"):
        np.testing.assert_array_equal(getattr(thin, operation)(y), getattr(thick, operation)(y))


def test_what_is_not_finite_is_told():
    assert not DenseAxes(np.full((2, 2), np.nan)).is_finite()
    assert not DiagonalAxes(np.array([1.0, np.inf])).is_finite()


def test_a_singular_covariance_has_no_volume():
    singular = DenseAxes(np.array([[1.0, 1.0], [1.0, 1.0]]))
    assert singular.log_det_covariance() == -np.inf


def test_diagonal_axes_stay_diagonal_and_need_no_matrix():
    """A million axes: a matrix of them would need eight terabytes."""
    d = 10**6
    axes = DiagonalAxes(np.linspace(1, 2, d)).scaled(np.full(d, 3.0))
    frame = Frame(np.ones(d), axes)
    x = frame.center + axes.apply(np.ones((1, d)))
    np.testing.assert_allclose(frame.coordinates(x), 1.0)
    np.testing.assert_allclose(axes.sd(np.full(d, 4.0)), 2 * axes.scale)
    assert np.isfinite(axes.log_volume)


def test_a_matrix_serves_as_axes_of_a_gaussian():
    assert as_axes(AXES["diagonal"]) is AXES["diagonal"]
    family = Product.gaussian(np.zeros(4), MATRIX)
    np.testing.assert_array_equal(family.axes.matrix, MATRIX)
