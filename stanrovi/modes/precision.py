"""Factors of a precision, dense or sparse: what steps, evidence and conditional maps ask of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve
from scipy.sparse import csc_array, diags_array

from stanrovi.families.axes import Axes
from stanrovi.families.sparse_axes import SparseAxes
from stanrovi.target import Array

Indices = NDArray[np.intp]
Precision: TypeAlias = Array | csc_array

_LEAST = 1e-6  # share of the largest curvature that a negative one becomes at least
_SHIFTS = 10.0 ** np.arange(-3.0, 8.0)  # of a sparse one, in units of its diagonal


class Factor(Protocol):
    """Cholesky factor of a precision."""

    @property
    def half_log_det(self) -> float:
        """Half the log determinant of the precision."""

    def solve(self, vector: Array) -> Array:
        """``Q^-1 v`` for one v of shape (m,)."""


@dataclass(frozen=True, eq=False)
class DenseFactor:
    """A lower triangular matrix (m, m)."""

    lower: Array

    @property
    def half_log_det(self) -> float:
        """Half the log determinant of the precision."""
        return float(np.log(np.diag(self.lower)).sum())

    def solve(self, vector: Array) -> Array:
        """``Q^-1 v`` for one v of shape (m,)."""
        return np.asarray(cho_solve((self.lower, True), vector))


@dataclass(frozen=True, eq=False)
class AxesFactor:
    """Axes of the normal distribution with that precision."""

    axes: Axes

    @property
    def half_log_det(self) -> float:
        """Half the log determinant of the precision."""
        return -self.axes.log_volume

    def solve(self, vector: Array) -> Array:
        """``Q^-1 v`` for one v of shape (m,)."""
        return self.axes.apply(self.axes.apply_transposed(vector[None]))[0]


def is_finite(precision: Precision) -> bool:
    """Whether no entry is NaN or infinite."""
    entries = precision if isinstance(precision, np.ndarray) else precision.data
    return bool(np.isfinite(entries).all())


def factorised(precision: Precision, ridge: float, order: Indices | None = None) -> Factor:
    """Factorise a precision.

    Parameters
    ----------
    precision : ndarray or csc_array, shape (m, m)
    ridge : float
        A coordinate that the others explain but for this share is none of a normal distribution.
    order : ndarray of int, optional
        In which to eliminate a sparse one, if known.

    Raises
    ------
    numpy.linalg.LinAlgError
        If it is not positive definite.
    """
    if not isinstance(precision, np.ndarray):
        return AxesFactor(SparseAxes.of_precision(precision, order))
    lower = np.linalg.cholesky(precision)
    if (np.diag(lower) ** 2 < ridge * np.diag(precision)).any():
        raise np.linalg.LinAlgError("a coordinate is a combination of others")
    return DenseFactor(np.asarray(lower))


def sound_factor(precision: Precision, order: Indices | None = None) -> Factor:
    """Factorise a precision, with negative curvatures turned over or lifted if need be."""
    if isinstance(precision, np.ndarray):
        try:
            return DenseFactor(np.asarray(np.linalg.cholesky(precision)))
        except np.linalg.LinAlgError:
            spectrum, vectors = np.linalg.eigh(precision)
            least = _LEAST * float(np.abs(spectrum).max())
            size = np.maximum(np.abs(spectrum), max(least, 1e-300))
            return DenseFactor(np.asarray(np.linalg.cholesky((vectors * size) @ vectors.T)))
    size = np.abs(precision.diagonal())
    size = np.maximum(size, _LEAST * max(float(size.max()), 1e-300))
    for shift in (0.0, *_SHIFTS):
        try:
            shifted = csc_array(precision + diags_array(shift * size)) if shift else precision
            return AxesFactor(SparseAxes.of_precision(shifted, order))
        except np.linalg.LinAlgError:
            continue
    return AxesFactor(SparseAxes.of_precision(csc_array(diags_array(size))))
