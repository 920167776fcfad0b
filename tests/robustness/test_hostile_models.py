"""Programs that misbehave: each fits, or ends with a specific error or status.

All run in one process of their own, so that a crash of the interpreter is told from a
failure; what became of each is then looked up.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

NORMAL = "x ~ std_normal();"


def real(model: str, bounds: str = "", more: str = "") -> str:
    """Wrap a model block on one real parameter x."""
    return f"parameters {{ real{bounds} x; }} model {{ {model} }} {more}"


# Programs with a posterior that can be had. Where mean and sd of the first parameter are
# known in closed form they are given as (mean, sd).
FIT: dict[str, tuple[str, tuple[float, float] | None]] = {
    "nan_gradient_at_a_point": (real(NORMAL + "target += sqrt(x - x);"), (0, 1)),
    "rejects_nearly_everywhere": (
        real('x ~ normal(1.9, 0.01); if (x < 1.85) reject("too small: ", x);'), (1.9, 0.01),
    ),
    "domain_error_in_half_the_space": (real(NORMAL + "1 ~ normal(0, x);"), None),
    "a_million_prints": (real(NORMAL + 'for (i in 1:2000) print("x is ", x);'), (0, 1)),
    "truncated_to_a_sliver": (
        real("x ~ normal(5, 1);", "<lower=0, upper=1e-3>"), (5.004e-4, 2.887e-4),
    ),
    "truncated_tail": (real("x ~ normal(0, 1) T[5,];", "<lower=5>"), (5.1865, 0.1794)),
    "scale_1e-12": (real("x ~ normal(0, 1e-12);"), (0, 1e-12)),
    "scale_1e30": (real("x ~ normal(0, 1e30);"), (0, 1e30)),
    "scale_1e150": (real("x ~ normal(0, 1e150);"), (0, 1e150)),
    "scales_1e-6_and_1e6": (
        "parameters { real x; real y; } model { x ~ normal(0, 1e-6); y ~ normal(0, 1e6); }",
        (0, 1e-6),
    ),
    "far_from_zero": (real("x ~ normal(1e10, 1);"), (1e10, 1)),
    "offset_of_1e200": (
        real("x ~ normal(1e200, 1e190);", "<offset=1e200, multiplier=1e190>"), None,
    ),
    "zero_sizes": (
        "data { int N; } parameters { real x; vector[N] z; matrix[N, 3] Z; }"
        f"model {{ {NORMAL} }} generated quantities {{ vector[N] g; }}",
        (0, 1),
    ),
    "simplex": ("parameters { simplex[4] p; } model { p ~ dirichlet(rep_vector(2, 4)); }", None),
    "simplex_of_one": (f"parameters {{ real x; simplex[1] p; }} model {{ {NORMAL} }}", (0, 1)),
    "sparse_simplex": (
        "parameters { simplex[4] p; } model { p ~ dirichlet(rep_vector(0.01, 4)); }", None,
    ),
    "cholesky_factors": (
        "parameters { cholesky_factor_corr[4] L; cholesky_factor_cov[3] C; }"
        "model { L ~ lkj_corr_cholesky(2); to_vector(C) ~ std_normal(); }",
        None,
    ),
    "correlation_and_covariance": (
        "parameters { corr_matrix[3] R; cov_matrix[3] S; }"
        "model { R ~ lkj_corr(2); S ~ wishart(6, identity_matrix(3)); }",
        None,
    ),
    "ordered_and_directions": (
        "parameters { ordered[3] o; positive_ordered[3] p; unit_vector[3] u; }"
        "model { o ~ std_normal(); p ~ std_normal(); }",
        None,
    ),
    "sum_to_zero": ("parameters { sum_to_zero_vector[3] s; } model { s ~ std_normal(); }", None),
    "integer_overflow": (real("int k = 2147483647; k += 1; x ~ normal(k, 1);"), None),
    "quantities_throw": (
        real(NORMAL, more='generated quantities { real y = x; if (x > 0.5) reject("gq"); }'),
        (0, 1),
    ),
    "quantities_always_throw": (
        real(NORMAL, more="generated quantities { real y = normal_rng(0, -1); }"), (0, 1),
    ),
    "quantities_are_nan": (
        real(NORMAL, more="generated quantities { real y; real z = log(-1.0); }"), (0, 1),
    ),
    "quantities_divide_by_zero": (
        "data { int N; } "
        + real(NORMAL, more="generated quantities { real y = x / N; real z = 0.0 / N; }"),
        (0, 1),
    ),
    "quantities_out_of_range": (
        real(NORMAL, more="generated quantities { array[2] int a = {1, 2}; int k = a[3]; }"),
        (0, 1),
    ),
    "letters_of_the_world": ("// ünïcödé 😀\n" + real(NORMAL + 'print("ünïcödé 😀");'), (0, 1)),
}  # fmt: skip

# Programs whose posterior no family holds, or that have none: fitted, but never called "ok".
DOUBT = {
    "nan_in_part": real(NORMAL + "if (x > 1) target += not_a_number();"),
    "infinity_in_part": real(NORMAL + "if (x > 1) target += positive_infinity();"),
    "zero_density_in_part": real(NORMAL + "if (x > 1) target += negative_infinity();"),
    "rejects_in_part": real(NORMAL + 'if (x > 0.5) reject("too large: ", x);'),
    "transformed_parameters_throw": (
        "parameters { real x; } transformed parameters { real y = x; "
        f'if (x > 0.5) reject("tp"); }} model {{ {NORMAL} }}'
    ),
    "wall": real(NORMAL + "if (x < 1.5) target += negative_infinity();"),
    "uniform_without_bounds": real("x ~ uniform(0, 1);"),
    "jump": real(NORMAL + "target += x > 0.3 ? 2 : 0;"),
    "staircase": real(NORMAL + "target += floor(3 * x);"),
    "pole": real("target += -log(abs(x));"),
    "flat_direction": f"parameters {{ real x; real y; }} model {{ {NORMAL} }}",
    "flat_everywhere": "parameters { vector[3] x; } model { }",
    "only_the_sum_is_known": "parameters { real a; real b; } model { 1.0 ~ normal(a + b, 1); }",
    "unbounded": real("target += x;"),
    "unbounded_exponentially": real("target += exp(x);"),
    "scale_1e300": real("x ~ normal(0, 1e300);"),
    "cauchy": "parameters { vector[3] x; } model { x ~ cauchy(0, 1); }",
    "funnel": (
        "parameters { real v; vector[9] x; } model { v ~ normal(0, 3); x ~ normal(0, exp(v/2)); }"
    ),
}

# Programs that cannot be fitted: class and words of the error.
FAIL = {
    "nan_everywhere": (real(NORMAL + "target += x * not_a_number();"), "DensityError", "finite"),
    "rejects_everywhere": (real(NORMAL + 'reject("never");'), "DensityError", "message: never"),
    "transformed_parameters_always_throw": (
        "parameters { real x; } transformed parameters { real<lower=10> y = x; }"
        f"model {{ {NORMAL} }}",
        "DensityError", "must be greater than or equal to 10",
    ),
    "solver_gives_up": (
        "functions { vector f(real t, vector y) { return -1e6 * y .* y + [1e6]'; } }"
        "parameters { real<lower=0> k; } model { k ~ normal(0, 1); array[1] vector[1] z = "
        "ode_rk45_tol(f, [k]', 0.0, {1.0}, 1e-6, 1e-6, 20); target += -z[1][1]; }",
        "DensityError", "ode_rk45_tol: *Failed to integrate",
    ),
    "scale_1e-30": (real("x ~ normal(0, 1e-30);"), "DensityError", "offset and multiplier"),
    "scale_1e-300": (real("x ~ normal(0, 1e-300);"), "DensityError", "offset and multiplier"),
    "bounds_that_meet": (real(NORMAL, "<lower=1, upper=1>"), "DensityError", "constraints"),
    "bounds_that_cross": (real(NORMAL, "<lower=2, upper=1>"), "DensityError", "constraints"),
    "bound_that_is_nan": (
        "transformed data { real l = not_a_number(); } parameters { real<lower=l> x; real y; }"
        "model { y ~ std_normal(); }",
        "DensityError", "values of x .* are NaN or infinite: .* a bound of x is NaN",
    ),
    "flat_and_positive": (
        real("", "<lower=0>"), "DensityError", "values of x .* improper .* proper prior",
    ),
    "location_beyond_precision": (
        real("x ~ normal(1e17, 1);"),
        "DensityError",
        r"x is .* wide at 1\.0e\+17 .* numbers are 1\.6e\+01 apart; .* offset",
    ),
    "division_by_zero_in_data": (
        "data { int N; } parameters { real x; } model { int j = 1 %/% N; x ~ normal(j, 1); }",
        "DataError", "division by zero",
    ),
    "index_beyond_the_data": (
        "data { int N; } parameters { real x; }"
        "model { array[2] real a = {1.0, 2.0}; x ~ normal(a[N], 1); }",
        "ModelError", "index 0 out of bounds for size 2",
    ),
    "quantities_only": (
        "generated quantities { real y = normal_rng(0, 1); }", "ModelError", "no parameters",
    ),
    "endless_recursion": (
        "functions { real f(real x); real f(real x) { return f(x + 1) + 1; } }"
        "parameters { real x; } model { target += f(x); }",
        "ModelError", "recursion too deep",
    ),
    # What the embedded engine does not know it says, with the way out.
    "tuples": (
        "parameters { tuple(real, vector[2]) t; } model { t.1 ~ std_normal(); }",
        "ModelError", "cannot run tuples .*BridgeStan",
    ),
    "complex_numbers": (
        "parameters { complex z; } model { get_real(z) ~ std_normal(); }",
        "ModelError", "cannot run complex_numbers .*BridgeStan",
    ),
    "fatal_error": (
        real(NORMAL + 'fatal_error("over");'), "ModelError", "cannot run fatal_error .*BridgeStan",
    ),
    "to_int": (
        "transformed data { int k = to_int(2.7); }" + real(NORMAL), "ModelError",
        "cannot run to_int .*BridgeStan",
    ),
    # And of what no engine can do, what is wrong.
    "outside": (
        "parameters { vector[3] v; } model { v ~ std_normal(); target += sum(v[2:5]); }",
        "ModelError", r"range \[2, 5\] out of bounds.*Correct it in the program",
    ),
}  # fmt: skip

PROGRAMS = {name: program for name, (program, _) in FIT.items()}
PROGRAMS |= DOUBT | {name: program for name, (program, _, _) in FAIL.items()}

WORKER = """
import json, logging, pathlib, sys, time
import numpy as np
import stanrovi as sr
from stanrovi.errors import StanroviError

