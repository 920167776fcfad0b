"""Sampling by a fit: trusted where it is right, refused or mended where it is not."""

from dataclasses import replace

import numpy as np
import pytest
from targets import fit, fitter_of, two_gaussians

from stanrovi.densities import FunctionDensity
from stanrovi.diagnostics.statistics import ess, mixing
from stanrovi.errors import DensityError
from stanrovi.samplers import by_fit
from stanrovi.samplers.bridge import LogRatio
from stanrovi.samplers.by_fit import sample_density
from stanrovi.samplers.legs import LegReport
from stanrovi.samplers.mixing import Goal
from stanrovi.samplers.trust import doubts, support


def sample(density, seed=0, goal=None, **options):
    with np.errstate(all="ignore"):
        return sample_density(
            density, seed=seed, goal=goal or Goal(), mixing=mixing,
            fitter=fitter_of(density, seed), **options,
        )  # fmt: skip


def funnel(x):
    scale = np.exp(x[:, :1])
    rest = x[:, 1:]
    value = -0.5 * (x[:, 0] / 1.5) ** 2 - 0.5 * ((rest / scale) ** 2).sum(axis=1)
    value -= rest.shape[1] * x[:, 0]
    slope = np.empty_like(x)
    slope[:, 1:] = -rest / scale**2
    slope[:, 0] = -x[:, 0] / 2.25 + ((rest / scale) ** 2).sum(axis=1) - rest.shape[1]
    return value, slope


def test_a_funnel_is_sampled_to_its_narrow_end_for_a_few_thousand_gradients():
    run = sample(FunctionDensity(funnel, 6))
    assert doubts(run, Goal()) == ()
    assert run.kernel == "base"
    assert not run.trace.diverged.any()
    assert run.n_gradients < 10_000
    assert run.n_gradients == sum(run.gradients_by_stage.values())
    root = run.trace.x[..., 0]
    below = root < -1.645 * 1.5
    error = below.std() / np.sqrt(ess(below[..., None].astype(float))[0])
    assert below.mean() == pytest.approx(0.05, abs=4 * error)
    truth = 0.5 * np.log(2 * np.pi * 2.25) + 2.5 * np.log(2 * np.pi)
    assert run.evidence.value == pytest.approx(truth, abs=4 * run.evidence.se + 1e-3)
    assert "1 basin found" in support(run, Goal())


@pytest.mark.parametrize("seed", range(2))
def test_two_modes_have_their_weights_and_both_legs_agree(seed):
    run = sample(two_gaussians(8.0, 0.3, np.eye(3)), seed)
    assert doubts(run, Goal()) == ()
    assert run.kernel == "tempering"
    assert run.n_gradients < 100_000
    lighter = np.argmin(run.masses)
    assert run.masses[lighter] == pytest.approx(0.3, abs=4 * run.mass_errors[lighter])
    assert {leg.name for leg in run.legs} == {"fit", "wide"}
    assert "agree" in support(run, Goal())


@pytest.mark.parametrize("seed", range(2))
def test_begun_from_a_collapsed_fit_it_mends_that(seed):
    density = two_gaussians(12.0, 0.5, np.eye(2))
    collapsed = fit(density, "mfvi", seed, n_draws=512)
    assert collapsed.verdict.name == "collapsed"
    run = sample(density, seed, init=collapsed)
    assert doubts(run, Goal()) == ()
    assert run.masses == pytest.approx([0.5, 0.5], abs=4 * run.mass_errors.max())


def test_begun_from_a_fit_that_knows_one_of_two_modes_it_finds_the_other():
    density = two_gaussians(8.0, 0.5, np.eye(2))
    alone = fit(two_gaussians(8.0, 1 - 1e-12, np.eye(2)), "gaussian", n_draws=512)
    assert len(alone.modes) == 1
    run = sample(density, init=alone, wide_leg=True)
    assert len(run.fit.modes) == 2
    assert doubts(run, Goal()) == ()
    assert run.masses == pytest.approx([0.5, 0.5], abs=4 * run.mass_errors.max())


def ring(x):
    r = np.sqrt((x**2).sum(axis=1) + 1e-12)
    return -0.5 * ((r - 5) / 0.3) ** 2, -((r - 5) / 0.09 / r)[:, None] * x


@pytest.mark.slow
def test_a_ring_is_sampled_and_no_more_is_claimed_than_is_known():
    goal = Goal(max_gradients=60_000)
    run = sample(FunctionDensity(ring, 2), goal=goal)
    assert run.n_gradients <= goal.max_gradients
    radius = np.sqrt((run.trace.x**2).sum(axis=2))
    assert radius.mean() == pytest.approx(5.0, abs=0.15)
    if not doubts(run, goal):
        truth = np.log(2 * np.pi * 5 * np.sqrt(2 * np.pi) * 0.3)
        assert run.evidence.value == pytest.approx(truth, abs=4 * run.evidence.se + 0.02)


