"""Work that is cut short: exit codes, no half-written file, no child left; budgets."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from stanrovi.stan.processes import end_processes, processes_naming
from stanrovi_cli.app import cli

pytestmark = [
    pytest.mark.interpreter,
    pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix"),
]

Write = Callable[[str, str], Path]

COMMAND = [sys.executable, "-m", "stanrovi_cli"]
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
WORDS = {130: "Interrupted.", 143: "Terminated."}


def first_everywhere(first: object, *others: object) -> list[object]:
    """Cases of which all but the first are marked slow."""
    cases = (case if isinstance(case, tuple) else (case,) for case in others)
    return [first, *(pytest.param(*case, marks=pytest.mark.slow) for case in cases)]


# A fit of minutes, whose gradient is slow and prints: engines call back while they run.
SLOW = """
parameters { vector[20] x; }
model {
  x ~ std_normal();
  for (i in 1:200000) target += 1e-9 * sin(x[1 + i % 20] * i);
  print("still here");
}
"""
STARTED = """
import sys, threading, time
import stanrovi.target
from stanrovi_cli import main

evaluate = stanrovi.target.Target.log_density_gradient
def first(self, x):
    print("running", file=sys.stderr, flush=True)
    stanrovi.target.Target.log_density_gradient = evaluate
    return evaluate(self, x)
stanrovi.target.Target.log_density_gradient = first
main()
"""
SIGNALLED_AT_THE_FIRST_CHAIN = """
import os, signal, time
from concurrent.futures import ThreadPoolExecutor
from stanrovi_cli import main

submit = ThreadPoolExecutor.submit
def first(self, work, *args, **kwargs):
    started = submit(self, work, *args, **kwargs)
    if "cmdstan" in getattr(work, "__name__", ""):
        time.sleep(1)  # the chain begins
        ThreadPoolExecutor.submit = submit
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.1)  # the signal is heard
    return started
ThreadPoolExecutor.submit = first
main()
"""


@contextmanager
def started(
    command: list[str], folder: Path, **environment: str
) -> Iterator[subprocess.Popen[str]]:
    """Run a command in a process group of its own; it is gone after the block."""
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "TMPDIR": str(folder.parent), **environment}, start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "what was waited for did not come"
        time.sleep(0.05)


def ends(process: subprocess.Popen[str], number: signal.Signals) -> str:
    """Signal a process; check its exit code; return what it printed to standard error."""
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == CODES[number], err
    assert out == ""
    assert "Traceback" not in err
    return err


def worker_of(process: subprocess.Popen[str]) -> int:
    """The process that works for a command, which only waits for it."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.exists():
        pytest.skip("there is no /proc here that tells children")
    wait_until(lambda: children.read_text().split())
    return int(children.read_text().split()[0])


