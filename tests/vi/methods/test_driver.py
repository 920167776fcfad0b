import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from targets import (
    banana,
    fit,
    flat,
    funnel,
    gaussian,
    gumbel,
    nowhere_finite,
    rejecting,
    student_t,
    triangle,
    two_gaussians,
    unbounded,
)

from stanrovi.densities import FunctionDensity
from stanrovi.diagnostics.statistics import psis_khat
from stanrovi.errors import DensityError, UsageError
from stanrovi.modes.separateness import separateness
from stanrovi.vi.methods import driver
from stanrovi.vi.methods.driver import METHODS


class Counted:
    """A density that counts its evaluations."""

    def __init__(self, density):
        self._density, self.dim, self.calls = density, density.dim, 0

    def log_density_gradient(self, x):
        self.calls += len(x)
        return self._density.log_density_gradient(x)


SKEW = gumbel([[1.0, 0.5], [0.0, 1.0]])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("density", [SKEW, triangle()], ids=["skew", "triangle"])
def test_the_same_seed_gives_the_same_fit_to_the_last_bit(method, density):
    first, second = fit(density, method, 5), fit(density, method, 5)
    np.testing.assert_array_equal(first.draws, second.draws)
    assert first.elbo == second.elbo
    assert first.khat == second.khat
    assert first.trace == second.trace
    assert not np.array_equal(first.draws, fit(density, method, 6).draws)


@pytest.mark.parametrize("method", METHODS)
def test_the_result_agrees_with_itself(method):
    density = two_gaussians(4.0, 0.4, np.eye(2))
    result = fit(density, method, n_draws=1000)
    assert result.method == method
    assert result.dim == 2
    assert result.seed == 0
    assert result.draws.shape == (1000, 2)
    log_p = density.log_density_gradient(result.draws)[0]
    log_q = result.family.log_density_gradient(result.draws)[0]
    np.testing.assert_array_equal(result.log_p, log_p)
    np.testing.assert_array_equal(result.log_q, log_q)
    assert result.elbo == pytest.approx((log_p - log_q).mean())
    assert result.elbo_se == pytest.approx((log_p - log_q).std(ddof=1) / np.sqrt(1000))
    ratio = log_p - log_q
    assert result.khat == (min(psis_khat(ratio), 0.0) if ratio.std() < 0.05 else psis_khat(ratio))
    assert sum(m.mass for m in result.modes) == pytest.approx(1.0)
    assert 0 <= result.density_seconds <= result.seconds


@pytest.mark.parametrize("method", METHODS)
def test_every_gradient_is_counted_by_stage(method):
    calls = 0

    def counted(x):
        nonlocal calls
        calls += len(x)
        return triangle().log_density_gradient(x)

    result = fit(FunctionDensity(counted, 2), method, n_draws=2000)
    stages = dict(result.gradients_by_stage)
    assert calls == sum(stages.values()) == result.n_gradients
    assert 1000 <= len(result.log_p) <= stages.pop("draws")
    checks = stages.pop("checks")
    assert 0 <= checks <= 2 * max(1000, result.n_gradients) + 1000
    assert sum(stages.values()) == result.n_fit_gradients
    assert "other" not in stages
    assert set(result.seconds_by_stage) >= {*stages, "draws", "checks"}
    counts = [p.n_gradients for p in result.trace]
    assert counts == sorted(counts)
    assert counts[-1] <= result.n_fit_gradients


@pytest.mark.parametrize("known", [2, 3], ids=["repaired", "at once"])
def test_every_gradient_is_counted_of_fits_made_anew(known, monkeypatch):
    """A search that overlooks a mode: the checks find it, and the second fit has it."""
    density = Counted(triangle())
    search = driver.search_modes

    def short_sighted(*args):
        found = search(*args)
        return replace(found, modes=found.modes[:known])

    monkeypatch.setattr(driver, "search_modes", short_sighted)
    result = fit(density, "auto")
    assert len(result.modes) == 3
    assert density.calls == result.n_gradients == sum(result.gradients_by_stage.values())
    fits = 2 if known == 2 else 1
    assert result.gradients_by_stage["draws"] >= 1000 * fits


