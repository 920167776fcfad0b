"""CSV files of earlier CmdStan runs."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from stanrovi.errors import DrawsError, UsageError
from stanrovi.io.files import usable_path
from stanrovi.stan.cmdstan import import_cmdstanpy, own_logging

if TYPE_CHECKING:
    from cmdstanpy import CmdStanMCMC

_METHOD = re.compile(r"^#\s*method\s*=\s*(\w+)", re.M)


def csv_files(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
) -> list[Path]:
    """Files behind a path, a glob pattern or several of them, chain 10 after chain 9.

    Raises
    ------
    UsageError
        If a path or pattern matches nothing.
    """
    patterns = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    files: list[Path] = []
    for item in patterns:
        pattern = os.fspath(usable_path(item))
        found = [pattern] if Path(pattern).is_file() else sorted(glob.glob(pattern), key=_natural)
        if not found:
            raise UsageError(f"no CmdStan CSV file matches {pattern}; check folder and name")
        files += map(Path, found)
    return files


def _natural(text: str) -> list[tuple[int, str]]:
    """Sort key under which chain 10 follows chain 9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text)]


def require_nuts(file: Path) -> None:
    """Refuse a file that NUTS has not written.

    Raises
    ------
    DrawsError
        Naming the method that has, if any.
    """
    try:
        with file.open(encoding="utf-8", errors="strict") as stream:
            head = stream.read(20_000)
    except (OSError, UnicodeDecodeError) as error:
        raise DrawsError(f"{file} cannot be read as a CmdStan CSV file: {error}") from error
    match = _METHOD.search(head)
    if match is None:
        raise DrawsError(
            f"{file} is not a CmdStan CSV file: its header names no method; "
            "give what CmdStan's sample wrote"
        )
    if match[1] != "sample" or "divergent__" not in head:
        what = "fixed_param sampling" if match[1] == "sample" else match[1]
        raise DrawsError(
            f"{file} comes from CmdStan's {what}, not from NUTS; a reference needs NUTS draws"
        )


def read_cmdstan(files: Sequence[Path]) -> CmdStanMCMC:
    """Open the CSV files of an earlier NUTS run.

    Raises
    ------
    DrawsError
        If they are damaged or of different runs.
    """
    cmdstanpy = import_cmdstanpy()
    with own_logging():
        try:
            fit = cmdstanpy.from_csv([str(file) for file in files])
        except (ValueError, RuntimeError, OSError, KeyError, IndexError) as error:
            reason = error.__cause__ or error
            raise DrawsError(f"{files[0]} and its fellows cannot be read: {reason}") from error
    return cast("CmdStanMCMC", fit)
