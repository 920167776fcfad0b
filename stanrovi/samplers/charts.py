"""Hamiltonian Monte Carlo in the base coordinates of a fit.

Where a fit q = sum_k w_k q_k is near the target, the target seen through the map T_k of a
component is near the standard normal there: a quarter turn forgets where it began, and one
step size serves every coordinate (Parno and Marzouk 2018, doi:10.1137/17M1134640; Hoffman and
colleagues 2019, arXiv:1903.03704). For several components the label k is a variable of its own,
drawn given x by the responsibilities of q and changed by jumps that keep the base point
(Tjelmeland and Hegstad 2001, doi:10.1111/1467-9469.00232): with every basin known, and
fitted, they weigh basins at one evaluation each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stanrovi.families.base import Family
from stanrovi.families.mixture import Mixture, parts
from stanrovi.samplers.nuts import DIVERGENT
from stanrovi.target import Array, LogDensity, Target

Labels = NDArray[np.intp]

QUARTER_TURN = 0.5 * np.pi
_JITTER = 0.15


@dataclass(frozen=True)
class Walkers:
    """Points with what the target says of them.

    Attributes
    ----------
    x : ndarray, shape (n, dim)
    log_p : ndarray, shape (n,)
    gradient : ndarray, shape (n, dim)
        Of log p.
    """

    x: Array
    log_p: Array
    gradient: Array

    @classmethod
    def at(cls, target: Target, x: Array) -> Walkers:
        """Evaluate the target at points x (n, dim)."""
        return cls(x, *target.log_density_gradient(x))

    def where(self, keep: NDArray[np.bool_], other: Walkers) -> Walkers:
        """Take these points where ``keep`` (n,), the others elsewhere."""
        return Walkers(
            np.where(keep[:, None], self.x, other.x),
            np.where(keep, self.log_p, other.log_p),
            np.where(keep[:, None], self.gradient, other.gradient),
        )

    def take(self, order: Labels) -> Walkers:
        """Select and reorder."""
        return Walkers(self.x[order], self.log_p[order], self.gradient[order])

    def put(self, rows: Labels, other: Walkers) -> Walkers:
        """Replace the points of some rows."""
        x, log_p, gradient = self.x.copy(), self.log_p.copy(), self.gradient.copy()
        x[rows], log_p[rows], gradient[rows] = other.x, other.log_p, other.gradient
        return Walkers(x, log_p, gradient)

    def joined(self, other: Walkers) -> Walkers:
        """Append others."""
        return Walkers(
            np.concatenate([self.x, other.x]),
            np.concatenate([self.log_p, other.log_p]),
            np.concatenate([self.gradient, other.gradient]),
        )


@dataclass(frozen=True)
class Path:
    """Densities ``reference^(1 - b) p^b``, one for each walker.

    Attributes
    ----------
    reference : callable or None
        None where every walker is at the target itself.
    power : ndarray, shape (n,)
        b.
    """

    reference: LogDensity | None
    power: Array

    def of(self, walkers: Walkers) -> tuple[Array, Array]:
        """Log densities (n,) with gradients (n, dim)."""
        if self.reference is None:
            return walkers.log_p, walkers.gradient
        value, gradient = self.reference(walkers.x)
        b = self.power
        mixed = (1 - b[:, None]) * gradient + b[:, None] * walkers.gradient
        with np.errstate(invalid="ignore"):
            log_p = np.where(b > 0, b * walkers.log_p, 0.0)
        return (1 - b) * value + log_p, mixed


@dataclass(frozen=True)
class Turned:
    """What a round of trajectories did.

    Attributes
    ----------
    walkers : Walkers
    acceptance : ndarray, shape (n,)
        Probability with which each trajectory was accepted.
    energy : ndarray, shape (n,)
        Of each trajectory at its beginning.
    diverged : ndarray of bool, shape (n,)
        Which lost track of their energy, as NUTS has it.
    """

    walkers: Walkers
    acceptance: Array
    energy: Array
    diverged: NDArray[np.bool_]


def trajectory_steps(dim: int) -> int:
    """Leapfrog steps of a quarter turn at the step that a normal of this dimension takes."""
    return max(1, round(QUARTER_TURN / (1.35 * dim**-0.25)))


class Charts:
    """A target through the components of a fit.

    Parameters
    ----------
    target : Target
    family : Family
        Product, Conditional or Mixture of these.
    """

    def __init__(self, target: Target, family: Family) -> None:
        self.target, self.family = target, family
        self.parts, self.weights = parts(family)

    def labels(self, x: Array, rng: np.random.Generator) -> Labels:
        """Draw the component of each point by the responsibilities."""
        if len(self.parts) == 1:
            return np.zeros(len(x), dtype=np.intp)
        assert isinstance(self.family, Mixture)
        joint = self.family.joint_log_density(x)
        return np.asarray((joint + rng.gumbel(size=joint.shape)).argmax(axis=1))

    def turn(
        self, walkers: Walkers, path: Path, step: Array, n_steps: int, rng: np.random.Generator
    ) -> Turned:
        """Move every walker by one trajectory of ``n_steps`` leapfrog steps of its own size."""
        k = self.labels(walkers.x, rng)
        z = self._base(k, walkers.x)
        value, slope = self._seen(k, z, path, walkers)[1:]
        momentum = rng.standard_normal(z.shape)
        start = value - 0.5 * (momentum**2).sum(axis=1)
        size = (step * rng.uniform(1 - _JITTER, 1 + _JITTER, len(z)))[:, None]
        place, new, at = z, walkers, value
        momentum = momentum + 0.5 * size * slope
        for i in range(n_steps):
            place = place + size * momentum
            new, at, slope = self._seen(k, place, path)
            momentum = momentum + (size if i < n_steps - 1 else 0.5 * size) * slope
        with np.errstate(invalid="ignore"):
            gain = at - 0.5 * (momentum**2).sum(axis=1) - start
        gain = np.where(np.isnan(gain), -np.inf, gain)
        chance = np.exp(np.minimum(gain, 0.0))
        accepted = rng.random(len(z)) < chance
        return Turned(new.where(accepted, walkers), chance, -start, gain < -DIVERGENT)

    def leap(self, walkers: Walkers, rng: np.random.Generator) -> tuple[Walkers, Array]:
        """Propose to every walker a draw of the fit, whatever it was before.

        Returns
        -------
        walkers : Walkers
        acceptance : ndarray, shape (n,)
            Probability with which each proposal was accepted.
        """
        n, dim = walkers.x.shape
        k = np.asarray(rng.choice(len(self.parts), size=n, p=self.weights), dtype=np.intp)
        z, x = rng.standard_normal((n, dim)), np.empty((n, dim))
        for j, rows in _groups(k):
            x[rows] = self.parts[j].from_base(z[rows])
        new = Walkers.at(self.target, x)
        log_q = self.family.log_density(np.concatenate([x, walkers.x])).reshape(2, n)
        with np.errstate(invalid="ignore"):
            gain = (new.log_p - log_q[0]) - (walkers.log_p - log_q[1])
        chance = np.exp(np.minimum(np.where(np.isnan(gain), -np.inf, gain), 0.0))
        return new.where(rng.random(n) < chance, walkers), chance

    def jump(self, walkers: Walkers, path: Path, rng: np.random.Generator) -> Walkers:
        """Propose to every walker the same base point under another component."""
        n = len(walkers.x)
        old = self.labels(walkers.x, rng)
        new = rng.choice(len(self.parts), size=n, p=self.weights)
        differs = np.flatnonzero(new != old)
        if not len(differs):
            return walkers
        path = Path(path.reference, path.power[differs])
        before = walkers.take(differs)
        z = self._base(old[differs], before.x)
        here = self._seen(old[differs], z, path, before)[1]
        after, there, _ = self._seen(new[differs], z, path)
        # The components' weights are in the densities already, and in the proposal.
        back = np.log(self.weights[old[differs]]) - np.log(self.weights[new[differs]])
        with np.errstate(invalid="ignore"):
            accepted = np.log(rng.random(len(z))) < there - here + back
        return walkers.put(differs, after.where(accepted, before))

    def _base(self, k: Labels, x: Array) -> Array:
        z = np.empty_like(x)
        for j, rows in _groups(k):
            z[rows] = self.parts[j].to_base(x[rows])
        return z

    def _seen(
        self, k: Labels, z: Array, path: Path, walkers: Walkers | None = None
    ) -> tuple[Walkers, Array, Array]:
        """Walkers at base points, with the density there and its gradient (n, dim)."""
        groups, x, log_det, lifts = _groups(k), np.empty_like(z), np.empty(len(z)), []
        for j, rows in groups:
            x[rows], log_det[rows], lift = self.parts[j].transport(z[rows])
            lifts.append(lift)
        if walkers is None:
            walkers = Walkers.at(self.target, x)
        value, gradient = path.of(walkers)
        if len(self.parts) > 1:
            total, pull = self.family.log_density_gradient(x)
            own, own_pull = np.empty_like(total), np.empty_like(pull)
            for j, rows in groups:
                own[rows], own_pull[rows] = self.parts[j].log_density_gradient(x[rows])
            value = value + np.log(self.weights[k]) + own - total
            gradient = gradient + own_pull - pull
        slope = np.empty_like(z)
        for (_, rows), lift in zip(groups, lifts, strict=True):
            slope[rows] = lift(np.ascontiguousarray(gradient[rows]))
        return walkers, value + log_det, slope


def _groups(k: Labels) -> Sequence[tuple[int, Labels]]:
    return [(int(j), np.flatnonzero(k == j)) for j in np.unique(k)]
