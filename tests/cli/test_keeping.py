"""Comparisons that are ended and gone on with, or made by workers: as if they were not."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import stanrovi as sr
from stanrovi.errors import OutputError, SamplerError, StanroviError, UsageError
from stanrovi.io.folders import LEDGER
from stanrovi.io.ledger import Ledger, n_done
from stanrovi.runs.many import run_many
from stanrovi_cli.app import cli
from stanrovi_cli.keeping import Drawn, KeptRuns
from stanrovi_cli.running import drawn

WORDS = ["compare", "eight_schools", "--methods", "mfvi,rovi", "--draws", "500"]
WORDS += ["--chains", "2", "--iter-sampling", "300"]


def run(*words: object, code: int = 0) -> tuple[str, str]:
    result = CliRunner().invoke(cli, [*WORDS, *map(str, words)])
    assert result.exit_code == code, result.output
    return result.stdout, result.stderr


def without_seconds(found: Any) -> Any:
    if isinstance(found, dict):
        return {k: without_seconds(v) for k, v in found.items() if "seconds" not in k}
    return [without_seconds(item) for item in found] if isinstance(found, list) else found


def compared(*words: object) -> Any:
    return without_seconds(json.loads(run(*words, "--json")[0]))


def test_workers_make_the_same_comparison() -> None:
    assert compared("--seed", 3, "--jobs", 2) == compared("--seed", 3)


def test_a_worker_tells_why_a_fit_failed(tmp_path: Path) -> None:
    path = tmp_path / "nowhere.stan"
    path.write_text('parameters { real x; } model { reject("nowhere"); }')
    words = ["compare", str(path), "--methods", "mfvi", "--jobs", "1"]
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 1
    assert "mfvi: " in result.stderr
    assert "nowhere" in result.stderr


@pytest.mark.parametrize(("kind", "code"), [(UsageError, 2), (SamplerError, 1)])
def test_errors_of_workers_keep_message_and_kind(
    kind: type[StanroviError], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(model: sr.Model, **settings: Any) -> Drawn:
        raise kind("not so")

    monkeypatch.setattr("stanrovi_cli.running.drawn", refuses)
    monkeypatch.setattr("stanrovi.runs.many.run_many", partial(here, run_many))
    assert "Error: mfvi: not so" in run("--jobs", 1, code=code)[1]


def here(real: Callable[..., Any], *args: Any, jobs: int, **settings: Any) -> Any:
    return real(*args, jobs=0, **settings)


def but_not(*done: str) -> Callable[..., Drawn]:
    """Make runs, but none that is done already."""

    def make(model: sr.Model, *, method: str, **settings: Any) -> Drawn:
        assert method not in done
        return drawn(model, method=method, **settings)

    return make


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT], ids=lambda end: end.name)
def test_a_comparison_that_is_ended_is_gone_on_with(
    end: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    with subprocess.Popen(
        [sys.executable, "-m", "stanrovi_cli", *WORDS, "--output", str(folder)],
        stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        limit = time.monotonic() + 60
        while not (folder / LEDGER).exists() or not n_done(folder / LEDGER):
            assert time.monotonic() < limit, "no fit was made"
            time.sleep(0.01)
        process.send_signal(end)
        _, told = process.communicate(timeout=30)
    done = n_done(folder / LEDGER)
    assert done
    assert (folder / ".runs" / "mfvi.nc").exists()
    if end == signal.SIGINT:
        assert process.returncode == 130
        assert f"{folder} keeps {done} finished run" in told
        assert "--resume goes on with them.\n\nInterrupted.\n" in told
    if end == signal.SIGINT:
        (folder / ".runs" / "mfvi.nc").unlink()  # it is made again
    with Ledger(folder / LEDGER) as ledger:
        seed = ledger.records["request"]["seed"]  # drawn by the run that was ended
    for words, message in (
        ((), "go on with them"),
        (("--resume", "--seed", seed ^ 1), f"are of seed {seed}, not"),
        (("--resume", "--chains", 3), "are of NUTS's chains 2, not 3"),
        (("--resume", "--draws", 400), "are of draws 500, not 400"),
    ):
        assert message in run("--output", folder, *words, code=2)[1]
    done_already = "mfvi" if end == signal.SIGKILL else "none"
    monkeypatch.setattr("stanrovi_cli.running.drawn", but_not(done_already))
    resumed = compared("--output", folder, "--resume")
    monkeypatch.undo()
    assert resumed == compared("--seed", seed)
    names = {path.name for path in folder.iterdir()}
    own = {"comparison.json", "report.html", "plots", "mfvi.nc", "rovi.nc", "nuts.nc"}
    assert names == own | {".stanrovi-files.json", LEDGER}


def test_a_finished_comparison_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a command is ended after its result is there, and asked for again."""
    program = tmp_path / "m.stan"
    program.write_text("parameters { vector[2] x; } model { x ~ std_normal(); }")
    monkeypatch.setitem(globals(), "WORDS", ["compare", str(program), *WORDS[2:]])
    folder = tmp_path / "out"
    first = compared("--seed", 3, "--output", folder)
    assert "holds 3 finished runs; go on with them" in run("--output", folder, code=2)[1]
    monkeypatch.setattr("stanrovi_cli.running.drawn", but_not("mfvi", "rovi", "nuts"))
    assert compared("--output", folder, "--resume") == first
    shutil.copy(folder / "mfvi.nc", folder / "rovi.nc")  # made again, since somebody changed it
    monkeypatch.setattr("stanrovi_cli.running.drawn", but_not("mfvi", "nuts"))
    more = compared("--output", folder, "--resume", "--methods", "mfvi,rovi,gaussian")
    assert [*more["methods"]] == ["mfvi", "rovi", "gaussian"]
    assert {**more["methods"], "gaussian": None} == {**first["methods"], "gaussian": None}
    assert not (folder / ".runs").exists()


