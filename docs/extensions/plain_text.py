"""Docstrings and help texts are read as they stand; what would be markup to Sphinx is escaped."""

import re
from typing import Any

from sphinx.application import Sphinx


def _escape_docstring(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]):
    """Keep the star of shapes such as (chain, draw, *shape)."""
    lines[:] = [re.sub(r"(?<=[( ])\*(?=\w+\))", r"\\*", line) for line in lines]


def _escape_help(app: Sphinx, context: Any, lines: list[str]) -> None:
    """Keep underscores and stars; what stands between backticks is code."""
    lines[:] = [re.sub(r"(?<!`)`(?!`)", "``", re.sub(r"([*_])", r"\\\1", line)) for line in lines]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register both."""
    app.connect("autodoc-process-docstring", _escape_docstring)
    app.connect("sphinx-click-process-description", _escape_help)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
