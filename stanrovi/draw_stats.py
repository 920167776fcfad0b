"""Statistics of draws, computed by ArviZ: ESS, R-hat, k-hat, kernel densities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from stanrovi.arviz_io import SAMPLE_DIMS, import_arviz, is_legacy
from stanrovi.target import Array

if TYPE_CHECKING:
    import xarray as xr

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
        where one is NaN or +inf.
    """
    log_ratios = np.asarray(log_ratios, dtype=np.float64)
    if np.isnan(log_ratios).any() or np.isposinf(log_ratios).any():
        return float("inf")
    usable = log_ratios[np.isfinite(log_ratios)]
    if usable.size < _MIN_RATIOS:
        return float("nan")
    if usable.std() < _CONSTANT:
        return 0.0
    # Where the tail is nearly flat, ArviZ's fit of it overflows to a weight that is rightly 0.
    with np.errstate(over="ignore"):
        return _tail_shape(usable)


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
        NaN for a constant quantity.
    """
    return _per_quantity(import_arviz().ess(_stacked(values), method=kind))


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
        NaN for a constant quantity.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return _per_quantity(import_arviz().rhat(_stacked(values), method=method))


def kde(values: Array) -> tuple[Array, Array]:
    """Kernel density estimate of a scalar, by ArviZ.

    Parameters
    ----------
    values : ndarray
        Draws, any shape, not all equal.

    Returns
    -------
    grid, density : ndarray, shape (512,)
    """
    flat = np.ravel(values)
    if is_legacy():
        grid, density = import_arviz().kde(flat)
    else:
        from arviz_stats.base import array_stats

        grid, density, _ = array_stats.kde(flat)
    return np.asarray(grid), np.asarray(density)


def _tail_shape(log_ratios: Array) -> float:
    if is_legacy():
        return float(import_arviz().psislw(log_ratios)[1])
    from arviz_stats.base import array_stats

    # ArviZ 1.x takes the NEGATIVE of the log ratios (as loo has log likelihoods).
    return float(array_stats.psislw(-log_ratios)[1])


def _stacked(values: Array) -> xr.Dataset:
    import xarray as xr

    return xr.Dataset({"values": ((*SAMPLE_DIMS, "quantity"), values)})


def _per_quantity(result: Any) -> Array:
    return np.atleast_1d(np.asarray(result["values"].values, dtype=np.float64))
