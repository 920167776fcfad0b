"""Densities that no family holds, that are improper, jump, or take long."""

from __future__ import annotations

from typing import Any

from hostile.case import Case

FIT = "fit m.stan --draws 200 --seed 1"


def case(
    name: str,
    model: str,
    code: int | tuple[int, ...] = 0,
    says: str = "",
    *,
    parameters: str = "real x;",
    more: str = "",
    command: str = FIT,
    **rest: Any,
) -> Case:
    """Fit a density; whatever is returned must be told."""
    text = f"parameters {{ {parameters} }} model {{ {model} }}"
    return Case(name, f"{command} {more}".strip(), {"m.stan": text}, code, says,
    **rest)  # fmt: skip


def large(name: str, model: str, parameters: str, seconds: int = 3, **rest: Any) -> Case:
    """A density in many dimensions, by a budget."""
    rest = {"code": (0, 1), "says": ".", **rest}
    return case(name, model, parameters=parameters, more=f"--max-seconds {seconds}",
                asks=2.0 * seconds, **rest)  # fmt: skip


EITHER = (0, 1)
PAIR = "vector[2] x;"
DOUBT = "suspect|unreliable|wrong|Error"

IMPROPER = (
    case("flat", "", EITHER, "improper|finite|verdict"),
    case("flat in a hundred dimensions", "", EITHER, "improper|finite",
         parameters="vector[100] x;"),
    case("flat and positive", "", EITHER, "improper|finite", parameters="real<lower=0> x;"),
    case("flat in one direction of two", "x[1] ~ std_normal();", EITHER, "improper",
         parameters=PAIR),
    case("only the sum is known", "1.0 ~ normal(sum(x), 1);", EITHER, "improper", parameters=PAIR),
    case("only the product is known", "1.0 ~ normal(x[1] * x[2], 0.1);", EITHER, ".",
         parameters=PAIR),
    case("unbounded, linear", "target += x;", EITHER, "improper|finite"),
    case("unbounded, square", "target += x * x;", EITHER, "improper|finite|offset"),
    case("unbounded, exponential", "target += exp(x);", EITHER, "improper|finite"),
    case("unbounded at a point", "target += -2 * log(abs(x));", EITHER, DOUBT),
    case("unbounded along a line", "target += -log(abs(x[1] - x[2])); x ~ std_normal();", EITHER,
         DOUBT, parameters=PAIR),
    case("a variance that goes to zero", "x ~ normal(0, s);", EITHER, ".",
         parameters="vector[3] x; real<lower=0> s;"),
    case("a scale without a prior", "1.0 ~ normal(x, s);", EITHER, ".",
         parameters="real x; real<lower=0> s;"),
    case("a scale without a bound", "1.0 ~ normal(0, x); x ~ std_normal();", EITHER, "."),
    case("one over x", "target += -log(x);", EITHER, ".", parameters="real<lower=0> x;"),
    case("improper beta", "target += -log(x) - log1m(x);", EITHER, ".",
         parameters="real<lower=0, upper=1> x;"),
    case("almost flat", "x ~ normal(0, 1e12);", EITHER, "."),
    case("very heavy tails", "target += -1.01 * log1p(abs(x));", EITHER, "."),
)  # fmt: skip

# Near one, so narrow that rounding is all that is seen of it.
NARROW: dict[str, Any] = {"model": "x ~ normal(1, 1e-13);",
                          "parameters": "real<offset=1, multiplier=1e-13> x;"}  # fmt: skip
# The doubles there are 128 apart.
TOO_LARGE = "target += 1e18; x ~ normal(0, 1); y ~ normal(2 * square(x), 0.3);"

