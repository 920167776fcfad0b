"""How deep a program is nested, found before a compiler sees it.

The time that compilers of Stan take grows with the square of the depth of an expression, or
faster. What people write is not deep.
"""

from __future__ import annotations

import re

from stanrovi.errors import ModelError

MOST_BRACKETS = 250  # the compilers know no arrays of more dimensions
MOST_OPERATORS = 4000  # on the way down to one operand: compilers take seconds for that

_TOKEN = re.compile(
    r"(?P<open>[(\[{])|(?P<close>[)\]}])|(?P<end>[;,])|(?P<word>[A-Za-z_]\w*)|(?P<number>\d[\w.]*)"
    r"|(?P<operator>&&|\|\||[-+*/^!?<>='~%\\]=?)"
)
_PREFIXES = {"if", "for", "while", "profile"}  # what they govern is a level deeper


def check_nesting(bare: str, name: str) -> None:
    """Refuse a program that is nested so deeply that compiling it may not end.

    Parameters
    ----------
    bare : str
        The program without comments and strings.
    name : str
        What it is called, for the message.

    Raises
    ------
    ModelError
        Naming the line.
    """
    operators, elses, blocks = [0], [0], [True]  # of each bracket that is open
    total, last = 0, ""
    for match in _TOKEN.finditer(bare):
        token, kind = match[0], match.lastgroup
        before, depth = operators[-1], operators[-1]
        if kind == "open":
            opens_block = token == "{" and blocks[-1] and _may_precede_block(last)
            operators.append(0)
            elses.append(0)
            blocks.append(opens_block)
            before = depth = 0
        elif kind == "close" and len(blocks) > 1:
            total -= operators.pop()
            elses.pop()
            before = operators[-1]
            depth = 0 if blocks.pop() else before  # a block ends a statement
        elif kind == "end":
            depth = 0
        elif token == "else":
            elses[-1] += 1
            depth = elses[-1]
        elif kind == "word":
            if not depth and last in ("", ";", "{", "}"):
                elses[-1] = 0
            depth += token in _PREFIXES
        elif kind == "operator":
            depth += 1
        operators[-1] = depth
        total += depth - before
        last = token
        if len(blocks) - 1 > MOST_BRACKETS or total > MOST_OPERATORS:
            line = bare.count("\n", 0, match.start()) + 1
            raise ModelError(
                f"{name}.stan is nested too deeply to be compiled: by line {line}, "
                + (
                    f"more than {MOST_BRACKETS} brackets are open. "
                    if len(blocks) - 1 > MOST_BRACKETS
                    else f"more than {MOST_OPERATORS} operators depend on each other. "
                )
                + "Write loops, arrays or vectors instead, or split it up."
            )


def _may_precede_block(last: str) -> bool:
    """Whether a brace after this token begins a block, and no array."""
    return last in ("", ")", ";", "{", "}") or (last[0].isalpha() and last != "return")
