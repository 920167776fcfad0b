"""Bundled Stan models: a program, its data, and what is known about its posterior.

Each model is a folder ``NAME`` with ``NAME.stan``, ``NAME.data.json`` and a
``README.md`` whose first line after the title says in one sentence what it is.
"""

from __future__ import annotations

from pathlib import Path

from stanrovi.arguments import suggestion
from stanrovi.errors import UsageError

_ROOT = Path(__file__).parent


def names() -> tuple[str, ...]:
    """Names of the bundled models, in alphabetical order."""
    return tuple(sorted(program.parent.name for program in _ROOT.glob("*/*.stan")))


def path(name: str) -> Path:
    """Folder of a bundled model.

    Raises
    ------
    UsageError
        No model of this name is bundled; the message suggests the nearest.
    """
    known = names()
    if name not in known:
        raise UsageError(
            f"There is no bundled model {name!r}.{suggestion(name, known)} "
            f"Bundled models: {', '.join(known)}."
        )
    return _ROOT / name


def program(name: str) -> Path:
    """Stan program of a bundled model; raises like `path`."""
    return path(name) / f"{name}.stan"


def data(name: str) -> Path:
    """JSON data of a bundled model; raises like `path`."""
    return path(name) / f"{name}.data.json"


def summary(name: str) -> str:
    """One sentence on a bundled model: the first line below its README's title.

    Raises like `path`.
    """
    lines = (path(name) / "README.md").read_text(encoding="utf-8").splitlines()
    return next(line for line in lines[1:] if line)
