"""The process that waits for the one that works: deaths are told, and nobody is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from stanrovi_cli import app
from stanrovi_cli.app import cli

pytestmark = [
    pytest.mark.interpreter,
    pytest.mark.skipif(sys.platform == "win32", reason="there is no fork on Windows"),
]

Write = Callable[[str, str], Path]

SUPERVISED = """
import os, signal, sys, time
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whatever nohup has made of it
from stanrovi_cli.supervisor import supervised
def work():
    {work}
supervised(work)
"""


def supervise(work: str, **settings: object) -> subprocess.CompletedProcess[str]:
    script = SUPERVISED.format(work=work)
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60,
        **settings,  # type: ignore[call-overload]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("number", "cause"),
    [
        ("SIGFPE", "integer division"),
        ("SIGSEGV", "calls itself without end"),
        ("SIGABRT", "memory"),
        ("SIGKILL", "out of memory?"),
        ("SIGBUS", "disk"),
        ("SIGUSR1", ""),
    ],
)
def test_a_death_is_told(number: str, cause: str) -> None:
    done = supervise(f"os.kill(os.getpid(), signal.{number})")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"Error: the run died of {number}")
    assert cause in done.stderr


@pytest.mark.parametrize("operation", ["%/%", "%"])
@pytest.mark.parametrize("block", ["transformed data", "model", "generated quantities"])
def test_divisions_of_integers_without_a_result(block: str, operation: str, write: Write) -> None:
    """In a process without this module the whole interpreter died, silently."""
    division = f"int a = -2147483647 - 1; int b = -1; int c = a {operation} b;"
    blocks = {"transformed data": "", "model": "x ~ std_normal();", "generated quantities": ""}
    blocks[block] = f"{division} {blocks[block]}" + (" target += c;" if block == "model" else "")
    program = (
        f"transformed data {{ {blocks['transformed data']} }} parameters {{ real x; }} "
        f"model {{ {blocks['model']} }} generated quantities {{ {blocks['generated quantities']} }}"
    )
    words = ["fit", str(write("divides.stan", program)), "--seed", "1", "--method", "mfvi"]
    done = subprocess.run(
        [sys.executable, "-m", "stanrovi_cli", *words], capture_output=True, text=True, check=False
    )
    if (block, operation) == ("model", "%"):  # the engine knows the remainder there, zero
        assert (done.returncode, done.stderr) == (0, "")
    else:
        assert done.returncode == 1
        assert "of the smallest integer" in done.stderr


@pytest.mark.parametrize("code", [0, 1, 3, 130])
def test_exit_codes_are_handed_on(code: int) -> None:
    done = supervise(f"print('out'); sys.exit({code})")
    assert (done.returncode, done.stdout, done.stderr) == (code, "out\n", "")


def test_a_killed_command_leaves_nobody_behind() -> None:
    """Whom kill -9 ends cannot end others."""
    script = SUPERVISED.format(work="print(os.getpid(), flush=True); time.sleep(60)")
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    worker = int(process.stdout.readline())
    process.kill()
    process.wait()
    assert process.stdout.read() == ""  # until the last one who holds it has ended
    process.stdout.close()
    for _ in range(100):
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            break
        time.sleep(0.05)
    else:
        pytest.fail("it works on")


@pytest.mark.parametrize(
    ("number", "said", "code"),
    [("SIGINT", "Interrupted.", 130), ("SIGTERM", "Terminated.", 143), ("SIGHUP", "Hung up.", 129)],
)
def test_work_that_hears_no_signal(number: str, said: str, code: int) -> None:
    """Its thread is in C++, say; the end comes after a few seconds."""
    ignoring = f"signal.signal(signal.{number}, signal.SIG_IGN); "
    done = supervise(f"{ignoring}os.kill(os.getppid(), signal.{number}); time.sleep(60)")
    assert (done.returncode, done.stderr) == (code, f"{said}\n")


def test_without_another_process() -> None:
    """Where no more are allowed (ulimit -u), the work is done all the same."""
    refusing = """
import os
def refuse():
    raise BlockingIOError(11, "Resource temporarily unavailable")
