"""What the commands print: JSON, or text and tables of at most 80 columns."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from stanrovi.errors import printable
from stanrovi.io.json_values import json_text

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 80
_MOST_MODES = 30  # in a table
T = TypeVar("T")


def print_json(value: Any) -> None:
    """Print one JSON object."""
    click.echo(json_text(value))


def say(text: str) -> None:
    """Print a paragraph, wrapped."""
    click.echo(textwrap.fill(printable(text), WIDTH, break_on_hyphens=False))


def points(sentences: Iterable[str]) -> None:
    """Print a list, wrapped."""
    for sentence in sentences:
        click.echo(
            textwrap.fill(
                printable(sentence),
                WIDTH,
                initial_indent="- ",
                subsequent_indent="  ",
                break_on_hyphens=False,
            )
        )


def wrote(*paths: Path) -> None:
    """Tell where the results are; one on a line, however long, to be copied."""
    click.echo()
    for path in paths:
        click.echo(f"Wrote {printable(str(path))}")


def warn(messages: Iterable[str]) -> None:
    """Print warnings to standard error."""
    for message in messages:
        click.echo(f"Warning: {printable(message)}", err=True)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], title: str = "") -> None:
    """Print a table: the first column is text, the others are numbers or words to the right."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for i, column in enumerate(columns):
        made.add_column(Text(printable(column)), justify="right" if i else "left", overflow="fold")
    for row in rows:
        made.add_row(*(Text(printable(cell)) for cell in row))
    click.echo()
    if title:
        click.secho(printable(title), bold=True)
    console = _console()
    with console.capture() as captured:
        console.print(made)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def modes(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str) -> None:
    """Print a table of modes, the first of them where there are many."""
    table(columns, rows[:_MOST_MODES], title)
    if len(rows) > _MOST_MODES:
        say(f"... and {len(rows) - _MOST_MODES} more modes, which --json tells.")


def facts(rows: Iterable[tuple[str, str]]) -> None:
    """Print names with their values below each other."""
    rows = list(rows)
    width = max(len(name) for name, _ in rows) + 2
    for name, value in rows:
        indent = " " * width
        click.echo(
            textwrap.fill(
                printable(value), WIDTH, initial_indent=f"{name:<{width}}",
                subsequent_indent=indent, break_on_hyphens=False,
            )
        )  # fmt: skip


def count(value: float) -> str:
    """Format a whole number with separators; ``-`` where unknown."""
    return f"{value:,.0f}" if math.isfinite(value) else "-"


def seconds(value: float) -> str:
    """Format a time in seconds; ``-`` where unknown."""
    return f"{value:.2f}" if math.isfinite(value) else "-"


def verdict(name: str) -> str:
    """Shorten a verdict so that tables keep within 80 columns."""
    return "cannot hold" if name == "family cannot hold these modes" else name


def _console() -> Console:
    from rich.console import Console

    return Console(width=WIDTH)


def orbit(number: int | None) -> str:
    """Name an orbit of modes: A, B, ...; a mode that no symmetry moves has none."""
    if number is None:
        return "-"
    return chr(ord("A") + number) if number < 26 else str(number + 1)


def or_refusal(said: str, work: Callable[[], T]) -> tuple[T | None, str]:
    """Do what draws may refuse, or warn and say why not."""
    from stanrovi.errors import DrawsError

    try:
        return work(), ""
    except DrawsError as error:
        refusal = f"{said} {error}"
        warn([refusal])
        return None, refusal
