"""What is particular to conditional families; tests/families/test_contract.py has the rest."""

import tracemalloc

import numpy as np
import pytest
from targets import finite_difference

from stanrovi.families.conditional import (
    Conditional,
    ConditionalMap,
    RootFunctions,
    StarFunctions,
)
from stanrovi.families.product import Product
from stanrovi.families.triangular import Pattern
from stanrovi.target import Composed, Target


def functions(k):
    rng = np.random.default_rng(k)
    spaced = (np.arange(4 * k + 3) - 2 * k - 1) / k
    nodes = np.column_stack([spaced, *(rng.permutation(spaced) for _ in range(k - 1))])
    return RootFunctions(np.full(k, 0.3), np.linspace(0.5, 1.5, k), nodes)


def conditional_map(k=2, m=4, seed=0):
    """Roots first, leaves after them, every entry of the factor in use."""
    rng = np.random.default_rng(seed)
    pattern = Pattern(tuple(np.arange(j + 1, m) for j in range(m)))
    n = 4 * k + 3
    return ConditionalMap(
        roots=np.arange(k),
        leaves=k + rng.permutation(m),
        functions=functions(k),
        pattern=pattern,
        mean=rng.standard_normal((n, m)),
        log_scale=0.3 * rng.standard_normal((n, m)),
        lower=0.3 * rng.standard_normal((n, pattern.size)),
    )


@pytest.mark.parametrize("k", [1, 2, 3])
def test_functions_of_roots_pass_through_their_nodes(k):
    made = functions(k)
    np.testing.assert_allclose(made.weights(made.nodes), np.eye(len(made.nodes)), atol=1e-9)
    line = made.nodes @ np.arange(1.0, k + 1) + 2.0
    u = np.random.default_rng(0).uniform(-30, 30, (50, k))
    np.testing.assert_allclose(made.weights(u) @ line, u @ np.arange(1.0, k + 1) + 2.0, rtol=1e-7)


def test_with_one_root_they_are_natural_splines():
    made = functions(1)
    values = np.sin(made.nodes[:, 0])
    end = made.nodes.max()
    outside = np.array([[end + 1], [end + 2], [end + 3]])
    low, middle, high = made.weights(outside) @ values
    assert middle - low == pytest.approx(high - middle)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_functions_of_roots_know_their_derivatives(k):
    made = functions(k)
    values = np.random.default_rng(1).standard_normal(len(made.nodes))
    u = np.random.default_rng(2).uniform(-3, 3, (40, k))
    numeric = finite_difference(lambda p: made.weights(p) @ values, u, 1e-5)
    np.testing.assert_allclose(made.slopes(u, values), numeric, atol=1e-6)


def star(k, arm=5, corners=True):
    """Nodes on arms of unequal lengths, and on the corners of every pair of axes."""
    axes = np.eye(k) + 0.4 * np.random.default_rng(k).standard_normal((k, k))
    steps = np.setdiff1d(np.arange(-2 * arm, arm + 1), [0])
    places = [np.zeros((1, k)), *(np.outer(steps, unit) for unit in np.eye(k))]
    if corners:
        pairs = [(a, b) for i, a in enumerate(np.eye(k)) for b in np.eye(k)[i + 1 :]]
        signs = [(s, t) for s in (1, -1) for t in (1, -1)]
        places.append(1.2 * np.array([s * a + t * b for a, b in pairs for s, t in signs]))
    nodes = 0.3 + np.concatenate(places) @ axes.T
    return StarFunctions(np.full(k, 0.3), axes, nodes)


@pytest.mark.parametrize("k", [3, 5])
@pytest.mark.parametrize("corners", [True, False])
def test_functions_on_a_star_pass_through_their_nodes(k, corners):
    made = star(k, corners=corners)
    np.testing.assert_allclose(made.weights(made.nodes), np.eye(len(made.nodes)), atol=1e-9)
    line = made.nodes @ np.arange(1.0, k + 1) + 2.0
    u = np.random.default_rng(0).uniform(-30, 30, (50, k))
    np.testing.assert_allclose(made.weights(u) @ line, u @ np.arange(1.0, k + 1) + 2.0, rtol=1e-7)


@pytest.mark.parametrize("k", [3, 5])
@pytest.mark.parametrize("corners", [True, False])
def test_functions_on_a_star_know_their_derivatives(k, corners):
    made = star(k, corners=corners)
    values = np.random.default_rng(1).standard_normal(len(made.nodes))
    u = np.random.default_rng(2).uniform(-3, 3, (40, k))
    numeric = finite_difference(lambda p: made.weights(p) @ values, u, 1e-6)
    np.testing.assert_allclose(made.slopes(u, values), numeric, atol=1e-5)


def test_derivatives_at_many_points_in_many_roots_take_little_memory():
    """An array of points by roots by nodes would take all there is."""
    made = star(8)
    u = np.random.default_rng(0).standard_normal((2000, 8))
    shares = 8 * len(u) * len(made.nodes)
    made.slopes(u[:2], made.nodes[:, 0])  # what is kept of the nodes
    tracemalloc.start()
    try:
        made.slopes(u, made.nodes[:, 0])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 6 * shares


