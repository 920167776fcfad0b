"""Whether sizes can be had and fit in memory, told with their numbers before it is tried."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from stanrovi.arguments import giga, memory
from stanrovi.errors import DataError, ModelError, UsageError, shortened
from stanrovi.stan.data import known_size
from stanrovi.stan.program import Declaration, Program

# Bytes that one number takes at least, by block: names alone take most of them.
_BYTES = {
    "transformed data": 8,
    "parameters": 100,
    "transformed parameters": 100,
    "generated quantities": 100,
}
_NUMBER = 8


class HasDraws(Protocol):
    """What draws are had of."""

    name: str
    dim: int
    n_columns: int


def check_sizes(program: Program, data: Mapping[str, Any]) -> None:
    """Refuse a program whose variables are of negative size, or cannot fit in memory.

    Parameters
    ----------
    program : Program
    data : mapping
        JSON values by name, which sizes may name.

    Raises
    ------
    ModelError
        Naming the largest variable and its size.
    DataError
        Naming the first variable of negative size.
    """
    for block, item, sizes in _sized(program, data):
        wrong = [size for size in item.sizes if (sizes[size] or 0) < 0]
        if wrong and block != "generated quantities":  # which can be left out
            raise DataError(
                f"{program.name} declares {shortened(str(item))} in {block}, and {wrong[0]} is "
                f"{sizes[wrong[0]]}; make data and sizes agree"
            )
    needed = sum(_BYTES[block] * count for block, _, count in _variables(program, data))
    if needed > memory():
        raise ModelError(
            f"{_too_large(program, data)} That takes about {giga(needed)} or more, and "
            f"{giga(memory())} of memory are there. Give smaller sizes."
        )


@contextmanager
def loading(source: Program | Path, data: Mapping[str, Any]) -> Iterator[None]:
    """Tell what is large where memory runs out while a program is loaded.

    Raises
    ------
    ModelError
        If it runs out.
    """
    try:
        yield
    except MemoryError as error:
        what = _too_large(source, data) if isinstance(source, Program) else f"{source} is large."
        raise ModelError(
            f"The memory ran out ({error or 'no more is there'}). {what} Give smaller sizes or "
            "more memory."
        ) from error


@contextmanager
def drawing(model: HasDraws, n: int, chains: int = 1) -> Iterator[None]:
    """Refuse draws that cannot fit in memory, and tell their number where it runs out all the same.

    Parameters
    ----------
    model : Model
    n : int
        Draws of each chain.
    chains : int

    Raises
    ------
    UsageError
        If they cannot fit.
    MemoryError
        If memory runs out; with the numbers.
    """
    # Each in two places at once, at the least, beside log densities and weights.
    numbers = chains * n * (2 * model.dim + 2 * model.n_columns + 4)
    of = f" in each of {chains:,} chains" if chains > 1 else ""
    asked = (
        f"{n:,} draws{of} of {model.name}, with {model.dim:,} dimensions and {model.n_columns:,} "
        "numbers to a draw,"
    )
    if numbers * _NUMBER > memory():
        raise UsageError(
            f"{asked} take {giga(numbers * _NUMBER)} or more, and {giga(memory())} of memory "
            "are there. Ask for fewer draws."
        )
    try:
        yield
    except MemoryError as error:
        cause = str(error) or "the memory is full"
        raise MemoryError(f"{asked} were asked for: {cause}") from error


def _too_large(program: Program, data: Mapping[str, Any]) -> str:
    found = max(_variables(program, data), key=lambda item: item[2], default=None)
    if found is None:
        return f"{program.name} is large."
    block, item, count = found
    given = [f"{size} = {data[size]:,}" for size in dict.fromkeys(item.sizes) if size in data]
    known = f" ({', '.join(given)})" if given else ""
    declared = shortened(str(item))
    return f"{program.name} declares {declared}{known} in {block}: {count:,} numbers."


def _variables(program: Program, data: Mapping[str, Any]) -> Iterator[tuple[str, Declaration, int]]:
    """Variables of known sizes, with their blocks and how many numbers each has."""
    for block, item, sizes in _sized(program, data):
        if None not in sizes.values():
            yield block, item, math.prod(max(sizes[size] or 0, 0) for size in item.sizes)


def _sized(
    program: Program, data: Mapping[str, Any]
) -> Iterator[tuple[str, Declaration, dict[str, int | None]]]:
    """Variables with their blocks, and the values of their sizes as far as they are known."""
    for block in _BYTES:
        for item in program.declarations(block):
            yield block, item, {size: known_size(size, data) for size in item.sizes}
