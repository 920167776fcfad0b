import numpy as np
import pytest
from scipy.stats import norm
from targets import fit, gaussian_mixture, rejecting, run_on, standard, two_gaussians

from stanrovi.families.product import Product
from stanrovi.vi import scan
from stanrovi.vi.fit_run import evaluate
from stanrovi.vi.pool import Pool
from stanrovi.vi.scan import mixture_marginal, scan_axis, weigh_levels, with_marginal

LEVELS = np.array([-4.0, 4.0])
MODES = np.array([[-4.0, 0.0], [4.0, 0.0]])
ALONG_FIRST = gaussian_mixture([0.3, 0.7], MODES, [np.eye(2)] * 2)


def bimodal(weights, dim=2):
    """Unit normals at -4 and 4 along the first axis."""
    return with_marginal(standard(dim), 0, mixture_marginal(LEVELS, np.array(weights)))


def weight_right(family, axis=0):
    """Mass of the axis's marginal above zero."""
    return norm.sf(family.marginals.inverse(np.zeros((1, family.dim)))[0, axis])


@pytest.mark.parametrize("weights", [[0.5, 0.5], [0.9, 0.1], [0.2, 0.3, 0.5]])
def test_a_mixture_marginal_is_its_mixture(weights):
    levels = np.linspace(-8, 8, len(weights))
    marginal = mixture_marginal(levels, np.array(weights))
    y = np.concatenate([level + np.linspace(-3, 3, 41) for level in levels])
    expected = np.log(np.array(weights) @ norm.pdf(y[None] - levels[:, None]))
    np.testing.assert_allclose(marginal.log_density(y[:, None])[:, 0], expected, atol=0.03)


def test_levels_millions_of_sds_apart_take_no_millions_of_points():
    levels, weights = np.array([-2e7, 0.0, 5.0, 3e8]), np.array([0.1, 0.3, 0.2, 0.4])
    assert len(scan._mixture_grid(levels)) < 2000
    assert np.isfinite(
        mixture_marginal(levels, weights).value(np.linspace(-8, 8, 99)[:, None])
    ).all()


def test_levels_thousands_of_sds_apart_keep_their_weights():
    levels, weights = np.array([-1e4, 0.0, 3e4]), np.array([0.1, 0.3, 0.6])
    z = norm.isf(np.linspace(0, 1, 4002)[1:-1])
    nearest = np.abs(mixture_marginal(levels, weights).value(z[:, None]) - levels).argmin(axis=1)
    assert np.bincount(nearest) / len(z) == pytest.approx(weights, abs=0.01)


def test_with_marginal_exchanges_one_and_keeps_the_others():
    family = bimodal([0.3, 0.7], dim=3)
    z = np.linspace(-3, 3, 21)[:, None] * np.ones(3)
    np.testing.assert_allclose(family.marginals.value(z)[:, 1:], z[:, 1:], atol=1e-9)
    assert weight_right(family) == pytest.approx(0.7, abs=1e-3)


@pytest.mark.parametrize("start", [[0.5, 0.5], [0.95, 0.05]])
def test_a_scan_finds_the_marginal_of_a_product_target_whatever_the_start(start):
    run = run_on(ALONG_FIRST)
    family = scan_axis(run, bimodal(start), 0, MODES)
    assert weight_right(family) == pytest.approx(0.7, abs=2e-3)
    y = np.concatenate([level + np.linspace(-3, 3, 41) for level in LEVELS])
    one = family.marginals.select(np.array([0]))
    expected = np.log(np.array([0.3, 0.7]) @ norm.pdf(y[None] - LEVELS[:, None]))
    np.testing.assert_allclose(one.log_density(y[:, None])[:, 0], expected, atol=0.05)
    assert run.target.by_stage == {"scan": run.target.n_gradients}


@pytest.mark.parametrize("seed", range(4))
def test_heights_that_differ_from_draw_to_draw_get_more_draws(seed):
    """Shapes that differ across the axis make the log odds a noisy quadratic of the others."""
    modes = np.zeros((2, 6))
    modes[:, 0] = LEVELS
    wide = np.diag([1.0, 3.0, 3.0, 1.0, 1.0, 1.0])
    density = gaussian_mixture([0.5, 0.5], modes, [np.eye(6), wide])
    others = np.random.default_rng(99).standard_normal((100_000, 6))
    height = []
    for level in LEVELS:
        others[:, 0] = level
        height.append(density.log_density_gradient(others)[0].mean())
    family = scan_axis(run_on(density, seed), bimodal([0.5, 0.5], dim=6), 0, modes)
    odds = np.log(weight_right(family) / (1 - weight_right(family)))
    assert odds == pytest.approx(height[1] - height[0], abs=0.15)


def pool_from(density, family, n=512):
    run = run_on(density)
    return Pool([evaluate(run.target, family, run.base(n))])


@pytest.mark.parametrize("wrong", [0.6, 0.65, 0.8])
def test_levels_are_weighed_by_the_mass_around_them(wrong):
    family = bimodal([1 - wrong, wrong])
    fixed = weigh_levels(family, 0, MODES, pool_from(ALONG_FIRST, family, 4096))
    assert weight_right(fixed) == pytest.approx(0.7, abs=0.02)


def test_levels_keep_their_weights_where_importance_weights_say_nothing():
    far = Product.gaussian(np.full(2, 30.0), np.eye(2))
    family = bimodal([0.6, 0.4])
    pool = pool_from(two_gaussians(8.0, 0.3, np.eye(2)), far)
    assert weigh_levels(family, 0, MODES, pool) is family


def test_a_level_that_no_draw_reached_keeps_its_weight():
    family = bimodal([0.6, 0.4])
    pool = pool_from(ALONG_FIRST, Product.gaussian(MODES[0], np.eye(2)))
    assert weigh_levels(family, 0, MODES, pool) is family


@pytest.mark.parametrize("seed", range(4))
def test_a_rejected_draw_does_not_erase_a_level(seed):
    """One draw in fifty of a mode is rejected; its level keeps its mass."""
    density = rejecting(
        gaussian_mixture([0.5, 0.5], MODES, [np.eye(2)] * 2),
        lambda x: ~((x[:, 0] > 0) & (x[:, 1] > 2.0)),
    )
    result = fit(density, "rovi", seed=seed)
    assert result.draws[:, 0].max() > 3
    assert (result.draws[:, 0] > 0).mean() == pytest.approx(0.494, abs=0.05)


@pytest.mark.parametrize("modes", [np.full((2, 2), 1e6), np.full((2, 2), np.nan)])
def test_an_axis_of_which_no_grid_can_be_made_stays_as_it_was(modes, monkeypatch):
    """Modes so narrow, at one place, that no number lies between; or nowhere."""
    monkeypatch.setattr(scan, "_local_widths", lambda *_: np.full(len(modes), 1e-300))
    family = bimodal([0.3, 0.7])
    assert scan_axis(run_on(ALONG_FIRST), family, 0, modes) is family
