"""A diagonal and a part of low rank are told apart by products with few vectors."""

import numpy as np
import pytest

from stanrovi.modes.low_rank import from_products

D = 600


def matrix(rank, seed=0, size=30.0):
    rng = np.random.default_rng(seed)
    directions = np.linalg.qr(rng.standard_normal((D, max(rank, 1))))[0][:, :rank]
    core = np.geomspace(1.0, size, rank) if rank else np.empty(0)
    return rng.uniform(0.3, 3.0, D), directions, core


def products(parts, n, seed=1, noise=0.0):
    diagonal, directions, core = parts
    rng = np.random.default_rng(seed)
    vectors = rng.choice([-1.0, 1.0], (n, D))
    told = vectors * diagonal + ((vectors @ directions) * core) @ directions.T
    return vectors, told + noise * rng.standard_normal(told.shape)


def whole(diagonal, directions, core):
    core = np.diag(core) if core.ndim == 1 else core
    return np.diag(diagonal) + directions @ core @ directions.T


@pytest.mark.parametrize(("rank", "n"), [(1, 48), (2, 48), (5, 48), (8, 48), (13, 96), (20, 192)])
def test_the_matrix_is_found_exactly(rank, n):
    parts = matrix(rank)
    found = from_products(*products(parts, n))
    assert rank <= len(found.core) <= 4 * rank
    assert found.unexplained < 1e-6
    error = whole(found.diagonal, found.directions, found.core) - whole(*parts)
    assert np.abs(error).max() < 1e-3
    np.testing.assert_allclose(found.directions.T @ found.directions, np.eye(len(found.core)),
                               atol=1e-12)  # fmt: skip


def test_a_diagonal_needs_no_directions():
    parts = matrix(0)
    found = from_products(*products(parts, 48))
    assert found.core.shape == (0, 0)
    np.testing.assert_allclose(found.diagonal, parts[0])
    assert found.unexplained < 1e-20


def test_negative_curvatures_along_directions_are_found():
    diagonal, directions, _ = matrix(2)
    parts = diagonal + 1, directions, np.array([5.0, -0.5])
    found = from_products(*products(parts, 48))
    error = whole(found.diagonal, found.directions, found.core) - whole(*parts)
    assert np.abs(error).max() < 1e-4


def test_noise_makes_no_rank():
    parts = matrix(0)
    found = from_products(*products(parts, 48, noise=0.3))
    assert found.core.shape == (0, 0)
    assert np.abs(found.diagonal - parts[0]).max() < 5 * 0.3 / np.sqrt(38)
    assert found.unexplained > 1e-3


def test_noise_is_told_by_what_stays_unexplained():
    parts = matrix(2, size=600.0)
    vectors, told = products(parts, 96, noise=0.1)
    found = from_products(vectors, told)
    expected = 0.1**2 * told.size / (told**2).sum()
    assert expected / 2 < found.unexplained < 4 * expected
    assert len(found.core) in (2, 4)


def test_more_rank_than_the_vectors_can_tell_stays_unexplained():
    found = from_products(*products(matrix(100), 48))
    assert found.unexplained > 0.01


def test_products_are_those_of_the_matrix():
    found = from_products(*products(matrix(3), 48))
    v = np.random.default_rng(5).standard_normal((7, D))
    expected = v @ whole(found.diagonal, found.directions, found.core)
    np.testing.assert_allclose(found.times(v), expected, rtol=1e-9, atol=1e-9)
