"""W1 between two weightings of the same points: what every check of a marginal comes to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stanrovi.target import Array

_ROOT = np.sqrt(2 / np.pi)  # mean of |N(0, 1)|
_TAIL = 0.01  # share of the points whose decay tells whether a variance exists
_CENTRAL = 0.1587, 0.8413  # levels one standard deviation of a normal from its median
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
    heavy = np.zeros(len(scale), dtype=bool)
    cumulated = np.cumsum(weights, axis=0)
    for j in range(len(scale)):
        low, middle, high = np.interp((*_CENTRAL, 0.5), cumulated[:, j], ranked[:, j])[[0, 2, 1]]
        robust = (high - low) / 2
        if 0 < robust < scale[j] and _is_heavy(ranked[:, j] - middle, weights[:, j]):
            scale[j], heavy[j] = robust, True
    return np.maximum(scale, 1e-300), heavy


def _is_heavy(offset: Array, weights: Array) -> bool:
    """Whether the tails of sorted, weighted points around their median have no second moment."""
    # The tails' mass is at the two ends of what is sorted.
    low, high = (int(np.searchsorted(np.cumsum(w), _TAIL)) + 1 for w in (weights, weights[::-1]))
    if low + high < len(offset):
        offset = np.concatenate([offset[:low], offset[-high:]])
        weights = np.concatenate([weights[:low], weights[-high:]])
    distance = np.abs(offset)
    order = np.argsort(-distance)
    count = int(np.searchsorted(np.cumsum(weights[order]), _TAIL))
    if count < 10:
        return False
    tail, weight = distance[order[: count + 1]], weights[order[:count]]
    if not weight.sum() > 0:  # a single point is all of the tail
        return False
    decay = weight @ np.log(tail[:-1] / tail[-1]) / weight.sum()
    return bool(decay > 0.5)
