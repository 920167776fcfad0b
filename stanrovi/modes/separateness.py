"""epsilon-separateness of modes, and the mode collapse of mean field that follows.

After the notion of Sheng, Wu and Gonzalez-Sanz (2025, arXiv:2510.17063), in a
self-contained version whose constants can be computed (docs/mathematics.md):
two components are epsilon-separated in coordinates i != j if thresholds a, b
put all but epsilon of one in a corner of the (i, j) plane and all but epsilon
of the other in the opposite corner. A product measure that keeps both must
then put mass on the empty corners. With ``m = p (1 - r) + (1 - p) r`` the mass
off the diagonal, data processing gives ``KL(q || pi) >= kl(m || eps)``, while
fitting one component alone costs at most ``C = min_k { -log w_k + KL(q_k ||
P_k) }``. So the smaller mode's mass under the mean-field optimum is at most the
root ``m*`` of ``kl(m || eps) = C``. One separated coordinate alone does no harm.

Of several modes any two groups can be compared, eps being what the whole target has outside both
corners: the heaviest against the rest, and every pair with the others wherever they lie.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
from scipy.special import ndtr

from stanrovi.modes.basins import Mode
from stanrovi.modes.bounds import collapse_bound
from stanrovi.target import Array

_CANDIDATES = 6  # axes tried in pairs
_NOTHING = 0.5  # a bound that says nothing


@dataclass(frozen=True)
class Separateness:
    """How separate two groups of modes are for a product measure on given axes.

    Attributes
    ----------
    epsilon : float
        Mass of the target (as local Gaussians) outside the two corners, at most.
    coordinates : tuple of str
        The pair that separates them best; one name in one dimension.
    thresholds : tuple of float
        Where to cut those coordinates.
    cost : float
        Nats that keeping one mode alone costs, at most (C above).
    bound : float
        Largest mass m* that a product measure which beats that cost can leave
        the lighter corner; 0.5 where the bound says nothing.
    """

    epsilon: float
    coordinates: tuple[str, ...]
    thresholds: tuple[float, ...]
    cost: float
    bound: float

    @property
    def is_bounded(self) -> bool:
        """Whether the bound says anything."""
        return self.bound < _NOTHING

    @property
    def told(self) -> str:
        """What was found, in a sentence without its end."""
        pair = " and ".join(self.coordinates)
        if not self.is_bounded:
            return f"coordinates {pair}: no bound on the smaller mode (epsilon {self.epsilon:.2g})"
        return (
            f"coordinates {pair} separate the modes up to epsilon {self.epsilon:.2g}: a product on "
            f"them that beats a single mode leaves the smaller one at most {self.bound:.2%}"
        )


def separateness(
    modes: tuple[Mode, ...],
    names: tuple[str, ...],
    first: Sequence[int] = (0,),
    second: Sequence[int] | None = None,
) -> Separateness:
    """Separateness of two groups of modes from their local Gaussians.

    Parameters
    ----------
    modes : tuple of Mode
        At least two, all of the target's; heaviest first.
    names : tuple of str
        Coordinates.
    first, second : sequence of int
        The groups: the heaviest mode against all others if not given. Modes in neither may lie
        in either corner; what they have outside both counts.

    Returns
    -------
    Separateness
        ``epsilon`` bounds the mass outside the corners by the sum of two coordinates' tails
        (exact up to that union bound).
    """
    weight = np.array([m.weight for m in modes])
    weight = weight / weight.sum()
    groups = np.zeros(len(modes))  # -1 and 1: on which side
    groups[list(first)] = -1
    groups[list(second) if second is not None else groups == 0] = 1
    cost = _cost_of_one(modes, weight)
    cuts = _cuts(modes, weight, groups)[:_CANDIDATES]
    found: list[tuple[float, tuple[_Cut, ...]]] = [(1.0, (cuts[0],))]
    if len(names) > 1:
        found = [
            (_off_corners(weight, groups, one.low, other.low), (one, other))
            for one, other in combinations(cuts, 2)
            if one.axis != other.axis
        ]
    epsilon, pair = min(found, key=lambda f: f[0])
    return Separateness(
        epsilon=epsilon,
        coordinates=tuple(names[cut.axis] for cut in pair),
        thresholds=tuple(cut.threshold for cut in pair),
        cost=cost,
        bound=collapse_bound(epsilon, cost),
    )


@dataclass(frozen=True)
class _Cut:
    """A threshold on one axis, with the mass of each mode on the first group's side, (K,)."""

    axis: int
    threshold: float
    low: Array


def _cuts(modes: tuple[Mode, ...], weight: Array, groups: Array) -> list[_Cut]:
    """Best cut of each axis, the axes that separate the groups best first."""
    position, sd = np.stack([m.position for m in modes]), np.stack([m.sd for m in modes])
    ranked = []
    for axis in range(position.shape[1]):
        best: tuple[float, _Cut] | None = None
        order = np.argsort(position[:, axis])
        for a, b in pairwise(order):
            gap, s = position[b, axis] - position[a, axis], sd[[a, b], axis]
            threshold = float(position[a, axis] + gap * s[0] / s.sum())
            below = ndtr((threshold - position[:, axis]) / sd[:, axis])
            for low in (below, 1 - below):
                wrong = np.where(groups < 0, 1 - low, np.where(groups > 0, low, 0.0))
                error = float(weight @ wrong)
                if best is None or error < best[0]:
                    best = error, _Cut(axis, threshold, low)
        assert best is not None
        ranked.append(best)
    return [cut for _, cut in sorted(ranked, key=lambda b: b[0])]


def _off_corners(weight: Array, groups: Array, one: Array, other: Array) -> float:
    """Mass outside both corners, at most: each mode by its tails beyond its own corner."""
    out_of_first, out_of_second = (1 - one) + (1 - other), one + other
    off = np.where(
        groups < 0,
        out_of_first,
        np.where(groups > 0, out_of_second, np.minimum(out_of_first, out_of_second)),
    )
    return min(float(weight @ np.minimum(off, 1.0)), 1.0)


def _cost_of_one(modes: tuple[Mode, ...], weight: Array) -> float:
    """``min_k { -log w_k + KL(q_k || P_k) }`` with Gaussian P_k and mean-field q_k."""
    costs = []
    for mode, share in zip(modes, weight, strict=True):
        precision = mode.axes.precision_diagonal()
        mean_field = 0.5 * (np.log(precision).sum() + mode.axes.log_det_covariance())
        costs.append(-np.log(max(share, 1e-300)) + mean_field)
    return float(min(costs))