ODD = (
    case("a ring", "target += normal_lpdf(sqrt(dot_self(x) + 1e-12) | 10, .5);", EITHER, ".",
         parameters=PAIR),
    case("a ring by rovi", "target += normal_lpdf(sqrt(dot_self(x) + 1e-12) | 10, .5);", EITHER,
         ".",
         parameters=PAIR, more="--method rovi"),
    case("a ring by mixture", "target += normal_lpdf(sqrt(dot_self(x) + 1e-12) | 10, .5);", EITHER,
         ".", parameters=PAIR, more="--method mixture"),
    case("a thin ring", "target += normal_lpdf(sqrt(dot_self(x) + 1e-12) | 3, .01);", EITHER, ".",
         parameters=PAIR),
    case("a wide ring", "target += normal_lpdf(sqrt(dot_self(x) + 1e-12) | 300, .5);", EITHER, ".",
         parameters=PAIR),
    case("a shell in ten dimensions", "target += normal_lpdf(sqrt(dot_self(x) + 1e-12) | 10, .5);",
         EITHER, ".", parameters="vector[10] x;", more="--max-seconds 4", asks=8),
    case("two rings", "target += log_sum_exp(normal_lpdf(sqrt(dot_self(x) + 1e-12) | 3, .1), "
         "normal_lpdf(sqrt(dot_self(x) + 1e-12) | 9, .1));", EITHER, ".", parameters=PAIR),
    case("a banana", "x[1] ~ std_normal(); x[2] ~ normal(10 * square(x[1]), .1);", EITHER, ".",
         parameters=PAIR, more="--max-seconds 4", asks=8),
    case("a funnel", "x[1] ~ normal(0, 3); x[2:10] ~ normal(0, exp(x[1] / 2));", EITHER, DOUBT,
         parameters="vector[10] x;"),
    case("a steep funnel", "x[1] ~ normal(0, 30); x[2:4] ~ normal(0, exp(x[1] / 2));", EITHER,
         DOUBT,
         parameters="vector[4] x;"),
    case("a spike on a plain", "target += log_sum_exp(normal_lpdf(x | 0, 10), normal_lpdf(x | 2, "
         "1e-6));", EITHER, "."),
    case("a needle in five dimensions", "target += log_sum_exp(normal_lpdf(x | 0, 3), 30 + "
         "normal_lpdf(x | 1, 1e-4));", EITHER, ".", parameters="vector[5] x;"),
    case("a plateau with walls", "if (abs(x) > 3) target += negative_infinity();", EITHER, "."),
    case("a plateau", "target += -pow(x / 3, 20);", EITHER, "."),
    case("a uniform cube without bounds", "x ~ uniform(0, 1);", EITHER, DOUBT,
         parameters="vector[3] x;"),
    case("a jump", "x ~ std_normal(); target += x > 0.3 ? 2 : 0;", EITHER, DOUBT),
    case("a large jump", "x ~ std_normal(); target += x > 0 ? 1e6 : 0;", EITHER, DOUBT),
    case("a chessboard",
         "x ~ std_normal(); target += fmod(floor(x[1]) + floor(x[2]), 2) == 0 ? 0 : "
         "-2;", EITHER, DOUBT, parameters=PAIR),
    case("a staircase", "x ~ std_normal(); target += floor(3 * x);", EITHER, DOUBT),
    case("integers alone", "target += -abs(floor(x));", EITHER, DOUBT),
    case("a sawtooth", "x ~ std_normal(); target += x - floor(x);", EITHER, "."),
    case("rounded in forty dimensions", "x ~ std_normal(); for (i in 1:40) target += "
         "normal_lpdf(round(10 * x[i]) / 10 | 1.6, 3);", 0, "suspect.*rounded, or looked up",
         parameters="vector[40] x;"),
    case("lost to a table", "x ~ std_normal(); target += normal_lpdf(trunc(1000 * x[1]) / 1000 | "
         "x[2], 0.3);", EITHER, DOUBT, parameters=PAIR,
         command="fit m.stan --draws 200 --seed 3"),
    case("kinks at equal distances", "x ~ std_normal(); target += abs(fmod(x + 20, 1) - 0.5);",
         0, "verdict"),
    case("a kink", "target += -abs(x);", 0, "."),
    case("a cusp", "target += -sqrt(abs(x));", EITHER, "."),
    case("waves", "x ~ normal(0, 5); target += 5 * cos(6 * x);", EITHER, "."),
    case("fast waves", "x ~ normal(0, 5); target += cos(1e6 * x);", EITHER, ".",
         more="--max-seconds 4", asks=8),
    case("a hundred modes", "x ~ normal(0, 5); target += 8 * sum(cos(4 * x));", EITHER, ".",
         parameters=PAIR, more="--max-seconds 4", asks=8),
    case("two modes far apart", "target += log_sum_exp(normal_lpdf(x | -1e4, 1), normal_lpdf(x | "
         "1e4, 1));", EITHER, "."),
    case("sixteen corners", "target += -10 * sum(square(square(x) - 1));", EITHER, ".",
         parameters="vector[4] x;", more="--max-seconds 4", asks=8),
    case("Cauchy", "x ~ cauchy(0, 1);", EITHER, DOUBT, parameters="vector[3] x;"),
    case("a t of half a degree", "x ~ student_t(0.5, 0, 1);", EITHER, DOUBT),
    case("an inverse gamma", "x ~ inv_gamma(0.5, 0.5);", EITHER, ".",
         parameters="real<lower=0> x;"),
    case("a sparse simplex", "p ~ dirichlet(rep_vector(0.01, 4));", EITHER, ".",
         parameters="simplex[4] p;"),
    case("a sphere", "u ~ normal(0, 1);", EITHER, ".", parameters="unit_vector[3] u;"),
    case("scale 1e-30", "x ~ normal(0, 1e-30);", EITHER, "."),
    case("scale 1e-300", "x ~ normal(0, 1e-300);", EITHER, "."),
    case("scale 1e30", "x ~ normal(0, 1e30);", EITHER, "."),
    case("scale 1e300", "x ~ normal(0, 1e300);", EITHER, "."),
    case("location 1e17", "x ~ normal(1e17, 1);", EITHER, "offset|precision|apart"),
    case("correlation of 1 - 1e-12", "x ~ multi_normal([0, 0]', [[1, 1 - 1e-12], [1 - 1e-12, 1]]);",
         EITHER, ".", parameters=PAIR),
    case("scales 1e-8 beside 1e8", "x ~ normal(0, [1e-8, 1e8]');", EITHER, ".", parameters=PAIR),
    case("of size 1e300", "target += 1e300 - x * x;", EITHER, "."),
    case("of size -1e15", "target += -1e15 - x * x;", EITHER, "."),
    case("of size 1e18", TOO_LARGE, 3, r"128\s+apart", parameters="real x; real y;",
         more="--strict"),
    case("of size 1e18, by sample", TOO_LARGE, 3, r"128\s+apart", parameters="real x; real y;",
         command="sample m.stan --seed 1 --max-gradients 20000 --strict"),
    case("a gradient that is wrong", "x ~ std_normal(); target += floor(1e3 * x) * 1e-3;", EITHER,
         "."),
    case("a gradient of infinity", "x ~ std_normal(); target += -sqrt(abs(x) * 1e-300);", EITHER,
         "."),
    case("scale 1e-13 at one", code=0, says="e-1[34]", **NARROW),
    case("scale 1e-13 at one, by sample", code=3, says=r"near\s+rounding", **NARROW,
         command="sample m.stan --chains 2 --ess 20 --max-seconds 3 --seed 1 --strict", asks=3),
    case("scale 1e-13 at one, by NUTS", code=3, says=r"near\s+rounding", **NARROW,
         command="nuts m.stan --engine stanli --chains 2 --iter-warmup 50 --iter-sampling 50 "
         "--seed 1 --strict --output out.nc", makes=("out.nc",)),
    case("NaN at one point", "x ~ std_normal(); target += sqrt(x - x);", EITHER, "."),
    case("nearly all is rejected", 'x ~ normal(1.9, 0.01); if (x < 1.85) reject("small ", x);',
         EITHER, "reject"),
    case("a sum of a thousand terms that cancel", "x ~ std_normal(); for (i in 1:1000) target += "
         "(i % 2 == 0 ? 1 : -1) * 1e12 * x;", EITHER, "."),
)  # fmt: skip

