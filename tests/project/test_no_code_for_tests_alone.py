"""Nothing in the library is there for its tests: what nobody uses or documents goes."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator

import pytest
from places import ROOT

pytestmark = pytest.mark.interpreter

# Called by the language, by libraries, or by users of a public class.
CALLED_BY_OTHERS = {
    "convert",  # click's parameter types
    "emit",  # handlers of logging
    "get_command",  # click's groups
    "list_commands",
    "resolve_command",
    "write",  # stdout's stand-in
    "flush",
    "isatty",
    "command",
}


def public_definitions() -> Iterator[str]:
    """Names of public functions, classes and methods of the library and the command line."""
    for path in [*ROOT.glob("stanrovi/**/*.py"), *ROOT.glob("cli/*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                yield node.name


def texts() -> Iterator[str]:
    """Everything but tests: code without its docstrings, documents whole."""
    for folder in ("stanrovi", "cli", "benchmarks", "examples", "stan_models"):
        for path in (ROOT / folder).rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            yield re.sub(r'""".*?"""', "", ast.unparse(tree), flags=re.DOTALL)
        yield from (p.read_text(encoding="utf-8") for p in (ROOT / folder).rglob("*.j2"))
    for path in [ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*.md")]:
        yield path.read_text(encoding="utf-8")


def test_every_public_name_has_a_user_or_a_document():
    defined = Counter(public_definitions())
    used = Counter(word for text in texts() for word in re.findall(r"\w+", text))
    unused = {name for name, n in defined.items() if used[name] <= n} - CALLED_BY_OTHERS
    assert not unused
