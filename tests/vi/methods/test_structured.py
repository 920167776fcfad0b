import numpy as np
import pytest
from places import HIERARCHIES
from scipy.special import logsumexp
from scipy.stats import special_ortho_group
from targets import banana, fit, funnel, gaussian, gumbel, ridge, student_t

import stanrovi as sr
from stanrovi.densities import FunctionDensity
from stanrovi.families.conditional import Conditional
from stanrovi.families.mixture import Mixture
from stanrovi.families.product import Product
from stanrovi.vi.methods import structured as module


def shifted_pair(gap):
    """Two funnels, 0.7 and 0.3 of the mass, so far apart along a leaf."""
    one = funnel(5, scale=1.2)
    shift = gap / 2 * np.eye(5)[1]

    def function(x):
        (a, left), (b, right) = (one.log_density_gradient(x + s) for s in (-shift, shift))
        a, b = a + np.log(0.7), b + np.log(0.3)
        total = np.logaddexp(a, b)
        share = np.exp(a - total)[:, None]
        return total, share * left + (1 - share) * right

    return FunctionDensity(function, 5)


def ring():
    """Distance from the origin about normal, 4 with sd 0.5; all directions alike."""

    def function(x):
        distance = np.linalg.norm(x, axis=1)
        pull = -(distance - 4) / 0.25 / np.maximum(distance, 1e-300)
        return -2 * (distance - 4) ** 2, pull[:, None] * x

    return FunctionDensity(function, 2)


def correlated_funnel():
    factor = np.random.default_rng(0).standard_normal((12, 9))
    precision = np.linalg.inv(factor.T @ factor / 12)
    root = np.linalg.cholesky(precision)
    log_volume = np.log(np.diag(root)).sum()

    def function(x):
        y = np.concatenate([x[:, :1], x[:, 1:] @ root], axis=1)
        value, gradient = funnel(10).log_density_gradient(y)
        back = gradient[:, 1:] @ root.T
        return value + log_volume, np.concatenate([gradient[:, :1], back], axis=1)

    return FunctionDensity(function, 10)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    "build", [lambda: funnel(10), lambda: funnel(101), lambda: funnel(2), correlated_funnel]
)
def test_a_funnel_is_fitted_exactly(build, seed):
    result = fit(build(), "auto", seed)
    assert -result.elbo < 0.001
    assert result.verdict.name == "ok"
    assert result.n_fit_gradients < 4000
    (root,) = result.roots
    assert root.name == "coordinate 1"
    assert len(root.ruled) == result.dim - 1
    assert all(f == pytest.approx(np.exp(3.0), rel=0.1) for f in root.ruled.values())
    assert "coordinate 1 rules the spread of" in result.message


@pytest.mark.parametrize("density", [gaussian([1.0, 2.0], [[1.0, 0.9], [0.9, 1.0]]),
                                     student_t(5, 3), gumbel(np.eye(3) + 0.3)],
                         ids=["normal", "student", "gumbel"])  # fmt: skip
def test_a_posterior_without_roots_is_rovis(density):
    plain, structured = (fit(density, method, 1) for method in ("rovi", "structured"))
    np.testing.assert_array_equal(plain.draws, structured.draws)
    assert structured.n_fit_gradients <= 1.05 * plain.n_fit_gradients
    assert structured.roots == ()


@pytest.mark.parametrize("seed", range(3))
def test_what_a_conditional_family_does_not_hold_is_not_called_ok(seed):
    for density in (ring(), ridge()):
        result = fit(density, "structured", seed)
        assert result.verdict.name != "ok"
    assert fit(ridge(), "auto", seed).verdict.name != "ok"


def test_a_ring_is_held_by_images_of_one_component():
    """Eight turns leave the density as it is, and so eight components share one fit."""
    result = fit(ring(), "auto", 0)
    assert result.verdict.name == "ok"
    assert "images of" in result.message
    distance = np.linalg.norm(result.draws, axis=1)
    assert abs(distance.mean() - 4.0625) < 0.03
    np.testing.assert_allclose(result.draws.std(axis=0), np.sqrt((16 + 3 * 0.25) / 2), rtol=0.02)


@pytest.mark.parametrize("name", ["eight_schools_centered", "eight_schools"])
def test_both_forms_of_the_schools_have_one_posterior(name):
    found = sr.fit(name, seed=3)
    assert found.result.n_fit_gradients < 3000
    assert found.result.verdict.name == "ok"
    assert not found.result.warnings
    assert isinstance(found.result.family, Conditional)
    assert [root.name for root in found.result.roots] == ["tau"]
    tau = np.sort(found.draws.scalars(("tau",))["tau"].ravel())
    # Quartiles by integrating the schools out: docs of the bundled model.
    np.testing.assert_allclose(np.quantile(tau, [0.25, 0.5, 0.75]), QUARTILES, rtol=0.05)


