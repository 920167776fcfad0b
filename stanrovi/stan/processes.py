"""Other processes: how they are ended, and what their end tells."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

logger = logging.getLogger(__name__)

# What a program does, most likely, that ends its process so.
_LIKELY = {
    "SIGKILL": "out of memory?",
    "SIGSEGV": "a fault in compiled code, as by a function that calls itself without end",
    "SIGFPE": "an integer division, most likely of the smallest integer, -2147483648, by -1",
    "SIGABRT": "the engine gave up, for want of memory?",
    "SIGBUS": "memory that is not there; is a disk full?",
    "SIGXCPU": "its processor time was up (ulimit -t)",
    "SIGILL": "a library that was built for another processor",
}


def told(code: int) -> str:
    """Tell how a process ended, by its exit code as `subprocess` gives it, and of what."""
    if code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
    if name == "SIGKILL" and _limits_processor_time():
        return f"{name}, out of memory, or of processor time (ulimit -t)?"
    return f"{name}, {_LIKELY[name]}" if name in _LIKELY else name


def _limits_processor_time() -> bool:
    try:
        import resource
    except ImportError:  # on Windows
        return False
    soft, _ = resource.getrlimit(resource.RLIMIT_CPU)
    return soft != resource.RLIM_INFINITY


def end_group(pid: int) -> None:
    """End a process that leads a group and what it has started, at once."""
    with suppress(OSError):  # it has no group yet, or has ended
        if hasattr(os, "killpg"):
            os.killpg(pid, signal.SIGKILL)
    with suppress(OSError):
        os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))


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
