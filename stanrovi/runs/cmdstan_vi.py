"""CmdStan's own variational methods: ADVI and Pathfinder."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from stanrovi.arguments import check_choice, checked_count, checked_seed
from stanrovi.draws import Draws
from stanrovi.errors import SamplerError, UsageError
from stanrovi.io.files import scratch_folder
from stanrovi.runs.record import record
from stanrovi.stan.cmdstan import (
    SIGNIFICANT_DIGITS,
    compile_cmdstan,
    open_executable,
    own_logging,
    why_failed,
)
from stanrovi.stan.constrain import plain, split
from stanrovi.stan.model import Model
from stanrovi.stan.program import Program
from stanrovi.target import Array

if TYPE_CHECKING:
    from cmdstanpy import CmdStanModel
    from cmdstanpy.stanfit.metadata import InferenceMetadata

CmdStanAlgorithm = Literal["meanfield", "fullrank", "pathfinder"]

_DOUBT = re.compile(r"may not have converged|may be diverging", re.IGNORECASE)


def cmdstan_vi(
    model: Model,
    algorithm: CmdStanAlgorithm,
    *,
    seed: int,
    draws: int = 4000,
    exe: str | os.PathLike[str] | None = None,
) -> Draws:
    """Fit by ADVI or Pathfinder of CmdStan, with its defaults.

    Parameters
    ----------
    model : Model
        Gives data, names and unconstrained coordinates.
    algorithm : {"meanfield", "fullrank", "pathfinder"}
        ADVI with a diagonal or a full covariance, or multi-path Pathfinder.
    seed : int
    draws : int
    exe : path, optional
        CmdStan executable of the same program; compiled by the CmdStan install
        that cmdstanpy finds, if not given.

    Returns
    -------
    Draws
        Method ``"advi_meanfield"``, ``"advi_fullrank"`` or ``"pathfinder"``, one
        chain. Status ``"max_iterations"`` where ADVI doubts its convergence.

    Raises
    ------
    UsageError
        For an unknown algorithm, an impossible option, a file that is no CmdStan
        executable, or a model that is a compiled library, without an executable.
    ModelError
        If there is no CmdStan to compile the program, or it cannot.
    SamplerError
        If the run fails, with the reason from CmdStan's console.
    """
    check_choice("algorithm", algorithm, get_args(CmdStanAlgorithm))
    seed, draws = checked_seed(seed), checked_count("draws", draws, 1)
    executable = _executable(model) if exe is None else Path(exe)
    with scratch_folder() as folder:
        data_file, output = folder / "data.json", folder / "output"
        data_file.write_text(model.data_json, encoding="utf-8")
        output.mkdir()
        began = time.perf_counter()
        with own_logging():
            try:
                fitted = _run(
                    open_executable(executable), algorithm, data_file, output, seed, draws
                )
            except (RuntimeError, ValueError, FileNotFoundError) as error:
                reason = why_failed(output, error)
                raise SamplerError(
                    f"{algorithm} (CmdStan, {executable.name}) failed: {reason}"
                ) from error
        seconds = time.perf_counter() - began
        doubtful = any(_DOUBT.search(f.read_text()) for f in output.glob("*stdout*.txt"))
    return _as_draws(
        model, algorithm, fitted, seed, seconds, "max_iterations" if doubtful else "converged"
    )


def _executable(model: Model) -> Path:
    if not isinstance(model.source, Program):
        raise UsageError(
            f"CmdStan cannot run the library {model.source}; give the .stan file as the model, "
            "or a CmdStan executable of the same program (exe)"
        )
    return compile_cmdstan(model.source)


def _run(
    compiled: CmdStanModel,
    algorithm: CmdStanAlgorithm,
    data_file: Path,
    output: Path,
    seed: int,
    draws: int,
) -> tuple[Array, InferenceMetadata]:
    """Draws (n, columns) with the layout of the columns."""
    common: dict[str, Any] = {
        "data": str(data_file),
        "seed": seed,
        "draws": draws,
        "output_dir": output,
        "sig_figs": SIGNIFICANT_DIGITS,
    }
    if algorithm == "pathfinder":
        path = compiled.pathfinder(**common)
        return path.draws(), path.metadata
    vb = compiled.variational(**common, algorithm=algorithm, require_converged=False)
    return np.asarray(vb.variational_sample), vb.metadata


def _as_draws(
    model: Model,
    algorithm: CmdStanAlgorithm,
    fitted: tuple[Array, InferenceMetadata],
    seed: int,
    seconds: float,
    status: str,
) -> Draws:
    columns, layout = fitted
    variables = split(np.ascontiguousarray(columns), plain(layout.stan_vars, layout.column_names))
    missing = [name for name in model.parameters if name not in variables]
    if missing:
        raise SamplerError(
            f"the CmdStan executable is not of the program {model.name}: its draws lack "
            f"{', '.join(missing)}"
        )
    x = model.unconstrain_draws({name: variables[name] for name in model.parameters})
    return record(
        model,
        algorithm if algorithm == "pathfinder" else f"advi_{algorithm}",
        {name: values[None] for name, values in variables.items()},
        engine="cmdstan",
        seed=seed,
        unconstrained=None if x is None else x[None],
        sample_stats={} if x is None else {"lp": model.log_density_gradient(x)[0][None]},
        attrs={"seconds": seconds, "status": status},
    )
