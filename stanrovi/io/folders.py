"""Folders of output: filled completely, or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stanrovi.errors import OutputError
from stanrovi.io.files import output_folder, usable_path, write_text

# What a run has written, by path, with SHA-256: the next one may remove that and nothing else.
MANIFEST = ".stanrovi-files.json"


@contextmanager
def filled_folder(
    path: Path, *, overwrite: bool = False, keep: Iterable[Path] = ()
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
        _publish(staging, folder, {path.resolve() for path in keep})
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        if new:
            with suppress(OSError):  # it has content, as it should
                folder.rmdir()


def _publish(staging: Path, folder: Path, keep: set[Path]) -> None:
    """Move the files into place, take away those they replace, and list what is ours."""
    written = _digests(staging)
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
