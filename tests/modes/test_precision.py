"""Factors of a dense precision and of the same one held sparse say the same."""

import numpy as np
import pytest
from large import arrow
from scipy.sparse import csc_array, diags_array

from stanrovi.modes.precision import factorised, is_finite, sound_factor

SPARSE = csc_array(arrow(40, 3).precision(np.zeros(40)))
DENSE = SPARSE.toarray()
V = np.random.default_rng(0).standard_normal(40)


def inverse_of(factor, dim):
    return np.stack([factor.solve(unit) for unit in np.eye(dim)])


@pytest.mark.parametrize("make", [lambda q: factorised(q, 1e-12), sound_factor])
def test_dense_and_sparse_agree(make):
    for factor in (make(DENSE), make(SPARSE)):
        assert factor.half_log_det == pytest.approx(0.5 * np.linalg.slogdet(DENSE)[1])
        np.testing.assert_allclose(factor.solve(V), np.linalg.solve(DENSE, V))


def test_a_known_order_changes_nothing():
    order = np.random.default_rng(1).permutation(40)
    factor = factorised(SPARSE, 1e-12, order)
    np.testing.assert_allclose(factor.solve(V), np.linalg.solve(DENSE, V))


@pytest.mark.parametrize("held", [csc_array.toarray, lambda q: q], ids=["dense", "sparse"])
class TestOfMatricesThatAreNoPrecisions:
    def test_an_indefinite_one_is_refused(self, held):
        with pytest.raises(np.linalg.LinAlgError):
            factorised(held(csc_array(SPARSE - diags_array(np.full(40, 2.0)))), 1e-12)

    def test_a_coordinate_that_others_explain_is_refused(self, held):
        ridge = csc_array(np.array([[1.0, 1.0], [1.0, 1.0 + 1e-13]]))
        with pytest.raises(np.linalg.LinAlgError):
            factorised(held(ridge), 1e-12)

    @pytest.mark.parametrize("shift", [0.8, 2.0, 10.0, 1e4])
    def test_a_sound_factor_is_positive_definite(self, held, shift):
        matrix = csc_array(SPARSE - diags_array(np.full(40, shift)))
        inverse = inverse_of(sound_factor(held(matrix)), 40)
        np.testing.assert_allclose(inverse, inverse.T, atol=1e-10 * np.abs(inverse).max())
        assert np.linalg.eigvalsh(inverse).min() > 0

    def test_nothing_at_all_has_a_sound_factor(self, held):
        nothing = held(csc_array(diags_array(np.zeros(3))))
        assert np.isfinite(sound_factor(nothing).half_log_det)

    def test_what_is_no_number_is_told(self, held):
        spoiled = SPARSE.copy()
        spoiled.data[3] = np.nan
        assert is_finite(held(SPARSE))
        assert not is_finite(held(spoiled))
