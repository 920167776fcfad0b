"""Progress of a run: one line on a terminal's standard error or below a notebook's cell.

The line goes when the run is done. Where there is neither, nothing is shown.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from html import escape
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from stanrovi.arguments import told
from stanrovi.errors import UsageError

if TYPE_CHECKING:
    from stanrovi.vi.facts import TracePoint

L = TypeVar("L", bound=Callable[..., Any])

_PERIOD = 0.2  # seconds between two messages to a notebook


class Show(Protocol):
    """Changes the line."""

    def __call__(self, text: str, done: int | None = None, total: int | None = None) -> None:
        """Show a text, and how much of the whole is done."""


@contextmanager
def shown(text: str, *, steps: bool = False) -> Iterator[Show]:
    """Show a line while the block runs.

    Parameters
    ----------
    text : str
        To begin with.
    steps : bool
        Whether there are steps to count, of which a bar tells.

    Yields
    ------
    callable
        Changes the line; from any thread.
    """
    line: AbstractContextManager[Show]
    if _in_notebook():
        line = _cell(text)
    elif sys.stderr is not None and sys.stderr.isatty():
        line = _terminal(text, steps)
    else:
        line = nullcontext(lambda *_: None)
    with line as show:
        yield show


@contextmanager
def listening(
    progress: bool | L | None, text: str, heard: Callable[[Show], L], *, steps: bool = False
) -> Iterator[L | None]:
    """Give what a run reports to, as its keyword ``progress`` asks.

    Parameters
    ----------
    progress : bool, callable or None
        True shows a line; a callable is reported to itself.
    text : str
        Of the line, to begin with.
    heard : callable
        Makes a listener of what changes the line.
    steps : bool
        See `shown`.

    Raises
    ------
    UsageError
        If it is something else.
    """
    if progress is True:
        with shown(text, steps=steps) as show:
            yield heard(show)
    elif progress is None or progress is False:
        yield None
    elif callable(progress):
        yield progress
    else:
        raise UsageError(
            f"progress must be True (a line that tells it), False, or a function to call, not "
            f"{told(progress)}."
        )


def of_fit(
    progress: bool | Callable[[TracePoint], None] | None, method: str
) -> AbstractContextManager[Callable[[TracePoint], None] | None]:
    """Tell of a fit: stage, gradients and ELBO."""

    def heard(show: Show) -> Callable[[TracePoint], None]:
        return lambda point: show(
            f"{method}: {point.stage}, {point.n_gradients:,} gradients, ELBO {point.elbo:.2f}"
        )

    return listening(progress, method, heard)


def of_chains(
    progress: bool | Callable[[int, int, int], None] | None, chains: int
) -> AbstractContextManager[Callable[[int, int, int], None] | None]:
    """Tell of NUTS: iterations of all chains together."""
    text = f"NUTS, {chains} chain{'' if chains == 1 else 's'}"
    done: dict[int, int] = {}
    in_all, turn = 0, threading.Lock()

    def heard(show: Show) -> Callable[[int, int, int], None]:
        def tell(chain: int, now: int, total: int) -> None:
            nonlocal in_all
            with turn:
                in_all += now - done.get(chain, 0)
                done[chain] = now
            show(text, in_all, chains * total)

        return tell

    return listening(progress, text, heard, steps=True)


def of_words(
    progress: bool | Callable[[str], None] | None, text: str
) -> AbstractContextManager[Callable[[str], None] | None]:
    """Tell what a run says of itself in words."""
    return listening(progress, text, lambda show: show)


def of_steps(
    progress: bool | Callable[[int, int], None] | None, text: str
) -> AbstractContextManager[Callable[[int, int], None] | None]:
    """Tell how many steps of all are done."""
    return listening(
        progress, text, lambda show: lambda done, total: show(text, done, total), steps=True
    )


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


@contextmanager
def _terminal(text: str, steps: bool) -> Iterator[Show]:
    from rich import progress as rich
    from rich.console import Console

    words = rich.TextColumn("{task.description}", markup=False)
    columns: tuple[rich.ProgressColumn, ...] = (
        (words, rich.BarColumn(), rich.MofNCompleteColumn(), rich.TimeRemainingColumn())
        if steps
        else (rich.SpinnerColumn(), words, rich.TimeElapsedColumn())
    )
    # Standard output stays as it is: NUTS engines print there, and results follow there.
    console = Console(stderr=True)
    with rich.Progress(*columns, console=console, transient=True, redirect_stdout=False) as bars:
        task = bars.add_task(text, total=None)

        def show(text: str, done: int | None = None, total: int | None = None) -> None:
            bars.update(task, description=text, completed=done, total=total)

        yield show


@contextmanager
def _cell(text: str) -> Iterator[Show]:
    """Show a line as an output of its own, which is empty in the end."""
    from IPython.display import display

    def output(line: str) -> dict[str, str]:
        return {"text/plain": line, "text/html": escape(line)}

    began = told = time.perf_counter()
    handle: Any = display(output(text), raw=True, display_id=True)

    def show(text: str, done: int | None = None, total: int | None = None) -> None:
        nonlocal told
        now = time.perf_counter()
        if now - told < _PERIOD:
            return
        told = now
        count = "" if total is None else f" {done:,} of {total:,},"
        handle.update(output(f"{text},{count} {now - began:.0f} s"), raw=True)

    try:
        yield show
    finally:
        handle.update(output(""), raw=True)
