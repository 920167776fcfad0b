from dataclasses import replace

import numpy as np
import pytest

import stanrovi as sr
from stanrovi.draws import Draws
from stanrovi.errors import DrawsError, UsageError
from stanrovi.runs.resample import resampled


def weighted_draws(log_ratio, x=None):
    n = len(log_ratio)
    x = np.random.default_rng(0).normal(size=n) if x is None else x
    return Draws(
        "rovi", {"x": x[None], "twice": 2 * x[None]}, ("x",),
        sample_stats={"lp": (log_ratio - 0.5 * x**2)[None], "log_q": -0.5 * x[None] ** 2},
        attrs={"seed": 5, "method": "rovi"},
    )  # fmt: skip


def shifted(n=4000, by=0.5):
    """Draws of N(0, 1) with the weights of N(by, 1)."""
    x = np.random.default_rng(1).normal(size=n)
    return weighted_draws(by * x, x)


@pytest.mark.parametrize("n", [1, 2, 24])
def test_few_draws_of_unequal_weights_are_too_few(n):
    with pytest.raises(DrawsError, match=f"at least 25 draws with weights .* not {n}; take more"):
        resampled(shifted(n, by=5))


def test_the_resampled_draws_are_those_of_the_target():
    found = resampled(shifted())
    x = found.draws.posterior["x"]
    assert x.shape == (1, 4000)
    assert x.mean() == pytest.approx(0.5, abs=4 / np.sqrt(found.ess))
    np.testing.assert_array_equal(found.draws.posterior["twice"], 2 * x)
    assert found.n_distinct == len(np.unique(x))
    assert 1000 < found.n_distinct < 4000
    assert found.draws.method == "rovi+psir"
    assert str(found.n_distinct) in repr(found)


def test_even_weights_keep_every_draw():
    found = resampled(weighted_draws(np.zeros(1000)))
    assert found.n_distinct == 1000
    assert found.ess == pytest.approx(1000)


def test_the_same_seed_gives_the_same_draws():
    first, second, other = (resampled(shifted(), seed=s).draws.posterior["x"] for s in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


def test_a_heavy_tail_is_refused_with_the_reason():
    ratio = np.random.default_rng(2).exponential(2.0, 4000)
    with pytest.raises(DrawsError, match=r"k-hat is \d\.\d\d, above 0\.70 for 4000 draws"):
        resampled(weighted_draws(ratio))


def test_few_draws_may_have_a_light_tail_alone():
    ratio = np.random.default_rng(3).exponential(1.0, 100)
    with pytest.raises(DrawsError, match=r"above 0\.50 for 100 draws"):
        resampled(weighted_draws(ratio))


def test_draws_without_weights_are_refused():
    with pytest.raises(DrawsError, match="no importance weights"):
        resampled(Draws("nuts", {"x": np.zeros((4, 10))}, ("x",)))
    with pytest.raises(UsageError):
        resampled(shifted(), 0)


def test_a_fit_resamples_and_summarises_at_its_top():
    fit = sr.fit("eight_schools", method="gaussian", seed=3, draws=2000)
    assert fit.verdict is fit.result.verdict
    assert fit.khat == fit.result.khat
    frame = fit.summary()
    assert list(frame.columns) == ["mean", "sd", "q5", "q50", "q95", "error", "error_se"]
    assert frame.loc["tau", "mean"] == pytest.approx(fit.draws.posterior["tau"].mean())
    graded = frame[frame["error"].notna()]
    assert set(fit.result.errors.names) == set(graded.index) == set(fit.draws.scalars())
    assert set(frame.index) - set(graded.index) == {f"theta[{i}]" for i in range(1, 9)}
    assert fit.summary("theta").index[0] == "theta[1]"
    assert fit.summary(["tau", "mu"]).index.tolist() == ["tau", "mu"]
    with pytest.raises(UsageError, match=r"Unknown variable 'thet'. Did you mean 'theta'\?"):
        fit.summary("thet")


def test_resampling_mends_a_marginal():
    """A normal fit of the schools has tau too narrow; its weights know."""
    for seed in range(20):
        fit = sr.fit("eight_schools", method="gaussian", seed=seed)
        if fit.khat < 0.6:
            break
    truth = sr.fit("eight_schools", seed=0).summary().loc["tau", "mean"]
    corrected = fit.resample(3000)
    assert corrected.draws.n_draws == 3000
    before, after = fit.summary().loc["tau", "mean"], corrected.summary().loc["tau", "mean"]
    assert abs(after - truth) < abs(before - truth)
    assert "error" not in corrected.summary()
    assert corrected.to_arviz() is not None


def test_draws_without_a_value_are_left_out_and_that_is_said():
    whole = shifted(2000)
    lp = whole.sample_stats["lp"].copy()
    lp[0, 600:1000] = np.nan
    lp[0, 7] = -np.inf
    draws = replace(whole, sample_stats={**whole.sample_stats, "lp": lp})
    known = np.delete(np.arange(2000), np.arange(600, 1000))
    np.testing.assert_array_equal(draws.evaluated, known)
    assert draws.log_ratios.shape == (1600,)
    assert draws.log_ratios[7] == -np.inf
    found = resampled(draws)
    assert found.draws.n_draws == found.n_weighted == 1600
    assert found.n_left_out == 400
    assert "1,600 of the fit's 2,000 draws" in found.note
    assert found.note in repr(found)
    x = whole.posterior["x"][0]
    assert np.isin(found.draws.posterior["x"][0], np.delete(x[known], 7)).all()
    assert resampled(whole).note == ""
    nowhere = replace(whole, sample_stats={**whole.sample_stats, "lp": np.full((1, 2000), np.nan)})
    assert nowhere.log_ratios is None
    with pytest.raises(DrawsError, match="no importance weights"):
        resampled(nowhere)


def test_a_model_evaluates_what_is_missing():
    model = sr.Model("kidscore")
    fit = sr.fit(model, seed=1)
    lp = fit.draws.sample_stats["lp"][0]
    assert np.isfinite(lp[:1000]).all()
    assert np.isnan(lp[1000:]).all()
    assert np.isfinite(fit.draws.sample_stats["log_q"]).all()
    some, all_ = fit.resample(), fit.resample(model=model)
    assert (some.n_weighted, some.n_left_out, some.n_gradients) == (1000, 3000, 0)
    assert some.draws.n_draws == 1000
    assert np.isin(some.draws.unconstrained[0], fit.result.draws[:1000]).all()
    assert (all_.n_weighted, all_.n_left_out, all_.n_gradients) == (4000, 0, 3000)
    assert all_.draws.n_draws == 4000
    assert all_.note == ""
    x, value = all_.draws.unconstrained[0], all_.draws.sample_stats["lp"][0]
    np.testing.assert_allclose(model.log_density_gradient(x)[0], value, rtol=1e-12)
    again = resampled(all_.draws, model=model)
    assert again.n_gradients == 0
    with pytest.raises(UsageError, match="not one of garch"):
        fit.resample(model="garch")


def test_where_the_time_is_over_the_draws_with_a_value_are_resampled():
    model = sr.Model("kidscore")
    fit = sr.fit(model, seed=1)
    found = resampled(fit.draws, model=model, max_seconds=1e-9)
    assert (found.n_weighted, found.n_gradients) == (1000, 0)
    assert "1,000 of the fit's 4,000 draws" in found.note
