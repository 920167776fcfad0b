"""Models: variables, shapes, both directions of the transform, rebuilding."""

from __future__ import annotations

import logging
import pickle
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stanrovi.errors import DataError, DensityError, ModelError, UsageError
from stanrovi.stan.check import check_model
from stanrovi.stan.engine import bridgestan_folder
from stanrovi.stan.model import Model
from stanrovi.stan.program import Program

Write = Callable[[str, str], Path]

SHAPES = """
data { int<lower=0> N; }
parameters {
  matrix[2, 3] b;
  array[2, 3] vector[4] q;
  cholesky_factor_corr[3] L;
  real<lower=0> s;
  vector[N] none;
}
transformed parameters { matrix[3, 2] bt = b'; }
model {
  to_vector(b) ~ normal(0, 1);
  for (i in 1:2) for (j in 1:3) q[i, j] ~ normal(0, 1);
  L ~ lkj_corr_cholesky(2);
  s ~ normal(0, 1);
}
generated quantities {
  array[2] matrix[2, 3] g = {b, 2 * b};
  real r = normal_rng(0, 1);
  real corner = q[2, 1][4];
}
"""
THROWS = """
parameters { real x; }
transformed parameters { real y = 2 * x; }
model { x ~ normal(0, 1); }
generated quantities {
  real z = y + 1;
  if (x > 0) reject("no quantity for x = ", x);
}
"""


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Model:
    path = tmp_path_factory.mktemp("shapes") / "shapes.stan"
    path.write_text(SHAPES)
    return Model(path, {"N": 0})


@pytest.fixture(scope="module")
def x(shapes: Model) -> np.ndarray:
    return np.random.default_rng(5).normal(size=(6, shapes.dim))


def test_names(shapes: Model) -> None:
    assert shapes.name == "shapes"
    assert shapes.engine == "stanli"
    assert shapes.dim == 6 + 24 + 3 + 1
    assert shapes.parameters == ("b", "q", "L", "s")
    assert shapes.variables == ("b", "q", "L", "s", "bt", "g", "r", "corner")
    assert len(shapes.unconstrained_names) == shapes.dim
    assert shapes.unconstrained_names[:2] == ("b.1.1", "b.2.1")
    assert shapes.shapes["q"] == (2, 3, 4)


def test_constrained_draws_have_stans_shapes(shapes: Model, x: np.ndarray) -> None:
    draws = shapes.constrain(x, seed=1)
    assert tuple(draws) == shapes.variables
    assert draws["b"].shape == (6, 2, 3)
    assert draws["r"].shape == (6,)
    np.testing.assert_array_equal(draws["b"][:, 1, 0], x[:, 1])  # column-major
    np.testing.assert_array_equal(draws["bt"], draws["b"].transpose(0, 2, 1))
    np.testing.assert_array_equal(draws["g"][:, 1], 2 * draws["b"])
    np.testing.assert_array_equal(draws["corner"], draws["q"][:, 1, 0, 3])
    np.testing.assert_array_equal(draws["L"][:, 0, 1:], 0.0)
    np.testing.assert_allclose(draws["s"], np.exp(x[:, -1]))


