"""What a worker does: make a reference, or run a method and grade it."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from stanrovi.benchmark.accuracy import ruler
from stanrovi.benchmark.methods import MethodRun, embedded_nuts, run_method
from stanrovi.benchmark.posteriors import Posterior
from stanrovi.benchmark.rows import BenchRow
from stanrovi.draws import Draws
from stanrovi.errors import DrawsError, StanroviError
from stanrovi.io.json_values import plain
from stanrovi.io.netcdf import read_draws, write_netcdf
from stanrovi.methods import BenchMethod
from stanrovi.runs.record import is_of
from stanrovi.runs.sampling import sample
from stanrovi.stan.data import DataSource
from stanrovi.stan.model import Model, ModelSource

_REFERENCE_DRAWS, _REFERENCE_ESS = 4000, 1000  # more than of what is measured by it


@dataclass(frozen=True)
class WithReference:
    """A posterior whose reference a run has made.

    Attributes
    ----------
    posterior : Posterior
    path : Path
        NetCDF of the draws.
    made_by : str
        Method of the run; empty where it failed.
    failure : str
        Why there are none; empty where there are.
    """

    posterior: Posterior = field(compare=False)
    path: Path
    made_by: str
    failure: str = ""

    @property
    def name(self) -> str:
        """Name of the posterior."""
        return self.posterior.name

    def program(self) -> ModelSource:
        """Give that of the posterior."""
        return self.posterior.program()

    def data(self) -> DataSource:
        """Give those of the posterior."""
        return self.posterior.data()

    def reference(self) -> Draws:
        """Read the draws; `DrawsError` where the run failed."""
        if self.failure:
            raise DrawsError(self.failure)
        return read_draws(self.path)


def reference_path(folder: Path, name: str) -> Path:
    """Path of the reference of a posterior, whatever its name."""
    return folder / f"{re.sub(r'[^A-Za-z0-9_.-]', '_', name)}.nc"


def make_reference(
    model: Model,
    *,
    method: str,
    seed: int,
    posterior: str,
    posteriors: Mapping[str, Posterior],
    folder: Path,
) -> bool:
    """Make reference draws where a posterior brings none; tell whether it is so.

    A file of an earlier run by the same method, of the same program and data, is kept.
    """
    try:
        if posteriors[posterior].reference() is not None:
            return False
    except StanroviError:  # its own, and not to be read: the rows tell
        return False
    path = reference_path(folder, posterior)
    if path.exists():
        earlier = read_draws(path)
        if earlier.method == method and is_of(model, earlier.attrs):
            return True
    if method == "sample":
        draws = sample(model, seed=seed, ess=_REFERENCE_ESS, wide_leg=True).draws
    else:
        draws = embedded_nuts(model, seed=seed, iter_sampling=_REFERENCE_DRAWS).draws
    write_netcdf(draws, path, overwrite=True)
    return True


def measure(
    model: Model,
    *,
    method: BenchMethod,
    seed: int,
    posterior: str,
    draws: int,
    reference: str,
    posteriors: Mapping[str, Posterior],
) -> dict[str, Any]:
    """Run a method on a model with a seed, and grade it against the reference.

    Parameters
    ----------
    model : Model
    method : str
    seed : int
    posterior : str
        Name of the posterior.
    draws : int
    reference : str
        Who has made the reference; empty where the posterior brings its own or none. A ledger
        tells by it what was measured by another.
    posteriors : mapping of str to Posterior
        By name.

    Returns
    -------
    dict
        Fields of a `BenchRow`, JSON-safe.
    """
    row = BenchRow(posterior, model.dim, model.engine, method, seed)
    began = _cpu_seconds()
    found: dict[str, Any]
    try:
        run = run_method(model, method, seed=seed, draws=draws)
        spent = _cpu_seconds() - began
        found = _told(run) | {"cpu_seconds": spent} | _graded(run, posteriors[posterior])
    except StanroviError as error:
        found = {"error": str(error), "outcome": "error"}
    return dict(plain(asdict(row) | found))


def _told(run: MethodRun) -> dict[str, Any]:
    return {
        "status": run.status,
        "elbo": run.elbo,
        "elbo_se": run.elbo_se,
        "khat": run.khat,
        "n_gradients": None if math.isnan(run.n_gradients) else int(run.n_gradients),
        "seconds": run.seconds,
        "verdict": run.verdict,
    }


def _graded(run: MethodRun, posterior: Posterior) -> dict[str, Any]:
    """Measure a run; a reference that cannot be used is told, and grades nothing."""
    try:
        measure_by = ruler(posterior, run.draws)
    except StanroviError as error:
        return {"reference": f"cannot be used: {error}"}
    if measure_by is None:
        return {}
    accuracy = measure_by.accuracy(run.draws)
    return {"reference": measure_by.told} | ({} if accuracy is None else asdict(accuracy))


def _cpu_seconds() -> float:
    """Processor time of this process, and of those that it started and that have ended."""
    return sum(os.times()[:4])
