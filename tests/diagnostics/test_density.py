"""Kernel densities, held equal to those of ArviZ 1.x."""

import numpy as np
import pytest

from stanrovi.diagnostics.density import kde
from stanrovi.io.generations import import_arviz, is_legacy

RNG = np.random.default_rng(5)
SAMPLES = {
    "normal": RNG.normal(size=4000),
    "few": RNG.normal(size=10),
    "two modes": np.concatenate([RNG.normal(size=500), 9 + RNG.normal(size=300)]),
    "at a bound": RNG.exponential(size=3001),
    "far from zero": 1e6 + RNG.normal(size=1001),
    "uniform": RNG.uniform(size=5000),
    "Cauchy": RNG.standard_cauchy(size=1000),
    "an outlier": np.append(1e-5 * RNG.normal(size=2000), 1.0),
    "ties": np.round(RNG.normal(size=4000)),
    "two values": np.repeat([0.0, 1.0], [50, 1]),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SAMPLES)
def test_densities_are_those_of_arviz(name):
    values = SAMPLES[name]
    grid, density = kde(values)
    if is_legacy():
        # It cuts the kernel at 3.1 sds, of an even number of bins, and keeps what that loses.
        their_grid, theirs = import_arviz().kde(values)
        tolerance = 0.02 if name in list(SAMPLES)[:6] else 1
    else:
        from arviz_stats.base import array_stats

        their_grid, theirs, _ = array_stats.kde(values)
        # Its bandwidth is as exact as its root, which for the narrowest is not very.
        tolerance = 1e-7 if name in list(SAMPLES)[:6] else 1e-3
    np.testing.assert_allclose(grid, their_grid, rtol=1e-12)
    np.testing.assert_allclose(density, theirs, rtol=0, atol=tolerance * theirs.max())


@pytest.mark.parametrize("name", SAMPLES)
def test_densities_integrate_to_one(name):
    grid, density = kde(SAMPLES[name])
    assert density.sum() * (grid[1] - grid[0]) == pytest.approx(1)


def test_shape_of_the_draws_does_not_matter():
    grid, density = kde(SAMPLES["normal"].reshape(4, 1000))
    assert abs(grid[density.argmax()]) < 0.5
    np.testing.assert_array_equal(density, kde(SAMPLES["normal"])[1])