def test_where_two_arms_are_long_their_corner_is_the_sum_of_both():
    """Log densities of scales fall like lines; cubic functions between arms would rise."""
    made = star(3, arm=4)
    places = np.linalg.solve(made.axes, (made.nodes - 0.3).T).T

    def log_density(place):
        falling = np.where(place < 0, place, -(place**2)).sum(axis=1)
        return falling - 0.1 * np.tanh(place[:, 0] * place[:, 1])

    corner = np.array([[-7.0, -7.0, -7.0], [-7.0, 0.0, -6.0]])
    weights = made.weights(0.3 + corner @ made.axes.T)
    found = weights @ log_density(places)
    np.testing.assert_allclose(found, log_density(corner), atol=0.5)


def test_a_star_without_nodes_on_an_axis_is_constant_along_it():
    """Their evidence may be no number there."""
    made = star(3, corners=False)
    places = np.linalg.solve(made.axes, (made.nodes - 0.3).T).T
    kept = np.abs(places[:, 1]) < 0.01
    made = StarFunctions(made.origin, made.axes, made.nodes[kept])
    np.testing.assert_allclose(made.weights(made.nodes), np.eye(kept.sum()), atol=1e-9)
    values = np.random.default_rng(0).standard_normal(kept.sum())
    along = 0.3 + np.linspace(-3, 3, 5)[:, None] * made.axes[:, 1]
    np.testing.assert_allclose(made.weights(along) @ values, values[0], atol=1e-9)


def test_corners_in_one_plane_are_enough():
    whole = star(3)
    places = np.linalg.solve(whole.axes, (whole.nodes - 0.3).T).T
    flat = (np.abs(places) > 0.01).sum(axis=1) < 2
    flat |= np.abs(places[:, 2]) < 0.01
    made = StarFunctions(whole.origin, whole.axes, whole.nodes[flat])
    np.testing.assert_allclose(made.weights(made.nodes), np.eye(flat.sum()), atol=1e-9)


def test_triangular_systems_are_those_of_the_dense_matrix():
    rng = np.random.default_rng(3)
    pattern = Pattern((np.array([2, 4]), np.array([3]), np.array([4]), np.array([], int),
                       np.array([], int)))  # fmt: skip
    entries, b = rng.standard_normal((pattern.size, 7)), rng.standard_normal((5, 7))
    rows, columns = pattern.positions
    for i in range(7):
        dense = np.eye(5)
        dense[rows, columns] = entries[:, i]
        one = entries[:, i : i + 1], b[:, i : i + 1]
        np.testing.assert_allclose(pattern.apply(*one)[:, 0], dense @ b[:, i])
        np.testing.assert_allclose(pattern.apply_transposed(*one)[:, 0], dense.T @ b[:, i])
        np.testing.assert_allclose(pattern.solve(*one)[:, 0], np.linalg.solve(dense, b[:, i]))
        upper = np.linalg.solve(dense.T, b[:, i])
        np.testing.assert_allclose(pattern.solve_transposed(*one)[:, 0], upper)


def test_the_leaves_given_the_roots_have_the_precision_of_the_factor():
    made = conditional_map()
    u = np.array([[0.2, -0.4]])
    w = made.functions.weights(u)[0]
    rows, columns = made.pattern.positions
    factor = np.eye(4)
    factor[rows, columns] = w @ made.lower
    factor = factor * np.exp(w @ made.log_scale)
    covariance = np.linalg.inv(factor @ factor.T)
    np.testing.assert_allclose(made.spread(u)[0], np.sqrt(np.diag(covariance)))
    y = np.concatenate([np.repeat(u, 4, axis=0), np.zeros((4, 4))], axis=1)
    y[np.arange(4), made.leaves] = 1.0
    x = made.forward(y)[0][:, made.leaves] - w @ made.mean
    np.testing.assert_allclose(x.T @ x, covariance, atol=1e-12)


def test_a_fitted_family_pulls_itself_back_to_a_standard_normal():
    """The gradient of the pulled back density is that of the base, exactly."""
    inner = ConditionalMap(
        roots=np.array([0]), leaves=np.array([1]), functions=functions(1),
        pattern=Pattern((np.array([], int),)), mean=np.linspace(-1, 1, 7)[:, None],
        log_scale=np.linspace(0.5, -0.5, 7)[:, None], lower=np.zeros((7, 0)),
    )  # fmt: skip
    family = Conditional(
        (inner, conditional_map()), Product.gaussian(np.zeros(6), 0.5 * np.eye(6) + 0.2)
    )

    class Itself:
        dim = 6

        def log_density_gradient(self, x):
            return family.log_density_gradient(x)

    z = np.random.default_rng(4).standard_normal((30, 6))
    value, gradient = Target(Composed(Itself(), through=family)).log_density_gradient(z)
    np.testing.assert_allclose(gradient, -z, atol=1e-7)
    np.testing.assert_allclose(value + 0.5 * (z**2).sum(axis=1), value[0] + 0.5 * z[0] @ z[0])
    np.testing.assert_allclose(family.to_base(family.from_base(z)), z, atol=1e-9)


def test_far_out_roots_leave_numbers_finite():
    made = conditional_map()
    y = np.full((1, 6), 1e4)
    x, log_det, _ = made.transport(y)
    assert np.isfinite(x).all()
    assert np.isfinite(log_det).all()
