"""Weighted least squares by normal equations, where those are safe."""

from __future__ import annotations

import numpy as np
from scipy.linalg import cho_solve

from stanrovi.target import Array

# Of the scaled normal equations, the least squared pivot: below it half of the digits are gone.
_LEAST_PIVOT = 1e-8


def with_constant(columns: Array) -> Array:
    """Put a column of ones before others, shape (n, k) to (n, 1 + k)."""
    out = np.empty((len(columns), columns.shape[1] + 1))
    out[:, 0] = 1.0
    out[:, 1:] = columns
    return out


def least_squares(design: Array, values: Array, weight: Array | None = None) -> Array:
    """Regress values (n, m) on the columns of a design (n, k): coefficients, shape (k, m).

    Those of least norm where the columns, or too few rows, do not tell them.

    Parameters
    ----------
    design, values : ndarray, shape (n, k) and (n, m)
    weight : ndarray, shape (n,), optional
        Of the rows; one for each if not given.
    """
    if weight is not None:
        root = np.sqrt(weight)[:, None]
        design, values = root * design, root * values
    gram = design.T @ design
    size = np.sqrt(np.diag(gram))
    if len(design) >= len(gram) and (size > 0).all() and np.isfinite(size).all():
        try:
            factor = np.linalg.cholesky(gram / size / size[:, None])
        except np.linalg.LinAlgError:
            factor = np.zeros((1, 1))
        if np.diag(factor).min() ** 2 > _LEAST_PIVOT:
            moment = (design.T @ values) / size[:, None]
            solved = cho_solve((factor, True), moment, overwrite_b=True, check_finite=False)
            return np.asarray(solved / size[:, None])
    return np.asarray(np.linalg.lstsq(design, values, rcond=None)[0])
