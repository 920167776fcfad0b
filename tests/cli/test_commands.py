"""Commands that succeed: what they print, write and return."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click
import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner, Result
from places import SCHEMAS

import stanrovi as sr
from stanrovi.io.json_values import json_text
from stanrovi_cli import loading, options
from stanrovi_cli.app import COMMANDS, cli


def run(*args: object, code: int = 0) -> Result:
    """Run a command; it must exit with ``code``, and never by an exception of its own."""
    result = CliRunner().invoke(cli, [str(arg) for arg in args])
    assert isinstance(result.exception, SystemExit | None), result.exception
    assert result.exit_code == code, result.output
    return result


def run_json(command: str, *args: object, schema: str = "", code: int = 0) -> dict:
    """Run a command with --json; check its only output against the schema."""
    result = run(command, *args, "--json", code=code)
    value = json.loads(result.stdout)
    text = (SCHEMAS / f"{schema or command}.schema.json").read_text(encoding="utf-8")
    jsonschema.validate(value, json.loads(text))
    return value


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    """A mean-field fit and a NUTS run of eight schools, as the commands write them."""
    folder = tmp_path_factory.mktemp("with space")
    paths = {"mfvi": folder / "mfvi.nc", "nuts": folder / "nuts.nc"}
    run("fit", "eight_schools", "--method", "mfvi", "--seed", 1, "--output", paths["mfvi"])
    run("nuts", "eight_schools", "--seed", 1, "--output", paths["nuts"])
    return paths


def test_help_lists_every_command():
    text = run("--help").stdout
    for name in COMMANDS:
        assert f"\n  {name} " in text
    assert "..." not in text.split("Commands:")[1]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_commands_fits_80_columns(name):
    text = run(name, "--help").stdout
    assert max(map(len, text.splitlines())) <= 80
    assert "--json" in text


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_documented(name):
    text = (SCHEMAS.parent / "reference" / "command-line.md").read_text(encoding="utf-8")
    assert f"### `stanrovi {name}" in text
    command = cli.get_command(click.Context(cli), name)
    options = [p.opts[0] for p in command.params if isinstance(p, click.Option)]
    assert [option for option in options if option not in text] == []


def test_models():
    lines = run("models").stdout.splitlines()
    listed = run_json("models")["models"]
    assert [line.split()[0] for line in lines] == [model["name"] for model in listed]
    assert "eight_schools" in {model["name"] for model in listed}
    assert all(Path(model["program"]).is_file() for model in listed)


def test_check():
    found = run_json("check", "eight_schools")
    assert found["dim"] == 10
    assert found["gradient_agrees"] is True
    text = run("check", "eight_schools").stdout
    assert "agrees with finite differences" in text


def test_check_warns_of_a_bound_that_is_missing(write):
    body = "parameters {{ real m; real{} s; }} model {{ {{0.5, 1.5}} ~ normal(m, s); }}"
    (warning,) = run_json("check", write("bare.stan", body.format("")))["warnings"]
    assert re.match(r"[1-9] of 10 random points are rejected", warning)
    assert "Scale parameter is -" in warning
    assert "<lower=0>" in warning
    assert warning in run("check", write("bare.stan", body.format(""))).stderr
    assert run_json("check", write("bounded.stan", body.format("<lower=0>")))["warnings"] == []


def test_fit_json_has_the_fields_of_the_contract():
    found = run_json("fit", "bimodal_gaussian", "--method", "rovi", "--seed", 0)
    assert found["seed"] == 0
    assert found["method"] == "rovi"
    assert found["output"] is None
    assert len(found["modes"]) == 2
    assert all(0.45 < mode["mass"] < 0.55 for mode in found["modes"])


def test_fit_text(files):
    text = run("fit", "eight_schools", "--method", "mfvi", "--seed", 1).stdout
    assert "mfvi, seed 1" in text
    assert "theta[8]" in text
    assert max(map(len, text.splitlines())) <= 80


def test_fit_tells_the_error_of_every_marginal():
    found = run_json("fit", "eight_schools", "--seed", 1)
    assert {row["name"] for row in found["errors"]} == set(found["summary"])
    assert len(found["cures"]) == len(found["reasons"])
    doubtful = run_json("fit", "neals_funnel", "--method", "rovi", "--seed", 1)
    assert doubtful["verdict"] == "suspect"
    assert "method auto" in doubtful["cures"][0]
    text = run("fit", "neals_funnel", "--method", "rovi", "--seed", 1).stdout
    assert "Fit by method auto" in text


def test_fit_resamples_beside_the_plain_summary(tmp_path):
    args = ("fit", "kidscore", "--seed", 1, "--resample", "--output", tmp_path / "r.nc")
    text = run(*args).stdout
    assert text.count("\nbeta[4] ") == 2
    assert "draws are distinct" in text
    found = run_json(*args, "--overwrite")
    assert found["resampled"]["refused"] is None
    assert 3000 < found["resampled"]["n_distinct"] <= 4000
    draws = sr.read_draws(tmp_path / "r.nc")
    assert draws.method == "auto+psir"
    assert len(np.unique(draws.posterior["sigma"])) == found["resampled"]["n_distinct"]


def test_fit_relabels_beside_the_plain_summary(tmp_path):
    args = ("fit", "label_switching", "--method", "mixture", "--seed", 1, "--relabel",
            "--output", tmp_path / "r.nc")  # fmt: skip
    result = run(*args)
    assert "Relabelled 50% of the draws." in result.stdout
    assert "mu.1 and mu.2" in result.stdout
    assert "orbit" in result.stdout
    found = run_json(*args, "--overwrite")
    assert found["relabelled"]["refused"] is None
    assert found["relabelled"]["moved"] == pytest.approx(0.5, abs=0.01)
    (kept,) = found["relabelled"]["representatives"]
    draws = sr.read_draws(tmp_path / "r.nc")
    assert (np.sign(draws.posterior["mu"] - np.mean(kept["mu"]))[..., 0].std()) == 0
    assert "relabelled" in draws.attrs


def test_what_has_no_twin_is_not_relabelled_and_not_lost():
    result = run("fit", "kidscore", "--seed", 1, "--relabel")
    assert "Not relabelled." in result.stderr
    assert "beta" in result.stdout
    assert run_json("fit", "kidscore", "--seed", 1, "--relabel")["relabelled"]["refused"]
    assert run("fit", "kidscore", "--seed", 1, "--relabel", "--strict", code=3)


def test_one_cannot_relabel_and_resample_at_once():
    result = run("fit", "kidscore", "--relabel", "--resample", code=2)
    assert "choose one" in result.stderr


def test_fit_refuses_to_resample_what_weights_cannot_mend(tmp_path):
    args = ("fit", "neals_funnel", "--method", "mfvi", "--seed", 1, "--resample")
    result = run(*args, "--output", tmp_path / "f.nc")
    assert "Not resampled." in result.stderr
    assert "k-hat" in result.stderr
    assert sr.read_draws(tmp_path / "f.nc").method == "mfvi"
    assert "k-hat" in run_json(*args)["resampled"]["refused"]
    run(*args, "--strict", code=3)


def test_fit_draws_a_seed_and_records_it():
    seeds = {run_json("fit", "eight_schools", "--method", "gaussian")["seed"] for _ in range(2)}
    assert len(seeds) == 2


def test_fit_file_holds_draws_and_settings(files):
    draws = sr.read_draws(files["mfvi"])
    assert draws.posterior["theta"].shape == (1, 4000, 8)
    assert draws.parameters == ("theta_trans", "mu", "tau")
    assert draws.attrs["seed"] == 1
    assert draws.attrs["model"] == "eight_schools"


def test_same_seed_same_fit(tmp_path):
    for name in ("a.nc", "b.nc"):
        run("fit", "eight_schools", "--seed", 3, "--draws", 50, "--output", tmp_path / name)
    a, b = (sr.read_draws(tmp_path / name).posterior["mu"] for name in ("a.nc", "b.nc"))
    np.testing.assert_array_equal(a, b)
    assert a.shape == (1, 50)


def test_strict_fit_of_collapsed_mean_field():
    result = run("fit", "bimodal_gaussian", "--method", "mfvi", "--strict", "--seed", 0, code=3)
    assert "collapsed" in result.stdout
    assert run("fit", "bimodal_gaussian", "--method", "mfvi", "--seed", 0).exit_code == 0


def test_summary_shows_scalars_and_small_arrays_first(write):
    program = write(
        "sizes.stan",
        """
        parameters { vector[40] z; cholesky_factor_corr[2] L; vector<lower=0>[3] tau; real mu; }
        model { z ~ std_normal(); tau ~ normal(0, 1); mu ~ std_normal(); }
        generated quantities { real lost = mu > 0 ? not_a_number() : mu; }
        """,
    )
    for command, settings in ("fit", ()), ("nuts", ("--chains", 2)):
        text = run(command, program, "--seed", 1, *settings).stdout
        table = text[text.index("mean") :].splitlines()[2:]
        rows = [line.split()[0] for line in table if line]
        assert rows[:7] == ["mu", "lost", "L[2,1]", "L[2,2]", "tau[1]", "tau[2]", "tau[3]"]
        assert rows[7:30] == [f"z[{i + 1}]" for i in range(23)]
        assert " ".join(table[30:]).startswith(
            "Not shown: 17 more quantities and 2 that are constant."
        )


def test_json_summary_is_that_of_the_draws(tmp_path):
    for command in "fit", "nuts":
        path = tmp_path / f"{command}.nc"
        told = run_json(command, "eight_schools", "--seed", 1, "--output", path)["summary"]
        scalars = sr.read_draws(path).scalars()
        assert told.keys() == scalars.keys()
        for name, values in scalars.items():
            assert told[name] == pytest.approx({"mean": values.mean(), "sd": values.std()})


def test_nuts_json_and_file(files, tmp_path):
    found = run_json(
        "nuts", "eight_schools", "--engine", "stanli", "--seed", 2, "--chains", 2,
        "--iter-warmup", 300, "--iter-sampling", 200, "--output", tmp_path / "n.nc",
    )  # fmt: skip
    assert (found["n_chains"], found["n_draws"], found["engine"]) == (2, 200, "stanli")
    assert found["includes_warmup"] is True
    assert found["output"] == str(tmp_path / "n.nc")
    assert sr.read_draws(tmp_path / "n.nc").n_chains == 2


def test_nuts_strict_on_too_few_draws():
    args = ("eight_schools", "--iter-warmup", 50, "--iter-sampling", 10, "--seed", 1)
    result = run("nuts", *args, "--strict", code=3)
    assert "trusted  NO" in result.stdout


def test_nuts_single_chain_has_no_rhat():
    found = run_json("nuts", "eight_schools", "--chains", 1, "--iter-sampling", 200, "--seed", 1)
    assert found["rhat_max"] is None
    assert found["trusted"] is False


def test_nuts_starts_from_the_file_of_a_fit(tmp_path):
    fit, starts = tmp_path / "fit.nc", tmp_path / "starts"
    text = run("fit", "kidscore", "--seed", 1, "--output", fit, "--inits", starts).stdout
    assert f"Wrote {starts}" in text
    assert len(list(starts.iterdir())) == 5
    found = run_json("nuts", "kidscore", "--init-from", fit, "--engine", "numpy", "--seed", 1)
    assert found["engine"] == "numpy"
    assert found["trusted"] is True
    assert found["n_gradients"] < 60_000
    result = run("nuts", "eight_schools", "--init-from", fit, code=1)
    assert "is not of eight_schools" in result.stderr


def test_sample_json_and_files(tmp_path):
    draws, csv = tmp_path / "draws.nc", tmp_path / "csv"
    found = run_json(
        "sample", "bimodal_gaussian", "--seed", 1, "--output", draws, "--csv", csv, "--strict"
    )
    assert found["trusted"] is True
    assert found["kernel"] == "tempering"
    assert [leg["name"] for leg in found["legs"]] == ["fit", "wide"]
    assert sum(found["gradients_by_stage"].values()) == found["n_gradients"]
    assert sum(mode["mass"] for mode in found["modes"]) == pytest.approx(1)
    assert sr.read_draws(draws).n_chains == 4
    assert len(list(csv.glob("bimodal_gaussian_*.csv"))) == 4


def test_sample_text(tmp_path):
    result = run("sample", "eight_schools", "--seed", 1, "--ess", 100)
    assert "trusted   yes. 4 chains agree" in result.stdout
    assert "up to the constant" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80
    both = run("sample", "bimodal_gaussian", "--seed", 1, "--csv", tmp_path / "c").stdout
    assert "Monte Carlo error" in both
    assert f"Wrote {tmp_path / 'c'}" in both


def test_strict_sample_of_a_budget_too_small():
    args = ("eight_schools", "--seed", 1, "--ess", 9000, "--max-gradients", 9000)
    result = run("sample", *args, "--strict", code=3)
    assert "NO. 10 of 10 parameters have not reached" in result.stdout
    result = run("sample", "eight_schools", "--seed", 1, "--max-gradients", 300, code=1)
    assert "budget" in result.stderr


def test_the_draws_of_a_fit_as_csv(tmp_path):
    """What readers of CmdStan's files find in it; a reference it is not."""
    import cmdstanpy

    output, csv = tmp_path / "fit.nc", tmp_path / "csv"
    args = ("kidscore", "--seed", 1, "--output", output, "--csv", csv)
    found = run_json("fit", *args)
    assert found["csv"] == str(csv)
    assert f"Wrote {csv}" in run("fit", *args, "--overwrite").stdout
    draws = sr.read_draws(output)
    (path,) = csv.iterdir()
    back = cmdstanpy.from_csv(str(path))
    np.testing.assert_allclose(back.stan_variable("beta"), draws.posterior["beta"][0], rtol=1e-15)
    lines = path.read_text().splitlines()
    rows = [line for line in lines if line and not line.startswith("#")]
    assert rows[0].split(",")[0] == "lp__"
    assert len(rows) == 4001
    assert {row.count(",") for row in rows} == {rows[0].count(",")}
    result = run("compare", "kidscore", "--reference", path, "--methods", "gaussian", code=1)
    assert "not from NUTS" in result.stderr


