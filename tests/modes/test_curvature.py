import numpy as np
import pytest

from stanrovi.densities import FunctionDensity
from stanrovi.modes.curvature import Curvature, curvature_at, elimination_order
from stanrovi.target import Target


def normal(precision):
    def function(x):
        pull = -x @ precision
        return 0.5 * (x * pull).sum(axis=1), pull

    return Target(FunctionDensity(function, len(precision)))


def arrow(m, heads):
    matrix = 2.0 * m * np.eye(m)
    matrix[:heads] += 1.0
    matrix[:, :heads] += 1.0
    return matrix


def chain(m):
    return 3 * np.eye(m) + np.eye(m, k=1) + np.eye(m, k=-1)


def measured(matrix):
    target = normal(matrix)
    m = len(matrix)
    curvature, precision = curvature_at(
        target, np.arange(m), np.ones(m), -matrix @ np.ones(m), np.ones(m)
    )
    before = target.n_gradients
    again = curvature.precision(target, np.ones(m), -matrix @ np.ones(m), np.ones(m))
    return curvature, precision, again, target.n_gradients - before


@pytest.mark.parametrize(
    ("matrix", "cost"), [(arrow(60, 3), 4), (chain(60), 3), (np.diag(np.arange(1.0, 61)), 1)]
)
def test_sparse_curvatures_cost_as_many_gradients_as_colours(matrix, cost):
    curvature, precision, again, spent = measured(matrix)
    assert spent == curvature.cost == cost
    np.testing.assert_allclose(precision, matrix, atol=1e-6 * matrix.max())
    np.testing.assert_allclose(again, matrix, atol=1e-6 * matrix.max())


def test_any_sparsity_is_recovered():
    rng = np.random.default_rng(0)
    for _ in range(200):
        m = int(rng.integers(1, 25))
        matrix = (rng.random((m, m)) < rng.uniform(0, 0.4)) * rng.standard_normal((m, m))
        matrix = matrix + matrix.T + np.diag(rng.uniform(1, 2, m))
        curvature = Curvature.of(np.arange(m), (matrix != 0) | np.eye(m, dtype=bool))
        found = curvature.precision(normal(matrix), np.zeros(m), np.zeros(m), np.ones(m))
        np.testing.assert_allclose(found, matrix, atol=1e-8)


def test_what_is_nearly_dense_counts_as_dense():
    matrix = np.eye(40) * 50
    matrix[:30, :30] += 1.0
    curvature, *_ = measured(matrix)
    assert curvature.adjacent.all()


def test_scales_that_are_far_off_are_measured_again():
    matrix = np.diag([1e8, 1.0, 1e-8])
    target = normal(matrix)
    _, precision = curvature_at(target, np.arange(3), np.zeros(3), np.zeros(3), np.ones(3))
    np.testing.assert_allclose(precision, matrix, rtol=1e-6, atol=1e-12)
    assert target.n_gradients == 6


def test_a_rejected_neighbourhood_has_no_curvature():
    def function(x):
        value = np.where(np.abs(x).sum(axis=1) > 0, np.nan, 0.0)
        return value, -x

    target = Target(FunctionDensity(function, 2))
    assert curvature_at(target, np.arange(2), np.zeros(2), np.zeros(2), np.ones(2)) is None


def test_the_head_of_an_arrow_is_eliminated_last():
    order, rows = elimination_order(arrow(30, 2) != 0)
    assert {0, 1} <= set(order[-3:])
    assert sum(map(len, rows)) == 2 * 28 + 1  # no fill
