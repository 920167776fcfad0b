"""Targets count, reject and budget; densities compose."""

import time
from contextlib import suppress

import numpy as np
import pytest
from targets import covariance_of, finite_difference, gaussian, rejecting

from stanrovi.densities import FunctionDensity, normal_mixture
from stanrovi.families.axes import DenseAxes
from stanrovi.families.maps import SplineMap, stack
from stanrovi.families.product import Product
from stanrovi.target import BudgetExhausted, Clock, Composed, Target

P = gaussian([1.0, -1.0], covariance_of(2, 9.0))
Q = gaussian([0.0, 0.0], np.eye(2))


def curved_map():
    grid = np.linspace(-12, 12, 401)
    logistic = SplineMap.from_log_density(
        grid[None], (-np.abs(grid) - 2 * np.log1p(np.exp(-np.abs(grid))))[None],
        -np.tanh(grid / 2)[None],
    )  # fmt: skip
    axes = DenseAxes(np.array([[1.0, 0.4], [-0.3, 0.8]]))
    return Product(np.array([0.5, -0.2]), axes, stack([logistic, logistic]))


def test_a_tempered_density_lies_between_two():
    x = np.random.default_rng(0).standard_normal((20, 2))
    for b in (0.25, 1.0):
        tempered = Composed(P, power=b, terms=((1 - b, Q.log_density_gradient),))
        value, gradient = tempered.log_density_gradient(x)
        p, q = (density.log_density_gradient(x) for density in (P, Q))
        np.testing.assert_allclose(value, b * p[0] + (1 - b) * q[0])
        np.testing.assert_allclose(gradient, b * p[1] + (1 - b) * q[1])


def test_a_pulled_back_density_is_normalised_and_has_its_gradient():
    pulled = Composed(P, through=curved_map())
    grid = np.linspace(-9, 9, 241)
    z = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    value, _ = pulled.log_density_gradient(z)
    assert np.exp(value).sum() * (grid[1] - grid[0]) ** 2 == pytest.approx(1, abs=1e-3)
    z = np.random.default_rng(1).standard_normal((30, 2))
    _, gradient = pulled.log_density_gradient(z)
    numeric = finite_difference(lambda v: pulled.log_density_gradient(v)[0], z)
    np.testing.assert_allclose(gradient, numeric, atol=1e-5)


def test_pulled_back_through_the_fit_itself_a_target_is_standard_normal():
    family = Product.gaussian(np.array([1.0, -1.0]), np.linalg.cholesky(covariance_of(2, 9.0)))
    z = np.random.default_rng(2).standard_normal((20, 2))
    value, gradient = Composed(P, through=family).log_density_gradient(z)
    np.testing.assert_allclose(value, Q.log_density_gradient(z)[0])
    np.testing.assert_allclose(gradient, -z, atol=1e-12)


def test_power_terms_and_map_go_together():
    family = curved_map()
    composed = Composed(P, 0.5, ((0.5, Q.log_density_gradient),), family)
    z = np.random.default_rng(3).standard_normal((10, 2))
    x, log_det, _ = family.transport(z)
    expected = 0.5 * P.log_density_gradient(x)[0] + 0.5 * Q.log_density_gradient(x)[0] + log_det
    np.testing.assert_allclose(composed.log_density_gradient(z)[0], expected)
    numeric = finite_difference(lambda v: composed.log_density_gradient(v)[0], z)
    np.testing.assert_allclose(composed.log_density_gradient(z)[1], numeric, atol=1e-5)


def test_a_composed_target_counts_on_the_one_it_is_made_of():
    half = rejecting(P, lambda x: x[:, 0] > 0)
    target = Target(half, max_gradients=30)
    local = target.composed(power=0.5)
    x = np.array([[1.0, 0.0], [-1.0, 0.0]])
    with target.stage("warm"):
        value, gradient = local.log_density_gradient(x)
    assert value[1] == -np.inf
    np.testing.assert_array_equal(gradient[1], 0)
    assert (target.n_gradients, target.n_rejections, local.n_gradients) == (2, 1, 2)
    assert target.by_stage == local.by_stage == {"warm": 2}
    assert local.n_left == 28
    target.log_density_gradient(np.ones((28, 2)))
    with pytest.raises(BudgetExhausted):
        local.log_density_gradient(x)


def test_stages_record_their_seconds_inner_ones_apart():
    def slow(x):
        time.sleep(0.02)
        return np.zeros(len(x)), np.zeros_like(x)

    target = Target(FunctionDensity(slow, 1))
    with target.stage("outer"):
        target.log_density_gradient(np.zeros((1, 1)))
        with target.stage("inner"):
            target.log_density_gradient(np.zeros((1, 1)))
            target.log_density_gradient(np.zeros((1, 1)))
        time.sleep(0.02)  # own time counts as well
    seconds = target.seconds_by_stage
    assert seconds["outer"] >= 0.04
    assert seconds["inner"] >= 0.04
    assert target.seconds <= seconds["outer"] + seconds["inner"]
    assert target.by_stage == {"outer": 1, "inner": 2}


