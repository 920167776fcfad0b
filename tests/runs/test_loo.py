"""LOO of fits against that of NUTS."""

from dataclasses import replace

import numpy as np
import pytest

import stanrovi as sr
from stanrovi.diagnostics.statistics import psis_loo
from stanrovi.errors import DrawsError, UsageError
from stanrovi.io.arviz import to_arviz
from stanrovi.io.generations import import_arviz, is_legacy
from stanrovi.runs.loo import loo

REGRESSION = """
data { int<lower=0> N; vector[N] mom_iq; vector[N] kid_score; }
parameters { vector[2] beta; real<lower=0> sigma; }
model {
  beta ~ normal(0, 100); sigma ~ cauchy(0, 2.5);
  kid_score ~ normal(beta[1] + beta[2] * mom_iq, sigma);
}
generated quantities {
  vector[N] log_lik;
  for (n in 1:N) log_lik[n] = normal_lpdf(kid_score[n] | beta[1] + beta[2] * mom_iq[n], sigma);
  vector[2] other = [0, negative_infinity()]';  // no likelihood
  array[N] int rounded;
  for (n in 1:N) rounded[n] = poisson_rng(3);
}
"""
SCHOOLS = """
data { int<lower=0> J; array[J] real y; array[J] real<lower=0> sigma; }
parameters { real mu; real<lower=0> tau; vector[J] eta; }
transformed parameters { vector[J] theta = mu + tau * eta; }
model { mu ~ normal(0, 5); tau ~ cauchy(0, 5); eta ~ normal(0, 1); y ~ normal(theta, sigma); }
generated quantities {
  vector[J] log_lik;
  for (j in 1:J) log_lik[j] = normal_lpdf(y[j] | theta[j], sigma[j]);
}
"""


def estimate(found):
    """Elpd, effective parameters, and the pointwise values, of either generation of ArviZ."""
    if is_legacy():
        return found.elpd_loo, found.p_loo, found.loo_i.values
    return found.elpd, found.p, found.elpd_i.values


def without_infinity(posterior):
    """Variables that ArviZ takes without a warning."""
    return {name: values for name, values in posterior.items() if np.isfinite(values).all()}


@pytest.fixture(scope="module")
def regression(tmp_path_factory):
    path = tmp_path_factory.mktemp("loo") / "kidscore.stan"
    path.write_text(REGRESSION)
    rng = np.random.default_rng(4)
    iq = rng.normal(100, 15, 60)
    score = 26 + 0.6 * iq + rng.normal(0, 18, 60)
    model = sr.Model(path, {"N": 60, "mom_iq": iq, "kid_score": score}, engine="stanli")
    return model, sr.nuts(model, engine="stanli", seed=1)


@pytest.fixture(scope="module")
def schools(tmp_path_factory):
    path = tmp_path_factory.mktemp("loo") / "schools.stan"
    path.write_text(SCHOOLS)
    model = sr.Model(path, sr.Model("eight_schools").data, engine="stanli")
    return model, sr.nuts(model, engine="stanli", seed=1, iter_sampling=2000, adapt_delta=0.95)


@pytest.mark.parametrize("case", ["regression", pytest.param("schools", marks=pytest.mark.slow)])
def test_loo_of_fits_agrees_with_that_of_nuts(case, request):
    model, nuts = request.getfixturevalue(case)
    groups = to_arviz(replace(nuts.draws, posterior=without_infinity(nuts.draws.posterior)))
    elpd, p, pointwise = estimate(import_arviz().loo(groups, pointwise=True))
    assert estimate(nuts.loo())[0] == pytest.approx(elpd, abs=0.01)
    assert estimate(sr.sample(model, ess=2000, seed=1).loo())[0] == pytest.approx(elpd, abs=0.15)
    for seed in range(3):
        found = estimate(sr.fit(model, seed=seed).loo())
        assert found[0] == pytest.approx(elpd, abs=0.15)
        assert found[1] == pytest.approx(p, abs=0.25)
        np.testing.assert_allclose(found[2], pointwise, atol=0.1)


