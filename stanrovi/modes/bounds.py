"""What product measures can and cannot do with several modes: bounds with computable constants.

Separateness (after Sheng, Wu and Gonzalez-Sanz 2025, arXiv:2510.17063;
docs/explanation/mathematics.md) bounds from above the mass that mean field can leave a mode. For
a mixture of normals a product on rotated axes can be written down, whose divergence bounds that
of RoVI's optimum.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import xlogy

from stanrovi.errors import UsageError
from stanrovi.families.axes import DenseAxes
from stanrovi.families.symmetry import Indices
from stanrovi.modes.basins import Mode
from stanrovi.modes.lattice import find_lattice
from stanrovi.target import Array


def collapse_bound(epsilon: float, cost: float) -> float:
    """Root m* of ``kl(m || epsilon) = cost`` above epsilon, at most one half.

    Parameters
    ----------
    epsilon : float
        Mass of the target off the diagonal, at most.
    cost : float
        Nats.
    """
    from scipy.optimize import brentq  # slow to import, and fits with one mode need none

    epsilon = max(epsilon, 1e-300)
    if epsilon >= 0.5 or _binary_kl(0.5, epsilon) <= cost:
        return 0.5
    return float(brentq(lambda m: _binary_kl(m, epsilon) - cost, epsilon, 0.5, xtol=1e-15))


def rovi_bound(weights: ArrayLike, means: ArrayLike, covariances: ArrayLike) -> float:
    """Bound the divergence of RoVI's optimum from a mixture of normals, from above.

    A product on rotated axes is one component with the weights of its levels. Where the means
    fill a lattice on the axes chosen, joint convexity gives
    ``KL(q || pi) <= KL(v || w) + sum_k v_k KL(q_k || P_k)``, v the products of the levels' weights
    and q_k the normal in cell k; it is zero for two normals of one covariance. Keeping the heaviest
    alone costs ``-log w``. The smaller of both is the bound.

    Parameters
    ----------
    weights : array_like, shape (K,)
        Positive; divided by their sum.
    means : array_like, shape (K, dim)
    covariances : array_like, shape (K, dim, dim)

    Returns
    -------
    float
        Nats.

    Raises
    ------
    UsageError
        For weights, means or covariances that are none, or of shapes that do not fit.
    """
    w, m, c = (np.asarray(a, dtype=np.float64) for a in (weights, means, covariances))
    if (
        w.ndim != 1
        or m.ndim != 2
        or c.shape != (len(m), m.shape[1], m.shape[1])
        or len(w) != len(m)
    ):
        raise UsageError(
            "rovi_bound takes weights (K,), means (K, dim) and covariances (K, dim, dim), not "
            f"shapes {w.shape}, {m.shape} and {c.shape}."
        )
    if not (w > 0).all():
        raise UsageError("The weights of a mixture must be positive.")
    try:
        axes = [DenseAxes(np.asarray(np.linalg.cholesky(one))) for one in c]
    except np.linalg.LinAlgError:
        raise UsageError("The covariances of a mixture must be positive definite.") from None
    parts = zip(w / w.sum(), m, axes, strict=True)
    return rovi_bound_of_modes(
        tuple(Mode(position=at, log_density=0.0, weight=float(s), axes=a) for s, at, a in parts)
    )


def rovi_bound_of_modes(modes: tuple[Mode, ...]) -> float:
    """`rovi_bound` of the local normals of modes."""
    if len(modes) < 2:
        return 0.0
    one = -np.log(max(mode.weight for mode in modes))
    lattice = find_lattice(modes)
    if not lattice.holds:
        return float(one)
    turned = lattice.axes.solve(np.stack([mode.position for mode in modes]) - lattice.center)
    labels = np.stack(
        [
            np.abs(turned[:, a, None] - level[None]).argmin(axis=1)
            for a, level in enumerate(lattice.levels)
        ]
    )
    share = np.prod([v[row] for v, row in zip(lattice.weights, labels, strict=True)], axis=0)
    weight = np.array([mode.weight for mode in modes])
    precision = [_precision(mode, lattice.axes) for mode in modes]
    cells = _cells(labels, len(turned[0]))
    mean, variance = _best_product(share, turned, precision, cells)
    within = [
        _normal_kl(mean[cell], variance[cell], at, root)
        for cell, at, root in zip(cells, turned, precision, strict=True)
    ]
    several = float((share * np.log(share / weight)).sum() + share @ np.array(within))
    return float(max(min(one, several), 0.0))


def _precision(mode: Mode, axes: DenseAxes) -> Array:
    """Precision of a mode's local normal in coordinates along other axes, shape (dim, dim)."""
    root = mode.axes.solve(axes.matrix.T).T
    return np.asarray(root.T @ root)


def _cells(labels: Indices, dim: int) -> list[Indices]:
    """Which of the product's one-dimensional normals each cell is made of, shape (dim,) each.

    Levels of the multimodal axes come first, then the other axes.
    """
    counts = labels.max(axis=1) + 1
    offset = np.concatenate([[0], np.cumsum(counts)])
    rest = offset[-1] + np.arange(dim - len(counts))
    return [np.concatenate([offset[:-1] + column, rest]) for column in labels.T]


def _best_product(
    share: Array, means: Array, precision: Sequence[Array], cells: Sequence[Indices]
) -> tuple[Array, Array]:
    """Means and variances of the one-dimensional normals that minimise the bound."""
    size = max(int(cell.max()) for cell in cells) + 1
    normal, right, curvature = np.zeros((size, size)), np.zeros(size), np.zeros(size)
    mass = np.zeros(size)
    for v, at, root, cell in zip(share, means, precision, cells, strict=True):
        normal[np.ix_(cell, cell)] += v * root
        right[cell] += v * (root @ at)
        curvature[cell] += v * np.diag(root)
        mass[cell] += v
    mean = np.asarray(np.linalg.lstsq(normal, right, rcond=None)[0], dtype=np.float64)
    return mean, mass / curvature


def _normal_kl(mean: Array, variance: Array, at: Array, precision: Array) -> float:
    """Divergence of ``N(mean, diag(variance))`` from ``N(at, precision^-1)``."""
    off = mean - at
    log_det = np.linalg.slogdet(precision)[1] + np.log(variance).sum()
    return float(0.5 * (np.diag(precision) @ variance + off @ precision @ off - len(at) - log_det))


def _binary_kl(m: float, epsilon: float) -> float:
    return float(xlogy(m, m / epsilon) + xlogy(1 - m, (1 - m) / (1 - epsilon)))
