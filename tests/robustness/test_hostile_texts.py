"""Programs, data and messages without measure: refused, read or shortened, within seconds."""

from __future__ import annotations

import logging
import os
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import stanrovi as sr
from stanrovi.errors import (
    DataError,
    DrawsError,
    ModelError,
    OutputError,
    StanroviError,
    UsageError,
    printable,
    shortened,
)
from stanrovi.io import reading
from stanrovi.io.json_values import parse_json
from stanrovi.stan import engine, program
from stanrovi.stan.cache import compiled
from stanrovi.stan.cmdstan import console_reason
from stanrovi.stan.data import read_data
from stanrovi.stan.memory import drawing
from stanrovi.stan.model import Model
from stanrovi.stan.nesting import check_nesting
from stanrovi.stan.program import Program

Write = Callable[[str, str], Path]

NORMAL = "parameters { real x; } model { x ~ std_normal(); %s }"
NEEDS_DATA = "data { int N; vector[N] y; } parameters { real m; } model { y ~ normal(m, 1); }"
MANY = 200_000


@pytest.fixture(autouse=True)
def _takes_seconds() -> object:
    start = time.perf_counter()
    yield
    assert time.perf_counter() - start < 30  # even on a busy machine; 10 on an idle one


@pytest.mark.parametrize(
    "statement",
    [
        f"target += {'(' * MANY}x{')' * MANY};",
        f"target += {'-' * MANY}x;",
        f"target += {'- ' * MANY}x;",
        f"if ({'!' * MANY}1) target += x;",
        f"array[1] real z = {'{' * MANY}1{'}' * MANY};",
        f"row_vector[1] z = {'[' * MANY}1{']' * MANY};",
        f"target += {'exp(' * MANY}x{')' * MANY};",
        "{" * MANY + "}" * MANY,
        "if (1) " * MANY + "target += x;",
        "if (1) target += x; else " * MANY + "target += x;",
        "if (1) { target += x; } else " * MANY + "target += x;",
        "for (i in 1:1) " * MANY + "target += x;",
        f"target += {'1 ? 1 : ' * MANY}x;",
        f"target += {'1 ? ' * MANY}x{' : 1' * MANY};",
        f"target += {'1+' * MANY}x;",
        f"target += {'exp(1) + ' * MANY}x;",
        f"if ({'1<' * MANY}1) target += x;",
        f"target += x{chr(39) * MANY};",
    ],
    ids=lambda text: text[:24],
)
def test_programs_nested_without_measure(statement: str) -> None:
    with pytest.raises(ModelError, match=r"m\.stan is nested too deeply .* line 1"):
        _ = Program("m", NORMAL % statement).code


def test_programs_that_are_long_but_not_deep() -> None:
    for statement in (
        "target += x; " * 4_500,
        "{ target += x; } " * 4_500,
        "if (1) target += x; else target -= x; " * 4_500,
        f"array[4501] real z = {{{'-1.5e-3 + 1, ' * 4_500}1}};",
        "if (x > 0) { target += x; } " * 4_500,
        f'print("{"(" * MANY}"); /* {"(" * MANY} */ // {"(" * MANY}',
        f"target += {' + '.join(['x * exp(-x)'] * 1000)};",
        "(" * 200 + ")" * 200,
    ):
        check_nesting(Program("m", NORMAL % statement).bare, "m")


@pytest.mark.parametrize(
    "text",
    ["/* " * MANY, '"' * MANY, "data { " * MANY, "transformed " * MANY, " " * 10**6, "a" * 10**6],
    ids=lambda text: text[:12],
)
def test_a_text_is_searched_in_linear_time(text: str) -> None:
    start = time.perf_counter()
    found = Program("m", text)
    try:
        assert found.data_declarations == ()
        assert not found.has_random_data
    except ModelError:
        pass
    assert time.perf_counter() - start < 5


def test_what_the_embedded_engine_finds_too_deep_is_no_fault_of_the_data() -> None:
    with pytest.raises(ModelError, match="nesting exceeds"):
        engine.load_program(Program("m", NORMAL % f"target += {'1+' * 600}x;"), "{}", "stanli", 0)


def test_stanc_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_STANC_SECONDS", 0.2)
    slow = "".join(f"real a{i};" for i in range(700))
    with pytest.raises(ModelError, match=r"stanc was not done with m\.stan"):
        engine.translate(Program("m", f"parameters {{ real x; {slow} }} model {{}}"))


