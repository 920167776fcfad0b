"""Bundled Stan models: a program, its data, and what is known about its posterior.

Each model is a folder ``NAME`` with ``NAME.stan``, ``NAME.data.json`` and a
``README.md`` whose first line after the title says in one sentence what it is.
"""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

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
        nearest = get_close_matches(name, known, n=1)
        cure = f"Did you mean '{nearest[0]}'?" if nearest else f"Bundled are: {', '.join(known)}."
        raise UsageError(f"There is no bundled model '{name}'. {cure}")
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
