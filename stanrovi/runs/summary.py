"""The summary of a run as a data frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stanrovi.draws import Draws
from stanrovi.target import Array
from stanrovi.vi.facts import MarginalErrors

if TYPE_CHECKING:
    import pandas as pd

_PERCENT = (5, 50, 95)


def summary_columns(values: Array) -> dict[str, Array]:
    """Mean, sd, and the quantiles q5, q50 and q95 of values (n, k), each of shape (k,)."""
    quantiles = np.quantile(values, [level / 100 for level in _PERCENT], axis=0)
    told = {f"q{level}": row for level, row in zip(_PERCENT, quantiles, strict=True)}
    return {"mean": values.mean(axis=0), "sd": values.std(axis=0), **told}


def summary_frame(draws: Draws, errors: MarginalErrors | None = None) -> pd.DataFrame:
    """Summarise the scalar parameters of draws.

    Parameters
    ----------
    draws : Draws
    errors : MarginalErrors, optional

    Returns
    -------
    pandas.DataFrame
        One row per scalar parameter, under Stan's names: mean, sd, and the quantiles q5, q50 and
        q95; with ``errors`` also the estimated error of the marginal (W1 in sds) and its Monte
        Carlo error, NaN for constants and copies.
    """
    import pandas as pd

    scalars = draws.scalars()
    values = np.stack([x.ravel() for x in scalars.values()], axis=1)
    frame = pd.DataFrame(summary_columns(values), index=list(scalars))
    if errors is not None:
        told = pd.DataFrame({"error": errors.error, "error_se": errors.se}, index=errors.names)
        frame = frame.join(told)
    return frame
