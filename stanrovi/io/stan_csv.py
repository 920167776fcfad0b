"""Draws as CmdStan writes them, for what reads CmdStan's files: posterior, cmdstanr, cmdstanpy.

All files are of CmdStan's method ``sample``, which every reader knows. Draws without the statistics
of a Hamiltonian sampler, such as those of a fit, stand in one as of its algorithm ``fixed_param``:
draws of which nothing is said to be a chain that had to adapt. CmdStan's own files of variational
fits begin with a row of means, which readers of plain CSV take for a draw, and cmdstanpy and rstan
offer less on what they read of them. What reads a reference (`stanrovi.nuts_from_csv`) refuses a
file of a fit.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stanrovi.draws import SAMPLER_COLUMNS, STATISTICS, Draws
from stanrovi.io.files import usable_path, write_text
from stanrovi.io.folders import filled_folder

_WRITTEN = "# written by stanrovi"
_LONGEST_HEADER = 10_000  # bytes
_LONGEST = 240  # bytes of a file's name, to which the number of a chain comes


def write_stan_csv(
    draws: Draws, folder: str | os.PathLike[str], *, overwrite: bool = False
) -> tuple[Path, ...]:
    """Write draws as CmdStan's CSV files.

    Parameters
    ----------
    draws : Draws
    folder : path-like
        New or empty; gets ``MODEL_1.csv`` and so on, one file a chain.
    overwrite : bool
        Whether it may hold files, and those be replaced. Those that this has written of more chains
        of a model of that name are removed, since ``MODEL_*.csv`` is one run.

    Returns
    -------
    tuple of Path

    Raises
    ------
    OutputError
        If a file exists or cannot be written.
    """
    # A name from a file may be anything; ours are those of programs, which name files.
    name = re.sub(r"[^\w. -]", "_", str(draws.attrs.get("model", "model")))
    name = name.encode()[:_LONGEST].decode(errors="ignore")
    statistics = {
        column: draws.sample_stats[key]
        for column, key in STATISTICS.items()
        if key in draws.sample_stats
    }
    # CmdStan's files begin with this column, by which readers find the header.
    statistics = {"lp__": np.full((draws.n_chains, draws.n_draws), np.nan)} | statistics
    values = draws.scalars(tuple(draws.posterior), order="F")
    columns = statistics | {_label(label): x for label, x in values.items()}
    is_nuts = SAMPLER_COLUMNS.keys() <= statistics.keys()
    names = [f"{name}_{chain}.csv" for chain in range(1, draws.n_chains + 1)]
    where = usable_path(folder)
    stale = _chains_beyond(where, name, draws.n_chains) if where.is_dir() else []
    with filled_folder(where, overwrite=overwrite, names=names, listed=False, stale=stale) as place:
        for chain, file in enumerate(names):
            lines = [*_header(draws, name, chain + 1, is_nuts=is_nuts), ",".join(columns)]
            if is_nuts:
                lines += _adaptation(draws, chain)
            lines += _rows([x[chain] for x in columns.values()])
            lines += _seconds(draws)
            write_text(place / file, "\n".join(lines) + "\n")
    return tuple(where / file for file in names)


def _chains_beyond(folder: Path, name: str, n_chains: int) -> list[str]:
    """Find what an earlier run of more chains has written, by name and header."""
    chain = re.compile(rf"{re.escape(name)}_([1-9]\d*)\.csv")
    matches = filter(None, map(chain.fullmatch, os.listdir(folder)))
    return [match[0] for match in matches if int(match[1]) > n_chains and _ours(folder / match[0])]


def _ours(file: Path) -> bool:
    with suppress(OSError):
        if file.is_file():  # a pipe would be waited for
            with file.open("rb") as content:
                return f"\n{_WRITTEN} ".encode() in content.read(_LONGEST_HEADER)
    return False


def _label(name: str) -> str:
    """CmdStan's name of an element: ``L.2.1`` for ``L[2,1]``."""
    return name.replace("[", ".").replace(",", ".").removesuffix("]")


def _header(draws: Draws, name: str, chain: int, *, is_nuts: bool) -> Iterator[str]:
    """Comments that readers of CmdStan's files look for."""
    facts = {
        "stan_version_major": 2,
        "stan_version_minor": 37,
        "stan_version_patch": 0,
        "model": f"{name}_model",
    }
    yield from (f"# {key} = {value}" for key, value in facts.items())
    yield "# method = sample (Default)"
    yield "#   sample"
    for key, value in {
        "num_samples": draws.n_draws,
        "num_warmup": _whole(draws, "iter_warmup", 1) or 1,  # cmdstanpy wants some
        "save_warmup": 0,
        "thin": 1,
    }.items():
        yield f"#     {key} = {value}"
    if is_nuts:
        yield "#     adapt"
        yield "#       engaged = 1"
        yield "#     algorithm = hmc (Default)"
        yield "#       hmc"
        yield "#         engine = nuts (Default)"
        yield "#           nuts"
        yield f"#             max_depth = {_whole(draws, 'max_treedepth', 10)}"
        yield "#         metric = unit_e"
    else:
        yield "#     algorithm = fixed_param"
    yield f"# id = {chain}"
    yield "# random"
    yield f"#   seed = {_whole(draws, 'seed', 0)}"
    version = draws.attrs.get("inference_library_version", "")
    yield f"{_WRITTEN} {version} of draws by {draws.method}".replace("\n", " ")


def _whole(draws: Draws, key: str, usual: int) -> int:
    """Read an attribute that is a count, which in a file of others may be anything."""
    number = draws.number(key)
    return int(number) if math.isfinite(number) and number >= 0 else usual


def _adaptation(draws: Draws, chain: int) -> Iterator[str]:
    yield "# Adaptation terminated"
    yield f"# Step size = {float(draws.sample_stats['step_size'][chain, -1]):.6g}"
    yield "# No free parameters for unit metric"


def _seconds(draws: Draws) -> Iterator[str]:
    """Tell times as CmdStan does, shared among the chains; zero where they are not known."""
    warmup, total = (draws.number(key) / draws.n_chains for key in ("seconds_warmup", "seconds"))
    warmup, total = (0.0 if math.isnan(x) else x for x in (warmup, total))
    yield "# "
    yield f"#  Elapsed Time: {warmup:.3f} seconds (Warm-up)"
    yield f"#                {max(total - warmup, 0.0):.3f} seconds (Sampling)"
    yield f"#                {max(total, warmup):.3f} seconds (Total)"
    yield "# "


def _rows(table: list[NDArray[np.generic]]) -> Iterator[str]:
    texts = [
        [f"{x:.17g}" for x in column.tolist()]
        if column.dtype.kind == "f"
        else [str(int(x)) for x in column.tolist()]
        for column in table
    ]
    yield from map(",".join, zip(*texts, strict=True))