@pytest.mark.cmdstan
def test_nuts_by_a_cmdstan_executable(prophet_folder, prophet_data, tmp_path):
    data = tmp_path / "prophet.json"
    data.write_text(json_text(prophet_data))
    found = run_json(
        "nuts", prophet_folder / "prophet.stan", "--data", data, "--seed", 1,
        "--exe", prophet_folder / "prophet_model.bin", "--chains", 2,
        "--iter-warmup", 300, "--iter-sampling", 200,
    )  # fmt: skip
    assert found["engine"] == "cmdstan"
    assert found["n_gradients"] > 500


def test_modes():
    found = run_json("modes", "bimodal_gaussian", "--seed", 0)
    assert len(found["modes"]) == 2
    assert found["separateness"]["original"]["bound"] < 0.5
    text = run("modes", "bimodal_gaussian", "--seed", 0).stdout
    assert "mode 2" in text
    assert max(map(len, text.splitlines())) <= 80


def test_modes_of_a_density_without_any_are_not_called_one(write):
    body = (
        "parameters { real a; real b; real<lower=0> s; } model { {1.0, 2.5} ~ normal(a + b, s); }"
    )
    program = write("ridge.stan", body)
    (warning,) = run_json("modes", program, "--seed", 1)["warnings"]
    assert "No proper mode" in warning
    assert warning in run_json("fit", program, "--seed", 1)["warnings"]
    result = run("modes", program, "--seed", 1)
    assert warning in result.stderr
    assert "one mode" not in result.stdout
    assert "none found" in result.stdout
    assert "─" not in result.stdout  # no empty tables


