"""What is done already: a file of JSON lines, one for each finished run, that outlives its writer.

A record is appended by one write and synchronised with the disk, so that whatever ends the
program leaves whole records, and at most a torn last line, which is left out when the file is
read and cut off when it is written to again.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import NoneType, TracebackType, UnionType
from typing import Any, Literal, Self, TypeVar, get_args, get_origin, get_type_hints

from stanrovi.arguments import checked_seed, told
from stanrovi.errors import OutputError, few, shortened
from stanrovi.io.files import atomic_path, usable_path

logger = logging.getLogger(__name__)

T = TypeVar("T")

_KEY = "key"
_PATIENCE = 1.0  # seconds in which a program that was killed must have let go
_REQUEST = "request"  # key of the record that tells what the runs are of
_BY_HASH = {  # what differs where hashes do, which tell a user nothing
    "program_hash": "another program, or of this one before it was edited",
    "data_hash": "other data, or of these before they were edited",
}
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
            self._lock.acquire(timeout=_PATIENCE)
        except filelock.Timeout:
            raise OutputError(
                f"{path} is being written by another run; wait for it, or choose another path."
            ) from None
        except OSError as error:
            raise self._unusable(error) from error
        try:
            self._part_from_copies()
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

    def _part_from_copies(self) -> None:
        """Make a file of its own of one that has more names, as backups by hard links are made."""
        if self.path.exists() and self.path.stat().st_nlink > 1:
            with atomic_path(self.path, overwrite=True) as own:
                shutil.copy2(self.path, own)

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
            what = _BY_HASH.get(name, f"{name} {known[name]}, not {value}")
            raise OutputError(
                f"The runs in {ledger.path} are of {what}; ask for the same to go on with them, "
                f"{_OTHER}"
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


def kept_as(
    made: Callable[..., T], value: object, possible: Callable[[T], bool] = lambda _: True
) -> T:
    """Make again what a record holds, of its fields by name.

    Parameters
    ----------
    made : type
        A dataclass, whose annotations tell what its fields are.
    value : object
        What the record holds.
    possible : callable, optional
        Tells whether fields of the right kinds can be those of a run.

    Raises
    ------
    OutputError
        If the record holds something else, as where somebody has written into the ledger.
    """
    try:
        kept = made(**value)  # type: ignore[arg-type]
        wrong = misfit(kept) or ("" if possible(kept) else f"it holds {shortened(str(value), 100)}")
    except TypeError as error:
        wrong = str(error)
    if wrong:
        raise OutputError(
            f"The runs that are kept hold one that is none ({wrong}); remove its line to have it "
            f"done again, {_OTHER}"
        )
    return kept


def misfit(kept: Any) -> str:
    """Tell the first field of a dataclass made of JSON values that is not as annotated, if any."""
    for name, kind in get_type_hints(type(kept)).items():
        value = getattr(kept, name)
        if not _is_of(value, kind):
            return f"{name} is {told(value)}"
    return ""


def _is_of(value: Any, kind: Any) -> bool:
    """Whether a JSON value is what an annotation says; numbers are finite."""
    parts = get_args(kind)
    if isinstance(kind, UnionType):
        return any(_is_of(value, part) for part in parts)
    if get_origin(kind) is Literal:
        return value in parts
    if get_origin(kind) is Mapping:
        return isinstance(value, Mapping) and all(_is_of(v, parts[1]) for v in value.values())
    if get_origin(kind) is list:
        return isinstance(value, list) and all(_is_of(v, parts[0]) for v in value)
    if kind in (int, float):
        number = isinstance(value, int | kind) and not isinstance(value, bool)
        return number and abs(value) <= sys.float_info.max
    return isinstance(value, kind) if kind in (bool, str, NoneType) else True


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
        _tell_passed_over(path, few([str(number) for number in passed_over]))
    return records, end


@cache  # a run opens its ledger several times
def _tell_passed_over(path: Path, lines: str) -> None:
    logger.warning("%s: no records of runs in line %s; passed over.", path, lines)


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and isinstance(value.get(_KEY), str) else None