def _quartiles():
    """Quartiles of tau, everything else integrated out in closed form, on a grid."""
    y = np.array([28.0, 8, -3, 7, -1, 1, 18, 12])
    sigma = np.array([15.0, 10, 16, 11, 9, 11, 10, 18])
    tau = np.linspace(1e-3, 120, 200_000)
    variance = sigma**2 + tau[:, None] ** 2
    precision = (1 / variance).sum(axis=1) + 1 / 25
    mean = (y / variance).sum(axis=1) / precision
    value = -0.5 * np.log(variance).sum(axis=1) - 0.5 * np.log(precision)
    value += -0.5 * (y**2 / variance).sum(axis=1) + 0.5 * mean**2 * precision
    density = np.exp(value - value.max()) / (1 + (tau / 5) ** 2)
    share = np.cumsum(density) / density.sum()
    return np.interp([0.25, 0.5, 0.75], share, tau)


QUARTILES = _quartiles()


@pytest.mark.slow
@pytest.mark.parametrize("form", ["centered", "noncentered"])
@pytest.mark.parametrize(
    ("base", "roots"),
    [("seeds", {"sigma"}), ("rats", {"sigma_alpha", "sigma_beta", "sigma_y"}),
     ("logit30", {"tau"}), ("surgical", {"sigma"})],
)  # fmt: skip
def test_the_scales_of_hierarchies_are_found_and_ok(base, roots, form):
    model = sr.Model(HIERARCHIES / f"{base}_{form}.stan", HIERARCHIES / f"{base}.data.json")
    found = sr.fit(model, seed=1)
    assert {root.name for root in found.result.roots} <= roots
    assert {model.unconstrained_names[i] for i in found.result.family.map.roots} == roots
    assert found.result.verdict.name == "ok"
    assert found.result.n_fit_gradients < 7000


def test_a_mixture_can_have_conditional_components():
    result = fit(shifted_pair(12.0), "mixture", 1)
    assert isinstance(result.family, Mixture)
    assert any(isinstance(part, Conditional) for part in result.family.components)
    assert -result.elbo < 0.2  # by two products: 0.3
    assert result.roots[0].name == "coordinate 1"


@pytest.mark.parametrize("budget", [500, 1300, 1480, 1560, 1800])
def test_a_budget_leaves_the_best_so_far(budget):
    result = fit(funnel(10), "structured", 1, max_gradients=budget)
    assert result.status == "budget"
    assert result.n_fit_gradients <= budget
    assert isinstance(result.family, (Product, Conditional))


def test_the_message_of_a_fit_that_could_go_on_names_the_gradients_of_the_table():
    result = fit(funnel(5), "rovi", 0)
    assert result.status == "max_iterations"
    assert f"After {result.n_fit_gradients} gradients in all" in result.message
    more = fit(funnel(5), "rovi", 0, max_gradients=40_000)
    assert more.n_fit_gradients > 1.5 * result.n_fit_gradients or more.status == "converged"
    if more.status == "max_iterations":
        assert "would not change that" in more.message


@pytest.mark.parametrize("seed", range(3))
def test_a_banana_is_fitted_exactly(seed):
    result = fit(banana(1.0), "auto", seed)
    assert -result.elbo < 0.001
    assert result.verdict.name == "ok"


def turned(density, seed):
    """The same density, its coordinates turned."""
    rotation = special_ortho_group.rvs(density.dim, random_state=seed)

    def function(x):
        with np.errstate(all="ignore"):
            value, gradient = density.log_density_gradient(x @ rotation.T)
            return value, gradient @ rotation

    return FunctionDensity(function, density.dim)


@pytest.mark.parametrize("seed", [0, *(pytest.param(i, marks=pytest.mark.slow) for i in (1, 2))])
def test_a_funnel_turned_out_of_the_coordinates_is_suspect(seed):
    """Also where a draw in thousands lies so far out that no ELBO can be told."""
    result = fit(turned(funnel(5, scale=1.5), 1), "structured", seed)
    assert result.verdict.name == "suspect"
    # Most draws are where the target is, by whichever family.
    assert np.median(result.log_p - result.log_q) > -1.0


def local_level(n, seed):
    """A random walk seen with noise; log scales of its steps and of the noise come last."""
    rng = np.random.default_rng(seed)
    y = np.cumsum(0.3 * rng.standard_normal(n)) + 0.5 * rng.standard_normal(n)

    def function(x):
        level, log_scales = x[:, :n], x[:, n:]
        with np.errstate(over="ignore", invalid="ignore"):
            step, miss, precision = np.diff(level), level - y, np.exp(-2 * log_scales)
            squares = precision * np.stack([(step**2).sum(1), (miss**2).sum(1)], axis=1)
            count, variance = np.array([n - 2, n - 1]), np.exp(2 * log_scales)
            value = -(count * log_scales + squares / 2 + variance / 2).sum(axis=1)
            pull = step * precision[:, :1]
            by_level = -miss * precision[:, 1:]
            by_level[:, 1:] -= pull
            by_level[:, :-1] += pull
            by_level[:, 0] -= level[:, 0] / 4
            by_scale = squares - variance - count
        return value - level[:, 0] ** 2 / 8, np.concatenate([by_level, by_scale], axis=1)

    return FunctionDensity(function, n + 2)


