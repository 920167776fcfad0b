"""Kernel densities, held equal to those of ArviZ 1.x."""

import numpy as np
import pytest

from stanrovi.diagnostics.density import kde, kde_by_mode, valleys
from stanrovi.io.generations import import_arviz, is_legacy

RNG = np.random.default_rng(5)
SAMPLES = {
    "normal": RNG.normal(size=4000),
    "few": RNG.normal(size=10),
    "two modes": np.concatenate([RNG.normal(size=500), 9 + RNG.normal(size=300)]),
    "at a bound": RNG.exponential(size=3001),
    "far from zero": 1e6 + RNG.normal(size=1001),
    "uniform": RNG.uniform(size=5000),
    "as many in every bin": np.linspace(0, 1, 1024),
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
        tolerance = 0.02 if name in list(SAMPLES)[:7] else 1
    else:
        from arviz_stats.base import array_stats

        their_grid, theirs, _ = array_stats.kde(values)
        # Its bandwidth is as exact as its root, which for the narrowest is not very.
        tolerance = 1e-7 if name in list(SAMPLES)[:7] else 1e-3
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


def mixture(weight, sd, size=4000, seed=0):
    rng = np.random.default_rng(seed)
    first = rng.random(size) < weight
    return np.where(first, 6 + sd * rng.normal(size=size), rng.normal(size=size))


@pytest.mark.parametrize("name", ["normal", "few", "at a bound", "uniform", "Cauchy", "two values"])
def test_one_mode_has_no_valley(name):
    assert valleys(SAMPLES[name]).size == 0


@pytest.mark.parametrize(("weight", "sd"), [(0.4, 0.15), (0.1, 0.15), (0.03, 0.1), (0.5, 0.8)])
def test_each_mode_has_a_bandwidth_of_its_own(weight, sd):
    values = mixture(weight, sd)
    (valley,) = valleys(values)
    assert 3 < valley < 6
    grid, density = kde_by_mode(values)
    mass = ((density[1:] + density[:-1]) / 2 * np.diff(grid)).sum()
    assert mass == pytest.approx(1, abs=0.01)
    assert (np.diff(grid) >= 0).all()
    peak = weight / sd / np.sqrt(2 * np.pi)
    assert density[grid > valley].max() == pytest.approx(peak, rel=0.2)


def test_many_modes_are_told_apart():
    values = np.random.default_rng(0).normal(size=(7, 500)) * 0.3 + 4 * np.arange(7)[:, None]
    np.testing.assert_allclose(valleys(values), 2 + 4 * np.arange(6), atol=1.2)


def test_density_ends_at_a_bound_and_fades_elsewhere():
    grid, density = kde_by_mode(SAMPLES["at a bound"])
    assert grid[0] > 0
    assert density[0] == pytest.approx(1, abs=0.15)
    assert density[-1] < 1e-3 * density.max()
    grid, density = kde_by_mode(SAMPLES["normal"][:200])
    assert max(density[0], density[-1]) < 1e-3 * density.max()


def test_where_a_mode_is_one_value_there_is_one_bandwidth():
    values = np.concatenate([np.zeros(100), 1 + 0.01 * RNG.normal(size=100)])
    grid, density = kde_by_mode(values)
    assert np.isfinite(density).all()
    assert len(grid) >= 512
