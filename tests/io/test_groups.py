"""Groups for LOO and predictive checks, and integers, from program to ArviZ and back."""

import numpy as np
import pytest
import xarray as xr

import stanrovi as sr
from stanrovi.draws import Draws
from stanrovi.errors import UsageError
from stanrovi.io.arviz import from_arviz, to_arviz
from stanrovi.io.generations import import_arviz, is_legacy
from stanrovi.io.netcdf import read_draws, write_netcdf
from stanrovi.io.stan_csv import write_stan_csv

PROGRAM = """
data { int<lower=0> N; vector[N] x; vector[N] y; array[N] int<lower=0, upper=1> won; }
parameters { real alpha; real beta; real<lower=0> sigma; }
model {
  alpha ~ normal(0, 5); beta ~ normal(0, 5); sigma ~ normal(0, 5);
  y ~ normal(alpha + beta * x, sigma);
  won ~ bernoulli_logit(alpha + beta * x);
}
generated quantities {
  vector[N] log_lik;
  for (n in 1:N) {
    if (n > 0 && 1 < 2) log_lik[n] = normal_lpdf(y[n] | alpha + beta * x[n], sigma);
  }
  array[N] real y_rep = normal_rng(alpha + beta * x, sigma);
  array[N] int won_rep;
  for (n in 1:N) won_rep[n] = bernoulli_logit_rng(alpha + beta * x[n]);
  int n_won = sum(won_rep), n_all = N;
  array[3] real y_pred = normal_rng({1, 2, 3}, sigma);
  real half = sum(won_rep) / 2.0;
}
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("groups") / "regression.stan"
    path.write_text(PROGRAM)
    rng = np.random.default_rng(1)
    x = rng.normal(size=30)
    y = 1 + 2 * x + rng.normal(size=30)
    return sr.Model(path, {"N": 30, "x": x, "y": y, "won": (y > 0).astype(int)}, engine="stanli")


@pytest.fixture(scope="module")
def fit(model):
    return sr.fit(model, method="gaussian", seed=1, draws=500)


def names(group):
    return sorted(map(str, group.data_vars))


def test_what_the_program_declares_as_integers_is_drawn_as_integers(model, fit):
    assert model.integers == {"won_rep", "n_won", "n_all"}
    for run in (
        fit,
        sr.nuts(model, engine="stanli", chains=1, iter_warmup=100, iter_sampling=50, seed=1),
        sr.nuts(model, engine="numpy", chains=1, iter_warmup=100, iter_sampling=50, seed=1),
        sr.sample(model, ess=50, seed=1),
    ):
        kinds = {name: values.dtype.kind for name, values in run.draws.posterior.items()}
        assert {name for name, kind in kinds.items() if kind == "i"} == model.integers
        assert {values.dtype.itemsize for values in run.draws.posterior.values()} == {8}
        assert run.draws.scalars(("n_won",))["n_won"].dtype == np.float64
        assert run.draws_pd("won_rep").dtypes.eq(np.int64).all()
        assert run.stan_variable("n_won").dtype == run.draws_xr()["n_won"].dtype == np.int64
    np.testing.assert_array_equal(
        fit.draws.posterior["won_rep"].sum(axis=-1), fit.draws.posterior["n_won"]
    )
    assert model.constrain(np.zeros((2, 3)), seed=1)["n_all"].tolist() == [30, 30]


def test_files_of_cmdstan_hold_integers_as_such(model, tmp_path):
    draws = sr.sample(model, ess=50, seed=1).draws
    paths = write_stan_csv(draws, tmp_path / "csv")
    lines = [line.split(",") for line in paths[0].read_text().splitlines() if line[0] != "#"]
    at = lines[0].index("n_won")
    assert [row[at] for row in lines[1:]] == [str(n) for n in draws.posterior["n_won"][0]]
    back = sr.nuts_from_csv(paths, model).draws
    assert {name for name, x in back.posterior.items() if x.dtype == np.int64} == model.integers


def test_integers_whose_computation_threw_stay_real(tmp_path):
    path = tmp_path / "throws.stan"
    path.write_text(
        "parameters { real x; } model { x ~ normal(0, 1); }"
        "generated quantities { int sign = x > 0; if (x > 1) reject(x); }"
    )
    fit = sr.fit(path, method="gaussian", seed=1, draws=200)
    sign, x = fit.draws.posterior["sign"], fit.draws.posterior["x"]
    assert sign.dtype == np.float64
    np.testing.assert_array_equal(np.isnan(sign), x > 1)


def test_variables_stand_where_arviz_looks_for_them(fit, tmp_path):
    path = write_netcdf(fit, tmp_path / "fit.nc")
    az = import_arviz()
    for data in (to_arviz(fit), az.from_netcdf(str(path))):
        assert names(data["posterior"]) == ["alpha", "beta", "half", "n_all", "n_won", "sigma",
                                            "y_pred"]  # fmt: skip
        assert names(data["log_likelihood"]) == ["log_lik"]
        assert names(data["posterior_predictive"]) == ["won_rep", "y_rep"]
        assert names(data["observed_data"]) == ["won", "y"]
        assert data["posterior_predictive"]["won_rep"].dtype == np.int64
        assert data["observed_data"]["won"].dtype.kind == "i"
        assert data["posterior"]["n_won"].dtype == np.int64


def test_loo_and_predictive_checks_need_no_further_steps(model):
    import matplotlib as mpl

    az, fit = import_arviz(), sr.nuts(model, engine="stanli", iter_sampling=500, seed=1)
    with mpl.rc_context({"backend": "agg"}):
        renamed = to_arviz(
            fit,
            posterior_predictive={"y": "y_rep", "won": "won_rep"},
            log_likelihood={"y": "log_lik"},
        )
        assert names(renamed["posterior_predictive"]) == names(renamed["observed_data"])
        assert az.loo(renamed).n_data_points == 30
        if is_legacy():
            data = to_arviz(fit)
            az.plot_ppc(
                data, data_pairs={"y": "y_rep", "won": "won_rep"}, num_pp_samples=10, random_seed=1
            )
            az.plot_ppc(renamed, num_pp_samples=10, random_seed=1)
        else:
            az.plot_ppc_dist(renamed, var_names=["y"], num_samples=10)


def test_draws_are_the_same_when_they_come_back(fit, tmp_path):
    renamed = {"posterior_predictive": {"y": "y_rep"}, "log_likelihood": {"y": "log_lik"}}
    for back in (
        from_arviz(to_arviz(fit)),
        from_arviz(to_arviz(fit, **renamed)),
        read_draws(write_netcdf(fit, tmp_path / "a.nc")),
        read_draws(write_netcdf(fit, tmp_path / "b.nc", **renamed)),
    ):
        assert list(back.posterior) == list(fit.draws.posterior)
        assert back.parameters == fit.draws.parameters
        assert not back.parameters_assumed
        for name, values in fit.draws.posterior.items():
            np.testing.assert_array_equal(back.posterior[name], values)
            assert back.posterior[name].dtype == values.dtype
        np.testing.assert_array_equal(back.data["y"], fit.draws.data["y"])
        assert not {"variables", "parameters"} & back.attrs.keys()
    twice = read_draws(write_netcdf(read_draws(tmp_path / "a.nc"), tmp_path / "c.nc"))
    assert twice.data.keys() == {"y", "won"}
    assert read_draws(tmp_path / "a.nc").sample_stats["lp"].dtype == np.float64


def test_names_that_are_given_count_instead(fit):
    data = fit.to_arviz(log_likelihood=[], posterior_predictive="y_pred", observed_data=["x"])
    assert "log_likelihood" not in (
        data.groups() if is_legacy() else [name.strip("/") for name in data.groups]
    )
    assert names(data["posterior_predictive"]) == ["y_pred"]
    assert "y_rep" in data["posterior"]
    assert names(data["observed_data"]) == ["x"]
    own = fit.to_arviz(observed_data={"seen": "y", "more": [1, 2]})
    np.testing.assert_array_equal(own["observed_data"]["seen"], fit.draws.data["y"])
    assert own["observed_data"]["more"].values.tolist() == [1, 2]


def test_only_a_log_likelihood_brings_the_data_of_its_shape():
    lead = np.zeros((1, 20))
    draws = Draws(
        "nuts",
        {"mu": lead, "log_lik": np.zeros((1, 20, 3))},
        ("mu",),
        data={"y": [1, 2, 3], "z": ["Inf", 1.0, 2.0]},
    )
    assert names(to_arviz(draws)["observed_data"]) == ["y"]
    infinite = to_arviz(draws, observed_data="z")["observed_data"]["z"].values
    np.testing.assert_array_equal(infinite, [np.inf, 1, 2])
    longer = Draws("nuts", draws.posterior, ("mu",), data={"y": [1, 2]})
    data = to_arviz(longer)
    assert names(data["log_likelihood"]) == ["log_lik"]
    with pytest.raises(KeyError):
        data["observed_data"]


def test_usual_names_follow_the_names_of_the_data():
    lead = (1, 20)
    values = {
        name: np.zeros((*lead, 2))
        for name in ("log_lik_a", "log_lik_b", "a_rep", "arep", "a_pred", "b_rep", "y_rep", "rep")
    }
    draws = Draws("nuts", {"mu": np.zeros(lead), **values}, ("mu",), data={"a": [1, 2]})
    data = to_arviz(draws)
    assert names(data["log_likelihood"]) == ["log_lik_a"]
    assert names(data["posterior_predictive"]) == ["a_pred", "a_rep", "arep", "y_rep"]
    assert names(data["observed_data"]) == ["a"]
    parameter = Draws("nuts", draws.posterior, ("mu", "y_rep"), data={"a": [1, 2]})
    assert "y_rep" in to_arviz(parameter)["posterior"]


def test_dims_and_coords_name_what_they_count(fit):
    days = [f"day {i}" for i in range(30)]
    data = to_arviz(
        fit,
        dims={"y": ["day"], "y_rep": ["day"], "log_lik": "day"},
        coords={"day": days},
    )
    for group, name in (("posterior_predictive", "y_rep"), ("log_likelihood", "log_lik"),
                        ("observed_data", "y")):  # fmt: skip
        assert data[group][name].dims[-1] == "day"
        assert data[group][name]["day"].values.tolist() == days
    renamed = to_arviz(fit, posterior_predictive={"y": "y_rep"}, dims={"y_rep": ["day"]})
    assert renamed["posterior_predictive"]["y"].dims[-1] == "day"


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"log_likelihood": "loglik"}, r"log_likelihood names 'loglik'.*Did you mean 'log_lik'"),
        ({"posterior_predictive": {"y": "yrep"}}, r"names 'yrep'.*Did you mean 'y_rep'"),
        ({"log_likelihood": 1}, "log_likelihood must be a name, a list of names, or a mapping"),
        ({"observed_data": "Y"}, r"observed_data names 'Y', which is none of the program's data"),
        ({"observed_data": {"y": object()}}, "'y' is no array of numbers"),
        ({"dims": {"y_repp": ["day"]}}, r"dims names 'y_repp'.*Did you mean 'y_rep'"),
        ({"dims": {"y_rep": ["day", "hour"]}}, r"2 dimensions of y_rep \(day, hour\), which has 1"),
        ({"dims": {"y": ["day"]}, "coords": {"dya": [1]}}, r"coords names 'dya'.*mean 'day'"),
        ({"dims": {"y": ["day"]}, "coords": {"day": [1]}}, "'day' of y is 30 long, .* 1 values"),
        ({"dims": {"y_rep": ["chain"]}}, "'chain' of y_rep is taken"),
        ({"dims": {"y_pred": ["d"], "n_all": ["d"]}}, "1 dimensions of n_all"),
    ],
)
def test_wrong_names_and_lengths_are_told(fit, keywords, message):
    with pytest.raises(UsageError, match=message):
        fit.to_arviz(**keywords)


def test_draws_that_know_no_data_say_so(fit):
    bare = Draws("nuts", fit.draws.posterior, fit.draws.parameters)
    with pytest.raises(UsageError, match="none are known of these draws"):
        to_arviz(bare, observed_data="y")
    data = to_arviz(bare, observed_data={"y": fit.draws.data["y"]})
    assert names(data["observed_data"]) == ["y"]
    assert names(to_arviz(bare)["posterior_predictive"]) == ["y_pred", "y_rep"]


def test_a_foreign_container_keeps_its_variables_apart():
    lead, dims = (2, 20), ("chain", "draw")
    three = (*dims, "i"), np.zeros((*lead, 3))
    groups = {
        "posterior": {
            "theta": three,
            "n": (dims, np.ones(lead, dtype=np.int32)),
            "flag": (dims, np.ones(lead, dtype=bool)),
            "y_rep": (dims, np.ones(lead)),
        },
        "log_likelihood": {"log_lik": three, "thinned": ("sample", np.zeros(7))},
        "posterior_predictive": {"theta": three},  # as in the posterior
        "prior": {"theta": three},
    }
    tree = xr.DataTree.from_dict({name: xr.Dataset(group) for name, group in groups.items()})
    back = from_arviz(tree)
    assert list(back.posterior) == ["theta", "n", "flag", "y_rep", "log_lik"]
    assert back.parameters == ("theta", "n", "flag")
    assert back.parameters_assumed
    assert [back.posterior[name].dtype for name in ("n", "flag")] == [np.int64, np.int64]
    assert names(to_arviz(back)["posterior_predictive"]) == ["y_rep"]


def test_a_saved_fit_has_its_groups_and_knows_all_of_its_data(fit, tmp_path):
    path = fit.save(tmp_path / "fit.nc")
    assert names(import_arviz().from_netcdf(str(path))["log_likelihood"]) == ["log_lik"]
    back = sr.load_fit(path).draws
    assert list(back.posterior) == list(fit.draws.posterior)
    assert back.posterior["won_rep"].dtype == np.int64
    assert names(to_arviz(back, observed_data="x")["observed_data"]) == ["x"]
