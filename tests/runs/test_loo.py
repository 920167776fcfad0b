"""LOO of fits against that of NUTS."""

import numpy as np
import pytest

import stanrovi as sr
from stanrovi.diagnostics.statistics import psis_loo
from stanrovi.errors import DrawsError, UsageError
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
  vector[2] other = [0, negative_infinity()]';
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


@pytest.mark.parametrize("case", ["regression", "schools"])
def test_loo_of_fits_agrees_with_that_of_nuts(case, request):
    model, nuts = request.getfixturevalue(case)
    elpd, p, pointwise = estimate(import_arviz().loo(nuts.to_arviz(), pointwise=True))
    assert estimate(loo(nuts.draws))[0] == pytest.approx(elpd)
    for seed in range(3):
        found = estimate(sr.fit(model, seed=seed).loo())
        assert found[0] == pytest.approx(elpd, abs=0.15)
        assert found[1] == pytest.approx(p, abs=0.25)
        np.testing.assert_allclose(found[2], pointwise, atol=0.1)


def test_the_correction_takes_out_the_error_of_a_poor_family(regression):
    model, nuts = regression
    exact = estimate(loo(nuts.draws))
    fit = sr.fit(model, method="mfvi", seed=1)
    # Mean field in coordinates that are strongly correlated: the slope with its intercept.
    off = fit.draws.posterior["beta"].std(axis=(0, 1)) / nuts.draws.posterior["beta"].std((0, 1))
    corrected = estimate(fit.loo())
    plain = estimate(psis_loo(fit.to_arviz(), "log_lik"))
    if off.min() < 0.8:
        assert abs(corrected[1] - exact[1]) < abs(plain[1] - exact[1])
    assert corrected[0] == pytest.approx(exact[0], abs=0.3)


def test_a_fit_far_from_the_posterior_has_high_khat(caplog, tmp_path):
    path = tmp_path / "two.stan"
    path.write_text(
        "data { int N; array[N] real y; } parameters { vector[6] x; }"
        "model { x ~ student_t(2, 0, 1); sum(x) ~ normal(0, 0.01); y ~ normal(x[1], 1); }"
        "generated quantities { vector[N] log_lik;"
        " for (n in 1:N) log_lik[n] = normal_lpdf(y[n] | x[1], 1); }"
    )
    fit = sr.fit(path, {"N": 3, "y": [0.1, -0.4, 0.2]}, method="mfvi", seed=1)
    found = fit.loo()
    assert (found.pareto_k > 0.7).all()
    assert found.warning
    assert "above 0.70 at 3 of 3 observations" in caplog.text


def test_both_generations_compute_the_same(regression, monkeypatch):
    az = import_arviz()
    fit = sr.fit(regression[0], seed=1)
    theirs = estimate(fit.loo())
    if hasattr(az, "loo_approximate_posterior"):
        assert theirs[0] == pytest.approx(estimate(import_arviz().loo(regression[1].to_arviz()))[0],
                                          abs=0.15)  # fmt: skip
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
    with pytest.raises(UsageError, match="var_name is 'loglik'.*Did you mean 'log_lik'"):
        fit.loo("loglik")
    with pytest.raises(DrawsError, match="200 of 400 values of other are NaN or infinite"):
        fit.loo("other")
    with pytest.raises(DrawsError, match="4000 of 8000 values of other"):
        loo(regression[1].draws, "other")
