"""Writes the tables of docs/reference/dependencies.md from the metadata of what is installed.

What a package is for is written by hand in the page, and is kept.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "reference" / "dependencies.md"
TABLE = "<!-- table: {} -->\n"
END = "<!-- end -->\n"


def declared() -> list[Requirement]:
    """Read what pyproject.toml asks for at run time, for the extra `dask` too."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = project["dependencies"] + project["optional-dependencies"]["dask"]
    return [Requirement(line) for line in lines]


def canonical(name: str) -> str:
    """Return the name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def licence(name: str) -> str:
    """Return what the package says: an expression, else a short text, else classifiers."""
    of = metadata.metadata(name)
    text = of.get("License", "").strip()
    classes = [line for line in of.get_all("Classifier", []) if line.startswith("License ::")]
    if "License-Expression" in of:
        return of["License-Expression"]
    if text and len(text) < 40 and "\n" not in text:
        return text
    return ", ".join(line.split(" :: ")[-1] for line in classes)


def with_them(direct: list[Requirement]) -> dict[str, set[str]]:
    """Find what comes with the declared packages, and which packages ask for each."""
    known = {canonical(one.name) for one in direct}
    found: dict[str, set[str]] = {}
    waiting = sorted(known)
    while waiting:
        name = waiting.pop()
        for one in map(Requirement, metadata.requires(name) or []):
            other = canonical(one.name)
            if (one.marker and not one.marker.evaluate({"extra": ""})) or other in known:
                continue
            if other not in found:
                waiting.append(other)
            found.setdefault(other, set()).add(name)
    return found


def purposes(page: str) -> dict[str, str]:
    """Read what each package is for, as the page says now."""
    return dict(re.findall(r"^\| `([\w-]+)` \| `[^|]*` \| ([^|]*) \|", page, re.MULTILINE))


def direct_rows(page: str) -> Iterator[str]:
    """Rows of the packages that are declared."""
    told = purposes(page)
    yield "| package | versions | what for | licence |\n|---|---|---|---|\n"
    for one in declared():
        versions, name = ",".join(sorted(map(str, one.specifier), reverse=True)), one.name
        yield f"| `{name}` | `{versions}` | {told.get(name, '?')} | {licence(name)} |\n"


def other_rows() -> Iterator[str]:
    """Rows of the packages that come with those."""
    yield "| package | comes with | licence |\n|---|---|---|\n"
    for name, by in sorted(with_them(declared()).items()):
        yield f"| `{name}` | {', '.join(sorted(by))} | {licence(name)} |\n"


def with_table(page: str, name: str, rows: Iterable[str]) -> str:
    """Return the page with one of its tables anew."""
    head, _, rest = page.partition(TABLE.format(name))
    return head + TABLE.format(name) + "\n" + "".join(rows) + "\n" + END + rest.partition(END)[2]


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    text = with_table(text, "declared", direct_rows(text))
    PAGE.write_text(with_table(text, "others", other_rows()), encoding="utf-8")
