"""Progress on standard error; nothing at all where that is no terminal.

Every stage of a run shows its progress, so that a signal got lost stops it at a stage's end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from stanrovi_cli.signals import raise_if_stopped

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn

    from stanrovi.vi.facts import TracePoint


@contextmanager
def working(text: str) -> Iterator[None]:
    """Show that something goes on that tells no progress itself."""
    with _bars(_spinner) as bars:
        if bars is not None:
            bars.add_task(text, total=None)
        yield


@contextmanager
def fit_progress(method: str) -> Iterator[Callable[[TracePoint], None] | None]:
    """Show stage, gradients and ELBO of a fit; give what a fit reports to."""
    with _bars(_spinner) as bars:
        if bars is None:
            yield None
            return
        task = bars.add_task(method, total=None)

        def show(point: TracePoint) -> None:
            bars.update(
                task,
                description=f"{method}: {point.stage}, {point.n_gradients:,} gradients, "
                f"ELBO {point.elbo:.2f}",
            )

        yield show


@contextmanager
def told_progress(text: str) -> Iterator[Callable[[str], None] | None]:
    """Show what a run says of itself in words; give what it says that to."""
    with _bars(_spinner) as bars:
        if bars is None:
            yield None
            return
        task = bars.add_task(text, total=None)
        yield lambda said: bars.update(task, description=said)


@contextmanager
def steps_progress(text: str) -> Iterator[Callable[[int, int], None] | None]:
    """Show a bar of steps done; give what is called with their number, and that of all."""
    with _bars(_bar_with_time_to_go) as bars:
        if bars is None:
            yield None
            return
        task = bars.add_task(text, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


@contextmanager
def nuts_progress(chains: int) -> Iterator[Callable[[int, int, int], None] | None]:
    """Show a bar for each chain; give what `stanrovi.nuts` reports to."""
    with _bars(_bar_with_time_gone) as bars:
        if bars is None:
            yield None
            return
        tasks = [bars.add_task(f"NUTS chain {i + 1}", total=None) for i in range(chains)]

        def show(chain: int, done: int, total: int) -> None:
            bars.update(tasks[chain - 1], completed=done, total=total)

        yield show


def _spinner() -> tuple[ProgressColumn, ...]:
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

    return SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()


def _bar_with_time_to_go() -> tuple[ProgressColumn, ...]:
    from rich.progress import TimeRemainingColumn

    return *_bar(), TimeRemainingColumn()


def _bar_with_time_gone() -> tuple[ProgressColumn, ...]:
    from rich.progress import TimeElapsedColumn

    return *_bar(), TimeElapsedColumn()


def _bar() -> tuple[ProgressColumn, ...]:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

    return TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()


@contextmanager
def _bars(columns: Callable[[], tuple[ProgressColumn, ...]]) -> Iterator[Progress | None]:
    """Live bars on standard error, erased at the end; None where it is no terminal."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
    else:
        from rich.progress import Progress

        # Standard output stays as it is: NUTS engines print there, and results follow there.
        with Progress(*columns(), console=console, transient=True, redirect_stdout=False) as bars:
            yield bars
    raise_if_stopped()
