"""Where compiled programs are kept: never beside the user's file.

A library loaded twice under one path silently keeps the old code, so every
folder name carries a hash of the program with its includes and of the
compiler it was built by.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path

from stanrovi.errors import OutputError
from stanrovi.stan.processes import end_processes
from stanrovi.stan.program import Program


def compiled(program: Program, compiler: str, suffix: str, build: Callable[[Path], Path]) -> Path:
    """Path of the compiled program, building it first if it is not there.

    Parameters
    ----------
    program : Program
        What to compile.
    compiler : str
        Identity of the compiler (kind, version, folder); a change of it rebuilds.
    suffix : str
        Ending of the compiled file.
    build : callable
        Maps the path of a ``.stan`` file to the path of the compiled file it made.

    Returns
    -------
    Path

    Raises
    ------
    OutputError
        If the cache folder belongs to somebody else, or cannot be made.
    """
    import filelock
    import platformdirs

    key = hashlib.sha256(f"{compiler}\0{program.code}".encode()).hexdigest()[:16]
    stem = re.sub(r"\W", "_", program.name)  # make splits names at blanks
    folder = _own_folder(platformdirs.user_cache_path("stanrovi")) / f"{stem}-{key}"
    target = folder / f"{stem}{suffix}"
    folder.mkdir(exist_ok=True)
    with filelock.FileLock(folder / "lock"):
        if not target.exists():
            work = folder / "build"
            work.mkdir(exist_ok=True)
            source = work / f"{stem}.stan"
            source.write_text(program.code, encoding="utf-8")
            # Moved only when complete: an interrupted build leaves no half library.
            try:
                os.replace(build(source), target)
            except KeyboardInterrupt:
                end_processes(str(work))  # compilers outlive the make that started them
                raise
    return target


def _own_folder(path: Path) -> Path:
    """Create a folder that nobody else may write to: what lies in it is loaded and run."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"The cache folder {path} cannot be made ({error.strerror}); set XDG_CACHE_HOME to a "
            "folder of your own."
        ) from error
    if os.name == "posix":
        status = path.stat()
        if status.st_uid != os.geteuid():
            raise OutputError(
                f"The cache folder {path} belongs to another user, so programs in it are not "
                "run; set XDG_CACHE_HOME to a folder of your own."
            )
        if status.st_mode & 0o077:
            path.chmod(0o700)
    return path
