"""What every run answers about its draws, beside cmdstanpy's answers to the same questions."""

import re
from dataclasses import replace

import arviz
import cmdstanpy
import numpy as np
import pytest
from cmdstanpy.utils import stancsv

import stanrovi as sr
from stanrovi.draws import Draws
from stanrovi.errors import DrawsError, OutputError, UsageError
from stanrovi.io.stan_csv import write_stan_csv

PROGRAM = """
data { int N; }
parameters {
  real x; matrix[2, 3] A; array[2] simplex[3] p; vector[N] none; cholesky_factor_corr[2] L;
}
model {
  x ~ normal(3, 2); to_vector(A) ~ std_normal(); L ~ lkj_corr_cholesky(2);
  for (i in 1:2) p[i] ~ dirichlet(rep_vector(4, 3));
}
generated quantities {
  array[2] int k; for (i in 1:2) k[i] = poisson_rng(3 * i);
  array[2, 1, 3] real w; for (i in 1:2) for (j in 1:3) w[i, 1, j] = 10 * i + j + x;
}
"""
SHAPES = {"x": (), "A": (2, 3), "p": (2, 3), "L": (2, 2), "k": (2,), "w": (2, 1, 3)}
KINDS = ("fit", "nuts", "sample")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    program = tmp_path_factory.mktemp("answers") / "shapes.stan"
    program.write_text(PROGRAM, encoding="utf-8")
    model = sr.Model(program, {"N": 0}, engine="stanli")
    return {
        "fit": sr.fit(model, seed=1, draws=300),
        "nuts": sr.nuts(model, engine="stanli", seed=1, iter_warmup=300, iter_sampling=100),
        "sample": sr.sample(model, seed=1, ess=100),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_variables_have_chains_joined_one_after_the_other(runs, kind):
    run = runs[kind]
    n = run.draws.n_chains * run.draws.n_draws
    values = run.stan_variables()
    assert {name: v.shape for name, v in values.items()} == {k: (n, *s) for k, s in SHAPES.items()}
    second = run.stan_variable("A")[-run.draws.n_draws :]
    assert np.array_equal(second, run.draws.posterior["A"][-1])
    assert run.stan_variable("p").sum(axis=-1) == pytest.approx(1)


@pytest.mark.parametrize("kind", KINDS)
def test_cmdstanpy_reads_the_files_and_gives_the_same_tables(runs, kind, tmp_path):
    run = runs[kind]
    paths = run.save_csv(tmp_path / "csv")
    assert len(paths) == run.draws.n_chains
    back = cmdstanpy.from_csv([str(path) for path in paths])
    theirs, ours = back.draws_pd(), run.draws_pd()
    assert list(ours.columns) == list(theirs.columns)
    assert np.array_equal(ours.to_numpy(dtype=float), theirs.to_numpy(), equal_nan=True)
    for name, values in run.stan_variables().items():
        assert np.array_equal(back.stan_variable(name), values)
    chosen = ["A", "lp__", "k"]
    assert list(run.draws_pd(chosen).columns) == list(back.draws_pd(chosen).columns)
    table, dataset = back.draws_xr("w"), run.draws_xr("w")
    assert np.array_equal(table["w"], dataset["w"])
    assert dataset["w"].dims[:2] == ("chain", "draw")
    assert dataset.attrs["model"] == "shapes"
    config = stancsv.parse_sampler_metadata_from_csv(paths[0])
    assert (config["algorithm"] == "fixed_param") == (kind == "fit")


@pytest.mark.parametrize("kind", KINDS)
def test_columns_of_statistics_have_the_names_of_stan(runs, kind):
    columns = list(runs[kind].draws_pd().columns)
    own = {"fit": ["lp__", "log_q__"]}.get(
        kind,
        ["lp__", "accept_stat__", "stepsize__", "treedepth__", "n_leapfrog__", "divergent__",
         "energy__"],
    )  # fmt: skip
    assert columns[: 3 + len(own)] == ["chain__", "iter__", "draw__", *own]
    first = ["x", "A[1,1]", "A[2,1]", "A[1,2]"]
    assert columns[3 + len(own) :][:4] == first


def test_a_file_of_a_fit_is_no_reference(runs, tmp_path):
    paths = runs["fit"].save_csv(tmp_path / "csv")
    with pytest.raises(DrawsError, match="not from NUTS"):
        sr.nuts_from_csv(paths, sr.Model("eight_schools"))
    with pytest.raises(OutputError, match="not empty"):
        runs["fit"].save_csv(tmp_path / "csv")
    assert runs["fit"].save_csv(tmp_path / "csv", overwrite=True) == paths


def test_settings_of_nuts_survive_its_files(tmp_path):
    model = sr.Model("eight_schools", engine="stanli")
    settings = {"iter_warmup": 60, "max_treedepth": 3}
    run = sr.nuts(model, engine="stanli", seed=1, iter_sampling=50, **settings)
    back = sr.nuts_from_csv(run.save_csv(tmp_path / "csv"), model)
    assert settings.items() <= back.draws.attrs.items()
    assert "maximum treedepth 3" in " ".join(back.warnings)
    assert back.draws.attrs["seed"] == 1


def test_fewer_chains_leave_no_chain_of_an_earlier_run(tmp_path):
    """But what others have written, and chains of other models."""
    folder = tmp_path / "csv"
    four, two = (
        Draws("stored", {"x": np.ones((n, 3))}, ("x",), attrs={"model": "m"}) for n in (4, 2)
    )
    write_stan_csv(four, folder)
    others = {
        "m_5.csv": "# method = sample\nlp__,x\n",
        "m_6.csv": "",
        "m_03.csv": "",
        "n_3.csv": "",
    }
    for name, text in others.items():
        (folder / name).write_text(text)
    (folder / "n_4.csv").write_bytes((folder / "m_4.csv").read_bytes())
    write_stan_csv(two, folder, overwrite=True)
    assert {file.name for file in folder.iterdir()} == {"m_1.csv", "m_2.csv", "n_4.csv", *others}


def test_draws_without_statistics_can_be_written(tmp_path):
    draws = Draws("stored", {"x": np.arange(6.0).reshape(2, 3)}, ("x",))
    back = cmdstanpy.from_csv([str(path) for path in write_stan_csv(draws, tmp_path / "csv")])
    assert back.stan_variable("x").tolist() == list(range(6))


def test_single_draws_and_empty_variables():
    draws = Draws("nuts", {"none": np.empty((2, 1, 0)), "x": np.ones((2, 1, 2))}, ("x",))
    assert draws.stan_variable("none").shape == (2, 0)
    assert list(draws.draws_pd().columns) == ["chain__", "iter__", "draw__", "x[1]", "x[2]"]
    assert draws.draws_pd("none").shape == (2, 0)
    assert draws.draws_pd()["chain__"].tolist() == [1, 2]


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_name_is_told_with_the_nearest(runs, kind):
    run = runs[kind]
    for ask in (run.stan_variable, run.draws_pd, run.draws_xr):
        with pytest.raises(UsageError, match=r"Unknown variable 'a'. Did you mean 'A'\?.*x, A, p"):
            ask("a")
        with pytest.raises(UsageError, match=r"'A\[1,2\]' is one element of 'A'"):
            ask("A[1,2]")
    with pytest.raises(UsageError, match="lp__"):
        run.draws_pd(["x", "lq__"])
    with pytest.raises(UsageError, match="Unknown variable 'lp__'"):
        run.draws_xr("lp__")
    for several in (None, ["x", "A"]):
        with pytest.raises(UsageError, match="Unknown variable"):
            run.stan_variable(several)


def test_summaries_tell_how_chains_mixed(runs):
    for kind in ("nuts", "sample"):
        table = runs[kind].summary()
        assert list(table.columns) == [
            "mean", "sd", "q5", "q50", "q95", "r_hat", "ess_bulk", "ess_tail"
        ]  # fmt: skip
        assert table.loc["L[1,1]", ["r_hat", "ess_bulk", "ess_tail"]].isna().all()
        assert table.loc["x", "mean"] == pytest.approx(3, abs=1)
        assert (table["r_hat"].dropna() < 1.1).all()
    x = runs["nuts"].draws.posterior["x"]
    assert runs["nuts"].summary().loc["x", "ess_bulk"] == pytest.approx(float(arviz.ess(x)))
    assert runs["fit"].message == runs["fit"].result.message


def test_summaries_of_nothing_and_of_infinity(runs):
    assert runs["fit"].summary([]).shape == (0, 7)
    assert runs["nuts"].summary([]).shape == (0, 8)
    run = runs["nuts"]
    infinite = {**run.draws.posterior, "k": np.full(run.draws.posterior["k"].shape, -np.inf)}
    table = replace(run, draws=replace(run.draws, posterior=infinite)).summary("k")
    assert table.loc["k[1]", "mean"] == -np.inf
    assert np.isnan(table.loc["k[1]", "r_hat"])


def test_files_stay_in_their_folder_whatever_a_file_calls_its_model(tmp_path):
    draws = Draws("stored", {"x": np.ones((1, 3))}, ("x",), attrs={"model": "../räder/x 1"})
    paths = write_stan_csv(draws, tmp_path / "csv")
    assert [path.name for path in paths] == [".._räder_x 1_1.csv"]
    assert paths[0].parent == tmp_path / "csv"


def test_arviz_takes_every_run(runs):
    for run in (*runs.values(), runs["fit"].resample(seed=1)):
        assert run.to_arviz()["posterior"]["A"].shape[2:] == (2, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_notebooks_show_verdict_cost_and_summary(runs, kind):
    html = runs[kind]._repr_html_()
    assert "✓" in html or "✗" in html or "!" in html
    assert "gradients" in html
    assert "nan" not in html
    assert "<th" in html
    assert re.search(r"The first 15 quantities; summary\(\) has \d+ more.", html)
    assert "shapes" in html


def test_notebooks_show_reasons_cures_and_modes():
    fit = sr.fit("bimodal_gaussian", method="mfvi", seed=1)
    html = fit._repr_html_()
    assert "✗</b> <b>collapsed" in html
    assert all(text in html for finding in fit.verdict.findings for text in finding)
    assert fit.verdict._repr_html_() in html
    assert "axes" not in repr(fit.modes)
    assert str(fit.verdict).splitlines() == ["collapsed", *(f"- {x}" for x in fit.verdict.told)]
    report = sr.find_modes("bimodal_gaussian", seed=1)._repr_html_()
    assert "Modes of bimodal_gaussian: 2" in report
    assert "50.0%" in report
    assert "no bound on the smaller mode" in report
    nuts = sr.nuts("bimodal_gaussian", engine="stanli", seed=1, iter_sampling=200)
    assert "NOT trusted" in nuts._repr_html_()
    table = sr.compare(fit, nuts).modes
    assert "local evidence" in table._repr_html_()
