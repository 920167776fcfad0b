import numpy as np
import pytest
from targets import (
    covariance_of,
    finite_difference,
    flat,
    gaussian,
    gaussian_mixture,
    kinks,
    nowhere_finite,
    rejecting,
    ridge,
    scaled,
    student_t,
    triangle,
    two_gaussians,
    unbounded,
)

from stanrovi.densities import FunctionDensity
from stanrovi.errors import DensityError
from stanrovi.modes.ascent import Ascent
from stanrovi.modes.basins import basin_labels, basin_shares, local_evidence
from stanrovi.modes.explore import Basins
from stanrovi.modes.local import Surroundings, local_mode
from stanrovi.modes.look import look_again
from stanrovi.modes.search import extended_search, search_modes
from stanrovi.target import BudgetExhausted, Target


def search(density, seed=0, **budget):
    return search_modes(Target(density, **budget), np.random.default_rng(seed))


@pytest.mark.parametrize("dim", [1, 2, 10, 50])
def test_a_gaussian_has_one_mode_with_its_own_covariance(dim):
    mean, covariance = np.linspace(-3, 3, dim), covariance_of(dim, 100)
    result = search(gaussian(mean, covariance))
    (mode,) = result.modes
    sd = np.sqrt(np.diag(covariance))
    # Newton's last step promised less than a hundredth of a nat.
    assert (np.abs(mode.position - mean) < 0.2 * sd).all()
    np.testing.assert_allclose(mode.covariance, covariance, atol=1e-5 * np.outer(sd, sd).max())
    assert mode.weight == 1.0
    assert np.isnan(mode.mass)
    assert result.n_improper == 0


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("separation", "weight", "dim"),
    [(2.8, 0.5, 2), (6, 0.3, 2), (12, 0.1, 2), (5, 0.2, 10), (8, 0.35, 10)],
)
def test_both_modes_of_two_gaussians_are_found_with_their_weights(separation, weight, dim, seed):
    covariance = np.eye(dim) if dim == 2 else covariance_of(dim, 10, seed)
    modes = search(two_gaussians(separation, weight, covariance), seed).modes
    assert [m.weight for m in modes] == pytest.approx([1 - weight, weight], abs=0.01)


@pytest.mark.parametrize("seed", range(5))
def test_three_modes_are_found(seed):
    modes = search(triangle(), seed).modes
    assert [m.weight for m in modes] == pytest.approx([0.5, 0.3, 0.2], abs=1e-3)
    np.testing.assert_allclose(modes[0].position, [0.0, 6.0], atol=0.1)


def test_weights_account_for_width():
    density = gaussian_mixture([0.5, 0.5], [[-4, 0], [4, 0]], [np.eye(2), 0.25 * np.eye(2)])
    assert [m.weight for m in search(density).modes] == pytest.approx([0.5, 0.5], abs=1e-3)


def test_every_climb_to_one_summit_counts_once():
    for seed in range(10):
        assert len(search(two_gaussians(1.5, 0.5, np.eye(3)), seed).modes) == 1


def test_a_negligible_mode_is_not_kept():
    density = gaussian_mixture([1 - 1e-5, 1e-5], [[-5, 0], [5, 0]], [np.eye(2)] * 2)
    assert len(search(density).modes) == 1


@pytest.mark.parametrize("mean", [[2.0, 2.0], [4.0, -4.0], [40.0, 0.0], [1e5, -1e5]])
def test_modes_on_and_beyond_the_edge_of_the_starts_are_found(mean):
    mean = np.array(mean)
    density = gaussian_mixture([0.4, 0.6], [mean, mean + np.array([7.0, 0.0])], [np.eye(2)] * 2)
    modes = search(density).modes
    assert [m.weight for m in modes] == pytest.approx([0.6, 0.4], abs=1e-3)


def test_scales_from_a_millionth_to_a_million():
    scale = 10.0 ** np.arange(-6, 7, 2)
    covariance = covariance_of(7, 10)
    (mode,) = search(scaled(gaussian(np.ones(7), covariance), scale)).modes
    np.testing.assert_allclose(mode.covariance / np.outer(scale, scale), covariance, atol=1e-3)
    np.testing.assert_allclose(mode.position / scale, 1.0, atol=0.3)


def test_correlation_close_to_one():
    covariance = np.array([[1.0, 0.999], [0.999, 1.0]])
    (mode,) = search(gaussian([1.0, 2.0], covariance)).modes
    np.testing.assert_allclose(mode.covariance, covariance, rtol=1e-4)


@pytest.mark.parametrize("density", [flat(2), ridge(), unbounded()], ids=["flat", "ridge", "up"])
def test_what_has_no_summit_has_no_mode(density):
    result = search(density)
    assert result.modes == ()
    assert result.n_improper >= 1
    assert np.isfinite(result.start).all()


def test_a_density_that_is_finite_nowhere_says_what_was_tried():
    with pytest.raises(DensityError, match=r"any of \d+ points within 4 of the origin") as error:
        search(nowhere_finite(3))
    assert "bounds" in str(error.value)
    assert "data" in str(error.value)


