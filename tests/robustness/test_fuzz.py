"""Bounded fuzzing: whatever comes in, a value, or an error of ours with its exit code.

The examples are the same every time; raise FUZZ_EXAMPLES for a longer search.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stanrovi.errors import DataError, StanroviError
from stanrovi.io.posteriordb import read_posteriordb
from stanrovi.stan.data import check_data, read_data, to_json
from stanrovi.stan.program import Program
from stanrovi_cli.app import COMMANDS, cli

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "200"))
bounded = settings(
    max_examples=EXAMPLES, derandomize=True, deadline=None, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)  # fmt: skip

PROGRAM = Program(
    "fuzzed",
    """
    data {
      int<lower=0> N; int K; array[N] int<lower=0, upper=1> z; matrix[N, K] X;
      array[2] vector[N] y; real<lower=0> a; complex c; tuple(real, array[2] int) t;
    }
    """,
)
NAMES = [item.name for item in PROGRAM.data_declarations]

leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-2, 4), st.floats(),
    st.integers(10**18, 10**320), st.text(max_size=5), st.sampled_from(["NaN", "Inf", "-Infinity"]),
)  # fmt: skip
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)
objects = st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=3), values, max_size=9)


def tells(error: StanroviError, *words: str) -> None:
    """Check that a message is one, of bearable length, and holds the words."""
    assert 0 < len(str(error)) < 2000
    assert all(word in str(error) for word in words)


@pytest.mark.slow
@bounded
@given(objects)
def test_objects_pass_the_check_or_are_refused(data: dict[str, Any]) -> None:
    """What passes reaches the engine as strict JSON with nothing lost."""
    try:
        read = read_data(json.dumps(data))
        check_data(read, PROGRAM.data_declarations, PROGRAM.name)
    except DataError as error:
        tells(error)
        return
    back = json.loads(to_json(read), parse_constant=lambda word: pytest.fail(f"bare {word}"))
    assert back.keys() == read.keys()
    assert back["N"] == read["N"]


@bounded
@given(
    st.binary(max_size=60)
    | st.text(alphabet='{}[]":,0123456789.eE+-NanIf\\u "', max_size=60).map(str.encode)
)
def test_bytes_are_data_or_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "data.json"
    path.write_bytes(content)
    try:
        data = read_data(path)
    except DataError as error:
        tells(error, str(path))
        return
    assert isinstance(data, dict)


@bounded
@given(st.data())
def test_good_files_with_a_wound_are_data_or_are_refused(data: st.DataObject) -> None:
    good = json.dumps(
        {"N": 2, "K": 1, "z": [0, 1], "X": [[1], [2]], "y": [[1, 2], [3, 4]], "a": 1, "c": [0, 1],
         "t": {"1": 1, "2": [1, 2]}}
    )  # fmt: skip
    place = data.draw(st.integers(0, len(good)))
    length = data.draw(st.integers(0, 6))
    patch = data.draw(st.text(alphabet='{}[]":,019.eE-NaN\0é', max_size=4))
    try:
        read = read_data(good[:place] + patch + good[place + length :] or "{")
        check_data(read, PROGRAM.data_declarations, PROGRAM.name)
    except StanroviError as error:
        tells(error)


@bounded
@given(
    st.lists(
        st.dictionaries(
            st.from_regex(r"[ab](\[[0-9,]{0,4}\])?", fullmatch=True),
            st.lists(leaves, max_size=3) | leaves,
            max_size=3,
        ),
        max_size=3,
    )
)
def test_reference_draws_are_read_or_refused(tmp_path: Path, chains: Any) -> None:
    path = tmp_path / "draws.json"
    path.write_text(json.dumps(chains))
    try:
        draws = read_posteriordb(path)
    except StanroviError as error:
        tells(error, str(path))
        return
    assert all(np.isfinite(x).all() for x in draws.posterior.values())


def options() -> list[tuple[str, click.Option]]:
    """Every option that takes a value, of every command."""
    context = click.Context(cli)
    found = []
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        found += [
            (name, option)
            for option in command.params
            if isinstance(option, click.Option) and not option.is_flag
        ]
    return found


words = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8),
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(["", "-1", "0", "1e400", "nan", "inf", "-", "--", ".", "/", "9" * 5000, "a,b"]),
)


@bounded
@given(
    st.lists(st.tuples(st.sampled_from(options()), words), min_size=1, max_size=4),
    st.sampled_from(["no-such-model", "no_such.stan", ""]),
)
def test_options_of_any_kind_are_taken_or_refused(
    tmp_path_factory: pytest.TempPathFactory,
    chosen: list[tuple[tuple[str, click.Option], str]],
    model: str,
) -> None:
    """The model is missing, so that nothing runs: exit code 2, whatever else is wrong."""
    command = chosen[0][0][0]
    arguments = [command] + ([model] if command != "demo" else ["--no-such-option"])
    for (_, option), word in chosen:
        arguments.append(f"{option.opts[0]}={word}")
    folder = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("nowhere"))
    try:
        result = CliRunner().invoke(cli, arguments)
        left = os.listdir()
    finally:
        os.chdir(folder)
    assert isinstance(result.exception, SystemExit), (arguments, result.exception)
    assert result.exit_code in (1, 2), arguments
    assert "Error: " in result.stderr
    assert left == []


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("fit", "ar", "--draws", str(10**30)), 2),
        (("fit", "ar", "--draws", str(2**63)), 2),
        (("fit", "ar", "--max-seconds", "nan"), 2),
        (("nuts", "ar", "--chains", str(2**32 + 1)), 2),
        (("nuts", "ar", "--iter-sampling", str(2**32 + 10)), 2),
        (("nuts", "ar", "--iter-warmup", str(10**30)), 2),
        (("nuts", "ar", "--max-treedepth", str(10**30)), 2),
        (("nuts", "ar", "--adapt-delta", "nan"), 2),
        (("bench", "ar", "--seeds", "9" * 5000), 2),
        (("bench", "ar", "--seeds", "0-" + "9" * 5000), 2),
        (("fit", "ar", "--seed", "9" * 5000), 2),
    ],
)
def test_numbers_beyond_all_bounds(arguments: tuple[str, ...], code: int) -> None:
    result = CliRunner().invoke(cli, list(arguments))
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == code
    assert "Error: " in result.stderr


def test_more_memory_than_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    import stanrovi_stan_models

    def full() -> None:
        raise MemoryError("Unable to allocate 8.00 TiB")

    monkeypatch.setattr(stanrovi_stan_models, "names", full)
    result = CliRunner().invoke(cli, ["models"])
    assert result.exit_code == 1
    assert "Error: Unable to allocate 8.00 TiB; ask for less at a time." in result.stderr
