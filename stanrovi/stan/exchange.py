"""What passes between a process and one that it has started: JSON, and numbers in shared memory.

Nothing that arrives is more than text and numbers, so a program that has taken over the other
process cannot make this one run anything.
"""

from __future__ import annotations

import json
import math
import mmap
import os
import socket
import struct
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from stanrovi.target import Array

_LENGTH = struct.Struct("<Q")
_MOST = 2**30  # bytes of a message; names of columns fill tens of millions
_LEAST, _KEPT = 2**16, 2**24  # bytes of shared memory, at first and between calls


def send(connection: socket.socket, message: Any) -> None:
    """Send JSON values."""
    text = json.dumps(message).encode()
    connection.sendall(_LENGTH.pack(len(text)) + text)


def receive(connection: socket.socket, wait: Callable[[], None] | None = None) -> Any:
    """Receive what `send` sent.

    Parameters
    ----------
    connection : socket.socket
    wait : callable, optional
        Called before each piece is read.

    Raises
    ------
    EOFError
        If the other end is closed, or sends no such thing.
    """
    (length,) = _LENGTH.unpack(_read(connection, _LENGTH.size, wait))
    if length > _MOST:
        raise EOFError
    try:
        return json.loads(_read(connection, length, wait))
    except (ValueError, RecursionError):
        raise EOFError from None


def _read(connection: socket.socket, length: int, wait: Callable[[], None] | None) -> bytes:
    parts = []
    while length:
        if wait is not None:
            wait()
        try:
            part = connection.recv(min(length, 2**20))
        except ConnectionError:
            part = b""
        if not part:
            raise EOFError
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


class Memory:
    """Memory that two processes share, in a file without a name: nothing of it outlives them.

    Parameters
    ----------
    file : int, optional
        Descriptor of one that the other process has made.

    Attributes
    ----------
    file : int
    size : int
        Bytes.
    """

    def __init__(self, file: int | None = None) -> None:
        self.file = _nameless() if file is None else file
        self.size = 0
        self._map: mmap.mmap | None = None

    def reserve(self, shapes: Sequence[Sequence[int]]) -> None:
        """Make room for arrays.

        Raises
        ------
        MemoryError
            If there is none.
        """
        needed = max(8 * sum(map(math.prod, shapes)), _LEAST)
        if needed <= self.size:
            return
        try:
            _lengthen(self.file, needed)
            self.map(needed)
        except OSError as error:
            raise MemoryError(f"no {needed / 1e6:.0f} MB of shared memory ({error})") from None

    def spare(self) -> None:
        """Give much of it back; arrays in it are no more to be looked at."""
        if self.size > _KEPT:
            os.ftruncate(self.file, _LEAST)
            self.map(_LEAST)

    def map(self, size: int) -> None:
        """See that many bytes."""
        if size != self.size:
            self._map, self.size = mmap.mmap(self.file, size), size

    def arrays(self, shapes: Sequence[Sequence[int]]) -> list[Array]:
        """Lay arrays into it, one after the other."""
        assert self._map is not None
        found, offset = [], 0
        for shape in shapes:
            found.append(np.ndarray(tuple(shape), np.float64, self._map, offset))
            offset += 8 * math.prod(shape)
        return found

    def close(self) -> None:
        """Do without it."""
        if self.file >= 0:
            os.close(self.file)
        self.file, self._map, self.size = -1, None, 0


def _nameless() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("stanrovi")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _lengthen(file: int, size: int) -> None:
    """Take the room at once: where a disk is full, later would be too late to say so."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
    else:
        os.pwrite(file, bytes(size), 0)
