"""JSON at the edges: values made safe for writing, attributes of files read with suspicion."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


def plain(value: Any) -> Any:
    """Convert to what JSON knows: arrays to lists, numbers that are none to null.

    Parameters
    ----------
    value : object
        Mappings, sequences, arrays, NumPy scalars, paths, and what JSON knows itself.

    Returns
    -------
    object
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def json_text(value: Any) -> str:
    """JSON text of a value; numbers that are none become null."""
    return json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False)


def json_attribute(attrs: Mapping[str, Any], key: str, convert: Callable[[Any], T]) -> T | None:
    """Read an attribute that is JSON when stanrovi wrote it, and anything when others did.

    Parameters
    ----------
    attrs : mapping
        Attributes of draws or of a file.
    key : str
    convert : callable
        Takes the parsed JSON to what is wanted of it; raises what Python raises on
        its own for a wrong type, a missing key or a number that is none.

    Returns
    -------
    object or None
        None where the attribute is missing or is not what ``convert`` expects.
    """
    try:
        return convert(json.loads(attrs[key]))
    except (TypeError, ValueError, LookupError, ArithmeticError, RecursionError):
        return None
