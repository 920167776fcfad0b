"""The plan of the house: who may import whom, read from folders and files.

Every import counts, under ``if TYPE_CHECKING`` and inside functions too: an arrow on paper is
an arrow.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import stanrovi
import stanrovi_cli

pytestmark = pytest.mark.interpreter

LIBRARY = Path(stanrovi.__file__).parent
PACKAGES = {"stanrovi": LIBRARY, "stanrovi_cli": Path(stanrovi_cli.__file__).parent}

# Rooms, from the ground up; a room imports only what stands before it.
ROOMS = (
    "errors",
    "arguments",
    "markup",
    "determinism",
    "environment",
    "methods",
    "target",
    "given",
    "waiting",
    "scalars",
    "densities",
    "families",
    "modes",
    "vi",
    "samplers",
    "draws",
    "io",
    "stan",
    "diagnostics",
    "runs",
    "grading",
    "plots",
    "comparison",
    "calibration",
    "benchmark",
)
# The numerical core: NumPy and SciPy, and of ours what needs neither.
CORE = (
    "determinism",
    "target",
    "given",
    "waiting",
    "scalars",
    "densities",
    "families",
    "modes",
    "vi",
    "samplers",
)
CORE_MAY_USE = (*CORE, "errors", "arguments", "markup", "methods")
LONGEST_CHAIN = 15
# Third-party packages, and the modules (prefixes) that may import them.
HOMES = {
    "numpy": ("stanrovi", "stanrovi_cli"),
    "scipy": ("stanrovi",),
    "threadpoolctl": ("stanrovi.determinism",),
    "arviz": ("stanrovi.io.generations",),
    "arviz_stats": ("stanrovi.diagnostics.statistics",),
    "xarray": ("stanrovi.io",),
    "h5netcdf": ("stanrovi.io",),
    "h5py": ("stanrovi.io",),
    "matplotlib": (
        "stanrovi.plots",
        "stanrovi.comparison.comparison",
        "stanrovi.calibration",
        "stanrovi.benchmark",
    ),
    "pandas": (
        "stanrovi.draws",
        "stanrovi.grading.findings",
        "stanrovi.runs",
        "stanrovi.benchmark",
    ),
    "jinja2": ("stanrovi.comparison.as_html",),
    "bridgestan": ("stanrovi.stan",),
    "stanli": ("stanrovi.stan",),
    "stanio": ("stanrovi.stan",),
    "cmdstanpy": ("stanrovi.stan.cmdstan", "stanrovi.stan.nuts", "stanrovi.runs.cmdstan_vi"),
    "dask": ("stanrovi.runs.dask_workers",),
    "distributed": ("stanrovi.runs.dask_workers", "stanrovi.runs.many"),
    "filelock": ("stanrovi.stan.cache", "stanrovi.io.ledger"),
    "platformdirs": ("stanrovi.stan.cache",),
    "click": ("stanrovi_cli",),
    "rich": ("stanrovi_cli", "stanrovi.runs.progress"),
    "IPython": ("stanrovi.runs.progress",),  # where a notebook has loaded it
}
# Algorithms that are dense by nature: they may open the matrix of axes. Nothing else may.
DENSE = {
    "stanrovi.families.axes",
    "stanrovi.families.low_rank_axes",  # as many columns as there are directions
    "stanrovi.families.thin_axes",  # whole on demand alone
    "stanrovi.families.conditional",  # how wide each leaf is
    "stanrovi.families.product",  # the split into preconditioner and rotation
    "stanrovi.families.mixture",  # its covariance
    "stanrovi.families.moved",
    "stanrovi.families.rotation",
    "stanrovi.modes.ascent",  # the inverse Hessian of a climb
    "stanrovi.modes.basins",
    "stanrovi.modes.bounds",  # precisions of local Gaussians
    "stanrovi.modes.curvature",  # sparse Hessians, held dense
    "stanrovi.modes.lattice",
    "stanrovi.modes.local",  # the Hessian
    "stanrovi.modes.low_rank",  # as many columns as there are directions
    "stanrovi.modes.precision",  # dense in few dimensions
    "stanrovi.modes.sparsity",  # few coordinates, looked at one by one
    "stanrovi.modes.report",  # modes in rotated coordinates
    "stanrovi.samplers.legs",  # the metric between a wide reference and the modes
    "stanrovi.vi.alone",  # two by two, for each coordinate
    "stanrovi.vi.checks.scores",  # every score on every coordinate
    "stanrovi.vi.checks.tangent",  # regressed, in few dimensions
    "stanrovi.vi.axis_search",  # pairs of axes, turned
    "stanrovi.vi.conditional",
    "stanrovi.vi.gaussian",
    "stanrovi.vi.hierarchy",
    "stanrovi.vi.hubs",  # a few roots among each other
    "stanrovi.vi.newton",
    "stanrovi.vi.nodes",  # conditional precisions
    "stanrovi.vi.regression",  # every score on every coordinate
    "stanrovi.vi.least_squares",  # normal equations
    "stanrovi.vi.root_moments",
    "stanrovi.vi.roots",
    "stanrovi.vi.steps",
    "stanrovi.vi.methods.mixture",
    "stanrovi.vi.methods.rovi",
    "stanrovi.densities",
    "stanrovi.io.notes",  # files hold arrays
    "stanrovi.plots.contours",  # two by two
}


def imports(tree: ast.AST, modules: set[str]) -> Iterator[str]:
    """Everything imported anywhere in a module: modules of ours, or names as they stand."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in modules else node.module


