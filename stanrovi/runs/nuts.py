"""NUTS, the reference: one result type, two engines."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from stanrovi.arguments import check_choice, checked_between, checked_count, checked_seed, told
from stanrovi.determinism import one_blas_thread
from stanrovi.draws import Run, Values, as_draws, not_finite, require_finite
from stanrovi.errors import DrawsError, ModelError, SamplerError, StanroviError, UsageError
from stanrovi.io.files import usable_path
from stanrovi.runs.nuts_run import NutsEngine, NutsRun
from stanrovi.runs.progress import of_chains
from stanrovi.runs.record import record
from stanrovi.runs.warm_start import WarmStart, warm_start
from stanrovi.stan.cmdstan import cmdstan_folder, compile_cmdstan
from stanrovi.stan.data import DataSource
from stanrovi.stan.memory import drawing
from stanrovi.stan.model import Model, ModelSource, as_model
from stanrovi.stan.nuts.any_density import sample_any
from stanrovi.stan.nuts.chains import ChainListener, Chains, NutsSettings
from stanrovi.stan.nuts.cmdstan import chains_of, sample_cmdstan
from stanrovi.stan.nuts.csv_files import csv_files, read_cmdstan, require_nuts
from stanrovi.stan.nuts.embedded import sample_embedded
from stanrovi.stan.nuts.isolated import SamplerDiedError, sample_isolated
from stanrovi.stan.program import Program

logger = logging.getLogger(__name__)

NutsChoice = Literal["auto", "cmdstan", "stanli", "numpy"]

# Beyond this, warm-up iterations are not kept just to count their gradients.
_MAX_SAVED_BYTES = 500_000_000
_ITER_WARMUP, _ITER_WARMUP_GIVEN = 1000, 75
_WINDOWS = 150  # iterations of warm-up from which on Stan adapts the metric in windows
_MAX_COUNT = 2**31 - 1  # engines count in C's int, and wrap around


def nuts(
    model: ModelSource,
    data: DataSource = None,
    *,
    engine: NutsChoice = "auto",
    chains: int = 4,
    iter_warmup: int | None = None,
    iter_sampling: int = 1000,
    seed: int | None = None,
    init: Run | None = None,
    adapt_delta: float = 0.8,
    max_treedepth: int = 10,
    exe: str | os.PathLike[str] | None = None,
    progress: bool | ChainListener | None = None,
) -> NutsRun:
    """Sample from the posterior by NUTS.

    Parameters
    ----------
    model : Model, path or str
        A model, or what `Model` takes.
    data : path, str, mapping or None
        Data, when ``model`` is not a `Model` yet.
    engine : {"auto", "cmdstan", "stanli", "numpy"}
        ``"auto"``: CmdStan where cmdstanpy finds an install or ``exe`` is
        given, else the embedded engine; for a compiled library ``"numpy"``, which runs on
        the model's own log density.
    chains, iter_sampling : int
        Iterations are per chain.
    iter_warmup : int, optional
        1000, or 75 with ``init``.
    seed : int, optional
        Below 2**32; random when not given. The run records it.
    init : Fit or Draws, optional
        A fit of the same model: chains start from its draws and move by its covariance, and
        warm-up adapts the step size alone. Where its verdict is not ``ok`` NUTS starts and
        warms up as usual, and says so.
    adapt_delta : float
        Target acceptance rate.
    max_treedepth : int
    exe : path, optional
        CmdStan executable compiled from the same program.
    progress : bool or callable, optional
        True shows a line that tells it, on a terminal or below a notebook's cell. A
        callable is called with chain (from 1), iterations done, and iterations in all, possibly
        from another thread.

    Returns
    -------
    NutsRun

    Raises
    ------
    UsageError
        If a setting makes no sense.
    DrawsError
        If ``init`` is no fit, or one of another program.
    ModelError
        If the engine cannot run or compile the program.
    SamplerError
        If the run fails, or draws of a parameter are NaN or infinite.
    """
    check_choice("NUTS engine", engine, get_args(NutsChoice))
    usual = _ITER_WARMUP if iter_warmup is None else iter_warmup
    settings = _settings(chains, usual, iter_sampling, seed, adapt_delta, max_treedepth)
    with of_chains(progress, settings.chains) as heard:
        built = as_model(model, data)
        with drawing(built, settings.iter_sampling, settings.chains):
            return _nuts(built, engine, settings, iter_warmup, init, exe, heard)


def _nuts(
    model: Model,
    engine: NutsChoice,
    settings: NutsSettings,
    iter_warmup: int | None,
    init: Run | None,
    exe: str | os.PathLike[str] | None,
    progress: ChainListener | None,
) -> NutsRun:
    warm, doubts = _warm_start(model, init, settings)
    if warm is not None:
        given = _ITER_WARMUP_GIVEN if iter_warmup is None else settings.iter_warmup
        doubts += _long_warm_up(given)
        settings = replace(
            settings,
            iter_warmup=given,
            starts=warm.unconstrained,
            inits=warm.inits,
            inv_metric=warm.inv_metric,
        )
    settings = replace(settings, save_warmup=_saves_warmup(settings, model.n_columns))
    chosen, executable, notes = _choose(model, engine, exe)
    start = time.perf_counter()
    if executable is not None:
        result = sample_cmdstan(executable, model.data_json, settings, progress)
        _require_same_program(result.variables, model, SamplerError, str(executable))
    elif chosen == "numpy":
        with one_blas_thread():
            result = sample_any(model, settings, progress)
    else:
        result = _sample_embedded(model, settings, progress)
    seconds = time.perf_counter() - start
    require_finite(result.variables, model.parameters, SamplerError, "the NUTS draws")
    notes += doubts
    notes += _seed_note(model, settings.seed)
    notes += _sampler_notes(result, settings.max_treedepth)
    asked = {"iter_warmup": settings.iter_warmup, "max_treedepth": settings.max_treedepth}
    return _run(model, result, chosen, settings.seed, seconds, notes, asked)


def nuts_from_csv(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], model: Model
) -> NutsRun:
    """Read an earlier CmdStan NUTS run.

    Parameters
    ----------
    paths : path, glob pattern, or sequence of paths
        CmdStan's CSV files, one per chain.
    model : Model
        The model the run was made with.

    Returns
    -------
    NutsRun

    Raises
    ------
    UsageError
        If no file matches.
    DrawsError
        If the files do not hold NUTS draws, disagree with each other, or are
        of another program.
    """
    files = csv_files(paths)
    if not isinstance(model, Model):
        raise UsageError(
            f"The model that the run was made with must be a stanrovi.Model, not {told(model)}."
        )
    for file in files:
        require_nuts(file)
    fit = read_cmdstan(files)
    result = chains_of(fit)
    _require_same_program(result.variables, model, DrawsError, str(files[0]))
    require_finite(result.variables, model.parameters, DrawsError, str(files[0]))
    config = fit.metadata.cmdstan_config
    asked = {
        "iter_warmup": _whole(config.get("num_warmup"), _ITER_WARMUP),
        "max_treedepth": _whole(config.get("max_depth"), 10),
    }
    notes = _sampler_notes(result, asked["max_treedepth"])
    if not result.includes_warmup:
        notes += ("the files hold no warm-up, so its gradients are not counted",)
    seed = _whole(config.get("seed"), 0)
    notes += _seed_note(model, seed)
    return _run(model, result, "cmdstan", seed, math.nan, notes, asked)


def _whole(told: object, usual: int) -> int:
    """Read a number of a file's header, which others may have changed."""
    return told if isinstance(told, int) else usual


