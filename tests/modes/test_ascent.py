import tracemalloc

import numpy as np
import pytest
from large import chain
from targets import banana, covariance_of, gaussian, rejecting, ridge, unbounded

from stanrovi.densities import FunctionDensity
from stanrovi.families.low_rank_axes import LowRankAxes
from stanrovi.modes.ascent import Ascent
from stanrovi.target import Target


def climb(density, starts, steps=200):
    ascent = Ascent(Target(density), np.asarray(starts, dtype=float))
    for _ in range(steps):
        if not ascent.active.any():
            break
        ascent.step()
    return ascent


def starts(dim, n=8, seed=0):
    return np.random.default_rng(seed).uniform(-3, 3, (n, dim))


@pytest.mark.parametrize(("dim", "condition"), [(1, 1), (3, 10), (10, 100), (30, 1000)])
def test_every_climber_reaches_the_top_of_a_gaussian(dim, condition):
    covariance = covariance_of(dim, condition)
    top = gaussian(np.ones(dim), covariance).log_density_gradient(np.ones((1, dim)))[0][0]
    ascent = climb(gaussian(np.ones(dim), covariance), starts(dim))
    assert ascent.converged.all()
    assert not ascent.active.any()
    assert (ascent.log_density > top - 0.03).all()


def test_every_climber_follows_a_bent_ridge_to_its_top():
    ascent = climb(banana(2.0), starts(2))
    assert ascent.converged.all()
    np.testing.assert_allclose(ascent.log_density, -np.log(2 * np.pi), atol=0.01)


def test_log_density_never_falls_and_the_starts_are_kept():
    first = starts(4)
    ascent = Ascent(Target(gaussian(np.zeros(4), covariance_of(4, 50))), first)
    before = ascent.log_density.copy()
    np.testing.assert_array_equal(ascent.first, first)
    np.testing.assert_array_equal(ascent.first_log_density, before)
    while ascent.active.any():
        ascent.step()
        assert (ascent.log_density >= before).all()
        before = ascent.log_density.copy()
    np.testing.assert_array_equal(ascent.first, first)


def test_climbers_do_not_disturb_one_another():
    density = banana(1.0)
    together = climb(density, starts(2))
    for i, start in enumerate(starts(2)):
        alone = climb(density, start[None])
        np.testing.assert_allclose(alone.x[0], together.x[i], atol=1e-8)


def test_a_step_costs_one_gradient_for_each_active_climber():
    target = Target(gaussian(np.zeros(2), np.eye(2)))
    ascent = Ascent(target, starts(2, n=5))
    for _ in range(10):
        before, active = target.n_gradients, int(ascent.active.sum())
        ascent.step()
        assert target.n_gradients - before == active


def test_a_rejected_start_never_moves():
    density = rejecting(gaussian(np.zeros(2), np.eye(2)), lambda x: x[:, 0] > 0)
    ascent = climb(density, [[-1.0, 0.0], [2.0, 2.0]])
    np.testing.assert_array_equal(ascent.x[0], [-1.0, 0.0])
    assert ascent.converged.tolist() == [False, True]


def test_a_climb_backs_off_from_rejections():
    wall = rejecting(gaussian([1.0, 0.0], np.diag([1e-2, 1.0])), lambda x: np.abs(x[:, 0]) < 1.05)
    ascent = climb(wall, [[-0.9, 2.0], [0.0, -2.0]])
    assert ascent.converged.all()
    np.testing.assert_allclose(ascent.x[:, 0], 1.0, atol=0.02)


def test_a_kink_ends_a_climb():
    laplace = FunctionDensity(lambda x: (-np.abs(x).sum(axis=1), -np.sign(x)), 2)
    ascent = climb(laplace, starts(2))
    assert ascent.converged.all()


def test_an_unbounded_density_is_never_a_summit():
    ascent = climb(unbounded(), starts(2), steps=60)
    assert ascent.active.all()
    assert not ascent.converged.any()
    assert np.isfinite(ascent.x).all()


def test_a_ridge_is_climbed_across_and_not_along():
    first = starts(2)
    ascent = climb(ridge(), first)
    np.testing.assert_allclose(ascent.x.sum(axis=1), 0.0, atol=0.1)
    np.testing.assert_allclose(ascent.x[:, 0] - ascent.x[:, 1], first[:, 0] - first[:, 1], atol=0.1)


def test_the_inverse_hessian_is_learnt_on_the_way():
    variances = np.array([0.2, 1.0, 4.0])
    ascent = climb(gaussian(np.zeros(3), np.diag(variances)), starts(3))
    for i in range(len(ascent.x)):
        learnt = np.diag(ascent.axes(i).covariance())
        assert (np.abs(np.log(learnt / variances)) < np.log(3)).all()


def test_the_inverse_hessian_takes_no_copies_of_the_memory():
    climbing = Ascent(Target(gaussian(np.zeros(300), np.eye(300))), starts(300, n=2))
    climbing.step()
    tracemalloc.start()
    climbing.axes(1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12 * 8 * 300**2


def test_thin_axes_are_those_of_the_whole_approximation(monkeypatch):
    density = gaussian(np.ones(30), covariance_of(30, 100))
    ascent = climb(density, starts(30, n=2), steps=12)
    whole = [(ascent.axes(i).covariance(), ascent.sd(i)) for i in range(2)]
    monkeypatch.setattr("stanrovi.modes.ascent.DENSE_LIMIT", 10)
    for i, (covariance, sd) in enumerate(whole):
        axes = ascent.axes(i)
        assert isinstance(axes, LowRankAxes)
        np.testing.assert_allclose(axes.covariance(), covariance, atol=1e-9 * covariance.max())
        np.testing.assert_allclose(ascent.sd(i), sd, rtol=1e-6)


def test_thin_axes_of_many_dimensions_are_those_of_the_two_loops():
    ascent = climb(chain(600), starts(600, n=1))
    axes = ascent.axes(0)
    expected = ascent._inverse_hessian(0)
    np.testing.assert_allclose(axes.covariance(), expected, atol=1e-9 * expected.max())


def test_before_any_step_axes_are_a_multiple_of_one():
    ascent = Ascent(Target(chain(600)), starts(600, n=1))
    axes = ascent.axes(0)
    assert axes.directions.shape == (600, 0)
    np.testing.assert_allclose(axes.sd(), axes.scale)
    np.testing.assert_allclose(axes.scale, axes.scale[0])