@cache
def sources() -> dict[str, ast.Module]:
    """Every module of the packages by its dotted name, parsed."""
    found = {}
    for package, folder in PACKAGES.items():
        for path in folder.rglob("*.py"):
            parts = path.relative_to(folder).with_suffix("").parts
            name = ".".join([package, *(part for part in parts if part != "__init__")])
            found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


@cache
def graph() -> dict[str, set[str]]:
    """Imports of every module."""
    modules = set(sources())
    return {name: set(imports(tree, modules)) - {name} for name, tree in sources().items()}


@cache
def ours() -> dict[str, set[str]]:
    """Imports of every module, of ours alone."""
    return {name: {other for other in used if other in graph()} for name, used in graph().items()}


def room(module: str) -> str:
    """First part of a module's name below the package; empty for the package itself."""
    return module.partition(".")[2].partition(".")[0]


def place(module: str) -> str:
    """The folder of a module; what stands at the top of the library is a place of its own."""
    here = module.rpartition(".")[0]
    return module if here in ("", "stanrovi") else here


def within(module: str, prefixes: tuple[str, ...]) -> bool:
    return any(module == prefix or module.startswith(prefix + ".") for prefix in prefixes)


def library() -> list[str]:
    return sorted(name for name in sources() if within(name, ("stanrovi",)))


def circle(arrows: dict[str, set[str]]) -> list[str]:
    """A circle among arrows; empty where there is none."""
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def chain(arrows: dict[str, set[str]]) -> list[str]:
    """The longest chain of arrows, from the top down."""
    longest: dict[str, list[str]] = {}
    for name in TopologicalSorter(arrows).static_order():
        below = max((longest[other] for other in arrows[name]), key=len, default=[])
        longest[name] = [name, *below]
    return max(longest.values(), key=len)


def test_the_reader_sees_what_it_should():
    source = """
if TYPE_CHECKING:
    import arviz
def f():
    from scipy import stats
    from stanrovi.vi import loop
"""
    assert set(imports(ast.parse(source), {"stanrovi.vi.loop"})) == {
        "arviz", "scipy", "stanrovi.vi.loop",
    }  # fmt: skip
    assert {"stanrovi.target", "stanrovi.stan.model", "stanrovi_cli.fit"} <= sources().keys()
    assert ours()["stanrovi.grading.findings"] >= {"stanrovi.draws", "stanrovi.grading.verdicts"}
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}})
    assert chain({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == ["a", "b", "c"]


def test_every_room_is_on_the_plan():
    found = {
        path.stem
        for path in LIBRARY.iterdir()
        if (path.suffix == ".py" or (path / "__init__.py").exists()) and path.stem != "__init__"
    }
    assert found == set(ROOMS)


@pytest.mark.parametrize("module", library())
def test_a_room_imports_only_what_stands_before_it(module):
    if module == "stanrovi":
        return  # the public face stands before nothing and after everything
    allowed = {*ROOMS[: ROOMS.index(room(module)) + 1]}
    upward = {other for other in ours()[module] if room(other) not in allowed}
    assert not upward


def test_no_circle_between_files():
    assert not circle(ours())


def test_no_circle_between_folders():
    arrows: dict[str, set[str]] = {}
    for name, used in ours().items():
        arrows.setdefault(place(name), set()).update(map(place, used))
    for here, there in arrows.items():
        there.discard(here)
    assert {"stanrovi.vi", "stanrovi.vi.methods", "stanrovi.draws"} <= arrows.keys()
    assert not circle(arrows)


def test_the_longest_chain_of_imports_does_not_grow():
    assert len(chain(ours())) <= LONGEST_CHAIN, " > ".join(chain(ours()))


@pytest.mark.parametrize("module", library())
def test_no_late_import_of_ours(module):
    """In the library; commands of the command line import when they are called."""
    late = {
        name
        for node in ast.walk(sources()[module])
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        for name in imports(node, set(sources()))
        if name.startswith("stanrovi")
    }
    assert not late


@pytest.mark.parametrize("module", sorted(sources()))
def test_third_parties_have_one_home(module):
    for name in graph()[module]:
        top = name.split(".")[0]
        if top in sys.stdlib_module_names or top.startswith("stanrovi"):
            continue
        assert top in HOMES, f"{module} imports {name}, which has no home yet"
        assert within(module, HOMES[top]), f"{module} imports {name}, which belongs elsewhere"


@pytest.mark.parametrize("module", [name for name in library() if room(name) in CORE])
def test_the_core_imports_numpy_scipy_and_itself_only(module):
    allowed = (
        *sys.stdlib_module_names, "numpy", "scipy", *(f"stanrovi.{name}" for name in CORE_MAY_USE)
    )  # fmt: skip
    if module == "stanrovi.determinism":
        allowed = (*allowed, "threadpoolctl")
    assert not {name for name in graph()[module] if not within(name, allowed)}


@pytest.mark.parametrize("module", library())
def test_dense_matrices_stay_where_they_belong(module):
    if module in DENSE:
        return
    source = ast.unparse(sources()[module])
    algebra = r"np\.(?:linalg\.(?!norm|LinAlgError)\w+|eye|diag)\b"
    opened = re.findall(rf"\.matrix\b|\.covariance\(|{algebra}", source)
    assert not opened


def test_library_does_not_know_the_command_line():
    for module in library():
        assert not [name for name in graph()[module] if within(name, ("stanrovi_cli",))], module


def test_no_room_is_named_like_a_public_name():
    """Importing it would put the module in the place of the lazy name."""
    assert not set(stanrovi.__all__) & set(ROOMS)


def test_the_public_face_lists_the_public_names_and_nothing_else():
    assert dir(stanrovi) == sorted(stanrovi.__all__)
    assert all(getattr(stanrovi, name) is not None for name in stanrovi.__all__)
