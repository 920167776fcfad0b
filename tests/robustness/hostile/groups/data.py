"""Data that are damaged, of the wrong type or size, or no data at all."""

from __future__ import annotations

import json
from typing import Any

from hostile.case import Case
from hostile.files import Content, Fifo, File, Folder, Link

PROGRAM = """data { int<lower=0> N; vector[N] y; }
parameters { real m; } model { m ~ normal(0, 10); y ~ normal(m, 1); }
"""
INTEGERS = "data { int N; array[N] int k; } parameters { real x; } model { x ~ normal(k[1], 1); }"
MATRIX = "data { matrix[2, 3] A; } parameters { real x; } model { x ~ normal(A[1, 1], 1); }"
TUPLES = "data { tuple(real, int) t; } parameters { real x; } model { x ~ normal(t.1, 1); }"
WELL = '{"N": 2, "y": [1.5, 2.5]}'
EXTRA = '{"N": 2, "y": [1.5, 2.5], "extra": %s}'
ENOUGH = {"AS": 4_000_000_000}
FIT = "fit m.stan --method gaussian --draws 100 --seed 1 --output out.nc"


def case(
    name: str,
    data: Content,
    code: int | tuple[int, ...] = 1,
    says: str = "d.json",
    program: str = PROGRAM,
    **rest: Any,
) -> Case:
    """Fit a program with data that are given by name."""
    files: dict[str, Content] = {"m.stan": program, "d.json": data, **rest.pop("files", {})}
    makes, says = (("out.nc",), says.replace("d.json", "")) if code == 0 else ((), says)
    return Case(name, f"{FIT} --data d.json", files, code, says, makes=makes, **rest)  # fmt: skip


DAMAGED = (
    case("empty", "", says="d.json"),
    case("blank", " \n ", says="d.json"),
    case("cut", '{"N": 2, "y": [1.5, 2', says="d.json"),
    case("with rubbish behind", WELL + " and more", says="d.json"),
    case("two objects", WELL + WELL, says="d.json"),
    case("a comma too many", '{"N": 2, "y": [1.5, 2.5],}', says="d.json"),
    case("comments", '{"N": 2, /* two */ "y": [1.5, 2.5]}', says="d.json"),
    case("single quotes", "{'N': 2, 'y': [1.5, 2.5]}", says="d.json"),
    case("names without quotes", "{N: 2, y: [1.5, 2.5]}", says="d.json"),
    case("zero bytes", bytes(100), says="d.json"),
    case("a zero byte behind", WELL.encode() + b"\0", says="d.json"),
    case("random bytes", bytes(range(256)), says="d.json"),
    case("UTF-16", WELL.encode("utf-16"), (0, 1), "d.json|m"),
    case("byte-order mark", b"\xef\xbb\xbf" + WELL.encode(), (0, 1), "d.json|m"),
    case("Latin 1", '{"N": 2, "y": [1.5, 2.5], "café": 1}'.encode("latin-1"), 1, "d.json"),
    case("control characters in a name", '{"N": 2, "y": [1.5, 2.5], "a\x01b": 1}', (0, 1),
         "d.json|m"),
    case("a lone surrogate", '{"N": 2, "y": [1.5, 2.5], "\\ud800": 1}', 1, "surrogate|d.json"),
    case("R dump", "N <- 2\ny <- c(1.5, 2.5)\n", says="d.json"),
    case("CSV", "N,y\n2,1.5\n", says="d.json"),
    case("a gzip", b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + bytes(50), says="d.json"),
    case("nested 100,000 deep", '{"N":' * 100_000, says="nested"),
    case("lists 100,000 deep", '{"N": 2, "y": ' + "[" * 100_000, says="nested|d.json"),
    case("lists 900 deep", '{"N": 2, "y": ' + "[" * 900 + "]" * 900 + "}", says="y"),
    case("a list", "[1, 2, 3]", says="d.json"),
    case("a number", "3", says="d.json"),
    case("null", "null", says="d.json"),
    case("a string", '"hello"', says="d.json"),
    case("true", "true", says="d.json"),
    case("a name twice", '{"N": 2, "y": [1.5, 2.5], "N": 2}', 0, "N"),
    case("a name twice, differing", '{"N": 3, "y": [1.5, 2.5], "N": 2}', 0, "N"),
    case("a name thrice in a member", '{"N": 2, "y": [1.5, 2.5], "z": {"a": 1, "a": 2}}', (0, 1),
         "z|a"),
)  # fmt: skip

