"""Worker processes of a host: what a Dask worker is asked to do is done beside it.

A task that ends its process ends neither the host nor other tasks, and the report of its end is
there at once. The host's own end takes its processes along.
"""

from __future__ import annotations

import multiprocessing
import threading
import time
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from stanrovi.errors import UsageError
from stanrovi.runs.tasks import Report, Task
from stanrovi.runs.workers import Processes

_IDLE_SECONDS = 60.0  # after which a run's processes are ended: its client may be no more
_turn = threading.Lock()


@dataclass(frozen=True)
class HostedRun:
    """A call of `run_many`, as its hosts know it.

    Attributes
    ----------
    name : str
        Like no other.
    version : str
        Of stanrovi at the client.
    time_limit : float or None
        Seconds of a task.
    """

    name: str
    version: str
    time_limit: float | None


@dataclass(frozen=True, eq=False)
class Packed:
    """A pickled function or `Source`, which its host need not open.

    Attributes
    ----------
    name : str
        Like no other.
    content : bytes
    """

    name: str
    content: bytes


class _Room:
    """The processes of one run, with files of what was sent to it."""

    def __init__(self, time_limit: float | None) -> None:
        self.at_work, self.used = 0, time.monotonic()
        self._processes = Processes(1, time_limit)
        self._paths: dict[str, Path] = {}

    def submit(self, function: Packed, source: Packed, task: Task) -> Future[Report[Any]]:
        """Begin a task in a process that does nothing else."""
        self.at_work += 1
        return self._processes.submit(self._path(function), self._path(source), task)

    def rest(self) -> None:
        """Know that a task has ended."""
        self.at_work -= 1
        self.used = time.monotonic()

    def close(self) -> None:
        """End the processes, whatever they do."""
        self._processes.close()

    def _path(self, packed: Packed) -> Path:
        if packed.name not in self._paths:
            self._paths[packed.name] = self._processes.keep(packed.content)
        return self._paths[packed.name]


_rooms: dict[str, _Room] = {}
_ended: set[str] = set()


def hosted_report(run: HostedRun, function: Packed, source: Packed, task: Task) -> Report[Any]:
    """Do a task in a process of this host.

    Raises
    ------
    UsageError
        If this host has another stanrovi than the client, or the process does not begin.
    CancelledError
        If the run has ended.
    """
    mine = version("stanrovi")
    if mine != run.version:
        raise UsageError(
            f"A Dask worker has stanrovi {mine}, its client {run.version}; install the same there."
        )
    with _turn:
        if run.name in _ended:
            raise CancelledError
        _be_host()
        if run.name not in _rooms:
            _rooms[run.name] = _Room(run.time_limit)
        room = _rooms[run.name]
        future = room.submit(function, source, task)
    try:
        return future.result()
    finally:
        with _turn:
            room.rest()


def end_hosted(name: str) -> None:
    """End the processes of a run, which begins no more here."""
    _ended.add(name)
    _close(name)


def _close(name: str) -> None:
    with _turn:
        room = _rooms.pop(name, None)
    if room is not None:
        room.close()


@cache
def _be_host() -> None:
    """Let this process have others."""
    # A Dask worker is called a daemon, which may have none, lest it leave them behind.
    multiprocessing.current_process().daemon = False
    threading.Thread(target=_watch, name="stanrovi-host", daemon=True).start()


def _watch() -> None:
    """End processes that nobody asks for anything, and all when this one comes to its end."""
    main = threading.main_thread()
    while main.is_alive():
        main.join(_IDLE_SECONDS / 4)
        before = time.monotonic() - _IDLE_SECONDS
        for name, room in list(_rooms.items()):
            if not main.is_alive() or (not room.at_work and room.used < before):
                _close(name)
