"""CmdStan through cmdstanpy: where it is, its executables, its log."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from stanrovi.errors import ModelError, UsageError, shortened
from stanrovi.stan.cache import compiled
from stanrovi.stan.processes import end_group
from stanrovi.stan.program import Program

if TYPE_CHECKING:
    from cmdstanpy import CmdStanModel

logger = logging.getLogger(__name__)

SIGNIFICANT_DIGITS = 14  # so that draws can be unconstrained without loss
_INFO_SECONDS = 10
_MOST_INFO = 2**20  # bytes
_SETTING = re.compile(r"^\s*\w+ = ", re.MULTILINE)
# Lines of the console that tell settings, progress or time, not a reason.
_NO_REASON = re.compile(
    r"^\s*$|^\s*[\w.]+ = |^\s*\w+$|Iteration:|Elapsed Time|seconds \(|^Gradient evaluation"
    r"|^1000 transitions|^Adjust your expectations"
)


@cache
def import_cmdstanpy() -> Any:
    """Import cmdstanpy, whose bars of progress warn in a notebook without widgets."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import cmdstanpy

    return cmdstanpy


def cmdstan_folder() -> Path | None:
    """Folder of the CmdStan install that cmdstanpy finds, if any."""
    cmdstanpy = import_cmdstanpy()
    try:
        return Path(cmdstanpy.cmdstan_path())
    except ValueError:
        return None


def compile_cmdstan(program: Program) -> Path:
    """Path of the program's CmdStan executable, compiled in the cache if needed.

    Raises
    ------
    ModelError
        If there is no CmdStan, or it cannot compile the program.
    """
    cmdstanpy = import_cmdstanpy()
    folder = cmdstan_folder()
    if folder is None:
        raise ModelError(
            "CmdStan was asked for but no install is found: run cmdstanpy's install_cmdstan, or "
            "set CMDSTAN to its folder, or give a compiled executable (exe), or use engine stanli"
        )

    def build(source: Path) -> Path:
        logger.info("compiling %s with CmdStan in %s", program.name, folder)
        return Path(str(cmdstanpy.CmdStanModel(stan_file=source).exe_file))

    suffix = ".exe" if os.name == "nt" else ".bin"
    with own_logging():
        try:
            return compiled(program, f"cmdstan {folder.resolve()}", suffix, build)
        except (RuntimeError, ValueError, OSError) as error:
            raise ModelError(
                f"CmdStan could not compile {program.name}: {shortened(str(error))}"
            ) from error


def open_executable(exe: Path) -> CmdStanModel:
    """Open a compiled executable.

    Raises
    ------
    UsageError
        If it is no CmdStan executable.
    """
    cmdstanpy = import_cmdstanpy()
    if not exe.is_file():
        raise UsageError(f"no such CmdStan executable: {exe}")
    if not os.access(exe, os.X_OK):
        raise UsageError(f"{exe} is not executable; give a compiled CmdStan program")
    _require_build_information(exe)
    try:
        return cast("CmdStanModel", cmdstanpy.CmdStanModel(exe_file=exe))
    except (ValueError, RuntimeError, OSError) as error:
        raise UsageError(f"{exe} is not a CmdStan executable: {shortened(str(error))}") from error


def _require_build_information(exe: Path) -> None:
    """Refuse a program that does not tell how it was built; cmdstanpy would wait for ever."""
    try:
        said, in_time = _answer([str(exe.resolve()), "info"])
    except OSError as error:
        said, in_time = str(error), True
    if not in_time:
        said = f"asked for its build information, it does not answer within {_INFO_SECONDS} s"
    elif _SETTING.search(said):
        return
    said = shortened(" ".join(said.split())) or "asked for its build information, it gives none"
    raise UsageError(f"{exe} does not run as a CmdStan executable: {said}")


def _answer(command: list[str]) -> tuple[str, bool]:
    """Run a program that nobody knows; give the first it says, and whether it did so in time."""
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        clock = threading.Timer(_INFO_SECONDS, end_group, [process.pid])
        clock.start()
        try:
            said = process.stdout.read(_MOST_INFO)
            in_time = clock.is_alive()
        finally:
            clock.cancel()
            end_group(process.pid)
    return said.decode(errors="replace"), in_time


def why_failed(output: Path, error: Exception) -> str:
    """Tell why a run failed: by its console, or else by what it made fail here."""
    if reason := console_reason(output):
        return reason
    no_file = FileNotFoundError in (type(error), type(error.__cause__))
    return "it wrote no draws" if no_file else shortened(str(error))


def console_reason(output: Path) -> str:
    """Lines of the first chain's console that tell why it stopped."""
    for file in sorted(output.glob("*stdout*.txt")):
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        telling = [line.strip() for line in lines if not _NO_REASON.search(line)]
        if telling:
            return shortened(" ".join(dict.fromkeys(telling[-8:])))
    return ""


@contextmanager
def own_logging() -> Iterator[None]:
    """Send cmdstanpy's log to ours, one level quieter, instead of to the terminal."""
    theirs = logging.getLogger("cmdstanpy")
    handlers, propagate = theirs.handlers[:], theirs.propagate
    theirs.handlers, theirs.propagate = [_Forward()], False
    try:
        yield
    finally:
        theirs.handlers, theirs.propagate = handlers, propagate


class _Forward(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        level = logging.INFO if record.levelno >= logging.WARNING else logging.DEBUG
        logger.log(level, "%s", record.getMessage())
