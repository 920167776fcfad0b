"""Kernel density estimates as ArviZ 1.x makes them, without the time that it takes to load.

The bandwidth is the mean of Silverman's rule and of the improved Sheather-Jones rule of Botev,
Grotowski and Kroese (2010), doi:10.1214/10-AOS799.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from stanrovi.target import Array

_GRID = 512
_LARGEST_TIME = 0.01  # squared bandwidth, as a share of the squared range
_TOLERANCE = 1e-9  # of it, relative
_SQUARES = np.arange(1, _GRID, dtype=np.float64) ** 2
# (equation 29: exponent s, and what stands before 1 / (n f))
_STAGES = tuple(
    (s, (1 + 0.5 ** (s + 0.5)) / 3 * math.prod(range(1, 2 * s, 2)) / math.sqrt(math.pi / 2))
    for s in range(6, 1, -1)
)
_POWERS = {s: _SQUARES**s for s in range(2, 8)}


def kde(values: Array) -> tuple[Array, Array]:
    """Estimate the density of a scalar by a Gaussian kernel.

    Parameters
    ----------
    values : ndarray
        Draws, any shape, finite and not all equal.

    Returns
    -------
    grid, density : ndarray, shape (512,)
        From the least to the largest of the draws, where density is reflected; it sums to one.
    """
    flat = np.ravel(values)
    counts, edges = np.histogram(flat, _GRID, (flat.min(), flat.max()))
    width = edges[1] - edges[0]
    bandwidth = (_silverman(flat) + _sheather_jones(flat, counts)) / 2 / width
    margin = _GRID // 5
    padded = np.pad(counts / width / flat.size, margin, mode="symmetric")
    reach = math.ceil(4 * bandwidth)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / bandwidth) ** 2)
    density = np.convolve(padded, kernel)[reach + margin :][:_GRID]
    return (edges[1:] + edges[:-1]) / 2, density / (density.sum() * width)


def _silverman(flat: Array) -> float:
    upper, lower = np.percentile(flat, [75, 25])
    return float(0.9 * min(flat.std(), (upper - lower) / 1.34) * flat.size**-0.2)


def _sheather_jones(flat: Array, counts: Array) -> float:
    power = _cosine_transform(counts / flat.size)[1:] ** 2

    def excess(time: float) -> float:
        return time - _next_time(time, flat.size, power)

    time = _root(excess, _LARGEST_TIME)
    return _silverman(flat) if time is None else math.sqrt(time) * float(np.ptp(flat))


def _cosine_transform(values: Array) -> Array:
    """Transform by the cosine (DCT-II); scipy.fft takes a tenth of a second to load."""
    reordered = np.concatenate([values[::2], values[::-1][len(values) % 2 :: 2]])
    turn = np.exp(-0.5j * np.pi / len(values) * np.arange(len(values)))
    return np.asarray(2 * (turn * np.fft.fft(reordered)).real)


def _next_time(time: float, n: int, power: Array) -> float:
    """Squared bandwidth that the roughness at another one asks for (equation 30)."""
    roughness = _roughness(7, time, power)
    for s, factor in _STAGES:
        roughness = _roughness(s, (factor / (n * roughness)) ** (2 / (3 + 2 * s)), power)
    return float((2 * n * math.sqrt(math.pi) * roughness) ** -0.4)


def _roughness(s: int, time: float, power: Array) -> float:
    decay = np.exp(_SQUARES * (-(np.pi**2) * time))
    return float(0.5 * np.pi ** (2 * s) * np.einsum("i,i,i->", _POWERS[s], power, decay))


def _root(function: Callable[[float], float], right: float) -> float | None:
    """Find the root between 0 and ``right`` by false position (Illinois); None where it has none.

    The function grows through it.
    """
    left, below, above, last = 0.0, function(0.0), function(right), 0.0
    if not below < 0 < above:
        return None
    middle = right
    for _ in range(100):
        before, middle = middle, (left * above - right * below) / (above - below)
        value = function(middle)
        if abs(middle - before) <= _TOLERANCE * middle or value == 0:
            break
        # An end that stays a second time counts half, else it would stay for ever.
        if value > 0:
            right, above = middle, value
            below /= 2 if last > 0 else 1
        else:
            left, below = middle, value
            above /= 2 if last < 0 else 1
        last = value
    return middle
