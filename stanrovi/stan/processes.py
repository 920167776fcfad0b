"""Ending what other programs started for us and then lost track of."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

logger = logging.getLogger(__name__)


def end_processes(text: str) -> None:
    """End the processes whose command line holds a text.

    Parameters
    ----------
    text : str
        What only they name: a folder of ours with a random or hashed name.
    """
    for _ in range(3):
        for pid in processes_naming(text):
            try:
                os.kill(pid, signal.SIGTERM)
            except OSError:
                logger.debug("process %d had ended already", pid)
        time.sleep(0.1)


def processes_naming(text: str) -> Sequence[int]:
    """Find the processes whose command line holds a text; see `end_processes`."""
    proc = Path("/proc")
    if (proc / "self/cmdline").exists():
        return [int(p.parent.name) for p in proc.glob("[0-9]*/cmdline") if text in _contents(p)]
    if shutil.which("ps") is None:
        return []
    listing = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,args="], capture_output=True, text=True, check=False
    ).stdout
    return [int(line.split()[0]) for line in listing.splitlines() if text in line]


def _contents(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""  # the process has ended
