"""Folders of output: filled completely, or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stanrovi.errors import OutputError
from stanrovi.files import output_folder, usable_path


@contextmanager
def filled_folder(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give a folder to fill; its files move into ``path`` when the block is through.

    The checks come first, so that no work is lost to an unusable path. When the block
    raises, Ctrl-C included, nothing in ``path`` has changed, and it is gone again if
    it was new.

    Parameters
    ----------
    path : Path
        Destination. An existing folder must be empty unless ``overwrite``.
    overwrite : bool
        Whether files of the same names are replaced; others stay.

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
        _move_files(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        if new:
            with suppress(OSError):  # it has content, as it should
                folder.rmdir()


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
