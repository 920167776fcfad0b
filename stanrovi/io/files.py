"""Writing output: whole files or none, and never over something the user has.

Every file is written under a temporary name beside its destination and renamed
when complete, so an interrupted run leaves nothing half-written behind. What a
killed run leaves under such names is removed by the next that writes there: the
owner holds it by a lock of the system, which ends with the process.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stanrovi.arguments import checked_flag, told
from stanrovi.errors import OutputError, UsageError

if sys.platform != "win32":
    import fcntl

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
UNFINISHED = ".unfinished-"  # begin of the name of a folder that is being filled
FILLING = "files"  # the one thing in it
_SCRATCH = "stanrovi-work-"  # begin of the name of a folder among temporary files
# Names that are no content of a folder: of unfinished work, and of the lock of `Ledger`.
_FOLDER, _FILE = rf"{re.escape(UNFINISHED)}[a-z0-9_]{{8}}", r"\.stanrovi-[0-9a-f]{12}\.tmp"
_PASSING = re.compile(rf"{_FOLDER}|{_FILE}|\..*\.jsonl\.lock")


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
        It is no path at all, is empty or too long, holds a zero byte, is a link that leads to
        itself, or is relative to a working folder that is not there any more.
    """
    try:
        text: object = os.fspath(path)
    except Exception:  # anybody may have written its type
        text = None
    if not isinstance(text, str):
        raise UsageError(f"A path is a text or a pathlib.Path, not {told(path)}.")
    if not text:
        raise UsageError("A path is empty, and nothing has that name; is a variable not set?")
    path = os.path.expanduser(text)
    if not os.path.isabs(path):
        require_working_folder(told(path))
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


def require_working_folder(what: str) -> None:
    """Refuse what begins from the working folder where that has been deleted.

    Raises
    ------
    UsageError
    """
    try:
        Path.cwd()
    except OSError as error:
        raise UsageError(
            f"{what} begins from the working folder, which cannot be used ({error.strerror}); "
            "change to another one (cd)."
        ) from None


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
    overwrite = checked_flag("overwrite", overwrite)
    target = Path(os.path.realpath(usable_path(path)))
    try:
        is_folder, is_file, exists = target.is_dir(), target.is_file(), target.exists()
    except OSError as error:  # in a folder that may not be looked into
        raise _unusable(path, error) from error
    if is_folder:
        raise OutputError(f"{path} is a folder; name a file inside it.")
    if exists and not is_file:
        raise OutputError(f"{path} is no regular file; choose another path.")
    if exists and not overwrite:
        raise OutputError(
            f"{path} exists already; choose another path or ask to overwrite it "
            "(overwrite=True; --overwrite on the command line)."
        )
    check_folder(target.parent)
    return target


