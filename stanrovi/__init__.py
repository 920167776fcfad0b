"""Rotational variational inference for Stan models, checked against NUTS.

    import stanrovi as sr

    model = sr.Model("eight_schools.stan", data="eight_schools.data.json")
    fit = sr.fit(model, method="rovi", seed=1)
    nuts = sr.nuts(model, chains=4, seed=1)
    comparison = sr.compare(fit, nuts)

Names are imported when first used, so that ``import stanrovi`` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stanrovi.api import Fit, find_modes, fit
    from stanrovi.arviz_io import to_arviz, write_netcdf
    from stanrovi.comparison import Comparison, compare
    from stanrovi.draws import Draws
    from stanrovi.netcdf import from_arviz, read_draws
    from stanrovi.report import write_report
    from stanrovi.sampler import NutsRun, nuts
    from stanrovi.stan import Model

    __version__: str

_HOME = {
    "Comparison": "stanrovi.comparison",
    "Draws": "stanrovi.draws",
    "Fit": "stanrovi.api",
    "Model": "stanrovi.stan",
    "NutsRun": "stanrovi.sampler",
    "compare": "stanrovi.comparison",
    "fit": "stanrovi.api",
    "from_arviz": "stanrovi.netcdf",
    "find_modes": "stanrovi.api",
    "nuts": "stanrovi.sampler",
    "read_draws": "stanrovi.netcdf",
    "to_arviz": "stanrovi.arviz_io",
    "write_netcdf": "stanrovi.arviz_io",
    "write_report": "stanrovi.report",
}

__all__ = [
    "Comparison",
    "Draws",
    "Fit",
    "Model",
    "NutsRun",
    "compare",
    "find_modes",
    "fit",
    "from_arviz",
    "nuts",
    "read_draws",
    "to_arviz",
    "write_netcdf",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("stanrovi")
    if name not in _HOME:
        raise AttributeError(f"module 'stanrovi' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
