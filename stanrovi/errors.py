"""Every error stanrovi raises on purpose, under one base class.

A message names the cause, the value received where there is one, and the
cure. ``exit_code`` is what the command line returns: 2 for a request that
cannot be meant (a wrong name, path or option), 1 for work that failed. What a program or an engine
says goes into a message through `shortened`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

# Characters that move the cursor, colour what follows, or turn the direction of the text.
_UNPRINTABLE = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_MOST = 500  # characters of what a program says
_FEW, _ROOM, _LONG = 20, 400, 100  # names in a message, their characters, and those of one


def printable(text: str) -> str:
    """Write characters that would garble a terminal as their codes; ends of lines stay."""
    return _UNPRINTABLE.sub(_code, text.replace("\r\n", "\n"))


def _code(match: re.Match[str]) -> str:
    number = ord(match[0])
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"


def decimal(value: float) -> str:
    """Tell a number by two decimals, or by its size where that would be many digits."""
    return f"{value:.2f}" if not abs(value) >= 1e4 else f"{value:.1e}"


def shortened(text: str, most: int = _MOST) -> str:
    """Shorten what a program says, and make it `printable`.

    Parameters
    ----------
    text : str
    most : int
        Characters that are kept; how many are left out is told.

    Returns
    -------
    str
    """
    left_out = len(text) - most
    kept = printable(text[:most])
    return kept if left_out <= 0 else f"{kept} ... ({left_out:,} more characters)"


def said(error: BaseException) -> str:
    """Tell what an error says that anybody may have made, `shortened`."""
    try:
        return shortened(str(error))
    except Exception as another:
        return f"no words, as those raised {type(another).__name__}"


def few(words: Sequence[str], separator: str = ", ") -> str:
    """List the first of many names, each `shortened`, and how many more there are."""
    shown: list[str] = []
    room = _ROOM
    for word in words[:_FEW]:
        told = shortened(word, _LONG)
        room -= len(told) + len(separator)
        if shown and room < 0:
            break
        shown.append(told)
    more = len(words) - len(shown)
    return separator.join([*shown, f"and {more:,} more"] if more else shown)


class StanroviError(Exception):
    """Base class of every deliberate error."""

    exit_code = 1


class UsageError(StanroviError):
    """The request itself is wrong: an unknown name, a missing file, a bad option."""

    exit_code = 2


class OutputError(UsageError):
    """An output path exists already or cannot be written."""


class ModelError(StanroviError):
    """The Stan program was rejected, or no engine here can run it."""


class DataError(StanroviError):
    """The data do not fit the program's data block."""


class DensityError(StanroviError):
    """The log density cannot be used: NaN or throwing everywhere, unbounded, improper."""


class SamplerError(StanroviError):
    """A run of NUTS, or of another method of CmdStan, failed."""


class PlotError(StanroviError):
    """Pictures cannot be drawn: matplotlib cannot be loaded."""


class DrawsError(StanroviError):
    """A set of draws cannot be read, or cannot be compared with another."""
