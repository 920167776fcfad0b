"""Statistics of draws as ArviZ computes them: ESS, R-hat, k-hat; and LOO, by ArviZ itself."""

from __future__ import annotations

import logging
import warnings
from typing import Any, Literal

import numpy as np
from scipy.special import logsumexp

from stanrovi.diagnostics import chains
from stanrovi.diagnostics.pareto import fit_tail
from stanrovi.io.generations import import_arviz
from stanrovi.target import Array

_log = logging.getLogger(__name__)

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


def psis_loo(
    data: Any, var_name: str, log_p: Array | None = None, log_q: Array | None = None
) -> Any:
    """Cross-validate by leaving one observation out, with Pareto-smoothed importance weights.

    Parameters
    ----------
    data : arviz.InferenceData or xarray.DataTree
        With a group ``log_likelihood``; of the draws of a sampler, or of an approximation.
    var_name : str
        The pointwise log likelihood in that group.
    log_p, log_q : ndarray, shape (draws,), optional
        Log densities at the draws, all chains in one, of the posterior, up to a constant, and of
        the approximation that they were drawn from. The weights then correct for it, too
        (Magnusson et al. 2019, Bayesian leave-one-out cross-validation for large data).

    Returns
    -------
    arviz.ELPDData
        As the installed ArviZ gives it, with pointwise values.
    """
    az = import_arviz()
    with warnings.catch_warnings():
        # Told below, and by what is returned, when printed.
        warnings.filterwarnings("ignore", "Estimated shape parameter of Pareto", UserWarning)
        if log_p is None or log_q is None:
            found = az.loo(data, var_name=var_name, pointwise=True)
        elif hasattr(az, "loo_approximate_posterior"):
            found = az.loo_approximate_posterior(
                data, log_p, log_q, var_name=var_name, pointwise=True
            )
        else:
            found = _loo_by_ratios(az, data["log_likelihood"][var_name], log_p - log_q)
    if bad := int((found.pareto_k > found.good_k).sum()):
        _log.warning(
            "LOO: Pareto k-hat is above %.2f at %d of %d observations, whose parts are not to be "
            "relied on. Either the draws are not near enough to the posterior, or the model is "
            "surprised by these observations", found.good_k, bad, found.n_data_points,
        )  # fmt: skip
    return found


def _loo_by_ratios(az: Any, log_likelihood: Any, log_ratios: Array) -> Any:
    """Cross-validate with given log ratios (draws,), where ArviZ has no function for it."""
    each = log_likelihood.stack(__sample__=("chain", "draw"))
    n_draws = each.sizes["__sample__"]
    log_weights, pareto_k = az.psislw(log_ratios - each)
    elpd = pareto_k.copy(data=_log_sum(log_weights.transpose(*each.dims) + each)).rename("loo_i")
    whole = _log_sum(each) - np.log(n_draws)
    good_k = min(1 - 1 / np.log10(n_draws), 0.7)
    parts = {
        "elpd_loo": float(elpd.sum()),
        "se": float(np.sqrt(elpd.size * elpd.values.var())),
        "p_loo": float((whole - elpd.values).sum()),
        "n_samples": n_draws,
        "n_data_points": elpd.size,
        "warning": bool((pareto_k > good_k).any()),
        "loo_i": elpd,
        "pareto_k": pareto_k,
        "scale": "log",
        "good_k": good_k,
    }
    return az.ELPDData(data=list(parts.values()), index=list(parts))


def _log_sum(values: Any) -> Array:
    return np.asarray(logsumexp(values.values, axis=-1))