def test_an_easy_posterior_is_judged_by_a_thousand_draws():
    result = fit(SKEW, "auto")
    assert result.draws.shape == (4000, 2)
    assert len(result.log_p) == len(result.log_q) == result.gradients_by_stage["draws"] == 1000
    assert result.verdict.name == "ok"


def test_errors_that_a_thousand_draws_do_not_tell_get_more():
    density = Counted(banana(0.5))
    result = fit(density, "auto")
    assert result.verdict.name == "ok"
    assert 1000 < len(result.log_p) <= 4000
    assert result.gradients_by_stage["draws"] == len(result.log_p)
    assert density.calls == result.n_gradients
    few = fit(banana(0.5), "auto", n_draws=1000)
    assert few.gradients_by_stage["draws"] == len(few.log_p) == 1000
    np.testing.assert_array_equal(few.family.center, result.family.center)


@pytest.mark.parametrize("method", METHODS)
def test_a_spent_budget_returns_the_best_so_far(method):
    full = fit(triangle(), method)
    search = full.gradients_by_stage["modes"]
    budget = search + (full.n_fit_gradients - search) * 2 // 3
    result = fit(triangle(), method, max_gradients=budget)
    assert result.status == "budget"
    assert "budget" in result.message
    assert result.n_fit_gradients <= budget
    assert result.verdict.name != "ok"
    assert np.isfinite(result.elbo)


@pytest.mark.parametrize("method", METHODS)
def test_a_budget_that_suffices_changes_nothing(method):
    full = fit(SKEW, method)
    result = fit(SKEW, method, max_gradients=full.n_fit_gradients)
    np.testing.assert_array_equal(result.draws, full.draws)
    assert result.status == full.status


def test_more_budget_is_no_worse():
    fits = [fit(banana(1.0), "rovi", max_gradients=n) for n in (400, 700, 1500, 4000)]
    elbos, se = (np.array([getattr(f, name) for f in fits]) for name in ("elbo", "elbo_se"))
    assert (np.diff(elbos) > -2 * np.hypot(se[1:], se[:-1])).all()
    assert elbos[-1] > elbos[0] + 0.1


def test_a_budget_below_the_starting_points_is_an_error_with_a_cure():
    with pytest.raises(DensityError, match="allow more gradients"):
        fit(SKEW, "rovi", max_gradients=10)


@pytest.mark.parametrize("method", METHODS)
def test_a_budget_spent_in_the_mode_search_returns_what_was_found(method):
    search = fit(triangle(), method).gradients_by_stage["modes"]
    budgets = np.linspace(20, search - 1, 6).astype(int)
    results = [fit(triangle(), method, max_gradients=int(n)) for n in budgets]
    for budget, result in zip(budgets, results, strict=True):
        assert result.status == "budget"
        assert "mode search" in result.message
        assert result.n_fit_gradients <= budget
        assert result.verdict.name != "ok"
        assert np.isfinite(result.draws).all()
    assert len(results[-1].modes) == 3
    assert results[-1].elbo > results[0].elbo


def test_a_time_limit_ends_the_fit(monkeypatch):
    hour, calls = 3600.0, 0

    def counted(x):
        nonlocal calls
        calls += len(x)
        return triangle().log_density_gradient(x)

    def clock():
        return time.perf_counter() + (2 * hour if calls > 1000 else 0.0)

    monkeypatch.setattr("stanrovi.target.time", SimpleNamespace(perf_counter=clock))
    result = fit(FunctionDensity(counted, 2), "mixture", max_seconds=hour)
    assert result.status == "budget"
    assert 1000 < result.n_gradients < fit(triangle(), "mixture").n_gradients


