"""Draws in one labelling, of fits and of samples."""

from dataclasses import replace

import numpy as np
import pytest

import stanrovi as sr
from stanrovi.errors import DrawsError, UsageError

LABELS = """
data { int<lower=1> N; int<lower=1> K; vector[N] y; }
parameters { vector[K] mu; vector<lower=0>[K] sigma; simplex[K] theta; }
model {
  mu ~ normal(0, 5);
  sigma ~ lognormal(0, 0.5);
  theta ~ dirichlet(rep_vector(3.0, K));
  for (n in 1 : N) {
    vector[K] lp = log(theta);
    for (k in 1 : K) lp[k] += normal_lpdf(y[n] | mu[k], sigma[k]);
    target += log_sum_exp(lp);
  }
}
"""
MEANS = (-5, 0, 5)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("labels") / "labels.stan"
    path.write_text(LABELS, encoding="utf-8")
    rng = np.random.default_rng(0)
    y = np.concatenate([rng.normal(mean, 1, 40) for mean in MEANS])
    return sr.Model(path, {"N": len(y), "K": 3, "y": y})


@pytest.fixture(scope="module")
def fit(model):
    return sr.fit(model, seed=1)


def in_one_labelling(draws, representative):
    """Each component stays near the mode, and its share and scale go with it."""
    mu = draws.posterior["mu"].reshape(-1, 3)
    assert (np.abs(mu - representative["mu"]) < 2.4).all()
    np.testing.assert_allclose(np.sort(mu.mean(axis=0)), MEANS, atol=0.5)
    np.testing.assert_allclose(draws.posterior["theta"].sum(axis=-1), 1, atol=1e-12)


def test_a_fit_of_three_labels_has_all_six_and_relabelled_one(model, fit):
    assert fit.verdict.name == "ok"
    assert [m.orbit for m in fit.modes] == [0] * 6
    assert [m.mass for m in fit.modes] == pytest.approx([1 / 6] * 6, abs=0.01)
    found = sr.relabel(fit, model)
    in_one_labelling(found.draws, found.representatives[0])
    assert found.moved == pytest.approx(5 / 6, abs=0.02)
    assert "6 modes say the same" in found.reason
    assert "exchanged" in found.reason
    assert found.draws.attrs["relabelled"] == found.reason
    assert [m.weight for m in found.draws.facts.modes] == pytest.approx([1.0])
    # The density at a draw is that of its image.
    x = found.draws.unconstrained[0]
    value, _ = model.log_density_gradient(np.ascontiguousarray(x[:200]))
    np.testing.assert_allclose(value, fit.draws.sample_stats["lp"][0][:200], rtol=1e-9)
    assert set(found.summary().columns) >= {"mean", "sd"}
    assert sr.from_arviz(found.to_arviz()).attrs["relabelled"] == found.reason
    assert "83%" in repr(found) or "84%" in repr(found)


def test_the_reason_does_not_rest_on_the_order_of_equal_modes(model, fit):
    first, *others = fit.modes
    turned = replace(fit.result, modes=(first, *reversed(others)))
    again = sr.relabel(replace(fit, result=turned), model)
    assert again.reason == sr.relabel(fit, model).reason


@pytest.mark.slow
def test_draws_of_a_sample_are_relabelled_chain_by_chain(model, fit):
    run = sr.sample(model, seed=2, init=fit, ess=100)
    found = sr.relabel(run, model)
    in_one_labelling(found.draws, found.representatives[0])
    assert found.draws.posterior["mu"].shape == run.draws.posterior["mu"].shape
    assert found.draws.sample_stats.keys() == run.draws.sample_stats.keys()


def test_where_no_symmetry_exchanges_modes_it_says_so():
    fit = sr.fit("kidscore", seed=1)
    with pytest.raises(DrawsError, match=r"nothing to relabel.*1 mode that"):
        sr.relabel(fit, "kidscore")


def test_another_model_is_refused(fit):
    with pytest.raises(UsageError, match="give the model of the run"):
        sr.relabel(fit, "kidscore")


def test_another_model_of_as_many_parameters_is_refused_too():
    """The draws would be read as parameters that they are not."""
    fit = sr.fit("label_switching", method="mixture", seed=1)
    assert sr.Model("kidscore").dim == fit.result.dim
    with pytest.raises(UsageError, match=r"not one of kidscore.*of label_switching"):
        sr.relabel(fit, "kidscore")
    assert sr.relabel(fit, "label_switching").moved == pytest.approx(0.5, abs=0.01)
