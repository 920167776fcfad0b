"""Statistics of draws as ArviZ computes them: ESS, R-hat, k-hat."""

from __future__ import annotations

from typing import Literal

import numpy as np

from stanrovi.diagnostics import chains
from stanrovi.io.generations import import_arviz, is_legacy
from stanrovi.target import Array

RHAT_LIMIT = 1.01
# The tail is at most a fifth of the ratios, and ArviZ needs five of them.
_MIN_RATIOS = 25
# Nats: nearly constant ratios have a tail, too, but no meaning.
_CONSTANT = 1e-2


def psis_khat(log_ratios: Array) -> float:
    """Pareto k-hat of importance ratios.

    Parameters
    ----------
    log_ratios : ndarray, shape (n,)
        Log importance ratios log p - log q, up to a constant; -inf where the
        target rejects the draw.

    Returns
    -------
    float
        Pareto shape of the largest ratios. NaN for fewer than 25 usable ratios,
        0 where they are constant (sd of their logarithms below 0.01), infinite
        where one is NaN or +inf, or where the tail is too steep for any shape.
    """
    return psis_weights(log_ratios)[1]


def psis_weights(log_ratios: Array) -> tuple[Array, float]:
    """Pareto-smoothed importance weights, with the shape of their tail.

    Parameters
    ----------
    log_ratios : ndarray, shape (n,)
        As `psis_khat` takes them.

    Returns
    -------
    weights : ndarray, shape (n,)
        Summing to one, zero where the target rejects the draw; all zero where k-hat is not finite.
    khat : float
        See `psis_khat`.
    """
    log_ratios = np.asarray(log_ratios, dtype=np.float64)
    weights = np.zeros(len(log_ratios))
    if np.isnan(log_ratios).any() or np.isposinf(log_ratios).any():
        return weights, float("inf")
    usable = np.isfinite(log_ratios)
    kept = log_ratios[usable]
    if kept.size < _MIN_RATIOS:
        return weights, float("nan")
    smoothed, khat = _psis(kept) if kept.std() >= _CONSTANT else (kept, 0.0)
    if np.isfinite(khat):
        weights[usable] = np.exp(smoothed - smoothed.max())
        weights /= weights.sum()
    return weights, khat


def tail_size(n: int) -> int:
    """How many of n ratios form the tail that k-hat is fitted to."""
    return int(np.ceil(min(0.2 * n, 3 * np.sqrt(n))))


def pareto_tail(log_ratios: Array) -> Array | None:
    """Evaluate the generalised Pareto tail whose shape is k-hat, as ArviZ fits it.

    Parameters
    ----------
    log_ratios : ndarray, shape (n,)
        Finite log importance ratios, largest first.

    Returns
    -------
    ndarray, shape (m,), or None
        Log ratios that the fitted tail expects of the m largest, on the scale of
        ``log_ratios``. None where nothing can be fitted (see `psis_khat`).
    """
    if log_ratios.size < _MIN_RATIOS or log_ratios.std() < _CONSTANT:
        return None
    smoothed, shape = _psis(log_ratios)
    if not np.isfinite(shape):
        return None
    count = tail_size(log_ratios.size)
    # ArviZ keeps the ratios below the tail, up to their normalisation.
    smoothed = smoothed + (log_ratios[-1] - smoothed[-1])
    # It caps the tail at the largest ratio, so the scale is read in the middle of the tail,
    # relative to the cutoff.
    exceedance = np.log(_pareto_quantiles(shape, count))
    middle = count // 2
    above = smoothed[middle] - log_ratios[count]
    if not 0 < above < np.inf:
        return None
    # In logarithms: ratios may be hundreds of nats apart.
    log_scale = above + np.log(-np.expm1(-above)) - exceedance[middle]
    return np.asarray(log_ratios[count] + np.logaddexp(0, log_scale + exceedance))


def ess(values: Array, kind: Literal["bulk", "tail"] = "bulk") -> Array:
    """Effective sample size of each quantity.

    Parameters
    ----------
    values : ndarray, shape (chain, draw, k)
        Draws of k scalar quantities.
    kind : {"bulk", "tail"}
        Which of the rank-normalised estimates.

    Returns
    -------
    ndarray, shape (k,)
        The number of draws for a constant quantity; NaN for fewer than four draws a chain,
        and where one is NaN.
    """
    return chains.ess_bulk(values) if kind == "bulk" else chains.ess_tail(values)


def rhat(values: Array, method: Literal["rank", "split"] = "rank") -> Array:
    """Potential scale reduction of each quantity.

    Parameters
    ----------
    values : ndarray, shape (chain, draw, k)
        Draws of k scalar quantities, at least two chains.
    method : {"rank", "split"}
        Rank-normalised (and folded), or plain split R-hat.

    Returns
    -------
    ndarray, shape (k,)
        NaN for a constant quantity, for fewer than four draws a chain, and where one is NaN.
    """
    return chains.rhat_rank(values) if method == "rank" else chains.rhat_split(values)


def effective_sizes(values: Array) -> Array:
    """ESS that governs a whole distribution: the worse of bulk and tail.

    Parameters
    ----------
    values : ndarray, shape (chain, draw, k)
        Draws of k quantities.

    Returns
    -------
    ndarray, shape (k,)
        At most the number of draws: antithetic chains have precise means, not
        precise quantiles.
    """
    worse = np.fmin(ess(values, "bulk"), ess(values, "tail"))
    return np.minimum(np.nan_to_num(worse, nan=1.0), values.shape[0] * values.shape[1])


def mixing(values: Array) -> tuple[Array, Array, Array]:
    """Rank R-hat, bulk and tail ESS of each quantity.

    Parameters
    ----------
    values : ndarray, shape (chain, draw, k)
        Draws of k quantities.

    Returns
    -------
    rhat, bulk, tail : ndarray, shape (k,)
        R-hat is NaN for a single chain.
    """
    apart = rhat(values) if len(values) > 1 else np.full(values.shape[-1], np.nan)
    return apart, ess(values, "bulk"), ess(values, "tail")


def _psis(log_ratios: Array) -> tuple[Array, float]:
    """Smoothed log ratios (up to a constant) and the Pareto shape of their tail."""
    # Where the tail is nearly flat, ArviZ's fit of it overflows to a weight that is rightly 0.
    with np.errstate(over="ignore"):
        if is_legacy():
            smoothed, shape = import_arviz().psislw(log_ratios)
        else:
            from arviz_stats.base import array_stats

            # ArviZ 1.x takes the NEGATIVE of the log ratios (as loo has log likelihoods).
            smoothed, shape = array_stats.psislw(-log_ratios)
    # A tail so steep that its fit overflows has no shape in ArviZ 1.x, infinity in 0.x.
    return np.asarray(smoothed), float("inf") if np.isnan(shape) else float(shape)


def _pareto_quantiles(shape: float, count: int) -> Array:
    """Quantiles of the unit generalised Pareto distribution at ranks 1 to count, largest first."""
    log_share = np.log((np.arange(count) + 0.5) / count)
    return np.asarray(-log_share if shape == 0 else np.expm1(-shape * log_share) / shape)