def test_progress_hears_the_trace():
    heard = []
    result = fit(SKEW, "rovi", progress=heard.append)
    assert tuple(heard) == result.trace


def test_an_unknown_method_is_refused_with_the_choices():
    with pytest.raises(UsageError, match=r"'vi'.*gaussian, mfvi, rovi, structured, mixture, auto"):
        fit(SKEW, "vi")


@pytest.mark.parametrize("method", METHODS)
def test_a_density_that_is_finite_nowhere_is_refused(method):
    with pytest.raises(DensityError, match="not finite at any"):
        fit(nowhere_finite(2), method)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("density", [flat(2), unbounded()], ids=["flat", "unbounded"])
def test_an_improper_density_is_never_ok(method, density):
    try:
        result = fit(density, method)
    except DensityError:
        return
    assert result.modes == ()
    assert result.verdict.name == "suspect"
    assert result.warnings


def test_an_unbounded_density_names_the_direction():
    result = fit(unbounded(), "gaussian", names=("a", "b"))
    assert any("No proper mode" in w for w in result.warnings)
    assert any("widest along b (unconstrained)" in w for w in result.warnings)
    anonymous = fit(unbounded(), "gaussian")
    assert any("coordinate 2" in w for w in anonymous.warnings)


def test_a_density_that_changes_its_mind_about_everything_is_refused():
    usual = fit(SKEW, "gaussian").n_fit_gradients
    calls = 0

    def fickle(x):
        nonlocal calls
        calls += len(x)
        value, gradient = SKEW.log_density_gradient(x)
        return np.where(calls > usual, np.nan, value), gradient

    with pytest.raises(DensityError, match="rejects every draw"):
        fit(FunctionDensity(fickle, 2), "gaussian")


def test_rejected_draws_are_said():
    density = rejecting(gaussian(np.zeros(2), np.eye(2)), lambda x: x[:, 0] > -0.5)
    result = fit(density, "gaussian")
    rejected = int((~np.isfinite(result.log_p)).sum())
    assert rejected > 0
    assert result.elbo == -np.inf
    assert result.verdict.name == "suspect"
    assert any("rejects" in r for r in result.verdict.reasons)
    assert result.n_rejections > 0


def test_a_funnel_is_suspect_for_every_family_that_cannot_hold_it():
    for method in ("gaussian", "mfvi", "rovi", "mixture"):
        assert fit(funnel(5), method).verdict.name == "suspect"


@pytest.mark.parametrize("weight", [0.5, 0.3, 0.1])
@pytest.mark.parametrize("m", [2.0, 3.0, 6.0])
def test_mean_field_collapses_below_the_computed_bound(m, weight):
    density = two_gaussians(2 * m * np.sqrt(2), weight, np.eye(2))
    for seed in range(3):
        result = fit(density, "mfvi", seed)
        bound = separateness(result.modes, ("a", "b")).bound
        smaller = min((result.draws > 0).mean(axis=0).min(), (result.draws < 0).mean(axis=0).min())
        assert smaller <= bound
        assert min(mode.mass for mode in result.modes) <= bound
        if m >= 3:
            assert result.verdict.name == "collapsed"
            # The bigger mode is kept: its loss is smaller.
            assert result.elbo == pytest.approx(np.log(max(weight, 1 - weight)), abs=0.01)


def test_a_collapse_is_always_flagged_although_khat_is_often_small():
    density = two_gaussians(6 * np.sqrt(2), 0.5, np.eye(2))
    results = [fit(density, "mfvi", seed, n_draws=1000) for seed in range(50)]
    assert {r.verdict.name for r in results} == {"collapsed"}
    assert {r.status for r in results} == {"converged"}
    assert sum(r.khat < 0.7 for r in results) >= 1


def test_a_verdict_does_not_depend_on_how_few_draws_are_asked_for():
    few, many = (fit(student_t(1, 3), "gaussian", n_draws=n) for n in (2, 1000))
    assert few.verdict == many.verdict
    assert few.draws.shape == (2, 3)
    np.testing.assert_array_equal(few.draws, many.draws[:2])
    assert few.elbo == many.elbo