def busy_seconds(process: subprocess.Popen[str]) -> float:
    """Processor time of a command, by which one that loops is known."""
    stat = Path(f"/proc/{worker_of(process)}/stat")
    if not stat.exists():
        pytest.skip("there is no /proc here")
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder to work in."""
    path = tmp_path / "work"
    path.mkdir()
    return path


@pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
@pytest.mark.parametrize("command", first_everywhere("compare", "fit", "modes"))
def test_fits(command: str, number: signal.Signals, folder: Path, write: Write) -> None:
    program = write("slow.stan", SLOW)
    output = [] if command == "modes" else ["--output", "out"]
    words = [sys.executable, "-c", STARTED, command, str(program), *output]
    with started(words, folder) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "running\n"
        time.sleep(0.1)
        told = ends(process, number)
    assert told.strip() == WORDS[CODES[number]]
    assert os.listdir(folder) == []


@pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
def test_nuts_of_the_embedded_engine(number: signal.Signals, folder: Path) -> None:
    words = ["nuts", "eight_schools", "--engine", "stanli", "--output", "out.nc"]
    settings = ["--iter-sampling", "3000000", "--chains", "2"]
    with started([*COMMAND, *words, *settings], folder) as process:
        # The engine keeps chains in threads of its own.
        wait_until(lambda: len(os.listdir(f"/proc/{worker_of(process)}/task")) > 2)
        time.sleep(0.5)
        ends(process, number)
    assert os.listdir(folder) == []


@pytest.mark.cmdstan
@pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
def test_nuts_of_cmdstan(
    number: signal.Signals, folder: Path, prophet_folder: Path, prophet: object, write: Write
) -> None:
    data = write("data.json", prophet.data_json)  # type: ignore[attr-defined]
    words = [*COMMAND, "nuts", str(prophet_folder / "prophet.stan"), "--data", str(data)]
    words += ["--exe", str(prophet_folder / "prophet_model.bin"), "--chains", "2"]
    words += ["--iter-sampling", "1000000", "--output", "out.nc"]
    scratch = str(folder.parent / "stanrovi-work-")
    with started(words, folder) as process:
        wait_until(lambda: len(processes_naming(scratch)) == 2)
        told = ends(process, number)
    assert told.strip() == WORDS[CODES[number]]
    assert processes_naming(scratch) == []
    assert os.listdir(folder) == []
    assert list(folder.parent.glob("stanrovi-work-*")) == []


@pytest.mark.cmdstan
def test_nuts_of_cmdstan_between_the_start_of_two_chains(
    folder: Path, prophet_folder: Path, prophet: object, write: Write
) -> None:
    data = write("data.json", prophet.data_json)  # type: ignore[attr-defined]
    words = ["nuts", str(prophet_folder / "prophet.stan"), "--data", str(data)]
    words += ["--exe", str(prophet_folder / "prophet_model.bin"), "--chains", "2"]
    words += ["--iter-sampling", "1000000", "--output", "out.nc"]
    with started([sys.executable, "-c", SIGNALLED_AT_THE_FIRST_CHAIN, *words], folder) as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (143, ""), err
    assert processes_naming(str(folder.parent / "stanrovi-work-")) == []
    assert os.listdir(folder) == []


@pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
def test_compilers(number: signal.Signals, folder: Path, tmp_path: Path, write: Write) -> None:
    """A make whose compiler takes minutes stands in for BridgeStan's."""
    if subprocess.run(["which", "make"], capture_output=True, check=False).returncode:
        pytest.skip("there is no make here")
    sources, cache = tmp_path / "sources", tmp_path / "cache"
    sources.mkdir()
    compiler = f"{sys.executable} -c 'import time; time.sleep(300)'"
    (sources / "Makefile").write_text(f"%_model.so:\n\techo half > $@; {compiler} $@; true\n")
    (sources / "bridgestan.cpp").touch()
    program = write("m.stan", "parameters { real x; } model { x ~ std_normal(); }")
    words = [*COMMAND, "check", str(program), "--engine", "bridgestan"]
    environment = {"BRIDGESTAN": str(sources), "XDG_CACHE_HOME": str(cache)}
    with started(words, folder, **environment) as process:
        wait_until(
            lambda: [p for p in cache.glob("stanrovi/*/build/*_model.so") if p.stat().st_size]
        )
        wait_until(lambda: len(processes_naming(str(cache))) >= 2)
        ends(process, number)
    assert processes_naming(str(cache)) == []
    assert list(cache.glob("stanrovi/*/*.so")) == []  # no half library is taken for a whole one


def test_termination_in_the_background_where_ctrl_c_is_ignored(folder: Path, write: Write) -> None:
    program = write("slow.stan", SLOW)
    ignoring = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n" + STARTED
    with started([sys.executable, "-c", ignoring, "fit", str(program)], folder) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "running\n"
        ends(process, signal.SIGTERM)


def assert_stopped_by_itself(
    script: str, program: Path, folder: Path, number: signal.Signals
) -> None:
    """A fit whose density raises the signal says so, in one word, and leaves nothing."""
    words = [sys.executable, "-c", script, "fit", str(program), "--output", "out.nc"]
    with started(words, folder) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == CODES[number]
    told = WORDS[CODES[number]]
    assert (out, err.split()) == ("", ["running", told])
    assert os.listdir(folder) == []