def test_runs_are_read_as_they_were(tmp_path: Path) -> None:
    fit = sr.fit("bimodal_gaussian", method="rovi", seed=1, draws=200).draws
    nuts = sr.nuts("bimodal_gaussian", seed=1, chains=2, iter_sampling=50).draws
    runs = {"rovi": Drawn(fit, ("a", "b")), "sample": Drawn(nuts, (), False, "no reason")}
    with Ledger(tmp_path / LEDGER) as ledger:
        kept = KeptRuns(ledger)
        assert kept.get("rovi") is None
        for name, made in runs.items():
            kept.add(name, made)
            assert kept.get(name) is made
    with Ledger(tmp_path / LEDGER) as ledger:
        kept = KeptRuns(ledger)
        for name, made in runs.items():
            found = kept.get(name)
            assert found is not None
            assert (found.warnings, found.trusted, found.reason) == (
                made.warnings, made.trusted, made.reason,
            )  # fmt: skip
            assert list(found.draws.attrs) == list(made.draws.attrs)
            for variable, values in made.draws.posterior.items():
                np.testing.assert_array_equal(found.draws.posterior[variable], values)


def test_runs_of_another_model_or_told_otherwise_are_not_taken(tmp_path: Path) -> None:
    model, other = sr.Model("bimodal_gaussian"), sr.Model("neals_funnel")
    fit = sr.fit(model, method="gaussian", seed=1, draws=50).draws
    with Ledger(tmp_path / LEDGER) as ledger:
        KeptRuns(ledger, model).add("gaussian", Drawn(fit))
    with Ledger(tmp_path / LEDGER) as ledger:
        assert KeptRuns(ledger, model).get("gaussian") is not None
        assert KeptRuns(ledger, other).get("gaussian") is None
        sound = ledger.records["gaussian"]
        for changed in ({"trusted": "no"}, {"attrs": 3}, {"warnings": [3]}, {"reason": None}):
            ledger.records["gaussian"] = sound | changed
            assert KeptRuns(ledger, model).get("gaussian") is None


def test_what_an_earlier_run_left_is_removed(tmp_path: Path) -> None:
    """A run killed between the file and its record, which another replaces."""
    (tmp_path / ".runs").mkdir()
    (tmp_path / ".runs" / "mfvi.nc").touch()
    with Ledger(tmp_path / LEDGER) as ledger:
        KeptRuns(ledger)
    assert not (tmp_path / ".runs").exists()


def test_a_folder_that_goes_meanwhile_is_told(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    draws = sr.Draws(method="m", posterior={"x": np.zeros((1, 4))}, parameters=("x",))
    with Ledger(out / LEDGER) as ledger:
        shutil.rmtree(out)
        with pytest.raises(OutputError, match=r"out/\.runs does not exist"):
            KeptRuns(ledger).add("m", Drawn(draws))