def test_a_larger_budget_lets_a_fit_go_on_and_the_message_says_so():
    density = funnel(6)
    short = fit(density, "rovi")
    assert short.status == "max_iterations"
    assert "larger budget" in short.message
    long = fit(density, "rovi", max_gradients=3 * short.n_fit_gradients)
    assert short.n_fit_gradients < long.n_fit_gradients <= 3 * short.n_fit_gradients


class Clockwork:
    """A density that costs seconds on a clock which stands still else."""

    def __init__(self, density, seconds):
        self.density, self.dim, self.seconds, self.now = density, density.dim, seconds, 0.0

    def perf_counter(self):
        return self.now

    def log_density_gradient(self, x):
        self.now += self.seconds * len(x)
        return self.density.log_density_gradient(x)


@pytest.fixture
def clockwork(monkeypatch):
    """Make densities that cost seconds, and run all clocks by theirs."""

    def make(seconds, density=SKEW):
        made = Clockwork(density, seconds)
        for module in ("target", "waiting", "vi.methods.driver"):
            monkeypatch.setattr(f"stanrovi.{module}.time", made)
        return made

    return make


@pytest.mark.parametrize("seconds", [1e-4, 1e-3, 0.02, 0.1])
def test_seconds_hold_in_every_stage(seconds, clockwork):
    density = clockwork(seconds)
    result = fit(density, "auto", 1, max_seconds=10.0)
    assert density.now <= 1.1 * 10.0 + 16 * seconds
    assert density.now == pytest.approx(seconds * result.n_gradients)
    assert density.now == pytest.approx(result.density_seconds) == result.seconds
    assert 8 <= len(result.log_p) == len(result.log_q) <= len(result.draws) == 4000
    if len(result.log_p) < 1000:
        assert f"judged by {len(result.log_p):,} draws instead of 1,000" in result.warnings[-1]
    assert (result.status == "budget") == (seconds >= 0.02)
    if result.status == "budget":
        assert result.verdict.name == "suspect"


def test_a_verdict_on_too_few_draws_is_suspect(clockwork):
    density = clockwork(0.006)
    result = fit(density, "gaussian", 1, max_seconds=10.0, seconds_per_draw=0.01)
    assert len(result.log_p) < 1000
    assert (result.status, result.verdict.name) == ("budget", "suspect")
    assert "of the 1,000 draws that the verdict rests on" in result.message


def test_seconds_that_are_not_spent_change_nothing():
    one, other = fit(SKEW, "auto", 3), fit(SKEW, "auto", 3, max_seconds=1e6)
    np.testing.assert_array_equal(one.draws, other.draws)
    assert one.trace == other.trace
    assert one.gradients_by_stage == other.gradients_by_stage


@pytest.mark.parametrize("first", [1, 300], ids=["from the start", "later"])
def test_a_density_that_hangs_is_given_up(first):
    event, evaluated = threading.Event(), []

    def hanging(x):
        evaluated.extend(x)
        if len(evaluated) >= first:
            event.wait(60)
        return SKEW.log_density_gradient(x)

    start = time.perf_counter()
    with pytest.raises(DensityError, match="had not returned by then"):
        fit(FunctionDensity(hanging, 2), "rovi", max_seconds=0.5)
    assert time.perf_counter() - start < 10
    event.set()


def test_a_density_that_hangs_once_costs_the_fit_and_not_the_draws():
    event, evaluated = threading.Event(), []

    def hanging(x):
        evaluated.extend(x)
        if not event.is_set() and len(evaluated) >= 300:
            event.set()
            time.sleep(5)
        return SKEW.log_density_gradient(x)

    result = fit(FunctionDensity(hanging, 2), "rovi", max_seconds=1.0)
    assert result.status == "budget"
    assert "had not returned by then" in result.message
    assert len(result.draws) >= 8
