"""Reading what may be anything: a device without end, a pipe that nobody writes to."""

from __future__ import annotations

import os
import select
import stat
import time
from pathlib import Path

from stanrovi.errors import UsageError

_PATIENCE = 3.0  # seconds without a byte; a pipe from a program that works takes less
_CHUNK = 2**20
_MADE_UP = 2**26
# How files begin that people give for others, with the cure.
_BEGINS = {
    b"\x1f\x8b": "is compressed by gzip; unpack it",
    b"BZh": "is compressed by bzip2; unpack it",
    b"\xfd7zXZ": "is compressed by xz; unpack it",
    b"\x28\xb5\x2f\xfd": "is compressed by zstd; unpack it",
    b"PK": "is a zip archive; unpack it",
    b"\xff\xfe": "is text in UTF-16; save it in UTF-8",
    b"\xfe\xff": "is text in UTF-16; save it in UTF-8",
    b"CDF": "is of NetCDF 3; save it as NetCDF 4",
    b"PAR1": "is of Parquet; save it in another format",
}


def regular_size(path: Path) -> int | None:
    """Size of a regular file; None for a pipe, which has none.

    Raises
    ------
    UsageError
        For what is neither: a device, a socket.
    OSError
        If nothing is there.
    """
    status = path.stat()
    if stat.S_ISREG(status.st_mode):
        return status.st_size
    if stat.S_ISFIFO(status.st_mode):
        return None
    kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a device or a socket"
    raise UsageError(f"{path} is {kind}, and a file is needed.")


def read_bytes(path: Path, *, most: int) -> bytes:
    """Read a file, or a pipe to its end, without waiting for ever.

    Parameters
    ----------
    path : Path
    most : int
        Bytes that are read at most.

    Returns
    -------
    bytes

    Raises
    ------
    UsageError
        If it is no file, holds more, or gives nothing.
    OSError
        If it is not there or cannot be read.
    """
    size = regular_size(path)
    if size == 0:  # made up while it is read, as the system does in /proc
        most = min(most, _MADE_UP)
    if size is not None and size > most:
        raise _too_much(path, most)
    opened = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        return _until_the_end(opened, path, most, waits=size is None)
    finally:
        os.close(opened)


def _until_the_end(opened: int, path: Path, most: int, *, waits: bool) -> bytes:
    parts: list[bytes] = []
    total, since = 0, time.perf_counter()
    while True:
        try:
            part = os.read(opened, _CHUNK)
        except BlockingIOError:
            part = None
        if part:
            parts.append(part)
            total, since = total + len(part), time.perf_counter()
            if total > most:
                raise _too_much(path, most)
        elif part is not None and (parts or not waits):
            return b"".join(parts)
        elif time.perf_counter() - since > _PATIENCE:
            raise UsageError(f"{path} gives nothing to read; give a file.")
        elif part is None:
            select.select([opened], [], [], 0.1)
        else:  # nobody has opened the other end of the pipe yet, or closed it without a word
            time.sleep(0.01)


def _too_much(path: Path, most: int) -> UsageError:
    return UsageError(f"{path} is larger than {most:,} bytes, which is more than is read here.")


def other_format(content: bytes) -> str:
    """Tell by its begin that content is of a format not read here, and the cure; or nothing."""
    return next((told for begin, told in _BEGINS.items() if content.startswith(begin)), "")