VALUES = (
    case("missing", '{"N": 2}', says="y"),
    case("all missing", "{}", says="N|y"),
    case("names in capitals", '{"n": 2, "Y": [1.5, 2.5]}', says="N|y"),
    case("more than is wanted", '{"N": 2, "y": [1.5, 2.5], "z": 7, "w": "text"}', (0, 1), "w|m"),
    case("null as a size", '{"N": null, "y": [1.5, 2.5]}', says="N"),
    case("null in a vector", '{"N": 2, "y": [1.5, null]}', says="y"),
    case("a string as a size", '{"N": "2", "y": [1.5, 2.5]}', says="N"),
    case("a string in a vector", '{"N": 2, "y": [1.5, "2.5"]}', says="y"),
    case("NaN as a string", '{"N": 2, "y": [1.5, "NaN"]}', (0, 1), "y|finite"),
    case("true as a size", '{"N": true, "y": [1.5]}', (0, 1), "N|m"),
    case("a fraction as a size", '{"N": 2.5, "y": [1.5, 2.5]}', says="N"),
    case("a whole fraction as a size", '{"N": 2.0, "y": [1.5, 2.5]}', (0, 1), "N|m"),
    case("an exponent as a size", '{"N": 2e0, "y": [1.5, 2.5]}', (0, 1), "N|m"),
    case("a list as a size", '{"N": [2], "y": [1.5, 2.5]}', (0, 1), "N"),
    case("a member as a size", '{"N": {"a": 2}, "y": [1.5, 2.5]}', says="N"),
    case("a negative size", '{"N": -1, "y": []}', says="N"),
    case("an enormous size", '{"N": 2000000000, "y": [1.5]}', says="y|N|memory",
         limits=ENOUGH),
    case("a size beyond integers", '{"N": 3000000000, "y": [1.5]}', says="N"),
    case("a size of 10,000 digits", '{"N": ' + "9" * 10_000 + ', "y": []}', says="d.json|N"),
    case("too few", '{"N": 3, "y": [1.5, 2.5]}', says="y"),
    case("too many", '{"N": 1, "y": [1.5, 2.5]}', says="y"),
    case("a scalar as a vector", '{"N": 1, "y": 1.5}', (0, 1), "y|m"),
    case("a matrix as a vector", '{"N": 2, "y": [[1.5, 2.5]]}', says="y"),
    case("empty as a vector", '{"N": 2, "y": []}', says="y"),
    case("ragged", '{"N": 2, "y": [[1], [2, 3]]}', says="y"),
    case("a ragged matrix", '{"A": [[1, 2, 3], [4, 5]]}', says="A", program=MATRIX),
    case("a matrix transposed", '{"A": [[1, 2], [3, 4], [5, 6]]}', says="A", program=MATRIX),
    case("a flat matrix", '{"A": [1, 2, 3, 4, 5, 6]}', says="A", program=MATRIX),
    case("an empty matrix", '{"A": [[], []]}', says="A", program=MATRIX),
    case("NaN", '{"N": 2, "y": [1.5, NaN]}', says="y|finite"),
    case("infinity", '{"N": 2, "y": [1.5, Infinity]}', says="y|finite"),
    case("minus infinity", '{"N": 2, "y": [1.5, -Infinity]}', says="y|finite"),
    case("inf without quotes", '{"N": 2, "y": [1.5, inf]}', says="d.json"),
    case("a number beyond reals", '{"N": 2, "y": [1.5, 1e999]}', says="y|finite"),
    case("a number of 400 digits", '{"N": 2, "y": [1.5, ' + "9" * 400 + "]}", says="y"),
    case("a number too small", '{"N": 2, "y": [1.5, 1e-999]}', 0),
    case("numbers of 1e300", '{"N": 2, "y": [1e300, -1e300]}', (0, 1), "finite|m|precision"),
    case("an integer beyond 32 bits", '{"N": 1, "k": [3000000000]}', says="k", program=INTEGERS),
    case("a fraction as an integer", '{"N": 1, "k": [1.5]}', says="k", program=INTEGERS),
    case("a negative size of parameters", '{"N": -5}', says="vector.N. m in parameters.*N is -5",
         program="data { int N; } parameters { vector[N] m; } model { m ~ std_normal(); }"),
    case("a negative size of what is computed", '{"N": 2}', says="z in transformed.*N - 3 is -1",
         program="data { int N; } parameters { real m; } transformed parameters { array[N - 3] "
         "real z; } model { m ~ std_normal(); }"),
    case("a segment beyond the end", '{"N": 5}', says="segment.*does not fit|does not fit.*segment",
         program="data { int N; } transformed data { vector[3] y = rep_vector(1, 3); } parameters "
         "{ real m; } model { segment(y, 1, N) ~ normal(m, 1); }"),
    case("vectors that differ in length", '{"N": 5}', says="does not fit.*match",
         program="data { int N; } parameters { vector[3] x; vector[N] y; } model { "
         "x ~ std_normal(); y ~ std_normal(); target += dot_product(x, y); }"),
    case("no integer at all", '{"N": 0, "k": []}', says="k|index|bounds", program=INTEGERS),
    case("the smallest integer", '{"N": 1, "k": [-2147483648]}', (0, 1), "k|m", program=INTEGERS),
    case("below the smallest integer", '{"N": 1, "k": [-2147483649]}', says="k", program=INTEGERS),
    case("a tuple as a list", '{"t": [1.5, 2]}', says="t", program=TUPLES),
    case("a tuple without a member", '{"t": {"1": 1.5}}', says="t", program=TUPLES),
    case("a constraint broken", "{\"N\": 2}", says="N",
         program="data { int<lower=3> N; } parameters { real x; } model { x ~ normal(N, 1); }"),
    case("a simplex that sums to two", '{"p": [1, 1]}', says="p|sum|simplex",
         program="data { simplex[2] p; } parameters { real x; } model { x ~ normal(p[1], 1); }"),
    case("a covariance that is none", '{"S": [[1, 2], [2, 1]]}', says="S|definite",
         program="data { cov_matrix[2] S; } parameters { real x; } model { x ~ std_normal(); }"),
    case("a Cholesky factor that is none", '{"L": [[1, 2], [2, 1]]}', says="L|triang",
         program="data { cholesky_factor_cov[2] L; } parameters { real x; } "
         "model { x ~ std_normal(); }"),
    case("50,000 names more", json.dumps({"N": 1,
         "y": [1.0]} | {f"v{i}": i for i in range(50_000)}),
         0),
    case("a name of 100,000 letters", json.dumps({"N": 1, "y": [1.0], "a" * 100_000: 1}), (0, 1),
         "d.json|m|a"),
    case("undeclared, 500 deep", EXTRA % ("[" * 500 + "]" * 500), says="extra.*nested"),
    case("undeclared, objects 500 deep", EXTRA % ('{"a":' * 500 + "1" + "}" * 500),
         says="extra.*nested"),
    case("undeclared, of 400 digits", EXTRA % f"[1, 2, -{'9' * 400}]", says="extra.*integer"),
    case("undeclared, half a character", EXTRA % '{"a": "\\udc00"}', says="extra.*surrogate"),
    case("a name that ends with a zero byte", '{"N": 1, "y": [1.5], "N\\u0000": 2}',
         says=r"N\\u0000.*zero byte"),
    case("100,000 numbers", '{"N": 100000, "y": [' + "1.5," * 99_999 + "2.5]}", 0),
)  # fmt: skip

