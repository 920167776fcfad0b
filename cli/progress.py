"""Stages of a command: each tells its progress on standard error, and ends where a signal asks.

A signal that got lost inside a stage stops the run at its end.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from stanrovi_cli.signals import raise_if_stopped


@contextmanager
def stage() -> Iterator[None]:
    """Do what tells its progress itself."""
    yield
    raise_if_stopped()


@contextmanager
def working(text: str) -> Iterator[None]:
    """Show that something goes on that tells no progress itself."""
    from stanrovi.runs.progress import shown

    with stage(), shown(text):
        yield
