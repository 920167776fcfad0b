"""Data for a Stan program: reading them, and checking them before an engine does.

Engines stop at the first problem and some do not name the variable. The
check here names each variable that is missing or of the wrong shape or type;
what it cannot judge (bounds that are expressions, tuples) the engine does.
"""

from __future__ import annotations

import ast
import heapq
import json
import logging
import math
import operator
import os
from array import array as numbers
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import stanio

from stanrovi.arguments import nearest, suggestion
from stanrovi.errors import DataError, UsageError, few, said, shortened
from stanrovi.io.files import usable_path
from stanrovi.io.json_values import MOST_JSON, parse_json
from stanrovi.io.reading import other_format, read_bytes
from stanrovi.stan.program import Declaration

logger = logging.getLogger(__name__)

DataSource = str | os.PathLike[str] | Mapping[str, Any] | None

# Stan's JSON dialect writes these as strings; every engine reads these spellings.
_STAN_FLOATS = {"NaN", "Inf", "-Inf", "Infinity", "-Infinity"}
_DEEPEST = 64  # lists and objects within each other, as NumPy's dimensions
_MOST, _LONG = 20, 100  # names that are compared, and characters of a value
_INT_RANGE = (-(2**31), 2**31 - 1)
_OPERATORS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul
}  # fmt: skip


def read_data(source: DataSource) -> dict[str, Any]:
    """Read data from whatever form the user has.

    Parameters
    ----------
    source : path, str, mapping or None
        Path of a JSON file, JSON text, a mapping of
        names to numbers, lists or arrays, or None for no data.

    Returns
    -------
    dict
        JSON values by variable name.

    Raises
    ------
    UsageError
        If the file is not there or cannot be read.
    DataError
        If the content is not a JSON object of Stan data, or no engine can read a part of it.
    """
    data = _given(source)
    for name, value in data.items():
        if wrong := _unreadable(name, value):
            told = shortened(json.dumps(name)[1:-1], _LONG)
            raise DataError(f"{told} in the data {wrong}; correct it, or leave it out")
    return data


def _given(source: DataSource) -> dict[str, Any]:
    if source is None:
        return {}
    if isinstance(source, Mapping):
        try:
            given = {str(name): value for name, value in source.items()}
        except Exception as error:  # anybody may have written its type
            raise DataError(
                f"the data are a {type(source).__name__} that raises {type(error).__name__} when "
                "it is gone through; a dict will do"
            ) from error
        return {name: _from_python(name, value) for name, value in given.items()}
    if isinstance(source, str) and source.lstrip().startswith(("{", "[")):
        return _parse(source, "the data text")
    if not isinstance(source, str | os.PathLike):
        raise UsageError(
            f"data must be a path, JSON text or a mapping, not {type(source).__name__}"
        )
    return _parse(_read_text(usable_path(source)), str(source))


def _unreadable(name: str, value: Any) -> str:
    """Say what of a variable, declared or not, no engine can read; empty if nothing is so."""
    if "\0" in name:
        return "has a zero byte in its name"
    level = [name, value]
    for _ in range(_DEEPEST + 1):
        if wrong := next(filter(None, map(_no_leaf, level)), ""):
            return f"holds {wrong}"
        level = [item for inner in level if isinstance(inner, list | dict) for item in _in(inner)]
        if not level:
            return ""
    return f"is nested more than {_DEEPEST} deep, and data are numbers and arrays"


def _in(value: list[Any] | dict[str, Any]) -> Iterable[Any]:
    """Items and names in a list or an object; none of a list of numbers, often millions of them."""
    if isinstance(value, dict):
        return [*value, *value.values()]
    try:
        numbers("d", value)
    except (TypeError, OverflowError):
        return value
    return ()


def _no_leaf(value: Any) -> str:
    """Say what is wrong with a number or a text that no engine reads."""
    try:
        if isinstance(value, int):
            float(value)
        elif isinstance(value, str):
            value.encode()
    except OverflowError:
        return "an integer too large for a number of Stan"
    except UnicodeEncodeError:
        return "half of a surrogate pair, which is no character"
    return ""


def to_json(data: Mapping[str, Any]) -> str:
    """Write data as JSON text that every engine reads (no bare NaN or Infinity)."""
    try:
        return json.dumps(data, allow_nan=False)
    except ValueError:
        return json.dumps(_spell_floats(data), allow_nan=False)


def canonical(data: Mapping[str, Any]) -> str:
    """Write data as one text, the same for equal values: 1 is 1.0, and order does not matter."""
    return json.dumps(_floats(dict(data)), sort_keys=True)


