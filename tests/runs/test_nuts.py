"""NUTS by both engines: the same posterior, honest counts, clean ends."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stanrovi.diagnostics.statistics import ess, rhat
from stanrovi.errors import DrawsError, ModelError, SamplerError, UsageError
from stanrovi.runs.cmdstan_vi import cmdstan_vi
from stanrovi.runs.nuts import nuts, nuts_from_csv
from stanrovi.runs.nuts_run import NutsRun
from stanrovi.stan.model import Model
from stanrovi.stan.nuts.embedded import _Console
from stanrovi.stan.processes import processes_naming

Write = Callable[[str, str], Path]

SHORT = {"chains": 2, "iter_warmup": 100, "iter_sampling": 50}


@pytest.fixture(scope="module")
def embedded(prophet: Model) -> NutsRun:
    return nuts(prophet, engine="stanli", seed=11)


@pytest.fixture(scope="module")
def cmdstan(prophet: Model, exe: Path) -> NutsRun:
    return nuts(prophet, exe=exe, seed=12)


@pytest.fixture(scope="module")
def exe(prophet_folder: Path) -> Path:
    return prophet_folder / "prophet_model.bin"


@pytest.fixture(autouse=True)
def clean_temporary_folder(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Every run must leave the temporary folder as empty as it found it."""
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield
    assert list(folder.glob("stanrovi-*")) == []


def check_run(run: NutsRun, model: Model) -> None:
    draws = run.draws
    assert draws.method == "nuts"
    assert draws.parameters == model.parameters
    assert tuple(draws.posterior) == model.variables
    lead = (draws.n_chains, draws.n_draws)
    assert {name: values.shape for name, values in draws.sample_stats.items()} == dict.fromkeys(
        ("lp", "diverging", "tree_depth", "n_steps", "energy", "step_size", "acceptance_rate"), lead
    )
    assert draws.sample_stats["diverging"].dtype == bool
    assert draws.sample_stats["n_steps"].dtype.kind == "i"
    assert run.divergences == draws.sample_stats["diverging"].sum()
    assert run.includes_warmup
    assert run.n_gradients > draws.sample_stats["n_steps"].sum()
    assert run.seconds_warmup > 0
    assert run.seconds_sampling > 0
    assert draws.attrs["seed"] == run.seed
    assert draws.attrs["engine"] == run.engine
    assert all(isinstance(value, str | int | float) for value in draws.attrs.values())
    check_unconstrained(run, model)


def check_unconstrained(run: NutsRun, model: Model) -> None:
    """The draws' unconstrained form has the sampler's own log density, up to its constant."""
    x = run.draws.unconstrained
    assert x is not None
    log_density, _ = model.log_density_gradient(x.reshape(-1, model.dim))
    shift = log_density - run.draws.sample_stats["lp"].ravel()
    np.testing.assert_allclose(shift, shift[0], atol=1e-6)


@pytest.mark.slow
@pytest.mark.cmdstan
def test_both_engines_sample_one_posterior(
    prophet: Model, embedded: NutsRun, cmdstan: NutsRun
) -> None:
    check_run(embedded, prophet)
    check_run(cmdstan, prophet)
    assert (embedded.engine, cmdstan.engine) == ("stanli", "cmdstan")
    for name in ("k", "m", "sigma_obs"):
        both = [run.draws.posterior[name] for run in (embedded, cmdstan)]
        assert all(rhat(values[..., np.newaxis])[0] < 1.01 for values in both)
        means = [values.mean() for values in both]
        errors = [v.std() / np.sqrt(ess(v[..., np.newaxis])[0]) for v in both]
        assert abs(means[0] - means[1]) / np.hypot(*errors) < 4, name


