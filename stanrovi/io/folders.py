"""Folders of output: filled completely, or not at all; with a ledger that outlives both."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from stanrovi.errors import OutputError, UsageError
from stanrovi.io.change import MANIFEST, Change
from stanrovi.io.files import (
    FILLING,
    UNFINISHED,
    check_folder,
    check_output_folder,
    held,
    in_turn,
    output_folder,
    remove_folder,
    sweep,
    unwritable,
    usable_path,
    write_text,
)
from stanrovi.io.ledger import Ledger, n_done, remove_without_runs
from stanrovi.scalars import counted

logger = logging.getLogger(__name__)

LEDGER = "runs.jsonl"
KEPT = ".runs"  # folder beside it, for what is no JSON


@contextmanager
def filled_folder(
    path: Path,
    *,
    overwrite: bool = False,
    keep: Iterable[Path] = (),
    own: Collection[Path] = (),
    names: Iterable[str] = (),
    spent: Collection[str] = (),
    listed: bool = True,
    stale: Collection[str] = (),
) -> Iterator[Path]:
    """Give a folder to fill, which becomes ``path`` at one stroke when the block is through.

    The checks come first, so that no work is lost to an unusable path. When the block
    raises, Ctrl-C included, nothing in ``path`` has changed, and it is gone again if
    it was new. Whatever ends the program, ``path`` holds what it held before, or
    everything: a folder with all that is to stay and all that is new changes places with it.

    Where that cannot be (on Windows, on file systems that cannot exchange folders, where
    ``path`` is the current folder, in which a shell would be lost, is a mount point or holds
    one, or lies in a folder that cannot be written), files come one by one, the earlier run's
    being removed first.

    Parameters
    ----------
    path : Path
        Destination. An existing folder must be empty unless ``overwrite``.
    overwrite : bool
        Whether files of an earlier run are replaced. Those that the new run does not
        write are removed, unless they have changed since; what others wrote stays.
    keep : iterable of Path
        Files to leave alone, such as the draws that the new run reads.
    own : collection of Path
        Files in ``path`` that the new run has written already, such as its ledger.
    names : iterable of str
        Paths in the folder that the block writes, as far as they are known; see `check_places`.
    spent : collection of str
        Folders in ``path`` that are needed no more once it is filled, such as `KEPT`.
    listed : bool
        Whether the files are listed in the folder, for the next run that takes away those of this
        one; without, it takes away none but those that are ``stale``.
    stale : collection of str
        Files in ``path`` of an earlier run that did not list them.

    Yields
    ------
    Path
        A folder of hidden name beside ``path``, or in it.

    Raises
    ------
    OutputError
        The path is a file, a folder with content, or cannot be written; or a folder is in the
        place of a file. In a folder without ``overwrite``, also if files have come meanwhile.
    """
    new = not usable_path(path).exists()
    check_places(path, [*names, MANIFEST])
    folder = output_folder(path, overwrite=overwrite).resolve()
    sweep(folder.parent)
    sweep(folder, own=True)
    try:
        with _staging(folder) as staging, _by_its_name(staging, path):
            yield staging
            with _turns(folder, staging):
                check_output_folder(path, overwrite=overwrite)
                if listed:
                    _publish(staging, folder, {path.resolve() for path in keep}, own, spent)
                else:
                    _replace(staging, folder, stale)
    except Exception:
        if own and (done := n_done(folder / LEDGER)):
            logger.warning(
                "%s keeps %s; the same again with --resume (resume=True) goes on with them.",
                path, counted(done, "finished run"),
            )  # fmt: skip
        raise
    finally:
        if new:
            with suppress(OSError):  # it has content, as it should
                folder.rmdir()


def check_places(folder: str | os.PathLike[str], names: Iterable[str]) -> None:
    """See that files can be put where they are to be, so that no change is left half done.

    Parameters
    ----------
    folder : path-like
        It need not be there.
    names : iterable of str
        Paths in it, with ``/``, of what is written or removed.

    Raises
    ------
    UsageError
        A path is too long.
    OutputError
        A folder is in the place of a file, or a file in a folder's, or a folder below is closed,
        or a file protected from changes.
    """
    for name in names:
        file = usable_path(Path(folder) / name)
        for parent in PurePosixPath(name).parents[:-1]:
            place = Path(folder) / parent
            if os.path.lexists(place) and not place.is_dir():
                raise OutputError(
                    f"{place} is a file, and a folder is needed there; move it away, or choose "
                    "another folder."
                )
            if place.is_dir():
                check_folder(place)
        if os.path.isdir(file) and not file.is_symlink():
            raise OutputError(
                f"{file} is a folder, and a file is to be written there; move it away, or choose "
                "another folder."
            )
        if _protected(file):
            raise OutputError(
                f"{file} is protected from changes, and is to be replaced; take the protection off "
                "(chattr -i; chflags nouchg on macOS), or choose another folder."
            )


def _protected(file: Path) -> bool:
    """Whether a file has an attribute against changes, under which not even its name can go."""
    try:
        if file.is_file() and not file.is_symlink():
            os.close(os.open(file, os.O_WRONLY))
    except OSError as error:  # by its mode alone it is EACCES, and it can be replaced
        return error.errno == errno.EPERM
    return False


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
    names: Iterable[str] = (),
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
    names : iterable of str
        Paths in the folder that are to be written in the end; see `check_places`.

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
    foreign = (folder / KEPT).exists() and not ledger.exists()
    if os.path.lexists(ledger) and not ledger.is_file():
        raise OutputError(f"{ledger} is no regular file; move it away, or choose another folder.")
    if ledger.exists():
        done = n_done(ledger)
        if not (resume or overwrite):
            kept = counted(done, "finished run") if done else "runs that have begun"
            raise OutputError(
                f"The folder {path} holds {kept}; go on with them "
                "(resume=True; --resume on the command line) or begin anew (overwrite=True; "
                "--overwrite)."
            )
    elif resume and (folder / MANIFEST).exists():
        raise OutputError(
            f"The folder {path} holds a finished result, and no runs to go on with; begin anew "
            "(overwrite=True; --overwrite on the command line), or choose another one."
        )
    inside = (f"{place}/{MANIFEST}" for place in (KEPT, beside) if place)
    check_places(path, [*names, MANIFEST, *inside])
    output_folder(path, overwrite=overwrite or ledger.exists())
    if overwrite and ledger.exists():
        with Ledger(ledger):  # nobody else is writing it
            os.truncate(ledger, 0)
            remove_folder(folder / KEPT)
    try:
        yield ledger
    finally:
        if ledger.exists() and not (beside and (folder / beside).exists()):
            remove_without_runs(ledger)
            if not (foreign or ledger.exists()):
                remove_folder(folder / KEPT)  # no record tells of what it holds
        if new:
            with suppress(OSError):  # it has content, as it should
                folder.rmdir()


@contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """Give an empty folder of a hidden name, held by this process, and removed in the end.

    It is beside the folder where it can be moved into its place from there, else in it.
    """

    def make() -> Path:
        with in_turn(folder):  # nobody exchanges it meanwhile
            try:
                made = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=folder))
            except OSError as error:
                raise unwritable(folder, error) from error
            with suppress(OSError):  # a mount point, or its parent is no place to write
                beside = folder.with_name(made.name)
                os.rename(made, beside)
                return beside
            return made

    with held(make) as own:
        try:
            place = own / FILLING
            try:
                place.mkdir()
            except OSError as error:
                raise unwritable(folder, error) from error
            yield place
        finally:
            remove_folder(own)


@contextmanager
def _by_its_name(staging: Path, path: Path) -> Iterator[None]:
    """Say in errors where files were to be, and not the hidden folder where they are made."""
    try:
        yield
    except OutputError as error:
        raise OutputError(str(error).replace(str(staging), str(path))) from error
    except OSError as error:
        if isinstance(error.filename, str):
            error.filename = error.filename.replace(str(staging), str(path))
        raise


@contextmanager
def _turns(folder: Path, staging: Path) -> Iterator[None]:
    """Hold a folder, and what comes into its place, while one does: one process at a time does."""
    with in_turn(staging), in_turn(folder):
        yield


def _publish(
    staging: Path, folder: Path, keep: set[Path], own: Iterable[Path], spent: Collection[str]
) -> None:
    """Bring the files into place, take away those they replace, and list what is ours."""
    new = _digests(staging)
    written = new | {file.name: _digest(file) for file in own}
    ours = _earlier(folder)
    earlier = {n: digest for n, digest in ours.items() if n not in written}
    stale = {name for name in earlier if (folder / name).resolve() not in keep}
    check_places(folder, [*new, *stale, MANIFEST])
    listed = written | {n: digest for n, digest in earlier.items() if n not in stale}
    manifest = json.dumps(listed, indent=0) + "\n"
    change = Change(folder, staging, {*stale, *new, MANIFEST, *spent})
    write_text(staging / MANIFEST, manifest)
    change.make([*new, MANIFEST], ours, ours | written)
    for name in spent:  # still there where files have come one by one
        remove_folder(folder / name)


def _replace(staging: Path, folder: Path, stale: Collection[str]) -> None:
    """Bring the files into place, and take away stale ones; everything else stays."""
    names = [*_digests(staging)]
    check_places(folder, names)
    Change(folder, staging, {*names, *stale}).make(names, stale)


def _digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file in a folder, by its relative path."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): _digest(file) for file in files}


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _earlier(folder: Path) -> dict[str, str]:
    """Read what an earlier run has written into the folder, as far as it is unchanged."""
    manifest = folder / MANIFEST
    try:
        # A pipe would be waited for.
        listed = dict(json.loads(manifest.read_bytes())) if manifest.is_file() else {}
    except (OSError, ValueError, TypeError, RecursionError):  # a file that is not ours
        return {}
    return {name: digest for name, digest in listed.items() if _is_ours(folder, name, digest)}


def _is_ours(folder: Path, name: str, digest: str) -> bool:
    file = folder / name
    try:
        inside = file.resolve().is_relative_to(folder.resolve())
        return inside and file.is_file() and _digest(file) == digest
    except (OSError, ValueError):  # gone already, or no name of a file
        return False
