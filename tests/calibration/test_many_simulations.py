"""Simulations over workers, kept as they are done: the same ranks whoever does them, and when."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simulators
from click.testing import CliRunner

from stanrovi.calibration.result import CalibrationResult
from stanrovi.calibration.sbc import sbc
from stanrovi.errors import DensityError, UsageError
from stanrovi.io.ledger import n_done
from stanrovi.stan.model import Model
from stanrovi_cli.app import cli

Write = Callable[[str, str], Path]

WORDS = ("sbc", "sbc_regression", "--method", "gaussian")


def ranks(result: CalibrationResult) -> dict[str, list[int]]:
    return {name: found.ranks.tolist() for name, found in result.parameters.items()}


def as_told(result: CalibrationResult) -> dict[str, Any]:
    return {name: value for name, value in result.to_dict().items() if name != "seconds"}


def mean_model(write: Write) -> Model:
    return Model(write("mean.stan", simulators.MEAN), {"n": 1, "y": [0.0]})


def run(*words: object, code: int = 0) -> tuple[str, str]:
    result = CliRunner().invoke(cli, [*WORDS, *map(str, words)])
    assert result.exit_code == code, result.output
    return result.stdout, result.stderr


def test_ranks_of_a_seed_stay_what_they_are() -> None:
    result = sbc("sbc_regression", method="nuts", simulations=10, draws=19, seed=5)
    assert ranks(result)["beta"] == [0, 2, 18, 9, 13, 19, 10, 6, 0, 14]


@pytest.mark.slow
def test_workers_give_the_ranks_that_this_process_gives() -> None:
    here, there = (
        sbc("sbc_regression", method="rovi", simulations=10, seed=5, jobs=jobs)
        for jobs in (None, 2)
    )
    assert as_told(here) == as_told(there)


@pytest.mark.slow
def test_workers_take_a_simulator(write: Write) -> None:
    settings: dict[str, Any] = {"method": "gaussian", "simulations": 10, "seed": 16}
    model = mean_model(write)
    here = sbc(model, simulate=simulators.mean, **settings)
    assert ranks(sbc(model, simulate=simulators.mean, jobs=1, **settings)) == ranks(here)
    with pytest.raises(UsageError, match="define it at the top of a file, or work in this process"):
        sbc(model, simulate=lambda rng: simulators.mean(rng), jobs=1, **settings)


@pytest.mark.slow
def test_a_simulation_whose_worker_ends_is_a_failure(write: Write, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"method": "gaussian", "simulations": 10, "seed": 7}
    whole = sbc(mean_model(write), simulate=simulators.mean, **settings)
    settings |= {"simulate": simulators.deadly_mean, "jobs": 2, "ledger": tmp_path / "runs.jsonl"}
    result = sbc(mean_model(write), **settings)
    assert as_told(sbc(mean_model(write), **settings)) == as_told(result)  # it is not tried again
    means = [
        simulators.mean(np.random.default_rng(child))[0]["mu"]
        for child in np.random.SeedSequence(7).spawn(10)
    ]
    ended = [i for i, mu in enumerate(means, 1) if mu > 1]
    assert ended
    assert result.failures == tuple(
        f"simulation {i}: the worker process ended (SIGKILL, out of memory?)" for i in ended
    )
    kept = [rank for rank, mu in zip(ranks(whole)["mu"], means, strict=True) if mu <= 1]
    assert ranks(result)["mu"] == kept
    assert not result.calibrated


def test_a_simulator_that_raises_ends_the_run(write: Write) -> None:
    with pytest.raises(UsageError, match=r"\(simulators.wrong\) raised ZeroDivisionError: by noth"):
        sbc(mean_model(write), simulate=simulators.wrong, method="gaussian")


def test_a_ledger_is_gone_on_with(write: Write, tmp_path: Path) -> None:
    ledger, calls = tmp_path / "runs.jsonl", []

    def counted(rng: np.random.Generator) -> simulators.Simulated:
        calls.append(1)
        return simulators.mean(rng)

    def more(simulations: int, **settings: Any) -> CalibrationResult:
        settings = {"method": "gaussian", "seed": 1, "simulate": counted} | settings
        return sbc(mean_model(write), simulations=simulations, **settings)

    more(10, ledger=ledger)
    with pytest.raises(DensityError, match="enough"):
        more(20, ledger=ledger, progress=stopping_at(14))
    assert n_done(ledger) == 14
    resumed = more(20, ledger=ledger)
    assert len(calls) == 20
    assert as_told(resumed) == as_told(more(20))
    assert resumed.seconds > 0
    more(10, ledger=ledger, simulate=simulators.mean)
    assert n_done(ledger) == 30  # another simulator by its name
    with pytest.raises(UsageError, match="finds its simulations again by their seed"):
        more(10, ledger=ledger, seed=None)


def stopping_at(last: int) -> Callable[[int, int], None]:
    def heard(done: int, total: int) -> None:
        if done == last:
            raise DensityError("enough")

    return heard


# The command


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT], ids=lambda end: end.name)
def test_a_run_that_is_ended_is_gone_on_with(end: signal.Signals, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    words = [sys.executable, "-m", "stanrovi_cli", *WORDS, "--simulations", "1000"]
    with subprocess.Popen(
        [*words, "--output", str(folder), "--jobs", "2"], stderr=subprocess.PIPE, text=True
    ) as process:
        wait_for_runs(folder / "runs.jsonl", 3)
        process.send_signal(end)
        _, told = process.communicate(timeout=30)
    done = n_done(folder / "runs.jsonl")
    assert 3 <= done < 1000
    if end == signal.SIGINT:
        assert process.returncode == 130
        kept = f"{folder} keeps {done} finished runs; --resume goes on with them."
        assert told.split("\n") == [kept, "", "Interrupted.", ""]
    else:
        assert process.returncode == -signal.SIGKILL
    before = (folder / "runs.jsonl").read_bytes()
    _, refusal = run("--simulations", 10, "--output", folder, code=2)
    assert f"holds {done} finished runs; go on with them" in refusal
    n = max(done + 2, 10)
    out, _ = run("--simulations", n, "--output", folder, "--resume", "--json")
    assert (folder / "runs.jsonl").read_bytes().startswith(before)
    found = json.loads((folder / "sbc.json").read_text("utf-8"))
    assert json.loads(out) == found
    seed = found["seed"]  # drawn by the first run
    whole = sbc("sbc_regression", method="gaussian", simulations=n, seed=seed).to_dict()
    own = {"seconds": 0, "output": str(folder)}
    assert found | own == json.loads(json.dumps(whole)) | own
    assert not list(folder.glob(".unfinished-*"))


def wait_for_runs(ledger: Path, count: int) -> None:
    end = time.monotonic() + 60
    while not ledger.exists() or n_done(ledger) < count:
        assert time.monotonic() < end, "no run was finished"
        time.sleep(0.05)


@pytest.mark.slow
def test_a_folder_keeps_simulations_of_one_request(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    run("--simulations", 10, "--output", folder)
    first = json.loads((folder / "sbc.json").read_text("utf-8"))
    for words, message in (
        (("--method", "mfvi"), "are of method gaussian, not mfvi"),
        (("--draws", "9"), "are of draws 99, not 9"),
        (("--seed", first["seed"] ^ 1), f"are of seed {first['seed']}, not"),
    ):
        _, refusal = run("--simulations", 10, "--output", folder, "--resume", *words, code=2)
        assert message in refusal
    (folder / "mine").touch()
    run("--simulations", 10, "--output", folder, "--overwrite", "--draws", 9, "--seed", 1)
    assert n_done(folder / "runs.jsonl") == 10
    assert {"mine", "sbc.json", "runs.jsonl", "ecdf.png"} < set(os.listdir(folder))


def test_resume_needs_a_folder(tmp_path: Path) -> None:
    assert "name it (output=DIR; --output DIR" in run("--resume", code=2)[1]
    _, refusal = run("--resume", "--overwrite", "--output", tmp_path / "out", code=2)
    assert "ask for one of them" in refusal
    assert not (tmp_path / "out").exists()
