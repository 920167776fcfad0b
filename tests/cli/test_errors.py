"""Bad input: one clear message, the right exit code, and nothing written or overwritten."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from commands import fails

import stanrovi as sr
from stanrovi_cli.app import cli

NORMAL = "parameters { real x; } model { x ~ std_normal(); }"
NEEDS_DATA = "data { int N; vector[N] y; } parameters { real m; } model { y ~ normal(m, 1); }"


@pytest.mark.parametrize("command", ["check", "fit", "nuts", "modes", "compare"])
def test_missing_files(command, tmp_path, write):
    assert "none.stan" in fails(command, tmp_path / "none.stan", code=2)
    program = write("normal.stan", NORMAL)
    assert "none.json" in fails(command, program, "--data", tmp_path / "none.json", code=2)


@pytest.mark.parametrize("command", ["check", "fit", "nuts", "modes", "compare", "bench"])
def test_unknown_model_suggests_the_nearest(command):
    assert "'eight_schools'" in fails(command, "eigth_schools", code=2)


def test_bench_tells_a_wrong_name_before_the_first_fit():
    assert "'eight_schools'" in fails("bench", "ar", "eigth_schools", code=2)


def test_unknown_words_suggest_the_nearest():
    assert "Did you mean 'rovi'" in fails("fit", "ar", "--method", "rovii", code=2)
    assert "Did you mean 'mfvi'" in fails("compare", "ar", "--methods", "mvfi,rovi", code=2)
    assert "Did you mean 'stanli'" in fails("nuts", "ar", "--engine", "stanly", code=2)
    assert "Did you mean 'compare'" in fails("comapre", "ar", code=2)
    assert "--method" in fails("fit", "ar", "--metod", "rovi", code=2)


def test_nuts_is_no_method_and_has_its_own_command():
    assert "use stanrovi nuts" in fails("fit", "ar", "--method", "nuts", code=2)
    assert "use stanrovi nuts" in fails("compare", "ar", "--methods", "rovi,nuts", code=2)


@pytest.mark.parametrize("command", ["fit", "nuts"])
def test_a_name_of_another_format_is_refused(command, tmp_path):
    text = fails(command, "eight_schools", "--output", tmp_path / "draws.csv", code=2)
    assert "name it draws.nc" in " ".join(text.split())
    assert os.listdir(tmp_path) == []


def test_syntax_error_shows_line_and_caret(write):
    program = write("broken.stan", "parameters {\n  real x\n}\n")
    text = fails("fit", program, code=1)
    assert "^" in text
    assert "line 3" in text


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ('{"N": 2}', "y"),
        ('{"N": 2, "y": [1, 2, 3]}', "y"),
        ('{"N": 2.5, "y": [1, 2]}', "N"),
        ('{"N": 2, "y": "text"}', "y"),
        ('{"N": 2, ', "data.json"),
    ],
)
def test_data_that_do_not_fit(write, data, named):
    program = write("needs.stan", NEEDS_DATA)
    text = fails("fit", program, "--data", write("data.json", data), code=1)
    assert named in text


def test_model_without_parameters(write):
    text = fails("fit", write("empty.stan", "model { }"), code=1)
    assert "no parameters" in text


@pytest.mark.parametrize("command", ["check", "fit", "modes", "compare"])
@pytest.mark.parametrize(
    "body", ['x ~ std_normal(); reject("never");', "target += x * not_a_number();"]
)
def test_density_unusable_everywhere(command, body, write, tmp_path):
    program = write("bad.stan", f"parameters {{ real x; }} model {{ {body} }}")
    output = ("--output", tmp_path / "out") if command in ("fit", "compare") else ()
    text = fails(command, program, *output, code=1)
    if "never" in body:
        assert "never" in text
    assert os.listdir(tmp_path) == ["bad.stan"]


@pytest.mark.parametrize("command", ["fit", "nuts"])
def test_existing_file_is_kept(command, tmp_path):
    path = tmp_path / "old.nc"
    path.write_text("precious")
    assert "--overwrite" in fails(command, "eight_schools", "--output", path, code=2)
    assert path.read_text() == "precious"
    result = CliRunner().invoke(
        cli, [command, "eight_schools", "--output", str(path), "--overwrite"]
    )
    assert result.exit_code == 0
    assert path.read_bytes()[:4] == b"\x89HDF"


@pytest.mark.parametrize("command", ["fit", "nuts"])
def test_unwritable_paths_are_told_before_the_work(command, tmp_path):
    assert "does not exist" in fails(
        command, "no_such_model", "--output", tmp_path / "none" / "x.nc", code=2
    )


def test_occupied_folders_are_kept(tmp_path):
    (tmp_path / "notes.txt").write_text("precious")
    for command in (("compare", "eight_schools"), ("demo",)):
        assert "--overwrite" in fails(*command, "--output", tmp_path, code=2)
    assert os.listdir(tmp_path) == ["notes.txt"]


def test_folder_where_a_file_is(tmp_path, write):
    path = write("file", "precious")
    assert "file" in fails("compare", "eight_schools", "--output", path, code=2)
    assert path.read_text() == "precious"


@pytest.mark.parametrize(
    "args",
    [
        ("fit", "ar", "--seed", "-1"),
        ("fit", "ar", "--seed", "x"),
        ("fit", "ar", "--draws", "0"),
        ("nuts", "ar", "--chains", "0"),
        ("nuts", "ar", "--adapt-delta", "1"),
        ("bench", "ar", "--seeds", "3-1"),
        ("bench", "ar", "--seeds", "a"),
        ("fit",),
    ],
)
def test_impossible_options(args):
    fails(*args, code=2)


def write_run(path: Path, method: str, names: tuple[str, ...], **arrays: np.ndarray) -> Path:
    """Store draws that a comparison reads."""
    rng = np.random.default_rng(0)
    chains = 4 if method == "nuts" else 1
    posterior = {name: rng.normal(size=(chains, 500)) for name in names} | arrays
    stats = {} if method == "nuts" else {"log_q": np.zeros((1, 500)), "lp": np.zeros((1, 500))}
    draws = sr.Draws(method, posterior, names, stats, {"model": "normal"})
    return sr.write_netcdf(draws, path)


def test_report_of_files_that_do_not_fit(tmp_path, write):
    fit = write_run(tmp_path / "fit.nc", "rovi", ("x", "y"))
    other = write_run(tmp_path / "other.nc", "nuts", ("z",))
    nuts = write_run(tmp_path / "nuts.nc", "nuts", ("x", "y"))
    out = ("--output", tmp_path / "out")
    text = fails("report", fit, other, *out, code=1)
    assert "y" in text
    assert "z" in text
    assert "last file" in fails("report", nuts, fit, *out, code=2)
    assert "only file" in fails("report", nuts, *out, code=2)
    assert "none.nc" in fails("report", tmp_path / "none.nc", nuts, *out, code=2)
    foreign = write("foreign.nc", "no draws")
    assert "foreign.nc" in fails("report", foreign, nuts, *out, code=1)
    assert not (tmp_path / "out").exists()


def test_compare_refuses_a_fit_as_reference_before_the_work(tmp_path):
    fit = write_run(tmp_path / "fit.nc", "rovi", ("x",))
    text = fails("compare", "ar", "--reference", fit, code=2)
    assert "fit.nc holds a variational fit (rovi)" in text
    assert "leave out --reference" in text


def test_compare_wants_one_reference(tmp_path):
    nuts = write_run(tmp_path / "nuts.nc", "nuts", ("x",))
    text = fails("compare", "ar", "--reference", nuts, "--nuts-csv", "*.csv", code=2)
    assert "exclude" in text
    assert "none_" in fails("compare", "ar", "--nuts-csv", tmp_path / "none_*.csv", code=2)


@pytest.mark.parametrize(("command", "option"), [("sample", "--csv"), ("fit", "--inits")])
def test_a_folder_that_is_in_use_is_refused_before_the_run(command, option, tmp_path, monkeypatch):
    from stanrovi_cli import running

    (tmp_path / "mine.txt").write_text("mine")
    for name in ("run_fit", "run_sample"):
        monkeypatch.setattr(running, name, lambda *_, **__: pytest.fail("it ran"))
    result = CliRunner().invoke(cli, [command, "eight_schools", option, str(tmp_path)])
    assert result.exit_code == 2
    assert "is not empty; choose another one" in result.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_a_system_without_its_null_device_is_told(write, monkeypatch):
    def refuse(*arguments, **keywords):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.devnull)

    monkeypatch.setattr("stanrovi.stan.child.subprocess.Popen", refuse)
    text = fails("check", write("normal.stan", NORMAL), "--isolate", code=2)
    assert f"{os.devnull} cannot be used" in text
