"""Effective sample sizes and R-hat of all quantities at once, as ArviZ computes them one by one.

After Vehtari, Gelman, Simpson, Carpenter and Bürkner (2021), doi:10.1214/20-BA1221.
Inside, draws are of shape (k, chain, draw).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import ndtri

from stanrovi.target import Array

_TAILS = (0.05, 0.95)
_LEAST_DRAWS = 4
_RESOLUTION = 1e-15  # range below which values are constant
_BLOCK = 2**20  # numbers that are worked on at once


def ess_bulk(values: Array) -> Array:
    """Effective sample size of the rank-normalised quantities; see `statistics.ess`."""
    return _by_blocks(lambda x: _ess(_normal_scores(_split(x))), values)


def ess_tail(values: Array) -> Array:
    """Worse effective sample size of the 5% and 95% quantiles; see `statistics.ess`."""
    return _by_blocks(lambda x: np.minimum(*(_ess_of_quantile(x, p) for p in _TAILS)), values)


def rhat_rank(values: Array) -> Array:
    """Larger R-hat of the rank-normalised quantities and of the folded ones."""
    return _by_blocks(lambda x: np.fmax(*(_rhat(_normal_scores(y)) for y in _folded(x))), values, 2)


def rhat_split(values: Array) -> Array:
    """R-hat of the quantities themselves, whose chains are split."""
    return _by_blocks(lambda x: _rhat(_split(x)), values, 2)


def _by_blocks(statistic: Callable[[Array], Array], values: Array, least: int = 1) -> Array:
    """Apply a statistic to quantities (chain, draw, k), a block of them at a time.

    NaN for fewer than ``least`` chains or four draws, and where a draw is NaN.
    """
    chains, draws, count = values.shape
    out = np.full(count, np.nan)
    if draws < _LEAST_DRAWS or chains < least:
        return out
    known = np.flatnonzero(~np.isnan(values).any(axis=(0, 1)))
    size = max(1, _BLOCK // (chains * draws))
    for start in range(0, len(known), size):
        part = known[start : start + size]
        block = np.ascontiguousarray(np.moveaxis(values[..., part], -1, 0), dtype=np.float64)
        with np.errstate(all="ignore"):
            out[part] = statistic(block)
    return out


def _split(x: Array) -> Array:
    """Halves of the chains as chains; of an odd number, the draw in the middle is left out."""
    half = x.shape[2] // 2
    return np.concatenate([x[..., :half], x[..., -half:]], axis=1)


def _folded(x: Array) -> tuple[Array, Array]:
    """Split chains, and their distances from the median."""
    split = _split(x)
    return split, np.abs(split - np.median(split, axis=(1, 2), keepdims=True))


def _normal_scores(x: Array) -> Array:
    """Give normal scores (Blom's) of the average ranks among all draws of a quantity."""
    flat = x.reshape(len(x), -1)
    order = np.argsort(flat, axis=1)
    ordered = np.take_along_axis(flat, order, axis=1)
    place = np.broadcast_to(np.arange(flat.shape[1]), flat.shape)
    changes = np.ones((len(flat), flat.shape[1] + 1), dtype=bool)
    changes[:, 1:-1] = ordered[:, 1:] != ordered[:, :-1]
    first = np.maximum.accumulate(np.where(changes[:, :-1], place, 0), axis=1)
    last = np.where(changes[:, 1:], place, flat.shape[1])
    last = np.minimum.accumulate(last[:, ::-1], axis=1)[:, ::-1]
    rank = np.empty(flat.shape)
    np.put_along_axis(rank, order, (first + last) / 2 + 1, axis=1)
    return np.asarray(ndtri((rank - 3 / 8) / (flat.shape[1] + 1 / 4)).reshape(x.shape))


def _rhat(x: Array) -> Array:
    draws = x.shape[2]
    between = draws * x.mean(axis=2).var(axis=1, ddof=1)
    within = x.var(axis=2, ddof=1).mean(axis=1)
    return np.asarray(np.sqrt((between / within + draws - 1) / draws))


def _ess_of_quantile(x: Array, share: float) -> Array:
    below = x <= np.quantile(x, share, axis=(1, 2), keepdims=True)
    return _ess(_split(below.astype(np.float64)))


def _ess(x: Array) -> Array:
    """Effective sample sizes by Geyer's initial monotone sequence."""
    chains, draws = x.shape[1:]
    total = chains * draws
    rho = _autocorrelations(x)
    # Sums of neighbours, the last of which leaves room for one more pair.
    pairs = rho[:, 0::2][:, : draws // 2] + rho[:, 1::2]
    pairs = pairs[:, : max(1, (draws - 1) // 2)]
    positive = pairs > 0
    ends = np.where(positive.all(axis=1), pairs.shape[1] - 1, positive.argmin(axis=1))
    summed = np.minimum.accumulate(pairs, axis=1)
    summed[np.arange(pairs.shape[1]) >= ends[:, None]] = 0
    quantity = np.arange(len(x))
    last = rho[quantity, 2 * ends]
    last[(last < 0) & ~(pairs[quantity, ends] >= 0)] = 0
    size = total / np.maximum(-1 + 2 * summed.sum(axis=1) + last, 1 / np.log10(total))
    size[np.isnan(rho[:, 1])] = np.nan
    constant = np.ptp(x, axis=(1, 2)) < _RESOLUTION
    return np.where(constant, total, size)


def _autocorrelations(x: Array) -> Array:
    """Autocorrelations of each quantity over all its chains, shape (k, draw)."""
    draws = x.shape[2]
    mean = x.mean(axis=2)
    length = 1 << (2 * draws - 1).bit_length()
    spectrum = np.fft.rfft(x - mean[..., None], n=length, axis=2)
    power = (spectrum.real**2 + spectrum.imag**2).mean(axis=1)
    covariance = np.fft.irfft(power, n=length, axis=1)[:, :draws] / draws
    within = covariance[:, :1] * draws / (draws - 1)
    total = covariance[:, :1] + mean.var(axis=1, ddof=1)[:, None]
    rho = 1 - (within - covariance) / total
    rho[:, 0] = 1
    return np.asarray(rho)
