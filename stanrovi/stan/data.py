"""Data for a Stan program: reading them, and checking them before an engine does.

Engines stop at the first problem and some do not name the variable. The
check here names each variable that is missing or of the wrong shape or type;
what it cannot judge (bounds that are expressions, tuples) the engine does.
"""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import stanio

from stanrovi.arguments import nearest, suggestion
from stanrovi.errors import DataError, UsageError
from stanrovi.io.files import usable_path
from stanrovi.stan.program import Declaration

logger = logging.getLogger(__name__)

DataSource = str | os.PathLike[str] | Mapping[str, Any] | None

# Stan's JSON dialect writes these as strings; every engine reads these spellings.
_STAN_FLOATS = {"NaN", "Inf", "+Inf", "-Inf", "Infinity", "+Infinity", "-Infinity"}
_COMPRESSED = (b"\x1f\x8b", b"PK", b"BZh", b"\xfd7zXZ")
_INT_RANGE = (-(2**31), 2**31 - 1)


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
        If the content is not a JSON object of Stan data.
    """
    if source is None:
        return {}
    if isinstance(source, Mapping):
        return {str(name): _from_python(str(name), value) for name, value in source.items()}
    if isinstance(source, str) and source.lstrip().startswith(("{", "[")):
        return _parse(source, "the data text")
    if not isinstance(source, str | os.PathLike):
        raise UsageError(
            f"data must be a path, JSON text or a mapping, not {type(source).__name__}"
        )
    return _parse(_read_text(usable_path(source)), str(source))


def to_json(data: Mapping[str, Any]) -> str:
    """Write data as JSON text that every engine reads (no bare NaN or Infinity)."""
    try:
        return json.dumps(data, allow_nan=False)
    except ValueError:
        return json.dumps(_spell_floats(data), allow_nan=False)
    except RecursionError:
        raise DataError("the data are nested too deeply to be Stan data") from None


def canonical(data: Mapping[str, Any]) -> str:
    """Write data as one text, the same for equal values: 1 is 1.0, and order does not matter."""
    return json.dumps(_floats(dict(data)), sort_keys=True)


def _floats(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _floats(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_floats(inner) for inner in value]
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
            try:
                _check_variable(item, data, program, may_be_nan=may_be_nan)
            except RecursionError:
                raise DataError(f"data variable {item.name} is nested too deeply") from None


def _missing_message(missing: Sequence[Declaration], data: Mapping[str, Any], program: str) -> str:
    names = ", ".join(item.name for item in missing)
    declared = "; ".join(str(item) for item in missing)
    given = ", ".join(data) if data else "nothing"
    return (
        f"the data lack {names}, which {program} declares ({declared}); they hold {given}. "
        "Add what is missing to the data."
    )


def _misspelt(missing: Sequence[Declaration], undeclared: Iterable[str]) -> str:
    pairs = [(nearest(item.name, sorted(undeclared)), item.name) for item in missing]
    hints = [f"is {given} meant to be {name}?" for given, name in pairs if given]
    return f" Spelling and case must agree: {' '.join(hints)}" if hints else ""


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
    except ValueError:
        raise DataError(f"{where} is ragged: its rows differ in length") from None
    except OverflowError:
        raise DataError(f"{where} holds an integer too large for a number of Stan") from None


def _refuse_non_numbers(value: Any, where: str) -> None:
    for leaf in _leaves(value):
        if isinstance(leaf, bool):
            raise DataError(f"{where} holds {str(leaf).lower()}; Stan wants 0 or 1")
        if leaf is None:
            raise DataError(f"{where} holds null; Stan has no missing values, so leave them out")
        if isinstance(leaf, dict) or (isinstance(leaf, str) and leaf not in _STAN_FLOATS):
            raise DataError(f"{where} holds {json.dumps(leaf)}, which is not a number")


def _check_shape(
    item: Declaration, shape: tuple[int, ...], data: Mapping[str, Any], where: str
) -> None:
    sizes = [known_size(text, data) for text in item.sizes]
    if math.prod(shape) == 0 and (0 in sizes or None in sizes):
        return  # Stan reads [] as any array without elements
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
        raise DataError(f"{where}{hint} {_shape_words(shape)}; make data and sizes agree")


def _shape_words(shape: tuple[int, ...]) -> str:
    if not shape:
        return "is a single number"
    return (
        f"has length {shape[0]}" if len(shape) == 1 else f"has shape {' x '.join(map(str, shape))}"
    )


def known_size(text: str, data: Mapping[str, Any]) -> int | None:
    """Value of a size expression if it is a literal or a data variable."""
    if text.isdigit():
        return int(text)
    value = data.get(text)
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
        if (large := np.abs(flat) > _INT_RANGE[1] + 1.0).any():
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
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        near = suggestion(path.name, (file.name for file in path.parent.glob("*.json")))
        raise UsageError(
            f"no such data file: {path}; check the path of the JSON data.{near}"
        ) from None
    except OSError as error:
        raise UsageError(f"cannot read the data file {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        if error.object.startswith(_COMPRESSED):
            raise DataError(f"{path} is compressed; unpack it, and give the JSON file") from None
        raise DataError(
            f"{path} is not UTF-8 text (byte {error.start} is 0x{error.object[error.start]:02x}); "
            "data are read as JSON: save them in UTF-8"
        ) from None


def _parse(text: str, where: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
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
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise DataError(
            f"data variable {name} ({type(value).__name__}) cannot be written as Stan data: {error}"
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
