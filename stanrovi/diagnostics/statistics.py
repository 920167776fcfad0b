"""Statistics of draws as ArviZ computes them: ESS, R-hat, k-hat."""

from __future__ import annotations

from typing import Literal

import numpy as np

from stanrovi.diagnostics import chains
from stanrovi.diagnostics.pareto import fit_tail
from stanrovi.target import Array

RHAT_LIMIT = 1.01
# The tail is at most a fifth of the ratios, and needs five of them.
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
    khat, smoothed = 0.0, kept - kept.max()
    if kept.std() >= _CONSTANT:
        tail = fit_tail(kept)
        khat = tail.shape
        if not np.isfinite(khat):
            return weights, khat
        # No weight exceeds the largest ratio.
        smoothed[tail.rows] = np.minimum(tail.log_expected(), 0.0)
    weights[usable] = np.exp(smoothed - smoothed.max())
    return weights / weights.sum(), khat


def pareto_tail(log_ratios: Array) -> Array | None:
    """Evaluate the generalised Pareto tail whose shape is k-hat.

    Parameters
    ----------
    log_ratios : ndarray, shape (n,)
        Finite log importance ratios.

    Returns
    -------
    ndarray, shape (m,), or None
        Log ratios that the fitted tail expects of the m largest, the largest first, on the
        scale of ``log_ratios``. None where nothing can be fitted (see `psis_khat`).
    """
    if log_ratios.size < _MIN_RATIOS or log_ratios.std() < _CONSTANT:
        return None
    tail = fit_tail(log_ratios)
    return log_ratios.max() + tail.log_expected()[::-1] if np.isfinite(tail.shape) else None


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
