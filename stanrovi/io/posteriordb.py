"""Reference draws in the layout of posteriordb: zipped JSON, read from a local path."""

from __future__ import annotations

import json
import math
import os
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from stanrovi.draws import Draws
from stanrovi.errors import DrawsError
from stanrovi.target import Array

_SCALAR = re.compile(r"(?P<name>[^\[\]]+)(?:\[(?P<index>\d+(?:,\d+)*)\])?")


def read_posteriordb(path: str | os.PathLike[str], name: str | None = None) -> Draws:
    """Read reference draws.

    Parameters
    ----------
    path : path-like
        A ``NAME.json.zip`` or ``NAME.json`` file of reference draws; or, with
        ``name``, a checkout of posteriordb or its folder ``posterior_database``.
    name : str, optional
        Name of the posterior or of its reference draws.

    Returns
    -------
    Draws
        Method ``"reference"``; chains as stored, constrained space. All
        variables count as parameters, as posteriordb does not tell them apart.

    Raises
    ------
    DrawsError
        Nothing there, no reference draws for this posterior, or another format.
    """
    source = Path(path) if name is None else _locate(Path(path), name)
    chains = _read_json(source)
    if not (isinstance(chains, list) and chains and all(isinstance(c, dict) for c in chains)):
        raise DrawsError(
            f"{source} is no posteriordb reference (a list of chains is expected); "
            "give a file of reference_posteriors/draws/draws."
        )
    try:
        scalars = {
            key: np.array([chain[key] for chain in chains], dtype=np.float64) for key in chains[0]
        }
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        raise DrawsError(
            f"The chains of {source} differ in variables or length ({error}); fetch it again."
        ) from error
    posterior = _unflatten(scalars, str(source))
    bad = [key for key, values in posterior.items() if not np.isfinite(values).all()]
    if bad or not posterior:
        raise DrawsError(f"{source} has no usable draws of {', '.join(bad) or 'any variable'}.")
    return Draws(
        method="reference",
        posterior=posterior,
        parameters=tuple(posterior),
        attrs={"engine": "posteriordb", "model": source.name.split(".json")[0]},
    )


def _locate(root: Path, name: str) -> Path:
    base = root / "posterior_database" if (root / "posterior_database").is_dir() else root
    entry = base / "posteriors" / f"{name}.json"
    reference = name
    if entry.is_file():
        reference = _read_json(entry).get("reference_posterior_name") or ""
        if not reference:
            raise DrawsError(f"posteriordb has no reference draws for {name}; run NUTS instead.")
    draws = base / "reference_posteriors" / "draws" / "draws"
    for candidate in (draws / f"{reference}.json.zip", draws / f"{reference}.json"):
        if candidate.is_file():
            return candidate
    raise DrawsError(
        f"There are no reference draws named {reference} under {base}; "
        "check the name and that the path is a posteriordb folder."
    )


def _read_json(source: Path) -> Any:
    try:
        if source.suffix != ".zip":
            return json.loads(source.read_text(encoding="utf-8"))
        with zipfile.ZipFile(source) as archive:
            return json.loads(archive.read(archive.namelist()[0]))
    except (OSError, ValueError, IndexError, RecursionError, zipfile.BadZipFile) as error:
        raise DrawsError(f"{source} cannot be read as (zipped) JSON ({error}).") from error


def _unflatten(scalars: dict[str, Array], source: str) -> dict[str, Array]:
    """Gather ``theta[1]``, ``theta[2]``, ... into arrays of shape (chain, draw, *shape)."""
    entries: dict[str, dict[tuple[int, ...], Array]] = {}
    for key, values in scalars.items():
        match = _SCALAR.fullmatch(key)
        if match is None or values.ndim != 2:
            raise DrawsError(f"{source}: {key!r} is no list of draws under a Stan name.")
        index = tuple(int(i) - 1 for i in (match["index"] or "").split(",") if i)
        entries.setdefault(match["name"], {})[index] = values
    out = {}
    for name, parts in entries.items():
        shape = _complete_shape(list(parts), f"{source}: {name}")
        out[name] = np.empty((*next(iter(parts.values())).shape, *shape))
        for index, values in parts.items():
            where: tuple[Any, ...] = (..., *index)
            out[name][where] = values
    return out


def _complete_shape(indices: list[tuple[int, ...]], what: str) -> tuple[int, ...]:
    """Shape of an array of which each element occurs once."""
    if len({len(index) for index in indices}) > 1:
        raise DrawsError(f"{what} occurs with different numbers of indices.")
    shape = tuple(max(column) + 1 for column in zip(*indices, strict=True))
    if math.prod(shape) != len(indices) or any(i < 0 for index in indices for i in index):
        raise DrawsError(f"{what} lacks some of the elements up to its largest index.")
    return shape
