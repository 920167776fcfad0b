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


def short_sighted(monkeypatch, keep, *, repairs=False):
    """A mode search that overlooks modes, and no second fit with those that the checks find."""
    search = driver.search_modes

    def some(target, rng, names):
        found = search(target, rng, names)
        modes = tuple(m for m in found.modes if keep(m.position))
        kept = {name: getattr(found, name) for name in ("start", "n_starts", "n_usable")}
        return SearchResult(modes=modes, peak=modes[0], n_improper=0, **kept)

    monkeypatch.setattr(driver, "search_modes", some)
    if not repairs:
        monkeypatch.setattr(driver, "_REPAIRS", 0)


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


@pytest.mark.parametrize("seed", range(3))
def test_a_mode_that_the_checks_found_is_in_the_next_fit(monkeypatch, seed):
    short_sighted(monkeypatch, lambda x: x[1] < 6, repairs=True)
    result = fit(three(), "auto", seed)
    assert result.verdict.name == "ok"
    assert [m.mass for m in result.modes] == pytest.approx([0.5, 0.38, 0.12], abs=0.01)
    assert not len(result.absent)
    # Everything is counted: the first fit, its draws, the second.
    assert sum(result.gradients_by_stage.values()) == result.n_gradients
    assert result.gradients_by_stage["draws"] >= 1000 + len(result.log_p)


def test_a_mode_without_room_for_it_is_told_and_not_fitted(monkeypatch):
    short_sighted(monkeypatch, lambda x: x[1] < 6, repairs=True)
    result = fit(three(), "gaussian")
    assert len(result.modes) == 2
    assert result.verdict.name == "collapsed"


def test_an_orbit_of_which_one_mode_was_found_is_completed(monkeypatch):
    short_sighted(monkeypatch, lambda x: x[0] < x[1], repairs=True)
    twins = gaussian_mixture([0.5, 0.5], [at(-4, 4), at(4, -4)], [np.eye(2)] * 2)
    result = fit(twins, "auto", names=("mu.1", "mu.2"))
    assert result.verdict.name == "ok"
    assert [m.orbit for m in result.modes] == [0, 0]
    assert [m.mass for m in result.modes] == pytest.approx([0.5, 0.5], abs=0.01)


@pytest.mark.parametrize(("dim", "width"), [(2, 0.05), (5, 0.05), (3, 0.02)])
def test_a_slab_around_a_spike_is_told(dim, width):
    """The slab has no mode of its own, and the fit of the spike sees nothing of it."""
    density = gaussian_mixture(
        [0.5, 0.5], [np.zeros(dim), np.full(dim, width / 3)], [np.eye(dim), width**2 * np.eye(dim)]
    )
    assert fit(density, "auto", 1).verdict.name != "ok"


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
