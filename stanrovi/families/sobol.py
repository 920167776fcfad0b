"""Scrambled Sobol points in NumPy: those of `scipy.stats.qmc.Sobol`, sooner.

Importing `scipy.stats` takes longer than a small fit, and its scramble longer than its points.
The direction numbers are those of Joe and Kuo (2008, doi:10.1137/070709359), from the file that
SciPy ships. A linear matrix scramble and a digital shift (Matousek 1998,
doi:10.1006/jcom.1998.0489) make every point uniform and keep a set of points as even as it was.
"""

from __future__ import annotations

from functools import cache, lru_cache
from pathlib import Path

import numpy as np
import scipy
from numpy.typing import NDArray

MAX_DIM = 21201  # as far as there are direction numbers
_NUMBERS = Path(scipy.__path__[0]) / "stats" / "_sobol_direction_numbers.npz"
_BITS = 30  # binary digits of a coordinate
MAX_POINTS = 2**_BITS
_VALUE = np.uint32(1) << np.arange(_BITS, dtype=np.uint32)[::-1]  # of each digit, highest first
# What each entry below the diagonal of a scramble is worth in the number that its column is.
_BELOW = np.tril(np.broadcast_to(_VALUE[:, None], (_BITS, _BITS)), -1)

Words = NDArray[np.uint32]


def scrambled_sobol(exponent: int, dim: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw the first 2^exponent Sobol points, scrambled anew.

    They are those of ``qmc.Sobol(dim, rng=rng).random_base2(exponent)``, bit by bit.

    Parameters
    ----------
    exponent : int
        At most 30.
    dim : int
        At most `MAX_DIM`.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray, shape (2^exponent, dim)
        In [0, 1).
    """
    try:
        digits = _direction_digits(dim, exponent)
    except (OSError, KeyError):  # a SciPy that keeps its numbers elsewhere
        from scipy.stats import qmc

        return np.asarray(qmc.Sobol(dim, rng=rng).random_base2(exponent))
    child = rng.spawn(1)[0]
    shift = child.integers(2, size=(dim, _BITS), dtype=np.uint32) @ _VALUE[::-1]
    scramble = child.integers(2, size=(dim, _BITS, _BITS), dtype=np.uint32)[..., :exponent]
    columns = np.einsum("dpq,pq->qd", scramble, _BELOW[:, :exponent]) | _VALUE[:exponent, None]
    points = np.empty((1 << exponent, dim), dtype=np.uint32)
    points[0] = shift
    for j in range(exponent):
        # The scramble times the direction number, whose digits after the j-th are zero.
        direction = np.bitwise_xor.reduce(columns[: j + 1] * digits[j, : j + 1], axis=0)
        # In the order of the Gray code, points are those before them, mirrored and moved.
        half = 1 << j
        np.bitwise_xor(points[:half][::-1], direction, out=points[half : 2 * half])
    return np.asarray(points * 2.0**-_BITS)


@lru_cache(maxsize=8)
def _direction_digits(dim: int, count: int) -> Words:
    """Digits of the first direction numbers, shape (count, count, dim): number, digit, dim.

    By the recurrence of Bratley and Fox (1988, doi:10.1145/42288.214372), section 2.
    """
    polynomials, initial = _direction_numbers()
    polynomial = polynomials[:dim]
    degree = np.frexp(polynomial)[1] - 1  # never falls from one dimension to the next
    numbers = np.zeros((count, dim), dtype=np.uint32)
    known = initial[:dim, :count].T
    numbers[: len(known)] = known
    numbers[:, :1] = 1
    for j in range(count):
        for m in range(1, min(j, int(degree.max(initial=0))) + 1):
            of = slice(max(1, np.searchsorted(degree, m)), np.searchsorted(degree, m, "right"))
            number = numbers[j - m, of].copy()
            for k in range(1, m + 1):
                number ^= (((polynomial[of] >> (m - k)) & 1) * numbers[j - k, of]) << k
            numbers[j, of] = number
    place = np.maximum(np.arange(count)[:, None] - np.arange(count), 0).astype(np.uint32)
    return np.asarray((numbers[:, None] >> place[..., None]) & 1)


@cache
def _direction_numbers() -> tuple[Words, Words]:
    """Primitive polynomials as bits (dim,), and the first direction numbers (dim, 18)."""
    with np.load(_NUMBERS) as found:
        return found["poly"].astype(np.uint32), found["vinit"].astype(np.uint32)
