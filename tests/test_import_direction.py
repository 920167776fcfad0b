"""Who may import whom: the numerical core stays pure, each dependency has one home."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import stanrovi
import stanrovi_cli

PACKAGES = {
    "stanrovi": Path(stanrovi.__file__).parent,
    "stanrovi_cli": Path(stanrovi_cli.__file__).parent,
}
CORE = (
    "errors",
    "arguments",
    "target",
    "result",
    "maps",
    "rotation",
    "families",
    "ascent",
    "local",
    "modes",
    "separateness",
    "vi",
)
# Third-party packages, and the modules of stanrovi (prefixes) that may import them.
HOMES = {
    "numpy": ("stanrovi", "stanrovi_cli"),
    "scipy": ("stanrovi",),
    "arviz": ("stanrovi.arviz_io",),
    "arviz_stats": ("stanrovi.draw_stats",),
    "xarray": (
        "stanrovi.arviz_io",
        "stanrovi.draw_stats",
        "stanrovi.forest_plot",
        "stanrovi.netcdf",
    ),
    "matplotlib": (
        "stanrovi.plots",
        "stanrovi.plots_fit",
        "stanrovi.plot_style",
        "stanrovi.sbc_plots",
        "stanrovi.forest_plot",
    ),
    "pandas": ("stanrovi.comparison",),
    "jinja2": ("stanrovi.report",),
    "bridgestan": ("stanrovi.stan",),
    "stanli": ("stanrovi.stan",),
    "threadpoolctl": ("stanrovi.determinism",),
    "stanio": ("stanrovi.stan",),
    "cmdstanpy": ("stanrovi.stan.cmdstan_nuts", "stanrovi.stan.cmdstan_csv", "stanrovi.baselines"),
    "filelock": ("stanrovi.stan.cache",),
    "platformdirs": ("stanrovi.stan.cache",),
    "click": ("stanrovi_cli",),
    "rich": ("stanrovi_cli",),
}


def within(module: str, prefixes: tuple[str, ...]) -> bool:
    return any(module == prefix or module.startswith(prefix + ".") for prefix in prefixes)


def runtime_imports(tree: ast.AST) -> Iterator[str]:
    """Modules imported anywhere but under ``if TYPE_CHECKING``."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module
            yield from {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        yield from runtime_imports(node)


def modules() -> dict[str, set[str]]:
    """Imports of every module of the packages, by its dotted name."""
    found = {}
    for package, folder in PACKAGES.items():
        for path in folder.rglob("*.py"):
            parts = path.relative_to(folder).with_suffix("").parts
            name = ".".join([package, *(part for part in parts if part != "__init__")])
            found[name] = set(runtime_imports(ast.parse(path.read_text(encoding="utf-8"))))
    return found


MODULES = modules()


def test_the_parser_sees_what_it_should():
    source = """
if TYPE_CHECKING:
    import arviz
def f():
    from scipy import stats
"""
    assert set(runtime_imports(ast.parse(source))) == {"scipy", "scipy.stats"}
    assert {"stanrovi.target", "stanrovi.stan.model", "stanrovi_cli.fit"} <= MODULES.keys()


@pytest.mark.parametrize("module", sorted(MODULES))
def test_third_parties_have_one_home(module):
    for name in MODULES[module]:
        top = name.split(".")[0]
        if top in sys.stdlib_module_names or top.startswith("stanrovi"):
            continue
        assert top in HOMES, f"{module} imports {name}, which has no home yet"
        assert within(module, HOMES[top]), f"{module} imports {name}, which belongs elsewhere"


@pytest.mark.parametrize(
    "module", sorted(m for m in MODULES if within(m, tuple(f"stanrovi.{name}" for name in CORE)))
)
def test_core_imports_numpy_scipy_and_core_only(module):
    allowed = (*sys.stdlib_module_names, "numpy", "scipy", *(f"stanrovi.{name}" for name in CORE))
    strangers = {name for name in MODULES[module] if not within(name, allowed)}
    assert not strangers


def test_library_does_not_know_the_command_line():
    for module, imports in MODULES.items():
        if within(module, ("stanrovi",)):
            assert not [name for name in imports if within(name, ("stanrovi_cli",))], module
