"""Chains as CmdStan writes them, for what reads CmdStan's files: posterior, cmdstanr, cmdstanpy."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from stanrovi.draws import SAMPLER_COLUMNS, Draws
from stanrovi.errors import OutputError
from stanrovi.io.files import output_folder, write_text
from stanrovi.target import Array


def write_stan_csv(
    draws: Draws, folder: str | os.PathLike[str], *, overwrite: bool = False
) -> tuple[Path, ...]:
    """Write draws as CmdStan's CSV files.

    Parameters
    ----------
    draws : Draws
        Chains with the statistics of a Hamiltonian sampler.
    folder : path-like
        New or empty; gets ``MODEL_1.csv`` and so on, one file a chain.
    overwrite : bool
        Whether it may hold files, and those be replaced.

    Returns
    -------
    tuple of Path

    Raises
    ------
    OutputError
        If the draws lack those statistics, a file exists or cannot be written.
    """
    lacking = [name for name, _ in SAMPLER_COLUMNS.values() if name not in draws.sample_stats]
    if lacking:
        raise OutputError(
            f"The draws of {draws.method} lack {', '.join(lacking)}, which CmdStan's files hold; "
            "write NetCDF instead."
        )
    where, name = output_folder(folder, overwrite=overwrite), str(draws.attrs.get("model", "model"))
    columns = _columns(draws)
    head = ",".join([*SAMPLER_COLUMNS, *(label for label, _ in columns)])
    paths = []
    for chain in range(draws.n_chains):
        lines = [*_header(draws, name, chain + 1), head, *_adaptation(draws, chain)]
        lines += _rows(draws, columns, chain)
        lines += _seconds(draws)
        path = where / f"{name}_{chain + 1}.csv"
        paths.append(write_text(path, "\n".join(lines) + "\n", overwrite=overwrite))
    return tuple(paths)


def _header(draws: Draws, name: str, chain: int) -> Iterator[str]:
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
        "num_warmup": int(draws.attrs.get("iter_warmup", 1)),
        "save_warmup": 0,
        "thin": 1,
    }.items():
        yield f"#     {key} = {value}"
    yield "#     adapt"
    yield "#       engaged = 1"
    yield "#     algorithm = hmc (Default)"
    yield "#       hmc"
    yield "#         engine = nuts (Default)"
    yield "#           nuts"
    yield "#             max_depth = 10 (Default)"
    yield "#         metric = unit_e"
    yield f"# id = {chain}"
    yield "# random"
    yield f"#   seed = {draws.attrs.get('seed', 0)}"
    yield f"# written by stanrovi {draws.attrs.get('inference_library_version', '')}".rstrip()


def _adaptation(draws: Draws, chain: int) -> Iterator[str]:
    yield "# Adaptation terminated"
    yield f"# Step size = {float(draws.sample_stats['step_size'][chain, -1]):.6g}"
    yield "# No free parameters for unit metric"


def _seconds(draws: Draws) -> Iterator[str]:
    seconds = draws.number("seconds") / draws.n_chains
    yield "# "
    yield "#  Elapsed Time: 0 seconds (Warm-up)"
    yield f"#                {seconds:.3f} seconds (Sampling)"
    yield f"#                {seconds:.3f} seconds (Total)"
    yield "# "


def _columns(draws: Draws) -> list[tuple[str, Array]]:
    """Every scalar under CmdStan's name, first index fastest, with its values (chain, draw)."""
    columns = []
    for name, values in draws.posterior.items():
        shape = values.shape[2:]
        for flat in range(int(np.prod(shape))):
            index = np.unravel_index(flat, shape, order="F")
            label = ".".join([name, *(str(i + 1) for i in index)])
            columns.append((label, np.moveaxis(values, (0, 1), (-2, -1))[index]))
    return columns


def _rows(draws: Draws, columns: list[tuple[str, Array]], chain: int) -> Iterator[str]:
    kinds = SAMPLER_COLUMNS.values()
    table = [np.asarray(draws.sample_stats[name][chain], dtype=float) for name, _ in kinds]
    whole = [kind is not float for _, kind in kinds] + [False] * len(columns)
    table += [values[chain] for _, values in columns]
    for row in zip(*table, strict=True):
        yield ",".join(
            str(int(v)) if is_whole else f"{v:.17g}" for v, is_whole in zip(row, whole, strict=True)
        )
