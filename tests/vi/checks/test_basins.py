"""Modes that a fit lacks, as a whole fit tells them."""

import numpy as np
import pytest
from targets import fit, gaussian_mixture, standard

from stanrovi.families.axes import DenseAxes
from stanrovi.modes.basins import Mode
from stanrovi.modes.found import SearchResult
from stanrovi.vi.checks.basins import shifts
from stanrovi.vi.checks.weights import Weighted
from stanrovi.vi.methods import driver


def at(*position):
    return np.array(position, dtype=float)


def short_sighted(monkeypatch, keep):
    """A mode search that overlooks modes."""
    search = driver.search_modes

    def some(target, rng):
        found = search(target, rng)
        modes = tuple(m for m in found.modes if keep(m.position))
        kept = {name: getattr(found, name) for name in ("start", "n_starts", "n_usable")}
        return SearchResult(modes=modes, peak=modes[0], n_improper=0, **kept)

    monkeypatch.setattr(driver, "search_modes", some)


def three():
    return gaussian_mixture(
        [0.5, 0.38, 0.12], [at(0, 0), at(9, 2), at(-3, 12)], [np.eye(2), np.eye(2), np.eye(2)]
    )


@pytest.mark.parametrize("seed", range(3))
def test_a_mode_that_the_search_overlooked_is_told(monkeypatch, seed):
    short_sighted(monkeypatch, lambda x: x[1] < 6)
    result = fit(three(), "auto", seed, names=("a", "b"))
    assert len(result.modes) == 2
    assert result.verdict.name == "collapsed"
    assert "about 12% of the mass" in result.verdict.reasons[0]
    assert "a = -3, b = 12" in result.verdict.reasons[0]


def test_a_minor_mode_that_counts_for_nothing_is_not(monkeypatch):
    short_sighted(monkeypatch, lambda x: x[0] < 6)
    density = gaussian_mixture([0.99, 0.01], [at(0, 0), at(9, 0)], [np.eye(2)] * 2)
    assert fit(density, "auto").verdict.name == "ok"


@pytest.mark.parametrize("seed", range(3))
def test_a_missing_twin_is_told_by_name(monkeypatch, seed):
    short_sighted(monkeypatch, lambda x: x[0] < x[1])
    twins = gaussian_mixture([0.5, 0.5], [at(-4, 4), at(4, -4)], [np.eye(2)] * 2)
    result = fit(twins, "rovi", seed, names=("mu.1", "mu.2"))
    assert result.verdict.name == "collapsed"
    assert "mode 1 with mu.1 and mu.2 exchanged" in result.verdict.reasons[0]


def test_masses_are_compared_with_their_noise():
    unit = DenseAxes(np.eye(1))
    modes = tuple(Mode(position=at(x), log_density=0.0, axes=unit, weight=0.5) for x in (-3.0, 3.0))
    x = np.array([[-3.0]] * 60 + [[3.0]] * 40)
    target = np.where(x[:, 0] < 0, 0.5 / 60, 0.5 / 40)
    first, second = shifts(modes, Weighted(x, target, np.full(100, 0.01)))
    assert (first.fit, first.target) == pytest.approx((0.6, 0.5))
    assert (second.fit, second.target) == pytest.approx((0.4, 0.5))
    assert 0 < first.noise < 0.05
    assert shifts(modes[:1], Weighted(x, target, target)) == ()


def test_a_fit_of_one_mode_has_no_shifts():
    assert fit(standard(3), "gaussian").verdict.name == "ok"
