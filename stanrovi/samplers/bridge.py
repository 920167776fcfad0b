"""Ratios of normalising constants, from draws of both densities (Meng and Wong 1996)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, log_expit

from stanrovi.target import Array

_ROUNDS = 500
_PRECISION = 1e-10


@dataclass(frozen=True)
class LogRatio:
    """Logarithm of a ratio of normalising constants.

    Attributes
    ----------
    value, se : float
        Nats; the standard error is of Monte Carlo.
    """

    value: float
    se: float


@dataclass(frozen=True)
class Bridge:
    """Optimal bridge between two densities.

    Attributes
    ----------
    value : float
        ``log Z_above - log Z_below``.
    below, above : ndarray, shape (chain, draw)
        What each draw of either density contributes to the error of the value, to first order.
    """

    value: float
    below: Array
    above: Array

    @property
    def ratio(self) -> LogRatio:
        """The value with its standard error, chains and the two densities independent."""
        se = np.hypot(mean_error(self.below), mean_error(self.above))
        return LogRatio(self.value, float(se))


def bridge(below: Array, above: Array) -> Bridge:
    """Estimate the ratio of the normalising constants of two densities.

    Parameters
    ----------
    below, above : ndarray, shape (chain, draw)
        Log of the density above over the one below, at draws of each; -inf where the
        density above rejects a draw of the one below.

    Returns
    -------
    Bridge
    """
    balance = np.log(above.size / below.size)
    at = float(np.median(above))
    for _ in range(_ROUNDS):
        up = _log_mean(log_expit(below - at + balance))
        down = _log_mean(log_expit(at - balance - above))
        # At the fixed point both means agree, up to the balance: Bennett's acceptance ratio.
        change = up - down - balance
        if not np.isfinite(change):
            return Bridge(float("-inf"), np.full_like(below, np.nan), np.full_like(above, np.nan))
        at += change
        if abs(change) < _PRECISION * max(1.0, abs(at)):
            break
    return Bridge(
        at, _relative(expit(below - at + balance)), -_relative(expit(at - balance - above))
    )


def _log_mean(log_values: Array) -> float:
    return float(np.logaddexp.reduce(log_values, axis=None) - np.log(log_values.size))


def _relative(values: Array) -> Array:
    mean = values.mean()
    return np.asarray(values / mean - 1) if mean > 0 else np.full_like(values, np.nan)


def mean_error(values: Array) -> float:
    """Monte Carlo standard error of the mean of chains (chain, draw), by batch means."""
    chains, draws = values.shape
    batch = max(1, int(draws ** (2 / 3)))
    count = draws // batch
    means = values[:, : count * batch].reshape(chains * count, batch).mean(axis=1)
    if len(means) < 2 or np.isnan(means).any():
        return float("inf")
    return float(means.std(ddof=1) / np.sqrt(len(means)))
