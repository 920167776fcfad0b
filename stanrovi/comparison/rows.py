"""The row of a method in a table, for the terminal, notebooks and the report alike."""

from __future__ import annotations

import math

import numpy as np

from stanrovi.grading.findings import MethodComparison


def summary_row(method: MethodComparison) -> dict[str, str]:
    """Format the columns of a method for a table; ``-`` where unknown.

    Parameters
    ----------
    method : MethodComparison

    Returns
    -------
    dict of str to str
        Keys w1_max, floor, mean_error_max, sd_ratio, khat, elbo, n_gradients, seconds.
    """
    part = method.marginals
    return {
        "w1_max": "-" if part is None else f"{part.w1.max():.3f}",
        "floor": "-" if part is None else f"{part.floor[part.w1.argmax()]:.3f}",
        "mean_error_max": "-" if part is None else f"{np.abs(part.mean_error).max():.2f}",
        "sd_ratio": "-" if part is None else f"{part.sd_ratio.min():.2f}-{part.sd_ratio.max():.2f}",
        "khat": _shown(method.khat, ".2f"),
        "elbo": _shown(method.elbo, ".2f"),
        "n_gradients": _shown(method.n_gradients, ",.0f"),
        "seconds": _shown(method.seconds, ".2f"),
    }


def _shown(value: float, style: str) -> str:
    return "-" if math.isnan(value) else format(value, style)
