"""What people type for what they mean: it works, or one message tells what to type instead."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from commands import fails

from stanrovi_cli.app import cli
from stanrovi_cli.parsing import gathered

MEAN = "data { int N; } parameters { real x; } model { x ~ normal(N, 1); }"


@pytest.mark.parametrize(
    ("line", "cure"),
    [
        ("fit my.stan data.json", "stanrovi fit my.stan --data data.json."),
        ("fit data.json my.stan", "stanrovi fit my.stan --data data.json."),
        ("check my.stan data.R", "stanrovi check my.stan --data data.R."),
        ("fit my.stan seed=1", "Options are written --seed 1."),
        ("fit my.stan other.stan", "stanrovi bench takes several."),
        ("fit my.stan --data a.json b.json", "--data takes one file, and has a.json."),
        ("fit my.stan what", "fit takes one MODEL beside its options."),
        ("models what", "models takes no words beside its options."),
        ("compare fit.nc nuts.nc", "stanrovi report fit.nc nuts.nc --output DIR."),
        (
            "compare my.stan out_1.csv out_2.csv",
            "stanrovi compare my.stan --reference out_1.csv out_2.csv.",
        ),
        ("compare out_1.csv out_2.csv my.stan", "my.stan --reference out_1.csv out_2.csv."),
        ("compare my.stan --reference nuts --reference o.csv", "a reference by itself"),
        ("compare my.stan --reference .", "name the files in it, such as ./*.csv."),
        ("compare my.stan --methods rovi mfvi", "--methods rovi,mfvi."),
        ("compare my.stan --methods rovi, mfvi", "--methods rovi,mfvi."),
        ("report fit.csv nuts.csv --output DIR", "does not exist"),
        ("run my.stan", "Commands: models, check"),
        ("my.stan --seed 1", "Did you mean stanrovi fit my.stan --seed 1?"),
        ("eight_schools", "Did you mean stanrovi fit eight_schools?"),
        ("--seed 1 fit my.stan", "stanrovi COMMAND MODEL [OPTIONS]"),
        ("fit", "MODEL is missing: give a .stan file"),
        (
            "fit my.stan --chains 4",
            "option of stanrovi sample, stanrovi nuts, stanrovi compare;",
        ),
        (
            "nuts my.stan --method rovi",
            "stanrovi fit, stanrovi sbc; nuts has none",
        ),
        ("bench my.stan --method rovi", "bench has none of that name. Did you mean --methods?"),
        ("fit my.stan -seed 1", "-seed wants another dash: --seed."),
        ("fit my.stan --max_seconds 1", "--max-seconds"),
        ("fit my.stan --seed abc", "'abc' is no whole number from 0 to 4294967295."),
        ("fit my.stan --draws 1.5", "'1.5' is no whole number of at least 2."),
        ("sample my.stan --max-seconds 0", "'0' is no number above 0."),
        ("sample my.stan --max-seconds nan", "'nan' is no number above 0."),
        ("sample my.stan --ess inf", "'inf' is too large."),
        ("fit my.stan --draws 99999999999999999999", "'99999999999999999999' is too large."),
        ("sbc my.stan --simulations 2000000", "'2000000' is no whole number from 10 to 1000000."),
        ("fit my.stan --method " + "x" * 9000, "'" + "x" * 249 + "... is not one of"),
        ("compare my.stan --engine numpy", "--nuts-engine of stanrovi compare"),
        ("compare my.stan --output c.nc", "c.nc is the name of a file, and a folder is written"),
        ("sample my.stan --csv out.csv", "name it out."),
        ("compare my.stan --reference nust", "Did you mean 'nuts'?"),
        ("compare my.stan --reference none_*.csv", "no CmdStan CSV file matches none_*.csv; check"),
        ("fit my.stan --include-path nowhere", "include path 'nowhere' is not a folder"),
    ],
)
def test_the_message_tells_what_to_type(line, cure):
    assert cure in " ".join(fails(*line.split(), code=2).split())


@pytest.mark.parametrize("command", ["check", "fit", "sample", "nuts", "modes", "compare", "sbc"])
def test_every_command_looks_for_data_and_includes_in_the_same_places(
    command, write, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    write("mean.stan", MEAN)
    assert "mean.data.json or mean.json" in fails(command, "mean.stan", code=1)
    write("in.stan", "#include lost.stan\n")
    assert "--include-path DIR" in fails(command, "in.stan", "--include-path", ".", code=1)


def test_data_beside_the_program_are_told_once(write, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    write("mean.stan", MEAN)
    write("mean.json", '{"N": 3}')
    args = ["bench", "mean.stan", "--methods", "gaussian,mfvi", "--jobs", "0", "--json"]
    result = CliRunner().invoke(cli, args)
    assert result.stderr == "data: mean.json, found beside the program\n"
    assert [run["error"] for run in json.loads(result.stdout)["runs"]] == [None, None]


@pytest.mark.parametrize("name", ["my model.stan", "m\u00f6del.stan", "a.b.stan"])
def test_names_with_spaces_letters_and_dots(name, write, monkeypatch, tmp_path):
    program = write(name, MEAN)
    write(name.removesuffix(".stan") + ".data.json", '\ufeff{"N": 3}')
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "link.stan").symlink_to(program)
    monkeypatch.chdir(tmp_path / "elsewhere")
    for path in (program, Path("..", name)):
        result = CliRunner().invoke(cli, ["check", str(path)])
        assert result.exit_code == 0, result.output
        assert name.removesuffix(".stan") + ".data.json, found" in result.stderr
    assert "link.data.json or link.json" in fails("check", "link.stan", code=1)


def test_words_that_a_shell_made_of_a_pattern():
    files = {"--reference"}
    asked = ["m.stan", "--reference", "o_1.csv", "o_2.csv", "o_3.csv", "--seed", "1"]
    assert gathered(asked, files) == [
        "m.stan", "--reference", "o_1.csv", "--reference", "o_2.csv", "--reference", "o_3.csv",
        "--seed", "1",
    ]  # fmt: skip
    for line in ("--reference nuts m.stan", "--reference a.nc b.csv", "--data a.csv b.csv"):
        assert gathered(line.split(), files) == line.split()


@pytest.fixture(scope="module")
def chains(tmp_path_factory) -> list[str]:
    """CSV files of four chains of eight schools."""
    folder = tmp_path_factory.mktemp("csv with space")
    result = CliRunner().invoke(
        cli, ["nuts", "eight_schools", "--seed", "1", "--csv", str(folder), "--overwrite"]
    )
    assert result.exit_code == 0, result.output
    return sorted(map(str, folder.glob("*.csv")))


@pytest.mark.parametrize("option", ["--reference", "--nuts-csv"])
def test_files_of_cmdstan_are_a_reference_quoted_or_not(option, chains, tmp_path):
    pattern = str(Path(chains[0]).with_name("eight_schools_*.csv"))
    base = ["compare", "--methods", "gaussian", "--seed", "1", "--json"]
    told = []
    for words in (
        ["eight_schools", option, pattern],
        ["eight_schools", option, *chains],
        [option, *chains, "eight_schools", "--engine", "stanli"],
    ):
        result = CliRunner().invoke(cli, [*base, *words])
        assert result.exit_code == 0, result.output
        told.append(json.loads(result.stdout))
    assert told[0]["reference"]["n_chains"] == 4
    assert [one["methods"]["gaussian"]["w1_max"] for one in told] == [
        told[0]["methods"]["gaussian"]["w1_max"]
    ] * 3


def test_the_report_repeats_a_command_with_its_files(chains, tmp_path):
    folder = tmp_path / "report"
    result = CliRunner().invoke(
        cli,
        ["compare", "eight_schools", "--methods", "gaussian", "--seed", "1", "--engine", "stanli",
         "--output", str(folder), "--reference", *chains[:2]],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert "--engine stanli" in html
    assert html.count("--reference") == 2


def test_one_file_of_a_reference_that_is_not_csv(chains, tmp_path):
    for name in ("a.nc", "b.nc"):
        (tmp_path / name).touch()
    text = fails("compare", "eight_schools", "--reference", tmp_path / "*.nc", code=2)
    assert "give one" in text


def test_a_report_wants_files_that_tell_their_parameters(chains, tmp_path):
    text = fails("report", *chains[:2], "--output", tmp_path / "out", code=2)
    assert "stanrovi compare MODEL --reference" in text
