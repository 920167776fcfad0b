"""Stan programs that are broken, odd, endless or enormous."""

from __future__ import annotations

from typing import Any

from hostile.case import Case
from hostile.files import Content, Fifo, File, Folder, Link

ENOUGH = {"AS": 4_000_000_000}
FIT = "fit m.stan --draws 100 --seed 1 --output out.nc"
NORMAL = "x ~ std_normal();"


def real(model: str = NORMAL, bounds: str = "", more: str = "") -> str:
    """Wrap a model block on one real parameter x."""
    return f"parameters {{ real{bounds} x; }} model {{ {model} }} {more}"


def case(
    name: str,
    text: Content,
    code: int | tuple[int, ...] = 1,
    says: str = "",
    more: str = "",
    **rest: Any,
) -> Case:
    """Fit a program by the method that is the default."""
    files: dict[str, Content] = {"m.stan": text, **rest.pop("files", {})}
    makes = ("out.nc",) if code == 0 else ()
    return Case(name, f"{FIT} {more}".strip(), files, code, says, makes=makes, **rest)  # fmt: skip


LOOP = "real y = abs(x); while (y > -1) y = 0.5 * y;"
BUDGET = "--max-seconds 2"


def endless(name: str, text: str, code: int = 1, says: str = "seconds", **rest: Any) -> Case:
    """A program that loops for ever, under a budget of two seconds."""
    return case(name, text, code, says, BUDGET, asks=4, **rest)


BROKEN = (
    case("empty", "", says="m.*(empty|no parameters)"),
    case("blank", "  \n\t\n \r\n", says="m.*(empty|no parameters)"),
    case("a comment alone", "// nothing to see\n", says="m.*(empty|no parameters)"),
    case("an open comment", "parameters { real x; } /* model { }", says="m"),
    case("an open string", real('print("abc);'), says="m"),
    case("an open brace", "parameters { real x; ", says="m"),
    case("braces beyond number", real() + "}" * 1000, says="m"),
    case("a missing semicolon", real("x ~ std_normal()"), says="m"),
    case("prose", "This is not a Stan program.\n" * 50, says="m"),
    case("JSON", '{"N": 3}', says="m"),
    case("HTML", "<!DOCTYPE html><html><body>404</body></html>", says="m"),
    case("R code", "x <- rnorm(10)\nprint(mean(x))\n", says="m"),
    case("Python code", "import os\nos.system('echo hi')\n", says="m"),
    case("an ELF header", b"\x7fELF\x02\x01\x01" + bytes(200), says="m.stan"),
    case("random bytes", bytes(range(1, 256)) * 20, says="m.stan"),
    case("zero bytes", bytes(1000), says="m.stan.*zero byte"),
    case("UTF-16", real().encode("utf-16"), says="m.stan.*UTF-8"),
    case("Latin 1", "// caf\xe9\n".encode("latin-1") + real().encode(), (0, 1), "m"),
    case("byte-order mark", b"\xef\xbb\xbf" + real().encode(), 0),
    case("carriage returns alone", real().replace("{", "{\r").encode(), (0, 1), "m"),
    case("old arrays", "data { int N[3]; } " + real(), says="array"),
    case("old arrays of parameters", "parameters { real x[3]; } model { x ~ std_normal(); }",
         says="array"),
    case("old assignment", real("real y; y <- x; y ~ std_normal();"), says="m|assign|<-"),
    case("old comments", "# a comment\n" + real(), says="m|comment|#"),
    case("increment_log_prob", real("increment_log_prob(-x * x);"), says="increment_log_prob"),
    case("old lpdf", real("target += normal_log(x, 0, 1);"), (0, 1), says=".*"),
    case("get_lp", real("x ~ std_normal(); print(get_lp());"), says="get_lp"),
    case("blocks in the wrong order", "model { x ~ std_normal(); } parameters { real x; }",
         says="m"),
    case("a block twice", "parameters { real x; } parameters { real y; } model { }", says="m"),
    case("reserved word as a name", "parameters { real while; } model { }", says="m|while"),
    case("a C++ word as a name", "parameters { real class; } model { class ~ std_normal(); }",
         (0, 1), says="m|class|.*"),
    case("a function's name as a variable",
         "parameters { real exp; } model { exp ~ std_normal(); }",
         (0, 1), says="exp|m"),
    case("the name of a file's dimension", real("while (1) target += 0;", more="generated "
         "quantities { real chain = x; }"), 2, "chain.*dimensions.*rename"),
    case("the name of another's dimension", "parameters { vector[3] x; real x_dim_0; } "
         "model { x ~ std_normal(); x_dim_0 ~ std_normal(); }", 0),
    case("a name that ends in two underscores", "parameters { real x__; } model { }", says="m|x__"),
    case("Unicode in a name", "parameters { real θ; } model { θ ~ std_normal(); }", says="m"),
    case("a name of 10,000 letters", real().replace("x", "x" * 10_000), (0, 1), says="m"),
    case("an undeclared variable", real("x ~ normal(mu, 1);"), says="mu"),
    case("declared twice", "parameters { real x; real x; } model { }", says="x"),
    case("a type error", real("x = \"text\";"), says="m"),
    case("assigns to a parameter", real("x = 3; x ~ std_normal();"), says="m|x"),
    case("an unknown function", real("target += besselly(x);"), says="besselly"),
    case("an unknown distribution", real("x ~ gaussian(0, 1);"), says="gaussian"),
    case("wrong arguments", real("x ~ normal(0);"), says="normal"),
    case("too many arguments", real("x ~ normal(0, 1, 2, 3);"), says="normal"),
    case("a random number in the model", real("x ~ normal(normal_rng(0, 1), 1);"), says="rng|m"),
    case("return at the top", real("return; x ~ std_normal();"), (0, 1), says="m|return|.*"),
    case("break outside a loop", real("break; x ~ std_normal();"), says="m|break"),
    case("no model", "parameters { real x; }", (0, 1), says=".*"),
    case("no parameters", "model { target += 1; }", says="no parameters"),
    case("data alone", "data { int N; }", says="N|no parameters|data"),
    case("quantities alone", "generated quantities { real y = normal_rng(0, 1); }",
         says="no parameters"),
)  # fmt: skip