def test_starts_that_are_rejected_near_the_origin_are_made_again():
    hole = rejecting(gaussian([3.0, 3.0], np.eye(2)), lambda x: np.linalg.norm(x, axis=1) > 1.5)
    result = search(hole)
    assert len(result.modes) == 1
    np.testing.assert_allclose(result.modes[0].position, 3.0, atol=0.2)


def test_a_small_support_around_the_origin_is_found():
    inside = rejecting(
        gaussian(np.zeros(2), 1e-2 * np.eye(2)), lambda x: (np.abs(x) < 0.5).all(axis=1)
    )
    result = search(inside)
    assert len(result.modes) == 1
    assert result.n_usable > 0


def test_the_search_keeps_to_its_budget_and_says_so():
    with pytest.raises(BudgetExhausted):
        search(triangle(), max_gradients=11)
    total = Target(triangle())
    search_modes(total, np.random.default_rng(0))
    budgets = (None, 14, total.n_gradients - 1)
    whole, early, late = (search(triangle(), max_gradients=n) for n in budgets)
    assert whole.complete
    assert not early.complete
    assert not late.complete
    assert early.peak.log_density < late.peak.log_density
    assert 1 <= len(late.modes) <= len(whole.modes)


def test_gradients_are_counted_as_the_search():
    target = Target(triangle())
    search_modes(target, np.random.default_rng(0))
    assert target.by_stage == {"modes": target.n_gradients}
    assert target.n_gradients < 2000


def test_the_same_seed_gives_the_same_modes():
    first, second = search(triangle(), 7), search(triangle(), 7)
    for a, b in zip(first.modes, second.modes, strict=True):
        np.testing.assert_array_equal(a.position, b.position)
        np.testing.assert_array_equal(a.covariance, b.covariance)


def general(count, dim, seed):
    """Normals in general position, each 5 to 25 sds from the nearest other."""
    rng = np.random.default_rng(seed)
    covariances = [covariance_of(dim, 4, 10 * seed + k) for k in range(count)]
    means = [np.zeros(dim)]
    while len(means) < count:
        step = rng.standard_normal(dim)
        at = means[rng.integers(len(means))] + rng.uniform(5, 25) * step / np.linalg.norm(step)
        if all(np.linalg.norm(at - mean) > 8 for mean in means):
            means.append(at)
    return gaussian_mixture(np.full(count, 1 / count), means, covariances)


@pytest.mark.parametrize(("count", "dim"), [(4, 5), (8, 5), (3, 10), (6, 10), (6, 30)])
def test_all_of_several_modes_are_found(count, dim):
    """By the search, or at the latest by the look that follows a fit."""
    good = 0
    for seed in range(5):
        target, rng = Target(general(count, dim, seed)), np.random.default_rng(seed)
        found = search_modes(target, rng)
        more = look_again(
            target, found.modes, np.empty((0, dim)), rng, most_gradients=700
        ).modes  # fmt: skip
        if more:
            places = np.stack([m.position for m in more])
            found = extended_search(target, found.modes, places, rng)
        good += len(found.modes) == count
        assert target.n_gradients < 1000 * count
    assert good >= 4


def test_a_basin_met_once_is_what_the_next_climb_may_find():
    """Good and Turing: of four climbs one ended where no other did."""
    basins = Basins(Target(two_gaussians(12.0, 0.5, np.eye(2))))
    side = 6 / np.sqrt(2)
    starts = np.array([[-side, -side], [-side, 1 - side], [1 - side, -side], [side, side]])
    basins.climb_from(starts + 0.3)
    assert len(basins.modes) == 2
    assert basins.n_climbs == 4
    assert basins.unseen == pytest.approx(0.25)
    # A climb that returns to the mode around which it began has met nothing.
    basins.climb_from(np.array([[side, side]]) + 0.2, np.array([1]))
    assert basins.unseen == pytest.approx(0.2)
    basins.climb_from(np.array([[side, side]]) + 0.2, np.array([0]))
    assert basins.unseen == 0.0


def test_one_basin_leaves_nothing_unseen():
    assert search(gaussian(np.zeros(3), np.eye(3))).unseen == 0.0


def test_a_climb_ends_where_a_fit_explains_the_density():
    target = Target(student_t(3.0, 4))
    (mode,) = search_modes(target, np.random.default_rng(0)).modes
    start = mode.position + 30 * np.eye(4)
    spent = []
    for held in (None, lambda x, _: np.linalg.norm(x, axis=1) < 10):
        basins, before = Basins(target, [mode], held=held), target.n_gradients
        basins.climb_from(start)
        assert len(basins.modes) == 1
        spent.append(target.n_gradients - before)
    assert spent[1] < spent[0]


def test_hasty_steps_grow_in_a_heavy_tail():
    """There the density curves up; without curvature steps stay short, and a climb stalls."""
    target = Target(student_t(3.0, 5))
    climb = Ascent(target, np.full((1, 5), 300.0), hasty=True)
    for _ in range(100):
        climb.step()
    assert climb.converged.all()
    assert np.linalg.norm(climb.x) < 0.5
    assert target.n_gradients < 60