@pytest.mark.parametrize(
    ("number", "ignoring"),
    [(signal.SIGINT, False), (signal.SIGTERM, False), (signal.SIGTERM, True)],
    ids=["SIGINT", "SIGTERM", "SIGTERM in the background"],
)
def test_a_signal_that_falls_into_a_destructor(
    number: signal.Signals, ignoring: bool, folder: Path, write: Write
) -> None:
    """Python drops what is raised there, and goes on."""
    program = write("slow.stan", SLOW)
    disposition = "SIG_IGN" if ignoring else "default_int_handler"
    script = f"import signal; signal.signal(signal.SIGINT, signal.{disposition})\n" + STARTED
    falling = f"class Falling:\n    def __del__(self): signal.raise_signal({int(number)})\n"
    script = script.replace("def first", falling + "def first")
    script = script.replace("    return evaluate", "    Falling()\n    return evaluate")
    assert_stopped_by_itself(script, program, folder, number)


@pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
@pytest.mark.parametrize("instead", ["pass", "raise TypeError"])
def test_a_signal_that_c_code_swallows(
    instead: str, number: signal.Signals, folder: Path, write: Write
) -> None:
    """As NumPy's and pybind11's conversions do, where they try one way after another."""
    swallowing = (
        f"    import signal\n    try: signal.raise_signal({int(number)})\n"
        f"    except KeyboardInterrupt: {instead}\n"
    )
    script = STARTED.replace("    return evaluate", f"{swallowing}    return evaluate")
    program = write("normal.stan", "parameters { real x; } model { x ~ std_normal(); }")
    assert_stopped_by_itself(script, program, folder, number)


