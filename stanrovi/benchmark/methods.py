"""Every method of a benchmark, run on a model in one way."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np

from stanrovi.diagnostics.reference import check_draws
from stanrovi.diagnostics.statistics import psis_khat
from stanrovi.draws import Draws
from stanrovi.errors import DrawsError, ModelError
from stanrovi.methods import METHODS, BenchMethod
from stanrovi.runs.cmdstan_vi import CmdStanAlgorithm, cmdstan_vi
from stanrovi.runs.fit import fit
from stanrovi.runs.langevin import langevin_draws
from stanrovi.runs.laplace import laplace_draws
from stanrovi.runs.nuts import NutsChoice, nuts
from stanrovi.runs.nuts_run import NutsRun
from stanrovi.runs.sampling import sample
from stanrovi.samplers.langevin import LangevinMethod, run_langevin
from stanrovi.stan.cmdstan import cmdstan_folder
from stanrovi.stan.model import Model
from stanrovi.stan.program import Program
from stanrovi.target import Target


@dataclass(frozen=True)
class MethodRun:
    """Draws of a method, and what it says of itself; NaN and None where it does not.

    Attributes
    ----------
    draws : Draws
    n_gradients, seconds, elbo, elbo_se, khat : float
    status : str or None
        How a fit ended.
    verdict : str or None
        Of a fit, its own; of a sampler ``"ok"`` where its own check trusts the run, else
        ``"suspect"``.
    """

    draws: Draws
    n_gradients: float
    seconds: float
    elbo: float = math.nan
    elbo_se: float = math.nan
    khat: float = math.nan
    status: str | None = None
    verdict: str | None = None


def run_method(model: Model, method: BenchMethod, *, seed: int, draws: int) -> MethodRun:
    """Run a method with its defaults.

    Parameters
    ----------
    model : Model
    method : str
        One of `stanrovi.methods.BENCH_METHODS`.
    seed : int
    draws : int
        Draws from an approximation; samplers run as long as they do by default.

    Returns
    -------
    MethodRun

    Raises
    ------
    StanroviError
        If it fails, or there is no CmdStan where it needs one.
    """
    if method in METHODS:
        return _fit(model, method, seed, draws)
    return _OTHERS[method](model, seed, draws)


def embedded_nuts(model: Model, *, seed: int, iter_sampling: int = 1000) -> NutsRun:
    """Run NUTS on what evaluates the density for the fits: CmdStan would be another program."""
    engine: NutsChoice = "stanli" if isinstance(model.source, Program) else "numpy"
    return nuts(model, engine=engine, seed=seed, iter_sampling=iter_sampling)


def _fit(model: Model, method: str, seed: int, draws: int) -> MethodRun:
    made = fit(model, method=method, seed=seed, draws=draws)  # type: ignore[arg-type]
    r = made.result
    return MethodRun(
        made.draws, r.n_gradients, r.seconds, r.elbo, r.elbo_se, r.khat, r.status, r.verdict.name
    )


def _nuts(model: Model, seed: int, _draws: int) -> MethodRun:
    run = embedded_nuts(model, seed=seed)
    return MethodRun(run.draws, run.n_gradients, run.seconds, verdict=_checked(run.draws))


def _sample(model: Model, seed: int, _draws: int) -> MethodRun:
    run = sample(model, seed=seed)
    said = "ok" if run.trusted else "suspect"
    return MethodRun(run.draws, run.n_gradients, run.seconds, verdict=said)


def _laplace(model: Model, seed: int, draws: int) -> MethodRun:
    made = laplace_draws(model, seed=seed, draws=draws)
    ratios = made.log_ratios
    khat = math.nan if ratios is None else psis_khat(ratios)
    return MethodRun(made, made.number("n_gradients"), made.number("seconds"), khat=khat)


def _langevin(method: LangevinMethod, model: Model, seed: int, _draws: int) -> MethodRun:
    began = time.perf_counter()
    run = run_langevin(Target(model), np.random.default_rng(seed), method)
    made = langevin_draws(model, run, seed=seed)
    seconds = time.perf_counter() - began
    return MethodRun(made, run.n_gradients, seconds, verdict=_checked(made))


def _cmdstan(algorithm: CmdStanAlgorithm, model: Model, seed: int, draws: int) -> MethodRun:
    made = cmdstan_vi(model, algorithm, seed=seed, draws=draws, exe=_executable(model))
    return MethodRun(made, math.nan, made.number("seconds"), status=str(made.attrs["status"]))


def _executable(model: Model) -> Path | None:
    """Find the CmdStan executable beside the program; None where CmdStan can compile one."""
    if not isinstance(model.source, Program):
        return None
    beside = Path(model.source.include_paths[-1]) / model.name  # its own folder is the last
    for path in (beside, beside.with_name(f"{beside.name}.exe")):
        if path.is_file() and os.access(path, os.X_OK):
            return path
    if cmdstan_folder() is None:
        raise ModelError(
            f"CmdStan's methods need its executable of {model.name}, and there is none: compile it "
            f"to {beside} (make, in CmdStan's folder), or install CmdStan by cmdstanpy's "
            "install_cmdstan, which compiles it here."
        )
    return None


def _checked(draws: Draws) -> str:
    """Tell a sampler's own check of its chains as fits tell their verdict."""
    try:
        return "ok" if check_draws(draws).trusted else "suspect"
    except DrawsError:  # every parameter is constant
        return "suspect"


_OTHERS: dict[str, Callable[[Model, int, int], MethodRun]] = {
    "nuts": _nuts,
    "sample": _sample,
    "laplace": _laplace,
    **{method: partial(_langevin, method) for method in get_args(LangevinMethod)},
    "advi_meanfield": partial(_cmdstan, "meanfield"),
    "advi_fullrank": partial(_cmdstan, "fullrank"),
    "pathfinder": partial(_cmdstan, "pathfinder"),
}