PLACES = (
    case("there is none", Folder(), 2, "m.stan.*folder"),
    case("a link to nothing", Link("nothing.stan"), 2, "m.stan"),
    case("a link to itself", Link("m.stan"), 2, "m.stan"),
    case("a pipe that nobody writes to", Fifo(), (1, 2), "m"),
    case("a link to /dev/zero", Link("/dev/zero"), (1, 2), "m.stan", limits=ENOUGH),
    case("a link to /dev/null", Link("/dev/null"), (1, 2), "m"),
    case("a link to /dev/full", Link("/dev/full"), (1, 2), "m.stan", limits=ENOUGH),
    case("unreadable", File(real(), 0o000), 2, "m.stan.*ermission", ordinary=True),
    Case("in a closed folder", "fit closed/m.stan", {"closed/m.stan": real(),
         "closed": Folder(0o000)}, 2,
         "closed", ordinary=True),
    Case("in a folder that is listed alone", "fit closed/m.stan", {"closed/m.stan": real(),
         "closed": Folder(0o644)}, 2, "closed/m.stan.*ermission", ordinary=True),
    Case("a missing file", "fit nothere.stan", code=2, says="nothere"),
    Case("a missing folder", "fit no/such/folder/m.stan", code=2, says="no/such/folder"),
    Case("a bare folder", "fit .", code=2, says=r"\."),
    Case("an empty name", "fit ''", code=2, says="path is empty"),
    Case("a name that is an ending", "fit .stan --method gaussian --draws 50", {".stan": real()}),
    Case("a name of blanks", "fit '   '", code=2, says="."),
    Case("the root", "fit /", code=2, says="/"),
    Case("a device", "fit /dev/zero", code=2, says="/dev/zero", limits=ENOUGH),
    Case("standard input", "fit -", code=2, says="-"),
    Case("standard input as a device", "fit /dev/stdin", code=(1, 2), says="stdin"),
    Case("an address", "fit https://example.invalid/m.stan", code=2, says="example.invalid"),
    Case("another ending", "fit m.txt", {"m.txt": real()}, code=2, says="m.txt"),
    Case("a library that is none", "fit m.so", {"m.so": b"\x7fELF" + bytes(100)}, (1, 2), "m.so"),
    Case("a library that is text", "fit m.so", {"m.so": "hello"}, (1, 2), "m.so"),
    Case("a library of something else", "fit libm.so.6.so",
         {"libm.so.6.so": Link("/lib/x86_64-linux-gnu/libm.so.6")}, (1, 2), "libm"),
    case("includes itself", "#include m.stan\n" + real(), says="include"),
    case("includes in a circle", "#include a.stan\n" + real(), says="include",
         files={"a.stan": "#include b.stan\n", "b.stan": "#include a.stan\n"}),
    case("includes nothing that is there", "#include nowhere.stan\n" + real(), says="nowhere"),
    case("includes a folder", "#include inner\n" + real(), says="inner", files={"inner": Folder()}),
    case("includes no name", '#include ""\n' + real(), says="includes.*no file"),
    case("includes a device", "#include /dev/zero\n" + real(), says="include|zero", limits=ENOUGH),
    case("includes a pipe", "#include pipe.stan\n" + real(), says="pipe",
         files={"pipe.stan": Fifo()}),
    case("includes binary", "#include b.stan\n" + real(), says="b.stan|m",
         files={"b.stan": bytes(range(256))}),
    case("an include path that is none", real(), (0, 2), "nowhere", "--include-path nowhere"),
    case("an include path that is a file", real(), (0, 2), "m.stan", "--include-path m.stan"),
)  # fmt: skip