def test_compare_with_stored_reference_writes_everything(files, tmp_path):
    output = tmp_path / "a b"
    found = run_json(
        "compare", "eight_schools", "--methods", "mfvi", "--reference", files["nuts"],
        "--seed", 1, "--output", output,
    )  # fmt: skip
    assert found["reference"]["trusted"] is True
    assert found["methods"].keys() == {"mfvi"}
    assert {path.name for path in output.glob("[!.]*")} == {
        "mfvi.nc", "nuts.nc", "comparison.json", "plots", "report.html", "runs.jsonl"
    }  # fmt: skip
    assert json.loads((output / "comparison.json").read_text()) == found
    assert (output / "plots" / "marginals.png").stat().st_size > 10_000
    html = (output / "report.html").read_text(encoding="utf-8")
    assert "stanrovi compare eight_schools" in html
    assert "--seed 1" in html


def test_compare_with_fresh_nuts_prints_verdicts():
    text = run(
        "compare", "bimodal_gaussian", "--methods", "mfvi,rovi", "--seed", 1,
        "--iter-warmup", 200, "--iter-sampling", 200,
    ).stdout  # fmt: skip
    assert "mfvi: collapsed" in text
    assert "evidence" in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.slow
def test_compare_takes_draws_of_sample_where_nuts_is_refused_for_several_basins():
    args = ("three_modes", "--methods", "gaussian", "--seed", 1, "--iter-sampling", 200)
    result = run("compare", *args)
    assert "NUTS is no reference here" in result.stderr
    assert "reference  sample, engine stanli" in result.stdout
    assert "a wide reference agree" in " ".join(result.stdout.split())
    left = run_json("compare", *args, "--reference", "nuts")
    assert left["reference"]["method"] == "nuts"
    assert left["reference"]["trusted"] is False


