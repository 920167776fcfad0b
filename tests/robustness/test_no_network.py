"""Nothing is fetched, sent or looked up: neither by an import nor by any command."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import without_network

from stanrovi_cli import app


def alone() -> list[str]:
    """Words that start a process where there are no interfaces, as far as the system has that."""
    words = ["unshare", "--map-root-user", "--net"]
    if (
        shutil.which("unshare")
        and not subprocess.run([*words, "true"], capture_output=True).returncode
    ):
        return words
    return []


@pytest.mark.parametrize(
    "commands",
    [
        pytest.param(["models"], id="imports"),
        pytest.param(list(without_network.COMMANDS), id="commands", marks=pytest.mark.slow),
    ],
)
def test_nobody_asks_for_the_network(commands: list[str], tmp_path: Path) -> None:
    words = alone()
    result = subprocess.run(
        [*words, sys.executable, without_network.__file__, *commands],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert found["codes"] == dict.fromkeys(commands, 0), result.stderr
    assert len(found["asked"].pop("the watch")) == 2
    assert found["asked"] == {}
    assert not words or [name for _, name in found["interfaces"]] == ["lo"]


def test_every_command_is_there() -> None:
    assert set(without_network.COMMANDS) == set(app.COMMANDS)
