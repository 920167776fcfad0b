"""A matrix that is diagonal plus low rank, from its products with a few vectors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stanrovi.target import Array

_TURNS, _SETTLED, _ROUGHLY = 40, 1e-8, 1e-3
_EXACT = 1e-12  # of what is left: rounding
_HELD_OUT = 5  # every so many of the vectors judge what the others tell
_WORTH = 0.9  # a rank twice as large has to leave no more than this share of what is left
_LEAST, _MOST = 0.02, 50.0  # limits of the diagonal, in units of its rough estimate


@dataclass(frozen=True)
class LowRank:
    """``diag(diagonal) + directions core directions^T``.

    Attributes
    ----------
    diagonal : ndarray, shape (dim,)
    directions : ndarray, shape (dim, r)
        Orthonormal columns.
    core : ndarray, shape (r, r)
        Symmetric.
    unexplained : float
        Share of the squared products with vectors held out that it does not explain.
    """

    diagonal: Array
    directions: Array
    core: Array
    unexplained: float

    def times(self, vectors: Array) -> Array:
        """Products (m, dim) with vectors (m, dim)."""
        inner = (vectors @ self.directions) @ self.core
        return np.asarray(vectors * self.diagonal + inner @ self.directions.T)


def from_products(vectors: Array, products: Array) -> LowRank:
    """Fit diagonal plus low rank, of the rank that predicts best.

    With the low rank part known the diagonal is a regression for each coordinate; with the
    diagonal known the rest is a singular value decomposition: in turns.

    Parameters
    ----------
    vectors, products : ndarray, shape (m, dim)
        Independent vectors, and the products of a symmetric matrix with them.

    Returns
    -------
    LowRank
        Of rank m / 3 at most.
    """
    test = np.arange(len(vectors)) % _HELD_OUT == 0
    v, y = vectors[~test], products[~test]
    total = float((products[test] ** 2).sum())
    best = _fitted(v, y, 0, None)
    left = _left(best, vectors[test], products[test], total)
    found, rank, last = best, 1, None
    while 3 * rank <= len(vectors) and left > _EXACT:
        last = _fitted(v, y, rank, last, _ROUGHLY)
        error = _left(last, vectors[test], products[test], total)
        if error < _WORTH * left:
            found, left = last, error
        rank *= 2
    rank = len(found.core)
    if rank == 0:
        return LowRank(found.diagonal, found.directions, found.core, left)
    final = _fitted(vectors, products, rank, found)
    return LowRank(final.diagonal, final.directions, final.core, left)


def _left(found: LowRank, vectors: Array, products: Array, total: float) -> float:
    return float(((products - found.times(vectors)) ** 2).sum()) / max(total, 1e-300)


def _fitted(
    v: Array, y: Array, rank: int, start: LowRank | None, settled: float = _SETTLED
) -> LowRank:
    told, size = v * y, (v**2).sum(axis=0)
    rough = np.maximum(told.sum(axis=0) / size, 1e-3)
    # What stands beside the diagonal makes noise in it, of either sign.
    most = _MOST * np.maximum(rough, np.sqrt((told**2).sum(axis=0)) / size)
    diagonal = rough if start is None else start.diagonal
    if rank == 0:
        return LowRank(diagonal, np.empty((v.shape[1], 0)), np.empty((0, 0)), np.nan)
    for _ in range(_TURNS):
        rest = y - v * diagonal
        _, left = np.linalg.eigh(rest @ rest.T)
        left = left[:, -rank:]
        # What the low rank part adds to the products lies in the span of `left`.
        free, owed = v - left @ (left.T @ v), y - left @ (left.T @ y)
        new = (free * owed).sum(axis=0) / np.maximum((free**2).sum(axis=0), 1e-12)
        new = np.clip(new, _LEAST * rough, most)
        change = np.abs(new / diagonal - 1).max()
        diagonal = new
        if change < settled:
            break
    rest = y - v * diagonal
    directions, _ = np.linalg.qr(rest.T @ left)
    inner = v @ directions
    core, *_ = np.linalg.lstsq(inner, rest @ directions, rcond=1e-10)
    return LowRank(diagonal, directions, (core + core.T) / 2, np.nan)
