"""Which rotation shows the modes on a lattice of levels, if any does.

A product measure on rotated axes puts mass on a lattice: every combination of
the levels along its axes. It can hold two modes anywhere, several on one line,
four at the corners of a box, but not three in a triangle, where it would have
to put mass on a mode that is not there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stanrovi.families.axes import DenseAxes
from stanrovi.families.rotation import symmetric_root, with_first_axis
from stanrovi.modes.basins import Mode
from stanrovi.target import Array

# Modes closer than this along an axis (pooled sd) share a level.
_LEVEL_GAP = 1.5
# Local covariances differing by more than this factor cannot share one set of axes.
_SHAPE_RATIO = 4.0
# Weights further than this from a product of level weights cannot be held either.
_WEIGHT_GAP = 0.05
_PAIRED = 64  # modes, of which the heaviest tell the directions
_DIGITS = 6  # of parallel directions


@dataclass(frozen=True)
class Lattice:
    """Axes on which the modes form levels.

    Attributes
    ----------
    center : ndarray, shape (dim,)
        Weighted centre of the modes.
    axes : DenseAxes
        ``A @ O``: pooled local covariance root times a rotation whose leading
        axes separate the modes.
    levels : tuple of ndarray
        Per multimodal axis (axis 0, 1, ...), the positions of its levels.
    weights : tuple of ndarray
        Per multimodal axis, the weights of its levels.
    n_cells, n_occupied : int
        Level combinations, and how many of them hold a mode.
    weight_gap : float
        Largest difference between a mode's weight and the product of its levels'.
    shape_ratio : float
        Largest ratio between local variances of two modes along any direction,
        widths along the multimodal axes apart.
    """

    center: Array
    axes: DenseAxes
    levels: tuple[Array, ...]
    weights: tuple[Array, ...]
    n_cells: int
    n_occupied: int
    weight_gap: float
    shape_ratio: float

    @property
    def holds(self) -> bool:
        """Whether every combination of levels is a mode."""
        return self.n_cells == self.n_occupied

    @property
    def misfit(self) -> str | None:
        """Why a rotated product cannot hold these modes; None if it can."""
        if not self.holds:
            return (
                f"the {self.n_occupied} modes do not fill a lattice on any rotated axes found "
                f"({self.n_cells} combinations of levels), so a product measure would put mass "
                "where there is no mode, or drop a mode"
            )
        if self.weight_gap > _WEIGHT_GAP:
            return (
                "the modes lie on a lattice but their weights are not products of its levels' "
                f"(off by up to {self.weight_gap:.2f})"
            )
        if self.shape_ratio > _SHAPE_RATIO:
            return (
                "the modes differ in shape (variances along one direction differ by a factor of "
                f"{self.shape_ratio:.1f}), and a product measure gives all of them one shape"
            )
        return None


def find_lattice(modes: tuple[Mode, ...]) -> Lattice:
    """Choose axes on which the modes fill as few level combinations as possible.

    Parameters
    ----------
    modes : tuple of Mode
        At least two.
    """
    weight = np.array([m.weight for m in modes])
    positions = np.stack([m.position for m in modes])
    center = weight @ positions
    pooled = sum(w * m.covariance for w, m in zip(weight, modes, strict=True))
    root = symmetric_root(np.asarray(pooled))
    u = np.asarray(np.linalg.solve(root, (positions - center).T).T, dtype=np.float64)
    rotation, labels = _best_rotation(u)
    levels, weights = _levels(u @ rotation, labels, weight)
    axes = root @ rotation
    rows = {tuple(row) for row in labels.T}
    return Lattice(
        center=center,
        axes=DenseAxes(axes),
        levels=levels,
        weights=weights,
        n_cells=int(np.prod([len(x) for x in levels])),
        n_occupied=len(rows),
        weight_gap=_weight_gap(labels, weights, weight),
        shape_ratio=_shape_ratio(modes, axes, len(levels)),
    )


def _best_rotation(u: Array) -> tuple[Array, Array]:
    """Rotation (d, d) and level labels (r, K), with the fewest cells for K modes."""
    best: tuple[int, Array, Array] | None = None
    tried: set[bytes] = set()
    for i in range(min(len(u), _PAIRED)):
        for j in range(i):
            direction = u[i] - u[j]
            if not direction.any() or (way := _way(direction)) in tried:
                continue
            tried.add(way)
            rotation, labels = _peel(u, direction)
            cells = int(np.prod(labels.max(axis=1) + 1))
            if best is None or cells < best[0]:
                best = (cells, rotation, labels)
    assert best is not None
    return best[1], best[2]


def _way(direction: Array) -> bytes:
    """Give parallel directions, of which a lattice has many, one name."""
    longest = direction[np.argmax(np.abs(direction))]
    return (np.round(direction / longest, _DIGITS) + 0.0).tobytes()  # no -0.0


def _peel(u: Array, direction: Array) -> tuple[Array, Array]:
    """Take axes one after another: first ``direction``, then the widest that is left."""
    d = u.shape[1]
    rotation = with_first_axis(direction)
    labels = [_label(u @ rotation[:, 0])]
    for k in range(1, d):
        rest = u @ rotation[:, k:]
        spread = rest - rest.mean(axis=0)
        _, size, v = np.linalg.svd(spread, full_matrices=False)
        if size[0] < _LEVEL_GAP / 2:
            break
        turned = rotation[:, k:] @ with_first_axis(v[0])
        label = _label(u @ turned[:, 0])
        if label.max() == 0:
            break
        rotation = np.concatenate([rotation[:, :k], turned], axis=1)
        labels.append(label)
    return rotation, np.stack(labels)


def _label(position: Array) -> Array:
    """Level of each mode along an axis: a new one wherever the gap is wide."""
    order = np.argsort(position)
    level = np.concatenate([[0], np.cumsum(np.diff(position[order]) > _LEVEL_GAP)])
    out = np.empty(len(position), dtype=int)
    out[order] = level
    return out


def _levels(u: Array, labels: Array, weight: Array) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    levels, weights = [], []
    for axis, label in enumerate(labels):
        share = np.array([weight[label == k].sum() for k in range(label.max() + 1)])
        place = [weight[label == k] @ u[label == k, axis] for k in range(len(share))]
        levels.append(np.array(place) / share)
        weights.append(share)
    return tuple(levels), tuple(weights)


def _weight_gap(labels: Array, weights: tuple[Array, ...], weight: Array) -> float:
    product = np.prod([share[label] for share, label in zip(weights, labels, strict=True)], axis=0)
    return float(np.abs(product - weight).max())


def _shape_ratio(modes: tuple[Mode, ...], axes: Array, n_multimodal: int) -> float:
    """Largest ratio of two modes' variances along any direction.

    Each mode is scaled to unit variance along the multimodal axes, on which
    every level has a width of its own.
    """
    factors = []
    for mode in modes:
        local = np.linalg.solve(axes, np.linalg.solve(axes, mode.covariance).T)
        scale = np.ones(len(axes))
        scale[:n_multimodal] = np.diag(local)[:n_multimodal] ** -0.5
        factors.append(np.linalg.cholesky(local * np.outer(scale, scale)))
    stacked, worst = np.stack(factors), 1.0
    for i, factor in enumerate(factors[:-1]):
        singular = np.linalg.svd(np.linalg.solve(factor, stacked[i + 1 :]), compute_uv=False)
        worst = max(worst, singular.max(), 1.0 / max(singular.min(), 1e-150))
    return float(worst**2)
