"""Models in a process of their own: the same numbers, and what becomes of programs that crash."""

from __future__ import annotations

import json
import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import stanrovi as sr
from stanrovi.errors import DataError, DensityError, ModelError, SamplerError, UsageError
from stanrovi.stan.child import Child, Died
from stanrovi.stan.exchange import Memory, receive, send
from stanrovi.stan.model import Model
from stanrovi.stan.nuts.serving import Served as ServedNuts
from stanrovi.stan.program import Program
from stanrovi.stan.serving import Call, Server
from stanrovi.stan.serving import Served as ServedModel
from stanrovi.target import Array
from stanrovi.waiting import Overdue, limited, within
from stanrovi_cli.app import cli

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="processes of Unix"),
]

Write = Callable[[str, str], Path]

NUTS: dict[str, Any] = {
    "engine": "stanli", "seed": 1, "chains": 2, "iter_warmup": 50, "iter_sampling": 50,
}  # fmt: skip
DATA = {"n": -(2**31), "by": -1}
NORMAL = "parameters { real x; } model { x ~ std_normal();"
# Each does something bad where x is above a half.
DIVIDES = "data { int n; int by; } transformed data { int never = 0; }"
IN_MODEL = f"{DIVIDES} {NORMAL} int k = n; if (x > 0.5) k = k %/% by; target += 0 * k; }}"
IN_QUANTITIES = (
    f"{DIVIDES} {NORMAL} }}"
    "generated quantities { real y = x; int k = n; if (x > 0.5) k = k %/% by; }"
)
IN_DATA = "data { int n; int by; } transformed data { int k = n %/% by; }" + NORMAL + "}"
LOOPS = f"{NORMAL} while (x > 0.5) {{}} }}"
LOOPS_AFTERWARDS = f"{NORMAL} }} generated quantities {{ real y = x; while (x > 0.5) y += 1; }}"
LOW, HIGH = np.array([[0.1]]), np.array([[0.9]])


@pytest.fixture(scope="module")
def garch() -> Model:
    return Model("garch", isolate=True)


def process(model: Model) -> subprocess.Popen[bytes]:
    child = model._program._child
    assert child._process is not None
    return child._process


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"


def wait_for_the_end(pid: int) -> None:
    end = time.monotonic() + 10
    while is_there(pid):
        assert time.monotonic() < end, "the process is there still"
        time.sleep(0.01)


