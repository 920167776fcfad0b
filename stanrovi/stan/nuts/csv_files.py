"""CSV files of earlier CmdStan runs."""

from __future__ import annotations

import codecs
import glob
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from stanrovi.arguments import listed
from stanrovi.draws import SAMPLER_COLUMNS
from stanrovi.errors import DrawsError, UsageError, shortened
from stanrovi.io.files import usable_path
from stanrovi.io.reading import other_format, regular_size
from stanrovi.stan.cmdstan import import_cmdstanpy, own_logging
from stanrovi.stan.constrain import columns_of, plain

if TYPE_CHECKING:
    from cmdstanpy import CmdStanMCMC

_MOST = 2**31 - 1  # that a count of the sampler can be
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
    patterns = [paths] if isinstance(paths, str | os.PathLike) else listed("paths", paths)
    if not patterns:
        raise UsageError("there is no CmdStan CSV file to read; give one for each chain")
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
    if regular_size(file) is None:
        raise DrawsError(f"{file} is a pipe; CmdStan's CSV files are read twice, so give a file")
    try:
        with file.open("rb") as stream:
            content = stream.read(20_000)
        if told := other_format(content):
            raise DrawsError(f"{file} {told}")
        if content.startswith(codecs.BOM_UTF8):
            raise DrawsError(f"{file} begins with a byte-order mark; save it in UTF-8 without one")
        head = codecs.getincrementaldecoder("utf-8")().decode(content)  # a character may be cut
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
    with own_logging(), np.errstate(all="ignore"):
        try:
            fit = cast("CmdStanMCMC", cmdstanpy.from_csv([str(file) for file in files]))
            _require_one_header(files)
            _require_columns(fit)
            _require_counts(fit)
        except MemoryError:
            raise
        except Exception as error:  # whatever cmdstanpy raises for a foreign file
            several = f" and {len(files) - 1} more" if len(files) > 1 else ""
            raise DrawsError(
                f"{files[0]}{several} cannot be read as CmdStan's CSV of one run "
                f"({_reason(error)}); give the files whole, as CmdStan wrote them"
            ) from error
    return fit


def _reason(error: BaseException) -> str:
    """Tell what the first of all errors said."""
    while error.__cause__ is not None:
        error = error.__cause__
    return shortened(str(error) if isinstance(error, ValueError) else repr(error))


def _require_one_header(files: Sequence[Path]) -> None:
    """See that all files have the columns of the first, by whose names all are read."""
    headers = [_columns(file) for file in files]
    for file, columns in zip(files, headers, strict=True):
        if columns != headers[0]:
            raise ValueError(f"the columns of {file} are not those of {files[0]}")


def _columns(file: Path) -> str:
    """Read the first line that is no comment."""
    with file.open(encoding="utf-8") as lines:
        return next((line.strip() for line in lines if not line.startswith("#")), "")


def _require_columns(fit: CmdStanMCMC) -> None:
    """See that each element of each variable has a column, in Stan's order."""
    for name, variable in plain(fit.metadata.stan_vars, fit.column_names).items():
        found = fit.column_names[variable.start_idx : variable.end_idx]
        if list(found) != columns_of(name, variable, most=len(found)):
            raise ValueError(f"the columns of {name} are not one for each element, in order")
    twice = [name for name, n in Counter(fit.column_names).items() if n > 1]
    if twice:
        raise ValueError(f"there is more than one column {', '.join(twice)}")


def _require_counts(fit: CmdStanMCMC) -> None:
    """See that what the sampler counts are counts."""
    stats = fit.method_variables()
    if missing := [name for name in SAMPLER_COLUMNS if name not in stats]:
        raise ValueError(f"there is no column {', '.join(missing)}")
    for name, (_, kind) in SAMPLER_COLUMNS.items():
        most = {int: _MOST, bool: 1}.get(kind)
        values = stats[name]
        if most and not ((values >= 0) & (values <= most) & (values == np.rint(values))).all():
            raise ValueError(f"{name} is not a whole number from 0 to {most:,} in every row")
