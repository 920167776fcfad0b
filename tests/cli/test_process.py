"""The command line as a process: start-up, interrupts, terminals."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.interpreter

COMMAND = [sys.executable, "-m", "stanrovi_cli"]


def test_help_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from stanrovi_cli.app import cli\n"
        "try:\n"
        "    cli(['--help'])\n"
        "finally:\n"
        "    names = {'numpy', 'scipy', 'arviz', 'bridgestan', 'stanli', 'rich'}\n"
        "    print('heavy:', sorted(names & set(sys.modules)), file=sys.stderr)\n"
    )
    start = time.perf_counter()
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0
    assert "heavy: []" in result.stderr
    assert time.perf_counter() - start < 3  # generous: the machine may be busy


@pytest.mark.parametrize("method", ["auto", "mfvi"])
def test_a_fit_imports_nothing_that_it_does_not_need(method):
    """Each of these takes longer to import than a small fit takes."""
    code = (
        "import sys\n"
        "from stanrovi_cli import main\n"
        f"sys.argv = ['stanrovi', 'fit', 'eight_schools', '--seed', '1', '--method', '{method}']\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        "    names = {'arviz', 'arviz_stats', 'jinja2', 'matplotlib', 'pandas', 'xarray',\n"
        "             'scipy.interpolate', 'scipy.optimize', 'scipy.stats'}\n"
        "    print('heavy:', sorted(names & set(sys.modules)), file=sys.stderr)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0
    assert "verdict" in result.stdout
    assert result.stderr.endswith("heavy: []\n")


def wait_for(text: bytes, stream: int) -> None:
    seen = b""
    while text not in seen:
        seen += os.read(stream, 1000)


@pytest.mark.parametrize(
    ("command", "left"),
    [("nuts", []), ("compare", [".runs", "runs.jsonl"])],
    ids=["nuts", "compare"],
)
def test_interrupt_leaves_what_is_finished_and_nothing_else(command, left, tmp_path):
    """Ctrl-C while NUTS samples, which the bar of its chains on a terminal tells."""
    main, terminal = pty.openpty()
    process = subprocess.Popen(
        [
            *COMMAND,
            command,
            "eight_schools",
            "--iter-sampling",
            "2000000",
            "--chains",
            "2",
            "--output",
            "out",
        ],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    try:
        wait_for(b"/4002000", main)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)
    finally:
        process.kill()
        os.close(main)
    assert process.returncode == 130
    assert out == b""
    assert os.listdir(tmp_path) == (["out"] if left else [])
    if left:
        assert sorted(os.listdir(tmp_path / "out")) == left
        assert sorted(os.listdir(tmp_path / "out" / ".runs")) == ["mfvi.nc", "rovi.nc"]


def test_quiet_where_there_is_no_terminal(tmp_path):
    result = subprocess.run(
        [*COMMAND, "fit", "eight_schools", "--seed", "1", "--json"],
        cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert result.returncode == 0
    assert result.stderr == ""


def test_progress_goes_to_the_terminal_on_stderr(tmp_path):
    main, terminal = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "fit", "eight_schools", "--seed", "1", "--json"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=terminal,
    )  # fmt: skip
    os.close(terminal)
    out, _ = process.communicate(timeout=60)
    shown = os.read(main, 100_000)
    os.close(main)
    assert process.returncode == 0
    assert b"auto" in shown
    assert out.startswith(b"{")


def test_runs_from_anywhere(tmp_path):
    folder = tmp_path / "a folder, with blanks"
    folder.mkdir()
    (folder / "my model.stan").write_text("parameters { real x; } model { x ~ normal(3, 1); }")
    result = subprocess.run(
        [*COMMAND, "fit", "my model.stan", "--method", "gaussian", "--output", "the fit.nc"],
        cwd=folder, capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert Path(folder, "the fit.nc").is_file()
