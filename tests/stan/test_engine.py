"""Engines and batches: the same numbers as the client, whatever the threads."""

from __future__ import annotations

import json
import logging
import multiprocessing
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import stanli

from stanrovi.errors import DataError, ModelError, UsageError
from stanrovi.stan import engine
from stanrovi.stan.batch import BatchEvaluator
from stanrovi.stan.engine import bridgestan_folder, construct
from stanrovi.stan.model import Model
from stanrovi.stan.program import Program, read_program

Write = Callable[[str, str], Path]

REJECTS = """
parameters { real x; real<lower=0> s; }
model {
  x ~ normal(0, s);
  s ~ exponential(1);
  if (x > 1) reject("x is too large: ", x);
}
"""
UNSUPPORTED = (
    "parameters { tuple(real, real) p; } model { p.1 ~ normal(0, 1); p.2 ~ normal(0, 1); }"
)


@pytest.fixture(scope="module")
def garch() -> Model:
    return Model("garch", engine="stanli")


def points(model: Model, n: int) -> np.ndarray:
    return np.random.default_rng(3).uniform(-1, 1, (n, model.dim))


def test_batch_equals_the_client(garch: Model) -> None:
    x = points(garch, 50)
    log_density, gradient = garch.log_density_gradient(x)
    for i, row in enumerate(x):
        value, slope = garch._evaluator._client.log_density_gradient(row)
        assert log_density[i] == value
        np.testing.assert_array_equal(gradient[i], slope)


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_threads_do_not_change_a_bit(garch: Model, threads: int) -> None:
    evaluator = BatchEvaluator(garch._evaluator._client, max_threads=threads)
    x = points(garch, 101)
    alone = evaluator.evaluate(x, threads=1)
    spread = evaluator.evaluate(x, threads=threads)
    np.testing.assert_array_equal(alone[0], spread[0])
    np.testing.assert_array_equal(alone[1], spread[1])


def test_threads_only_where_they_pay(garch: Model) -> None:
    evaluator = BatchEvaluator(garch._evaluator._client, max_threads=4)
    assert evaluator.threads(1000) == 1  # nothing measured yet
    evaluator.seconds_per_gradient = 1e-6
    assert evaluator.threads(1000) == 1
    evaluator.seconds_per_gradient = 20e-6
    assert evaluator.threads(2) == 1
    assert evaluator.threads(1000) == 4
    evaluator.seconds_per_gradient = 5e-6
    assert evaluator.threads(1000) == 3  # what the interpreter lock leaves room for


def test_a_gradient_is_measured(garch: Model) -> None:
    evaluator = BatchEvaluator(garch._evaluator._client)
    evaluator.evaluate(points(garch, 50))
    assert evaluator.seconds_per_gradient is None  # one batch may have been a cold start
    evaluator.evaluate(points(garch, 50))
    assert evaluator.seconds_per_gradient is not None
    assert 0 < evaluator.seconds_per_gradient < 0.01


def _evaluate_in_fork(model: Model, x: np.ndarray) -> None:
    model._evaluator.evaluate(x, threads=2)


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux only")
@pytest.mark.filterwarnings("ignore:This process.*multi-threaded:DeprecationWarning")
def test_a_fork_does_not_wait_for_threads_it_lacks(garch: Model) -> None:
    model = Model("garch", engine="stanli")
    model._evaluator = BatchEvaluator(model._evaluator._client, max_threads=2)
    x = points(model, 20)
    model._evaluator.evaluate(x, threads=2)
    child = multiprocessing.get_context("fork").Process(target=_evaluate_in_fork, args=(model, x))
    child.start()
    child.join(20)
    if child.is_alive():
        child.kill()
    assert child.exitcode == 0


