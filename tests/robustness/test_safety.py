"""Nothing that comes in is run: no shell, no pickle, no markup; what is kept is kept to oneself."""

from __future__ import annotations

import ast
import json
import os
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import stanrovi
import stanrovi as sr
import stanrovi_cli
from stanrovi.comparison.as_html import report_html
from stanrovi.comparison.comparison import compare
from stanrovi.errors import DrawsError, OutputError
from stanrovi.stan.cache import compiled
from stanrovi.stan.program import Program
from stanrovi_cli.app import cli

SOURCES = [
    path
    for package in (stanrovi, stanrovi_cli)
    for path in Path(package.__file__).parent.rglob("*.py")
]
# What hands text to a shell or turns data into code.
FORBIDDEN = {
    "eval", "exec", "compile", "system", "popen", "getoutput", "getstatusoutput",
    "pickle", "cPickle", "dill", "marshal", "shelve", "joblib",
}  # fmt: skip
# What this program hands to workers of its own is pickled, in a folder that is nobody else's.
TO_OWN_WORKERS = {"worker.py", "workers.py"}
HOSTILE = "<img src=x onerror=alert(1)>\"'&amp;`${{7*7}}</script><script>alert(2)</script>"


def suspicious(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in FORBIDDEN)
        elif isinstance(node, ast.ImportFrom):
            yield from {node.module or "", *(a.name for a in node.names)} & FORBIDDEN
        elif isinstance(node, ast.Call):
            function = node.func
            owner = ast.unparse(function.value) if isinstance(function, ast.Attribute) else ""
            name = getattr(function, "attr", getattr(function, "id", ""))
            if name in FORBIDDEN and owner != "re":
                yield name
            for keyword in node.keywords:
                value = ast.unparse(keyword.value)
                if keyword.arg in ("shell", "allow_pickle") and value != "False":
                    yield f"{keyword.arg}={value}"


def test_the_search_finds_what_it_should() -> None:
    code = "import os, pickle\nos.system('x')\nrun(c, shell=True)\neval('1')\nre.compile('a')"
    assert sorted(suspicious(ast.parse(code))) == ["eval", "pickle", "shell=True", "system"]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_shell_no_pickle_no_code_from_data(path: Path) -> None:
    expected = ["pickle"] if path.parent.name == "runs" and path.name in TO_OWN_WORKERS else []
    assert list(suspicious(ast.parse(path.read_text(encoding="utf-8")))) == expected


def test_arrays_of_objects_in_a_file_are_not_unpickled(tmp_path: Path) -> None:
    """A NumPy file of pickled objects under the name of a NetCDF file runs nothing."""

    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return (os.mkdir, (str(tmp_path / "sprung"),))

    with (tmp_path / "trap.nc").open("wb") as file:
        np.save(file, np.array([Trap()], dtype=object), allow_pickle=True)
    with pytest.raises(DrawsError, match="cannot be read as NetCDF"):
        sr.read_draws(tmp_path / "trap.nc")
    assert not (tmp_path / "sprung").exists()


class Tags(HTMLParser):
    """Elements and attributes of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}


def hostile_run(method: str, chains: int) -> sr.Draws:
    rng = np.random.default_rng(chains)
    modes = [{"weight": 1.0, "log_density": 0.0, "mass": 1.0, "position": [0.0]}]
    attrs = {
        "model": HOSTILE, "engine": HOSTILE, "data": HOSTILE, "message": HOSTILE, "seed": 1,
        HOSTILE: HOSTILE, "verdict": "suspect", "verdict_reasons": HOSTILE,
        "warnings": HOSTILE, "modes": json.dumps(modes), "khat": 0.1,
    }  # fmt: skip
    values = rng.normal(size=(chains, 500))
    stats = {"lp": values, "log_q": values} if method != "nuts" else {}
    return sr.Draws(method, {HOSTILE: values}, (HOSTILE,), stats, attrs, values[..., None])


def test_the_report_escapes_every_name() -> None:
    fit, reference = hostile_run("rovi", 1), hostile_run("nuts", 4)
    comparison = compare({HOSTILE: fit}, reference, model=HOSTILE)
    html = report_html(comparison, commands=[HOSTILE])
    innocent = compare({"rovi": fit}, reference, model="m")
    for page, other in (
        (html, report_html(innocent, commands=["x"])),
        (comparison._repr_html_(), innocent._repr_html_()),
    ):
        assert Tags(page).names == Tags(other).names
        assert Tags(page).attributes == Tags(other).attributes
        assert "script" not in Tags(page).names
        assert "onerror" not in Tags(page).attributes
    assert "&lt;img src=x onerror=alert(1)&gt;" in html
    assert "49" not in re.findall(r"<h1>.*?</h1>", html, re.S)[0]  # no template within the template


@pytest.mark.slow
def test_a_hostile_file_name_reaches_the_report_as_text(tmp_path: Path) -> None:
    name = "<img src=x onerror=alert(1)>';$(touch sprung)"
    program = tmp_path / f"{name}.stan"
    program.write_text("parameters { real x; } model { x ~ std_normal(); }")
    words = ["compare", program, "--methods", "gaussian", "--draws", 200, "--chains", 2]
    words += ["--iter-sampling", 100, "--output", tmp_path / "out"]
    result = CliRunner().invoke(cli, [str(word) for word in words])
    assert result.exit_code == 0, result.stderr
    page = Tags((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))
    assert "onerror" not in page.attributes
    assert not list(tmp_path.rglob("sprung"))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "stanrovi"


def build(source: Path) -> Path:
    made = source.with_suffix(".so")
    made.write_text("library")
    return made


@pytest.mark.skipif(os.name != "posix", reason="permissions of Unix")
def test_the_cache_of_libraries_is_ones_own(cache: Path) -> None:
    program = Program("m", "parameters { real x; }")
    old = os.umask(0)
    try:
        compiled(program, "compiler", ".so", build)
        assert cache.stat().st_mode & 0o777 == 0o700
        cache.chmod(0o777)
        compiled(program, "compiler", ".so", build)
    finally:
        os.umask(old)
    assert cache.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.name != "posix", reason="owners of Unix")
def test_the_cache_of_somebody_else_is_not_used(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.mkdir(parents=True)
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    with pytest.raises(OutputError, match="belongs to another user"):
        compiled(Program("m", ""), "compiler", ".so", build)
    assert list(cache.iterdir()) == []
