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
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr, xlogy

from stanrovi.families.axes import DenseAxes
from stanrovi.modes.basins import Mode
from stanrovi.modes.lattice import Lattice, find_lattice
from stanrovi.modes.search import SearchResult


@dataclass(frozen=True)
class Separateness:
    """How separate the two heaviest modes are for a product measure on given axes.

    Attributes
    ----------
    epsilon : float
        Mass of either mode (local Gaussian) outside its corner, at most.
    coordinates : tuple of str
        The pair that separates them best; one name in one dimension.
    thresholds : tuple of float
        Where to cut those coordinates.
    cost : float
        Nats that keeping one mode alone costs, at most (C above).
    bound : float
        Largest mass m* that a product measure which beats that cost can leave
        the smaller mode; 0.5 where the bound says nothing.
    """

    epsilon: float
    coordinates: tuple[str, ...]
    thresholds: tuple[float, ...]
    cost: float
    bound: float


@dataclass(frozen=True, repr=False)
class ModeReport:
    """Mode table of a model.

    Attributes
    ----------
    model : str
    modes : tuple of Mode
    names : tuple of str
        Unconstrained parameters.
    original, rotated : Separateness or None
        For the coordinate axes, and for the axes that RoVI would begin with;
        None with fewer than two modes.
    misfit : str or None
        Why one rotated product cannot hold the modes.
    n_starts, n_usable, n_improper, n_gradients : int
    unseen : float
        Chance that another climb finds a new basin; see `stanrovi.modes.search.SearchResult`.
    warnings : tuple of str
        That no mode was found, for one.
    """

    model: str
    modes: tuple[Mode, ...]
    names: tuple[str, ...]
    original: Separateness | None
    rotated: Separateness | None
    misfit: str | None
    n_starts: int
    n_usable: int
    n_improper: int
    n_gradients: int
    unseen: float
    warnings: tuple[str, ...]

    def __repr__(self) -> str:
        weights = ", ".join(f"{mode.weight:.1%}" for mode in self.modes) or "none found"
        bounds = "".join(
            f", {axes} axes: epsilon {found.epsilon:.2g}, smaller mode at most {found.bound:.2g}"
            for axes, found in (("original", self.original), ("rotated", self.rotated))
            if found is not None
        )
        return f"<ModeReport: {self.model}, modes {weights}{bounds}>"

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as ``stanrovi modes --json`` prints it."""
        rows = [
            {
                "weight": m.weight,
                "log_density": m.log_density,
                "orbit": m.orbit,
                "position": m.position.tolist(),
            }
            for m in self.modes
        ]
        return {
            "model": self.model,
            "names": list(self.names),
            "modes": rows,
            "separateness": {
                "original": None if self.original is None else asdict(self.original),
                "rotated": None if self.rotated is None else asdict(self.rotated),
            },
            "misfit": self.misfit,
            "n_starts": self.n_starts,
            "n_usable": self.n_usable,
            "n_improper": self.n_improper,
            "n_gradients": self.n_gradients,
            "unseen": self.unseen,
            "warnings": list(self.warnings),
        }


def mode_report(
    search: SearchResult, n_gradients: int, model: str, names: tuple[str, ...]
) -> ModeReport:
    """Mode table with separateness in original and in rotated coordinates.

    Parameters
    ----------
    search : SearchResult
    n_gradients : int
        Spent on the search.
    model : str
    names : tuple of str
        Unconstrained parameters.
    """
    original = rotated = misfit = None
    if len(search.modes) >= 2:
        lattice = find_lattice(search.modes)
        misfit = lattice.misfit
        original = separateness(search.modes, names)
        rotated = separateness(*_in_lattice(search.modes, lattice))
    return ModeReport(
        model,
        search.modes,
        names,
        original,
        rotated,
        misfit,
        search.n_starts,
        search.n_usable,
        search.n_improper,
        n_gradients,
        search.unseen,
        search.doubts,
    )


def separateness(modes: tuple[Mode, ...], names: tuple[str, ...]) -> Separateness:
    """Separateness of the two heaviest modes from their local Gaussians.

    Parameters
    ----------
    modes : tuple of Mode
        At least two, heaviest first. Further modes are left out of the bound.
    names : tuple of str
        Coordinates.

    Returns
    -------
    Separateness
        ``epsilon`` bounds the mass outside a corner by the sum of the two
        coordinates' tails (exact up to that union bound).
    """
    first, second = modes[:2]
    s0, s1 = first.sd, second.sd
    gap = second.position - first.position
    tail = ndtr(-np.abs(gap) / (s0 + s1))
    threshold = first.position + gap * s0 / (s0 + s1)
    best = np.argsort(tail, kind="stable")[:2]
    epsilon = float(min(tail[best].sum(), 1.0)) if len(names) > 1 else 1.0
    cost = _cost_of_one(first, second)
    return Separateness(
        epsilon=epsilon,
        coordinates=tuple(names[i] for i in best),
        thresholds=tuple(float(threshold[i]) for i in best),
        cost=cost,
        bound=collapse_bound(epsilon, cost),
    )


def collapse_bound(epsilon: float, cost: float) -> float:
    """Root m* of ``kl(m || epsilon) = cost`` above epsilon, at most one half.

    Parameters
    ----------
    epsilon : float
        Mass of the target off the diagonal, at most.
    cost : float
        Nats.
    """
    epsilon = max(epsilon, 1e-300)
    if epsilon >= 0.5 or _binary_kl(0.5, epsilon) <= cost:
        return 0.5
    return float(brentq(lambda m: _binary_kl(m, epsilon) - cost, epsilon, 0.5, xtol=1e-15))


def _binary_kl(m: float, epsilon: float) -> float:
    return float(xlogy(m, m / epsilon) + xlogy(1 - m, (1 - m) / (1 - epsilon)))


def _cost_of_one(first: Mode, second: Mode) -> float:
    """``min_k { -log w_k + KL(q_k || P_k) }`` with Gaussian P_k and mean-field q_k."""
    total = first.weight + second.weight
    costs = []
    for mode in (first, second):
        precision = mode.axes.precision_diagonal()
        mean_field = 0.5 * (np.log(precision).sum() + mode.axes.log_det_covariance())
        costs.append(-np.log(mode.weight / total) + mean_field)
    return float(min(costs))


def _in_lattice(
    modes: tuple[Mode, ...], lattice: Lattice
) -> tuple[tuple[Mode, ...], tuple[str, ...]]:
    """Modes in the coordinates of rotated axes."""
    turned = tuple(
        replace(
            m,
            position=lattice.axes.solve(m.position - lattice.center),
            axes=DenseAxes(lattice.axes.solve(m.axes.matrix.T).T),
        )
        for m in modes
    )
    return turned, tuple(f"axis {i + 1}" for i in range(lattice.axes.dim))
