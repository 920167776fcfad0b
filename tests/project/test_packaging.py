"""What a wheel built from the tree holds, and that it works far from the tree."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from places import ROOT

import stanrovi

pytestmark = pytest.mark.interpreter

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FOLDERS = PROJECT["tool"]["setuptools"]["package-dir"]  # package: folder
TOP = {
    ".ci", ".github", "benchmarks", "cli", "conda", "docs", "examples", "paper", "stan_models",
    "stanrovi", "tests",
    "CHANGELOG.md", "CITATION.cff", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "LICENSE", "Makefile",
    "README.md", "RELEASING.md", "pyproject.toml", ".gitignore", ".pre-commit-config.yaml",
}  # fmt: skip


def test_every_package_is_listed():
    found = {
        ".".join([package, *path.parent.relative_to(ROOT / folder).parts])
        for package, folder in FOLDERS.items()
        for path in (ROOT / folder).rglob("__init__.py")
    }
    assert found == set(PROJECT["tool"]["setuptools"]["packages"])


def test_every_import_is_a_declared_dependency():
    lines = PROJECT["project"]["dependencies"] + PROJECT["project"]["optional-dependencies"]["dask"]
    declared = {re.split(r"[<>=]", line)[0].lower() for line in lines}
    imported = set()
    for folder in FOLDERS.values():
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            imported |= set(re.findall(r"^ *(?:from|import) (\w+)", text, re.MULTILINE))
    # These come with arviz, whose containers and tables they are, and with Jupyter.
    with_others = {"xarray", "pandas", "arviz_stats", "IPython"}
    third_party = imported & (set(metadata.packages_distributions()) - with_others)
    third_party -= {*sys.stdlib_module_names, *FOLDERS}
    assert third_party <= declared


def test_nothing_else_at_the_top():
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("the tree is no git checkout")
    assert {line.split("/")[0] for line in listed.stdout.splitlines()} <= TOP


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """A wheel built from a copy of what the wheel needs."""
    folder = tmp_path_factory.mktemp("tree with blanks")
    for name in (*FOLDERS.values(), "pyproject.toml", "README.md", "LICENSE"):
        source, target = ROOT / name, folder / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    run(
        sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation",
        "--wheel-dir", folder / "dist", folder,
    )  # fmt: skip
    (built,) = (folder / "dist").glob("*.whl")
    return built


def run(*command: object, **settings: object) -> str:
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, **settings
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_wheel_holds_models_templates_and_types(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"stanrovi/py.typed", "stanrovi/comparison/templates/report.html.j2"} <= names
    for path in (ROOT / "stan_models").glob("*/*"):
        if path.suffix in (".stan", ".json", ".md"):
            assert f"stanrovi_stan_models/{path.parent.name}/{path.name}" in names
    assert not [name for name in names if name.startswith(("cli/", "tests/", "stan_models/"))]


def test_wheel_works_from_another_directory(wheel, tmp_path):
    site = tmp_path / "site packages"
    run(sys.executable, "-m", "pip", "install", "--no-deps", "--target", site, wheel)
    environment = {**os.environ, "PYTHONPATH": str(site)}
    home = run(
        sys.executable, "-c", "import stanrovi_cli; print(stanrovi_cli.__file__)",
        cwd=tmp_path, env=environment,
    )  # fmt: skip
    assert home.strip() == str(site / "stanrovi_cli" / "__init__.py")
    run(
        sys.executable, "-m", "stanrovi_cli", "fit", "eight_schools", "--method", "gaussian",
        "--output", "fit.nc", cwd=tmp_path, env=environment,
    )  # fmt: skip
    assert (tmp_path / "fit.nc").is_file()


def test_console_script():
    (script,) = metadata.entry_points(group="console_scripts", name="stanrovi")
    assert script.value == "stanrovi_cli:main"
    assert callable(script.load())


def test_the_version_is_that_of_the_package():
    assert stanrovi.__version__ == metadata.version("stanrovi") == PROJECT["project"]["version"]


def test_the_conda_recipe_says_the_same():
    text = (ROOT / "conda" / "recipe.yaml").read_text(encoding="utf-8")
    run = text.partition("  run:\n")[2].partition("\n\n")[0]
    python, *needed = re.findall(r"- (.+)", run)
    # Without Qt, as conda-forge wants it of packages that only draw.
    named = [line.replace(" ", "").replace("matplotlib-base", "matplotlib") for line in needed]
    project = PROJECT["project"]
    assert named == project["dependencies"]
    assert python == "python >=${{ python_min }}"
    assert f'python_min: "{project["requires-python"].removeprefix(">=")}"' in text
    assert f'version: "{project["version"]}"' in text
    (script,) = project["scripts"].items()
    assert "- " + " = ".join(script) in text
    for package in set(FOLDERS):
        assert f"        - {package}\n" in text


def test_the_citation_names_the_same_version():
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall("^version: (.+)$", text, re.MULTILINE) == [PROJECT["project"]["version"]]