LARGE = (
    case("nested 1,000 deep", real("target += " + "(" * 1000 + "-x * x" + ")" * 1000 + ";"),
         (0, 1), "m"),
    case("nested 200,000 deep",
         real("target += " + "(" * 200_000 + "-x * x" + ")" * 200_000 + ";"), 1, "nest|deep|m"),
    case("signs 100,000 deep", real("target += " + "-" * 100_001 + "x;"), (0, 1), "nest|deep|m"),
    case("braces 50,000 deep", real("{" * 50_000 + "}" * 50_000), (0, 1), "nest|deep|m"),
    case("brackets 100,000 deep", real("target += sum(" + "[" * 100_000 + "x"), 1, "nest|deep|m"),
    case("conditions 3,000 deep", real("if (x > 0) " * 3000 + "target += 1;" + NORMAL),
         (0, 1), "nest|deep|m"),
    case("a sum of 20,000 terms", real("target += " + "+".join(["-x*x"] * 20_000) + ";"), (0, 1),
         "nest|deep|m"),
    case("powers 20,000 deep", real("target += -" + "^".join(["x"] * 20_000) + ";"), (0, 1),
         "nest|deep|m"),
    case("transposed 20,000 times",
         "parameters { vector[2] x; } model { x ~ std_normal(); target += sum(x" + "'" * 20_000 +
         "); }", (0, 1), "nest|deep|m"),
    case("indices 20,000 deep", real("array[1] int i = {1}; target += -x*x*" + "i[" * 20_000 + "1" +
         "]" * 20_000 + ";"), (0, 1), "nest|deep|m"),
    case("ternaries 20,000 deep", real("target += " + "x > 0 ? -x : " * 20_000 + "x;"), (0, 1),
         "nest|deep|m"),
    case("functions 5,000 deep", real("target += -" + "abs(" * 5000 + "x" + ")" * 5000 + ";"),
         (0, 1), "nest|deep|m"),
    case("2,000 lines", real("\n".join(f"real y{i} = x * {i};" for i in range(2000)) + NORMAL), 0),
    case("2 MB of comments", "// " + "a" * 2_000_000 + "\n" + real(), 0),
    case("1 MB of one string", real(f'print("{"a" * 1_000_000}"); {NORMAL}'), (0, 1), "m"),
    case("recursion without end",
         "functions { real f(real x); real f(real x) { return f(x + 1); } }"
         + real("target += f(x);"), 1, "recursion"),
    case("recursion by two without end",
         "functions { real g(real x); real f(real x) { return g(x) + 1; } "
         "real g(real x) { return f(x) + 1; } }" + real("target += f(x);"), 1, "recursion"),
    case("recursion in transformed data",
         "functions { int f(int n); int f(int n) { return f(n + 1) + 1; } }"
         "transformed data { int k = f(1); }" + real(), 1, "recursion|m"),
    case("recursion in generated quantities",
         "functions { real f(real x); real f(real x) { return f(x + 1) + 1; } }"
         + real(more="generated quantities { real y = f(x); }"), (0, 1), "recursion|y"),
)  # fmt: skip

