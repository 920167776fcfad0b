"""NUTS that starts and moves by a fit, and what cmdstanpy and CmdStan take from one."""

import json
from pathlib import Path

import cmdstanpy
import numpy as np
import pytest

import stanrovi as sr
from stanrovi.errors import DrawsError, UsageError
from stanrovi.io.netcdf import read_draws, write_netcdf
from stanrovi.runs.warm_start import warm_start


@pytest.fixture(scope="module")
def kidscore():
    model = sr.Model("kidscore")
    return model, sr.fit(model, seed=1)


@pytest.mark.parametrize("engine", ["stanli", "numpy"])
def test_a_fit_saves_nine_tenths_of_the_gradients(kidscore, engine):
    model, fit = kidscore
    warm = sr.nuts(model, init=fit, engine=engine, iter_sampling=250, seed=2)
    assert warm.warnings == ()
    assert warm.check.rhat_max < 1.02
    usual = sr.nuts(model, engine="stanli", iter_warmup=200, iter_sampling=250, seed=2)
    assert warm.n_gradients < usual.n_gradients / 10


def test_from_a_file_as_from_the_fit(kidscore, tmp_path):
    model, fit = kidscore
    path = write_netcdf(fit.draws, tmp_path / "fit.nc")
    runs = [
        sr.nuts(model, init=init, engine="stanli", iter_sampling=50, seed=3)
        for init in (fit, fit.draws, read_draws(path))
    ]
    for run in runs[1:]:
        assert np.array_equal(run.draws.posterior["beta"], runs[0].draws.posterior["beta"])


def test_a_fit_that_is_not_near_warns_and_nuts_warms_up_as_usual():
    collapsed = sr.fit("bimodal_gaussian", method="mfvi", seed=1)
    run = sr.nuts("bimodal_gaussian", init=collapsed, engine="stanli", iter_sampling=50, seed=1)
    plain = sr.nuts("bimodal_gaussian", engine="stanli", iter_sampling=50, seed=1)
    assert "is collapsed, so NUTS starts and warms up as usual" in " ".join(run.warnings)
    assert run.n_gradients == plain.n_gradients


def test_a_long_warm_up_is_told_to_throw_the_metric_away(kidscore):
    model, fit = kidscore
    run = sr.nuts(model, init=fit, engine="stanli", iter_warmup=200, iter_sampling=50, seed=1)
    assert "throws the fit's metric away" in " ".join(run.warnings)


def test_fits_of_others_and_draws_of_none_are_refused(kidscore):
    model, fit = kidscore
    with pytest.raises(DrawsError, match=r"is not of eight_schools .* its parameters are"):
        sr.nuts("eight_schools", init=fit)
    nuts = sr.nuts(model, engine="stanli", iter_warmup=100, iter_sampling=50, seed=1)
    with pytest.raises(DrawsError, match="not those of a fit"):
        sr.nuts(model, init=nuts)
    with pytest.raises(UsageError, match="carries no draws"):
        sr.nuts(model, init="fit.nc")


def test_starts_and_metric_in_the_forms_of_cmdstan(kidscore, tmp_path):
    model, fit = kidscore
    inits, metric = fit.inits(3), fit.inv_metric()
    assert [set(values) for values in inits] == [set(model.parameters)] * 3
    assert inits == fit.inits(3)
    assert inits != fit.inits(3, seed=5)
    assert np.linalg.eigvalsh(metric).min() > 0
    assert np.diag(metric) == pytest.approx(fit.result.family.sd() ** 2, rel=0.02)
    paths = fit.write_warm_start(tmp_path / "warm", chains=3)
    assert [p.name for p in paths] == ["init_1.json", "init_2.json", "init_3.json",
                                       "inv_metric.json"]  # fmt: skip
    assert json.loads(paths[0].read_text()) == inits[0]
    assert np.array(json.loads(paths[-1].read_text())["inv_metric"]) == pytest.approx(metric)


def test_metric_of_several_modes_is_that_within_them():
    fit = sr.fit("bimodal_gaussian", seed=1)
    within = fit.inv_metric()
    between = np.cov(fit.result.draws.T)
    assert np.diag(within).max() < 0.3 * np.diag(between).max()


def test_high_dimensions_get_variances(write):
    program = write("wide.stan", "parameters { vector[60] x; } model { x ~ normal(0, 2); }")
    fit = sr.fit(program, method="mfvi", seed=1, draws=200)
    assert fit.inv_metric() == pytest.approx(np.full(60, 4.0), rel=0.4)
    run = sr.nuts(program, init=fit, engine="stanli", iter_sampling=50, seed=1)
    assert run.warnings == () or "as usual" in run.warnings[0]
    assert warm_start(fit.draws, 2, seed=0).inv_metric.shape == (60,)


@pytest.mark.cmdstan
class TestCmdStan:
    @pytest.fixture(scope="class")
    def fit(self, prophet: sr.Model) -> sr.Fit:
        return sr.fit(prophet, seed=1)

    @pytest.fixture(scope="class")
    def exe(self, prophet_folder: Path) -> Path:
        return prophet_folder / "prophet_model.bin"

    def test_a_fit_saves_most_of_the_gradients_of_a_draw(self, prophet, fit, exe):
        usual = sr.nuts(prophet, exe=exe, seed=1)
        warm = sr.nuts(prophet, exe=exe, init=fit, seed=1)
        assert warm.warnings == ()
        assert warm.check.rhat_max < 1.01
        assert warm.n_gradients < 0.3 * usual.n_gradients
        each = [run.n_gradients / run.check.ess_min for run in (warm, usual)]
        assert each[0] < each[1] / 3

    def test_a_longer_warm_up_keeps_the_metric(self, prophet, fit, exe):
        short, long = (
            sr.nuts(prophet, exe=exe, init=fit, iter_warmup=n, iter_sampling=200, seed=2)
            for n in (75, 300)
        )
        steps = [run.draws.sample_stats["n_steps"].mean() for run in (short, long)]
        assert steps[1] < 1.3 * steps[0]

    def test_what_a_pipeline_of_ones_own_takes(self, prophet, fit, exe, tmp_path):
        *inits, metric = fit.write_warm_start(tmp_path / "warm", chains=2)
        sampler = cmdstanpy.CmdStanModel(exe_file=str(exe))
        options = {"data": json.loads(prophet.data_json), "chains": 2, "iter_warmup": 75,
                   "iter_sampling": 50, "metric": "dense_e", "seed": 1,
                   "show_progress": False}  # fmt: skip
        by_files = sampler.sample(inits=[str(p) for p in inits], inv_metric=str(metric), **options)
        by_values = sampler.sample(inits=fit.inits(2), inv_metric=fit.inv_metric(), **options)
        assert np.array_equal(by_files.draws(), by_values.draws())
