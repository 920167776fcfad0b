"""Moves through a fit leave the target as it is, however wrong the fit."""

import numpy as np
import pytest
from targets import two_gaussians

from stanrovi.densities import FunctionDensity
from stanrovi.diagnostics.statistics import ess
from stanrovi.families.mixture import Mixture
from stanrovi.families.product import Product
from stanrovi.samplers.base_chains import BaseChains
from stanrovi.samplers.charts import Charts, Path, Walkers
from stanrovi.target import Target

N = 2000


def mixture(weights, *centres, scale=1.0):
    parts = tuple(Product.gaussian(np.array(c), scale * np.eye(2)) for c in centres)
    return Mixture(np.array(weights), parts)


@pytest.fixture
def pair():
    """Two normals four sd apart, weights .3 and .7, and draws of them."""
    density = two_gaussians(6.0, 0.3, np.eye(2))
    rng = np.random.default_rng(1)
    far = 3 / np.sqrt(2)
    centre = np.where(rng.random(N)[:, None] < 0.3, -far, far)
    return Target(density), centre + rng.standard_normal((N, 2)), density


@pytest.mark.parametrize("move", ["turn", "jump", "leap"])
@pytest.mark.parametrize("scale", [0.8, 1.4], ids=["narrow", "wide"])
def test_draws_of_the_target_stay_draws_of_it(pair, move, scale):
    target, x, density = pair
    far = 3 / np.sqrt(2)
    family = mixture([0.6, 0.4], (-far, -far), (far, far + 0.5), scale=scale)
    charts, rng = Charts(target, family), np.random.default_rng(2)
    walkers, path = Walkers.at(target, x), Path(None, np.ones(N))
    moved = 0.0
    for _ in range(5):
        before = walkers.x
        if move == "turn":
            walkers = charts.turn(walkers, path, np.full(N, 0.5), 3, rng).walkers
        elif move == "jump":
            walkers = charts.jump(walkers, path, rng)
        else:
            walkers, acceptance = charts.leap(walkers, rng)
            assert ((acceptance >= 0) & (acceptance <= 1)).all()
        moved = max(moved, float((walkers.x != before).any(axis=1).mean()))
    assert moved > 0.2
    again = Walkers.at(target, walkers.x)
    assert np.allclose(again.log_p, walkers.log_p)
    assert np.allclose(again.gradient, walkers.gradient)
    assert density.masses(walkers.x)[0] == pytest.approx(0.3, abs=4 * np.sqrt(0.21 / N))
    centred = walkers.x - np.where(walkers.x.sum(axis=1)[:, None] < 0, -far, far)
    assert np.abs(centred.mean(axis=0)).max() < 4 / np.sqrt(N)
    assert np.abs((centred**2).mean(axis=0) - 1).max() < 4 * np.sqrt(2 / N)


def test_jumps_cross_between_basins_that_trajectories_do_not(pair):
    target, x, _ = pair
    far = 3 / np.sqrt(2)
    charts = Charts(target, mixture([0.5, 0.5], (-far, -far), (far, far)))
    path, rng = Path(None, np.ones(N)), np.random.default_rng(3)
    walkers = Walkers.at(target, x)
    crossed = charts.jump(walkers, path, rng).x.sum(axis=1) * x.sum(axis=1) < 0
    assert crossed.mean() > 0.2
    turned = charts.turn(walkers, path, np.full(N, 0.7), 2, rng).walkers
    assert (turned.x.sum(axis=1) * x.sum(axis=1) < 0).mean() < 0.02


def test_tempered_densities_stay_as_well(pair):
    """Half way between a wide normal and the target's own shape everything is normal."""
    density = FunctionDensity(lambda x: (-0.5 * (x**2).sum(axis=1), -x), 2)
    target, wide = Target(density), Product.gaussian(np.zeros(2), 3.0 * np.eye(2))
    variance = 1 / (0.5 + 0.5 / 9)
    rng = np.random.default_rng(4)
    walkers = Walkers.at(target, np.sqrt(variance) * rng.standard_normal((N, 2)))
    path = Path(wide.log_density_gradient, np.full(N, 0.5))
    charts = Charts(target, wide)
    for _ in range(5):
        walkers = charts.turn(walkers, path, np.full(N, 0.3), 3, rng).walkers
    assert np.abs((walkers.x**2).mean(axis=0) / variance - 1).max() < 4 * np.sqrt(2 / N)


def base_chains(log_ratio, khat, dim=3):
    density = FunctionDensity(lambda x: (-0.5 * (x**2).sum(axis=1), -x), dim)
    family = Product.gaussian(np.zeros(dim), np.eye(dim))
    target = Target(density)
    chains = BaseChains(
        target, family, np.zeros((4, dim)), np.random.default_rng(0),
        log_ratio=log_ratio, khat=khat,
    )  # fmt: skip
    chains.warm_up()
    before = target.n_gradients
    trace = chains.sample(600)
    assert target.n_gradients - before == trace.n_steps.sum()
    return trace


def test_a_fit_that_is_good_enough_proposes_and_others_do_not():
    flat, rough = np.zeros(500), np.random.default_rng(0).normal(0, 4, 500)
    proposing = base_chains(flat, 0.0)
    assert (proposing.n_steps == 1).mean() == pytest.approx(5 / 6, abs=0.01)
    assert proposing.acceptance[proposing.n_steps == 1] == pytest.approx(1.0)
    for ratio, khat in ((flat, 0.9), (rough, 0.3)):
        assert (base_chains(ratio, khat).n_steps > 1).all()


def test_quarter_turns_give_nearly_independent_draws():
    trace = base_chains(np.zeros(500), 0.9)
    assert ess(trace.x).min() > 0.7 * trace.log_p.size
    assert trace.acceptance.mean() > 0.7
