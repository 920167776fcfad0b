"""The command ``bench``: what it takes, writes and says."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner, Result
from commands import fails
from places import SCHEMAS
from posterior_databases import fabricated_posteriordb

from stanrovi.io.ledger import Ledger
from stanrovi_cli.app import cli

SCHEMA = json.loads((SCHEMAS / "bench.schema.json").read_text("utf-8"))
MEAN = "data { int N; } parameters { real m; } model { m ~ normal(N, 1); }"


def bench(*args: object, code: int = 0) -> Result:
    """Run bench in this process."""
    words = ["bench", *map(str, args), "--jobs", "0", "--draws", "500"]
    result = CliRunner().invoke(cli, words)
    assert isinstance(result.exception, SystemExit | None), result.exception
    assert result.exit_code == code, result.output
    return result


def runs(*args: object, code: int = 0) -> list[dict]:
    document = json.loads(bench(*args, "--json", code=code).stdout)
    jsonschema.validate(document, SCHEMA)
    return document["runs"]


@pytest.fixture(scope="module")
def database(tmp_path_factory) -> Path:
    return fabricated_posteriordb(tmp_path_factory.mktemp("db"))


def test_pairs_of_program_and_data(write):
    program = write("mean.stan", MEAN)
    words = [f"{program}:{write(f'{n}.json', json.dumps({'N': n}))}" for n in (3, 40)]
    found = runs(*words, "--methods", "gaussian")
    assert [run["model"] for run in found] == ["mean-3", "mean-40"]
    assert found[0]["elbo"] == pytest.approx(found[1]["elbo"], abs=1e-6)
    assert "none.json" in fails("bench", f"{program}:none.json", code=2)


def test_names_and_patterns_of_posteriordb(database):
    found = runs("line", "--posteriordb", database.parent, "--methods", "gaussian,laplace,nuts")
    assert [run["model"] for run in found] == ["line-line"] * 3
    assert [run["verdict"] for run in found] == ["ok", None, "ok"]
    assert all(run["right"] for run in found)
    assert "center-center" in fails("bench", "centre", "--posteriordb", database, code=2)
    assert "posteriors" in fails("bench", "--posteriordb", database / "models", code=2)


def test_the_folder_and_what_is_said(database, tmp_path):
    output = tmp_path / "out"
    args = ("center*", "--posteriordb", database, "--methods", "mfvi,sample", "--output", output)
    text = bench(*args).stdout
    assert "W1" in text
    assert "of these doubted" in text
    assert f"Wrote {output / 'bench.md'}" in text
    assert max(map(len, text.replace(str(output), "").splitlines())) <= 80
    assert {path.name for path in output.glob("[!.]*")} == {
        "runs.jsonl", "bench.json", "bench.csv", "bench.md", "accuracy_gradients.png",
        "accuracy_gradients.svg", "accuracy_seconds.png", "accuracy_seconds.svg", "verdicts.png",
        "verdicts.svg",
    }  # fmt: skip
    stored = json.loads((output / "bench.json").read_text())
    jsonschema.validate(stored, SCHEMA)
    assert runs(*args, "--resume") == stored["runs"]
    assert "--resume" in fails("bench", *args, code=2)


def test_failures_are_told_once_and_the_exit_code_says_so(database):
    result = bench("broken", "gone*", "--posteriordb", database, "--seeds", "0-1", code=1)
    assert result.stderr.count("broken.json") == 1
    assert result.stderr.count("gone.json") == 1
    assert result.stdout.count("error") == 8


def test_a_reference_that_is_not_trusted_is_told():
    result = bench("bimodal_gaussian", "--methods", "rovi", "--reference", "nuts")
    assert "bimodal_gaussian: not measured. nuts, 4 x 4000 draws, not trusted" in result.stderr
    assert "W1" not in result.stdout


def test_words_that_are_no_request():
    for words, message in (
        (("--seeds", "5-3"), "5-3' runs backwards; write 3-5"),
        (("--resume",), "name it (output=DIR; --output DIR"),
        (("--jobs", "0", "--time-limit", "3"), "take --jobs 1 or more"),
    ):
        assert message in " ".join(fails("bench", "kidscore", *words, code=2).split())


def test_a_folder_is_of_one_command(tmp_path):
    output = tmp_path / "out"
    bench("kidscore", "--methods", "gaussian", "--output", output)
    before = {path: path.read_bytes() for path in output.iterdir() if path.is_file()}
    for other in ("compare", "sbc"):
        said = fails(other, "kidscore", "--output", output, "--resume", code=2)
        assert f"are of command bench, not {other}" in said
        assert {path: path.read_bytes() for path in output.iterdir() if path.is_file()} == before
    with Ledger(output / "runs.jsonl") as ledger:
        ledger.append("request", {"command": "compare"})
    said = bench("kidscore", "--output", output, "--resume", code=2).stderr
    assert "are of command compare, not bench" in said


@pytest.mark.interpreter
def test_ctrl_c_keeps_what_is_done_and_tells_how_to_go_on(tmp_path):
    output = tmp_path / "out"
    words = ["bench", "kidscore", "--methods", "gaussian", "--seeds", "0-999", "--jobs", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "stanrovi_cli", *words, "--output", output],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    ledger = output / "runs.jsonl"
    try:
        until = time.monotonic() + 60
        while not (ledger.exists() and ledger.read_text().count("\n") > 1):
            assert time.monotonic() < until
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130
    assert out == ""
    assert "of 1000 runs are done" in err
    assert "--resume" in err
    done = len(ledger.read_text().splitlines())
    assert len(runs("kidscore", "--methods", "gaussian", "--output", output, "--resume")) == 1
    assert len(ledger.read_text().splitlines()) == done + 1  # with 500 draws it is another run