def test_hessian_matches_the_closed_form():
    density = two_gaussians(2.0, 0.3, covariance_of(3, 10))
    x = np.array([0.3, -0.2, 0.5])
    sd = np.array([0.1, 1.0, 1.0])
    numeric = np.stack(
        [
            finite_difference(lambda p, i=i: density.log_density_gradient(p)[1][:, i], x[None])[0]
            for i in range(3)
        ]
    )
    ours = Surroundings.of(Target(density), x, sd).hessian
    np.testing.assert_allclose(ours, numeric, atol=2e-3 * np.abs(numeric).max())
    np.testing.assert_array_equal(ours, ours.T)


def test_hessian_is_nan_next_to_a_rejection():
    wall = rejecting(gaussian(np.zeros(2), np.eye(2)), lambda x: x[:, 0] < 0.001)
    assert np.isnan(Surroundings.of(Target(wall), np.zeros(2), np.ones(2)).hessian).any()


@pytest.mark.parametrize("guess", [1e-6, 1.0, 1e6])
def test_a_mode_is_polished_from_a_wrong_idea_of_its_width(guess):
    density = gaussian(np.ones(2), np.diag([1e-4, 4.0]))
    mode = local_mode(Target(density), np.array([1.005, 0.5]), np.full(2, guess))
    assert mode is not None
    np.testing.assert_allclose(mode.position, 1.0, atol=1e-3)
    np.testing.assert_allclose(np.diag(mode.covariance), [1e-4, 4.0], rtol=1e-3)


@pytest.mark.parametrize("sign", [1.0, 0.0])
def test_a_saddle_or_plateau_is_no_mode(sign):
    def function(x):
        curve = np.array([-1.0, sign])
        return 0.5 * (curve * x**2).sum(axis=1), curve * x

    assert local_mode(Target(FunctionDensity(function, 2)), np.zeros(2), np.ones(2)) is None


@pytest.mark.parametrize("dim", [1, 2, 5, 20])
@pytest.mark.parametrize(
    ("offset", "guess"),  # further off than the guess, nothing tells that there is a kink
    [(o, g) for g in (1e-3, 0.1, 1.0, 30.0) for o in (0.0, 1e-9, 1e-4, 0.02) if o <= g],
)
def test_a_kink_is_a_mode_as_wide_as_its_slopes_are_long(dim, offset, guess):
    """A fine Hessian sees a straight slope, or how far the step is from the kink."""
    rng = np.random.default_rng(dim)
    x = offset * rng.uniform(-1, 1, dim)
    mode = local_mode(Target(kinks([1.0], [0.0], dim)), x, np.full(dim, guess))
    assert mode is not None
    assert ((mode.axes.sd() > 0.4) & (mode.axes.sd() < 2)).all()
    np.testing.assert_allclose(mode.position, 0.0, atol=0.03)


@pytest.mark.parametrize("dim", [2, 5, 20])
@pytest.mark.parametrize("seed", range(4))
def test_two_kinks_apart_are_two_modes(dim, seed):
    step = 4 / np.sqrt(dim)
    modes = search(kinks([0.7, 0.3], [-step, step], dim), seed).modes
    assert len(modes) == 2
    assert modes[0].weight == pytest.approx(0.7, abs=0.3)  # widths are rough


def test_a_kink_along_one_coordinate_leaves_the_others_as_they_are():
    def function(x):
        return -np.abs(x[:, 0]) - 50 * x[:, 1] ** 2, -np.sign(x) * [1, 0] - 100 * x * [0, 1]

    mode = local_mode(Target(FunctionDensity(function, 2)), np.full(2, 1e-3), np.full(2, 0.3))
    assert mode is not None
    assert mode.axes.sd() == pytest.approx([1.0, 0.1], rel=0.4)


def test_local_evidence_of_a_gaussian_is_exact():
    covariance = covariance_of(4, 50)
    (mode,) = search(gaussian(np.zeros(4), covariance)).modes
    assert local_evidence(mode) == pytest.approx(-0.5 * 4 * np.log(2 * np.pi), abs=0.02)


def test_points_are_assigned_to_their_basins():
    modes = search(triangle()).modes
    rng = np.random.default_rng(0)
    centres = np.repeat([m.position for m in modes], [500, 300, 200], axis=0)
    points = centres + rng.standard_normal((1000, 2))
    labels = basin_labels(modes, points)
    assert (labels == np.repeat([0, 1, 2], [500, 300, 200])).mean() > 0.999
    np.testing.assert_allclose(basin_shares(modes, points), [0.5, 0.3, 0.2], atol=0.003)
    assert basin_shares(modes, points[:500]).tolist() == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("seed", range(20))
def test_modes_on_both_sides_of_one_coordinate_among_thirty_are_found(seed):
    """Starts come in opposite pairs, so none of the two half-spaces goes without."""
    means = np.outer([-1.5, 1.5], np.eye(30)[0])
    density = gaussian_mixture([0.5, 0.5], means, [np.eye(30)] * 2)
    assert len(search(density, seed).modes) == 2
