"""Progress of runs: on a terminal, below a notebook's cell, to a function, or not at all."""

import os
import pty
import subprocess
import sys
import time
import types
from contextlib import nullcontext

import pytest

import stanrovi as sr
from stanrovi.errors import DensityError, UsageError
from stanrovi.runs import progress

SIMULATES = "sbc_regression"


@pytest.fixture
def notebook(monkeypatch):
    """Stand in for IPython with a kernel; what is shown, one text after the other."""
    said = []

    class Handle:
        def update(self, data, raw):
            said.append(data["text/plain"])

    def display(data, raw, display_id):
        said.append(data["text/plain"])
        return Handle()

    ipython = types.ModuleType("IPython")
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel=True)
    ipython.display = types.ModuleType("IPython.display")
    ipython.display.display = display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", ipython.display)
    monkeypatch.setattr(progress, "_PERIOD", 0)
    return said


def test_a_notebook_has_one_line_that_goes(notebook):
    sr.fit("eight_schools", seed=1, draws=10, progress=True)
    assert notebook[0] == "auto"
    assert "gradients, ELBO" in notebook[-2]
    assert notebook[-1] == ""
    notebook.clear()
    sr.nuts("eight_schools", engine="stanli", chains=2, seed=1, iter_sampling=100, progress=True)
    assert notebook[-2].startswith("NUTS, 2 chains, 2,200 of 2,200, ")
    notebook.clear()
    sr.sample("eight_schools", seed=1, ess=20, progress=True)
    assert notebook[0] == "sampling"
    assert len(notebook) > 2
    notebook.clear()
    sr.sbc(SIMULATES, method="mfvi", simulations=10, draws=9, seed=1, progress=True)
    assert notebook[-2].startswith("mfvi: simulations, 10 of 10, ")


def test_the_line_goes_where_a_run_fails(notebook, write):
    program = write("bad.stan", "parameters { real x; } model { reject(1); }")
    with pytest.raises(DensityError):
        sr.fit(program, seed=1, progress=True)
    assert notebook[-1] == ""


def test_quiet_where_there_is_no_terminal(capfd):
    sr.fit("eight_schools", seed=1, draws=10, progress=True)
    out, err = capfd.readouterr()
    assert out == err == ""


def test_a_terminal_has_a_line_on_standard_error():
    code = "import stanrovi as sr; sr.fit('eight_schools', seed=1, draws=10, progress=True)"
    main, terminal = pty.openpty()
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=terminal)
    os.close(terminal)
    shown = os.read(main, 100_000)
    os.close(main)
    assert done.returncode == 0
    assert done.stdout == b""
    assert b"auto" in shown
    assert b"\x1b[2K" in shown  # erased


@pytest.mark.parametrize("wrong", ["yes", 1, 0])
def test_what_is_neither_is_refused(wrong):
    for call in (sr.fit, sr.nuts, sr.sample):
        with pytest.raises(UsageError, match="progress must be True"):
            call("eight_schools", seed=1, progress=wrong)
    with pytest.raises(UsageError, match="progress must be True"):
        sr.sbc(SIMULATES, seed=1, progress=wrong)


def test_none_and_false_say_nothing(notebook):
    for no in (None, False):
        sr.fit("eight_schools", seed=1, draws=10, progress=no)
    assert notebook == []


def test_telling_of_many_chains_takes_no_longer_than_of_few(monkeypatch):
    shown = []
    monkeypatch.setattr(
        progress, "shown", lambda *_, **__: nullcontext(lambda *words: shown.append(words[1:]))
    )
    chains, began = 50_000, time.process_time()
    with progress.of_chains(True, chains) as tell:
        for now in (1, 3):
            for chain in range(1, chains + 1):
                tell(chain, now, 3)
    assert time.process_time() - began < 5
    assert shown[chains - 1 : chains + 1] == [(chains, 3 * chains), (chains + 2, 3 * chains)]
    assert shown[-1] == (3 * chains, 3 * chains)


def test_nothing_warns_in_a_notebook(tmp_path):
    """Not of widgets that are not installed, nor, each day anew, of ArviZ's next version."""
    code = (
        "import sys, types\n"
        "shell = types.SimpleNamespace(config={'IPKernelApp': {}})\n"
        "ipython = types.ModuleType('IPython')\n"
        "ipython.get_ipython = lambda: shell\n"
        "sys.modules.update({'IPython': ipython, 'ipywidgets': None})\n"
        "import stanrovi as sr\n"
        "run = sr.nuts('eight_schools', seed=1, iter_sampling=100, iter_warmup=100)\n"
        "run.to_arviz(), run.summary(), run._repr_html_()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