def test_includes_without_measure(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(40):
        write(f"bomb{i}.stan", f"#include bomb{i + 1}.stan\n" * 2)
    write("bomb40.stan", "// \n")
    with pytest.raises(ModelError, match=r"#include of bomb0\.stan lead to too much"):
        Model(write("bomb0.stan", "#include bomb1.stan\n" * 2))
    for i in range(150):
        write(f"deep{i}.stan", f"#include deep{i + 1}.stan\n")
    with pytest.raises(ModelError, match="within each other"):
        Model(write("top.stan", "#include deep0.stan\n"))
    for name in ("x" * 5000, "/dev/zero", ".", "../" * 20 + "dev/zero", '""', "<>"):
        with pytest.raises(ModelError, match=r"include error|which is no file"):
            Model(write("odd.stan", f"#include {name}\n{NORMAL % ''}"))
    monkeypatch.setattr(program, "_MOST_BYTES", 1000)
    with pytest.raises(UsageError, match=r"long\.stan is larger than 1,000 bytes"):
        Model(write("long.stan", NORMAL % "target += x;" * 100))


def test_what_is_no_file_and_ends_never(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_PATIENCE", 0.2)
    program = tmp_path / "normal.stan"
    program.write_text(NEEDS_DATA)
    pipe, huge = tmp_path / "pipe", tmp_path / "huge.json"
    os.mkfifo(pipe)
    with huge.open("wb") as file:
        file.truncate(5 * 10**9)
    for source, message in (
        (Path("/dev/zero"), "is a device"),
        (Path("/dev/random"), "is a device"),
        (pipe, "gives nothing"),
        (huge, "larger than"),
    ):
        with pytest.raises((UsageError, DataError), match=message):
            Model(program, source)
        with pytest.raises((UsageError, DrawsError)):
            sr.read_draws(source)
    for source in (Path("/dev/zero"), pipe, huge):
        link = tmp_path / "link.stan"
        link.unlink(missing_ok=True)
        link.symlink_to(source)
        with pytest.raises((UsageError, ModelError)):
            Model(link)
    csv = tmp_path / "pipe.csv"
    csv.symlink_to(pipe)
    with pytest.raises(DrawsError, match="is a pipe"):
        sr.nuts_from_csv(csv, Model("ar"))


def test_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.write(write, b'{"N": 1, ')
    os.write(write, b'"y": [2.5]}')
    os.close(write)
    try:
        assert read_data(Path(f"/dev/fd/{read}")) == {"N": 1, "y": [2.5]}
    finally:
        os.close(read)


def test_a_pipe_that_is_open_and_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_PATIENCE", 0.2)
    read, write = os.pipe()
    os.write(write, b'{"N": 1, ')
    try:
        with pytest.raises(UsageError, match="gives nothing to read"):
            read_data(Path(f"/dev/fd/{read}"))
    finally:
        os.close(read)
        os.close(write)


def test_archives_that_unpack_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stanrovi.io.zipped_json.MOST_JSON", 1000)
    path = tmp_path / "draws.json.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("draws.json", "[" + " " * 10**6 + "]")
    with pytest.raises(DrawsError, match="larger than 1,000 bytes"):
        sr.read_draws(path)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('{"N": 1, "y": [2], "N": 1}', "N"),
        ('{"N": 2, "y": [2], "y": [1], "N": 1, "y": [2]}', "N, y|y, N"),
        ('{"N": 1, "y": [2], "t": {"1": 2, "1": 3}}', "1"),
    ],
)
def test_names_that_stand_twice(caplog: pytest.LogCaptureFixture, text: str, names: str) -> None:
    with caplog.at_level(logging.WARNING):
        assert read_data(text)["N"] == 1
    assert any(f"more than one value for {name};" in caplog.text for name in names.split("|"))
    caplog.clear()
    assert parse_json('{"a": {"b": 1}, "b": 2}', "x") == {"a": {"b": 1}, "b": 2}
    assert not caplog.text


def test_data_of_many_names(write: Write) -> None:
    data = "{" + ",".join(f'"{"k" * 50}{i}": 1' for i in range(100_000)) + "}"
    with pytest.raises(DataError, match="and 99,993 more") as told:
        Model(write("m.stan", NEEDS_DATA), data)
    assert len(str(told.value)) < 1000
    declared = "".join(f"real {'k' * 200}{i}; " for i in range(500))
    with pytest.raises(DataError, match="and 497 more") as told:
        Model(write("many.stan", f"data {{ {declared} }} {NORMAL % ''}"), {"k" * 200: 1})
    assert len(str(told.value)) < 2000
    with pytest.raises(DataError, match="more characters") as told:
        Model(write("m.stan", NEEDS_DATA), f'{{"N": 1, "y": "{"y" * 10**6}"}}')
    assert len(str(told.value)) < 1000


@pytest.mark.parametrize("given", ["", None, "{}", '{"N": [', '{"y": "x"}'])
@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ("data { int N; real y[N]; } " + NORMAL % "", "array[N] real y"),
        ("data { int N; } " + NORMAL % "real z; z <- 1;", "assign with ="),
        ("data { int N; } " + NORMAL % "increment_log_prob(x);", "target with +="),
        ("data { int N; }\n # comment\n" + NORMAL % "", "begin with //"),
        ("data { int N; } " + NORMAL % "target += normal_log(x, 0, 1);", "normal_lpdf(y"),
        ("data { int N; } " + NORMAL % "real z = integrate_ode_rk45(x);", "ode_rk45, ode_bdf"),
    ],
)
def test_what_stan_has_removed_is_told_before_the_data(
    write: Write, text: str, cure: str, given: str | None
) -> None:
    with pytest.raises(ModelError, match=r"stanc rejected m\.stan") as told:
        Model(write("m.stan", text), given if given != "" else {})
    assert cure in str(told.value)


