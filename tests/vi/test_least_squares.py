import numpy as np
import pytest

from stanrovi.vi.least_squares import least_squares, with_constant


def expected(design, values, weight):
    root = np.sqrt(weight)[:, None]
    return np.linalg.lstsq(root * design, root * values, rcond=None)[0]


@pytest.mark.parametrize("scale", [1.0, 1e-150, 1e150])
def test_normal_equations_give_what_an_orthogonal_factorisation_gives(scale):
    rng = np.random.default_rng(0)
    design, unit = with_constant(rng.standard_normal((300, 20))), np.geomspace(1e-6, 1e6, 21)
    values, weight = rng.standard_normal((300, 4)) * scale, rng.uniform(0, 1, 300)
    reference = expected(design, values, weight)
    found = least_squares(design * unit, values, weight) * unit[:, None]
    np.testing.assert_allclose(found, reference, rtol=1e-10, atol=1e-12 * scale)
    np.testing.assert_allclose(
        least_squares(design, values), expected(design, values, np.ones(300)), rtol=1e-10
    )


@pytest.mark.parametrize(
    "design",
    [
        np.random.default_rng(1).standard_normal((5, 9)),  # too few rows
        np.ones((50, 3)),
        np.zeros((50, 2)),
        np.vander(np.linspace(0.9, 1.1, 60), 9),  # nearly dependent
    ],
)
def test_what_rows_do_not_tell_is_as_small_as_can_be(design):
    values = np.random.default_rng(2).standard_normal((len(design), 2))
    reference = np.linalg.lstsq(design, values, rcond=None)[0]
    np.testing.assert_allclose(least_squares(design, values), reference)