os.fork = refuse
"""
    script = refusing + SUPERVISED.format(work="print('done'); sys.exit(3)")
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, "done\n", "")


@pytest.mark.parametrize("number", [0, 2])
def test_streams_that_are_closed(number: int) -> None:
    """What is opened next would take their place, and be written into."""
    closing = f"import os; os.close({number})\n" + SUPERVISED.format(
        work="print(os.open('/dev/null', os.O_RDONLY) > 2)"
    )
    done = subprocess.run(
        [sys.executable, "-c", closing], stdout=subprocess.PIPE, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "True\n")


@pytest.mark.parametrize("closing", [">&-", "1</dev/null"])
def test_standard_output_that_is_closed(closing: str) -> None:
    words = f"exec '{sys.executable}' -m stanrovi_cli models {closing}"
    done = subprocess.run(["sh", "-c", words], stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert "standard output is closed" in done.stderr


def test_a_reader_that_takes_its_time() -> None:
    """Where a pipe is not to be waited for, what it does not hold was lost."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    script = SUPERVISED.format(work="print('x' * 1_000_000)")
    with subprocess.Popen([sys.executable, "-c", script], stdout=writing) as process:
        os.close(writing)
        with open(reading, encoding="ascii") as read:
            time.sleep(0.3)
            assert len(read.read()) == 1_000_001
    assert process.returncode == 0


def test_parents_that_ignore_the_end_of_children() -> None:
    """Nobody waited for the work then: it was done a second time, or its code was lost."""
    ignoring = "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
    script = ignoring + SUPERVISED.format(work="print('done'); sys.exit(3)")
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, "done\n", "")


def test_an_alarm_is_no_request() -> None:
    done = supervise("os.kill(os.getppid(), signal.SIGALRM); time.sleep(60)")
    assert (done.returncode, done.stderr) == (-signal.SIGALRM, "")


def test_a_limit_on_files_that_standard_output_reaches(tmp_path: Path) -> None:
    words = f"ulimit -f 0; exec '{sys.executable}' -m stanrovi_cli models > out"
    done = subprocess.run(
        ["sh", "-c", words], stderr=subprocess.PIPE, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 2
    assert done.stderr.endswith("cannot be written (File too large).\n")


def test_a_working_folder_that_is_gone(tmp_path: Path) -> None:
    words = f"mkdir d; cd d; rmdir ../d; exec '{sys.executable}' -m stanrovi_cli models"
    done = subprocess.run(
        ["sh", "-c", words], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "change to another one (cd)" in done.stderr


def test_a_fault_of_ours_is_told_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ZeroDivisionError("by\n  zero" + "!" * 10_000)

    monkeypatch.setattr(app, "_check_memory", fail)
    monkeypatch.setattr(app.tempfile, "tempdir", str(tmp_path))
    done = CliRunner().invoke(cli, ["models"])
    assert (done.exit_code, done.stdout) == (1, "")
    (kept,) = tmp_path.iterdir()
    assert "fault of its own (ZeroDivisionError: by zero!" in done.stderr
    assert str(kept) in done.stderr
    assert len(done.stderr) < 1000
    assert "in fail" in kept.read_text()
    monkeypatch.setattr(app.tempfile, "tempdir", str(tmp_path / "missing"))
    done = CliRunner().invoke(cli, ["models"])
    assert done.exit_code == 1
    assert "Please" not in done.stderr


def test_an_address_space_too_small_for_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some hang there, some abort."""
    import resource

    monkeypatch.setattr(resource, "getrlimit", lambda _which: (150_000_000, -1))
    done = CliRunner().invoke(cli, ["models"])
    assert done.exit_code == 1
    assert "limited to 150 MB (ulimit -v)" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("closing", ["2>&-", "2>/dev/full"])
@pytest.mark.parametrize(("words", "code"), [("models", 0), ("fit eigth", 2), ("nothing", 2)])
def test_standard_error_that_takes_nothing(words: str, code: int, closing: str) -> None:
    command = f"exec '{sys.executable}' -m stanrovi_cli {words} {closing}"
    done = subprocess.run(["sh", "-c", command], stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == code
    assert bool(done.stdout) == (code == 0)