def test_stages_end_when_the_budget_does():
    target = Target(P, max_gradients=1)
    with pytest.raises(BudgetExhausted), target.stage("first"):
        target.log_density_gradient(np.zeros((2, 2)))
    target.log_density_gradient(np.zeros((1, 2)))
    assert target.by_stage == {"other": 1}


def test_masses_of_a_mixture_are_its_weights():
    density = normal_mixture([0.3, 0.7], [[-1.0], [1.0]], [[[1.0]], [[0.5]]])
    rng = np.random.default_rng(4)
    first = rng.random(20_000) < 0.3
    x = np.where(
        first, -1 + rng.standard_normal(20_000), 1 + 0.5**0.5 * rng.standard_normal(20_000)
    )
    mass = density.masses(x[:, None])
    np.testing.assert_allclose(mass, [0.3, 0.7], atol=4 * np.sqrt(0.21 / 20_000))


class Costly:
    """A standard normal whose evaluations move a clock that stands still else."""

    dim = 3

    def __init__(self, seconds):
        self.now, self.seconds, self.batches = 100.0, seconds, []

    def perf_counter(self):
        return self.now

    def log_density_gradient(self, x):
        self.now += self.seconds * len(x)
        self.batches.append(len(x))
        return -0.5 * (x**2).sum(axis=1), -x


def here(call, x, *, until):
    return call(x)


@pytest.fixture(params=[1e-5, 0.02, 0.7])
def costly(request, monkeypatch):
    density = Costly(request.param)
    monkeypatch.setattr("stanrovi.target.time", density)
    return density


def spend(target):
    """Evaluate batches of all sizes until the budget is spent."""
    rng = np.random.default_rng(5)
    with suppress(BudgetExhausted):
        while True:
            x = rng.standard_normal((rng.integers(1, 3000), 3))
            np.testing.assert_array_equal(target.log_density_gradient(x)[1], -x)


def test_seconds_hold_whatever_a_gradient_costs(costly):
    target = Target(costly, clock=Clock(10.0, here))
    spend(target)
    spent = costly.now - 100.0
    assert 10.0 <= spent <= 10.0 * 1.03 + 4 * costly.seconds
    assert target.n_gradients == sum(costly.batches)
    assert costly.batches[0] == 1  # what an evaluation costs is not known yet
    if costly.seconds == 1e-5:  # and then it is: as many as fit
        assert max(costly.batches) > 2000


def test_time_is_kept_for_the_points_to_come(costly):
    clock = Clock(100.0, here, seconds_per_draw=0.01)
    spend(Target(costly, clock=clock, reserved=1000))
    kept = min(max(1000 * (costly.seconds + 0.01), 5.0), 50.0)
    assert costly.now - 100.0 == pytest.approx(100.0 - kept, abs=2.6 + 4 * costly.seconds)
    clock.begin_draws(1000)
    later = min(10.0, kept / 2)
    drawing = Target(costly, clock=clock)
    value, gradient = drawing.leading(np.ones((1000, 3)), 8)
    np.testing.assert_array_equal(value, -1.5)
    np.testing.assert_array_equal(gradient, -1.0)
    assert len(value) == min(1000, drawing.n_gradients)
    assert costly.now - 100.0 <= 100.0 - later + 2.6 + 4 * costly.seconds
    if costly.seconds <= 0.02:
        assert len(value) == 1000


def test_what_is_left_covers_so_many_points(costly):
    clock = Clock(100.0, here)
    clock.keep(1, 0.01)
    target = Target(costly, clock=clock)
    target.leading(np.ones((10, 3)), 10)
    most = int(clock.left / (costly.seconds + 0.01))
    assert target.covers(int(0.9 * most))
    assert not target.covers(int(1.1 * most) + 1)
    assert Target(costly).covers(10**9)  # no clock, no end


def test_a_few_points_are_evaluated_though_the_time_is_over(costly):
    target = Target(costly, clock=Clock(0.0, here))
    value, _ = target.leading(np.ones((50, 3)), 8)
    assert len(value) == 8
    assert len(Target(costly).leading(np.ones((50, 3)), 8)[0]) == 50  # no clock, no end


def test_an_evaluation_that_is_given_up_ends_the_batch(costly):
    def giving_up(call, x, *, until):
        if len(costly.batches) == 3:
            raise BudgetExhausted
        return call(x)

    clock = Clock(1e6, giving_up)
    target = Target(costly, clock=clock)
    value, _ = target.leading(np.ones((1600, 3)), 8)
    assert len(value) == target.n_gradients == 1 + 2 * 100
    assert clock.overdue
    with pytest.raises(BudgetExhausted):
        target.log_density_gradient(np.ones((1, 3)))
