"""What the user names as the model: a Stan file, a compiled library, a bundled model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import stanrovi_stan_models as models
from stanrovi.arguments import suggestion
from stanrovi.errors import UsageError
from stanrovi.io.files import usable_path
from stanrovi.stan.data import DataSource
from stanrovi.stan.engine import LIBRARY_SUFFIXES
from stanrovi.stan.program import Program, read_program


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
    program: ProgramSource, include_paths: Sequence[str | os.PathLike[str]] = ()
) -> tuple[Program | Path, DataSource]:
    """Find a model.

    Parameters
    ----------
    program : path, str or cmdstanpy.CmdStanModel
        Path of a ``.stan`` file or of a compiled BridgeStan library, the name of a bundled
        model, or a program of cmdstanpy, with the folders that it includes from.
    include_paths : sequence of path
        Folders searched for ``#include``.

    Returns
    -------
    source : Program or Path
        The program, or the path of the library.
    data : path, str, mapping or None
        Data that a bundled model brings.

    Raises
    ------
    UsageError
        If nothing of that name is there.
    ModelError
        If the file is not text.
    """
    if not isinstance(program, str | os.PathLike) and hasattr(program, "stan_file"):
        program, own = _of_cmdstan(program)
        include_paths = (*include_paths, *own)
    if not isinstance(program, str | os.PathLike):
        raise UsageError(
            f"a model is the path of a .stan file or of a compiled library, the name of a bundled "
            f"model, or a CmdStanModel, not {type(program).__name__}"
        )
    path = usable_path(program)
    if path.suffix == ".stan":
        return read_program(path, tuple(os.fspath(folder) for folder in include_paths)), None
    if path.suffix in LIBRARY_SUFFIXES:
        return path, None
    return _bundled(os.fspath(program))


def _of_cmdstan(model: CmdStanProgram) -> tuple[str | os.PathLike[str], list[str]]:
    """Path of the program that cmdstanpy has compiled, and the folders that it includes from."""
    if model.stan_file is None:
        raise UsageError(
            f"this CmdStanModel has an executable alone ({model.exe_file}), and its log density is "
            "needed: give the path of its .stan file, or CmdStanModel(stan_file=...)"
        )
    folders = dict(model.stanc_options or {}).get("include-paths") or []
    return model.stan_file, folders.split(",") if isinstance(folders, str) else list(folders)


def _bundled(name: str) -> tuple[Program, DataSource]:
    names = models.names()
    if name in names:
        return read_program(models.program(name)), models.data(name)
    if Path(name).exists():
        raise UsageError(
            f"{name} is neither a .stan file nor a compiled library ({', '.join(LIBRARY_SUFFIXES)})"
        )
    raise UsageError(
        f"no model {name!r}: it is neither a .stan file nor a bundled model."
        f"{suggestion(name, names)} Bundled models: {', '.join(names)}."
    )
