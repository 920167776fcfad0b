"""Kernel density estimates as ArviZ 1.x makes them, without the time that it takes to load.

The bandwidth is the mean of Silverman's rule and of the improved Sheather-Jones rule of Botev,
Grotowski and Kroese (2010), doi:10.1214/10-AOS799. One bandwidth for several modes would smear
the narrow ones, so modes that lie apart are told apart first, and each has its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

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
_VALLEY = 0.1  # of the lower peak beside it, up to which two modes lie apart
_LEAST_PEAK = 12.0  # draws within the reach of a kernel; the peaks of fewer are chance
_LEAST_MODE = 25  # draws
_CROWD = 12  # draws within a bandwidth of the outermost; beyond a tail there are a few


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
    return _kde(_Binned.of(values))


def kde_by_mode(values: Array) -> tuple[Array, Array]:
    """Estimate the density of a scalar, with a bandwidth for each mode that lies apart.

    Parameters
    ----------
    values : ndarray
        Draws, any shape, finite and not all equal.

    Returns
    -------
    grid, density : ndarray, shape (m,)
        From the least to the largest of the draws and, where these do not crowd at a bound, on to
        where density has vanished. The grid is finer where a mode is narrow.
    """
    binned = _Binned.of(values)
    at = np.digitize(binned.draws, _cuts(binned))
    modes = [_Binned.of(binned.draws[at == i]) for i in range(at.max() + 1)] if at.any() else []
    if not modes or not all(mode.width for mode in modes):
        return _kde(binned, _at_bounds(binned))
    first, last = (_at_bounds(mode)[i] for mode, i in ((modes[0], 0), (modes[-1], 1)))
    ends = [(first and mode is modes[0], last and mode is modes[-1]) for mode in modes]
    parts = [_kde(mode, end) for mode, end in zip(modes, ends, strict=True)]
    grid = np.sort(np.concatenate([part for part, _ in parts]))
    density = np.zeros_like(grid)
    for mode, (own, height) in zip(modes, parts, strict=True):
        share = mode.draws.size / binned.draws.size
        density += share * np.interp(grid, own, height, left=0.0, right=0.0)
    return grid, density


def valleys(values: Array) -> Array:
    """Find where the density of a scalar all but vanishes between two modes.

    Parameters
    ----------
    values : ndarray
        Draws, any shape, finite and not all equal.

    Returns
    -------
    ndarray, shape (m - 1,)
        Points between m modes, ascending; empty for one mode, or where modes overlap.
    """
    return _cuts(_Binned.of(values))


class _Binned(NamedTuple):
    """Draws of a scalar, counted in bins, and the bandwidth (bins) that resolves their modes."""

    draws: Array
    counts: Array
    edges: Array
    width: float
    fine: float

    @classmethod
    def of(cls, values: Array) -> _Binned:
        flat = np.ravel(values)
        counts, edges = np.histogram(flat, _GRID, (flat.min(), flat.max()))
        width = float(edges[1] - edges[0]) if np.ptp(flat) else 0.0
        return cls(
            flat, counts, edges, width, _sheather_jones(flat, counts) / width if width else 0
        )


def _at_bounds(binned: _Binned) -> tuple[bool, bool]:
    """Whether draws crowd at the least and at the largest of them."""
    near = math.ceil(_bandwidth(binned))
    counts = binned.counts
    return counts[:near].sum() >= _CROWD, counts[-near:].sum() >= _CROWD


def _bandwidth(binned: _Binned) -> float:
    return (_silverman(binned.draws) / binned.width + binned.fine) / 2


def _kde(binned: _Binned, reflected: tuple[bool, bool] = (True, True)) -> tuple[Array, Array]:
    """Density from the least to the largest of the draws, and on where it is not reflected."""
    bandwidth = _bandwidth(binned)
    before, after = (0 if at_end else math.ceil(4 * bandwidth) for at_end in reflected)
    counts = np.pad(binned.counts, (before, after)) / binned.width / binned.draws.size
    density = _smoothed(counts, bandwidth)
    grid = (binned.edges[1:] + binned.edges[:-1]) / 2
    steps = np.arange(1, max(before, after) + 1) * binned.width
    grid = np.concatenate([grid[0] - steps[:before][::-1], grid, grid[-1] + steps[:after]])
    return grid, density / (density.sum() * binned.width)


def _cuts(binned: _Binned) -> Array:
    counts, edges = binned.counts, binned.edges
    density = _smoothed(counts, binned.fine) / (binned.fine * math.sqrt(2 * math.pi))
    least = _LEAST_PEAK / (binned.fine * math.sqrt(4 * math.pi))
    inner = density[1:-1]
    cuts = np.flatnonzero((inner <= density[:-2]) & (inner < density[2:])) + 1
    while len(cuts):
        bounds = np.concatenate([[0], cuts])
        peaks, drawn = np.maximum.reduceat(density, bounds), np.add.reduceat(counts, bounds)
        lower, fewer = (np.minimum(x[1:], x[:-1]) for x in (peaks, drawn))
        height = np.where((lower < least) | (fewer < _LEAST_MODE), np.inf, density[cuts] / lower)
        if height.max() <= _VALLEY:
            break
        # Of peaks that are chance, the lowest go first: what is left of them may be a mode.
        chance = np.where(np.isinf(height), lower, np.inf)
        worst = chance.argmin() if np.isfinite(chance).any() else height.argmax()
        cuts = np.delete(cuts, worst)
    return np.asarray((edges[cuts] + edges[cuts + 1]) / 2)


@np.errstate(under="ignore")
def _smoothed(counts: Array, bandwidth: float) -> Array:
    """Sum of kernels (height one) at every bin, reflected at both ends."""
    margin = _GRID // 5
    padded = np.pad(counts, margin, mode="symmetric")
    reach = math.ceil(4 * bandwidth)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / bandwidth) ** 2)
    return np.convolve(padded, kernel)[reach + margin :][: len(counts)]


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
        if not roughness:  # as many draws in every bin
            return math.inf
        roughness = _roughness(s, (factor / (n * roughness)) ** (2 / (3 + 2 * s)), power)
    return float((2 * n * math.sqrt(math.pi) * roughness) ** -0.4) if roughness else math.inf


@np.errstate(under="ignore")
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