def test_compare_with_sample_and_with_what_is_nothing():
    found = run_json(
        "compare", "kidscore", "--methods", "gaussian", "--seed", 1, "--reference", "sample"
    )
    assert found["reference"]["method"] == "sample"
    assert found["reference"]["trusted"] is True
    result = run("compare", "kidscore", "--reference", "sampel", code=2)
    assert "neither nuts nor sample" in result.stderr


def test_a_warning_of_several_methods_is_printed_once_and_names_them(capsys):
    from stanrovi_cli.running import _warn_once

    _warn_once({"mfvi": ["No mode.", "Slow."], "rovi": ["No mode."], "gaussian": []})
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["Warning: mfvi, rovi: No mode.", "Warning: mfvi: Slow."]


def test_compare_strict_exits_3_on_a_collapse():
    args = ("bimodal_gaussian", "--methods", "mfvi", "--seed", 1, "--iter-sampling", 200)
    run("compare", *args, "--strict", code=3)


@pytest.mark.cmdstan
def test_compare_with_cmdstan_csv(prophet, prophet_folder, prophet_data, tmp_path):
    import cmdstanpy

    data = tmp_path / "prophet.json"
    data.write_text(json_text(prophet_data))
    model = cmdstanpy.CmdStanModel(exe_file=str(prophet_folder / "prophet_model.bin"))
    model.sample(
        data=str(data), chains=2, iter_warmup=300, iter_sampling=300, seed=1,
        output_dir=str(tmp_path / "csv"), show_progress=False,
    )  # fmt: skip
    found = run_json(
        "compare", prophet_folder / "prophet.stan", "--data", data, "--methods", "gaussian",
        "--nuts-csv", tmp_path / "csv" / "*_?.csv", "--seed", 1,
    )  # fmt: skip
    assert found["reference"]["engine"] == "cmdstan"
    assert found["reference"]["n_chains"] == 2