def _settings(
    chains: int,
    iter_warmup: int,
    iter_sampling: int,
    seed: int | None,
    adapt_delta: float,
    max_treedepth: int,
) -> NutsSettings:
    adapt_delta = checked_between("adapt_delta", adapt_delta, 0, 1)
    return NutsSettings(
        chains=checked_count("chains", chains, 1, _MAX_COUNT),
        iter_warmup=checked_count("iter_warmup", iter_warmup, 0, _MAX_COUNT),
        iter_sampling=checked_count("iter_sampling", iter_sampling, 1, _MAX_COUNT),
        seed=checked_seed(seed),
        adapt_delta=adapt_delta,
        max_treedepth=checked_count("max_treedepth", max_treedepth, 1, _MAX_COUNT),
    )


def _warm_start(
    model: Model, init: Run | None, settings: NutsSettings
) -> tuple[WarmStart | None, tuple[str, ...]]:
    """Take starts and metric from a fit that is near the posterior; else say why not."""
    if init is None:
        return None, ()
    draws = as_draws(init)
    start = warm_start(draws, settings.chains, seed=settings.seed)
    shapes = {name: draws.posterior[name].shape[2:] for name in draws.parameters}
    if shapes != model.shapes or start.unconstrained.shape[1] != model.dim:
        raise DrawsError(
            f"The fit to start from is not of {model.name} with these data: its parameters are "
            f"{_told(shapes)}, the model's {_told(model.shapes)}."
        )
    verdict = draws.facts.verdict if draws.facts is not None else None
    if verdict is None or verdict.name != "ok":
        said = "has no verdict" if verdict is None else f"is {verdict.name}"
        return None, (
            f"the fit to start from {said}, so NUTS starts and warms up as usual; fit by another "
            "method, or draw by stanrovi sample",
        )
    return start, ()


