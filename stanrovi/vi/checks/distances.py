"""W1 between two weightings of the same points: what every check of a marginal comes to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stanrovi.target import Array

_ROOT = np.sqrt(2 / np.pi)  # mean of |N(0, 1)|
_TAIL = 0.01  # share of the points whose decay tells whether a variance exists
_LOW, _HIGH = 0.1587, 0.8413  # levels one standard deviation of a normal from its median
_CUT = 0.005  # tail that is left out where there is no variance, and so no W1 of it
_LEAST = 1e-3
_BLOCK = 2**14  # numbers at once, so few that they stay in the processor's cache


def weighted_w1(values: Array, first: Array, second: Array) -> tuple[Array, Array]:
    """W1 between points under one and under other weights, in sds of the first.

    Parameters
    ----------
    values : ndarray, shape (n, k)
        Points of k quantities.
    first, second : ndarray, shape (n,)
        Weights, each summing to one.

    Returns
    -------
    w1, noise : ndarray, shape (k,)
        Distance, and what it is on average where the two weightings agree but for chance (delta
        method). Where tails decay as if there were no variance: of the central 99%, in robust
        standard deviations.
    """
    columns = max(1, _BLOCK // len(values))
    parts = [
        _block(values[:, at : at + columns], first, second)
        for at in range(0, values.shape[1], columns)
    ]
    w1, noise = (np.concatenate(part) for part in zip(*parts, strict=True))
    return w1, noise


def without_noise(error: Array, noise: Array) -> Array:
    """Take the noise out of errors (k,) of any size, in quadrature; none gets below 0."""
    share = np.divide(
        np.minimum(noise, error), error,
        out=np.zeros_like(error), where=np.isfinite(error) & (error > 0),
    )  # fmt: skip
    return error * np.sqrt(1 - share**2)


def _block(values: Array, first: Array, second: Array) -> tuple[Array, Array]:
    # Quantities are rows here: what runs over points runs over memory.
    rows = np.ascontiguousarray(values.T)
    order = np.argsort(rows, axis=1)
    ranked = np.take_along_axis(rows, order, axis=1)
    a, b = first[order], second[order]
    scale, heavy = spread(ranked.T, a.T)
    # Weights that rest on one point have no spread.
    scale = np.maximum(scale, _LEAST * spread(ranked.T, b.T)[0])
    gaps = np.diff(ranked, axis=1)
    f, p = _below(a), _below(b)
    above_f, above_p = _above(a), _above(b)  # not one less f: far out that would be rounding
    difference = np.where(f < 0.5, f - p, above_p - above_f)
    if heavy.any():
        some = heavy[:, None]
        central = np.clip(f, _CUT, 1 - _CUT) - np.clip(p, _CUT, 1 - _CUT)
        difference = np.where(some, central, difference)
        gaps[some & (np.maximum(f, p) < _CUT)] = 0.0
        gaps[some & (np.maximum(above_f, above_p) < _CUT)] = 0.0
    # Variance of f - p at each gap: the sum over points of (a (below - f) - b (below - p))^2.
    aa, ab, bb = a * a, a * b, b * b
    variance = _below(aa) * above_f**2 - 2 * _below(ab) * above_f * above_p
    variance += _below(bb) * above_p**2 + _above(aa) * f**2
    variance += _above(bb) * p**2 - 2 * _above(ab) * f * p
    noise = _ROOT * (np.sqrt(np.maximum(variance, 0.0)) * gaps).sum(axis=1)
    return (np.abs(difference) * gaps).sum(axis=1) / scale, noise / scale


def _below(weights: Array) -> Array:
    return np.asarray(np.cumsum(weights, axis=1)[:, :-1])


def _above(weights: Array) -> Array:
    return np.asarray(np.cumsum(weights[:, ::-1], axis=1)[:, ::-1][:, 1:])


def spread(ranked: Array, weights: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Give standard deviations of sorted points, robust ones where none seems to exist.

    Hill's estimate of the tail index, from the hundredth of the mass that is furthest from the
    median, says where.

    Parameters
    ----------
    ranked, weights : ndarray, shape (n, k)
        Points, and weights whose columns sum to one.

    Returns
    -------
    scale : ndarray, shape (k,)
    heavy : ndarray of bool, shape (k,)
        Where it is robust: half the central 68%.
    """
    mean = (weights * ranked).sum(axis=0)
    scale = np.sqrt((weights * (ranked - mean) ** 2).sum(axis=0))
    cumulated = np.cumsum(weights, axis=0)
    low, middle, high = (_quantiles(level, cumulated, ranked) for level in (_LOW, 0.5, _HIGH))
    robust = (high - low) / 2
    heavy: NDArray[np.bool_] = (robust > 0) & (robust < scale)
    if heavy.any():
        heavy[heavy] = _are_heavy(ranked[:, heavy], middle[heavy], weights[:, heavy])
    return np.maximum(np.where(heavy, robust, scale), 1e-300), heavy


def _quantiles(level: float, cumulated: Array, ranked: Array) -> Array:
    """Interpolate sorted points (n, k) at a level of their cumulated weights (n, k)."""
    last = len(ranked) - 1
    below = (cumulated <= level).sum(axis=0) - 1  # the last point up to the level, -1 for none
    at, columns = np.clip(below, 0, max(last - 1, 0)), np.arange(ranked.shape[1])
    after = np.minimum(at + 1, last)
    here, there = ranked[at, columns], ranked[after, columns]
    start, end = cumulated[at, columns], cumulated[after, columns]
    with np.errstate(invalid="ignore", divide="ignore"):
        between = here + (there - here) / (end - start) * (level - start)
    return np.where(below < 0, ranked[0], np.where(below >= last, ranked[-1], between))


def _are_heavy(ranked: Array, middle: Array, weights: Array) -> NDArray[np.bool_]:
    """Whether tails of sorted, weighted points (n, k) around middles (k,) have no second moment."""
    # The tails' mass is at the two ends of what is sorted.
    low, high = (
        int((np.cumsum(some, axis=0) < _TAIL).sum(axis=0).max()) + 1
        for some in (weights, weights[::-1])
    )
    if low + high < len(ranked):
        ranked = np.concatenate([ranked[:low], ranked[-high:]])
        weights = np.concatenate([weights[:low], weights[-high:]])
    distance = np.abs(ranked - middle)
    order = np.argsort(-distance, axis=0)
    distance = np.take_along_axis(distance, order, axis=0)
    weights = np.take_along_axis(weights, order, axis=0)
    in_tail = np.cumsum(weights, axis=0) < _TAIL
    count = in_tail.sum(axis=0)
    first = np.minimum(count, len(distance) - 1)
    nearest = np.take_along_axis(distance, first[None], axis=0)
    weights = np.where(in_tail, weights, 0.0)
    mass = weights.sum(axis=0)
    told = (count >= 10) & (mass > 0)  # else a single point is all of the tail
    with np.errstate(invalid="ignore", divide="ignore"):
        decay = (weights * np.log(np.where(in_tail, distance / nearest, 1.0))).sum(axis=0) / mass
    return np.asarray(told & (decay > 0.5))