def test_where_base_coordinates_do_not_serve_nuts_does():
    """A fit of the wrong scales, so far off that no trajectory through it gets on."""
    sd = np.array([1.0, 1.0, 50.0])
    density = FunctionDensity(lambda x: (-0.5 * ((x / sd) ** 2).sum(axis=1), -x / sd**2), 3)
    narrow = fit(FunctionDensity(lambda x: (-0.5 * (x**2).sum(axis=1), -x), 3), "gaussian")
    run = sample(density, init=narrow)
    assert run.kernel == "nuts"
    assert doubts(run, Goal()) == ()
    assert run.trace.x[..., 2].std() == pytest.approx(50.0, rel=0.2)


def test_a_budget_that_ends_early_is_told():
    density = FunctionDensity(funnel, 6)
    fitted = sample(density).fit
    spent = sum(fitted.gradients_by_stage.values())
    goal = Goal(ess=5000, max_gradients=spent + 3000)
    run = sample(density, goal=goal, init=fitted)
    assert run.n_gradients <= goal.max_gradients
    (reason,) = doubts(run, goal)
    assert "have not reached R-hat below 1.01 and bulk and tail ESS of 5000" in reason
    with pytest.raises(DensityError, match="spent before the first draws"):
        sample(density, goal=Goal(max_gradients=spent + 10), init=fitted)
    with pytest.raises(DensityError, match="spent before the first draws"):
        sample(density, goal=Goal(max_seconds=1e-9), init=fitted)


def test_draws_are_kept_where_not_a_gradient_is_left_for_nuts(monkeypatch):
    density = FunctionDensity(funnel, 6)
    fitted = sample(density).fit
    monkeypatch.setattr(by_fit, "_HOPELESS", 2.0)
    goal = Goal(max_gradients=sum(fitted.gradients_by_stage.values()) + 600)
    run = sample(density, goal=goal, init=fitted)
    assert run.kernel == "base"
    assert run.trace.n_draws >= 10
    assert run.n_gradients <= goal.max_gradients


def test_one_seed_one_run():
    density = FunctionDensity(funnel, 4)
    first, again = sample(density, 5), sample(density, 5)
    assert np.array_equal(first.trace.x, again.trace.x)


@pytest.fixture(scope="module")
def good():
    return sample(two_gaussians(6.0, 0.4, np.eye(2)))


def with_wide(run, **changes):
    own, wide = run.legs
    return replace(run, legs=(own, replace(wide, **changes)))


def test_legs_that_disagree_die_or_lack_are_told(good):
    def reason(run):
        (said,) = doubts(run, Goal())
        return said

    own = good.evidence
    off = with_wide(good, evidence=LogRatio(own.value + np.log(2), 0.05))
    assert "one of them misses part of the posterior" in reason(off)
    vague = with_wide(good, evidence=LogRatio(own.value, 0.5))
    assert "have an error of 0.50" in reason(vague)
    dead = with_wide(good, alive=False, round_trips=0)
    assert "made no round trips in 2 dimensions" in reason(dead)
    assert "No wide reference reaches" in reason(replace(good, legs=good.legs[:1]))
    assert "No tempering from the fit" in reason(replace(good, legs=good.legs[1:]))


def test_what_else_is_against_draws_is_told(good):
    def said(run):
        return " ".join(doubts(run, Goal()))

    lost = replace(good, masses=np.array([1.0, 0.0]))
    assert "Mode 2 has" in said(lost)
    diverged = np.ones_like(good.trace.diverged)
    assert "trajectories diverged" in said(
        replace(good, trace=replace(good.trace, diverged=diverged))
    )
    absent = replace(good, fit=replace(good.fit, absent=np.zeros((1, 2))))
    assert "1 mode found that the fit could not be given" in said(absent)


@pytest.mark.slow
def test_draws_on_one_side_of_a_density_without_modes_are_not_trusted():
    """A product of two signs, and a spike at zero where no climb ends."""

    def function(x):
        product = x[:, 0] * x[:, 1]
        value = -0.5 * ((product - 4) / 0.3) ** 2 - 0.5 * (x**2).sum(axis=1) / 4
        pull = -(product - 4) / 0.09
        slope = np.stack([pull * x[:, 1], pull * x[:, 0]], axis=1) - x / 4
        return value, slope

    density = FunctionDensity(function, 2)
    found = sample(density, names=("a", "b"))
    side = np.sign(found.trace.x[..., 0]).mean()
    assert abs(side) < 0.5 or doubts(found, Goal())
    lost = replace(found, fit=replace(found.fit, modes=()), masses=np.empty(0), legs=())
    said = doubts(replace(lost, unvisited=("the sign of a, b turned",)), Goal())
    assert any("the same with the sign of a, b turned, and no draw is there" in s for s in said)
    assert any("no look for others" in s for s in doubts(replace(lost, kernel="nuts"), Goal()))
    assert "no mode of its own" in support(lost, Goal())


def test_a_leg_is_alive_by_its_round_trips(good):
    assert all(isinstance(leg, LegReport) and leg.alive for leg in good.legs)
    assert good.kernel != "base"