def _told(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name}{list(shape) if shape else ''}" for name, shape in shapes.items())


def _long_warm_up(iter_warmup: int) -> tuple[str, ...]:
    if iter_warmup < _WINDOWS:
        return ()
    return (
        f"{iter_warmup} iterations of warm-up are more than the step size needs, and the embedded "
        f"engine throws the fit's metric away; give fewer than {_WINDOWS}, or none",
    )


def _saves_warmup(settings: NutsSettings, n_columns: int) -> bool:
    n_bytes = 8 * settings.chains * settings.iterations * (n_columns + 7)
    return settings.iter_warmup > 0 and n_bytes <= _MAX_SAVED_BYTES


def _choose(
    model: Model, engine: NutsChoice, exe: str | os.PathLike[str] | None
) -> tuple[NutsEngine, Path | None, tuple[str, ...]]:
    """Engine, CmdStan executable if that is the engine, and notes for the user."""
    if exe is not None:
        path = usable_path(exe)
        if engine in ("stanli", "numpy"):
            raise UsageError(f"engine '{engine}' runs no executable, but exe is {path}; drop one")
        return "cmdstan", path, ()
    library = not isinstance(model.source, Program)
    if engine == "numpy" or (engine == "auto" and library):
        return "numpy", None, ()
    if library:
        raise UsageError(
            f"engine '{engine}' cannot run the library {model.source}; leave the engine out, give "
            "the .stan file as the model, or a CmdStan executable of the same program (exe; --exe "
            "on the command line)"
        )
    assert isinstance(model.source, Program)
    if engine == "stanli":
        return "stanli", None, ()

    if engine == "auto" and cmdstan_folder() is None:
        return "stanli", None, ()
    try:
        return "cmdstan", compile_cmdstan(model.source), ()
    except ModelError as error:
        if engine == "cmdstan":
            raise
        logger.warning("%s", error)
        return "stanli", None, (f"{error}; the embedded engine sampled instead",)


