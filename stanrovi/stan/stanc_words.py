"""What stanc says, made fit for a terminal, and the cure where it knows none."""

from __future__ import annotations

import re
from itertools import pairwise

from stanrovi.errors import shortened

_PLACE = re.compile(r"line (?P<line>\d+), column (?P<column>\d+)")
_RULE = re.compile(r"^ *-{20,}$", re.M)
_SOURCE_LINE = re.compile(r"(?P<head> *\d+:  )(?P<code>.*)")
_CARET = re.compile(r"(?P<head> +)\^ *")
_TRACE = re.compile(r"(?:Raised|Re-raised|Called) (?:by|at|from) ")  # of OCaml
_SEPARATOR = re.compile(r"[;,{}]")
_WIDTH, _BEFORE = 160, 60  # characters of a line of the program, and those before the fault
_MOST = 4000
_LONG = 1000  # characters of a statement, whose comments are left out then
_CUT = 8000  # messages as long as this have lost their end, where the complaint stands

# What Stan has removed, by what stanc says of it or shows as the line of the fault.
_REMOVED = (
    (re.compile(r"\A.*[\w\])]\s*<-"), "assign with =, as in x = 1 (<- is gone since Stan 2.33)"),
    (re.compile(r'identifier "increment_log_prob"'), "add to target with +="),
    (re.compile(r'identifier "get_lp"'), "write target()"),
    (re.compile(r'identifier "if_else"'), "write condition ? a : b"),
    (
        re.compile(r'identifier "(?:multiply|binomial_coefficient)_log"'),
        "its name begins with l now: lmultiply, lchoose",
    ),
    (
        re.compile(r'identifier "\w+_log"'),
        "densities end in _lpdf or _lpmf, and take a bar: normal_lpdf(y | mu, sigma)",
    ),
    (re.compile(r'"\w*_c?cdf_log"'), "they end in _lcdf and _lccdf now"),
    (re.compile(r'"integrate_ode\w*"'), "ode_rk45, ode_bdf and ode_adams take vectors instead"),
    (re.compile(r"\A\s*\d+:.*#.*\n[^\n]*\^[^$]*Invalid character"), "comments begin with //"),
)


def is_cut(message: str) -> bool:
    """Whether lines of the program are so long that the complaint behind them is lost."""
    return len(message) >= _CUT


def in_short_lines(code: str, bare: str) -> str:
    """Break the lines of a program, of which ``bare`` is without strings and comments."""
    ends = [0, *(match.end() for match in _SEPARATOR.finditer(bare)), len(code)]
    return "\n".join(
        code[begin:end] if end - begin < _LONG else " ".join(bare[begin:end].split())
        for begin, end in pairwise(ends)
    )


def with_complaint(message: str, code: str, other: str) -> str:
    """Give a message that was cut the complaint of another about the same fault."""
    place = _PLACE.search(message)
    if place is None:
        return message
    line, column = int(place["line"]), int(place["column"])
    head = f"  {line}:  "
    shown = [*code.split("\n")[line - 1 : line], ""][0]
    return "\n".join(
        [message.split("\n", 1)[0], head + shown, " " * (len(head) + column) + "^"]
        + ([] if is_cut(other) else _RULE.split(other)[-1:])
    )


def told_by_stanc(message: str) -> str:
    """Cut the lines of a program that stanc shows down to what surrounds the fault.

    Parameters
    ----------
    message : str
        As stanc gives it: the place, lines of the program with a caret, the complaint.

    Returns
    -------
    str
    """
    place = _PLACE.search(message)
    start = max(int(place["column"]) - _BEFORE, 0) if place else 0
    lines = [line for line in message.splitlines() if not _TRACE.match(line)]
    codes = [match["code"] for match in map(_SOURCE_LINE.fullmatch, lines) if match]
    if max(map(len, codes), default=0) <= _WIDTH:
        start = 0
    return shortened("\n".join(_cut(line, start) for line in lines), _MOST)


def _cut(line: str, start: int) -> str:
    if match := _SOURCE_LINE.fullmatch(line):
        code = match["code"]
        more = " ..." if len(code) > start + _WIDTH else ""
        return match["head"] + code[start : start + _WIDTH] + more
    if (match := _CARET.fullmatch(line)) and len(match["head"]) > start:
        return line[start:].rstrip()
    return shortened(line, 3 * _WIDTH)


def removed_syntax(message: str) -> str:
    """Tell what stands now for what Stan has removed, if stanc stumbled over that."""
    lines = message.splitlines()
    caret = next((i for i, line in enumerate(lines) if _CARET.fullmatch(line)), 0)
    words = "\n".join(lines[max(caret - 1, 0) :])
    return next(
        (f"\nIn Stan today: {cure}." for found, cure in _REMOVED if found.search(words)), ""
    )