PLACES = (
    case("a folder", Folder(), 2, "d.json.*folder"),
    case("a link to nothing", Link("nothing.json"), 2, "d.json"),
    case("a link to itself", Link("d.json"), 2, "d.json"),
    case("a pipe that nobody writes to", Fifo(), (1, 2), "d.json"),
    case("a link to /dev/zero", Link("/dev/zero"), (1, 2), "d.json", limits=ENOUGH),
    case("a link to /dev/null", Link("/dev/null"), (1, 2), "d.json"),
    case("a link to /dev/urandom", Link("/dev/urandom"), (1, 2), "d.json", limits=ENOUGH),
    case("a link to /proc/self/mem", Link("/proc/self/mem"), (1, 2), "d.json"),
    case("a link to the program", Link("m.stan"), 1, "d.json"),
    case("unreadable", File(WELL, 0o000), (1, 2), "d.json.*(ermission|readable)", ordinary=True),
    Case("missing file", "fit m.stan --data nowhere.json", {"m.stan": PROGRAM}, 2, "nowhere"),
    Case("an empty name", "fit m.stan --data ''", {"m.stan": PROGRAM}, 2, "data"),
    Case("the device of zeros", "fit m.stan --data /dev/zero", {"m.stan": PROGRAM}, (1, 2),
         "/dev/zero", limits=ENOUGH),
    Case("the device of random bytes", "fit m.stan --data /dev/urandom", {"m.stan": PROGRAM}, (1,
         2),
         "urandom", limits=ENOUGH),
    Case("standard input", "fit m.stan --data -", {"m.stan": PROGRAM}, 2, "-"),
    Case("standard input, empty", "fit m.stan --data /dev/stdin", {"m.stan": PROGRAM}, (1, 2),
         "stdin"),
    Case("none given", "fit m.stan", {"m.stan": PROGRAM}, (1, 2), "data"),
    Case("beside it, damaged", "fit m.stan", {"m.stan": PROGRAM, "m.json": "{"}, (1, 2), "m.json"),
    Case("beside it, a folder", "fit m.stan", {"m.stan": PROGRAM, "m.json": Folder()}, (1, 2),
         "m.json|data"),
    Case("beside it, a link to itself", "fit m.stan", {"m.stan": PROGRAM, "m.json": Link("m.json")},
         (1, 2), "m.json|data"),
    Case("beside it, a pipe", "fit m.stan", {"m.stan": PROGRAM, "m.data.json": Fifo()}, (1, 2),
         "m.data.json|data"),
    Case("twice", "fit m.stan --data d.json --data e.json",
         {"m.stan": PROGRAM, "d.json": "{", "e.json": WELL}, (0, 2), "data|m"),
    Case("JSON in place of a file", "fit m.stan --data '" + WELL + "'", {"m.stan": PROGRAM}, (0, 2),
         "data|m"),
    Case("the program in place of data", "fit m.stan --data m.stan", {"m.stan": PROGRAM}, 1,
         "m.stan"),
    Case("NetCDF in place of data", "nuts m.stan --data d.nc", {"m.stan": PROGRAM,
         "d.nc": b"\x89HDF\r\n\x1a\n" + bytes(500)}, 1, "d.nc"),
    Case("damaged, in check", "check m.stan --data d.json", {"m.stan": PROGRAM,
         "d.json": '{"N": 2'},
         1, "d.json"),
    Case("damaged, in modes", "modes m.stan --data d.json", {"m.stan": PROGRAM, "d.json": "[]"}, 1,
         "d.json"),
    Case("damaged, in sample", "sample m.stan --data d.json --max-seconds 3",
         {"m.stan": PROGRAM, "d.json": '{"N": 2, "y": [1, "a"]}'}, 1, "y"),
    Case("damaged, in compare", "compare m.stan --data d.json --output out",
         {"m.stan": PROGRAM, "d.json": '{"N": 2, "y": [1]}'}, 1, "y"),
    Case("damaged, in bench", "bench m.stan:d.json --methods gaussian --jobs 0 --output out",
         {"m.stan": PROGRAM, "d.json": '{"N": 2, "y": [1]}'}, 1, "y", keeps=("out", "out/*")),
    Case("missing, in bench", "bench m.stan:nowhere.json --methods gaussian --jobs 0",
         {"m.stan": PROGRAM}, 2, "nowhere"),
)  # fmt: skip

CASES = (*DAMAGED, *VALUES, *PLACES)
