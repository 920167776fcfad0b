"""Quantities move with base coordinates as a regression says, and by differences of the map."""

import numpy as np
import pytest
from large import Groups
from targets import fit, funnel, two_scales

from stanrovi.families.axes import DenseAxes
from stanrovi.families.base import base_draws
from stanrovi.families.conditional import Conditional
from stanrovi.families.moved import Moved
from stanrovi.families.product import Product
from stanrovi.families.symmetry import Symmetry
from stanrovi.scalars import Scalars
from stanrovi.vi.checks.normal_scores import NormalScores
from stanrovi.vi.checks.tangent import regressed_tangent, tangent_of_map

MATRIX = np.array(
    [
        [2.0, 0.6, 0.0, 0.0, 0.1],
        [0.6, 1.0, 0.3, 0.0, 0.0],
        [0.0, 0.3, 1.5, 0.2, 0.0],
        [0.0, 0.9, 0.2, 0.5, 0.0],
        [0.1, 0.0, 0.0, 2.0, 3.0],
    ]
)


def both(part):
    """Tangents of all coordinates by a regression, and by the map."""
    rng = np.random.default_rng(1)
    scalars = Scalars.coordinates(part.dim)
    x = np.sort(part.from_base(base_draws(4096, part.dim, rng)), axis=0)
    scores = NormalScores(x, x.std(axis=0))
    return regressed_tangent(part, scalars, scores, rng), tangent_of_map(part, scalars, scores)


def written_down(tangent, dim):
    return tangent.along(np.eye(dim)).T


def conditional(density):
    family = fit(density, "structured", n_draws=100, probe=False).family
    assert isinstance(family, Conditional)
    return family


@pytest.fixture(scope="module")
def hierarchy():
    """Two groups of one with scales of their own, which are tamed to have moments."""
    return conditional(two_scales(1)), conditional(funnel(5, scale=0.5))


def test_those_of_a_gaussian_are_its_axes():
    regressed, of_map = both(Product.gaussian(np.ones(5), DenseAxes(MATRIX)))
    expected = MATRIX / np.linalg.norm(MATRIX, axis=1)[:, None]
    np.testing.assert_allclose(written_down(of_map, 5), expected, atol=0.01)
    np.testing.assert_allclose(written_down(regressed, 5), expected, atol=0.02)
    np.testing.assert_allclose(of_map.size, 1.0, atol=0.02)
    np.testing.assert_allclose(regressed.size, 1.0, atol=0.02)


def test_behind_conditional_maps_the_directions_are_the_same(hierarchy):
    regressed, of_map = both(hierarchy[1])
    a, b = written_down(regressed, 5), written_down(of_map, 5)
    cosine = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert cosine.min() > 0.98
    np.testing.assert_allclose(of_map.size, regressed.size, rtol=0.25)


def test_sizes_are_those_of_the_vectors(hierarchy):
    product = Product.gaussian(np.ones(5), DenseAxes(MATRIX))
    many = conditional(Groups.simulated(600))
    # Few dimensions have axes that are turned a little, which sizes leave out.
    for part, error in ((product, 1e-6), (many, 1e-3), *((h, 0.05) for h in hierarchy)):
        _, of_map = both(part)
        expected = (written_down(of_map, part.dim) ** 2).sum(axis=1)
        np.testing.assert_allclose(of_map.size, expected, rtol=error)


def test_some_of_the_coordinates_have_those_alone():
    part = Product.gaussian(np.ones(5), DenseAxes(MATRIX))
    x = np.sort(part.from_base(base_draws(512, 5, np.random.default_rng(2))), axis=0)
    kept = np.array([False, True, False, True, True])
    scores = NormalScores(x[:, kept], x[:, kept].std(axis=0))
    some = tangent_of_map(part, Scalars.coordinates(5).only(kept), scores)
    every = tangent_of_map(part, Scalars.coordinates(5), NormalScores(x, x.std(axis=0)))
    v = np.random.default_rng(3).standard_normal((4, 5))
    np.testing.assert_allclose(some.along(v), every.along(v)[:, kept])
    np.testing.assert_allclose(some.size, every.size[kept])


def test_images_are_refused():
    part = Product.gaussian(np.zeros(5), DenseAxes(MATRIX))
    with pytest.raises(NotImplementedError, match="few dimensions"):
        both(Moved(part, Symmetry.identity(5)))