VALUES = (
    case("the smallest integer by -1 in transformed data",
         "transformed data { int a = -2147483647 - 1; int b = -1; int c = a %/% b; }" + real(),
         (0, 1), "m|integer|divi|overflow|signal"),
    case("the smallest integer modulo -1",
         "transformed data { int a = -2147483647 - 1; int b = -1; int c = a % b; }" + real(),
         (0, 1), "m|integer|divi|overflow|signal"),
    case("the smallest integer by -1 in the model",
         real("int a = -2147483647 - 1; int b = -1; x ~ normal(a %/% b, 1);"),
         (0, 1), "m|integer|divi|overflow|signal|improper|finite|precision"),
    case("the smallest integer by -1 in generated quantities",
         real(more="generated quantities { int a = -2147483647 - 1; int b = -1; "
              "int c = a %/% b; }"), (0, 1), "m|integer|divi|overflow|signal"),
    case("the smallest integer by -1 in a function",
         "functions { int f(int a, int b) { return a %/% b; } } transformed data { "
         "int c = f(-2147483647 - 1, -1); }" + real(), (0, 1), "m|integer|divi|overflow|signal"),
    case("division by zero in transformed data",
         "transformed data { int a = 0; int b = 1 %/% a; }" + real(), 1, "division by zero"),
    case("modulo zero", "transformed data { int a = 0; int b = 1 % a; }" + real(), 1,
         "zero|divisor is 0"),
    case("division by zero in the model", real("int a = 0; x ~ normal(1 %/% a, 1);"), 1,
         "division by zero"),
    case("division of reals by zero", real("x ~ normal(0, 1); target += 1 / (x - x);"), 1,
         "finite|x"),
    case("division by zero in generated quantities",
         real(more="generated quantities { int a = 0; int b = 1 %/% a; real y = x; }"), 0, "y|b|a"),
    case("an integer overflows in a loop", "transformed data { int k = 1; for (i in 1:40) k *= 2; }"
         + real(), (0, 1), "m|k|.*"),
    case("integers overflow in a sum", real("int k = 2147483647; k += 1; x ~ normal(k, 1);"), 0),
    case("a literal beyond integers", "transformed data { int k = 99999999999; }" + real(), 1, "m"),
    case("a literal beyond reals", "transformed data { real k = 1e999; }" + real(), (0, 1), "m|.*"),
    case("a negative size", "parameters { vector[-1] x; } model { x ~ std_normal(); }", 1, "m|-1"),
    case("a negative size of an array", "transformed data { array[-5] int a; }" + real(), (0, 1),
         "m|-5|negative|.*"),
    case("an enormous vector of data",
         "transformed data { vector[2000000000] v = rep_vector(0, 2000000000); }" + real(), 1,
         "m|memory|v", limits=ENOUGH),
    case("an enormous vector of parameters",
         "parameters { vector[2000000000] x; } model { x ~ std_normal(); }", 1,
         "m|memory|x|parameters", limits=ENOUGH),
    case("an enormous array in the model",
         real("array[2000000000] real a; a[1] = x; a[1] ~ std_normal();"), 1,
         "m|memory", limits=ENOUGH),
    case("an enormous matrix of quantities",
         real(more="generated quantities { matrix[20000, 20000] A = rep_matrix(x, 20000, 20000); }"
              ),
         (0, 1), "m|memory|A", limits=ENOUGH),
    case("an index out of range", real("vector[2] v = [x, x]'; v[3] ~ std_normal();"), 1,
         "index|range|bounds"),
    case("index zero", real("vector[2] v = [x, x]'; v[0] ~ std_normal();"), 1,
         "index|range|bounds"),
    case("an index out of range in transformed data",
         "transformed data { array[2] int a = {1, 2}; int b = a[7]; }" + real(), 1,
         "index|range|bounds"),
    case("an index out of range in generated quantities",
         real(more="generated quantities { array[2] int a = {1, 2}; int b = a[7]; }"), 0, "a|b"),
    case("matrices that do not fit", "transformed data { matrix[2, 3] A = rep_matrix(1, 2, 3); "
         "matrix[2, 2] B = rep_matrix(1, 2, 2); matrix[2, 3] C = A * B; }" + real(), 1,
         "size|rows|columns|m"),
    case("sizes zero", "parameters { real x; vector[0] z; matrix[0, 3] Z; simplex[1] p; } "
         "model { x ~ std_normal(); }", 0),
    case("only sizes zero", "parameters { vector[0] x; } model { }", 1, "no parameters|size"),
    case("a simplex of zero", "parameters { real y; simplex[0] x; } model { y ~ std_normal(); }",
         (0, 1), "simplex|x|size|m"),
    case("a correlation matrix of zero", "parameters { real y; corr_matrix[0] R; } "
         "model { y ~ std_normal(); }", (0, 1), "R|size|m"),
    case("bounds that meet", real(bounds="<lower=1, upper=1>"), 1, "constraint|bound|finite"),
    case("bounds that cross", real(bounds="<lower=2, upper=1>"), 1, "constraint|bound|finite"),
    case("bounds that are infinite", real(bounds="<lower=negative_infinity(), "
         "upper=positive_infinity()>"), 0),
    case("a lower bound of infinity", real(bounds="<lower=positive_infinity()>"), (0, 1),
         "bound|finite|constraint"),
    case("a bound that is NaN", real(bounds="<lower=not_a_number()>"), 1, "NaN|finite|bound"),
    case("a multiplier of zero", real(bounds="<multiplier=0>"), 1, "multiplier|finite|scale|m"),
    case("a negative multiplier", real(bounds="<multiplier=-1>"), 1, "multiplier|finite|scale|m"),
    case("an offset of infinity", real(bounds="<offset=positive_infinity()>"), 1,
         "offset|finite|m"),
    case("a bound on a transformed parameter that fails", "parameters { real x; } transformed "
         "parameters { real<lower=10> y = x; } model { x ~ std_normal(); }", 1,
         "greater than or equal to 10"),
    case("a covariance that is none", "transformed data { cov_matrix[2] S = [[1, 2], [2, 1]]; } "
         "parameters { vector[2] x; } model { x ~ multi_normal([0, 0]', S); }", 1,
         "definite|positive|S|m"),
    case("rejects everywhere", real('reject("never ", x);'), 1, "never"),
    case("rejects in transformed data", 'transformed data { reject("bad data"); }' + real(), 1,
         "bad data"),
    case("rejects in transformed parameters", "parameters { real x; } transformed parameters { "
         'real y = x; reject("tp"); } model { x ~ std_normal(); }', 1, "tp"),
    case("rejects in generated quantities", real(more='generated quantities { real y = x; '
         'reject("gq"); }'), 0, "gq"),
    case("rejects with 100 kB", real(f'reject("{"long " * 20_000}");'), 1, "long"),
    case("rejects with a line of control characters", real('reject("\x1b[31mred\x07");'), (0, 1),
         "red|m"),
    case("rejects with nothing", real('reject("");'), 1, "finite|reject|m"),
    case("rejects in half the space", real(NORMAL + 'if (x > 0) reject("half");'), 0, "reject"),
    case("NaN everywhere", real("target += x * not_a_number();"), 1, "finite"),
    case("NaN in half the space", real(NORMAL + "if (x > 0) target += not_a_number();"), 0, "."),
    case("infinity everywhere", real("target += positive_infinity();"), 1, "finite"),
    case("zero density everywhere", real("target += negative_infinity();"), 1, "finite"),
    case("NaN in transformed data", "transformed data { real k = sqrt(-1); }"
         + real("x ~ normal(k, 1);"), 1, "finite|nan"),
    case("prints 2 MB a density", real('for (i in 1:200) print("' + "a" * 10_000 + '", x);'
         + NORMAL), 0, more="--max-seconds 3", asks=6),
    case("prints from transformed data", 'transformed data { for (i in 1:20000) print("line ", i); '
         "}" + real(), 0),
    case("prints control characters", real('print("\x1b[2J\x1b]0;title\x07");' + NORMAL), (0, 1),
         "m|.*"),
    case("NaN as quantities", real(more="generated quantities { real y; real z = log(-1.0); }"), 0,
         "NaN"),
    case("fatal_error", real(NORMAL + 'fatal_error("over");'), 1, "fatal_?error"),
    case("tuples", "parameters { tuple(real, real) t; } model { t.1 ~ std_normal(); }", 1, "tuple"),
    case("complex numbers", "parameters { complex z; } model { }", 1, "complex"),
    case("an external function", "functions { real mine(real x); }" + real("target += mine(x);"),
         1, "mine"),
    case("a solver that gives up",
         "functions { vector f(real t, vector y) { return -1e6 * y .* y + [1e6]'; } }"
         "parameters { real<lower=0> k; } model { k ~ normal(0, 1); array[1] vector[1] z = "
         "ode_rk45_tol(f, [k]', 0.0, {1.0}, 1e-6, 1e-6, 20); target += -z[1][1]; }", 1, "ode"),
    case("a stiff equation by a method for others",
         "functions { vector f(real t, vector y, real k) { return -1e9 * k * y; } }"
         "parameters { real<lower=0> k; } model { k ~ normal(0, 1); array[1] vector[1] z = "
         "ode_rk45(f, [1]', 0.0, {1.0}, k); target += -z[1][1]; }", (0, 1), "ode|seconds|budget",
         "--max-seconds 2", asks=4),
)  # fmt: skip

