"""The examples run from any folder, are short, and show what the gallery shows of them."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from documents import compare
from places import EXAMPLES, ROOT

GALLERY = (ROOT / "docs" / "examples.md").read_text(encoding="utf-8")
LINES = 60
PICTURE = 120_000  # bytes


def run(name: str, folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py", *arguments],
        cwd=folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert not done.stderr
    return done.stdout


def shown(name: str) -> str:
    """What the gallery says that an example prints."""
    (block,) = re.findall(rf"\$ python examples/{name}\.py\n(.*?)```", GALLERY, re.DOTALL)
    return str(block)


def as_shown(name: str, folder: Path) -> str:
    """Run an example that draws; it prints what the gallery shows."""
    printed = run(name, folder, "--output", str(folder))
    compare(shown(name), printed, name)
    assert (folder / f"example_{name}.png").is_file()
    return printed


@pytest.mark.slow
def test_eight_schools(tmp_path: Path) -> None:
    assert "ok: one basin was found" in as_shown("eight_schools", tmp_path)


@pytest.mark.slow
def test_mode_collapse(tmp_path: Path) -> None:
    printed = as_shown("mode_collapse", tmp_path)
    assert printed.count("collapsed") == 2
    assert re.search(r"3  rovi +0\.30 +0\.000  ok", printed)


@pytest.mark.slow
def test_label_switching(tmp_path: Path) -> None:
    printed = as_shown("label_switching", tmp_path)
    assert len(re.findall(r"0\.167  \[", printed)) == 6
    assert "NUTS: The chains disagree" in printed


@pytest.mark.slow
@pytest.mark.cmdstan
def test_forecast(tmp_path: Path, prophet_folder: Path) -> None:
    printed = as_shown("forecast", tmp_path)
    fit, nuts = (float(month) for month in re.findall(r"July 1960 by .*: (\d+) ", printed))
    assert fit == pytest.approx(nuts, abs=4)


def test_forecast_without_prophet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    source = (EXAMPLES / "forecast.py").read_text(encoding="utf-8")
    scope = {"__name__": "forecast", "__file__": str(EXAMPLES / "forecast.py")}
    exec(compile(source, "forecast.py", "exec"), scope)
    with pytest.raises(SystemExit, match="pip install prophet"):
        scope["main"]()


@pytest.mark.slow
def test_hierarchy(tmp_path: Path) -> None:
    printed = as_shown("hierarchy", tmp_path)
    assert float(re.findall(r"(0\.\d+) sd$", printed, re.MULTILINE)[0]) < 0.1


@pytest.mark.slow
def test_suspect(tmp_path: Path) -> None:
    printed = run("suspect", tmp_path)
    compare(shown("suspect"), printed, "suspect")
    assert "fit: suspect" in printed
    assert "sample: trusted" in printed


def test_own_density(tmp_path: Path) -> None:
    printed = run("own_density", tmp_path)
    assert "mfvi: suspect, KL 0.6" in printed
    assert "rovi: ok, KL 0.00" in printed
    # 2 (1 + Euler's constant) + log |det AXES|
    assert "entropy 3.85 nats" in printed
    assert "mean 0.01, sd 0.99" in printed or "sd 1.00" in printed


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda p: p.stem)
def test_an_example_is_short_and_known(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LINES
    assert f"python examples/{path.name}" in (ast.get_docstring(ast.parse(text)) or "")
    assert path.name in (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert path.name in GALLERY


def test_pictures_of_the_gallery_are_small() -> None:
    pictures = re.findall(r"\]\((images/example_.*?\.png)\)", GALLERY)
    assert len(pictures) == 6
    assert all((ROOT / "docs" / name).stat().st_size <= PICTURE for name in pictures)


def test_radon_is_that_of_the_benchmark() -> None:
    mine = json.loads((EXAMPLES / "data" / "radon.data.json").read_text())
    theirs = ROOT / "benchmarks" / "hierarchies" / "radon_slope.data.json"
    other = json.loads(theirs.read_text())
    assert (mine["county"], mine["floor"]) == (other["county_idx"], other["floor_measure"])
