"""What the user names as the model: a Stan file, a compiled library, a bundled model."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import stanrovi_stan_models as models
from stanrovi.arguments import listed, nearest
from stanrovi.errors import DataError, UsageError, few
from stanrovi.io.files import usable_path
from stanrovi.stan.data import DataSource
from stanrovi.stan.engine import LIBRARY_SUFFIXES, translate
from stanrovi.stan.program import Program, read_program

logger = logging.getLogger(__name__)

_DATA_BESIDE = ".data.json", ".json"  # endings of data beside NAME.stan, in the order looked for
# What people give for the program, by its ending, and the cure.
_NO_PROGRAM = {
    ".json": "data; give the .stan file as the model, and this as its data (--data, data=)",
    ".csv": "a table; the model is a .stan file",
    ".nc": "draws; the model is a .stan file (to compare draws in files: stanrovi report)",
    ".hpp": "C++ that stanc made of a program; give the .stan file itself",
    ".exe": "an executable; give its .stan file as the model, and this to NUTS (--exe, exe=)",
}
_MOST = 6  # files of a folder that a message names


class CmdStanProgram(Protocol):
    """A program compiled by cmdstanpy, a CmdStanModel."""

    @property
    def stan_file(self) -> str | os.PathLike[str] | None:
        """Path of the program; None where it has an executable alone."""

    @property
    def exe_file(self) -> str | os.PathLike[str] | None:
        """Path of the executable."""

    @property
    def stanc_options(self) -> Any:
        """Options of the compiler by name."""


ProgramSource = str | os.PathLike[str] | CmdStanProgram


def locate(
    program: ProgramSource,
    include_paths: Sequence[str | os.PathLike[str]] = (),
    data: DataSource = None,
) -> tuple[Program | Path, DataSource]:
    """Find a model and its data.

    Parameters
    ----------
    program : path, str or cmdstanpy.CmdStanModel
        Path of a ``.stan`` file or of a compiled BridgeStan library, the name of a bundled
        model, or a program of cmdstanpy, with the folders that it includes from.
    include_paths : sequence of path
        Folders searched for ``#include``.
    data : path, str, mapping or None
        Data that the user gives. Without, a bundled model brings its own, and a program that
        declares data takes ``NAME.data.json`` or ``NAME.json`` beside ``NAME.stan``, which is
        logged.

    Returns
    -------
    source : Program or Path
        The program, or the path of the library.
    data : path, str, mapping or None
        Those given, or those found.

    Raises
    ------
    UsageError
        If nothing of that name is there.
    ModelError
        If the file is not text, or declares data, has none, and stanc rejects it.
    DataError
        If the program declares data, and none are given or found.
    """
    if not isinstance(program, str | os.PathLike) and hasattr(program, "stan_file"):
        program, own = _of_cmdstan(program)
        include_paths = (*folders(include_paths), *own)
    if not isinstance(program, str | os.PathLike):
        raise UsageError(
            f"a model is the path of a .stan file or of a compiled library, the name of a bundled "
            f"model, or a CmdStanModel, not {type(program).__name__}"
        )
    bundled = isinstance(program, str) and program in models.names()
    path = Path(program) if bundled else usable_path(program)
    if path.name.endswith(".stan"):  # a file called .stan has no suffix
        if not _is_there(path) and (near := _near(path)):
            raise UsageError(f"no such file: {path}.{near}")
        source = read_program(path, tuple(map(str, folders(include_paths))))
        return source, _beside(path, source) if data is None else data
    if path.suffix in LIBRARY_SUFFIXES:
        return path, data
    return _bundled(os.fspath(program), path, data)


def folders(paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> list[Path]:
    """List folders to include from; one path is a list of one.

    Raises
    ------
    UsageError
        For what is no path.
    """
    if isinstance(paths, str | os.PathLike):
        return [usable_path(paths)]
    return [usable_path(path) for path in listed("include_paths", paths)]


def _of_cmdstan(model: CmdStanProgram) -> tuple[str | os.PathLike[str], list[str]]:
    """Path of the program that cmdstanpy has compiled, and the folders that it includes from."""
    if model.stan_file is None:
        raise UsageError(
            f"this CmdStanModel has an executable alone ({model.exe_file}), and its log density is "
            "needed: give the path of its .stan file, or CmdStanModel(stan_file=...)"
        )
    folders = dict(model.stanc_options or {}).get("include-paths") or []
    return model.stan_file, folders.split(",") if isinstance(folders, str) else list(folders)


def _beside(path: Path, program: Program) -> Path | None:
    """Find the data of a program that declares some."""
    if not program.data_declarations:
        return None
    places = [path.with_suffix(ending) for ending in _DATA_BESIDE]
    for place in places:
        if place.is_file():
            logger.info("data: %s, found beside the program", place)
            return place
    translate(program)  # what does not parse is the first thing to tell
    declared = few([item.name for item in program.data_declarations])
    raise DataError(
        f"{path.name} declares data ({declared}), and none are given: give a JSON file (--data "
        f"FILE, data= in Python), or put it beside the program as "
        f"{' or '.join(place.name for place in places)}, which are not there."
    )


def _bundled(name: str, path: Path, data: DataSource) -> tuple[Program, DataSource]:
    if name not in models.names():
        raise UsageError(_refusal(name, path))
    program, file = models.program(name), path.with_suffix(".stan")
    if file.is_file() and file.read_bytes() != program.read_bytes():
        logger.warning(
            "%s is taken for the bundled model; for the file of that name here write %s", name, file
        )
    return read_program(program), models.data(name) if data is None else data


def _refusal(name: str, path: Path) -> str:
    if path.is_dir():
        found = sorted(file.name for file in path.glob("*.stan"))
        more = ", ..." if len(found) > _MOST else ""
        inside = f"such as {', '.join(found[:_MOST])}{more}" if found else "which holds none yet"
        near = _near(path) if Path(f"{path}.stan").is_file() else ""
        return f"{name} is a folder; give the path of a .stan file in it, {inside}.{near}"
    if path.exists():
        kind = path.suffix.lower() or (".exe" if os.access(path, os.X_OK) else "")
        other = f"neither a .stan file nor a compiled library ({', '.join(LIBRARY_SUFFIXES)})"
        return f"{name} is {_NO_PROGRAM.get(kind, other)}.{_near(path)}"
    near = _near(path) or f" Bundled models: {', '.join(models.names())}."
    return f"no model {name!r}: it is neither a .stan file nor a bundled model.{near}"


def _is_there(path: Path) -> bool:
    """Tell whether a path has something, or is in a folder that may not be looked into."""
    try:
        path.lstat()
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def _near(path: Path) -> str:
    """Suggest the program that is spelt most alike, beside the path or bundled."""
    beside = {file.stem: str(file) for file in path.parent.glob("*.stan")}
    known = {name: name for name in models.names()} | beside
    words = path.name, path.stem, path.name.partition(".")[0]
    near = next(filter(None, (nearest(word, known) for word in words)), None)
    return f" Did you mean {known[near]!r}?" if near else ""
