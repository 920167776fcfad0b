"""Curvatures of many dimensions: how they are measured, and where that fails."""

import numpy as np
import pytest
from large import chain, factor_covariance, factor_normal

from stanrovi.families.axes import DiagonalAxes
from stanrovi.families.low_rank_axes import LowRankAxes
from stanrovi.families.sparse_axes import SparseAxes
from stanrovi.modes.structure import LowRankPart, Sparse, structure_at
from stanrovi.target import Target

D = 600


def measured(density, structure, share=1.0, before=None):
    target = Target(density)
    x = np.random.default_rng(1).standard_normal((2, density.dim))
    before = before or DiagonalAxes(np.ones(density.dim))
    _, gradient = target.log_density_gradient(x)
    return structure.measured(target, x, gradient, before, share, np.random.default_rng(2))


def test_more_vectors_are_measured_while_they_leave_much():
    structure = LowRankPart()
    axes = measured(factor_normal(D, 30), structure)
    assert structure.n_vectors > 48
    assert structure.unexplained < 1e-6
    np.testing.assert_allclose(axes.sd(), np.sqrt(np.diag(factor_covariance(D, 30))), rtol=1e-4)


def test_structures_are_found_by_gradients():
    rng, zero, one = np.random.default_rng(0), np.zeros(D), np.ones(D)
    assert isinstance(structure_at(Target(chain(D)), zero, one, rng), Sparse)
    assert isinstance(structure_at(Target(factor_normal(D, 3)), zero, one, rng), LowRankPart)


@pytest.mark.parametrize(
    ("density", "kind"), [(chain(D), SparseAxes), (factor_normal(D, 3), LowRankAxes)]
)
def test_a_share_of_what_is_measured_is_mixed_with_what_was_known(density, kind):
    structure = structure_at(Target(density), np.zeros(D), np.ones(D), np.random.default_rng(0))
    exact = measured(density, structure)
    assert isinstance(exact, kind)
    wide = exact.scaled(2.0)
    mixed = measured(density, structure, 0.5, wide)
    assert exact.log_volume < mixed.log_volume < wide.log_volume
    np.testing.assert_allclose(mixed.sd() / exact.sd(), np.sqrt(1 / (0.5 + 0.5 / 4)), rtol=0.02)


class Rejecting:
    """Nothing but the points where it is looked at first is accepted."""

    dim = D

    def __init__(self):
        self.looks = 0

    def log_density_gradient(self, x):
        self.looks += 1
        return np.where(self.looks == 1, np.zeros(len(x)), -np.inf), -x


def test_a_target_that_rejects_all_around_has_no_curvature():
    with pytest.raises(np.linalg.LinAlgError, match="rejects"):
        measured(Rejecting(), LowRankPart())