def test_rejected_points_have_no_gradient_and_a_reason(write: Write) -> None:
    model = Model(write("rejects.stan", REJECTS))
    x = np.array([[0.5, 0.0], [1.5, 0.0], [0.2, 0.3]])
    log_density, gradient = model.log_density_gradient(x)
    assert np.isfinite(log_density[[0, 2]]).all()
    assert log_density[1] == -np.inf
    np.testing.assert_array_equal(gradient[1], 0.0)
    assert model.last_rejection is not None
    assert "x is too large: 1.5" in model.last_rejection


def test_nan_counts_as_rejection(eight_schools: Model) -> None:
    x = np.zeros((3, eight_schools.dim))
    x[1] = np.nan
    log_density, gradient = eight_schools.log_density_gradient(x)
    assert log_density[1] == -np.inf
    assert np.isfinite(gradient).all()


def test_wrong_width_is_refused(eight_schools: Model) -> None:
    with pytest.raises(UsageError, match=r"shape \(n, 10\), .* not \(2, 3\)"):
        eight_schools.log_density_gradient(np.zeros((2, 3)))


def test_print_statements_go_to_the_log(
    write: Write, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    program = """
    transformed data { print("data ", 1); }
    parameters { real x; }
    model { print("x = ", x); x ~ normal(0, 1); }
    """
    with caplog.at_level(logging.DEBUG, "stanrovi.stan.print"):
        model = Model(write("prints.stan", program))
        model.log_density_gradient(np.array([[0.5]]))
    output = capfd.readouterr()
    assert output.out == output.err == ""
    assert [record.getMessage() for record in caplog.records] == ["data 1", "x = 0.5"]


def test_syntax_error_shows_stancs_own_message(write: Write) -> None:
    path = write("broken.stan", "parameters { real x; }\nmodel { x ~ normal(0, 1) }\n")
    with pytest.raises(ModelError) as caught:
        Model(path)
    message = str(caught.value)
    assert "Syntax error in 'broken.stan', line 2, column 25" in message
    assert "model { x ~ normal(0, 1) }\n" in message
    assert "^" in message


def test_error_in_an_include_names_that_file(write: Write) -> None:
    write("part.stan", "parameters { real x; }\nmodel { x ~ normal(y, 1); }\n")
    path = write("whole.stan", "#include part.stan\n")
    with pytest.raises(ModelError, match=r"part\.stan.*line 2"):
        Model(path)


def test_includes_are_part_of_the_hash(write: Write, tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    part = tmp_path / "parts" / "prior.stan"
    path = write("m.stan", "parameters { real x; }\nmodel {\n  #include prior.stan\n}\n")
    codes = []
    for scale in (1, 2):
        part.write_text(f"x ~ normal(0, {scale});")
        codes.append(read_program(path, (str(part.parent),)).code)
        log_density, _ = Model(path, include_paths=[part.parent]).log_density_gradient([[2.0]])
        assert log_density[0] == pytest.approx(-0.5 * (2 / scale) ** 2)
    assert codes[0] != codes[1]


def test_missing_include_is_reported(write: Write) -> None:
    path = write("m.stan", "#include nowhere.stan\nparameters { real x; }\n")
    with pytest.raises(ModelError, match=r"nowhere\.stan"):
        Model(path)


def test_blocks_can_be_dropped() -> None:
    program = Program("p", "data { int N; } // model { }\nmodel { { real y; } }\nparameters {}")
    assert program.block("model").split() == ["{", "real", "y;", "}"]
    left = " ".join(program.without("model").code.split())
    assert left == "data { int N; } // model { } parameters {}"


@pytest.mark.skipif(bridgestan_folder() is not None, reason="BridgeStan could compile it")
def test_unsupported_feature_names_the_remedies(write: Write) -> None:
    path = write("tuples.stan", UNSUPPORTED)
    with pytest.raises(ModelError, match=r"STuple.*BRIDGESTAN.*library as the model"):
        Model(path)
    with pytest.raises(ModelError, match="BridgeStan was asked for"):
        Model("eight_schools", engine="bridgestan")


@pytest.mark.compiled
@pytest.mark.slow
@pytest.mark.skipif(bridgestan_folder() is None, reason="no BridgeStan sources or tools to build")
def test_both_engines_give_the_same_gradients() -> None:
    embedded = Model("eight_schools", engine="stanli")
    compiled = Model("eight_schools", engine="bridgestan")
    x = points(embedded, 20)
    for ours, theirs in zip(
        embedded.log_density_gradient(x), compiled.log_density_gradient(x), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


@pytest.mark.compiled
@pytest.mark.slow
@pytest.mark.skipif(bridgestan_folder() is None, reason="no BridgeStan sources or tools to build")
def test_auto_compiles_what_the_embedded_engine_lacks(write: Write) -> None:
    model = Model(write("tuples.stan", UNSUPPORTED))
    assert model.engine == "bridgestan"
    assert model.parameters == ("p:1", "p:2")
    np.testing.assert_allclose(model.log_density_gradient([[1.0, 2.0]])[0], -2.5)


def test_library_as_model(tmp_path: Path) -> None:
    """The embedded engine's own library is a BridgeStan library, given a manifest as data."""
    code = "parameters { real x; } model { x ~ normal(3, 1); }"
    manifest = {"build_id": stanli.build_id(), "mir": stanli.stan_to_mir(code), "name": "given"}
    client = stanli.bridgestan_model(stan_code=code)
    model = Model(client.lib_path, json.dumps({"__stanli": manifest}))
    assert model.engine == "bridgestan"
    assert model.name == "given"
    np.testing.assert_allclose(model.log_density_gradient([[1.0]])[1], 2.0)


def test_loading_that_takes_long_says_what_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(engine, "_LONG", 0.05)
    construct(lambda: time.sleep(0.5))
    assert "still being loaded with its data" in caplog.text


def test_library_that_rejects_its_data(tmp_path: Path) -> None:
    client = stanli.bridgestan_model(stan_code="")
    with pytest.raises(DataError, match="rejected the data"):
        Model(client.lib_path, '{"__stanli": 1}')


def test_library_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such library"):
        Model(tmp_path / "nothing.so")
    (tmp_path / "text.so").write_text("not a library")
    with pytest.raises(ModelError, match="cannot be loaded"):
        Model(tmp_path / "text.so")
    with pytest.raises(UsageError, match=r"needs the \.stan file"):
        Model(tmp_path / "text.so", engine="stanli")


def test_library_of_an_older_bridgestan(tmp_path: Path) -> None:
    """A library without the function that 2.9 introduced loads no further than its absence."""
    names = [
        "set_print_callback", "free_error_msg", "name", "model_info", "param_num", "param_unc_num",
        "param_names", "param_unc_names", "param_constrain", "param_unconstrain",
        "param_unconstrain_json", "model_destruct",
    ]  # fmt: skip
    source = "".join(f"void* bs_{name}(void) {{ return 0; }}\n" for name in names)
    source += "void* bs_model_construct(void) { static char model[8]; return model; }\n"
    source += "int bs_major_version = 2, bs_minor_version = 8, bs_patch_version = 0;\n"
    (tmp_path / "old.c").write_text(source)
    library = tmp_path / "old.so"
    try:
        subprocess.run(["cc", "-shared", "-fPIC", tmp_path / "old.c", "-o", library], check=True)
    except FileNotFoundError:
        pytest.skip("no C compiler to build the library with")
    with pytest.raises(ModelError, match=r"2\.8 or older.*Rebuild"):
        Model(library)


def test_unknown_engine_suggests_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"'stanly'\. Did you mean 'stanli'"):
        Model("eight_schools", engine="stanly")  # type: ignore[arg-type]


def test_importing_the_stan_layer_stays_light() -> None:
    code = (
        "import sys, stanrovi.stan; "
        "heavy = {'cmdstanpy', 'arviz', 'pandas', 'stanli', 'matplotlib'} & set(sys.modules); "
        "sys.exit(', '.join(heavy) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