def check_output_folder(path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Refuse a folder that `output_folder` would refuse, without making it.

    For before a long run, whose results it is to hold.

    Raises
    ------
    OutputError
        The path is a file or below one, or a folder with content unless ``overwrite``; or nothing
        can be written there.
    """
    overwrite = checked_flag("overwrite", overwrite)
    folder = usable_path(path)
    try:
        there = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
        if not there.is_dir():
            what = "a file" if there.exists() else "a link to nothing"
            raise OutputError(f"{there} is {what}, and a folder is needed; choose another path.")
        if not folder.resolve().name:
            raise OutputError(f"{path} is the root of all folders; choose one inside it.")
        refused = not overwrite and folder.is_dir() and _holds_something(folder)
    except OSError as error:
        raise _unusable(path, error) from error
    if refused:
        raise OutputError(
            f"The folder {path} is not empty; choose another one or ask to overwrite "
            "(overwrite=True; --overwrite on the command line)."
        )
    check_folder(there)
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
    folder = check_output_folder(path, overwrite=overwrite)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(path, error) from error
    check_folder(folder)
    return folder


def check_folder(folder: Path) -> None:
    """Refuse a folder that is not there, or that nothing can be written into.

    Raises
    ------
    OutputError
    """
    if not folder.is_dir():
        raise OutputError(f"The folder {folder} does not exist; create it or choose another path.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"The folder {folder} is read-only; choose another path.")


def _unusable(path: str | os.PathLike[str], error: OSError) -> OutputError:
    return OutputError(f"The folder {path} cannot be used ({error.strerror}); choose another path.")


def _holds_something(folder: Path) -> bool:
    """Whether a folder holds more than what unfinished work leaves under hidden names."""
    return not all(_PASSING.fullmatch(name) for name in os.listdir(folder))


@contextmanager
def held(make: Callable[[], Path]) -> Iterator[Path]:
    """Make a file or folder, and hold it: `sweep` leaves it alone until the block or process ends.

    Parameters
    ----------
    make : callable
        Makes it under a name that nothing has; it is called again where another process sweeps
        it away before it is held.

    Yields
    ------
    Path
    """
    while True:
        path = make()
        try:
            opened = _locked(path, wait=True)
        except FileNotFoundError:
            continue
        except OSError:  # there are no locks here, and nothing is swept
            yield path
            return
        try:
            yield path
        finally:
            os.close(opened)
        return


@contextmanager
def in_turn(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold a lock of the system on a file or folder; say whether it is had.

    It is not where another process holds it and this one does not wait, where nothing is at the
    path, and where the file system or Windows has no such locks.
    """
    try:
        opened = _locked(path, wait=wait)
    except OSError:
        yield False
        return
    try:
        yield True
    finally:
        os.close(opened)


def _locked(path: Path, *, wait: bool) -> int:
    """Open and lock what is at a path when the lock is had."""
    if sys.platform == "win32":
        raise OSError(None, "no locks that let a file be renamed")
    while True:
        opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if os.path.samestat(os.fstat(opened), os.lstat(path)):
                return opened
        except BaseException:
            os.close(opened)
            raise
        os.close(opened)  # something else has its name meanwhile


def sweep(folder: Path, *, own: bool = False) -> None:
    """Remove the unfinished work of dead processes from a folder.

    Parameters
    ----------
    folder : Path
    own : bool
        Whether the folder is one for our output, where every folder of such a name is ours;
        elsewhere only those that hold what ours hold.
    """
    with suppress(OSError):
        for name in os.listdir(folder):
            path = folder / name
            if re.fullmatch(_FILE, name):
                with in_turn(path, wait=False) as dead:
                    if dead:
                        path.unlink()
            elif re.fullmatch(_FOLDER, name):
                with in_turn(path, wait=False) as dead:
                    if dead and (own or set(os.listdir(path)) <= {FILLING}):
                        remove_folder(path)


def remove_folder(folder: Path) -> None:
    """Remove a folder of ours as far as that can be, unless something is mounted in it."""
    if holds_mount(folder):
        return
    shutil.rmtree(folder, ignore_errors=True)
    # It opens a folder within another. Where few files may be open at once, one after another.
    for place, _, names in os.walk(folder, topdown=False):
        with suppress(OSError):
            for name in names:
                os.unlink(os.path.join(place, name))
            os.rmdir(place)


def holds_mount(folder: Path) -> bool:
    """Whether something is mounted at a folder or below, whose files are not the folder's."""
    top = os.path.realpath(folder)
    try:
        mounts = Path("/proc/self/mountinfo").read_bytes().splitlines()
    except OSError:  # no Linux
        return any(os.path.ismount(place) for place, _, _ in os.walk(top))
    points = (
        re.sub(rb"\\([0-7]{3})", lambda code: bytes([int(code[1], 8)]), line.split()[4])
        for line in mounts
    )
    return any(Path(os.fsdecode(point)).is_relative_to(top) for point in points)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Give a folder for passing files; remove those that dead processes have left."""
    with suppress(OSError):
        for path in Path(tempfile.gettempdir()).glob(f"{_SCRATCH}*"):
            with in_turn(path, wait=False) as dead:
                if dead:
                    remove_folder(path)
    folder: Path | None = None
    try:
        with held(lambda: Path(tempfile.mkdtemp(prefix=_SCRATCH))) as folder:
            yield folder
    finally:  # of the file that held it, too, which may be the last that can be opened
        if folder is not None:
            remove_folder(folder)


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
        An empty file beside the destination. It is removed when the block raises,
        Ctrl-C included.

    Raises
    ------
    OutputError
        See `check_output`; also when writing fails (a full disk, say).
    """
    target = check_output(path, overwrite=overwrite)
    sweep(target.parent)
    try:
        with held(lambda: _empty_file(target.parent)) as temporary:
            try:
                yield temporary
                _publish(temporary, target, path, overwrite)
            finally:
                temporary.unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: str | os.PathLike[str], error: OSError) -> OutputError:
    """Tell that a path cannot be written."""
    space = "free some space or " if error.errno in _FULL else ""
    reason = error.strerror or error
    return OutputError(f"{path} cannot be written ({reason}); {space}choose another path.")


def write_text(path: str | os.PathLike[str], text: str, *, overwrite: bool = False) -> Path:
    """Write a text file in UTF-8, atomically; bytes of names that are no text as backslashes.

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
        temporary.write_text(text, "utf-8", "backslashreplace", newline="\n")
    return Path(path)


def _empty_file(folder: Path) -> Path:
    path = folder / f".stanrovi-{secrets.token_hex(6)}.tmp"
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    return path


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