def test_the_correction_takes_out_the_error_of_mean_field(regression):
    rng = np.random.default_rng(4)
    x = rng.normal(0.5, 1, 30)
    model = regression[0].rebuild(
        seed=0, data={"N": 30, "mom_iq": x, "kid_score": 1 + x + rng.normal(size=30)}
    )
    exact = estimate(loo(sr.nuts(model, engine="stanli", seed=1, iter_sampling=2000).draws))
    for seed in range(2):
        fit = sr.fit(model, method="mfvi", seed=seed)
        corrected, plain = estimate(fit.loo()), estimate(psis_loo(to_arviz(fit), "log_lik"))
        assert abs(corrected[0] - exact[0]) < 0.06 < abs(plain[0] - exact[0])
        assert np.abs(corrected[2] - exact[2]).max() < 0.03 < np.abs(plain[2] - exact[2]).max()


def test_a_fit_far_from_the_posterior_has_high_khat(regression, caplog):
    found = sr.fit(regression[0], method="mfvi", seed=1).loo()  # slope and intercept as one
    assert (found.pareto_k > 0.7).all()
    assert found.warning
    assert "above 0.70 at 60 of 60 observations" in caplog.text


def test_both_generations_compute_the_same(regression):
    az = import_arviz()
    fit = sr.fit(regression[0], seed=1)
    theirs = estimate(fit.loo())
    if hasattr(az, "loo_approximate_posterior"):
        assert theirs[0] == pytest.approx(estimate(loo(regression[1].draws))[0], abs=0.15)
        return
    # As in Magnusson et al.: weights p / (q * likelihood), smoothed, over the likelihood.
    draws = fit.draws
    each = draws.posterior["log_lik"][0, draws.evaluated]
    log_weights = draws.log_ratios[:, None] - each
    smoothed = np.stack([az.psislw(column)[0] for column in log_weights.T])
    known = loo(draws)
    assert known.n_samples == len(draws.evaluated)
    np.testing.assert_allclose(estimate(known)[2], np.logaddexp.reduce(smoothed + each.T, axis=1))
    assert "elpd_loo" in str(known)


def test_all_draws_are_evaluated_where_the_model_is_known(regression):
    fit = sr.fit(regression[0], seed=1, draws=3000)
    assert len(fit.draws.evaluated) < 3000
    assert loo(fit.draws).n_samples == len(fit.draws.evaluated)
    assert fit.loo().n_samples == 3000
    assert fit.loo("log_lik").n_data_points == 60


def test_what_lacks_a_log_likelihood_says_what_to_add(regression, eight_schools):
    with pytest.raises(DrawsError, match=r"no log_lik\. Compute it.*\n.*vector\[N\] log_lik"):
        sr.fit(eight_schools, seed=1, draws=200).loo()
    fit = sr.fit(regression[0], seed=1, draws=200)
    with pytest.raises(UsageError, match=r"var_name is 'loglik'.*Did you mean 'log_lik'"):
        fit.loo("loglik")
    for name, what in {"beta": "a parameter", "rounded": "integers"}.items():
        with pytest.raises(UsageError, match=f"{what}, and no log likelihood.*log_lik, other"):
            fit.loo(name)
    with pytest.raises(DrawsError, match="200 of 400 values of other are NaN or infinite"):
        fit.loo("other")
    with pytest.raises(DrawsError, match="4000 of 8000 values of other"):
        regression[1].loo("other")


def test_a_handful_of_draws_is_too_few(regression):
    few = sr.fit(regression[0], seed=1, draws=24)
    with pytest.raises(DrawsError, match="at least 25 draws with weights, not 24"):
        few.loo()
    assert sr.fit(regression[0], seed=1, draws=25).loo().n_samples == 25
    with pytest.raises(DrawsError, match="not 20"):
        sr.nuts(regression[0], engine="stanli", seed=1, chains=2, iter_sampling=10).loo()