@pytest.mark.slow
def test_both_scales_are_found_where_the_rest_has_no_mode_beyond_one():
    """Seen from the mode given one scale, the other rules little; nearby there is no mode."""
    density = local_level(40, 1)
    fits = [fit(density, "structured", seed) for seed in (0, 1, 2, 4, 5, 6)]
    both = [set(f.family.map.roots) == {40, 41} for f in fits if isinstance(f.family, Conditional)]
    assert sum(both) >= 5
    assert np.median([f.n_fit_gradients for f in fits]) < 5000


def two_basins_along_a_root(gap, leaves, weight=0.3):
    """The root is one of two normals; the leaves follow it with a spread that it rules."""

    def function(x):
        u, v = x[:, 0], x[:, 1:]
        parts = np.stack([-0.5 * (u + gap / 2) ** 2, -0.5 * (u - gap / 2) ** 2], axis=1)
        parts += np.log([weight, 1 - weight])
        value = logsumexp(parts, axis=1)
        share = np.exp(parts[:, 0] - value)
        precision, away = np.exp(-0.6 * u), v - np.sin(u)[:, None]
        squares = (away**2).sum(axis=1) * precision
        value += 0.3 * u * -leaves - squares / 2 - (1 + leaves) / 2 * np.log(2 * np.pi)
        slope = -(u + gap / 2) * share - (u - gap / 2) * (1 - share) - 0.3 * leaves
        slope += 0.3 * squares + (away.sum(axis=1)) * precision * np.cos(u)
        by_leaf = -away * precision[:, None]
        return value, np.concatenate([slope[:, None], by_leaf], axis=1)

    return FunctionDensity(function, 1 + leaves)


@pytest.mark.parametrize("seed", range(3))
def test_basins_that_follow_a_root_are_one_conditional_fit(seed):
    result = fit(two_basins_along_a_root(5.0, 4), "auto", seed)
    assert len(result.modes) == 2
    assert result.message.startswith("structured, since the basins follow the parameters")
    assert isinstance(result.family, Conditional)
    assert -result.elbo < 0.02
    assert result.verdict.name == "ok"
    assert (result.draws[:, 0] < 0).mean() == pytest.approx(0.3, abs=0.02)


def many_pairs(n):
    """Each of n log scales rules a leaf of its own; the leaves are mixed by a rotation."""
    mixing = special_ortho_group.rvs(n, random_state=0)

    def function(x):
        log_scale, leaf = x[:, :n], x[:, n:] @ mixing.T
        squares = (leaf * np.exp(-log_scale)) ** 2
        value = -0.5 * (log_scale**2 + squares).sum(axis=1) - log_scale.sum(axis=1)
        by_leaf = -leaf * np.exp(-2 * log_scale)
        return value, np.concatenate([squares - log_scale - 1, by_leaf @ mixing], axis=1)

    return FunctionDensity(function, 2 * n)


def test_more_roots_than_a_conditional_family_can_follow_are_told():
    plain, structured = (fit(many_pairs(30), method, 1) for method in ("rovi", "structured"))
    assert structured.message.startswith("More parameters rule the spread of others")
    assert structured.verdict.name == "suspect"
    # Twelve looks at five gradients for each coordinate; no nodes.
    assert structured.n_fit_gradients < plain.n_fit_gradients + 12 * 5 * 60


@pytest.mark.slow
def test_a_budget_that_ends_in_the_second_try_keeps_the_first():
    density = turned(funnel(5, scale=1.5), 1)
    whole = fit(density, "structured", 1)
    for budget in np.linspace(0.3, 0.95, 5) * whole.n_fit_gradients:
        result = fit(density, "structured", 1, max_gradients=int(budget))
        assert result.status == "budget"
        assert result.n_fit_gradients <= budget
        assert result.verdict.name == "suspect"


@pytest.mark.parametrize("seed", range(2))
def test_roots_are_looked_for_again_where_rovi_is_poor(seed, monkeypatch):
    """Where differences show none, the evaluations of the Gaussian fit do."""
    monkeypatch.setattr(module, "nodes_near", lambda *_: None)
    result = fit(funnel(10, scale=1.0), "auto", seed)
    assert isinstance(result.family, Conditional)
    assert -result.elbo < 0.01
    assert result.roots[0].name == "coordinate 1"
    for budget in (0.6, 0.8, 0.95):
        cut = fit(
            funnel(10, scale=1.0), "auto", seed, max_gradients=int(budget * result.n_fit_gradients)
        )
        assert cut.status == "budget"