folder = pathlib.Path(sys.argv[1])
said = []
class Keep(logging.Handler):
    def emit(self, record):
        said.append(record.getMessage())
logging.getLogger("stanrovi").addHandler(Keep(logging.WARNING))

def attempt(work):
    said.clear()
    start = time.perf_counter()
    try:
        made = work()
    except StanroviError as error:
        found = {"error": type(error).__name__, "message": str(error)}
    else:
        run = made.result if isinstance(made, sr.Fit) else made
        posterior = made.draws.posterior
        first = posterior[made.draws.parameters[0]]
        with np.errstate(all="ignore"):
            moments = float(first.mean()), float(first.std())
        found = {
            "moments": moments,
            "not_finite": [n for n, x in posterior.items() if not np.isfinite(x).all()],
            "parameters": made.draws.parameters,
            "warnings": [*run.warnings, *said],
            "status": getattr(run, "status", ""),
            "verdict": run.verdict.name if isinstance(made, sr.Fit) else "",
        }
    return found | {"seconds": time.perf_counter() - start}

for path in sorted(folder.glob("*.stan")):
    said.clear()
    try:
        model = sr.Model(path, {"N": 0})
    except StanroviError as error:
        found = {"error": type(error).__name__, "message": str(error)}
        outcomes = {"auto": found, "rovi": found, "mixture": found, "nuts": found}
    else:
        told = list(said)
        settings = {"chains": 2, "iter_warmup": 100, "iter_sampling": 100, "engine": "stanli"}
        outcomes = {
            "auto": attempt(lambda: sr.fit(model, seed=1)),
            "rovi": attempt(lambda: sr.fit(model, method="rovi", seed=1)),
            "mixture": attempt(lambda: sr.fit(model, method="mixture", seed=1)),
            "nuts": attempt(lambda: sr.nuts(model, seed=1, **settings)),
        }
        outcomes["rovi"].setdefault("warnings", []).extend(told)
    print(json.dumps([path.stem, outcomes]), flush=True)
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What became of each program, by method; the process that ran them has ended well."""
    folder = tmp_path_factory.mktemp("hostile programs")
    for name, program in PROGRAMS.items():
        Path(folder, f"{name}.stan").write_text(program, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "faulthandler", "-c", WORKER, str(folder)],
        capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    told = dict(json.loads(line) for line in done.stdout.splitlines())
    crashed = f"after {', '.join(told)}: exit code {done.returncode}\n{done.stderr}"
    assert done.returncode == 0, crashed
    assert done.stderr == ""  # no print of a program, no warning of numpy
    return told


def test_every_program_was_tried(outcomes: dict[str, Any]) -> None:
    assert outcomes.keys() == PROGRAMS.keys()


@pytest.mark.parametrize("name", PROGRAMS)
def test_no_parameter_is_nan_and_nothing_takes_long(outcomes: dict[str, Any], name: str) -> None:
    for outcome in outcomes[name].values():
        assert not set(outcome.get("parameters", ())) & set(outcome.get("not_finite", ()))
        assert outcome.get("seconds", 0) < 60  # a second or two where nothing else runs


@pytest.mark.parametrize("name", FIT)
def test_odd_but_proper_programs_are_fitted(outcomes: dict[str, Any], name: str) -> None:
    outcome = outcomes[name]["rovi"]
    assert "error" not in outcome, outcome
    assert outcome["status"] in ("converged", "fallback", "max_iterations")
    if FIT[name][1] is not None:
        mean, sd = FIT[name][1]
        found_mean, found_sd = outcome["moments"]
        assert outcome["verdict"] == "ok"
        assert found_mean == pytest.approx(mean, abs=0.05 * sd)
        assert found_sd == pytest.approx(sd, rel=0.05)


@pytest.mark.parametrize("name", DOUBT)
def test_what_cannot_be_fitted_well_is_not_called_ok(outcomes: dict[str, Any], name: str) -> None:
    for method in ("rovi", "mixture"):
        outcome = outcomes[name][method]
        assert outcome.get("verdict", "error") != "ok", outcome


@pytest.mark.parametrize(
    "name", ["flat_direction", "flat_everywhere", "only_the_sum_is_known", "unbounded"]
)
def test_improper_posteriors_are_called_so(outcomes: dict[str, Any], name: str) -> None:
    warnings = " ".join(outcomes[name]["rovi"]["warnings"])
    assert "No proper mode" in warnings
    assert "may be improper" in warnings


@pytest.mark.parametrize("name", FAIL)
def test_what_cannot_be_fitted_at_all_says_why(outcomes: dict[str, Any], name: str) -> None:
    _, error, words = FAIL[name]
    outcome = outcomes[name]["rovi"]
    assert outcome.get("error") == error, outcome
    assert re.search(words, outcome["message"], re.S), outcome["message"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("rejects_everywhere", "never"),
        ("flat_everywhere", "improper"),
        ("scale_1e30", "improper"),  # Stan's own limit: its first step beyond 1e7
        ("bound_that_is_nan", "NaN"),
    ],
)
def test_nuts_says_why_it_fails(outcomes: dict[str, Any], name: str, words: str) -> None:
    assert outcomes[name]["nuts"]["error"] == "SamplerError"
    assert words in outcomes[name]["nuts"]["message"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("quantities_throw", "failed in .* draws and are NaN there; the last reason: gq"),
        ("quantities_always_throw", "failed in 4000 of 4000 draws .* normal_rng"),
        ("quantities_are_nan", "draws of y, z hold NaN, as computed"),
        ("quantities_divide_by_zero", "z hold NaN and y hold infinite values, .* divide by zero"),
        ("quantities_out_of_range", r"generated quantities \(a, k\) that the engine cannot"),
    ],
)
def test_quantities_are_never_nan_or_missing_silently(
    outcomes: dict[str, Any], name: str, words: str
) -> None:
    assert re.search(words, " ".join(outcomes[name]["rovi"]["warnings"]), re.S)