def test_seed_rules_generated_quantities(shapes: Model, x: np.ndarray) -> None:
    first, again, other = (shapes.constrain(x, seed=seed)["r"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).all()


def test_unconstrain_inverts_constrain(shapes: Model, x: np.ndarray) -> None:
    draws = shapes.constrain(x, seed=1)
    back = shapes.unconstrain_draws(draws)
    assert back is not None
    np.testing.assert_allclose(back, x, atol=1e-12)
    first = {name: values[0] for name, values in draws.items()}
    np.testing.assert_allclose(shapes.unconstrain(first), x[0], atol=1e-12)


def test_unconstrain_names_what_is_wrong(shapes: Model, x: np.ndarray) -> None:
    good = {name: values[0] for name, values in shapes.constrain(x, seed=1).items()}
    for change, message in (
        ({"b": np.zeros((3, 2))}, r"parameter b has shape \(3, 2\), the program has \(2, 3\)"),
        ({"s": -1.0}, "cannot be used"),
        ({"s": "one"}, "parameter s is not an array of numbers"),
    ):
        with pytest.raises(DataError, match=message):
            shapes.unconstrain(good | change)
    del good["s"]
    with pytest.raises(DataError, match="parameter s is missing"):
        shapes.unconstrain(good)


def test_draws_on_the_edge_cannot_be_unconstrained(shapes: Model, x: np.ndarray) -> None:
    draws = shapes.constrain(x, seed=1)
    draws["s"][2] = 0.0
    assert shapes.unconstrain_draws(draws) is None


def test_generated_quantities_that_throw_are_nan(
    write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    model = Model(write("throws.stan", THROWS))
    with caplog.at_level(logging.WARNING):
        draws = model.constrain(np.array([[-1.0], [0.5], [-2.0]]), seed=0)
    np.testing.assert_array_equal(draws["x"], [-1.0, 0.5, -2.0])
    np.testing.assert_array_equal(draws["y"], [-2.0, 1.0, -4.0])
    np.testing.assert_array_equal(draws["z"], [-1.0, np.nan, -3.0])
    assert "1 of 3 draws" in caplog.text
    assert "no quantity for x = 0.5" in caplog.text


def test_parameters_survive_transformed_parameters_that_throw(write: Write) -> None:
    program = """
    parameters { real<lower=0> x; }
    transformed parameters { real y = x; if (x > 1) reject("too large"); }
    model { x ~ normal(0, 1); }
    """
    draws = Model(write("m.stan", program)).constrain(np.array([[-1.0], [1.0]]), seed=0)
    np.testing.assert_allclose(draws["x"], np.exp([-1.0, 1.0]))
    np.testing.assert_array_equal(np.isnan(draws["y"]), [False, True])


def test_pickled_models_are_rebuilt(shapes: Model, x: np.ndarray) -> None:
    twin = pickle.loads(pickle.dumps(shapes))
    assert repr(twin) == repr(shapes)
    for ours, theirs in zip(
        shapes.log_density_gradient(x), twin.log_density_gradient(x), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_pickled_models_need_no_file(write: Write) -> None:
    part = write("part.stan", "parameters { real x; }")
    whole = write("whole.stan", "#include part.stan\nmodel { x ~ normal(0, 2); }")
    pickled = pickle.dumps(Model(whole))
    whole.unlink()
    part.unlink()
    np.testing.assert_allclose(pickle.loads(pickled).log_density_gradient([[2.0]])[0], -0.5)


def test_seed_rules_transformed_data(write: Write) -> None:
    program = """
    transformed data { real m = normal_rng(0, 1); }
    parameters { real x; }
    model { x ~ normal(m, 1); }
    """
    path = write("m.stan", program)
    first, again, other = (
        Model(path, seed=seed).log_density_gradient([[0.0]])[0][0] for seed in (1, 1, 2)
    )
    assert first == again != other


def test_check_of_a_good_model(eight_schools: Model) -> None:
    check = check_model(eight_schools)
    assert check.gradient_agrees
    assert check.n_rejected == 0
    assert check.last_rejection is None
    assert 0 < check.microseconds_per_gradient < 1000
    assert check.threads >= 1


def test_check_finds_a_wrong_gradient(write: Write) -> None:
    # Stan differentiates the step away: flat on either side, so it must not be at the points.
    program = "parameters { real x; } model { target += -0.5 * x^2 + 0.01 * floor(x * 1e5); }"
    check = check_model(Model(write("steps.stan", program)))
    assert not check.gradient_agrees


def test_check_of_a_density_that_always_throws(write: Write) -> None:
    program = "parameters { real x; } model { x ~ normal(0, -1); }"
    with pytest.raises(DensityError, match="Scale parameter is -1"):
        check_model(Model(write("never.stan", program)))


@pytest.mark.parametrize(
    "program",
    ["", "generated quantities { real x = 1; }", "parameters { vector[0] x; } model {}"],
)
def test_model_without_parameters(write: Write, program: str) -> None:
    with pytest.raises(ModelError, match="nothing_here has no parameters"):
        Model(write("nothing_here.stan", program))


def test_bundled_model_brings_its_data_unless_given() -> None:
    assert Model("eight_schools").dim == 10
    data = {"J": 2, "y": [1.0, 2.0], "sigma": [1.0, 1.0]}
    assert Model("eight_schools", data).dim == 4


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("eight_school", "Did you mean 'eight_schools'"),
        ("nowhere.stan", "no such file: nowhere.stan"),
    ],
)
def test_unknown_programs(program: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Model(program)


def test_program_that_is_a_folder_or_no_text(tmp_path: Path) -> None:
    (tmp_path / "folder.stan").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        Model(tmp_path / "folder.stan")
    (tmp_path / "latin.stan").write_bytes("// caf\xe9".encode("latin-1"))
    with pytest.raises(ModelError, match=r"not UTF-8 text.*0xe9"):
        Model(tmp_path / "latin.stan")
    with pytest.raises(UsageError, match="include path"):
        Model(tmp_path / "latin.stan", include_paths=[tmp_path / "missing"])


RANDOM = """
parameters { real x; }
model { x ~ normal(0, 1); }
generated quantities {
  real y = normal_rng(x, 1);
  if (x > 1.5) reject("far");
}
"""


def test_generated_quantities_do_not_tell_the_number_of_threads(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Model(write("random.stan", RANDOM))
    x = np.random.default_rng(0).normal(size=(3000, 1))
    for name in ("_SECONDS_TO_MEASURE", "_MIN_SECONDS_PER_DRAW"):
        monkeypatch.setattr(f"stanrovi.stan.rows.{name}", 0.0)
    made = []
    for threads in (1, 2, 5):
        model._constrainer._rows._max_threads = threads
        made.append(model.constrain(x, seed=3)["y"])
    assert (np.isnan(made[0]) == (x[:, 0] > 1.5)).all()
    assert len(np.unique(made[0][x[:, 0] <= 1.5])) == (x <= 1.5).sum()
    for other in made[1:]:
        np.testing.assert_array_equal(made[0], other)


def test_constraining_ends_in_time(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model(write("random.stan", RANDOM))
    x = np.random.default_rng(0).normal(size=(1000, 1))
    whole, row = model.constrain(x, seed=3), model._constrainer._rows._constrain_row
    done: list[int] = []

    def slow(*args: Any) -> tuple[str, int]:
        done.append(1)
        time.sleep(0.01)
        return row(*args)

    monkeypatch.setattr(model._constrainer._rows, "_constrain_row", slow)
    began = time.perf_counter()
    some = model.constrain(x, seed=3, until=began + 0.3)
    assert time.perf_counter() - began < 5
    assert 1 <= len(some["y"]) <= len(done) < 1000
    np.testing.assert_array_equal(some["y"], whole["y"][: len(some["y"])])
    assert 0.01 <= model.seconds_per_draw(time.perf_counter() + 60) < 1
    assert model.seconds_per_draw(time.perf_counter()) == np.inf


LOOPS = "real y = 1; while (y > -1) y = 0.5 * y;"
BODY = "parameters { real x; } model { x ~ std_normal(); }"


def run_apart(code: str, program: Path) -> None:
    """Run code on a program in a process of its own, which takes the endless loop with it."""
    header = f"""
        import os, time
        import numpy as np
        from stanrovi.errors import ModelError
        from stanrovi.stan.model import Model
        from stanrovi.waiting import limited
        path = {str(program)!r}
    """
    script = textwrap.dedent(header) + textwrap.dedent(code) + "\nos._exit(0)\n"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()


def test_generated_quantities_that_loop_for_ever_are_given_up(write: Write) -> None:
    run_apart(
        """
        model, x = Model(path), np.ones((10, 1))
        assert model.constrain(x, seed=1, until=time.perf_counter() + 0.05)["y"].shape == (0,)
        assert list(model.constrain_parameters(x)) == ["x"]
        """,
        write("loops.stan", f"{BODY} generated quantities {{ {LOOPS} }}"),
    )


def test_transformed_data_that_loop_for_ever_are_given_up(write: Write) -> None:
    run_apart(
        """
        try:
            with limited(time.perf_counter() + 0.3):
                Model(path)
        except ModelError as error:
            assert "loops for ever" in str(error)
        else:
            raise AssertionError("loaded")
        """,
        write("loops.stan", f"transformed data {{ {LOOPS} }} {BODY}"),
    )


def test_integers_are_found_wherever_the_program_declares_them() -> None:
    program = Program(
        "m",
        """
        generated quantities {
          int a; array[2] int b = {1, 2}; real c = a < 3 ? 1 : 2;
          for (i in 1:2) { int inner = i; if (i > 1) c += inner; else { c = 0; } }
          array[2, 3] int<lower=0> d; vector[2] e; // int comment;
          if (c > 0) { int other; } else { int another; }
          int<lower=0> f = size({1, 2}), g;
          { int local; }
          while (a < 0) a += 1;
          profile("x") { int third; }
          tuple(int, real) t; array[a] int h;
        }
        """,
    )
    assert program.integers == {"a", "b", "d", "f", "g", "h"}
    assert not program.asks_for_nan


@pytest.mark.skipif(bridgestan_folder() is not None, reason="BridgeStan could compile it")
@pytest.mark.parametrize(
    ("generated", "cause"),
    [
        ("real u = b; tuple(real, int) t = (b, 1);", r"\(u, t\).*knows no tuples.*BridgeStan"),
        ("complex z = to_complex(b, 1);", r"\(z\).*no complex numbers"),
        ("vector[1] v = [b]'; real u = v[3];", r"\(v, u\).*index out of range"),
    ],
)
def test_what_the_engine_cannot_compute_takes_nothing_else_away(
    write: Write, caplog: pytest.LogCaptureFixture, generated: str, cause: str
) -> None:
    model = Model(
        write(
            "part.stan",
            "parameters { real b; } transformed parameters { real twice = 2 * b; } "
            f"model {{ b ~ normal(0, 1); }} generated quantities {{ {generated} }}",
        )
    )
    assert re.search(cause, caplog.text)
    assert model.variables == ("b", "twice")
    values = model.constrain(np.array([[1.0], [3.0]]), seed=0)
    np.testing.assert_array_equal(values["twice"], [2.0, 6.0])
    np.testing.assert_allclose(model.log_density_gradient([[1.0]])[0], -0.5)
