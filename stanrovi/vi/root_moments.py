"""Roots in the evaluations of a Gaussian fit, by moments of its residual score.

See `stanrovi.vi.roots` for what roots are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stanrovi.families.product import Product
from stanrovi.target import Array
from stanrovi.vi.least_squares import least_squares
from stanrovi.vi.pool import Pool
from stanrovi.vi.regression import winsorised

Indices = NDArray[np.intp]

LEAST_NATS = 0.03
MOST_ROOTS = 8  # roots
_CLEAR = 4.0  # standard errors of the sum over all that a root would rule
_ROWS = 1.5  # draws for each coefficient of what roots explain, at least
_CANDIDATES = 12  # that are looked at closely
_ILL = 1e8  # of a coordinate's variance, over that given the others: not told without loss


def roots_from_pool(gaussian: Product, pool: Pool, least: float = LEAST_NATS) -> Indices:
    """Find roots in the evaluations of a Gaussian fit; no new gradients.

    One after the other: what a root explains is taken out before the next is looked for,
    since all that it rules seem to rule it.

    Parameters
    ----------
    gaussian : Product
    pool : Pool
        Evaluations at draws of ``gaussian`` and its predecessors.
    least : float
        Nats that the first must explain; the others a third of them.

    Returns
    -------
    ndarray of int
        Coordinates, those that explain most first.
    """
    d = gaussian.dim
    if pool.weights(gaussian.log_density(pool.x)).sum() <= _ROWS * (d + 1):
        return np.zeros(0, dtype=np.intp)
    evidence = _Moments.of(gaussian, pool)
    roots: list[int] = []
    while len(roots) < min(d - 1, MOST_ROOTS) and evidence.size > _ROWS * (d + 1) * (
        len(roots) + 1
    ):
        root = evidence.clearest(roots, least / 3 if roots else least)
        if root is None:
            break
        roots.append(root)
        evidence = evidence.without(root)
    return np.array(roots, dtype=np.intp)


@dataclass(frozen=True)
class _Moments:
    """Residual scores at weighted draws of a Gaussian.

    In units of conditional standard deviations, along the dual basis: p_i is standard
    normal, and ``E[f p_i]`` the expected derivative of f in coordinate i.

    Attributes
    ----------
    p, residual : ndarray, shape (n, d)
    weight : ndarray, shape (n,)
        Sums to one.
    size : float
        Effective number of draws.
    correlation : ndarray, shape (d, d)
        Of p.
    """

    p: Array
    residual: Array
    weight: Array
    size: float
    correlation: Array

    @classmethod
    def of(cls, gaussian: Product, pool: Pool) -> _Moments:
        """Measure them at the draws of a pool."""
        weight = pool.weights(gaussian.log_density(pool.x))
        counts = weight > 0
        x, gradient, weight = pool.x[counts], pool.gradient[counts], weight[counts]
        axes = gaussian.axes
        unit = np.sqrt(axes.precision_diagonal())
        dual = axes.solve_transposed(np.eye(gaussian.dim)) / unit  # B^-T e_i, in units
        p = axes.solve_transposed(axes.solve(x - gaussian.center)) / unit
        residual = winsorised(gradient / unit + p)
        size = float(weight.sum())
        new = cls(p, residual, weight / max(size, 1e-300), size, dual.T @ dual)
        return new._less(np.ones((len(p), 1)), p)

    def _less(self, *columns: Array) -> _Moments:
        """Take out what is a combination of some columns."""
        design = np.concatenate(columns, axis=1)
        part = least_squares(design, self.residual, self.weight)
        return replace(self, residual=self.residual - design @ part)

    def without(self, i: int) -> _Moments:
        """Take out what coordinate i explains: precisions linear, means quadratic in it."""
        own = self.p[:, i, None]
        return self._less(np.ones((len(own), 1)), self.p, own * self.p)

    def order(self, known: list[int]) -> list[int]:
        """Coordinates by what they explain along the axes alone, most first."""
        terms = self.residual * self.p
        moved = (self.weight[:, None] * terms).T @ self.p  # precision of j, by i: row j, column i
        variance = ((self.weight**2)[:, None] * terms**2).T @ self.p**2
        excess = moved**2 - variance
        np.fill_diagonal(excess, 0.0)
        excess[known] = 0.0
        return [int(i) for i in np.argsort(-excess.sum(axis=0)) if i not in known]

    def clearest(self, known: list[int], least: float) -> int | None:
        """Give the root that explains most, if any explains enough beyond noise."""
        best, most = None, least
        lengths = _Lengths.of(self)
        candidates = self.order(known)[:_CANDIDATES]
        limits = {i: self._at_most(i, known, lengths) for i in candidates}
        for i in sorted(candidates, key=lambda i: -limits[i]):
            if limits[i] < most:
                break
            nats, score = self._explained(i, known)
            if nats > most and score > _CLEAR:
                best, most = i, nats
        return best

    def _whitened(self, i: int, known: list[int]) -> tuple[Indices, Array]:
        """Give the coordinates that i may rule, and what whitens them."""
        rest = np.delete(np.arange(len(self.correlation)), [i, *known])
        return rest, np.linalg.inv(np.linalg.cholesky(self.correlation[np.ix_(rest, rest)])).T

    def _at_most(self, i: int, known: list[int], lengths: _Lengths | None) -> float:
        """Nats that `_explained` does not exceed, with a fifth of its work.

        The sums over all entries of its variances are sums over draws.
        """
        if lengths is None:
            return np.inf
        rest, whiten = self._whitened(i, known)
        w = self.weight * self.p[:, i]
        raw = ((w[:, None] * self.residual).T @ self.p)[np.ix_(rest, rest)]
        change = whiten.T @ (raw + raw.T) @ whiten / 2
        squared = float((change**2).sum())
        r, p, crossed = lengths.without([i, *known])
        variance = float(w**2 @ (r * p + crossed**2)) / 2
        rounding = 1e-6 * (squared + variance)
        return (squared + squared / max(self.size, 1.0) - variance + rounding) / 4

    def _explained(self, i: int, known: list[int]) -> tuple[float, float]:
        """Nats that coordinate i explains, noise taken off, and their z-score.

        A quarter of the squared change of the others' precision, over its own metric.
        """
        rest, whiten = self._whitened(i, known)
        r, p = self.residual[:, rest] @ whiten, self.p[:, rest] @ whiten
        w = self.weight * self.p[:, i]
        change = (w[:, None] * r).T @ p
        squares = ((w**2)[:, None] * r**2).T @ p**2
        crossed = ((w**2)[:, None] * (r * p)).T @ (r * p)
        change, variance = (change + change.T) / 2, (squares + squares.T + 2 * crossed) / 4
        variance = np.maximum(variance - change**2 / max(self.size, 1.0), 0.0)
        excess = float((change**2 - variance).sum())
        noise = float(np.sqrt(4 * (variance**2).sum()))
        return excess / 4, excess / max(noise, 1e-300)


@dataclass(frozen=True)
class _Lengths:
    """Squared lengths of residual scores and of p, and their inner products, in the metric of p.

    Attributes
    ----------
    of_r, of_p, crossed : ndarray, shape (n,)
        Of all coordinates.
    dual_r, dual_p : ndarray, shape (n, d)
        The vectors times the inverse correlation of p.
    inverse : ndarray, shape (d, d)
    """

    of_r: Array
    of_p: Array
    crossed: Array
    dual_r: Array
    dual_p: Array
    inverse: Array

    @classmethod
    def of(cls, moments: _Moments) -> _Lengths | None:
        """Measure them; None where the correlation has no inverse that numbers hold."""
        r, p = moments.residual, moments.p
        try:
            root = np.linalg.inv(np.linalg.cholesky(moments.correlation))
        except np.linalg.LinAlgError:
            return None
        inverse = root.T @ root
        if np.diag(inverse).max() > _ILL:
            return None
        dual_r, dual_p = r @ inverse, p @ inverse
        of_r, of_p, crossed = (np.vecdot(a, b) for a, b in ((r, dual_r), (p, dual_p), (r, dual_p)))
        return cls(of_r, of_p, crossed, dual_r, dual_p, inverse)

    def without(self, left_out: list[int]) -> tuple[Array, Array, Array]:
        """Give them in the marginal metric of the other coordinates."""
        corner = self.inverse[np.ix_(left_out, left_out)]
        dual_r, dual_p = self.dual_r[:, left_out], self.dual_p[:, left_out]
        solved_r, solved_p = (np.linalg.solve(corner, dual.T).T for dual in (dual_r, dual_p))
        # By the Schur complement; what the vector is in the coordinates left out cancels.
        of_r = self.of_r - (dual_r * solved_r).sum(axis=1)
        of_p = self.of_p - (dual_p * solved_p).sum(axis=1)
        return of_r, of_p, self.crossed - (dual_r * solved_p).sum(axis=1)