# By other commands.
OTHERS = (
    case("flat, by NUTS", "", EITHER, "improper|divergen|trust|R-hat|rhat",
         command="nuts m.stan --engine stanli --chains 2 --iter-warmup 50 --iter-sampling 50 "
         "--seed 1"),
    case("a ring, by sample", "target += normal_lpdf(sqrt(dot_self(x) + 1e-12) | 10, .5);", EITHER,
         ".", parameters=PAIR, command="sample m.stan --chains 2 --ess 20 --max-seconds 4 --seed 1",
         asks=8),
    case("unbounded, by sample", "target += x * x;", EITHER, ".",
         command="sample m.stan --chains 2 --ess 20 --max-seconds 3 --seed 1", asks=6),
    case("a staircase, by sample", "x ~ std_normal(); target += floor(3 * x);", EITHER, ".",
         command="sample m.stan --chains 2 --ess 20 --max-seconds 3 --seed 1", asks=6),
    case("a ring, by modes", "target += normal_lpdf(sqrt(dot_self(x) + 1e-12) | 10, .5);", EITHER,
         ".", parameters=PAIR, command="modes m.stan --seed 1"),
    case("flat, by modes", "", EITHER, ".", parameters=PAIR, command="modes m.stan --seed 1"),
    case("unbounded, by modes", "target += exp(x);", EITHER, ".", command="modes m.stan --seed 1"),
    case("a jump, by check", "x ~ std_normal(); target += x > 0.3 ? 2 : 0;", 0, ".",
         command="check m.stan"),
    case("NaN, by check", "target += x * not_a_number();", EITHER, ".", command="check m.stan"),
    case("uniform, by compare", "", says="rovi", parameters="real<lower=0, upper=1> x;",
         command="compare m.stan --methods rovi --draws 1024 --nuts-engine stanli --iter-warmup 99 "
         "--iter-sampling 100 --chains 2 --seed 1 --output out", makes=("out/report.html",)),
    case("a funnel, by mfvi", "x[1] ~ normal(0, 3); x[2:10] ~ normal(0, exp(x[1] / 2));", EITHER,
         DOUBT, parameters="vector[10] x;", more="--method mfvi"),
    case("flat, by structured", "", EITHER, ".", parameters=PAIR, more="--method structured"),
    case("unbounded, by gaussian", "target += x * x;", EITHER, ".", more="--method gaussian"),
    case("waves, resampled", "x ~ normal(0, 5); target += 5 * cos(6 * x);", EITHER, ".",
         more="--resample"),
    case("a ring, relabelled", "target += normal_lpdf(sqrt(dot_self(x) + 1e-12) | 10, .5);", EITHER,
         ".", parameters=PAIR, more="--relabel"),
)  # fmt: skip

