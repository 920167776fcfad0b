"""Dask's own commands, and what they leave behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import distributed

_MARK = "STANROVI_TEST_MARK"


class Marked:
    """Processes that are known by their environment, with all that they start."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._value = uuid.uuid4().hex
        self._started: list[subprocess.Popen[str]] = []

    def start(
        self, *command: str, python_path: tuple[Path, ...] = (), support: bool = True
    ) -> subprocess.Popen[str]:
        """Start Python with a command; what it says goes to a file."""
        paths = [*python_path, *[Path(__file__).parent] * support]
        environment = os.environ | {
            _MARK: self._value,
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
        }
        with (self.folder / f"{len(self._started) + 1}.log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, *command],
                stdout=log,
                stderr=log,
                text=True,
                cwd=self.folder,
                env=environment,
                start_new_session=True,
            )
        self._started.append(process)
        return process

    def living(self) -> dict[int, str]:
        """Processes by number, with their command lines."""
        found = {}
        for place in Path("/proc").glob("[0-9]*"):
            try:
                if f"{_MARK}={self._value}".encode() in (place / "environ").read_bytes():
                    command = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    found[int(place.name)] = command
            except OSError:
                continue
        return found

    def returned(self, before: dict[int, str], seconds: float = 15) -> bool:
        """Whether no processes but those of before are left within some time.

        What Python starts once to track its resources may stay with who stays.
        """
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            left = [
                command
                for pid, command in self.living().items()
                if pid not in before and not (before and "resource_tracker" in command)
            ]
            if not left:
                return before.keys() <= self.living().keys()
            time.sleep(0.1)
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for pid in self.living():
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                continue
        for process in self._started:
            process.wait()


class Cluster(Marked):
    """A scheduler and workers, started from the command line as anybody does."""

    def __init__(self, folder: Path, *workers: tuple[str, ...]) -> None:
        super().__init__(folder)
        self._file = folder / "scheduler.json"
        self.scheduler = self.start(
            *("-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"),
            *("--no-dashboard", "--scheduler-file", str(self._file)),
        )
        until = time.monotonic() + 60
        while not self._file.exists() or not self._file.read_text().strip():
            assert time.monotonic() < until
            time.sleep(0.05)
        self.workers = [self.add_worker(*options) for options in workers]
        if workers:
            with distributed.Client(self.address, set_as_default=False) as client:
                client.wait_for_workers(len(workers), timeout=60)

    @property
    def address(self) -> str:
        """Of the scheduler."""
        return str(json.loads(self._file.read_text())["address"])

    def add_worker(self, *options: str, **more: Any) -> subprocess.Popen[str]:
        """Start a worker of one thread, unless options say more."""
        return self.start(
            *("-m", "distributed.cli.dask_worker", "--scheduler-file", str(self._file)),
            *("--host", "127.0.0.1", "--no-dashboard", "--nthreads", "1", *options),
            **more,
        )
