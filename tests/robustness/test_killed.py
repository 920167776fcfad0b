"""kill -9 at any moment: a result is whole, or absent, or the earlier one; the command goes on."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import stanrovi as sr
from stanrovi.io.folders import KEPT, LEDGER, MANIFEST
from stanrovi_cli.app import cli

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix"),
    pytest.mark.slow,
]

PROGRAM = "parameters { real x; } model { x ~ std_normal(); }"
SIMULATED = """
transformed data { real m = std_normal_rng(); real y = normal_rng(m, 1); }
parameters { real x; }
model { x ~ std_normal(); y ~ normal(x, 1); }
generated quantities { vector[1] pars_ = [m]'; }
"""
COMMANDS = {
    "compare": "compare m.stan --methods gaussian --draws 100 --reference reference.nc",
    "bench": "bench m.stan --methods gaussian,mfvi --seeds 0-2 --draws 100 --jobs 0",
    "sbc": "sbc s.stan --method gaussian --simulations 10 --draws 9 --jobs 1",
}
MOMENTS = {"compare": 6, "bench": 10, "sbc": 4}
RESULT = {"compare": "report.html", "bench": "bench.md", "sbc": "sbc.json"}


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, words)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result.exit_code, result.stderr


def killed(words: list[str], seconds: float | None) -> float:
    """Run a command; kill it, and what it started, after so many seconds; give its own."""
    begun = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-m", "stanrovi_cli", *words],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            process.wait(timeout=seconds or 60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
    return time.monotonic() - begun


def whole(folder: Path, result: str) -> bool:
    """Whether a result is there; then it is all there, with nothing of another run."""
    names = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.relative_to(folder).parts[0][0] != "."
    } - {LEDGER, "mine"}
    if not names:
        return False
    listed = json.loads((folder / MANIFEST).read_text())
    listed.pop(LEDGER, None)
    assert names == listed.keys()
    assert result in names
    for name, digest in listed.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest, name
    return True


def goes_on(words: list[str], folder: Path) -> None:
    """The same command does, or says with which option."""
    code, told = run(*words)
    if code == 2:
        option = "--resume" if "--resume" in told else "--overwrite"
        assert option in told, told
        code, told = run(*(w for w in words if w not in ("--overwrite", "--resume")), option)
    assert code == 0, told


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_is_killed_at_any_moment(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m.stan").write_text(PROGRAM)
    Path("s.stan").write_text(SIMULATED)
    rng = np.random.default_rng(1)
    sr.write_netcdf(sr.Draws("nuts", {"x": rng.normal(size=(2, 200))}, ("x",)), "reference.nc")
    words, folder = [*COMMANDS[command].split(), "--output", "out"], Path("out")
    length = killed(words, None)
    assert whole(folder, RESULT[command])
    (folder / "mine").write_text("mine")
    shutil.copytree(folder, "earlier")
    shutil.rmtree(folder)
    killed(words, 0.8 * length)
    folder.mkdir(exist_ok=True)  # it may have been too early for it
    shutil.copytree(folder, "begun")
    moments = 0.3 + 0.7 * rng.random(MOMENTS[command])  # less is Python's start
    for how, at in zip(cycle(["fresh", "overwrite", "overwrite", "begun"]), moments, strict=False):
        shutil.rmtree(folder)
        asked = list(words)
        if how != "fresh":
            shutil.copytree("earlier" if how == "overwrite" else how, folder)
            asked.append("--overwrite" if how == "overwrite" else "--resume")
        killed(asked, at * length)
        there = folder.exists() and whole(folder, RESULT[command])
        assert there or how != "overwrite"
        goes_on(asked, folder)
        assert whole(folder, RESULT[command])
        assert how != "overwrite" or (folder / "mine").read_text() == "mine"
        left = {*os.listdir("."), *os.listdir(folder)}
        assert not {name for name in left if name[:2] in (".u", ".s")} - {MANIFEST}
        assert not (folder / KEPT).exists()
