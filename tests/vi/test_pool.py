from dataclasses import replace

import numpy as np
import pytest
from targets import gaussian, rejecting, run_on, standard

from stanrovi.families.base import base_draws
from stanrovi.families.product import Product
from stanrovi.target import Target
from stanrovi.vi.fit_run import evaluate
from stanrovi.vi.pool import Pool


def shifted(offset, dim=2):
    return Product.gaussian(np.full(dim, offset), np.eye(dim))


def batch_from(family, n, seed=0, density=None):
    density = density or gaussian(np.zeros(family.dim), np.eye(family.dim))
    z = base_draws(n, family.dim, np.random.default_rng(seed))
    return evaluate(Target(density), family, z)


@pytest.mark.parametrize("n", [1, 2, 3, 100, 128, 1000])
def test_base_draws_are_finite_and_as_many_as_asked_for(n):
    z = base_draws(n, 3, np.random.default_rng(0))
    assert z.shape == (n, 3)
    assert np.isfinite(z).all()


def test_base_draws_are_standard_normal_and_better_than_random():
    z = base_draws(1024, 4, np.random.default_rng(1))
    assert (np.abs(z.mean(axis=0)) < 1 / np.sqrt(1024) / 4).all()
    np.testing.assert_allclose(z.T @ z / 1024, np.eye(4), atol=0.05)


def test_batches_are_unbiased_whatever_their_size():
    rng = np.random.default_rng(2)
    means = np.array([base_draws(48, 2, rng).mean(axis=0) for _ in range(500)])
    assert (np.abs(means.mean(axis=0)) < 4 * means.std(axis=0) / np.sqrt(500)).all()


def test_elbo_of_an_exact_fit_is_the_log_normaliser():
    batch = batch_from(standard(2), 64)
    assert batch.elbo == pytest.approx(0.0, abs=1e-12)
    assert batch.elbo_se < 1e-12
    assert batch.divergence()[0] == pytest.approx(0.0, abs=1e-12)


def test_elbo_and_divergence_of_a_shifted_gaussian():
    offset = 0.4
    batch = batch_from(shifted(offset), 4096)
    kl = 2 * offset**2 / 2
    assert batch.elbo == pytest.approx(-kl, abs=4 * batch.elbo_se)
    divergence, se = batch.divergence()
    assert divergence == pytest.approx(2 * kl, abs=4 * se)
    assert 0 < se < 0.1
    np.testing.assert_allclose(batch.log_ratio, batch.log_p - batch.log_q)


def test_worse_means_by_more_than_noise_and_wild_ratios_are_no_excuse():
    good = batch_from(shifted(0.1), 256)
    assert not good.worse_than(good)
    assert not batch_from(shifted(0.1), 256, seed=1).worse_than(good)
    wide = Product.gaussian(np.zeros(2), 30.0 * np.eye(2))
    bad = batch_from(wide, 8)
    assert bad.elbo > good.elbo - 6 * bad.elbo_se  # its own noise would nearly excuse it
    assert bad.worse_than(good)
    assert not good.worse_than(bad)


def half_space(dim=2):
    return rejecting(gaussian(np.zeros(dim), np.eye(dim)), lambda x: x[:, 0] > 0)


def test_rejected_points_are_kept_with_a_gradient_that_points_inwards():
    batch = batch_from(standard(2), 128, density=half_space())
    rejected = batch.x[:, 0] <= 0
    assert batch.n_rejected == rejected.sum() == pytest.approx(64, abs=3)
    assert (batch.log_p[rejected] == -np.inf).all()
    inward = (batch.gradient[rejected] * -batch.x[rejected]).sum(axis=1)
    plain = (batch.x[rejected] ** 2).sum(axis=1)  # what the iterate's own score does
    assert (inward > plain).all()
    np.testing.assert_allclose(batch.gradient[~rejected], -batch.x[~rejected])


def test_rejections_cost_elbo_and_divergence_in_proportion():
    few, many = (batch_from(shifted(offset), 128, density=half_space()) for offset in (1.0, 0.0))
    assert 0 < few.n_rejected < many.n_rejected
    assert many.elbo < few.elbo < batch_from(shifted(1.0), 128).elbo - 1
    assert many.divergence()[0] > few.divergence()[0] > 1
    assert len(few.log_ratio) == 128 - few.n_rejected


