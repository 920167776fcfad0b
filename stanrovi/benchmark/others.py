"""Methods that stand beside the fits, in one form: Laplace, Langevin, CmdStan's own."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from stanrovi.diagnostics.reference import check_draws
from stanrovi.diagnostics.statistics import psis_khat
from stanrovi.draws import Draws
from stanrovi.errors import DrawsError, ModelError
from stanrovi.given import Guarded
from stanrovi.runs.cmdstan_vi import CmdStanAlgorithm, cmdstan_vi
from stanrovi.runs.langevin import langevin_draws
from stanrovi.runs.laplace import laplace_draws
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


def own_check(draws: Draws) -> str:
    """Tell a sampler's own check of its chains as fits tell their verdict."""
    try:
        return "ok" if check_draws(draws).trusted else "suspect"
    except DrawsError:  # every parameter is constant
        return "suspect"


def _laplace(model: Model, seed: int, draws: int) -> MethodRun:
    made = laplace_draws(model, seed=seed, draws=draws)
    ratios = made.log_ratios
    khat = math.nan if ratios is None else psis_khat(ratios)
    return MethodRun(made, made.number("n_gradients"), made.number("seconds"), khat=khat)


def _langevin(method: LangevinMethod, model: Model, seed: int, _draws: int) -> MethodRun:
    began = time.perf_counter()
    run = run_langevin(Target(Guarded(model)), np.random.default_rng(seed), method)
    made = langevin_draws(model, run, seed=seed)
    seconds = time.perf_counter() - began
    return MethodRun(made, run.n_gradients, seconds, verdict=own_check(made))


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


# By name; each takes a model, a seed, and how many draws an approximation gives.
OTHERS: Mapping[str, Callable[[Model, int, int], MethodRun]] = {
    "laplace": _laplace,
    "lmc": partial(_langevin, "lmc"),
    "mala": partial(_langevin, "mala"),
    "advi_meanfield": partial(_cmdstan, "meanfield"),
    "advi_fullrank": partial(_cmdstan, "fullrank"),
    "pathfinder": partial(_cmdstan, "pathfinder"),
}
