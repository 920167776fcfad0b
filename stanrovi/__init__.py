"""Rotational variational inference for Stan models, checked against NUTS.

    import stanrovi as sr

    model = sr.Model("eight_schools.stan", data="eight_schools.data.json")
    fit = sr.fit(model, method="rovi", seed=1)
    nuts = sr.nuts(model, chains=4, seed=1)
    comparison = sr.compare(fit, nuts)

Names are imported when first used, so that ``import stanrovi`` costs nothing.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

if _TYPE_CHECKING:
    from stanrovi.benchmark.bench import bench
    from stanrovi.calibration.sbc import sbc
    from stanrovi.comparison.as_html import write_report
    from stanrovi.comparison.comparison import Comparison, compare
    from stanrovi.draws import Draws
    from stanrovi.io.arviz import from_arviz, to_arviz
    from stanrovi.io.netcdf import read_draws, write_netcdf
    from stanrovi.runs.find_modes import find_modes
    from stanrovi.runs.fit import fit
    from stanrovi.runs.fitted import Fit, load_fit
    from stanrovi.runs.many import run_many
    from stanrovi.runs.nuts import nuts, nuts_from_csv
    from stanrovi.runs.nuts_run import NutsRun
    from stanrovi.runs.relabel import relabel
    from stanrovi.runs.sample_run import SampleRun
    from stanrovi.runs.sampling import sample
    from stanrovi.runs.tasks import Outcome, Task
    from stanrovi.stan.model import Model

    __version__: str

_HOME = {
    "Comparison": "comparison.comparison",
    "Draws": "draws",
    "Fit": "runs.fitted",
    "Model": "stan.model",
    "NutsRun": "runs.nuts_run",
    "Outcome": "runs.tasks",
    "SampleRun": "runs.sample_run",
    "Task": "runs.tasks",
    "bench": "benchmark.bench",
    "compare": "comparison.comparison",
    "find_modes": "runs.find_modes",
    "fit": "runs.fit",
    "from_arviz": "io.arviz",
    "load_fit": "runs.fitted",
    "nuts": "runs.nuts",
    "nuts_from_csv": "runs.nuts",
    "read_draws": "io.netcdf",
    "relabel": "runs.relabel",
    "run_many": "runs.many",
    "sample": "runs.sampling",
    "sbc": "calibration.sbc",
    "to_arviz": "io.arviz",
    "write_netcdf": "io.netcdf",
    "write_report": "comparison.as_html",
}

__all__ = [
    "Comparison",
    "Draws",
    "Fit",
    "Model",
    "NutsRun",
    "Outcome",
    "SampleRun",
    "Task",
    "bench",
    "compare",
    "find_modes",
    "fit",
    "from_arviz",
    "load_fit",
    "nuts",
    "nuts_from_csv",
    "read_draws",
    "relabel",
    "run_many",
    "sample",
    "sbc",
    "to_arviz",
    "write_netcdf",
    "write_report",
]


def __getattr__(name: str) -> _Any:
    if name == "__version__":
        return _import_module("importlib.metadata").version("stanrovi")
    if name not in _HOME:
        raise AttributeError(f"module 'stanrovi' has no attribute {name!r}")
    return getattr(_import_module(f"stanrovi.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
