"""What is done already: a file of JSON lines, one for each finished run, that outlives its writer.

A record is appended by one write and synchronised with the disk, so that whatever ends the
program leaves whole records, and at most a torn last line, which is left out when the file is
read and cut off when it is written to again.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from stanrovi.arguments import checked_seed
from stanrovi.errors import OutputError
from stanrovi.io.files import usable_path

logger = logging.getLogger(__name__)

_KEY = "key"
_REQUEST = "request"  # key of the record that tells what the runs are of
_OTHER = "choose another place, or begin anew (overwrite=True; --overwrite on the command line)."


class Ledger:
    """Records by key, in a file that one program at a time appends to.

    A context manager: the file is held until the block ends.

    Parameters
    ----------
    path : path-like
        The file; made when it is not there, its folder must be.

    Attributes
    ----------
    path : Path
    records : dict of str to dict
        What stood in the file when it was opened, by key; the last of equal keys. Lines that
        are no records are passed over, which is logged.

    Raises
    ------
    OutputError
        The file holds something else, cannot be read or written, or another program holds it.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        import filelock

        self.path = usable_path(path)
        if not self.path.parent.is_dir():
            raise OutputError(f"The folder {self.path.parent} does not exist; create it.")
        if self.path.exists() and not self.path.is_file():
            raise OutputError(f"{path} is no regular file; choose another path.")
        self._turn = threading.Lock()
        self._lock = filelock.FileLock(self.path.with_name(f".{self.path.name}.lock"))
        try:
            self._lock.acquire(timeout=0)
        except filelock.Timeout:
            raise OutputError(
                f"{path} is being written by another run; wait for it, or choose another path."
            ) from None
        except OSError as error:
            raise self._unusable(error) from error
        try:
            self.records, end = _read(self.path)
            self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            os.ftruncate(self._file, end)
            self._end_line()
        except OSError as error:
            self._let_go()
            raise self._unusable(error) from error
        except OutputError:
            self._let_go()
            raise

    def _end_line(self) -> None:
        """End the last line, which editors may leave open."""
        with self.path.open("rb") as content:
            size = content.seek(0, os.SEEK_END)
            content.seek(max(size - 1, 0))
            if content.read(1) not in (b"", b"\n"):
                os.write(self._file, b"\n")

    def append(self, key: str, record: Mapping[str, Any]) -> None:
        """Add a record, from any thread; it is on the disk when this returns.

        Parameters
        ----------
        key : str
        record : mapping
            JSON values, all numbers finite.

        Raises
        ------
        OutputError
            If it cannot be written, with nothing of it left in the file.
        """
        line = json.dumps({_KEY: key, **record}, allow_nan=False, separators=(",", ":")) + "\n"
        with self._turn:
            if self._file < 0:
                raise OutputError(f"{self.path} is closed already.")
            before = os.fstat(self._file).st_size
            try:
                text = line.encode()
                if os.write(self._file, text) < len(text):
                    raise OSError(None, "no space left")
                os.fsync(self._file)
            except OSError as error:
                os.ftruncate(self._file, before)
                raise self._unusable(error) from error

    def close(self) -> None:
        """Let go of the file."""
        with self._turn:
            os.close(self._file)
            self._file = -1
        self._let_go()

    def _let_go(self) -> None:
        with suppress(OSError):  # where it cannot be removed while it is held, it stays
            os.unlink(self._lock.lock_file)
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _unusable(self, error: OSError) -> OutputError:
        return OutputError(
            f"{self.path} cannot be used ({error.strerror or error}); free some space or choose "
            "another path."
        )


def agree(ledger: Ledger, request: Mapping[str, Any]) -> None:
    """See that the runs in a ledger are of the same request; what is new in it is written down.

    Parameters
    ----------
    ledger : Ledger
    request : mapping of str to str or int
        What all runs have in common, by words that name it.

    Raises
    ------
    OutputError
        If the runs are of another request, or of none.
    """
    known = ledger.records.get(_REQUEST)
    if known is None and ledger.records:
        raise OutputError(f"The runs in {ledger.path} do not tell what they are of; {_OTHER}")
    known = known or {}
    for name, value in request.items():
        if known.get(name, value) != value:
            raise OutputError(
                f"The runs in {ledger.path} are of {name} {known[name]}, not {value}; ask for the "
                f"same to go on with them, {_OTHER}"
            )
    agreed = {**request, **known}
    if agreed != known:
        ledger.append(_REQUEST, agreed)
        ledger.records[_REQUEST] = agreed


def agreed_seed(path: str | os.PathLike[str], request: Mapping[str, Any], seed: int | None) -> int:
    """Give the seed of the runs in a ledger, once they are seen to be of the same request.

    The seed is written down with the request; see `agree`.

    Parameters
    ----------
    path : path-like
        See `Ledger`.
    request : mapping of str to str or int
        What all runs have in common, by words that name it.
    seed : int, optional
        That of the runs that are there, if any, or else one drawn from the system.

    Raises
    ------
    OutputError
        If the runs are of another request or seed, or see `Ledger`.
    """
    with Ledger(path) as ledger:
        if seed is None:
            seed = ledger.records.get(_REQUEST, {}).get("seed")
        seed = checked_seed(seed)
        agree(ledger, {**request, "seed": seed})
    return seed


def n_done(path: str | os.PathLike[str]) -> int:
    """Count the runs in a ledger, whoever holds it; none where it is not there.

    Raises
    ------
    OutputError
        If the file holds something else, or cannot be read.
    """
    try:
        records, _ = _read(usable_path(path))
    except OSError as error:
        raise OutputError(f"{path} cannot be read ({error.strerror}).") from error
    return len(records.keys() - {_REQUEST})


def remove_without_runs(path: Path) -> None:
    """Remove a ledger that has no runs, unless another program holds it."""
    with suppress(OutputError, OSError):
        with Ledger(path):
            done = n_done(path)
        if not done:
            path.unlink()


def _read(path: Path) -> tuple[dict[str, dict[str, Any]], int]:
    """Read records by key, and where the last whole line ends."""
    content = path.read_bytes() if path.exists() else b""
    end = content.rfind(b"\n") + 1
    if _record(content[end:]) is not None:  # whole, but for the end of the line
        end = len(content)
    records: dict[str, dict[str, Any]] = {}
    passed_over = []
    for number, line in enumerate(content[:end].splitlines(), 1):
        record = _record(line)
        if record is None:
            passed_over.append(number)
        else:
            records[record.pop(_KEY)] = record
    begin = json.dumps({_KEY: ""}, separators=(",", ":")).encode()[:-2]
    torn_alone = not end and (content.startswith(begin) or begin.startswith(content))
    if content and not records and not torn_alone:
        raise OutputError(f"{path} holds no records of runs; choose another path.")
    if passed_over:
        logger.warning(
            "%s: no records of runs in line %s; passed over.",
            path, ", ".join(map(str, passed_over)),
        )  # fmt: skip
    return records, end


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and isinstance(value.get(_KEY), str) else None
