"""A process that has imported everything and starts each case in a child of its own.

A command takes most of a second to start, nearly all of it for imports; a fork takes milliseconds.
The child sets up its surroundings and calls the same main as the program does, or becomes
another program. Runs as ``python -m hostile.nursery``; requests and answers are JSON, one a line.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import json
import os
import pkgutil
import resource
import signal
import sys
import tempfile
import threading
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

ORDINARY = 65534  # user and group who own nothing
PATIENCE = 5.0  # seconds that children of a process that has ended may take to notice
PR_SET_CHILD_SUBREAPER = 36
HEAVY = (
    "scipy.stats", "scipy.optimize", "scipy.sparse.linalg", "scipy.interpolate", "pandas",
    "matplotlib.pyplot", "matplotlib.font_manager", "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_svg", "matplotlib.backends.backend_mixed", "xarray", "arviz",
    "arviz_stats", "h5py", "h5netcdf.legacyapi", "bridgestan", "cmdstanpy", "stanio", "stanli",
    "dask.array", "distributed", "filelock", "threadpoolctl", "contourpy", "PIL.BmpImagePlugin",
    "PIL.GifImagePlugin", "PIL.JpegImagePlugin", "PIL.PpmImagePlugin", "rich.progress",
    "jinja2.ext", "multiprocessing.popen_spawn_posix",
    "multiprocessing.resource_tracker", "concurrent.futures.process", "concurrent.futures.thread",
)  # fmt: skip

SCRIPT = """
import sys
from stanrovi.errors import StanroviError
try:
    exec(compile(sys.argv[1], "case.py", "exec"), {"__name__": "__main__"})
except StanroviError as error:
    print(f"Error: {type(error).__name__}: {error}", file=sys.stderr)
    sys.exit(error.exit_code)
"""


# Of the standard library, which ordinary users may not be allowed to read here.
PACKAGES = (
    "encodings", "multiprocessing", "concurrent", "asyncio", "ctypes", "email", "html", "http",
    "importlib", "json", "logging", "unittest", "urllib", "xml", "zoneinfo",
)  # fmt: skip
NOT_HERE = ("__main__", ".mbcs", ".oem", ".cp65001", "_win32", "windows_events", "windows_utils")


def import_everything() -> None:
    """Import all of ours and what it imports late; no thread may be running after it."""
    for name in ("stanrovi", "stanrovi_cli", *PACKAGES):
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(package.__path__, name + "."):
            if not module.name.endswith(NOT_HERE):
                importlib.import_module(module.name)
    for name in HEAVY:
        with suppress(ImportError), warnings.catch_warnings(action="ignore"):
            importlib.import_module(name)


def set_up(case: dict[str, Any]) -> None:
    """Make the surroundings of a case, in its process."""
    os.setsid()
    os.chdir(case["folder"])
    os.environ.clear()
    os.environ.update(case["environment"])
    for number, name in enumerate(case["streams"]):
        stream = os.open(name, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_APPEND)
        os.dup2(stream, number)
        os.close(stream)
    for name in ("SIGPIPE", "SIGXFSZ", "SIGTERM", "SIGHUP"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    if case["ordinary"] and os.getuid() == 0:
        os.setgroups([])
        os.setgid(ORDINARY)
        os.setuid(ORDINARY)
    os.umask(case["umask"])
    for name, limit in case["limits"].items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (limit, limit))


def become(case: dict[str, Any]) -> None:
    """Be the case: return or raise as the program would."""
    set_up(case)
    tempfile.tempdir = None  # found out anew, from the environment
    way, words = case["way"], case["words"]
    if way in ("exec", "shell"):
        program = [sys.executable, "-m", "stanrovi_cli", *words]
        if way == "shell":
            program = ["/bin/sh", "-c", words[0]]
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.execve(program[0], program, os.environ)
    for name in ("SIGPIPE", "SIGXFSZ"):  # as Python does at its start
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    if way == "python":
        sys.argv = ["case.py", words[0]]
        exec(compile(SCRIPT, "nursery", "exec"), {"__name__": "__main__"})
    else:
        from stanrovi_cli import main

        sys.argv = ["stanrovi", *words]
        main()


def leave(error: BaseException | None) -> NoReturn:
    """End as the interpreter does, except for taking a thousand modules apart.

    That takes a seventh of a second, in the process that works and in the one that waits for it.
    """
    code = 0
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    elif error is not None:
        sys.excepthook(type(error), error, error.__traceback__)
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    if cmdstanpy := sys.modules.get("cmdstanpy"):  # its folder is the whole nursery's
        atexit.unregister(cmdstanpy._cleanup_tmpdir)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = 120
    os._exit(code)


class Watch:
    """Sends the signals of a case when their time has come."""

    def __init__(self, case: dict[str, Any], pid: int) -> None:
        self._signals = [tuple(signal) for signal in case["signals"]]
        self._folder, self._pid = Path(case["folder"]), pid
        self._since = time.monotonic()
        self.sent: list[int] = []

    def look(self) -> None:
        """Send the next signal if its time has come."""
        if not self._signals:
            return
        name, when, to = self._signals[0]
        if isinstance(when, str):
            if not any(self._folder.glob(when)):
                return
        elif time.monotonic() < self._since + when:
            return
        number = getattr(signal, name)
        with suppress(ProcessLookupError):
            (os.killpg if to == "group" else os.kill)(self._pid, number)
        self.sent.append(int(number))
        self._signals.pop(0)
        self._since = time.monotonic()


def children() -> list[int]:
    """Children of this process, those whose own parents have ended among them."""
    found = Path(f"/proc/self/task/{os.getpid()}/children")
    return [int(pid) for pid in found.read_text().split()] if found.exists() else []


def told(pid: int) -> str:
    """How a process was called."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()[:200]
    return "?"


def end_all() -> list[str]:
    """Wait for what the case has left behind, kill what stays; tells those."""
    end = time.monotonic() + PATIENCE
    left: list[str] = []
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return left
        if pid:
            continue
        if time.monotonic() > end:
            for pid in children():
                left.append(told(pid))
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def wait(case: dict[str, Any], pid: int) -> dict[str, Any]:
    """Wait for a child, by its limit at the longest; what became of it."""
    begun = time.monotonic()
    watch, status, hung = Watch(case, pid), None, False
    while status is None:
        done, found, usage = os.wait4(pid, os.WNOHANG)
        if done:
            status = found
        elif not hung and time.monotonic() > begun + case["limit"]:
            hung = True
            os.killpg(pid, signal.SIGKILL)
        else:
            watch.look()
            time.sleep(0.005)
    seconds = time.monotonic() - begun
    code = os.waitstatus_to_exitcode(status)
    return {
        "code": code, "hung": hung, "seconds": seconds, "busy": usage.ru_utime + usage.ru_stime,
        "sent": watch.sent, "left": end_all(),
    }  # fmt: skip


def serve() -> dict[str, Any] | None:
    """Start cases as they are asked for; in a child, return the case to be."""
    requests, answers = os.fdopen(os.dup(0), "r"), os.fdopen(os.dup(1), "w")
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1):
        os.dup2(null, number)
    print("ready", file=answers, flush=True)
    for line in requests:
        case = json.loads(line)
        pid = os.fork()
        if pid == 0:
            os.close(requests.fileno())
            os.close(answers.fileno())
            return case
        print(json.dumps(wait(case, pid)), file=answers, flush=True)
    return None


if __name__ == "__main__":
    import_everything()
    gc.freeze()
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    case_to_be = serve()
    if case_to_be is not None:
        try:
            become(case_to_be)
        except BaseException as error:
            leave(error)
        leave(None)
