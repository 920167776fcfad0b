"""Simulation-based calibration of the whole pipeline: program, engine, method, draws.

Parameters are drawn from the prior and data from the model given these; then
the rank of each parameter among the draws of its posterior is uniform, if
program and method are right. See Talts, Betancourt, Simpson, Vehtari and Gelman
(2018), *Validating Bayesian inference algorithms with simulation-based
calibration*, arXiv:1804.06788.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stanrovi.arguments import (
    check_choice,
    checked_between,
    checked_count,
    checked_mapping,
    checked_seed,
    told,
)
from stanrovi.calibration.ranks import rank_table
from stanrovi.calibration.result import CalibrationResult
from stanrovi.diagnostics.statistics import ess
from stanrovi.draws import Draws
from stanrovi.errors import (
    DataError,
    DensityError,
    DrawsError,
    ModelError,
    StanroviError,
    UsageError,
    said,
)
from stanrovi.given import real_array
from stanrovi.io.ledger import kept_as
from stanrovi.methods import SBC_METHODS, Method, SbcMethod
from stanrovi.runs.fit import fit
from stanrovi.runs.many import name_of, run_many
from stanrovi.runs.nuts import nuts
from stanrovi.runs.nuts_run import NutsRun
from stanrovi.runs.progress import of_steps
from stanrovi.runs.sampling import sample
from stanrovi.runs.tasks import Outcome, Task
from stanrovi.stan.data import DataSource
from stanrovi.stan.model import Model, ModelSource, as_model
from stanrovi.stan.program import Program
from stanrovi.target import Array

if TYPE_CHECKING:
    from stanrovi.runs.many import Cluster

Simulator = Callable[[np.random.Generator], tuple[Mapping[str, Any], Mapping[str, Any]]]
SimulationListener = Callable[[int, int], None]

# Draws of a fit are stratified; a few of many are as good as independent.
_FIT_FACTOR = 16
# NUTS runs until it has twice the effective draws that are kept; iterations per kept draw.
_NUTS_ESS, _NUTS_FIRST, _NUTS_MOST = 2, 8, 200

_SAMPLE_ESS = 4  # effective draws for each that is kept

# What would befall every simulation; other errors are told of theirs.
_REFUSALS = {kind.__name__: kind for kind in (UsageError, ModelError, DataError)}

_OR_PYTHON = "; or, in Python, give stanrovi.sbc a function that simulates (simulate)"


def sbc(
    model: ModelSource,
    data: DataSource = None,
    *,
    method: SbcMethod = "rovi",
    simulations: int = 200,
    draws: int = 99,
    level: float = 0.01,
    seed: int | None = None,
    simulate: Simulator | None = None,
    jobs: int | None = None,
    dask: Cluster | None = None,
    ledger: str | os.PathLike[str] | None = None,
    progress: bool | SimulationListener | None = None,
) -> CalibrationResult:
    """Check by simulation whether a method is calibrated on a model.

    The program simulates from its own prior, by Stan's conventions: transformed
    data draw parameters and data, and generated quantities hold ``pars_``, the
    true values in the order of the parameters block, or ``ranks_``, which is 1
    where a draw exceeds its true value and else 0, or both. Otherwise ``simulate``
    does.

    Parameters
    ----------
    model, data
        See `stanrovi.fit`.
    method : {"gaussian", "mfvi", "rovi", "structured", "mixture", "auto", "sample", "nuts"}
        A method of `stanrovi.fit`, `stanrovi.sample`, or NUTS of the embedded engine.
    simulations : int
        Fits to make.
    draws : int
        Nearly independent draws that each true value is ranked among.
    level : float
        Probability that a calibrated method fails, over all parameters together.
    seed : int, optional
        Below 2**32; drawn from the system when not given.
    simulate : callable, optional
        Maps a generator of random numbers to true values, by the names of
        parameters, transformed parameters or generated quantities (constrained,
        of a continuous distribution), and to the data simulated from them, which
        replace the model's data of the same names. For worker processes and Dask it must
        pickle, as functions of a module do.
    jobs : int, optional
        Worker processes for the simulations, which change nothing but the time. By default they
        run in this process one after another, or on ``dask``.
    dask : str or distributed.Client, optional
        See `stanrovi.run_many`.
    ledger : path-like, optional
        A file of JSON lines that each simulation is appended to when it is done, and from which
        those of an earlier call with the same seed are taken, which may have asked for fewer.
        It knows ``simulate`` by its name alone.
    progress : bool or callable, optional
        True shows a line that tells it, on a terminal or below a notebook's cell. A
        callable is called with the number of simulations done and of all.

    Returns
    -------
    CalibrationResult

    Raises
    ------
    UsageError
        For an unknown method or an impossible option; a ledger without a seed, by which alone
        its simulations are found again; ``simulate`` that raises an error.
    OutputError
        If the ledger cannot be used.
    ModelError
        If the model cannot be built or does not simulate.
    DataError
        If simulated data do not fit the model.
    DensityError
        If every fit failed; single failures are told in the result.
    """
    check_choice("method", method, SBC_METHODS)
    simulations = checked_count("simulations", simulations, 10, 1_000_000)
    draws = checked_count("draws", draws, 2)
    level = checked_between("level", level, 0, 1)
    if simulate is not None and not callable(simulate):
        raise UsageError(f"simulate must be a function, not {told(simulate)}.")
    if ledger is not None and seed is None:
        raise UsageError("A ledger finds its simulations again by their seed; give one.")
    seed = checked_seed(seed)
    base = as_model(model, data)
    if simulate is None:
        _require_simulation(base)
    start = time.perf_counter()
    named = {} if simulate is None else {"simulator": name_of(simulate)}
    tasks = [
        Task(base, method=method, seed=seed, settings={"draws": draws, "simulation": i} | named)
        for i in range(1, simulations + 1)
    ]
    work = partial(_simulation, simulate=simulate)
    vars(work)["ledger_name"] = name_of(_simulation)  # settings name the simulator
    with of_steps(progress, f"{method}: simulations") as heard:
        outcomes = run_many(
            tasks,
            work,
            jobs=0 if jobs is None and dask is None else jobs,
            dask=dask,
            ledger=ledger,
            progress=heard,
        )
        found, earlier = _in_order(outcomes)
    done = [run for run in found if isinstance(run, _Simulation)]
    failures = [
        f"simulation {i}: {run}"
        for i, run in enumerate(found, 1)
        if not isinstance(run, _Simulation)
    ]
    if not done:
        raise DensityError(f"All {simulations} fits failed; the first, {failures[0]}")
    if len({frozenset(run.ranks) for run in done}) > 1:
        raise UsageError("simulate gave true values of other parameters in some simulations.")
    ranks = {name: np.array([run.ranks[name] for run in done]) for name in done[0].ranks}
    table = rank_table(ranks, draws, level)
    return CalibrationResult(
        model=base.name,
        method=method,
        engine="stanli" if method == "nuts" else base.engine,
        seed=seed,
        draws=draws,
        level=level,
        parameters=table.parameters,
        band=table.band,
        failures=tuple(failures),
        n_doubted=sum(run.doubted for run in done),
        n_gradients=sum(run.n_gradients for run in done),
        seconds=time.perf_counter() - start + earlier,
    )


@dataclass(frozen=True)
class _Run:
    """Draws of one simulation: a single chain, nearly independent."""

    draws: Draws
    n_gradients: int
    doubted: bool


@dataclass(frozen=True)
class _Simulation:
    ranks: Mapping[str, int]
    n_gradients: int
    doubted: bool


def _among(run: _Simulation, draws: int) -> bool:
    """Whether true values can have these ranks among so many draws."""
    return all(0 <= rank <= draws for rank in run.ranks.values())


def _in_order(
    outcomes: Generator[Outcome[dict[str, Any]], None, None],
) -> tuple[list[_Simulation | str], float]:
    """Give simulations, or why they failed, by their number; seconds of those done earlier.

    Raises
    ------
    UsageError, ModelError, DataError
        What a simulation raised that would befall all.
    """
    found: dict[int, _Simulation | str] = {}
    earlier = 0.0
    with closing(outcomes):
        for outcome in outcomes:
            value = outcome.value
            if value is None:
                found[outcome.index] = outcome.error or outcome.status
            elif isinstance(value, dict) and "error" in value:
                if value["error"] in _REFUSALS:
                    raise _REFUSALS[value["error"]](value["message"])
                found[outcome.index] = value["message"]
            else:
                draws = outcome.task.settings["draws"]
                found[outcome.index] = kept_as(_Simulation, value, partial(_among, draws=draws))
            earlier += (outcome.seconds or 0.0) if outcome.earlier else 0.0
    return [run for _, run in sorted(found.items())], earlier


def _simulation(
    base: Model,
    *,
    method: SbcMethod,
    seed: int,
    draws: int,
    simulation: int,
    simulate: Simulator | None,
    simulator: str = "",
) -> dict[str, Any]:
    """Give a `_Simulation`, or an error by its class and message, as JSON values."""
    child = np.random.SeedSequence(seed, spawn_key=(simulation - 1,))
    try:
        return vars(_ranked(base, method, draws, child, simulate, simulator))
    except StanroviError as error:
        return {"error": type(error).__name__, "message": str(error)}


def _ranked(
    base: Model,
    method: SbcMethod,
    draws: int,
    child: np.random.SeedSequence,
    simulate: Simulator | None,
    simulator: str,
) -> _Simulation:
    seed = int(child.generate_state(1)[0] >> 1)
    truth, data = None, None
    if simulate is not None:
        try:
            given = simulate(np.random.default_rng(child))
        except Exception as error:
            raise UsageError(
                f"simulate ({simulator}) raised {type(error).__name__}: {said(error)}."
            ) from error
        truth, data = _simulated(given, base)
    model = base.rebuild(seed=seed, data=data)
    if method == "nuts":
        run = _nuts(model, draws, seed)
    elif method == "sample":
        run = _sample(model, draws, seed)
    else:
        run = _fit(model, method, draws, seed)
    below = _below_own_truth(run.draws) if truth is None else _below_truth(run.draws, truth)
    ranks = {name: int(is_below.sum()) for name, is_below in below.items()}
    return _Simulation(ranks, run.n_gradients, run.doubted)


def _simulated(given: Any, base: Model) -> tuple[dict[str, Any], dict[str, Any]]:
    """Take what a simulator returned."""
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise UsageError(
            "simulate must return two mappings, true values by the names of parameters and the "
            f"data simulated from them, not {told(given)}."
        )
    first, second = given
    if first is None or second is None:
        raise UsageError("simulate must return mappings of true values and of data, not None.")
    truth = checked_mapping("What simulate returns first", first, "parameters to true values")
    data = checked_mapping("What simulate returns second", second, "data to values")
    if isinstance(base.source, Program):
        known = {item.name for item in base.source.data_declarations} | base.data.keys()
        if strange := [name for name in data if name not in known]:
            raise UsageError(
                f"simulate gave data {strange[0]}, which {base.name} does not declare; it declares "
                f"{', '.join(sorted(known)) or 'none'}."
            )
    return truth, data


def _fit(model: Model, method: Method, draws: int, seed: int) -> _Run:
    made = fit(model, method=method, seed=seed, draws=_FIT_FACTOR * draws)
    doubted = made.result.verdict.name != "ok"
    return _Run(_kept(made.draws, np.arange(draws)), made.result.n_gradients, doubted)


def _nuts(model: Model, draws: int, seed: int) -> _Run:
    """Sample until thinning leaves nearly independent draws, or the limit is reached."""
    length, n_gradients = _NUTS_FIRST * draws, 0
    while True:
        run = nuts(model, engine="stanli", chains=1, iter_sampling=length, seed=seed)
        n_gradients += run.n_gradients
        lacking = _NUTS_ESS * draws / _smallest_ess(run)
        if lacking <= 1 or length == _NUTS_MOST * draws:
            break
        length = min(math.ceil(1.5 * lacking * length), _NUTS_MOST * draws)
    keep = np.linspace(0, length - 1, draws).round().astype(int)
    return _Run(_kept(run.draws, keep), n_gradients, lacking > 1 or run.divergences > 0)


def _sample(model: Model, draws: int, seed: int) -> _Run:
    """Sample as a user would, and take draws at equal distances from all chains."""
    run = sample(model, ess=_SAMPLE_ESS * draws, seed=seed)
    chains, length = run.draws.n_chains, run.draws.n_draws
    keep = np.linspace(0, chains * length - 1, draws).round().astype(int)
    joined = {
        name: values.reshape(1, -1, *values.shape[2:])
        for name, values in run.draws.posterior.items()
    }
    one = Draws(run.draws.method, joined, run.draws.parameters)
    return _Run(_kept(one, keep), run.n_gradients, not run.trusted)


def _smallest_ess(run: NutsRun) -> float:
    values = np.stack(list(run.draws.scalars().values()), axis=-1)
    sizes = np.concatenate([ess(values, "bulk"), ess(values, "tail")])
    return float(np.nanmin(sizes, initial=np.inf))


def _kept(draws: Draws, keep: NDArray[np.int64]) -> Draws:
    posterior = {name: values[:, keep] for name, values in draws.posterior.items()}
    return Draws(draws.method, posterior, draws.parameters)


def _below_truth(draws: Draws, truth: Mapping[str, Any]) -> dict[str, NDArray[np.bool_]]:
    """Which draws lie below the true values that a simulator gave."""
    if not truth or not truth.keys() <= draws.posterior.keys():
        raise UsageError(
            f"simulate must give true values of some of {', '.join(draws.posterior)}; it gave "
            f"{', '.join(truth) or 'none'}."
        )
    below = {}
    for name, value in truth.items():
        shape, given = draws.posterior[name].shape[2:], _true(name, value)
        if given.shape != shape:
            raise UsageError(f"simulate gave {name} the shape {given.shape}, but it has {shape}.")
        for (label, x), true in zip(draws.scalars((name,)).items(), given.ravel(), strict=True):
            below[label] = _finite(label, x)[0] < true
    return below


def _true(name: str, value: Any) -> Array:
    """Take a true value: finite numbers, since no draw has a rank among others."""
    given = real_array(value)
    if given is None or not np.isfinite(given).all():
        raise UsageError(
            f"simulate gave {told(value)} as the true value of {name}; it must be finite numbers."
        )
    return given


def _below_own_truth(draws: Draws) -> dict[str, NDArray[np.bool_]]:
    """Which draws do not exceed the true values that the program itself drew.

    Ranks take the names of the parameters when ``pars_`` holds one value for each, in
    order, which ``ranks_`` confirms if it is there too.
    """
    scalars, pars, above = draws.scalars(), _vector(draws, "pars_"), _vector(draws, "ranks_")
    if pars is not None and pars.shape[1] == len(scalars):
        values = np.stack([_finite(name, x)[0] for name, x in scalars.items()], axis=-1)
        below = values <= pars
        if above is None or np.array_equal(below, above == 0):
            return dict(zip(scalars, below.T, strict=True))
    if above is None:
        raise ModelError(
            f"pars_ must hold one true value for each of {', '.join(scalars)}, in this order; "
            "give ranks_ where other quantities are to be ranked."
        )
    if not np.isin(above, (0, 1)).all():
        raise ModelError("ranks_ must be 1 where a draw exceeds its true value, and else 0.")
    return {f"ranks_[{i}]": column == 0 for i, column in enumerate(above.T, 1)}


def _vector(draws: Draws, name: str) -> Array | None:
    """Give a generated quantity, one row of numbers per draw; None where there is none."""
    if name not in draws.posterior:
        return None
    values: Array = draws.posterior[name][0].astype(np.float64)
    return _finite(name, values.reshape(len(values), -1))


def _finite(name: str, values: Array) -> Array:
    if not np.isfinite(values).all():
        raise DrawsError(f"some draws of {name} are NaN or infinite, and cannot be ranked")
    return values


def _require_simulation(model: Model) -> None:
    if isinstance(model.source, Program) and not model.source.has_random_data:
        raise ModelError(
            f"{model.name} does not simulate: its transformed data draw nothing by _rng functions. "
            f"Let them draw parameters and data{_OR_PYTHON}."
        )
    if not {"pars_", "ranks_"} & set(model.variables):
        raise ModelError(
            f"{model.name} has neither pars_ nor ranks_ among its generated quantities, which tell "
            f"the true values that it simulated from. Add one{_OR_PYTHON}."
        )