def test_every_number_is_the_same(garch: Model) -> None:
    here = Model("garch")
    assert (garch.name, garch.dim, garch.engine) == (here.name, here.dim, here.engine)
    assert (garch.parameters, garch.variables) == (here.parameters, here.variables)
    assert garch.unconstrained_names == here.unconstrained_names
    assert garch.dropped_constant == here.dropped_constant
    x = np.random.default_rng(1).uniform(-1, 1, (40, here.dim))
    for ours, theirs in zip(
        garch.log_density_gradient(x), here.log_density_gradient(x), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    for values in (lambda m: m.constrain(x, seed=3), lambda m: m.constrain_parameters(x)):
        found, expected = values(garch), values(here)
        assert list(found) == list(expected)
        for name, value in expected.items():
            np.testing.assert_array_equal(found[name], value)
    draws = here.constrain_parameters(x)
    np.testing.assert_array_equal(garch.unconstrain_draws(draws), here.unconstrain_draws(draws))
    assert garch.threads(1) == 1
    assert garch.log_density_gradient(x[:0])[1].shape == (0, here.dim)
    with pytest.raises(UsageError, match="shape"):
        garch.log_density_gradient(x[:, :2])
    with pytest.raises(DataError, match="missing"):
        garch.unconstrain({})


def test_a_fit_and_nuts_are_the_same(garch: Model) -> None:
    here, heard = Model("garch"), []
    fits = [sr.fit(model, method="mfvi", seed=1, draws=100) for model in (garch, here)]
    np.testing.assert_array_equal(fits[0].result.draws, fits[1].result.draws)
    runs = [
        sr.nuts(garch, progress=lambda *told: heard.append(told), **NUTS), sr.nuts(here, **NUTS)
    ]  # fmt: skip
    assert heard[-1][1:] == (100, 100)
    assert runs[0].n_gradients == runs[1].n_gradients
    for stored in ("posterior", "sample_stats"):
        found, expected = (getattr(run.draws, stored) for run in runs)
        for name, value in expected.items():
            np.testing.assert_array_equal(found[name], value)
            assert found[name].dtype == value.dtype


def test_it_is_pickled_and_rebuilt_as_it_is(garch: Model) -> None:
    copy = pickle.loads(pickle.dumps(garch))
    assert repr(copy) == "Model('garch', engine='stanli', dim=4, isolate=True)"
    assert garch.rebuild(seed=2).isolate
    assert process(copy).pid != process(garch).pid


def test_rejections_and_warnings_are_told(write: Write, caplog: pytest.LogCaptureFixture) -> None:
    program = f"""
        data {{ int n; }} {NORMAL} if (x > 0.5) reject("too large: ", x); }}
        generated quantities {{ real y = x; if (x > 0.5) reject("no y"); }}
    """
    model = Model(write("rejects.stan", program), {"n": 1}, isolate=True)
    np.testing.assert_array_equal(model.log_density_gradient(HIGH)[0], [-np.inf])
    assert "too large: 0.9" in str(model.last_rejection)
    model.forget_rejection()
    model.log_density_gradient(LOW)
    assert model.last_rejection is None
    assert np.isnan(model.constrain(HIGH, seed=1)["y"]).all()
    assert "failed in 1 of 1 draws" in caplog.text
    with pytest.raises(DataError, match="n"):
        Model(model.source.include_paths[-1] + "/rejects.stan", {"n": 1.5}, isolate=True)


def test_errors_of_the_program_are_what_they_are_elsewhere(write: Write) -> None:
    with pytest.raises(ModelError, match=r"stanc rejected wrong\.stan"):
        Model(write("wrong.stan", "parameters { rael x; }"), isolate=True)
    with pytest.raises(ModelError, match=r"stanc rejected wrong\.stan"):
        Model(write("wrong.stan", "data { int n; } parameters { rael x; }"), "[]", isolate=True)
    with pytest.raises(DataError, match="holds a JSON array"):
        Model(write("right.stan", f"data {{ int n; }} {NORMAL} }}"), "[]", isolate=True)
    with pytest.raises(ModelError, match="no parameters"):
        Model(write("empty.stan", "model {}"), isolate=True)


def test_prints_go_to_the_log(write: Write, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "stanrovi.stan.print")
    model = Model(write("prints.stan", f'{NORMAL} print("x is ", x); }}'), isolate=True)
    model.log_density_gradient(LOW)
    assert "x is 0.1" in caplog.text


def test_a_crash_of_transformed_data_is_told(write: Write) -> None:
    with pytest.raises(ModelError, match=r"divides cannot be loaded.*SIGFPE.*-2147483648, by -1"):
        Model(write("divides.stan", IN_DATA), DATA, isolate=True)


def test_a_crash_of_the_log_density_is_told_and_told_again(write: Write) -> None:
    model = Model(write("divides.stan", IN_MODEL), DATA, isolate=True)
    assert np.isfinite(model.log_density_gradient(LOW)[0]).all()
    for x in (HIGH, LOW):
        with pytest.raises(DensityError, match=r"log density of divides ended \(SIGFPE"):
            model.log_density_gradient(x)
    with pytest.raises(DensityError, match="SIGFPE"):
        sr.fit(model, seed=1)
    with pytest.raises(DensityError, match="log density of divides"):
        model.constrain(LOW, seed=1)
    for engine in ("stanli", "numpy"):
        with pytest.raises(SamplerError, match="SIGFPE"):
            sr.nuts(model, **NUTS | {"engine": engine})


def test_the_command_line_tells_it(write: Write) -> None:
    program, data = write("divides.stan", IN_MODEL), write("d.json", json.dumps(DATA))
    for command in ("check", "modes"):
        words = [command, str(program), "--data", str(data), "--isolate"]
        result = CliRunner().invoke(cli, words)
        assert result.exit_code == 1
        assert "log density of divides ended (SIGFPE" in result.stderr


def test_a_crash_of_generated_quantities_loses_nothing_else(
    write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    model = Model(write("divides.stan", IN_QUANTITIES), DATA, isolate=True)
    fit = sr.fit(model, method="mfvi", seed=1, draws=100)
    assert fit.verdict.name == "ok"
    assert np.isfinite(fit.draws.posterior["x"]).all()
    assert np.isnan(fit.draws.posterior["k"]).all()
    assert "failed in 100 of 100 draws and are NaN there" in caplog.text
    assert "generated quantities of divides ended (SIGFPE" in caplog.text
    run = sr.nuts(model, **NUTS)
    assert list(run.draws.posterior) == ["x", "y", "k"]
    assert "y, k hold NaN" in " ".join(run.warnings)


@pytest.mark.parametrize(
    ("number", "words"),
    [(signal.SIGKILL, "SIGKILL, out of memory"), (signal.SIGSEGV, "SIGSEGV.*calls itself"),
     (signal.SIGABRT, "SIGABRT.*gave up"), (signal.SIGUSR1, r"\(SIGUSR1\)")],
)  # fmt: skip
def test_every_end_is_told(number: signal.Signals, words: str) -> None:
    model = Model("eight_schools", isolate=True)
    process(model).send_signal(number)
    wait_for_the_end(process(model).pid)
    with pytest.raises(DensityError, match=words):
        model.log_density_gradient(np.zeros((1, model.dim)))


def test_an_endless_loop_ends_with_its_time(write: Write) -> None:
    model = Model(write("loops.stan", LOOPS), isolate=True)
    first = process(model)
    with pytest.raises(Overdue), limited(time.perf_counter() + 0.2):
        model.log_density_gradient(HIGH)
    wait_for_the_end(first.pid)
    assert np.isfinite(model.log_density_gradient(LOW)[0]).all()  # by another one
    second = process(model)
    with pytest.raises(Overdue):
        within(model.log_density_gradient, HIGH, until=time.perf_counter() + 0.2)
    wait_for_the_end(second.pid)


@pytest.mark.parametrize("n_done", [0, 3])
def test_quantities_that_loop_for_ever_end_with_the_budget(write: Write, n_done: int) -> None:
    model = Model(write("loops.stan", LOOPS_AFTERWARDS), isolate=True)
    first, x = process(model), np.vstack([LOW] * n_done + [HIGH] * 20)
    began = time.perf_counter()
    assert len(model.constrain(x, seed=1, until=began + 0.3)["y"]) == n_done
    assert time.perf_counter() - began < 20  # it would never end
    wait_for_the_end(first.pid)
    assert list(model.constrain_parameters(x)) == ["x"]
    assert model.seconds_per_draw(time.perf_counter() + 0.2) < 1 or n_done == 0


def test_loading_that_loops_for_ever_is_given_up(write: Write) -> None:
    program = write("loops.stan", f"transformed data {{ while (1) {{}} }} {NORMAL} }}")
    with pytest.raises(ModelError, match="budget ran out"), limited(time.perf_counter() + 1):
        Model(program, isolate=True)


def test_ctrl_c_ends_the_process(write: Write) -> None:
    model = Model(write("loops.stan", LOOPS), isolate=True)
    pid = process(model).pid
    threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        model.log_density_gradient(HIGH)
    wait_for_the_end(pid)


def test_it_ends_with_the_model() -> None:
    model = Model("eight_schools", isolate=True)
    pid = process(model).pid
    del model
    wait_for_the_end(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="descriptors are looked up in /proc")
def test_it_starts_where_there_are_no_streams(tmp_path: Path) -> None:
    script = (
        "import stanrovi as sr\n"
        "sr.Model('eight_schools', isolate=True).constrain_parameters([[0.0] * 10])\n"
        "open('done', 'x').close()\n"
    )
    command = f"exec '{sys.executable}' -c \"{script}\" <&- >&- 2>&-"
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    assert (tmp_path / "done").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="descriptors are looked up in /proc")
@pytest.mark.parametrize("stopped", [False, True])
def test_it_holds_nothing_and_ends_with_a_killed_parent(write: Write, stopped: bool) -> None:
    code = f"""
        import sys
        import numpy as np
        from stanrovi.stan.model import Model
from stanrovi.stan.nuts.serving import Served as ServedNuts
from stanrovi.stan.program import Program
from stanrovi.stan.serving import Call, Server
from stanrovi.stan.serving import Served as ServedModel
from stanrovi.target import Array
        model = Model({str(write("loops.stan", LOOPS))!r}, isolate=True)
        print(model._program._child._process.pid, flush=True)
        model.log_density_gradient(np.array([[0.9]]))
    """
    held = write("held", "")
    with (
        held.open() as file,
        subprocess.Popen(
            [sys.executable, "-c", "\n".join(map(str.strip, code.splitlines()))],
            stdout=subprocess.PIPE, pass_fds=[file.fileno()],
        ) as parent,
    ):  # fmt: skip
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        descriptors = [os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()]
        assert str(held) not in descriptors
        assert descriptors.count("/dev/null") == 3
        if stopped:
            os.kill(pid, signal.SIGSTOP)
        parent.kill()
    wait_for_the_end(pid)


class Served:
    """The other process, in a thread of this one: what it answers."""

    def __init__(self, calls: Mapping[str, Call]) -> None:
        self._ours, self._theirs = socket.socketpair()
        self._memory = Memory()
        server = Server(calls, self._theirs, Memory(self._memory.file))
        self._thread = threading.Thread(target=server.work)
        self._thread.start()

    def __call__(
        self, what: str, asked: Any = None, inputs: Sequence[Array] = (), outputs: Any = ()
    ) -> tuple[Any, list[Array]]:
        shapes = [*(x.shape for x in inputs), *outputs]
        self._memory.reserve(shapes)
        places = self._memory.arrays(shapes)
        for place, x in zip(places, inputs, strict=False):
            place[...] = x
        send(self._ours, [what, asked or {}, self._memory.size, shapes, len(inputs)])
        while (answer := receive(self._ours))[0] == "heard":
            pass
        return answer, places[len(inputs) :]

    def close(self) -> None:
        self._ours.close()
        self._thread.join()
        self._theirs.close()
        self._memory.close()


def test_the_server_of_models_answers() -> None:
    here = Model("garch")
    assert isinstance(here.source, Program)
    program = [here.source.name, here.source.text, here.source.include_paths]
    opening = {"program": program, "path": "", "data": here.data_json, "seconds": None}
    ask = Served(ServedModel().calls)
    (kind, told), _ = ask("open", opening | {"engine": "stanli", "seed": 0})
    assert (kind, told["name"], told["engine"]) == ("done", "garch", "stanli")
    x = np.random.default_rng(1).uniform(-1, 1, (5, 4))
    _, (log_density, gradient) = ask("evaluate", {}, [x], [(5,), (5, 4)])
    np.testing.assert_array_equal(log_density, here.log_density_gradient(x)[0])
    np.testing.assert_array_equal(gradient, here.log_density_gradient(x)[1])
    _, (theta,) = ask("parameters", {}, [x], [(5, 4)])
    reason, (back,) = ask("unconstrain", {}, [theta], [(5, 4)])
    assert reason == ["done", ""]
    np.testing.assert_allclose(back, x)
    rows = {"seed": 1, "seconds": None, "avoided": 0}
    told, (values,) = ask("constrain", rows, [x], [(5, here.n_columns)])
    assert told == ["done", [5, 0, "", False]]
    np.testing.assert_array_equal(values[:, :4], theta)
    told, _ = ask("constrain", rows | {"avoided": 1}, [x], [(5, here.n_columns)])
    assert told[1][1] == 5
    told, _ = ask("seconds_per_draw", rows | {"seconds": 60.0}, [x[0]])
    assert 0 < told[1][0] < 60
    assert ask("threads", {"n": 1})[0] == ["done", 1]
    assert ask("dropped_constant")[0][0] in ("done", "error")
    (kind, (name, message)), _ = ask(
        "open", opening | {"engine": "stanli", "seed": 0, "data": "{}"}
    )
    assert (kind, name) == ("error", "DataError")
    assert "the data lack" in message
    (kind, (name, message)), _ = ask("open", {})
    assert (kind, name, message) == ("error", "", "'path'")
    ask.close()


def test_the_server_of_nuts_answers() -> None:
    here = Model("eight_schools")
    assert isinstance(here.source, Program)
    ask = Served(ServedNuts().calls)
    ask("open", {"program": [here.name, here.source.code], "data": here.data_json})
    settings = {"chains": 1, "iter_warmup": 20, "iter_sampling": 20, "seed": 1}
    rest = {"adapt_delta": 0.8, "max_treedepth": 10}
    asked = {"settings": settings | rest, "arrays": ["inv_metric"]}
    (kind, told), _ = ask("sample", asked, [np.ones(here.dim)])
    assert kind == "done"
    shapes = [*told["variables"].values(), *told["sampler"].values()]
    assert shapes[1] == [1, 20]
    _, values = ask("draws", {}, [], shapes)
    assert all(np.isfinite(x).all() for x in values)
    ask.close()


def test_a_saved_fit_is_isolated_where_that_is_asked_for(garch: Model, tmp_path: Path) -> None:
    fit = sr.fit(garch, method="mfvi", seed=1, draws=100)
    path = fit.save(tmp_path / "fit.nc")
    for isolate in (True, False):
        assert sr.load_fit(path, isolate=isolate).model.isolate is isolate


def test_much_memory_is_given_back() -> None:
    memory = Memory()
    memory.reserve([(3_000_000,)])
    array, other = memory.arrays([(2_000_000,), (1_000_000,)])
    array[-1], other[0] = 1.0, 2.0
    assert memory.arrays([(2_000_001,)])[0][-2:].tolist() == [1.0, 2.0]
    del array, other
    memory.spare()
    assert os.fstat(memory.file).st_size == memory.size < 1e6
    memory.close()


def test_threads_take_turns(garch: Model) -> None:
    here = Model("garch")
    batches = [np.random.default_rng(i).normal(size=(1 + i % 5, 4)) for i in range(60)]
    found: dict[int, Any] = {}

    def work(some: range) -> None:
        found.update((i, garch.log_density_gradient(batches[i])) for i in some)

    threads = [threading.Thread(target=work, args=[range(k, 60, 3)]) for k in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, x in enumerate(batches):
        for ours, theirs in zip(found[i], here.log_density_gradient(x), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_what_makes_no_sense_is_the_end_of_it() -> None:
    with pytest.raises(Died, match="exit code 1"):
        Child("stanrovi.there_is_no_such_module", {}).opened()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for text in (b"\x05\0\0\0\0\0\0\0{nan}", b"\xff" * 8):
            theirs.sendall(text)
            with pytest.raises(EOFError):
                receive(ours)
        send(theirs, ["done", {"x": float("nan")}])
        assert receive(ours)[0] == "done"
        theirs.close()
        with pytest.raises(EOFError):
            receive(ours)
