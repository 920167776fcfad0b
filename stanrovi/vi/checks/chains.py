"""Short chains from a fit's draws, and how far they move each marginal.

Hamiltonian trajectories of a quarter turn in the base coordinates of the fit, where a target
near the fit is near the standard normal, so that each forgets where it began. (After Domke and
colleagues' targeted accuracy diagnostic, arXiv:2302.12419.) At their ends the score is a control
variate: where the target is Gaussian in base coordinates the estimate has no noise at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stanrovi.families.axes import DENSE_LIMIT
from stanrovi.families.base import Family, base_draws
from stanrovi.families.mixture import parts
from stanrovi.families.moved import Component
from stanrovi.scalars import Scalars
from stanrovi.target import Array, Target
from stanrovi.vi.checks.normal_scores import NormalScores
from stanrovi.vi.checks.tangent import Tangent, regressed_tangent, tangent_of_map

_TURN = 1.4  # length of a trajectory; pi / 2 forgets its beginning where all is normal
_ROUNDS = 3  # trajectories; the ends of all but the first count
_ACCEPTANCE = 0.6
_STUCK = 0.3  # acceptance below which chains tell nothing


@dataclass(frozen=True)
class Moved:
    """What short chains tell.

    Attributes
    ----------
    error, noise : ndarray, shape (k,)
        W1 between the fit and the chains' ends, in sds, and its standard error.
    stuck : bool
        Whether they hardly moved, and tell nothing.
    """

    error: Array
    noise: Array
    stuck: bool


def gradients_of(dim: int) -> int:
    """Gradients that one chain takes."""
    return 1 + _ROUNDS * int(np.ceil(_TURN / (0.95 * _step(dim))))


def from_chains(
    target: Target,
    family: Family,
    scalars: Scalars,
    scores: NormalScores,
    n: int,
    rng: np.random.Generator,
) -> Moved:
    """Run about ``n`` chains.

    Parameters
    ----------
    target : Target
    family : Family
    scalars : Scalars
        In more than `DENSE_LIMIT` dimensions the coordinates themselves.
    scores : NormalScores
        Of the scalars under the fit.
    n : int
    rng : numpy.random.Generator
    """
    first, second, weight, acceptance = [], [], [], 1.0
    for part, share in zip(*parts(family), strict=True):
        chains = max(4, round(n * share))
        if part.dim > DENSE_LIMIT:
            tangent: Tangent = tangent_of_map(part, scalars, scores)
        else:
            tangent = regressed_tangent(part, scalars, scores, rng)
        size = tangent.size
        with np.errstate(all="ignore"):
            ends, accepted = _trajectories(target, part, base_draws(chains, part.dim, rng), rng)
        acceptance = min(acceptance, accepted)
        for z, gradient in ends:
            score = scores.of(scalars.of(part.from_base(z)))
            pull, place = tangent.along(gradient), tangent.along(z)
            # Both have mean zero under the target: the score, and place times score plus size.
            first.append(score + pull)
            second.append(score**2 - 1 + place * pull + size)
            weight.append(np.full(chains, share / chains / len(ends)))
    w = np.concatenate(weight)
    mean, sd = _moments(np.concatenate(first), w)
    square, square_sd = _moments(np.concatenate(second), w)
    error = scores.w1(mean, square - mean**2)
    none = np.zeros_like(mean)
    noise = np.hypot(scores.w1(sd, none), scores.w1(none, square_sd))
    return Moved(error, noise, acceptance < _STUCK)


def _moments(values: Array, w: Array) -> tuple[Array, Array]:
    """Weighted mean and its standard error, shape (k,), pairs of ends counting once."""
    mean = w @ values
    # Ends of one chain are nearly independent; they count as half of that to be safe.
    return mean, np.sqrt(1.5 * (w**2 @ (values - mean) ** 2))


def _trajectories(
    target: Target, part: Component, z: Array, rng: np.random.Generator
) -> tuple[list[tuple[Array, Array]], float]:
    """Give the ends of the trajectories with the scores there, and the last acceptance rate."""
    pulled = target.composed(through=part)
    value, gradient = pulled.log_density_gradient(z)
    step, ends, rate = _step(part.dim), [], 1.0
    for _ in range(_ROUNDS):
        size = step * rng.uniform(0.9, 1.1)
        momentum = rng.standard_normal(z.shape)
        energy = value - 0.5 * (momentum**2).sum(axis=1)
        place, slope, at = z, gradient, value
        count = max(1, int(np.ceil(_TURN / size)))
        momentum = momentum + 0.5 * size * slope
        for i in range(count):
            place = place + size * momentum
            at, slope = pulled.log_density_gradient(place)
            momentum = momentum + (size if i < count - 1 else 0.5 * size) * slope
        gain = at - 0.5 * (momentum**2).sum(axis=1) - energy
        chance = np.exp(np.minimum(np.nan_to_num(gain, nan=-np.inf), 0.0))
        accepted = rng.random(len(z)) < chance
        z = np.where(accepted[:, None], place, z)
        gradient = np.where(accepted[:, None], slope, gradient)
        value = np.where(accepted, at, value)
        rate = float(chance.mean())
        if rate < _ACCEPTANCE:
            step *= 0.6
        ends.append((z, gradient))
    return ends[1:], rate


def _step(dim: int) -> float:
    return float(1.1 * dim**-0.25)
