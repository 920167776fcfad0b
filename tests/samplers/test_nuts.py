"""NUTS over any density: right distributions, Stan's windows, honest counts."""

import numpy as np
import pytest

from stanrovi.densities import FunctionDensity
from stanrovi.diagnostics.statistics import ess, rhat
from stanrovi.errors import DensityError
from stanrovi.families.axes import DenseAxes, DiagonalAxes
from stanrovi.samplers.adaptation import NutsChains, starts, window_ends
from stanrovi.target import Target

SD = np.array([1.0, 5.0, 0.2])
ROOT = np.linalg.cholesky(np.array([[1.0, 0.9, 0.0], [0.9, 1.0, 0.3], [0.0, 0.3, 1.0]]))


def scaled(x):
    return -0.5 * ((x / SD) ** 2).sum(axis=1), -x / SD**2


def correlated(x):
    solved = np.linalg.solve(ROOT @ ROOT.T, x.T).T
    return -0.5 * (x * solved).sum(axis=1), -solved


def run(function, n_warm, n, *, seed=0, **options):
    target, rng = Target(FunctionDensity(function, 3)), np.random.default_rng(seed)
    chains = NutsChains(target, starts(target, rng, 4), rng, **options)
    chains.warm_up(n_warm)
    warm = target.n_gradients
    return chains.sample(n), target.n_gradients - warm


def check_moments(x, sd):
    """Means and variances within four standard errors."""
    assert np.abs(x.mean(axis=(0, 1)) / (sd / np.sqrt(ess(x)))).max() < 4
    squares = (x / sd) ** 2
    error = squares.std(axis=(0, 1)) / np.sqrt(ess(squares))
    assert np.abs((squares.mean(axis=(0, 1)) - 1) / error).max() < 4


def test_draws_are_those_of_the_density_whatever_its_scales():
    trace, n_gradients = run(scaled, 400, 600)
    assert rhat(trace.x).max() < 1.01
    check_moments(trace.x, SD)
    assert not trace.diverged.any()
    assert trace.acceptance.mean() == pytest.approx(0.8, abs=0.12)
    assert trace.n_steps.sum() == n_gradients
    assert np.isfinite(trace.energy).all()
    assert (trace.n_steps <= 2.0 ** (trace.depth + 1) - 1).all()


@pytest.mark.parametrize(
    "axes", [DenseAxes(ROOT), DiagonalAxes(np.ones(3))], ids=["dense", "diagonal"]
)
def test_a_metric_that_is_given_stays_and_serves(axes):
    trace, _ = run(correlated, 75, 600, axes=axes)
    assert rhat(trace.x).max() < 1.01
    check_moments(trace.x, np.ones(3))


def test_a_dense_metric_takes_fewer_steps_where_parameters_are_correlated():
    dense, _ = run(correlated, 75, 300, axes=DenseAxes(ROOT))
    unit, _ = run(correlated, 75, 300, axes=DiagonalAxes(np.ones(3)))
    assert dense.n_steps.sum() < 0.7 * unit.n_steps.sum()


def test_one_seed_one_run():
    first, again = (run(correlated, 20, 10, seed=3)[0] for _ in range(2))
    assert np.array_equal(first.x, again.x)
    assert not np.array_equal(first.x, run(correlated, 20, 10, seed=4)[0].x)


def test_walls_are_divergences_and_no_draws():
    def wall(x):
        value = np.where(x[:, 0] > 0, -0.5 * (x**2).sum(axis=1), -np.inf)
        return value, -x

    trace, _ = run(wall, 100, 300)
    assert trace.diverged.any()
    assert (trace.x[..., 0] > 0).all()
    assert trace.x[..., 0].mean() == pytest.approx(np.sqrt(2 / np.pi), abs=0.15)


def test_depth_is_bounded():
    trace, _ = run(scaled, 0, 20, max_depth=3)
    assert trace.depth.max() <= 3
    assert trace.n_steps.max() <= 7


def test_windows_are_those_of_stan():
    assert window_ends(1000) == (75, 100, 150, 250, 450, 950)
    assert window_ends(100) == (15, 90)
    assert window_ends(0) == ()


def test_a_density_that_is_finite_nowhere_has_no_start():
    target = Target(FunctionDensity(lambda x: (np.full(len(x), np.nan), x), 2))
    with pytest.raises(DensityError, match="No start was found"):
        starts(target, np.random.default_rng(0), 4)
