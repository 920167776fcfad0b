"""Results as HTML for notebooks: every text escaped, colours that light and dark pages can show."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Literal

Sign = Literal["✓", "!", "✗"]

# Text takes the colour of the page; these are legible on white and on black.
_COLORS: dict[Sign, str] = {"✓": "#2e8b57", "!": "#c77700", "✗": "#d9483b"}


def block(title: str, *parts: str) -> str:
    """Put parts, HTML each, below a title.

    Parameters
    ----------
    title : str
    *parts : str
        As the other functions here give them.

    Returns
    -------
    str
        An HTML fragment.
    """
    return f'<div class="stanrovi"><p><b>{escape(title)}</b></p>{"".join(parts)}</div>'


def judgement(sign: Sign, words: str, findings: Iterable[tuple[str, str]] = ()) -> str:
    """Give a sign with its words, and below them what was found, each with its cure.

    Parameters
    ----------
    sign : {"✓", "!", "✗"}
        So that colour is never the only carrier.
    words : str
    findings : iterable of (str, str)
        Reasons with what to do about them, which may be empty.
    """
    items = "".join(
        f"<li>{escape(reason)}{f'<br><em>{escape(cure)}</em>' if cure else ''}</li>"
        for reason, cure in findings
    )
    mark = f'<b style="color: {_COLORS[sign]}">{sign}</b> <b>{escape(words)}</b>'
    return f"<p>{mark}</p>" + (f"<ul>{items}</ul>" if items else "")


def trust(trusted: bool, reason: str, who: str = "") -> str:
    """Say whether draws may be trusted, of whom, and why."""
    words = "trusted" if trusted else "NOT trusted"
    told = f"{who}: {words}" if who else words
    return judgement("✓" if trusted else "✗", told, [(reason, "")])


def line(*facts: str) -> str:
    """Give facts in a line; empty ones are left out."""
    return f"<p>{escape(' · '.join(filter(None, facts)))}</p>"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "") -> str:
    """Give a table whose first column is text, the others numbers or words to the right."""
    head = _row("th", columns, "col")
    body = "".join(_row("td", row) for row in rows)
    told = f'<caption style="text-align: left">{escape(caption)}</caption>' if caption else ""
    return (
        f'<div style="overflow-x: auto"><table style="color: inherit">{told}<thead>{head}</thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def short(value: float) -> str:
    """Format a number to about four characters that matter; ``-`` where unknown."""
    if not math.isfinite(value):
        return "-"
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        whole = max(0, math.floor(math.log10(abs(value) or 1)))
        return f"{value:.{max(0, 3 - whole)}f}"
    return f"{value:.2e}"


def _row(kind: Literal["th", "td"], cells: Sequence[str], scope: str = "row") -> str:
    first, *others = cells
    name = f'<th scope="{scope}" style="text-align: left">{escape(first)}</th>'
    right = "".join(f'<{kind} style="text-align: right">{escape(cell)}</{kind}>' for cell in others)
    return f"<tr>{name}{right}</tr>"
