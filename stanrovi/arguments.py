"""Arguments of the entry points: checked before any work, refused in one wording."""

from __future__ import annotations

import difflib
import math
import operator
import os
import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, SupportsIndex

from stanrovi.errors import StanroviError, UsageError

MAX_SEED = 2**32 - 1  # engines take 32 bits
_LONG = 80  # letters of a value that a message tells
_CONTROL_GROUP = Path("/sys/fs/cgroup/memory.max")


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Find the known word that is spelt most alike, in whatever case; None if none is near."""
    spelt = {str(name).lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), spelt, n=1)
    return spelt[near[0]] if near else None


def suggestion(word: str, known: Iterable[str]) -> str:
    """``" Did you mean 'x'?"``, or nothing when nothing is near."""
    near = nearest(word, known)
    return f" Did you mean {near!r}?" if near else ""


def check_choice(what: str, value: str, known: Iterable[str]) -> None:
    """Refuse what is none of a few names.

    Raises
    ------
    UsageError
        With the nearest name, and all of them.
    """
    names = tuple(known)
    if not isinstance(value, str) or value not in names:
        near = suggestion(value, names) if isinstance(value, str) else ""
        raise UsageError(f"Unknown {what} {told(value)}.{near} Choose from {', '.join(names)}.")


def checked_count(name: str, value: SupportsIndex, least: int, most: int | None = None) -> int:
    """Take a whole number, of whatever type, within bounds.

    Raises
    ------
    UsageError
        If it lies outside, or is no whole number.
    """
    bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
    try:
        number = least - 1 if isinstance(value, bool) else operator.index(value)
    except Exception:  # anybody may have written its type
        number = least - 1
    if number < least or (most is not None and number > most):
        raise UsageError(f"{name} must be a whole number {bounds}, not {told(value)}.")
    return number


def checked_number(name: str, value: float, least: float) -> float:
    """Take a finite number, of whatever type, that is large enough.

    Raises
    ------
    UsageError
        If it is too small, infinite, or no number.
    """
    number = _number(value)
    if not least <= number < math.inf:
        bound = "" if least == -math.inf else f" of at least {least}"
        raise UsageError(f"{name} must be a finite number{bound}, not {told(value)}.")
    return number


def checked_between(name: str, value: float, low: float, high: float) -> float:
    """Take a number, of whatever type, that lies strictly between two others.

    Raises
    ------
    UsageError
        If it does not, or is no number.
    """
    number = _number(value)
    if not low < number < high:
        raise UsageError(f"{name} must lie between {low} and {high}, not {told(value)}.")
    return number


def checked_flag(name: str, value: bool) -> bool:
    """Take a yes or a no; a text such as "no", which Python takes for a yes, is neither.

    Raises
    ------
    UsageError
        If it is something else.
    """
    if not isinstance(value, bool) and type(value).__name__ not in ("bool", "bool_"):
        raise UsageError(f"{name} must be True or False, not {told(value)}.")
    return bool(value)


def checked_text(name: str, value: str | None) -> str | None:
    """Take a text, if any.

    Raises
    ------
    UsageError
        If it is something else.
    """
    if value is not None and not isinstance(value, str):
        raise UsageError(f"{name} must be a text, not {told(value)}.")
    return value


def checked_mapping(name: str, value: Mapping[str, Any] | None, of: str) -> dict[str, Any]:
    """Take what is told by name, or nothing.

    Raises
    ------
    UsageError
        If it is no mapping, or of something else than names. ``of`` says what to give.
    """
    if value is None:
        return {}
    given = as_mapping(value)
    if given is None:
        raise UsageError(f"{name} must be a mapping of {of}, not {told(value)}.")
    for key in given:
        if not isinstance(key, str):
            raise UsageError(f"{name} must be a mapping of {of}; {told(key)} in it is no name.")
    return given


def as_mapping(value: object) -> dict[Any, Any] | None:
    """Copy a mapping; None of anything else, and of one that cannot be read."""
    try:
        return dict(value) if isinstance(value, Mapping) else None
    except Exception:  # anybody may have written its type
        return None


def listed(name: str, values: Iterable[Any]) -> list[Any]:
    """List what is given; a text or a mapping is no list.

    Raises
    ------
    UsageError
        If it is none.
    """
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise UsageError(f"{name} must be a list, not {told(values)}.")
    try:
        return list(values)
    except StanroviError:
        raise
    except Exception as error:
        raise UsageError(
            f"{name} must be a list, and {told(values)} cannot be made one: it raised "
            f"{type(error).__name__}."
        ) from error


def is_text(value: object) -> bool:
    """Whether it is a text that files and pictures can hold: some are of halves of characters."""
    try:
        return isinstance(value, str) and value.encode() is not None
    except UnicodeEncodeError:
        return False


def told(value: object) -> str:
    """Tell a value in few letters: by its type where they are many, or it cannot tell itself."""
    try:
        text = repr(value)
    except Exception:
        text = ""
    short = 0 < len(text) <= _LONG and "\n" not in text
    return text if short else f"a {type(value).__name__}"


def _number(value: object) -> float:
    """Take what is a number; NaN for anything else, as texts, truths and arrays."""
    try:
        if isinstance(value, str | bytes | bool) or getattr(value, "ndim", 0) != 0:
            return math.nan
        return float(value)  # type: ignore[arg-type]
    except Exception:
        return math.nan


def checked_seed(seed: SupportsIndex | None) -> int:
    """Take the seed asked for, or draw one from the system; below 2**31, as old CmdStan wants.

    Raises
    ------
    UsageError
        If it is no whole number from 0 to 2**32 - 1.
    """
    return secrets.randbelow(2**31) if seed is None else checked_count("seed", seed, 0, MAX_SEED)


def checked_seconds(seconds: float | None, name: str = "max_seconds") -> float | None:
    """Take a limit on the time, if any.

    Raises
    ------
    UsageError
        If it is not positive, or infinite.
    """
    if seconds is None:
        return None
    number = _number(seconds)
    if not 0 < number < math.inf:
        cure = "; leave it out for no limit" if number == math.inf else ""
        raise UsageError(f"{name} must be positive and finite, not {told(seconds)}{cure}.")
    return number


def memory() -> float:
    """Bytes that this process may have at most; infinite where the system does not tell."""
    limits = [math.inf]
    if hasattr(os, "sysconf"):
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        limits.append(math.inf if limit == resource.RLIM_INFINITY else limit)
    with suppress(OSError, ValueError):  # there is none
        limits.append(int(_CONTROL_GROUP.read_text(encoding="ascii")))
    return min(limits)


def giga(count: float) -> str:
    """Tell a number of bytes."""
    return f"{count / 2**30:,.1f} GiB"
