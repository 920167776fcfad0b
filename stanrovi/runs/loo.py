"""Leave-one-out cross-validation of runs whose program computes a pointwise log likelihood."""

from __future__ import annotations

from typing import Any

import numpy as np

from stanrovi.arguments import checked_text, suggestion
from stanrovi.diagnostics.statistics import psis_loo
from stanrovi.draws import Draws
from stanrovi.errors import DrawsError, UsageError
from stanrovi.io.arviz import to_arviz
from stanrovi.io.groups import log_likelihoods
from stanrovi.runs.completing import completed
from stanrovi.stan.model import Model

_LEAST = 25  # draws of which the Pareto tail has the five that it needs


def loo(draws: Draws, var_name: str | None = None, *, model: Model | None = None) -> Any:
    """Estimate how well a model predicts each observation from the others (PSIS-LOO).

    Draws of a variational fit are weighted by log p - log q - log_lik, which corrects for the
    approximation as well (Magnusson, Andersen, Jonasson and Vehtari 2019, Bayesian leave-one-out
    cross-validation for large data); they stand on the fit's evaluated draws.

    Parameters
    ----------
    draws : Draws
    var_name : str, optional
        The generated quantity that holds the log likelihood of each observation; by default the
        one with a usual name (``log_lik``).
    model : Model, optional
        Of a fit, to evaluate its log density at all of its draws.

    Returns
    -------
    arviz.ELPDData
        With pointwise values and the Pareto k-hat of each.

    Raises
    ------
    DrawsError
        There is no pointwise log likelihood, or it is NaN or infinite, or the density of a fit
        is known at too few draws, or there are fewer than 25.
    UsageError
        For an unknown name, several to choose from, or another model.
    """
    name = _name(draws, var_name)
    if not draws.is_variational:
        _require_draws(draws.n_chains * draws.n_draws)
        _require_numbers(name, draws.posterior[name])
        return psis_loo(_container(draws, name, slice(None)), name)
    if model is not None:
        draws, _ = completed(draws, model)
    rows, ratios = draws.evaluated, draws.log_ratios
    if ratios is None:
        raise DrawsError(
            f"The log density is known at no draw of this {draws.method}, so LOO cannot correct "
            "for the approximation; give the model."
        )
    rows = rows[np.isfinite(ratios)]  # others have no weight
    _require_draws(len(rows))
    _require_numbers(name, draws.posterior[name][:, rows])
    data = _container(draws, name, rows)
    lp, log_q = (np.ravel(draws.sample_stats[key])[rows] for key in ("lp", "log_q"))
    return psis_loo(data, name, lp.astype(np.float64), log_q.astype(np.float64))


def _container(draws: Draws, name: str, rows: Any) -> Any:
    """Make a container of parameters and log likelihood, at some draws of each chain."""
    kept = {key: draws.posterior[key][:, rows] for key in (*draws.parameters, name)}
    bare = Draws(draws.method, kept, draws.parameters)
    return to_arviz(bare, log_likelihood=name, posterior_predictive=())


def _name(draws: Draws, var_name: str | None) -> str:
    """Name the pointwise log likelihood."""
    var_name = checked_text("var_name", var_name)
    if var_name is not None:
        computed = [
            name
            for name, values in draws.posterior.items()
            if name not in draws.parameters and values.dtype.kind == "f"
        ]
        if var_name not in computed:
            if var_name in draws.parameters:
                what = "a parameter"
            else:
                what = "integers" if var_name in draws.posterior else "no variable of the draws"
            known = f" It can be {', '.join(computed)}." if computed else ""
            raise UsageError(
                f"var_name is {var_name!r}, which is {what}, and no log likelihood."
                f"{suggestion(var_name, computed)}{known}"
            )
        return var_name
    found = log_likelihoods(draws.posterior, draws.data)
    if len(found) > 1:
        raise UsageError(f"There are several log likelihoods; choose var_name: {', '.join(found)}.")
    if not found:
        raise DrawsError(
            "LOO needs the log likelihood of every observation, and the draws hold no log_lik. "
            "Compute it in the program's generated quantities, by the distribution of its model "
            "block, such as\n    vector[N] log_lik;\n    for (n in 1:N) log_lik[n] = "
            "normal_lpdf(y[n] | mu, sigma);\nand run again; or name the variable that holds it "
            "(var_name)."
        )
    return found[0]


def _require_draws(n: int) -> None:
    if n < _LEAST:
        raise DrawsError(f"LOO needs at least {_LEAST} draws with weights, not {n}; take more.")


def _require_numbers(name: str, values: Any) -> None:
    if bad := int((~np.isfinite(values)).sum()):
        raise DrawsError(
            f"{bad} of {values.size} values of {name} are NaN or infinite, so LOO has no weights; "
            "the program must give every observation a likelihood above zero."
        )