ENDLESS = (
    endless("a long loop that ends by break", real("for (i in 1:2147483647) { if (i > 3) break; } "
            "x ~ std_normal();"), says="loops that end by break"),
    endless("endless in transformed data", f"transformed data {{ {LOOP.replace('abs(x)', '1')} }}"
            + real()),
    endless("endless in the model", real(NORMAL + LOOP)),
    endless("endless for some values", real(NORMAL + "real y = x; while (y > 2.5) y = 2.6 + "
            "0.5 * y;"), (0, 1), "seconds|budget"),
    endless("endless in transformed parameters", "parameters { real x; } transformed parameters { "
            f"real z = x; {LOOP} }} model {{ {NORMAL} }}"),
    endless("endless in generated quantities", real(more=f"generated quantities {{ {LOOP} }}"), 0,
            "NaN|seconds|budget"),
    endless("endless in a function", "functions { real f(real x) { real y = abs(x); while (y > -1) "
            "y = 0.5 * y; return y; } }" + real("target += f(x);")),
    endless("a loop of 10^9 in the model", real(NORMAL + "for (i in 1:1000000000) target += 1e-9 * "
            "sin(x * i);")),
    endless("endless printing", real(NORMAL + 'while (1) print("again");')),
    endless("endless in transformed data, integers", "transformed data { int i = 0; while (i < 2) "
            "i = 1 - i; }" + real()),
    endless("endless allocation", real(NORMAL + "array[1] real a = {x}; while (size(a) > 0) "
            "target += sum(rep_vector(1e-300, 1000));")),
)  # fmt: skip

CASES = (*BROKEN, *PLACES, *LARGE, *VALUES, *ENDLESS)