def _sample_embedded(
    model: Model, settings: NutsSettings, progress: ChainListener | None
) -> Chains:
    """Run the embedded engine, whose rows are lost where generated quantities throw."""
    assert isinstance(model.source, Program)
    sample = sample_isolated if model.isolate else sample_embedded
    try:
        result = sample(model.source, model.data_json, settings, progress)
        if all(np.isfinite(result.variables[name]).all() for name in model.parameters):
            return result
        logger.info("generated quantities threw in NUTS draws; sampling without them")
    except SamplerDiedError as death:
        if not model.source.generated_declarations:
            raise
        logger.warning("%s; sampling without generated quantities", death)
    reduced = model.source.without("generated quantities")
    result = sample(reduced, model.data_json, settings, progress)
    x = model.unconstrain_draws(_flat(result.variables, model.parameters))
    if x is None:
        logger.warning("generated quantities of the NUTS draws could not be computed")
        return result
    lead = (settings.chains, settings.iter_sampling)
    computed = model.constrain(x, seed=settings.seed)
    return replace(
        result,
        variables={
            name: result.variables.get(name, values.reshape(*lead, *values.shape[1:]))
            for name, values in computed.items()
        },
    )


def _flat(variables: Mapping[str, Values], names: Sequence[str]) -> dict[str, Values]:
    """Draws of all chains in one row of draws, shape (chain * draw, *shape)."""
    return {name: variables[name].reshape(-1, *variables[name].shape[2:]) for name in names}


def _seed_note(model: Model, seed: int) -> tuple[str, ...]:
    if model.has_random_data and seed != model.seed:
        return (
            f"transformed data are drawn at random, so NUTS (seed {seed}) and the model (seed "
            f"{model.seed}) have different posteriors; give both the same seed",
        )
    return ()


def _sampler_notes(result: Chains, max_treedepth: int) -> tuple[str, ...]:
    diverging = result.sampler["divergent__"]
    saturated = result.sampler["treedepth__"] >= max_treedepth
    notes: tuple[str, ...] = ()
    if n := int(diverging.sum()):
        notes += (
            f"{n} of {diverging.size} iterations diverged; raise adapt_delta (--adapt-delta on the "
            "command line) or reparameterise",
        )
    if n := int(saturated.sum()):
        notes += (
            f"{n} of {saturated.size} iterations reached the maximum treedepth {max_treedepth}; "
            "raise max_treedepth (--max-treedepth on the command line) or reparameterise",
        )
    if found := not_finite(result.variables):
        notes += (f"{' and '.join(found)}, as computed by the program or because it threw",)
    return notes


def _require_same_program(
    variables: Mapping[str, Values], model: Model, error: type[StanroviError], origin: str
) -> None:
    missing = [name for name in model.parameters if name not in variables]
    if missing:
        raise error(
            f"{origin} is not of the program {model.name}: it lacks {', '.join(missing)} and holds "
            f"{', '.join(variables)}"
        )
    for name, declared in model.shapes.items():
        shape = variables[name].shape[2:]
        if shape != declared:
            raise error(
                f"{origin} does not fit {model.name}: {name} has shape {shape} there, {declared} "
                "in the model; are the data the same?"
            )


def _run(
    model: Model,
    result: Chains,
    engine: NutsEngine,
    seed: int,
    seconds: float,
    notes: tuple[str, ...],
    asked: Mapping[str, int],
) -> NutsRun:
    divergences = int(result.sampler["divergent__"].sum())
    order = [name for name in model.variables if name in result.variables]
    order += [name for name in result.variables if name not in model.variables]
    x = model.unconstrain_draws(_flat(result.variables, model.parameters))
    lead = result.sampler["lp__"].shape
    draws = record(
        model,
        "nuts",
        {name: result.variables[name] for name in order},
        engine=engine,
        seed=seed,
        unconstrained=None if x is None else x.reshape(*lead, model.dim),
        sample_stats=result.sample_stats(),
        attrs={
            **asked,
            "seconds": seconds,
            "seconds_warmup": result.seconds_warmup,
            "seconds_sampling": result.seconds_sampling,
            "n_gradients": result.n_gradients,
            "n_gradients_include_warmup": int(result.includes_warmup),
            "divergences": divergences,
        },
    )
    return NutsRun(
        draws=draws,
        engine=engine,
        seed=seed,
        seconds=seconds,
        seconds_warmup=result.seconds_warmup,
        seconds_sampling=result.seconds_sampling,
        n_gradients=result.n_gradients,
        includes_warmup=result.includes_warmup,
        divergences=divergences,
        warnings=notes,
    )
