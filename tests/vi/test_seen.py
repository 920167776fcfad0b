import numpy as np
import pytest
from targets import gaussian, gaussian_mixture

from stanrovi.diagnostics.statistics import psis_khat
from stanrovi.families.axes import DiagonalAxes
from stanrovi.families.product import Product
from stanrovi.modes.basins import Mode
from stanrovi.target import Target
from stanrovi.vi.checks.basins import absent_modes
from stanrovi.vi.checks.evidence import Evidence
from stanrovi.vi.seen import Seen


@pytest.mark.parametrize("dim", [2, 40])
def test_the_latest_points_are_remembered_in_few_dimensions(dim):
    density = gaussian(np.zeros(dim), np.eye(dim))
    seen, rng = Seen(density), np.random.default_rng(0)
    assert seen.points[0].shape == (0, dim)
    x = rng.standard_normal((5000, dim))
    for start in range(0, 5000, 700):
        value, _ = seen.log_density_gradient(x[start : start + 700])
        np.testing.assert_array_equal(
            value, density.log_density_gradient(x[start : start + 700])[0]
        )
    points, values = seen.points
    expected = x[-4000:] if dim == 2 else x[:0]
    np.testing.assert_array_equal(points, expected)
    np.testing.assert_array_equal(values, density.log_density_gradient(expected)[0])


def test_a_needle_that_no_draw_met_is_found_where_the_fit_has_seen_it():
    place = np.array([0.8, -0.5, 0.3, 0.2, 0.4])
    density = gaussian_mixture([0.7, 0.3], [np.zeros(5), place], [np.eye(5), 0.1**2 * np.eye(5)])
    family = Product.gaussian(np.zeros(5), DiagonalAxes(np.ones(5)))
    draws = family.sample(200, np.random.default_rng(1))
    target = Target(density)
    blind = Evidence.at(target, family, draws, 200, psis_khat)
    top = float(blind.log_p.max())
    known = (Mode(position=np.zeros(5), log_density=top, axes=DiagonalAxes(np.ones(5))),)
    near = place + 0.1
    seen = (near[None], density.log_density_gradient(near[None])[0])
    found = {}
    for name, points in (("blind", None), ("seen", seen)):
        evidence = Evidence(
            target, family, blind.x, blind.gradient, blind.log_p, blind.log_q, blind.khat,
            psis_khat, seen=points,
        )  # fmt: skip
        found[name], _ = absent_modes(evidence, known, 700, np.random.default_rng(2))
    assert not found["blind"]
    ((mode, share),) = found["seen"]
    np.testing.assert_allclose(mode.position, place, atol=0.02)
    assert share == pytest.approx(0.3, abs=0.06)