@pytest.mark.cmdstan
def test_cmdstan_leaves_the_process_as_it_was(
    prophet: Model, exe: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("STAN_NUM_THREADS", raising=False)
    nuts(prophet, exe=exe, seed=1, **SHORT)
    assert "STAN_NUM_THREADS" not in os.environ
    monkeypatch.setenv("STAN_NUM_THREADS", "3")
    nuts(prophet, exe=exe, seed=1, **SHORT)
    assert os.environ["STAN_NUM_THREADS"] == "3"
    output = capfd.readouterr()
    assert output.out == output.err == ""


@pytest.mark.cmdstan
def test_executable_of_another_program(exe: Path) -> None:
    with pytest.raises(SamplerError, match=r"prophet_model\.bin.*variable name=T"):
        nuts("eight_schools", exe=exe, seed=1, **SHORT)


@pytest.mark.cmdstan
def test_executable_with_the_data_of_another_run(
    prophet_folder: Path, prophet_data: dict[str, Any], exe: Path, write: Write
) -> None:
    text = (prophet_folder / "prophet.stan").read_text().replace("real m;", "real m; real extra;")
    model = Model(write("longer.stan", text), prophet_data)
    with pytest.raises(SamplerError, match="is not of the program longer: it lacks extra"):
        nuts(model, exe=exe, seed=1, **SHORT)


@pytest.mark.cmdstan
def test_a_failing_run_tells_cmdstans_reason(
    prophet_folder: Path, prophet_data: dict[str, Any], exe: Path
) -> None:
    data = prophet_data | {"tau": 1e308, "y": np.full(80, 1e308), "sigmas": np.full(2, 1e-308)}
    model = Model(prophet_folder / "prophet.stan", data)
    with pytest.raises(SamplerError, match="Initialization"):
        nuts(model, exe=exe, seed=1, **SHORT)


@pytest.mark.cmdstan
def test_files_that_are_no_executable(prophet: Model, exe: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such CmdStan executable"):
        nuts(prophet, exe=tmp_path / "nothing")
    text = tmp_path / "text"
    text.write_text("no program")
    with pytest.raises(UsageError, match="is not executable"):
        nuts(prophet, exe=text)
    with pytest.raises(UsageError, match="does not run as a CmdStan executable: asked for"):
        nuts(prophet, exe="/bin/true")
    with pytest.raises(UsageError, match="runs no executable"):
        nuts(prophet, exe=exe, engine="stanli")


INFO = "echo stan_version_major = 2; echo stan_version_minor = 35; echo STAN_THREADS = false"


@pytest.mark.skipif(os.name == "nt", reason="needs sh")
@pytest.mark.parametrize(
    ("script", "error", "told"),
    [
        ("sleep 100", UsageError, "executable: asked .* it does not answer within 1 s"),
        ("exec yes", UsageError, "does not run as a CmdStan executable: y"),
        ("echo a library is missing >&2; exit 1", UsageError, "executable: a library is missing"),
        (INFO, SamplerError, "failed: it wrote no draws"),
    ],
)
def test_programs_that_are_none_of_cmdstan(
    script: str, error: type[Exception], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stanrovi.stan.cmdstan._INFO_SECONDS", 1)
    exe = tmp_path / "program"
    exe.write_text(f"#!/bin/sh\n{script}\n")
    exe.chmod(0o755)
    for run in (partial(nuts, **SHORT), partial(cmdstan_vi, algorithm="pathfinder")):
        with pytest.raises(error, match=told):
            run(Model("eight_schools"), exe=exe, seed=1)


def run_executable(exe: Path, folder: Path, data: Path, *arguments: str) -> Path:
    output = folder / f"{arguments[0]}.csv"
    command = [str(exe), *arguments, "data", f"file={data}", "output", f"file={output}"]
    subprocess.run([*command, "random", "seed=1"], check=True, capture_output=True)
    return output


@pytest.fixture(scope="module")
def csv_folder(
    prophet: Model, exe: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("csv")
    data = folder / "data.json"
    data.write_text(prophet.data_json)
    for chain in (1, 2, 10):
        output = run_executable(
            exe, folder, data, "sample", "num_warmup=200", "num_samples=100", f"id={chain}"
        )
        output.rename(folder / f"out_{chain}.csv")
    return folder, data


@pytest.mark.cmdstan
def test_csv_files_of_an_earlier_run(prophet: Model, csv_folder: tuple[Path, Path]) -> None:
    run = nuts_from_csv(str(csv_folder[0] / "out_*.csv"), prophet)
    assert (run.draws.n_chains, run.draws.n_draws) == (3, 100)
    assert run.seed == 1
    assert not run.includes_warmup
    assert run.n_gradients == run.draws.sample_stats["n_steps"].sum()
    assert "no warm-up" in " ".join(run.warnings)
    lines = (csv_folder[0] / "out_10.csv").read_text().splitlines()
    header = next(line for line in lines if line.startswith("lp__")).split(",")
    rows = [line.split(",") for line in lines if line[:1] in "-0123456789" and line]
    assert run.draws.posterior["k"][2, 0] == float(rows[0][header.index("k")])
    assert run.draws.posterior["delta"][2, 5, 1] == float(rows[5][header.index("delta.2")])


@pytest.mark.cmdstan
@pytest.mark.parametrize("method", ["variational", "optimize", "pathfinder"])
def test_csv_files_of_other_methods(
    prophet: Model, exe: Path, csv_folder: tuple[Path, Path], method: str
) -> None:
    output = run_executable(exe, *csv_folder, method)
    with pytest.raises(DrawsError, match=f"CmdStan's {method}, not from NUTS"):
        nuts_from_csv(output, prophet)


@pytest.mark.cmdstan
def test_csv_files_that_do_not_fit(
    prophet: Model, eight_schools: Model, csv_folder: tuple[Path, Path], tmp_path: Path
) -> None:
    good = csv_folder[0] / "out_1.csv"
    with pytest.raises(DrawsError, match="lacks theta_trans, mu, tau"):
        nuts_from_csv(good, eight_schools)
    with pytest.raises(UsageError, match="no CmdStan CSV file matches"):
        nuts_from_csv(str(tmp_path / "*.csv"), prophet)
    cut = tmp_path / "cut.csv"
    cut.write_text("\n".join(good.read_text().splitlines()[:100]))
    with pytest.raises(DrawsError, match=r"cut\.csv.* cannot be read"):
        nuts_from_csv([cut], prophet)
    plain = tmp_path / "plain.csv"
    plain.write_text("a,b\n1,2\n")
    with pytest.raises(DrawsError, match="header names no method"):
        nuts_from_csv(plain, prophet)


def test_auto_samples_embedded_where_cmdstan_cannot_compile(
    eight_schools: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An install without the sources it needs: found, but of no use."""
    (tmp_path / "bin").mkdir()
    for name in ("stanc", "stansummary", "diagnose", "print"):
        (tmp_path / "bin" / name).touch()
    (tmp_path / "makefile").write_text("CMDSTAN_VERSION := 2.37.0\n")
    monkeypatch.setenv("CMDSTAN", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    run = nuts(eight_schools, seed=1, **SHORT)
    assert run.engine == "stanli"
    assert "CmdStan could not compile eight_schools" in run.warnings[0]
    with pytest.raises(ModelError, match="CmdStan could not compile"):
        nuts(eight_schools, engine="cmdstan", seed=1, **SHORT)


def test_no_cmdstan(eight_schools: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CMDSTAN", raising=False)
    monkeypatch.delenv("CONDA_PREFIX", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert nuts(eight_schools, seed=1, **SHORT).engine == "stanli"
    with pytest.raises(ModelError, match=r"no install is found.*install_cmdstan"):
        nuts(eight_schools, engine="cmdstan", seed=1, **SHORT)


def test_progress_reaches_the_end_of_every_chain(eight_schools: Model) -> None:
    seen: list[tuple[int, int, int]] = []
    nuts(eight_schools, engine="stanli", seed=1, progress=lambda *step: seen.append(step), **SHORT)
    assert {(1, 150, 150), (2, 150, 150)} <= set(seen)
    assert len(seen) > 20


@pytest.mark.cmdstan
def test_progress_of_cmdstan(prophet: Model, exe: Path) -> None:
    seen: list[tuple[int, int, int]] = []
    nuts(
        prophet, exe=exe, seed=1, chains=1, iter_sampling=3000,
        progress=lambda *step: seen.append(step),
    )  # fmt: skip
    assert seen[-1] == (1, 4000, 4000)
    assert any(0 < done < 4000 for _, done, _ in seen)
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)


def test_seed_rules_and_is_recorded(eight_schools: Model) -> None:
    first, again, other = (
        nuts(eight_schools, engine="stanli", seed=seed, **SHORT) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first.draws.posterior["mu"], again.draws.posterior["mu"])
    assert (first.draws.posterior["mu"] != other.draws.posterior["mu"]).any()
    random = nuts(eight_schools, engine="stanli", **SHORT)
    repeat = nuts(eight_schools, engine="stanli", seed=random.seed, **SHORT)
    np.testing.assert_array_equal(random.draws.posterior["mu"], repeat.draws.posterior["mu"])


def test_divergences_are_counted_and_told() -> None:
    run = nuts("eight_schools_centered", engine="stanli", seed=2)
    diverging = run.draws.sample_stats["diverging"]
    assert run.divergences == diverging.sum() > 0
    assert f"{run.divergences} of 4000 iterations diverged" in run.warnings[0]
    assert "--adapt-delta" in run.warnings[0]


def test_saturated_trees_are_told(eight_schools: Model) -> None:
    run = nuts(eight_schools, engine="stanli", seed=1, max_treedepth=1, **SHORT)
    (told,) = (warning for warning in run.warnings if "maximum treedepth 1" in warning)
    assert "--max-treedepth" in told


def test_generated_quantities_that_throw_do_not_take_parameters_along(write: Write) -> None:
    program = """
    parameters { real x; }
    model { print("x is ", x); x ~ normal(0, 1); }
    generated quantities { real z = 2 * x; if (x > 0) reject("no quantity"); }
    """
    run = nuts(Model(write("m.stan", program)), engine="stanli", seed=1, **SHORT)
    x, z = run.draws.posterior["x"], run.draws.posterior["z"]
    assert np.isfinite(x).all()
    np.testing.assert_array_equal(np.isnan(z), x > 0)
    np.testing.assert_array_equal(z[x <= 0], 2 * x[x <= 0])


def test_embedded_engine_is_quiet(write: Write, capfd: pytest.CaptureFixture[str]) -> None:
    program = 'parameters { real x; } model { print("x is ", x); x ~ normal(0, 1); }'
    nuts(Model(write("m.stan", program)), engine="stanli", seed=1, max_treedepth=1, **SHORT)
    output = capfd.readouterr()
    assert output.out == output.err == ""


def test_runs_in_two_threads_give_stdout_back(eight_schools: Model) -> None:
    stdout, first_runs, second_runs = sys.stdout, threading.Event(), threading.Event()

    def first(*_: int) -> None:
        first_runs.set()
        second_runs.wait(0.5)  # in vain: they take turns

    run = partial(nuts, eight_schools, engine="stanli", seed=1, **(SHORT | {"chains": 1}))
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(run, progress=lambda *_: None if first_runs.is_set() else first())
        assert first_runs.wait(10)
        other = pool.submit(run, progress=lambda *_: (second_runs.set(), one.result(5)))
        np.testing.assert_array_equal(
            one.result().draws.posterior["mu"], other.result().draws.posterior["mu"]
        )
    assert sys.stdout is stdout


def test_what_others_print_during_a_run_is_kept(
    eight_schools: Model, capsys: pytest.CaptureFixture[str]
) -> None:
    found: list[bool] = []

    def progress(*_: int) -> None:
        found.append(sys.stdout.isatty())
        print(".", end="")

    nuts(eight_schools, engine="stanli", seed=1, progress=progress, **SHORT)
    assert not any(found)
    assert capsys.readouterr().out == "." * len(found)


def test_a_callback_that_raises_is_not_the_engines_fault(eight_schools: Model) -> None:
    def progress(*_: int) -> None:
        raise RuntimeError("boo")

    with pytest.raises(RuntimeError, match=r"^boo$"):
        nuts(eight_schools, engine="stanli", seed=1, progress=progress, **SHORT)


@pytest.mark.parametrize("stdout", [None, io.StringIO()])
def test_services_have_no_stdout(
    eight_schools: Model, monkeypatch: pytest.MonkeyPatch, stdout: io.StringIO | None
) -> None:
    if stdout is not None:
        stdout.close()
    monkeypatch.setattr(sys, "stdout", stdout)
    assert nuts(eight_schools, engine="stanli", seed=1, **SHORT).draws.n_draws
    assert sys.stdout is stdout


def test_unfinished_lines_pass_when_the_run_ends() -> None:
    stdout = io.StringIO()
    console = _Console(stdout, None)
    other = threading.Thread(target=console.write, args=("half a",))
    other.start()
    other.join()
    console.write("Chain [1] Iteration:  1 / 10 [ 10%]  (Warmup)\n")
    assert stdout.getvalue() == ""
    console.end()
    console.write(" line")
    assert stdout.getvalue() == "half a line"


def test_density_that_never_starts(write: Write) -> None:
    model = Model(write("m.stan", "parameters { real x; } model { x ~ normal(0, -1); }"))
    with pytest.raises(SamplerError, match="chains failed"):
        nuts(model, engine="stanli", seed=1, **SHORT)


def test_random_data_under_another_seed_are_told(write: Write) -> None:
    program = """
    transformed data { real m = normal_rng(0, 1); }
    parameters { real x; }
    model { x ~ normal(m, 1); }
    """
    model = Model(write("m.stan", program), seed=5)
    assert nuts(model, engine="stanli", seed=5, **SHORT).warnings == ()
    assert "give both the same seed" in nuts(model, engine="stanli", seed=6, **SHORT).warnings[0]


def test_same_seed_means_same_random_data(write: Write) -> None:
    program = """
    transformed data { real m = normal_rng(0, 100); }
    parameters { real x; }
    model { x ~ normal(m, 1); }
    """
    model = Model(write("m.stan", program), seed=5)
    run = nuts(model, engine="stanli", seed=5)
    mean = model.log_density_gradient(np.zeros((1, 1)))[1][0, 0]
    assert run.draws.posterior["x"].mean() == pytest.approx(mean, abs=0.2)


def test_a_run_is_told_in_a_line_and_converts(eight_schools: Model) -> None:
    run = nuts(eight_schools, engine="stanli", seed=1, chains=2, iter_sampling=200)
    found = run.check
    assert found.rhat_max == pytest.approx(rhat(_stacked(run)).max())
    assert repr(run) == (
        f"<NutsRun: eight_schools by stanli, 2 x 200 draws, {run.divergences} divergent, R-hat at "
        f"most {found.rhat_max:.3f}, ESS at least {found.ess_min:.0f}, "
        f"{'trusted' if found.trusted else 'NOT trusted'}>"
    )
    np.testing.assert_array_equal(run.to_arviz()["posterior"]["tau"], run.draws.posterior["tau"])


def _stacked(run: NutsRun) -> np.ndarray:
    return np.stack(list(run.draws.scalars().values()), axis=-1)


def test_a_single_draw_has_a_repr(eight_schools: Model) -> None:
    run = nuts(eight_schools, engine="stanli", seed=1, chains=1, iter_sampling=1, iter_warmup=0)
    assert "1 x 1 draws" in repr(run)
    assert "NOT trusted" in repr(run)
    assert "constant" in run.check.reason


def test_no_warmup(eight_schools: Model) -> None:
    run = nuts(eight_schools, engine="stanli", seed=1, chains=1, iter_warmup=0, iter_sampling=20)
    assert run.draws.n_draws == 20
    assert run.includes_warmup


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"chains": 0}, "chains must be a whole number from 1 to 2147483647, not 0"),
        ({"iter_warmup": -1}, "iter_warmup must be a whole number from 0"),
        ({"iter_sampling": 99.5}, "iter_sampling must be a whole number from 1"),
        ({"max_treedepth": 0}, "max_treedepth must be a whole number from 1"),
        ({"adapt_delta": 1.0}, "adapt_delta must lie between 0 and 1"),
        ({"engine": "jags"}, "Unknown NUTS engine 'jags'. Choose from auto, cmdstan, stanli"),
    ],
)
def test_settings_that_make_no_sense_are_refused_before_the_model_is_loaded(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        nuts("no such model", **settings)


INTERRUPTED = """
import sys
from stanrovi.runs.nuts import nuts
from stanrovi.stan.model import Model
model = Model(*sys.argv[1:3])
def progress(chain, done, total):
    print("running", flush=True)
try:
    nuts(model, exe=sys.argv[3] or None, engine=sys.argv[4], chains=4,
         iter_sampling=20_000, adapt_delta=0.9999, seed=1, progress=progress)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of a Unix terminal")
@pytest.mark.parametrize("engine", ["stanli", pytest.param("cmdstan", marks=pytest.mark.cmdstan)])
def test_interrupt_ends_the_run(
    engine: str, prophet_folder: Path, prophet: Model, exe: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data.json"
    data.write_text(prophet.data_json)
    arguments = [prophet_folder / "prophet.stan", data, exe if engine == "cmdstan" else "", engine]
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "running\n"
        chains = processes_naming(str(tmp_path / "stanrovi-work-"))
        assert bool(chains) == (engine == "cmdstan")
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=20)
    finally:
        process.kill()
    assert output.splitlines()[-1] == "interrupted"
    assert process.returncode == 0
    assert time.monotonic() - start < 10
    assert list(tmp_path.glob("stanrovi-*")) == []
    assert list(processes_naming(str(tmp_path / "stanrovi-work-"))) == []