def test_report_from_files(files, tmp_path):
    output = tmp_path / "report"
    found = run_json(
        "report", files["mfvi"], files["nuts"], "--output", output, schema="compare"
    )  # fmt: skip
    assert found["model"] == "eight_schools"
    names = {"comparison.json", "plots", "report.html"}
    assert {path.name for path in output.glob("[!.]*")} == names


@pytest.mark.slow
def test_overwriting_leaves_nothing_of_an_earlier_run_and_all_that_is_foreign(files, tmp_path):
    output = tmp_path / "out"
    command = ("compare", "eight_schools", "--seed", 1, "--output", output, "--overwrite")
    run(*command, "--methods", "mfvi,gaussian,rovi", "--reference", files["nuts"])
    (output / "notes.txt").write_text("precious")
    (output / "gaussian.nc").write_bytes(files["mfvi"].read_bytes())  # the user's own by now
    before = {path.name: path.read_bytes() for path in output.glob("*.*")}
    run(*command, "--methods", "mfvi", "--reference", output / "notes.txt", code=1)
    del before["runs.jsonl"]  # which begins anew at once
    assert {path.name: path.read_bytes() for path in output.glob("*.*")} == before
    run("report", output / "mfvi.nc", output / "nuts.nc", "--output", output, "--overwrite")
    assert (output / "rovi.nc").exists()
    run(*command, "--methods", "mixture", "--reference", output / "nuts.nc")
    assert {path.name for path in output.glob("[!.]*")} == {
        "comparison.json", "gaussian.nc", "mixture.nc", "notes.txt", "nuts.nc", "plots",
        "report.html", "runs.jsonl",
    }  # fmt: skip


