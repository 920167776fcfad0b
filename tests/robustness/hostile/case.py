"""What a hostile input is."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from hostile.files import Content

# How a case is started. "fork": by a process that has imported everything, which calls the main
# of the command line in a child; "exec": as a program of its own, for what is read at start;
# "shell": a line of sh, where ``stanrovi`` is that program; "python": a script, in a fork as well.
Way = Literal["fork", "exec", "shell", "python"]


@dataclass(frozen=True)
class Signal:
    """A signal to send.

    Parameters
    ----------
    name
        Such as ``SIGINT``.
    when
        Seconds after the start; or a pattern of a file in the case's folder to wait for.
    to
        The process that was started, or its whole group, as a terminal does.
    """

    name: str
    when: float | str
    to: Literal["process", "group"] = "process"


@dataclass(frozen=True)
class Case:
    """One hostile input, and what is demanded of it beyond what :mod:`hostile.checks` always does.

    Parameters
    ----------
    name
        Unique in its group.
    command
        The words of the command line behind ``stanrovi``, as a shell reads them; a line of sh, or a
        Python script, where `way` says so.
    files
        What lies in the folder before.
    code
        Exit codes that are right.
    says
        A regular expression for standard error, demanded where the code is 1 or 2, since a message
        must name something. Where 0 is the only right code it may stand on standard output, too.
    makes
        Files that must be there afterwards, whole.
    keeps
        Patterns of files that may be new though the run failed: work that was done before.
    changes
        Files that may differ afterwards, such as a ledger that goes on.
    way
        See `Way`.
    environment
        Variables beside the usual; None takes one away. ``{work}`` stands for the folder.
    limits
        Resource limits by their names without ``RLIMIT_``.
    umask
        Of the process.
    streams
        Files that are standard streams, by number.
    ordinary
        Whether an ordinary user must run it, if need be by changing from the administrator.
    asks
        Seconds that the command itself asks for; the limit is ten beyond.
    signals
        Sent one after another.
    again
        A command that is run afterwards in the same folder, if the first has failed, and must end
        with 0.
    silent
        No message can be heard, since standard error is closed or full.
    """

    name: str
    command: str
    files: Mapping[str, Content] = field(default_factory=dict)
    code: int | tuple[int, ...] = 0
    says: str = ""
    makes: tuple[str, ...] = ()
    keeps: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    way: Way = "fork"
    environment: Mapping[str, str | None] = field(default_factory=dict)
    limits: Mapping[str, int] = field(default_factory=dict)
    umask: int = 0o022
    streams: Mapping[int, str] = field(default_factory=dict)
    ordinary: bool = False
    asks: float = 0.0
    signals: tuple[Signal, ...] = ()
    again: str = ""
    silent: bool = False

    @property
    def codes(self) -> tuple[int, ...]:
        """The exit codes that are right."""
        return (self.code,) if isinstance(self.code, int) else self.code

    def words(self) -> list[str]:
        """The command as words."""
        return [self.command] if self.way in ("shell", "python") else shlex.split(self.command)