def test_a_fault_in_a_line_of_a_megabyte() -> None:
    for text in (
        NORMAL % f"target += {'x, ' * 100} foo; /* {'a' * 10**6} */",
        NORMAL % f"/* {'a' * 10**6} */ target += foo;",
    ):
        with pytest.raises(ModelError) as told:
            engine.translate(Program("m", text))
        assert len(str(told.value)) < 2000
        head, fault, caret, *rest = [
            line for line in str(told.value).splitlines()[1:] if "---" not in line
        ]
        assert head.startswith(("Semantic error in 'm.stan', line 1", "Syntax error in 'm.stan'"))
        assert fault[caret.index("^")] in "f,"
        assert "foo" in "".join(rest) or "Expected" in "".join(rest)


@pytest.mark.parametrize("block", ["model", "transformed data"])
def test_long_and_garbling_words_of_a_program(write: Write, block: str) -> None:
    words = "\x1b[31m" + "ä" * 50_000
    body = f'reject("{words}");'
    text = "parameters { real x; } model { x ~ std_normal(); " + (
        f"{body} }}" if block == "model" else "}"
    )
    if block != "model":
        text = f"transformed data {{ {body} }} {text}"
    path = write("m.stan", text)
    with pytest.raises(StanroviError, match="more characters") as told:
        sr.fit(path, seed=1)
    assert len(str(told.value)) < 2000
    assert "\x1b" not in str(told.value)


def test_words_are_shortened_and_made_printable() -> None:
    assert shortened("as it is\n\tso") == "as it is\n\tso"
    assert shortened("x" * 600) == "x" * 500 + " ... (100 more characters)"
    assert printable("a\x1b[1m\0\r\nb\r\x9b\u202ec\udcff") == (
        "a\\x1b[1m\\x00\nb\\x0d\\x9b\\u202ec\\udcff"
    )
    assert np.all([printable(letter) == letter for letter in "äß😀𝛼漢"])


SIZED = {
    "bigp": "parameters { vector[2000000000] x; } model { x ~ std_normal(); }",
    "bigd": "data { int N; } parameters { vector[N] x; } model { x ~ std_normal(); }",
    "bigm": "data { int N; } parameters { matrix[N, N] x; } model { sum(x) ~ std_normal(); }",
    "bigc": "data { int N; } parameters { cov_matrix[N] x; } model { }",
    "bigt": "data { int N; } transformed data { matrix[N, N] z = rep_matrix(0, N, N); } "
    + NORMAL % "",
    "bigg": "data { int N; } " + NORMAL % ""
    + "generated quantities { array[N, N] real z = rep_array(x, N, N); }",
}  # fmt: skip


@pytest.mark.parametrize("name", SIZED)
def test_sizes_beyond_memory_are_told_with_their_numbers(write: Write, name: str) -> None:
    path = write(f"{name}.stan", SIZED[name])
    with pytest.raises(ModelError, match=rf"{name} declares .* GiB of memory") as told:
        Model(path, {"N": 2_000_000_000})
    assert "2000000000" in str(told.value) or "N = 2,000,000,000" in str(told.value)


def test_draws_beyond_memory_are_told_with_their_numbers(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Model(write("normal.stan", NORMAL % ""))
    monkeypatch.setattr("stanrovi.stan.memory.memory", lambda: 8e9)
    for work in (
        lambda: sr.fit(model, draws=10**9, seed=1),
        lambda: sr.nuts(model, iter_sampling=10**9, chains=1, seed=1, engine="stanli"),
        lambda: sr.nuts(model, iter_sampling=10**9, chains=1, seed=1, engine="numpy"),
    ):
        with pytest.raises(UsageError, match=r"1,000,000,000 draws of normal, with 1 dimensions"):
            work()
    with pytest.raises(MemoryError, match=r"5 draws of normal, .*: no more"), drawing(model, 5):
        raise MemoryError("no more")


def test_memory_that_ends_while_a_program_is_loaded(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("std::bad_alloc")

    monkeypatch.setattr("stanli.bridgestan_model", fail)
    monkeypatch.setattr(engine, "log_prints", lambda: None)
    with pytest.raises(ModelError, match=r"memory ran out .*bad_alloc.* vector\[N\] x \(N = 7\)"):
        Model(write("bigd.stan", SIZED["bigd"]), {"N": 7})


def test_what_cmdstan_prints_is_shortened(tmp_path: Path) -> None:
    (tmp_path / "m_stdout.txt").write_text("Exception: \x1b[31m" + "x" * 10**5 + "\nlast\n")
    reason = console_reason(tmp_path)
    assert "more characters" in reason
    assert len(reason) < 1000
    assert "\x1b" not in reason


def test_a_cache_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(OutputError, match=r"cannot be made .* set XDG_CACHE_HOME"):
        compiled(Program("m", NORMAL % ""), "compiler", ".so", lambda path: path)