def test_bench():
    found = run_json(
        "bench", "bimodal_gaussian", "eight_schools", "--methods", "gaussian,mfvi",
        "--seeds", "0-1", "--jobs", 2,
    )  # fmt: skip
    keys = [(run["model"], run["method"], run["seed"]) for run in found["runs"]]
    assert len(keys) == len(set(keys)) == 8
    assert all(run["error"] is None for run in found["runs"])


@pytest.mark.parametrize(
    ("program", "data", "message", "dim"),
    [
        ('parameters { real x; } model { reject("never"); }', "{}", "never", 1),
        ("parameters { real x }", "{}", "stanc rejected bad.stan", None),
        ("data { int n; } parameters { real x; }", '{"n": 0.5}', "n", None),
        ("data { int n; } parameters { real x; }", "[", "bad.data.json", None),
    ],
)
def test_bench_goes_on_after_a_failure(write, program, data, message, dim):
    write("bad.data.json", data)
    models = write("bad.stan", program), "eight_schools"
    args = ("bench", *models, "--methods", "mfvi,gaussian", "--jobs", 0)
    runs = run_json(*args, code=1)["runs"]
    assert [message in (run["error"] or "") for run in runs] == [True, True, False, False]
    assert [run["model"] for run in runs] == ["bad", "bad", "eight_schools", "eight_schools"]
    assert [run["dim"] for run in runs] == [dim, dim, 10, 10]
    text = run(*args, code=1)
    assert text.stderr.count("Warning: bad: ") == 1
    assert text.stdout.count("error") == 2


def test_bench_has_the_data_and_the_seed_of_a_fit(write):
    """A program that draws its own data draws the same ones as in ``stanrovi fit``."""
    program = write("drawn.stan", """
        transformed data { real m = normal_rng(0, 100); }
        parameters { real x; }
        model { x ~ normal(m, 1); target += -m; }
    """)  # fmt: skip
    args = ("bench", program, "--methods", "gaussian", "--seeds", "3", "--jobs", 0)
    one = run_json(*args)["runs"][0]
    assert one["elbo"] == run_json("fit", program, "--method", "gaussian", "--seed", 3)["elbo"]


def test_random_transformed_data_are_told_and_kept_apart(write, tmp_path):
    """Draws of another seed belong to another posterior, and grade nothing."""
    program = write("drawn.stan", """
        transformed data { real m = normal_rng(0, 100); }
        parameters { real x; }
        model { x ~ normal(m, 1); }
    """)  # fmt: skip
    drawn = tmp_path / "nuts.nc"
    told = run("nuts", program, "--seed", 2, "--output", drawn).stderr
    assert "draws random numbers in transformed data" in told
    args = ("compare", program, "--methods", "gaussian", "--reference", drawn, "--seed")
    assert "with the same seed" in run(*args, 1, code=1).stderr
    assert run_json(*args, 2)["methods"]["gaussian"]["w1_max"] < 0.2


@pytest.mark.slow
def test_demo(tmp_path):
    output = tmp_path / "demo"
    text = run("demo", "--output", output).stdout
    assert "mfvi: collapsed" in text
    for name in ("bimodal_gaussian", "eight_schools"):
        assert (output / name / "report.html").is_file()
        assert (output / name / "plots" / "marginals.png").is_file()
        assert sr.read_draws(output / name / "rovi.nc").method == "rovi"
    for name, reference in (("bimodal_gaussian", "sample"), ("eight_schools", "nuts")):
        found = sr.read_draws(output / name / f"{reference}.nc")
        assert found.method == reference
    assert "a wide reference" in (output / "bimodal_gaussian" / "report.html").read_text()
    run("demo", "--output", output, code=2)


def test_json_knows_no_nan():
    value = {"a": np.array([1.0, np.nan]), "b": float("inf"), "c": np.int64(3), "d": (1, Path("x"))}
    assert json.loads(json_text(value)) == {
        "a": [1.0, None],
        "b": None,
        "c": 3,
        "d": [1, "x"],
    }


def test_names_of_methods_are_those_of_the_library():
    from typing import get_args

    from stanrovi.runs.nuts import NutsChoice
    from stanrovi.stan.engine import EngineChoice
    from stanrovi.vi.methods.driver import METHODS

    assert set(options.METHODS) == set(METHODS)
    assert set(options.NUTS_ENGINES) == set(get_args(NutsChoice))
    assert set(loading.ENGINES) == set(get_args(EngineChoice))
