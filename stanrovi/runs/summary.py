"""The summary of a run as a data frame."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from stanrovi.diagnostics.statistics import mixing
from stanrovi.draws import Draws
from stanrovi.io.groups import posterior_names
from stanrovi.scalars import varying
from stanrovi.target import Array
from stanrovi.vi.facts import MarginalErrors

if TYPE_CHECKING:
    import pandas as pd

_PERCENT = (5, 50, 95)


def summary_columns(values: Array) -> dict[str, Array]:
    """Mean, sd, and the quantiles q5, q50 and q95 of values (n, k), each of shape (k,)."""
    with np.errstate(all="ignore"):  # what is computed from parameters may be infinite
        quantiles = np.quantile(values, [level / 100 for level in _PERCENT], axis=0)
        told = {f"q{level}": row for level, row in zip(_PERCENT, quantiles, strict=True)}
        return {"mean": values.mean(axis=0), "sd": values.std(axis=0), **told}


def summary_frame(
    draws: Draws,
    errors: MarginalErrors | None = None,
    *,
    chains: bool = False,
    names: str | Iterable[str] | None = None,
    first: int | None = None,
) -> pd.DataFrame:
    """Summarise the scalar quantities of draws.

    Parameters
    ----------
    draws : Draws
    errors : MarginalErrors, optional
    chains : bool
        Whether to tell how the chains mixed.
    names : str or sequence of str, optional
        Variables; by default all that ArviZ has in its posterior group, which pointwise log
        likelihoods and replicated data are not.
    first : int, optional
        How many quantities to tell of; all by default.

    Returns
    -------
    pandas.DataFrame
        One row per scalar quantity, under Stan's names: mean, sd, and the quantiles q5, q50 and
        q95; with ``errors`` also the estimated error of the marginal (W1 in sds) and its Monte
        Carlo error, NaN for what is no parameter, constants and copies; with ``chains`` r_hat,
        ess_bulk and ess_tail, NaN for constants.

    Raises
    ------
    UsageError
        If there is no such variable.
    """
    import pandas as pd

    chosen = posterior_names(draws) if names is None else draws.variables(names)
    scalars = dict(islice(draws.scalars(chosen).items(), first))
    shape = draws.n_chains, draws.n_draws, len(scalars)
    values = np.stack(list(scalars.values()), axis=-1) if scalars else np.empty(shape)
    columns = summary_columns(values.reshape(shape[0] * shape[1], shape[2]))
    if chains:
        told = np.where(varying(values), mixing(values), np.nan)
        columns |= dict(zip(("r_hat", "ess_bulk", "ess_tail"), told, strict=True))
    frame = pd.DataFrame(columns, index=list(scalars))
    if errors is not None:
        known = pd.DataFrame({"error": errors.error, "error_se": errors.se}, index=errors.names)
        frame = frame.join(known)
    return frame
