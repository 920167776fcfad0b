"""JSON at the edges: values made safe for writing, attributes of files read with suspicion."""

from __future__ import annotations

import json
import logging
import math
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from stanrovi.errors import shortened

logger = logging.getLogger(__name__)

T = TypeVar("T")
MOST_JSON = 2**30  # bytes of a file that are read


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


def parse_json(text: str, where: str) -> Any:
    """Parse JSON that people write, and warn of names that stand twice in an object.

    Parameters
    ----------
    text : str
    where : str
        What the warning calls it.

    Returns
    -------
    object

    Raises
    ------
    ValueError, RecursionError
        As ``json.loads``.
    """
    repeated: dict[str, None] = {}

    def collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        collected = dict(pairs)
        if len(collected) < len(pairs):
            counts = Counter(name for name, _ in pairs)
            repeated.update(dict.fromkeys(name for name, n in counts.items() if n > 1))
        return collected

    value = json.loads(text, object_pairs_hook=collect)
    if repeated:
        names = shortened(", ".join(repeated))
        logger.warning("%s: more than one value for %s; the last of each is used", where, names)
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
