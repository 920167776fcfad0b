"""Stan's Pathfinder on a Stan model, by the code in the embedded engine.

Zhang, Carpenter, Gelman and Vehtari (2022, JMLR 23): the best of the Gaussians along a climb, and
several climbs resampled by importance weights.
"""

from __future__ import annotations

import ctypes
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from peers import KHAT_LIMIT, N_DRAWS, Answer

import stanrovi as sr
from stanrovi.diagnostics.statistics import psis_weights
from stanrovi.errors import SamplerError
from stanrovi.stan.constrain import split, variables
from stanrovi.stan.program import Program
from stanrovi.target import Array

if TYPE_CHECKING:
    import stanli

_PER_PATH = 1000


class Options(ctypes.Structure):
    """What the engine's Pathfinder takes, in the order of version `_INTERFACE` of its interface."""

    _fields_: ClassVar = [
        *((name, ctypes.c_int) for name in (
            "seed", "chain_id", "num_paths", "num_draws", "num_psis_draws", "num_elbo_draws",
            "max_lbfgs_iters", "history_size",
        )),
        *((name, ctypes.c_double) for name in (
            "init_alpha", "tol_obj", "tol_rel_obj", "tol_grad", "tol_rel_grad", "tol_param",
            "init_radius",
        )),
        ("inits", ctypes.c_void_p),
        *((name, ctypes.c_int) for name in ("psis_resample", "calculate_lp", "refresh")),
    ]  # fmt: skip


_INTERFACE = 2
_LISTENER = ctypes.CFUNCTYPE(None, ctypes.c_int32, ctypes.c_char_p, ctypes.c_void_p)
_EVALUATIONS = re.compile(r"Notes \s*\n(?:\s+\S+){6}\s+(\d+)")


@dataclass(frozen=True)
class Climb:
    """What one path gives.

    Attributes
    ----------
    x : ndarray, shape (n, dim)
        Unconstrained space.
    log_ratio : ndarray, shape (n,)
        Log density less that of the path's Gaussian; NaN where it was not asked for.
    n_gradients : int
    """

    x: Array
    log_ratio: Array
    n_gradients: int


def pathfinder(model: sr.Model, seed: int) -> Answer:
    """Stan's Pathfinder, of the embedded engine: one path, no resampling."""
    path = _path(model, _stanli_model(model, seed), seed, 1, N_DRAWS, weighed=False)
    return Answer(path.x[None], path.n_gradients, None)


def multi_path(model: sr.Model, seed: int, paths: int = 4) -> Answer:
    """Several paths of the same Pathfinder, resampled by Pareto-smoothed weights, as CmdStan does.

    The engine refuses its own resampling; 1,000 draws of each path, as CmdStan takes by default,
    are resampled here. Paths that fail are left out.
    """
    engine, found, reason = _stanli_model(model, seed), [], ""
    for number in range(1, paths + 1):
        try:
            found.append(_path(model, engine, seed, number, _PER_PATH, weighed=True))
        except SamplerError as error:
            reason = str(error)
    if not found:
        raise SamplerError(f"all {paths} paths fail, the last because {reason}")
    weights, khat = psis_weights(np.concatenate([path.log_ratio for path in found]))
    if not weights.any():
        raise SamplerError("the weights of the paths have too steep a tail for any draw to count")
    rows = np.random.default_rng(seed).choice(len(weights), N_DRAWS, p=weights)
    x = np.concatenate([path.x for path in found])[rows]
    return Answer(x[None], sum(path.n_gradients for path in found), not khat <= KHAT_LIMIT)


def _stanli_model(model: sr.Model, seed: int) -> stanli.Model:
    import stanli

    assert isinstance(model.source, Program)
    with tempfile.TemporaryDirectory() as folder:
        program, data = Path(folder) / "program.stan", Path(folder) / "data.json"
        program.write_text(model.source.text, encoding="utf-8")
        data.write_text(model.data_json, encoding="utf-8")
        return stanli.Model(stan_file=str(program), data=str(data), seed=seed)


def _path(
    model: sr.Model, engine: stanli.Model, seed: int, number: int, n: int, *, weighed: bool
) -> Climb:
    """Run one path; Python has Pathfinder only for the starts of chains, so by the C interface."""
    from stanli import _dptr, _lib

    if _lib.stanli_abi_version() != _INTERFACE:
        raise SamplerError("this stanli has another interface than the one its Pathfinder needs")
    options, lines = Options(), []
    _lib.stanli_pathfinder_opts_init(ctypes.byref(options))
    options.seed, options.chain_id, options.num_paths = seed, number, 1
    options.num_draws, options.calculate_lp, options.refresh = n, weighed, 1
    listener = _LISTENER(lambda level, text, _: lines.append(text.decode()))
    columns = [_lib.stanli_wa_column_name(engine._m, i).decode()
               for i in range(_lib.stanli_wa_n_columns(engine._m))]  # fmt: skip
    values, log_p, log_q = np.empty((n, len(columns))), np.empty(n), np.empty(n)
    reason = ctypes.create_string_buffer(4096)
    failed = _lib.stanli_pathfinder(
        ctypes.c_void_p(engine._m), ctypes.byref(options), _dptr(values), _dptr(log_p),
        _dptr(log_q), None, ctypes.byref(ctypes.c_int64()), listener, None, None, None, None,
        reason, ctypes.c_size_t(len(reason)),
    )  # fmt: skip
    if failed:
        raise SamplerError(f"Pathfinder failed: {reason.value.decode()}")
    n_gradients = _evaluations(lines, options.num_elbo_draws) + weighed * n
    drawn = split(values, variables(columns))
    x = model.unconstrain_draws({name: drawn[name] for name in model.parameters})
    if x is None:
        raise SamplerError("Pathfinder's draws lie outside their support, to working precision")
    return Climb(x, log_p - log_q, n_gradients)


def _evaluations(lines: Sequence[str], per_iteration: int) -> int:
    """Points that a path evaluated before its draws, by what Stan says after each iteration.

    The number there is a running sum to which each iteration adds the draws of its ELBO and *all*
    gradients of the climb so far; the last such summand holds the climb's own count.
    """
    sums = [int(n) for line in lines for n in _EVALUATIONS.findall(line)]
    return (len(sums) - 1) * per_iteration + sums[-1] - (sums[-2] if len(sums) > 1 else 0)
