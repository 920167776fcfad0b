"""Folders of output: filled completely, or not at all; with a ledger that outlives both."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stanrovi.errors import OutputError, UsageError
from stanrovi.io.files import output_folder, usable_path, write_text
from stanrovi.io.ledger import Ledger, n_done, remove_without_runs
from stanrovi.scalars import counted

LEDGER = "runs.jsonl"
KEPT = ".runs"  # folder beside it, for what is no JSON
# What a run has written, by path, with SHA-256: the next one may remove that and nothing else.
MANIFEST = ".stanrovi-files.json"


@contextmanager
def filled_folder(
    path: Path, *, overwrite: bool = False, keep: Iterable[Path] = (), own: Iterable[Path] = ()
) -> Iterator[Path]:
    """Give a folder to fill; its files move into ``path`` when the block is through.

    The checks come first, so that no work is lost to an unusable path. When the block
    raises, Ctrl-C included, nothing in ``path`` has changed, and it is gone again if
    it was new.

    Parameters
    ----------
    path : Path
        Destination. An existing folder must be empty unless ``overwrite``.
    overwrite : bool
        Whether files of an earlier run are replaced. Those that the new run does not
        write are removed, unless they have changed since; what others wrote stays.
    keep : iterable of Path
        Files to leave alone, such as the draws that the new run reads.
    own : iterable of Path
        Files in ``path`` that the new run has written already, such as its ledger.

    Yields
    ------
    Path
        A hidden folder inside ``path``.

    Raises
    ------
    OutputError
        The path is a file, a folder with content, or cannot be written.
    """
    new = not usable_path(path).exists()
    folder = output_folder(path, overwrite=overwrite)
    staging = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=folder))
    try:
        yield staging
        _publish(staging, folder, {path.resolve() for path in keep}, own)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        if new:
            with suppress(OSError):  # it has content, as it should
                folder.rmdir()


def check_resume(output: str | os.PathLike[str] | None, *, resume: bool) -> None:
    """Refuse to go on with runs that no folder holds.

    Raises
    ------
    UsageError
    """
    if resume and output is None:
        raise UsageError(
            "resume goes on with what a folder holds; name it (output=DIR; --output DIR on the "
            "command line)."
        )


@contextmanager
def resumable_folder(
    path: str | os.PathLike[str],
    *,
    resume: bool = False,
    overwrite: bool = False,
    beside: str | None = None,
) -> Iterator[Path]:
    """Give the ledger of a folder, which keeps finished runs whatever ends the block.

    `stanrovi.run_many` fills the ledger; what is made of it in the end comes into the same
    folder by `filled_folder`, with ``overwrite`` and the ledger as its ``own``. When the block is
    through or raises, a ledger without runs is gone, and the folder if it was new.

    Parameters
    ----------
    path : path-like
        The folder. One with content must hold such a ledger, and be asked to resume, unless
        ``overwrite``.
    resume : bool
        Whether to go on from the runs that are there, if any.
    overwrite : bool
        Whether to begin anew: they are lost at once, `KEPT` beside them too.
    beside : str, optional
        Name of a folder in it whose content is worth going on with: where it is there, a ledger
        without runs stays.

    Yields
    ------
    Path
        `LEDGER` in the folder.

    Raises
    ------
    OutputError
        The folder holds runs, and neither ``resume`` nor ``overwrite`` says what to do with them;
        or it is none, holds something else, or cannot be written.
    UsageError
        If both are asked for.
    """
    if resume and overwrite:
        raise UsageError("resume goes on with the runs that are there, and overwrite begins anew; "
                         "ask for one of them.")  # fmt: skip
    folder = usable_path(path)
    new, ledger = not folder.exists(), folder / LEDGER
    if ledger.exists():
        done = n_done(ledger)
        if not (resume or overwrite):
            held = counted(done, "finished run") if done else "runs that have begun"
            raise OutputError(
                f"The folder {path} holds {held}; go on with them "
                "(resume=True; --resume on the command line) or begin anew (overwrite=True; "
                "--overwrite)."
            )
    output_folder(path, overwrite=overwrite or ledger.exists())
    if overwrite and ledger.exists():
        with Ledger(ledger):  # nobody else is writing it
            os.truncate(ledger, 0)
            shutil.rmtree(folder / KEPT, ignore_errors=True)
    try:
        yield ledger
    finally:
        if ledger.exists() and not (beside and (folder / beside).exists()):
            remove_without_runs(ledger)
        if new:
            with suppress(OSError):  # it has content, as it should
                folder.rmdir()


def _publish(staging: Path, folder: Path, keep: set[Path], own: Iterable[Path]) -> None:
    """Move the files into place, take away those they replace, and list what is ours."""
    written = _digests(staging) | {file.name: _digest(file) for file in own}
    earlier = {n: digest for n, digest in _earlier(folder).items() if n not in written}
    stale = {name for name in earlier if (folder / name).resolve() not in keep}
    listed = written | {n: digest for n, digest in earlier.items() if n not in stale}
    _move_files(staging, folder)
    _remove(folder, stale)
    write_text(folder / MANIFEST, json.dumps(listed, indent=0) + "\n", overwrite=True)


def _digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file in a folder, by its relative path."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): _digest(file) for file in files}


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _earlier(folder: Path) -> dict[str, str]:
    """Read what an earlier run has written into the folder, as far as it is unchanged."""
    try:
        listed = dict(json.loads((folder / MANIFEST).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # a first run, or a file that is not ours
        return {}
    return {name: digest for name, digest in listed.items() if _is_ours(folder, name, digest)}


def _is_ours(folder: Path, name: str, digest: str) -> bool:
    file = folder / name
    try:
        return file.resolve().is_relative_to(folder.resolve()) and _digest(file) == digest
    except (OSError, ValueError):  # gone already, or no name of a file
        return False


def _remove(folder: Path, names: Iterable[str]) -> None:
    for file in (folder / name for name in names):
        with suppress(OSError):  # protected by somebody; or its folder holds more
            file.unlink()
            if file.parent != folder:
                file.parent.rmdir()


def _move_files(source: Path, target: Path) -> None:
    try:
        for file in sorted(file for file in source.rglob("*") if file.is_file()):
            destination = target / file.relative_to(source)
            destination.parent.mkdir(parents=True, exist_ok=True)
            os.replace(file, destination)
    except OSError as error:
        raise OutputError(
            f"{destination} cannot be written ({error.strerror}); choose another folder."
        ) from error
