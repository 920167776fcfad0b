"""What is installed: pins of the checks, the page of dependencies, and pyproject.toml agree."""

from __future__ import annotations

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from places import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
RUN_TIME = [Requirement(line) for line in PROJECT["dependencies"] + EXTRAS["dask"]]
CHECKS = [Requirement(line) for extra in ("test", "dev", "docs") for line in EXTRAS[extra]]
PAGE = (ROOT / "docs" / "reference" / "dependencies.md").read_text(encoding="utf-8")
RENEW = "renew them: make constraints"


def pins(name: str) -> dict[str, str]:
    """Version of each package in a file of constraints."""
    lines = (ROOT / ".ci" / f"constraints-{name}.txt").read_text(encoding="utf-8").splitlines()[1:]
    return {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in lines}


@pytest.mark.parametrize("name", ["3.11", "3.12", "lowest"])
def test_exact_versions_are_allowed_and_complete(name: str) -> None:
    pinned = pins(name)
    of_tests = [Requirement(line) for line in EXTRAS["test"]]
    for one in RUN_TIME + (of_tests if name == "lowest" else CHECKS):
        if one.name != PROJECT["name"]:
            assert one.specifier.contains(pinned[canonicalize_name(one.name)]), RENEW
    assert "prophet" in pinned, RENEW


def test_lowest_versions_are_the_lower_bounds() -> None:
    pinned = pins("lowest")
    for one in RUN_TIME:
        (lowest,) = (bound.version for bound in one.specifier if bound.operator == ">=")
        exact = Requirement(f"{one.name}=={lowest}").specifier  # 2.0 is 2.0.0
        assert exact.contains(pinned[canonicalize_name(one.name)]), RENEW


def test_the_page_lists_every_dependency_with_its_bounds_purpose_and_licence() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \| `(.*)` \| (.*) \| (.*) \|$", PAGE, re.MULTILINE)
    listed = [Requirement(name + versions) for name, versions, _, _ in rows]
    assert listed == RUN_TIME, "make dependencies"
    assert [row for row in rows if len(row[2]) < 5 or len(row[3]) < 3] == []


def test_an_upper_bound_is_explained() -> None:
    bounded = [
        one.name for one in RUN_TIME if any("<" in bound.operator for bound in one.specifier)
    ]
    text = PAGE.partition("## Which versions")[2]
    assert [name for name in bounded if f"`{name}`" not in text] == []
