"""Dense and diagonal axes answer alike, and as the matrix itself does."""

import numpy as np
import pytest

from stanrovi.families.axes import DenseAxes, DiagonalAxes, Frame, as_axes
from stanrovi.families.product import Product

SCALE = np.array([0.5, 3.0, 1.0, 20.0])
MATRIX = np.array([[1.0, 0.2, 0, 0], [0.5, 2.0, 0, 1], [0, -1.0, 3.0, 0], [0.1, 0, 0, 0.7]])
VARIANCE = np.array([1.0, 0.3, 2.0, 5.0])
AXES = {
    "dense": DenseAxes(MATRIX),
    "diagonal": DiagonalAxes(SCALE),
    "diagonal as dense": DenseAxes(np.diag(SCALE)),
    "cholesky": DenseAxes.of_covariance(MATRIX @ MATRIX.T),
}


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
    np.testing.assert_allclose(axes.times(MATRIX).matrix, b @ MATRIX)
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


def test_principal_axes_are_those_of_the_covariance(axes):
    spectrum = np.linalg.eigvalsh(axes.matrix @ axes.matrix.T)
    np.testing.assert_allclose(axes.principal_variances(), spectrum, rtol=1e-9)
    for k in range(4):
        point = axes.along_principal(np.eye(4)[k])
        assert point @ point == pytest.approx(spectrum[k])
        np.testing.assert_allclose(
            axes.covariance() @ point, spectrum[k] * point, atol=1e-9 * spectrum[-1]
        )


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
