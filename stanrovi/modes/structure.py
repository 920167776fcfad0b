"""Curvature of a log density in many dimensions: sparse, or diagonal plus low rank.

Which of the two, gradients say: where few second derivatives differ from zero they are all
measured; else the Hessian's products with a few vectors tell what of it is more than a diagonal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.sparse import csc_array

from stanrovi.families.axes import Axes
from stanrovi.families.low_rank_axes import LowRankAxes
from stanrovi.families.sparse_axes import SparseAxes, precision_of
from stanrovi.modes.low_rank import from_products
from stanrovi.modes.sparsity import SparseCurvature, find_sparsity, hessian_products
from stanrovi.target import Array, Target

# Vectors whose products tell a part of low rank: at first, and at most, and twice as many while
# they leave so much unexplained.
_VECTORS, _MOST_VECTORS, _LEFT = 48, 384, 1e-3


class Structure(Protocol):
    """How to measure the curvature anywhere."""

    def measured(
        self,
        target: Target,
        x: Array,
        gradient: Array,
        before: Axes,
        share: float,
        rng: np.random.Generator,
    ) -> Axes:
        """Measure the curvature at some points, on average.

        Parameters
        ----------
        target : Target
        x, gradient : ndarray, shape (n, dim)
        before : Axes
            Of an earlier precision, which is mixed with the measured one.
        share : float
            Of the measured one.
        rng : numpy.random.Generator

        Returns
        -------
        Axes
            Of the precision.

        Raises
        ------
        numpy.linalg.LinAlgError
            Where it is not positive definite.
        """


@dataclass(frozen=True)
class Sparse:
    """A curvature of few entries."""

    curvature: SparseCurvature

    def measured(
        self,
        target: Target,
        x: Array,
        gradient: Array,
        before: Axes,
        share: float,
        rng: np.random.Generator,
    ) -> Axes:
        """See `Structure`."""
        scale = before.precision_diagonal() ** -0.5
        total = csc_array((target.dim, target.dim))
        for point, slope in zip(x, gradient, strict=True):
            total = total + self.curvature.precision(target, point, slope, scale)
        precision = csc_array(total * (share / len(x)))
        if not isinstance(before, SparseAxes):
            return SparseAxes.of_precision(precision / share)
        if share < 1:
            precision = csc_array(precision + precision_of(before) * (1 - share))
        return SparseAxes.of_precision(precision)


@dataclass
class LowRankPart:
    """A curvature that is a diagonal, and something in few directions.

    Attributes
    ----------
    n_vectors : int
        Whose products are measured at a time.
    unexplained : float
        Share of the squared products that the last measurement did not explain.
    """

    n_vectors: int = _VECTORS
    unexplained: float = 1.0

    def measured(
        self,
        target: Target,
        x: Array,
        gradient: Array,
        before: Axes,
        share: float,
        rng: np.random.Generator,
    ) -> Axes:
        """See `Structure`."""
        scale = before.precision_diagonal() ** -0.5
        while True:
            vectors = rng.choice([-1.0, 1.0], (self.n_vectors, target.dim))
            at = x[np.arange(self.n_vectors) % len(x)]
            products = hessian_products(target, at, scale, vectors)
            if products is None:
                raise np.linalg.LinAlgError("the target rejects points nearby")
            told = before.solve_transposed(before.solve(vectors * scale)) * scale
            found = from_products(vectors, (1 - share) * told - share * products)
            self.unexplained = found.unexplained
            if found.unexplained < _LEFT or 2 * self.n_vectors > min(_MOST_VECTORS, target.dim):
                break
            if 3 * len(found.core) < self.n_vectors // 2:  # more rank was not of use
                break
            self.n_vectors *= 2
        return LowRankAxes.of_precision(scale, found.diagonal, found.directions, found.core)


def structure_at(
    target: Target, x: Array, scale: Array, rng: np.random.Generator
) -> Sparse | LowRankPart:
    """Find which structure the curvature has at a point.

    Parameters
    ----------
    target : Target
    x, scale : ndarray, shape (dim,)
        A point, and conditional standard deviations, roughly.
    rng : numpy.random.Generator
    """
    return structure_of(find_sparsity(target, x, scale, rng))


def structure_of(curvature: SparseCurvature | None) -> Sparse | LowRankPart:
    """Give the structure of a curvature that is sparse, or of one that is not (None)."""
    return LowRankPart() if curvature is None else Sparse(curvature)