@pytest.mark.parametrize("listing", ["proc", "ps"])
def test_processes_are_ended_by_the_name_they_bear(
    listing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is no /proc, as on macOS, ps tells."""
    if listing == "ps":
        if shutil.which("ps") is None:
            pytest.skip("there is no ps here")
        monkeypatch.setattr(Path, "exists", lambda path: False)
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    with started([*sleep, str(tmp_path)], tmp_path) as ours, started(sleep, tmp_path) as other:
        wait_until(lambda: processes_naming(str(tmp_path)) == [ours.pid])
        end_processes(str(tmp_path))
        assert ours.wait(timeout=10) == -signal.SIGTERM
        assert other.poll() is None


def run(*words: object) -> dict[str, object]:
    result = CliRunner().invoke(cli, [str(word) for word in (*words, "--json")])
    assert result.exit_code == 0, result.stderr
    told: dict[str, object] = json.loads(result.stdout)
    return told


def test_a_budget_of_gradients_is_kept_and_told() -> None:
    full = run("fit", "garch", "--seed", 1)
    budget = int(str(full["n_gradients"])) // 3
    cut = run("fit", "garch", "--seed", 1, "--max-gradients", budget)
    assert full["status"] == "converged"
    assert cut["status"] == "budget"
    stages = cut["gradients_by_stage"]
    assert isinstance(stages, dict)
    assert sum(stages.values()) == cut["n_gradients"]
    assert sum(n for name, n in stages.items() if name not in ("draws", "checks")) <= budget
    assert cut["verdict"] == "suspect"
    assert "budget" in str(cut["message"])


@pytest.mark.parametrize("budget", [("--max-gradients", "1"), ("--max-seconds", "1e-9")])
def test_a_budget_too_small_for_anything(budget: tuple[str, str]) -> None:
    result = CliRunner().invoke(cli, ["fit", "garch", *budget])
    assert result.exit_code == 1
    assert "allow more gradients or seconds" in result.stderr


@pytest.mark.parametrize("option", [("--max-gradients", "0"), ("--max-seconds", "0")])
def test_budgets_that_make_no_sense(option: tuple[str, str]) -> None:
    result = CliRunner().invoke(cli, ["fit", "garch", *option])
    assert result.exit_code == 2


LOOP = "real y = abs(x); while (y > -1) y = 0.5 * y;"
LOOPS = {
    "transformed data": f"""
        transformed data {{ {LOOP.replace("abs(x)", "1")} }}
        parameters {{ real x; }} model {{ x ~ std_normal(); }}""",
    "model": f"parameters {{ real x; }} model {{ x ~ std_normal(); {LOOP} }}",
    "model in part": """
        parameters { real x; }
        model { x ~ std_normal(); real y = x; while (y > 2.5) y = 2.6 + 0.5 * y; }""",
    "generated quantities": f"""
        parameters {{ real x; }} model {{ x ~ std_normal(); }}
        generated quantities {{ {LOOP} }}""",
}
TOLD = {
    "transformed data": "loaded with its data",
    "model": "had not returned by then",
    "model in part": "had not returned by then",
    "generated quantities": "y are left out",
}


@pytest.mark.parametrize(
    ("command", "block"),
    first_everywhere(
        ("fit", "model"),
        *(("fit", block) for block in LOOPS if block != "model"),
        ("sample", "model"),
        ("sample", "generated quantities"),
    ),
)
def test_a_program_that_loops_for_ever_is_ended_by_the_budget(
    command: str, block: str, folder: Path, write: Write
) -> None:
    """By `fit` and `sample` alike; the process ends though a thread loops on."""
    words = [command, str(write("loops.stan", LOOPS[block])), "--max-seconds", "3", "--seed", "1"]
    begun = time.monotonic()
    with started([*COMMAND, *words], folder) as process:
        out, err = process.communicate(timeout=60)
    assert time.monotonic() - begun < 3.3 + 15  # five, and more for a busy machine
    told = " ".join((out + err).split())
    if block == "generated quantities":
        assert process.returncode == 0, err
        assert TOLD[block] in told
    else:
        assert (process.returncode, out) == (1, ""), err
        assert TOLD[block] in told
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("block", "number"),
    first_everywhere(("model", signal.SIGTERM), *((block, signal.SIGINT) for block in LOOPS)),
)
def test_a_program_that_loops_for_ever_is_ended_by_a_signal(
    block: str, number: signal.Signals, folder: Path, write: Write
) -> None:
    words = ["fit", str(write("loops.stan", LOOPS[block])), "--seed", "1", "--output", "out.nc"]
    with started([*COMMAND, *words], folder) as process:
        wait_until(lambda: busy_seconds(process) > 3)
        begun = time.monotonic()
        told = ends(process, number)
    assert time.monotonic() - begun < 10
    assert told.strip() == WORDS[CODES[number]]
    assert os.listdir(folder) == []


def test_a_signal_that_nothing_hears_ends_the_process(folder: Path, write: Write) -> None:
    """NUTS of the embedded engine waits in C++ for chains that never end."""
    words = ["nuts", str(write("loops.stan", LOOPS["model"])), "--engine", "stanli"]
    with started([*COMMAND, *words], folder) as process:
        wait_until(lambda: busy_seconds(process) > 3)
        begun = time.monotonic()
        told = ends(process, signal.SIGINT)
    assert time.monotonic() - begun < 15
    assert told.strip() == "Interrupted."


@pytest.mark.skipif(sys.platform != "linux", reason="only its C library can skip destructors")
@pytest.mark.parametrize(
    "block", first_everywhere("model", "transformed data", "generated quantities")
)
def test_a_process_ends_in_order_though_a_call_loops_on(
    block: str, folder: Path, write: Write
) -> None:
    script = f"""
import sys, time
import stanrovi as sr
from stanrovi.errors import StanroviError
from stanrovi.waiting import any_running
try:
    sr.fit({str(write("loops.stan", LOOPS[block]))!r}, seed=1, max_seconds=3)
except StanroviError as error:
    print(type(error).__name__)
print(any_running())
sys.exit(5)
"""
    with started([sys.executable, "-c", script], folder) as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out.split()[-1]) == (5, "True"), err


def test_a_second_signal_ends_the_process(folder: Path) -> None:
    """Whatever it does with the first."""
    script = """
import sys, time
from stanrovi_cli.supervisor import supervised
def work():
    try:
        print("running", file=sys.stderr, flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        print("stopping", file=sys.stderr, flush=True)
        time.sleep(60)
supervised(work)
"""
    with started([sys.executable, "-c", script], folder) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "running\n"
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.stderr.readline() == "stopping\n"
        process.send_signal(signal.SIGTERM)  # the same again, as to a process and to its group
        time.sleep(1)
        assert process.poll() is None
        assert ends(process, signal.SIGTERM) == "Terminated.\n"
    assert time.monotonic() - begun < 4
