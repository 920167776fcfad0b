"""What the user names as the model: a Stan file, a compiled library, a bundled model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import stanrovi_stan_models as models
from stanrovi.arguments import suggestion
from stanrovi.errors import UsageError
from stanrovi.io.files import usable_path
from stanrovi.stan.data import DataSource
from stanrovi.stan.engine import LIBRARY_SUFFIXES
from stanrovi.stan.program import Program, read_program


def locate(
    program: str | os.PathLike[str], include_paths: Sequence[str | os.PathLike[str]] = ()
) -> tuple[Program | Path, DataSource]:
    """Find a model.

    Parameters
    ----------
    program : path or str
        Path of a ``.stan`` file or of a compiled BridgeStan library, or the
        name of a bundled model.
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
    path = usable_path(program)
    if path.suffix == ".stan":
        return read_program(path, tuple(os.fspath(folder) for folder in include_paths)), None
    if path.suffix in LIBRARY_SUFFIXES:
        return path, None
    return _bundled(os.fspath(program))


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
