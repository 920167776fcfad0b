"""Writing output: whole files or none, and never over something the user has.

Every file is written under a temporary name beside its destination and renamed
when complete, so an interrupted run leaves nothing half-written behind.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stanrovi.errors import OutputError, UsageError


def usable_path(path: str | os.PathLike[str]) -> Path:
    """Check that a path is one that can be looked up, whether or not something is there.

    Parameters
    ----------
    path : path-like
        ``~`` at its begin is the home folder, as shells do not make it in ``--data=~/x``.

    Returns
    -------
    Path

    Raises
    ------
    UsageError
        The path is too long, holds a zero byte, or is a link that leads to itself.
    """
    path = os.path.expanduser(path)
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        pass
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(
            f"{str(path)[:80]!r} is no usable path ({reason}); choose another."
        ) from None
    return Path(path)


def check_output(path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Check that a file may be written, before the work that fills it.

    Parameters
    ----------
    path : path-like
        Destination file.
    overwrite : bool
        Whether an existing regular file may be replaced.

    Returns
    -------
    Path
        The destination with symbolic links resolved, so that a link is followed
        and not replaced.

    Raises
    ------
    OutputError
        The path exists, is no regular file, or its folder is missing or read-only.
    """
    target = Path(os.path.realpath(usable_path(path)))
    if target.is_dir():
        raise OutputError(f"{path} is a folder; name a file inside it.")
    if target.exists() and not target.is_file():
        raise OutputError(f"{path} is no regular file; choose another path.")
    if target.exists() and not overwrite:
        raise OutputError(
            f"{path} exists already; choose another path or ask to overwrite it "
            "(overwrite=True; --overwrite on the command line)."
        )
    _check_folder(target.parent)
    return target


def check_output_folder(path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Refuse a folder that `output_folder` would refuse, without making it.

    For before a long run, whose results it is to hold.

    Raises
    ------
    OutputError
        The path is a file, or a folder with content unless ``overwrite``.
    """
    folder = usable_path(path)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{path} is a file, and a folder is needed; choose another path.")
    if not overwrite and folder.is_dir() and any(folder.iterdir()):
        raise OutputError(
            f"The folder {path} is not empty; choose another one or ask to overwrite "
            "(overwrite=True; --overwrite on the command line)."
        )
    return folder


def output_folder(path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Create a folder for output, with its parents.

    Parameters
    ----------
    path : path-like
        The folder. An existing one must be empty unless ``overwrite``.
    overwrite : bool
        Whether files inside an existing folder may be replaced.

    Returns
    -------
    Path

    Raises
    ------
    OutputError
        The path is a file, a folder with content, or cannot be created.
    """
    try:
        folder = check_output_folder(path, overwrite=overwrite)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"The folder {path} cannot be used ({error.strerror}); choose another path."
        ) from error
    _check_folder(folder)
    return folder


@contextmanager
def atomic_path(path: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary path to write to; rename it to ``path`` on success.

    Parameters
    ----------
    path : path-like
        Destination file.
    overwrite : bool
        Whether an existing file may be replaced.

    Yields
    ------
    Path
        A path beside the destination that does not exist yet. It is removed when
        the block raises, Ctrl-C included.

    Raises
    ------
    OutputError
        See `check_output`; also when writing fails (a full disk, say).
    """
    target = check_output(path, overwrite=overwrite)
    temporary = target.with_name(f".stanrovi-{secrets.token_hex(6)}.tmp")
    try:
        yield temporary
        _publish(temporary, target, path, overwrite)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written ({error.strerror or error}); "
            "free some space or choose another path."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str, *, overwrite: bool = False) -> Path:
    """Write a text file in UTF-8, atomically.

    Parameters
    ----------
    path : path-like
        Destination file.
    text : str
        Its content.
    overwrite : bool
        Whether an existing file may be replaced.

    Returns
    -------
    Path
        ``path``.

    Raises
    ------
    OutputError
        See `atomic_path`.
    """
    with atomic_path(path, overwrite=overwrite) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
    return Path(path)


def _publish(temporary: Path, target: Path, name: str | os.PathLike[str], overwrite: bool) -> None:
    """Give a complete file its name, at one stroke."""
    if overwrite:
        os.replace(temporary, target)
        return
    try:
        os.link(temporary, target)  # fails where somebody else was faster; a rename replaces
    except FileExistsError:
        raise OutputError(
            f"{name} has appeared meanwhile; choose another path or ask to overwrite it "
            "(--overwrite)."
        ) from None
    except OSError:  # a file system without links
        os.replace(temporary, target)


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise OutputError(f"The folder {folder} does not exist; create it or choose another path.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"The folder {folder} is read-only; choose another path.")
