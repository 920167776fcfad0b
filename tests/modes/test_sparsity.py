"""Sparse curvatures are found and measured, at a cost that hardly grows with the dimension."""

import numpy as np
import pytest
from large import arrow, blocks, chain, factor_normal
from targets import rejecting

from stanrovi.families.triangular import Pattern
from stanrovi.modes.sparsity import find_sparsity
from stanrovi.target import Target

# A density, and gradients that finding its sparsity may cost.
CASES = {
    "chain": (chain(600, quartic=0.5), 400),
    "long chain": (chain(3000, quartic=0.5), 400),
    "three hubs": (arrow(600, 3, quartic=0.5), 400),
    "ten hubs": (arrow(600, 10, quartic=0.5), 400),
    "blocks of three": (blocks(600, 3, quartic=0.5), 400),
    "blocks of eight": (blocks(600, 8, quartic=0.5), 400),
}


def found_at(density, x, seed=1, scale=1.0):
    target = Target(density)
    sd = np.full(density.dim, scale)
    return find_sparsity(target, x, sd, np.random.default_rng(seed)), target


def place(density, seed=2):
    return np.random.default_rng(seed).standard_normal(density.dim)


def measured(curvature, density, x):
    _, gradient = density.log_density_gradient(x[None])
    scale = density.precision(x).diagonal() ** -0.5
    target = Target(density)
    precision = curvature.precision(target, x, gradient[0], scale)
    return precision.toarray(), target.n_gradients


def relative(precision, truth):
    """Errors, in units of the conditional standard deviations."""
    scale = np.sqrt(np.diag(truth))
    return np.abs(precision - truth) / np.outer(scale, scale)


@pytest.mark.parametrize("name", CASES)
def test_every_entry_is_found_and_measured(name):
    density, most = CASES[name]
    x = place(density)
    curvature, target = found_at(density, x)
    assert target.n_gradients <= most
    precision, cost = measured(curvature, density, x)
    assert cost == curvature.cost <= 40
    assert relative(precision, density.precision(x).toarray()).max() < 2e-3


@pytest.mark.parametrize("hubs", [3, 10])
def test_rows_of_many_entries_are_hubs(hubs):
    density = arrow(600, hubs)
    curvature, _ = found_at(density, place(density))
    true = np.linspace(0, 599, hubs).astype(int)
    assert np.isin(true, curvature.hubs).all()
    assert len(curvature.hubs) <= hubs + 4  # some rows are left undecoded


def test_a_chain_has_no_hubs_and_nothing_but_its_neighbours():
    density = chain(600, quartic=0.5)
    curvature, _ = found_at(density, place(density))
    assert not len(curvature.hubs)
    assert np.abs(curvature.rows - curvature.columns).max() == 1
    assert len(curvature.rows) == 3 * 600 - 2
    assert curvature.cost == 3


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_scales_may_be_far_off(scale):
    density = chain(600)
    curvature, target = found_at(density, np.zeros(600), scale=scale)
    precision, _ = measured(curvature, density, np.zeros(600))
    assert relative(precision, density.precision(np.zeros(600)).toarray()).max() < 1e-6
    assert target.n_gradients <= 500


def test_measured_elsewhere_it_is_the_curvature_there():
    density = arrow(600, 3, quartic=0.5)
    curvature, _ = found_at(density, place(density))
    x = place(density, seed=3)
    precision, _ = measured(curvature, density, x)
    assert relative(precision, density.precision(x).toarray()).max() < 2e-3


@pytest.mark.parametrize("rank", [5, 200])
def test_a_dense_curvature_has_none(rank):
    curvature, target = found_at(factor_normal(600, rank), np.zeros(600))
    assert curvature is None
    assert target.n_gradients < 600


def test_where_neighbours_are_rejected_there_is_none():
    density = rejecting(chain(600), lambda x: (x == 0).all(axis=1))
    curvature, target = found_at(density, np.zeros(600))
    assert curvature is None
    assert target.n_gradients <= 20


def test_a_rejected_point_gives_no_numbers():
    density = chain(600)
    curvature, _ = found_at(density, np.zeros(600))
    target = Target(rejecting(density, lambda x: x[:, 0] == 0))
    precision = curvature.precision(target, np.zeros(600), np.zeros(600), np.ones(600))
    assert np.isnan(precision.toarray()[0, 0])


def test_restricted_to_some_coordinates_it_is_that_block():
    density = arrow(600, 3, quartic=0.5)
    x = place(density)
    curvature, _ = found_at(density, x)
    to = np.setdiff1d(np.arange(600), [0, 5, 77])
    inside = curvature.restricted(to)
    np.testing.assert_array_equal(inside.coordinates, to)
    np.testing.assert_array_equal(to[inside.hubs], np.setdiff1d(curvature.hubs, [0, 5, 77]))
    _, gradient = density.log_density_gradient(x[None])
    scale = density.precision(x).diagonal() ** -0.5
    precision = inside.precision(Target(density), x, gradient[0], scale[to])
    truth = density.precision(x).toarray()[np.ix_(to, to)]
    assert relative(precision.toarray(), truth).max() < 2e-3


def test_factors_are_those_of_cholesky():
    density = arrow(600, 3, quartic=0.5)
    points = [place(density, seed) for seed in (3, 4)]
    curvature, _ = found_at(density, points[0])
    precisions = []
    for x in points:
        _, gradient = density.log_density_gradient(x[None])
        scale = density.precision(x).diagonal() ** -0.5
        precisions.append(curvature.precision(Target(density), x, gradient[0], scale))
    order, pattern, log_scale, lower = curvature.factors(precisions)
    assert isinstance(pattern, Pattern)
    assert lower.shape == (2, pattern.size)
    assert pattern.size < 4 * 600  # an arrow's factor has no more entries than the arrow
    for k, precision in enumerate(precisions):
        expected = np.linalg.cholesky(precision.toarray()[np.ix_(order, order)])
        factor = np.eye(600)
        factor[pattern.positions] = lower[k]
        np.testing.assert_allclose(factor * np.exp(log_scale[k]), expected, atol=1e-9)


def test_entries_that_are_zero_at_one_place_stay_in_the_pattern():
    """Where links vanish the measured entries are zero, and their factor still has its shape."""
    density = chain(600, weight=0.0, quartic=1.0)
    curvature, _ = found_at(density, place(density))
    precision, _ = measured(curvature, density, np.zeros(600))
    assert np.abs(precision - np.diag(np.diag(precision))).max() < 1e-6
    _, gradient = density.log_density_gradient(np.zeros((1, 600)))
    at_zero = curvature.precision(Target(density), np.zeros(600), gradient[0], np.ones(600))
    x = place(density)
    there = curvature.precision(
        Target(density), x, density.log_density_gradient(x[None])[1][0], np.ones(600)
    )
    assert at_zero.nnz == there.nnz == len(curvature.rows)
    order, pattern, log_scale, lower = curvature.factors([at_zero, there])
    for k, matrix in enumerate((at_zero, there)):
        factor = np.eye(600)
        factor[pattern.positions] = lower[k]
        factor = factor * np.exp(log_scale[k])
        whole = matrix.toarray()[np.ix_(order, order)]
        np.testing.assert_allclose(factor @ factor.T, whole, atol=1e-8)
