"""Whether a file is all there."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path

import h5py

ENDS = {".png": b"IEND\xaeB`\x82", ".svg": b"</svg>", ".html": b"</html>"}


def broken(path: Path, *, killed: bool) -> str:
    """Why a file is not whole; empty if it is.

    Parameters
    ----------
    killed
        Whether kill -9 has ended what wrote it: the last line of a ledger may be cut then.
    """
    if not os.access(path, os.R_OK):  # by its umask
        path.chmod(0o600)
    readers: dict[str, Callable[[Path], object]] = {
        ".nc": _netcdf,
        ".json": lambda path: json.loads(path.read_text()),
        ".csv": _csv,
        ".jsonl": lambda path: _ledger(path, killed),
    }
    try:
        if path.suffix in ENDS:
            assert path.read_bytes().rstrip().endswith(ENDS[path.suffix]), "its end is missing"
        elif path.suffix in readers:
            readers[path.suffix](path)
        else:
            assert path.stat().st_size or path.suffix == ".lock", "it is empty"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    return ""


def _netcdf(path: Path) -> None:
    with h5py.File(path) as file:
        file.visititems(lambda _, item: item[()] if isinstance(item, h5py.Dataset) else None)


def _csv(path: Path) -> None:
    text = path.read_text()
    assert text.endswith("\n"), "its last line is cut"
    rows = list(csv.reader(line for line in text.splitlines() if not line.startswith("#")))
    assert len({len(row) for row in rows}) == 1, "its rows differ in length"


def _ledger(path: Path, killed: bool) -> None:
    lines = path.read_text().splitlines()
    for line in lines[:-1] if killed else lines:
        json.loads(line)