def test_a_batch_of_rejections_counts_for_nothing_under_the_target():
    hopeless = batch_from(shifted(-20.0), 128, density=half_space())
    assert hopeless.n_rejected == 128
    assert hopeless.elbo == -np.inf
    assert hopeless.elbo_se == np.inf
    assert hopeless.divergence()[0] == np.inf
    pool = Pool([hopeless, batch_from(standard(2), 64)])
    weight = pool.weights(pool.log_p)
    assert (weight[:128] == 0).all()
    assert weight.sum() == pytest.approx(64)


def test_weights_turn_old_draws_into_a_sample_of_the_current_iterate():
    pool = Pool()
    for seed, offset in enumerate([0.0, 0.5, 1.0]):
        pool.add(batch_from(shifted(offset), 512, seed))
    current = shifted(0.7)
    weight = pool.weights(current.log_density(pool.x))
    assert weight @ pool.x / weight.sum() == pytest.approx([0.7, 0.7], abs=0.05)
    sizes = weight.reshape(3, 512).sum(axis=1)
    assert (sizes <= 512 + 1e-9).all()
    # Effective size of N(c, I) reweighted to N(0.7, I): exp(-|c - 0.7|^2) of the draws.
    expected = 512 * np.exp(-2 * (np.array([0.0, 0.5, 1.0]) - 0.7) ** 2)
    np.testing.assert_allclose(sizes, expected, rtol=0.15)


def test_batches_from_far_away_do_not_count():
    pool = Pool()
    far, near = batch_from(shifted(4.0), 128), batch_from(shifted(0.1), 128)
    pool.add(far)
    pool.add(near)
    log_q = standard(2).log_density(pool.x)
    weight = pool.weights(log_q)
    assert (weight[:128] == 0).all()
    assert weight[128:].sum() > 100


def test_a_run_traces_every_evaluation():
    seen = []
    run = run_on(gaussian(np.zeros(2), np.eye(2)))
    run.progress = seen.append
    run.evaluate("first", standard(2), run.base(32))
    run.evaluate("second", shifted(0.5), run.base(64))
    assert [(p.stage, p.n_gradients) for p in run.trace] == [("first", 32), ("second", 96)]
    assert seen == run.trace
    assert run.target.by_stage == {"first": 32, "second": 64}
    assert run.trace[1].elbo < run.trace[0].elbo


def test_weightless_batches_are_forgotten():
    pool = Pool()
    far, near = batch_from(shifted(4.0), 128), batch_from(shifted(0.1), 128)
    pool.add(far)
    pool.add(near)
    pool.forget(pool.weights(standard(2).log_density(pool.x)))
    assert pool.batches == [near]


def test_a_pool_keeps_the_newest_batches_only():
    pool = Pool()
    batches = [batch_from(shifted(0.1), 1024, seed) for seed in range(6)]
    for batch in batches:
        pool.add(batch)
    assert pool.batches == batches[-4:]


class TooThin:
    """Axes so thin, for half of the draws, that their volume is no number."""

    dim = 2

    def push_forward(self, z):
        return z, np.where(z[:, 0] > 0, np.inf, -0.5 * (z**2).sum(axis=1))


def test_what_the_family_cannot_tell_counts_as_rejected():
    batch = batch_from(TooThin(), 64)
    told = batch.x[:, 0] <= 0
    assert batch.n_rejected == (~told).sum() == 32
    assert np.isfinite([batch.elbo, batch.elbo_se, batch.divergence()[0]]).all()
    assert batch.elbo < -20
    assert (batch.gradient[~told] == 0).all()
    weight = Pool([batch]).weights(standard(2).log_density(batch.x))
    assert (weight[~told] == 0).all()
    assert (weight[told] > 0).all()


def test_a_draw_beyond_all_numbers_leaves_an_error_without_bound():
    batch = batch_from(shifted(0.1), 64)
    far = replace(batch, log_p=np.where(np.arange(64) == 3, -1e200, batch.log_p))
    assert far.elbo_se == np.inf
    assert far.elbo < -1e190
    divergence, se = far.divergence()
    assert divergence > 1e190
    assert se == np.inf