LARGE = (
    large("500 parameters", "x ~ std_normal();", "vector[500] x;"),
    large("1,000 Cauchys", "x ~ cauchy(0, 1);", "vector[1000] x;"),
    large("3,000 parameters", "x ~ std_normal();", "vector[3000] x;"),
    large("3,000 correlated", "x[1] ~ std_normal(); x[2:3000] ~ normal(0.99 * x[1:2999], 0.1);",
          "vector[3000] x;"),
    large("1,000 in a funnel", "x[1] ~ normal(0, 3); x[2:1000] ~ normal(0, exp(x[1] / 2));",
          "vector[1000] x;"),
    large("a matrix of 60 by 60", "to_vector(A) ~ normal(0, 1); target += -square(sum(A * A));",
          "matrix[60, 60] A;"),
    large("10,000 parameters", "x ~ std_normal();", "vector[10000] x;"),
    large("a correlation matrix of 40", "R ~ lkj_corr(2);", "corr_matrix[40] R;"),
    large("500, flat", "", "vector[500] x;"),
    large("a gradient of 50 ms",
         "x ~ std_normal(); for (i in 1:400000) target += 1e-12 * sin(x[1] * "
          "i);", "vector[5] x;"),
    large("a gradient of half a second", "x ~ std_normal(); for (i in 1:4000000) target += 1e-12 * "
          "sin(x[1] * i);", "vector[5] x;"),
    large("a gradient of seconds", "x ~ std_normal(); for (i in 1:40000000) target += 1e-12 * "
          "sin(x[1] * i);", "vector[5] x;"),
    large("slow quantities", "x ~ std_normal(); } generated quantities { real y = 0; for (i in "
          "1:4000000) y += sin(x[1] * i);", "vector[5] x;"),
    large("3,000 quantities", "x ~ std_normal(); } generated quantities { vector[3000] y = "
          "rep_vector(x[1], 3000);", "vector[2] x;"),
    large("100,000 quantities", "x ~ std_normal(); } generated quantities { vector[100000] y = "
          "rep_vector(x, 100000);", "real x;", seconds=2),
)  # fmt: skip

CASES = (*IMPROPER, *ODD, *OTHERS, *LARGE)
