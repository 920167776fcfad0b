"""A folder that changes at one stroke, or file by file where the system has no such stroke."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import shutil
import sys
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from stanrovi.io.files import atomic_path, holds_mount, unwritable, write_text

# What a run has written, by path, with SHA-256: the next one may remove that and nothing else.
MANIFEST = ".stanrovi-files.json"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
_MOST_LINKS = 10_000  # of what stays in a folder that is exchanged


@dataclass(frozen=True)
class Change:
    """A folder, what is to come into its place, and what does not stay, by path in it."""

    folder: Path
    staging: Path
    gone: set[str]

    def make(
        self, names: list[str], ours: Collection[str] = (), listed: dict[str, str] | None = None
    ) -> None:
        """Make the change, at one stroke where it can be.

        Parameters
        ----------
        names : list of str
            The new files, their list last.
        ours : collection of str
            Files of the earlier run.
        listed : dict of str to str, optional
            What is listed while files come one by one.
        """
        try:
            self._at_once()
        except OSError as error:
            if error.errno in _FULL:
                raise unwritable(self.folder, error) from error
            self._one_by_one(names, ours, listed)

    def _at_once(self) -> None:
        """Put the new folder in the place of the old, with what stays; or raise `OSError`."""
        if Path.cwd().is_relative_to(self.folder) or self.staging.is_relative_to(self.folder):
            raise OSError(errno.EBUSY, "a folder that is worked in")
        if holds_mount(self.folder):
            raise OSError(errno.EBUSY, "a folder that something is mounted in")
        _take_after(self.folder, self.staging)
        if any(self.folder.iterdir()):
            self._link_what_stays()
            _exchange(self.staging, self.folder)
            with suppress(OSError):  # of a folder that cannot be read
                self._clear()
        else:
            if os.name == "nt":
                self.folder.rmdir()
            os.rename(self.staging, self.folder)

    def _stays(self, name: PurePosixPath) -> bool:
        return self.gone.isdisjoint(map(str, (name, *name.parents)))

    def _link_what_stays(self) -> None:
        """Give what stays a second name in the new folder; nothing is missing at any moment."""
        if os.name == "nt":
            raise OSError(errno.ENOSYS, "folders cannot be exchanged")
        left = _MOST_LINKS
        for place, names in _walk(self.folder):
            inside = place.relative_to(self.folder)
            there = self.staging / inside
            kept = [n for n in names if self._stays(PurePosixPath((inside / n).as_posix()))]
            if (kept or not names) and place != self.folder and self._stays(PurePosixPath(inside)):
                _make_like(self.folder, inside, self.staging)
            for name in kept:
                if left == 0:
                    raise OSError(errno.EMLINK, "a folder of many files")
                left -= 1
                os.link(place / name, there / name, follow_symlinks=False)

    def _clear(self) -> None:
        """Remove the old folder; what has come there since goes where it was meant to."""
        for place, names in _walk(self.staging):
            inside = place.relative_to(self.staging)
            for name in names:
                old, new = place / name, self.folder / inside / name
                if self._stays(PurePosixPath((inside / name).as_posix())):
                    with suppress(OSError):
                        if os.path.lexists(new) and os.path.samestat(new.lstat(), old.lstat()):
                            continue
                        new.parent.mkdir(parents=True, exist_ok=True)
                        os.rename(old, new)

    def _one_by_one(
        self, names: list[str], ours: Collection[str], listed: dict[str, str] | None
    ) -> None:
        """Take away the earlier run's files, then move the new ones, the list of them last.

        Whatever ends this, the list tells of all that is ours, and old and new never mix.
        """
        try:
            destination = self.folder / MANIFEST
            if listed is not None:
                write_text(destination, json.dumps(listed) + "\n", overwrite=True)
            _remove(self.folder, self.gone.intersection(ours))
            for name in names:
                destination = self.folder / name
                destination.parent.mkdir(parents=True, exist_ok=True)
                _move(self.staging / name, destination)
        except OSError as error:
            raise unwritable(destination, error) from error


def _walk(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Every folder with the names of what is no folder in it, links to folders among them."""

    def refuse(error: OSError) -> None:
        raise error

    for place, folders, files in os.walk(folder, onerror=refuse):
        links = [name for name in folders if os.path.islink(os.path.join(place, name))]
        yield Path(place), files + links


def _make_like(folder: Path, inside: Path, staging: Path) -> None:
    """Make a folder and those above it, as they are in another."""
    for part in reversed([inside, *inside.parents[:-1]]):
        with suppress(FileExistsError):
            (staging / part).mkdir()
        _take_after(folder / part, staging / part)


def _take_after(old: Path, new: Path) -> None:
    """Give a folder owner, mode and further attributes of another."""
    if os.name == "posix":
        was, now = old.stat(), new.stat()
        if (was.st_uid, was.st_gid) != (now.st_uid, now.st_gid):
            os.chown(new, was.st_uid, was.st_gid)
    shutil.copystat(old, new)


def _exchange(first: Path, second: Path) -> None:
    """Exchange two folders at one stroke: renameat2 of Linux, renamex_np of macOS."""
    names = os.fsencode(first), os.fsencode(second)
    if sys.platform == "linux":
        here, both = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
        arguments, function = (here, names[0], here, names[1], both), "renameat2"
    elif sys.platform == "darwin":
        arguments, function = (*names, 2), "renamex_np"  # RENAME_SWAP
    else:
        raise OSError(errno.ENOSYS, "folders cannot be exchanged")
    call = getattr(ctypes.CDLL(None, use_errno=True), function, None)
    if call is None:
        raise OSError(errno.ENOSYS, "folders cannot be exchanged")
    if call(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _move(file: Path, destination: Path) -> None:
    """Put a file in a place, by way of a copy beside it where that is on another file system."""
    try:
        os.replace(file, destination)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        if destination.is_symlink():
            destination.unlink()  # what it leads to stays
        with atomic_path(destination, overwrite=True) as temporary:
            shutil.copyfile(file, temporary)


def _remove(folder: Path, names: Iterable[str]) -> None:
    for file in (folder / name for name in names):
        with suppress(OSError):  # protected by somebody; or its folder holds more
            file.unlink()
            if file.parent != folder:
                file.parent.rmdir()
