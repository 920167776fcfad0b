"""Data: every form they come in, and every way they can be wrong, by name."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanrovi.errors import DataError, UsageError
from stanrovi.stan.data import check_data, read_data, to_json
from stanrovi.stan.model import Model
from stanrovi.stan.program import Program

PROGRAM = Program(
    "regression",
    """
    /* data { real decoy; } */
    data {
      int<lower=0> N, K;                 // sizes
      array[N] int<lower=0, upper=1> z;
      matrix[N, K] X;
      array[2] vector[N] y;
      real<lower=(K > 1 ? 0 : -1)> a;
      cov_matrix[K] S;
      tuple(real, array[2] int) t;
      complex c;
      array[N + 1] real later;
    }
    parameters { real b; }
    """,
)
GOOD: dict[str, Any] = {
    "N": 3,
    "K": 2,
    "z": [0, 1, 1],
    "X": [[1, 2], [3, 4], [5, 6]],
    "y": [[1, 2, 3], [4, 5, 6]],
    "a": 1,
    "S": [[1, 0], [0, 1]],
    "t": {"1": 1.0, "2": [1, 2]},
    "c": [1, 2],
    "later": [1, 2, 3, 4],
}


def check(**changes: Any) -> None:
    check_data(GOOD | changes, PROGRAM.data_declarations, PROGRAM.name)


def test_declarations_are_read() -> None:
    assert {item.name: item.sizes for item in PROGRAM.data_declarations} == {
        "N": (), "K": (), "z": ("N",), "X": ("N", "K"), "y": ("2", "N"), "a": (),
        "S": ("K", "K"), "t": (), "c": ("2",), "later": ("N + 1",),
    }  # fmt: skip
    assert [str(item) for item in PROGRAM.data_declarations][2:5] == [
        "array[N] int z",
        "matrix[N, K] X",
        "array[2] vector[N] y",
    ]


def test_good_data_pass() -> None:
    check()
    check(unused="ignored, as Stan ignores it")


def test_arrays_without_elements_may_be_empty_lists() -> None:
    check(N=0, z=[], X=[], y=[[], []], later=[1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"z": [0, 1]}, r"variable z \(regression declares array\[N\] int z\) with N = 3 has"),
        ({"X": [[1, 2, 3], [3, 4, 5]]}, r"N = 3, K = 2 has shape 2 x 3"),
        ({"X": [1, 2, 3, 4, 5, 6]}, r"X.* has length 6"),
        ({"X": []}, r"X.* has length 0"),
        ({"X": [[1, 2], [3], [5, 6]]}, "X.* is ragged"),
        ({"y": 4.0}, "y.* is a single number"),
        ({"a": [1.0]}, "a .* has length 1"),
        ({"later": 1.0}, "later.* is a single number"),
        ({"N": 2.5}, "N .* must hold integers but has 2.5"),
        ({"N": 3.0}, "N .* must hold integers but has 3.0"),
        ({"N": -1}, "N .* is -1, but its lower bound is 0"),
        ({"N": 2**31}, "N .* holds 2147483648, beyond"),
        ({"N": None}, "N .* holds null"),
        ({"z": [0, 2, 1]}, "z .* is 2, but its upper bound is 1"),
        ({"z": [True, False, True]}, "z .* holds true; Stan wants 0 or 1"),
        ({"z": [0, "NaN", 1]}, r"z\[2\] is NaN: data variable z .* no missing values"),
        ({"a": float("nan")}, "a is NaN: data variable a .*leave those observations out"),
        ({"y": [[1, "NaN", 3], [4, 5, np.nan]]}, r"y\[1,2\] is NaN, and 1 more entries: .*dropna"),
        ({"N": 2147483648.0}, "N .* holds 2.14748e\\+09, beyond"),
        ({"a": "+Inf"}, r'a .* holds "\+Inf", which is not a number'),
        ({"a": "high"}, 'a .* holds "high", which is not a number'),
        ({"y": [[1, None, 3], [4, 5, 6]]}, "y .* holds null"),
        ({"y": {"1": 1, "2": 2}}, "y .* holds a tuple of Stan's; give a list or an array"),
        ({"y": {}}, "y .* holds {}, which is not a number"),
        ({"y": json.loads("[" * 65 + "]" * 65)}, "y .* has more dimensions than NumPy knows"),
    ],
)
def test_bad_data_name_their_variable(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        check(**changes)


@pytest.mark.parametrize(
    ("size", "n", "message"),
    [
        ("n", -(2**31), "n = -2147483648 has a negative size"),
        ("n * n - 5", 2, r"n \* n - 5 = -1 has a negative size"),
        ("n * n", 2**16, r"n \* n = 4294967296 has length 0"),  # zero in 32 bits
        ("n + 3 - 2 * (n - 1)", 3, r"= 2 has length 0"),
        ("3", 1, "has length 0"),
    ],
)
def test_sizes_are_computed(size: str, n: int, message: str) -> None:
    program = Program("sized", f"data {{ int n; vector[{size}] a; }}")
    with pytest.raises(DataError, match=f"a .*{message}"):
        check_data({"n": n, "a": []}, program.data_declarations, program.name)


@pytest.mark.parametrize("size", ["lambda + 1", "n %/% 2", "size(b)", "n ? 1 : 2", "m - 1"])
def test_sizes_that_cannot_be_computed_are_left_to_the_engine(size: str) -> None:
    program = Program("sized", f"data {{ int n; vector[{size}] a; }}")
    check_data({"n": 2, "lambda": 5, "a": [1] * 7}, program.data_declarations, program.name)


def test_texts_that_nothing_declares(tmp_path: Path) -> None:
    path = tmp_path / "plain.stan"
    path.write_text("data { real a; } parameters { real x; } model { x ~ normal(a, 1); }")
    with pytest.raises(DataError, match=r"b in the data holds a string.*leave it out"):
        Model(path, {"a": 1, "b": ["s"]})


def test_missing_variables_are_all_named() -> None:
    data = {name: value for name, value in GOOD.items() if name not in ("X", "t")}
    with pytest.raises(DataError, match=r"the data lack X, t.*matrix\[N, K\] X; tuple t\)"):
        check_data(data, PROGRAM.data_declarations, PROGRAM.name)
    with pytest.raises(DataError, match="they hold nothing"):
        check_data({}, PROGRAM.data_declarations, PROGRAM.name)


def test_infinity_is_allowed_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        check(a=float("inf"), later=["Inf", 1, 2, 3])
    assert [record.args[1] for record in caplog.records if isinstance(record.args, tuple)] == [1, 1]


def test_infinity_reaches_the_engine() -> None:
    model = Model("eight_schools", {"J": 2, "y": np.array([np.inf, 1.0]), "sigma": [1.0, 1.0]})
    assert model.log_density_gradient(np.zeros((1, 4)))[0] == -np.inf


def test_nan_is_for_programs_that_look_for_it(tmp_path: Path) -> None:
    path = tmp_path / "missing.stan"
    path.write_text(
        "data { vector[2] y; } parameters { real mu; }"
        "model { mu ~ normal(0, 1); for (n in 1:2) if (!is_nan(y[n])) y[n] ~ normal(mu, 1); }"
    )
    model = Model(path, {"y": [np.nan, 1.0]})
    assert np.isfinite(model.log_density_gradient(np.zeros((1, 1)))[0]).all()
    with pytest.raises(DataError, match=r"y\[1\] is NaN: data variable y \(eight_schools"):
        Model("eight_schools", {"J": 2, "y": [np.nan, 1.0], "sigma": [1.0, 1.0]})


def test_what_the_check_cannot_judge_the_engine_names(tmp_path: Path) -> None:
    path = tmp_path / "bounds.stan"
    path.write_text(
        "data { int N; vector<lower=N>[N %/% 1 + 1] y; } parameters { real x; } "
        "model { y ~ normal(x, 1); }"
    )
    with pytest.raises(DataError, match=r"data variable y has dimensions \(2\).*declares \(4\)"):
        Model(path, {"N": 3, "y": [5, 5]})
    with pytest.raises(DataError, match=r"bounds rejected the data: y.* is 0"):
        Model(path, {"N": 1, "y": [5, 0]})


def test_transformed_data_that_reject(tmp_path: Path) -> None:
    path = tmp_path / "picky.stan"
    path.write_text(
        'data { real a; } transformed data { if (a < 0) reject("a was ", a); } '
        "parameters { real x; } model { x ~ normal(a, 1); }"
    )
    with pytest.raises(DataError, match="picky rejected the data: a was -1"):
        Model(path, {"a": -1})


@pytest.mark.parametrize("form", ["path", "text path", "text", "mapping", "mapping of arrays"])
def test_every_form_of_data(tmp_path: Path, form: str) -> None:
    data = {"N": 2, "y": [1.5, 2.5], "A": [[1, 2], [3, 4]]}
    y = np.array([1.5, 2.5])
    path = tmp_path / "d.json"
    path.write_text("\ufeff" + json.dumps(data), encoding="utf-8")
    source: Any = {
        "path": path,
        "text path": str(path),
        "text": "\n " + json.dumps(data),
        "mapping": data,
        "mapping of arrays": {"N": np.int64(2), "y": y, "A": np.array(data["A"])},
    }[form]
    assert read_data(source) == data
    assert (y == [1.5, 2.5]).all()  # the caller's array is left alone


def test_no_data() -> None:
    assert read_data(None) == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"N": 1,\n "y": }', "not valid JSON: Expecting value at line 2, column 7"),
        (b" \n", "is empty; data without variables are {}"),
        (b"N <- 3\ny <- c(1, 2, 3)", "R's dump format.*write_stan_json"),
        (b"y,x\n1,2\n", "is no JSON .it begins with 'y,x'.*a mapping will do"),
        (b"N: 3\ny: [1, 2, 3]", "is no JSON"),
        (b"\x1f\x8b\x08\x00rest", "is compressed by gzip; unpack it"),
        ('{"N": 3}'.encode("utf-16"), "is text in UTF-16; save it in UTF-8"),
        (b"[1, 2]", "holds a JSON array; Stan data are an object"),
        (b"3", "holds a JSON number"),
        (b'{"name": "caf\xe9"}', "not UTF-8 text .byte 13 is 0xe9"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_files_that_hold_no_data(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "d.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_data(path)


def test_sources_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no such data file: .*; check the path"):
        read_data(tmp_path / "d.json")
    with pytest.raises(UsageError, match="is a folder"):
        read_data(tmp_path)
    with pytest.raises(UsageError, match="not int"):
        read_data(3)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"data variable f \(object\) cannot be written"):
        read_data({"f": object()})


numbers = st.one_of(st.integers(-(2**31), 2**31 - 1), st.floats(allow_nan=True))


@given(st.dictionaries(st.from_regex(r"[a-z]\w{0,5}", fullmatch=True), st.lists(numbers)))
def test_json_for_engines_is_strict_and_loses_nothing(data: dict[str, list[float]]) -> None:
    text = to_json(data)
    back = json.loads(text, parse_constant=lambda word: pytest.fail(f"bare {word}"))
    for name, values in data.items():
        np.testing.assert_array_equal([float(value) for value in back[name]], values)


@given(st.text(alphabet='data{}[]<>();,/*" \nint real vector array lower=x1', max_size=80))
def test_declaration_parser_never_fails(text: str) -> None:
    declared = Program("p", "data {" + text + "}").data_declarations
    assert all(item.name for item in declared)


def test_a_misspelt_name_is_told(write: Callable[[str, str], Path]) -> None:
    program = write("m.stan", "data { int N; real offset_y; } parameters { real x; } model { }")
    with pytest.raises(DataError, match=r"is n meant to be N\? is ofset_y meant to be offset_y\?$"):
        Model(program, {"n": 3, "ofset_y": 1.0})
    with pytest.raises(DataError, match=r"Add what is missing to the data\.$"):
        Model(program, {"N": 3, "z": 1.0})