def _floats(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _floats(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        only_floats = set(map(type, value)) == {float}  # often millions of them
        return value if only_floats else [_floats(inner) for inner in value]
    return float(value) if isinstance(value, (bool, int)) else value


def check_data(
    data: Mapping[str, Any],
    declarations: Sequence[Declaration],
    program: str,
    *,
    may_be_nan: bool = False,
) -> None:
    """Check data against the declarations of the data block.

    Parameters
    ----------
    data : mapping
        JSON values by name; names the program does not declare are ignored, as Stan does.
    declarations : sequence of Declaration
        The program's data block.
    program : str
        Name of the program, for messages.
    may_be_nan : bool
        Whether the program expects NaN in real data, and looks for it.

    Raises
    ------
    DataError
        Naming every missing variable, or the first one of wrong shape, type or range, or the
        first entry that is NaN.
    """
    missing = [item for item in declarations if item.name not in data]
    if missing:
        undeclared = set(data) - {item.name for item in declarations}
        raise DataError(_missing_message(missing, data, program) + _misspelt(missing, undeclared))
    for item in declarations:
        if not item.is_structured:
            _check_variable(item, data, program, may_be_nan=may_be_nan)


def _missing_message(missing: Sequence[Declaration], data: Mapping[str, Any], program: str) -> str:
    names = few([item.name for item in missing])
    declared = few(list(map(str, missing)), "; ")
    given = few(list(data)) or "nothing"
    return (
        f"the data lack {names}, which {program} declares ({declared}); they hold {given}. "
        "Add what is missing to the data."
    )


def _misspelt(missing: Sequence[Declaration], undeclared: Iterable[str]) -> str:
    known = heapq.nsmallest(_MOST**2, undeclared)  # comparing all would take for ever
    pairs = [(nearest(item.name, known), item.name) for item in missing[:_MOST]]
    hints = [f"is {given} meant to be {name}?" for given, name in pairs if given]
    return f" Spelling and case must agree: {few(hints, ' ')}" if hints else ""


def _check_variable(
    item: Declaration, data: Mapping[str, Any], program: str, *, may_be_nan: bool
) -> None:
    where = f"data variable {item.name} ({program} declares {item})"
    array = _as_array(data[item.name], where)
    _check_shape(item, array.shape, data, where)
    if item.is_integer or not may_be_nan:
        _refuse_nan(item.name, array, where)
    if item.is_integer:
        _check_integers(array, where)
    elif not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        logger.warning("%s holds %d value(s) that are NaN or infinite", where, bad)
    _check_bounds(item, array, where)


def _as_array(value: Any, where: str) -> np.ndarray:
    try:
        array = np.asarray(value)
        if array.dtype.kind in "iuf":
            return array
    except ValueError:
        pass  # ragged, or worse: the slow path finds out which
    _refuse_non_numbers(value, where)
    try:
        return np.asarray(_plain_floats(value), dtype=np.float64)
    except ValueError as error:
        what = "is ragged: its rows differ in length"
        if "maximum number of dimension" in str(error):
            what = "has more dimensions than NumPy knows; give them as one, and index into that"
        raise DataError(f"{where} {what}") from None


def _refuse_non_numbers(value: Any, where: str) -> None:
    for leaf in _leaves(value):
        if isinstance(leaf, bool):
            raise DataError(f"{where} holds {str(leaf).lower()}; Stan wants 0 or 1")
        if leaf is None:
            raise DataError(f"{where} holds null; Stan has no missing values, so leave them out")
        if isinstance(leaf, dict) and "1" in leaf:
            raise DataError(f"{where} holds a tuple of Stan's; give a list or an array instead")
        if isinstance(leaf, dict) or (isinstance(leaf, str) and leaf not in _STAN_FLOATS):
            raise DataError(
                f"{where} holds {shortened(json.dumps(leaf), _LONG)}, which is not a number"
            )


def _check_shape(
    item: Declaration, shape: tuple[int, ...], data: Mapping[str, Any], where: str
) -> None:
    sizes = [known_size(text, data) for text in item.sizes]
    if math.prod(shape) == 0 and (0 in sizes or None in sizes):
        return  # Stan reads [] as any array without elements
    negative = any(size is not None and size < 0 for size in sizes)
    agrees = len(shape) == len(sizes) and all(
        want is None or want == got for want, got in zip(sizes, shape, strict=True)
    )
    if not agrees:
        known = [
            f"{text} = {size}"
            for text, size in dict(zip(item.sizes, sizes, strict=True)).items()
            if size is not None and text != str(size)
        ]
        hint = f" with {', '.join(known)}" if known else ""
        has = "has a negative size" if negative else _shape_words(shape)
        raise DataError(f"{where}{hint} {has}; make data and sizes agree")


def _shape_words(shape: tuple[int, ...]) -> str:
    if not shape:
        return "is a single number"
    return (
        f"has length {shape[0]}" if len(shape) == 1 else f"has shape {' x '.join(map(str, shape))}"
    )


def known_size(text: str, data: Mapping[str, Any]) -> int | None:
    """Value of a size if it is made of literals and data variables by ``+``, ``-`` and ``*``."""
    if text.isdigit():
        return int(text)
    if text in data:
        return _whole(data[text])
    try:
        return _computed(ast.parse(f"({text})", mode="eval").body, data)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # what Stan alone can read
        return None


def _computed(node: ast.expr, data: Mapping[str, Any]) -> int | None:
    """Compute an expression; None where a part of it is not known."""
    match node:
        case ast.Constant(value):
            return _whole(value)
        case ast.Name(name):
            return _whole(data.get(name))
        case ast.BinOp(left, ast.Add() | ast.Sub() | ast.Mult() as sign, right):
            a, b = _computed(left, data), _computed(right, data)
            return None if a is None or b is None else _OPERATORS[type(sign)](a, b)
    return None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _refuse_nan(name: str, array: np.ndarray, where: str) -> None:
    if array.dtype.kind != "f" or not len(found := np.argwhere(np.isnan(array))):
        return
    entry = name + (f"[{','.join(str(i + 1) for i in found[0])}]" if array.ndim else "")
    more = f", and {len(found) - 1} more entries" if len(found) > 1 else ""
    raise DataError(
        f"{entry} is NaN{more}: {where}. Stan has no missing values, and NaN makes the whole "
        "log density NaN: leave those observations out (y[~np.isnan(y)] in NumPy, dropna() in "
        "pandas) and shorten the sizes, or give entries that the program never reads a number."
    )


def _check_integers(array: np.ndarray, where: str) -> None:
    if array.size == 0:
        return
    if array.dtype.kind not in "iu":
        flat = array.astype(np.float64).ravel()
        if (large := (flat < _INT_RANGE[0]) | (flat > _INT_RANGE[1])).any():
            raise DataError(f"{where} holds {flat[large][0]:g}, beyond Stan's 32-bit integers")
        not_whole = flat[flat != np.round(flat)]
        example = not_whole[0] if not_whole.size else flat[0]
        raise DataError(f"{where} must hold integers but has {example} (write 1, not 1.0)")
    if array.min() < _INT_RANGE[0] or array.max() > _INT_RANGE[1]:
        worst = max(array.min(), array.max(), key=abs)
        raise DataError(f"{where} holds {worst}, beyond Stan's 32-bit integers")


def _check_bounds(item: Declaration, array: np.ndarray, where: str) -> None:
    if array.size and item.lower is not None and array.min() < item.lower:
        raise DataError(f"{where} is {array.min():g}, but its lower bound is {item.lower:g}")
    if array.size and item.upper is not None and array.max() > item.upper:
        raise DataError(f"{where} is {array.max():g}, but its upper bound is {item.upper:g}")


def _read_text(path: Path) -> str:
    if path.is_dir():
        raise UsageError(f"data {path} is a folder; give the path of a JSON file")
    try:
        return read_bytes(path, most=MOST_JSON).decode("utf-8-sig")
    except FileNotFoundError:
        near = suggestion(path.name, (file.name for file in path.parent.glob("*.json")))
        raise UsageError(
            f"no such data file: {path}; check the path of the JSON data.{near}"
        ) from None
    except OSError as error:
        raise UsageError(f"cannot read the data file {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        if told := other_format(error.object):
            raise DataError(f"{path} {told} (data are read as JSON)") from None
        raise DataError(
            f"{path} is not UTF-8 text (byte {error.start} is 0x{error.object[error.start]:02x}); "
            "data are read as JSON: save them in UTF-8"
        ) from None


def _parse(text: str, where: str) -> dict[str, Any]:
    try:
        data = parse_json(text, where)
    except json.JSONDecodeError as error:
        raise DataError(f"{where} {_no_json(text.strip(), error)}") from None
    except ValueError:  # of Python's own, against numbers that take forever to convert
        raise DataError(f"{where} holds an integer of thousands of digits") from None
    except RecursionError:
        raise DataError(f"{where} is nested too deeply to be Stan data") from None
    if not isinstance(data, dict):
        raise DataError(
            f"{where} holds a JSON {_json_kind(data)}; Stan data are an object of names and values"
        )
    return data


def _no_json(text: str, error: json.JSONDecodeError) -> str:
    if not text:
        return "is empty; data without variables are {}"
    if text.startswith(("{", "[")):
        return f"is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}"
    first = text.splitlines()[0][:40]
    what = "R's dump format" if "<-" in first else f"no JSON (it begins with {first!r})"
    return (
        f'is {what}. Data are a JSON object such as {{"N": 2, "y": [0.5, 1.5]}}, which '
        "write_stan_json of cmdstanpy and of cmdstanr writes; in Python, a mapping will do"
    )


def _json_kind(value: Any) -> str:
    kinds = {list: "array", str: "string", bool: "truth value", type(None): "null"}
    return kinds.get(type(value), "number")


def _from_python(name: str, value: Any) -> Any:
    try:
        return json.loads(stanio.dump_stan_json({name: value}))[name]
    except Exception as error:
        endless = isinstance(error, RecursionError)
        why = "it holds itself or is nested too deeply" if endless else said(error)
        raise DataError(
            f"data variable {name} ({type(value).__name__}) cannot be written as Stan data: {why}. "
            "Give numbers, lists or NumPy arrays."
        ) from None


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _plain_floats(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain_floats(item) for item in value]
    return float(value) if isinstance(value, str) else value


def _spell_floats(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _spell_floats(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_spell_floats(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return value
