"""Writes the exact versions with which the checks run, one file for each Python that is named.

usage: python .ci/constraints.py PYTHON... (the first one is also that of the lowest versions)

pip resolves what pyproject.toml asks for, and installs nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
HEAD = "# Written by `make constraints`, for the checks alone; users follow pyproject.toml.\n"


def chosen(python: str, *arguments: str) -> dict[str, str]:
    """Ask pip which versions it would install; the project itself is left out."""
    report = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed",
         "--report", "-", *arguments],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    found = [(item["metadata"], item["is_direct"]) for item in json.loads(report)["install"]]
    return {data["name"].lower(): data["version"] for data, direct in found if not direct}


def write(name: str, python: str, extras: str, *arguments: str) -> None:
    """Write a file of the versions of the extras, and of the prophet wheel by itself."""
    versions = chosen(python, *arguments, "-e", f".[{extras}]")
    versions |= chosen(python, *arguments, "--no-deps", "prophet")
    lines = [f"{package}=={version}\n" for package, version in sorted(versions.items())]
    (HERE / f"constraints-{name}.txt").write_text(HEAD + "".join(lines), encoding="utf-8")


def lower_bounds() -> list[str]:
    """Each lower bound as a pin: "cmdstanpy>=1.3,<2" is cmdstanpy==1.3."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = project["dependencies"] + project["optional-dependencies"]["dask"]
    return [line.split(",")[0].replace(">=", "==") for line in lines]


def main(pythons: list[str]) -> None:
    """Write all files."""
    for python in pythons:
        version = "import sys; print('%d.%d' % sys.version_info[:2])"
        of = subprocess.run([python, "-c", version], check=True, capture_output=True, text=True)
        write(of.stdout.strip(), python, "dev,docs")
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as pins:
        pins.write("\n".join(lower_bounds()))
        pins.flush()
        write("lowest", pythons[0], "test", "--constraint", pins.name)


if __name__ == "__main__":
    main(sys.argv[1:])
