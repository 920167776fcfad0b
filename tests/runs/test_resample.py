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
    assert frame["error"].notna().all()
    assert set(fit.result.errors.names) == set(frame.index)


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
