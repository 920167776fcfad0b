"""Reference draws in the layout of posteriordb: chains of scalars, gathered into variables."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from stanrovi.draws import Draws
from stanrovi.errors import DrawsError, shortened
from stanrovi.io.zipped_json import read_json
from stanrovi.target import Array

_SCALAR = re.compile(r"(?P<name>\w[\w.:-]*)(?:\[(?P<index>\d+(?:,\d+)*)\])?")


def read_reference(source: Path) -> Draws:
    """Read a file of reference draws.

    Parameters
    ----------
    source : Path
        ``NAME.json.zip`` or ``NAME.json``: a list of chains, each of which holds the draws of
        every scalar; or, as before version 0.2, an object whose ``draws`` holds numbered chains.

    Returns
    -------
    Draws
        Method ``"reference"``; chains as stored, constrained space. All
        variables count as parameters, as posteriordb does not tell them apart.

    Raises
    ------
    DrawsError
        The file cannot be read, or is of another format.
    """
    scalars = _scalars(_chains(read_json(source, DrawsError), source), source)
    posterior = _unflatten(scalars, str(source))
    bad = [key for key, values in posterior.items() if not np.isfinite(values).all()]
    if not all(values.size for values in posterior.values()):
        raise DrawsError(f"{source} holds no draws.")
    if bad or not posterior:
        raise DrawsError(f"{source} has no usable draws of {', '.join(bad) or 'any variable'}.")
    return Draws(
        method="reference",
        posterior=posterior,
        parameters=tuple(posterior),
        attrs={"engine": "posteriordb", "model": source.name.split(".json")[0]},
    )


def _chains(content: Any, source: Path) -> list[dict[str, Any]]:
    if isinstance(content, dict) and isinstance(content.get("draws"), dict):
        content = list(content["draws"].values())
    if isinstance(content, list) and content and all(isinstance(c, dict) for c in content):
        return content
    raise DrawsError(
        f"{source} is no posteriordb reference (a list of chains is expected); "
        "give a file of reference_posteriors/draws/draws."
    )


def _scalars(chains: list[dict[str, Any]], source: Path) -> dict[str, Array]:
    """Draws of each scalar, shape (chain, draw)."""
    try:
        return {
            key: np.array([chain[key] for chain in chains], dtype=np.float64) for key in chains[0]
        }
    except OverflowError:
        raise DrawsError(
            f"{source} holds an integer beyond floating-point numbers; fetch it again."
        ) from None
    except (KeyError, ValueError, TypeError) as error:
        raise DrawsError(
            f"The chains of {source} differ in variables or length ({error}); fetch it again."
        ) from error


def _unflatten(scalars: dict[str, Array], source: str) -> dict[str, Array]:
    """Gather ``theta[1]``, ``theta[2]``, ... into arrays of shape (chain, draw, *shape)."""
    entries: dict[str, dict[tuple[int, ...], Array]] = {}
    for key, values in scalars.items():
        match = _SCALAR.fullmatch(key)
        if match is None or values.ndim != 2:
            raise DrawsError(
                f"{source}: {shortened(repr(key), 80)} is no list of draws under a Stan name."
            )
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
