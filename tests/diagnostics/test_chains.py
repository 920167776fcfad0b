"""Effective sample sizes and R-hat of many quantities, held equal to ArviZ's of one."""

import numpy as np
import pytest
import xarray as xr
from comparison_cases import autocorrelated

from stanrovi.diagnostics import chains
from stanrovi.diagnostics.statistics import ess, rhat
from stanrovi.io.generations import import_arviz


def by_arviz(function, values, **options):
    """What ArviZ says of each quantity."""
    data = xr.Dataset({"x": (("chain", "draw", "k"), values)})
    return np.atleast_1d(getattr(import_arviz(), function)(data, **options)["x"].values)


def quantities(n_chains, n_draws, seed=0):
    """Quantities of every kind, with chains of any mixing."""
    rng = np.random.default_rng(seed)
    kinds = [
        *(autocorrelated(rng, n_chains, n_draws, 2, rho) for rho in (-0.9, -0.3, 0, 0.5, 0.99)),
        rng.standard_cauchy(size=(n_chains, n_draws, 2)),
        rng.integers(0, 3, size=(n_chains, n_draws, 2)).astype(float),  # ties
        np.repeat(rng.normal(size=(n_chains, -(-n_draws // 3), 1)), 3, axis=1)[:, :n_draws],
        rng.normal(size=(n_chains, n_draws, 1)) + np.arange(n_chains)[:, None, None],
        np.linspace(0, 1, n_draws)[None, :, None] * np.ones((n_chains, 1, 1)),
        (np.arange(n_draws) % 2)[None, :, None] * np.ones((n_chains, 1, 1)),
        np.full((n_chains, n_draws, 1), 3.0),
        1e6 + 1e-3 * rng.normal(size=(n_chains, n_draws, 1)),
    ]
    return np.concatenate(kinds, axis=2)


SHAPES = [(4, 1000), (2, 501), (1, 400), (3, 37), (4, 4), (2, 5), (2, 6), (2, 7), (2, 9), (3, 12)]


@pytest.mark.filterwarnings("ignore")  # ArviZ divides by the variance of constants
@pytest.mark.parametrize("shape", SHAPES)
def test_sizes_are_those_of_arviz(shape):
    for seed in range(5):
        values = quantities(*shape, seed)
        for kind, options in (("bulk", {}), ("tail", {"prob": (0.05, 0.95)})):
            theirs = by_arviz("ess", values, method=kind, **options)
            np.testing.assert_allclose(ess(values, kind), theirs, rtol=1e-8)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape[0] > 1])
def test_rhat_is_that_of_arviz(shape):
    values = quantities(*shape)
    for method in ("rank", "split"):
        theirs = by_arviz("rhat", values, method=method)
        np.testing.assert_allclose(rhat(values, method), theirs, rtol=1e-8)


def test_what_cannot_be_told_is_nan():
    values = quantities(4, 100)
    values[1, 7, 3] = np.nan
    for statistic in (ess, rhat):
        assert list(np.flatnonzero(np.isnan(statistic(values[..., :6])))) == [3]
        assert np.isnan(statistic(values[:, :3])).all()
    assert np.isnan(rhat(values[:1])).all()
    assert not np.isnan(ess(values[:1, :, :3])).any()


def test_blocks_change_nothing(monkeypatch):
    values = quantities(4, 100)
    whole = ess(values), ess(values, "tail"), rhat(values)
    monkeypatch.setattr(chains, "_BLOCK", 1000)
    for one, other in zip(whole, (ess(values), ess(values, "tail"), rhat(values)), strict=True):
        np.testing.assert_array_equal(one, other)
