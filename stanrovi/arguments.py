"""Arguments of the entry points: checked before any work, refused in one wording."""

from __future__ import annotations

import difflib
import math
import operator
import secrets
from collections.abc import Iterable
from typing import SupportsIndex

from stanrovi.errors import UsageError

MAX_SEED = 2**32 - 1  # engines take 32 bits


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Find the known word that is spelt most alike, in whatever case; None if none is near."""
    spelt = {name.lower(): name for name in known}
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
    if value not in names:
        raise UsageError(
            f"Unknown {what} {value!r}.{suggestion(str(value), names)} "
            f"Choose from {', '.join(names)}."
        )


def checked_count(name: str, value: SupportsIndex, least: int, most: int | None = None) -> int:
    """Take a whole number, of whatever type, within bounds.

    Raises
    ------
    UsageError
        If it lies outside, or is no whole number.
    """
    bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if number < least or (most is not None and number > most):
        raise UsageError(f"{name} must be a whole number {bounds}, not {value!r}.")
    return number


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
    if isinstance(seconds, str) or (seconds is not None and not 0 < seconds < math.inf):
        cure = "; leave it out for no limit" if seconds == math.inf else ""
        raise UsageError(f"{name} must be positive and finite, not {seconds}{cure}.")
    return seconds
