"""Components of a mixture under way: for each orbit of modes one fit, its images, its weight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import logsumexp

from stanrovi.families.axes import DENSE_LIMIT
from stanrovi.families.conditional import Conditional
from stanrovi.families.mixture import Mixture
from stanrovi.families.moved import Component, Moved
from stanrovi.families.product import Product
from stanrovi.families.rotation import symmetric_root
from stanrovi.families.symmetry import Indices, Symmetry
from stanrovi.modes.basins import Mode
from stanrovi.target import Array
from stanrovi.vi.fit_run import FitRun

_SAME = 0.5  # nats of Jeffreys divergence below which two components are one
_COMPARED = 200  # draws
_APART = 4  # sds of either
CROWD = 16  # components of which most have nothing to do with most others


@dataclass(frozen=True)
class Part:
    """A component that was fitted, and what symmetries make of it.

    Attributes
    ----------
    family : Product or Conditional
    images : tuple of Symmetry
        What takes it to the other components of its orbit, all of the same weight.
    weight : float
        Of the whole orbit.
    settled : bool
        Whether its last fit converged.
    """

    family: Product | Conditional
    images: tuple[Symmetry, ...]
    weight: float
    settled: bool = False

    @property
    def members(self) -> tuple[Component, ...]:
        """The component and its images."""
        return self.family, *(Moved(self.family, by) for by in self.images)

    def log_density(self, x: Array) -> Array:
        """Log density (n,) of the orbit at x (n, dim)."""
        members = [member.log_density(x) for member in self.members]
        return np.asarray(logsumexp(members, axis=0) - np.log(len(members)))


def parts_at(modes: Sequence[Mode]) -> list[Part]:
    """Begin with the local Gaussian of each mode, or the first of each orbit."""
    found = []
    for mode in modes:
        if mode.symmetry is None:
            # A mode that no symmetry moves shares its orbit, None, with no image.
            images = tuple(
                m.symmetry for m in modes if m.orbit == mode.orbit and m.symmetry is not None
            )
            dense = len(mode.position) <= DENSE_LIMIT
            axes = symmetric_root(mode.covariance) if dense else mode.axes
            family = Product.gaussian(mode.position, axes)
            found.append(Part(family, images, mode.weight * (1 + len(images))))
    return normalised(found)


def mixture_of(parts: Sequence[Part]) -> Mixture:
    """Assemble the mixture."""
    weights = [part.weight / len(part.members) for part in parts for _ in part.members]
    return Mixture(np.array(weights), tuple(m for part in parts for m in part.members))


def normalised(parts: Sequence[Part]) -> list[Part]:
    """Let the weights sum to one."""
    total = sum(part.weight for part in parts)
    return [replace(part, weight=part.weight / total) for part in parts]


def weighed(run: FitRun, parts: Sequence[Part], *, draws: int = 256) -> tuple[list[Part], float]:
    """Weights by EM on importance weights of fresh draws of all parts.

    Images need no draws of their own: target and parts are the same there. Draws are shared out
    by weight, so that errors of the weights are alike.

    Parameters
    ----------
    run : FitRun
    parts : sequence of Part
    draws : int
        On average for each part.

    Returns
    -------
    parts : list of Part
    se : float
        Largest standard error of a weight.
    """
    share = np.array([part.weight for part in parts])
    counts = np.clip(draws * len(parts) * share, draws / 4, draws * 4).astype(int)
    x = np.concatenate(
        [part.family.from_base(run.base(n)) for part, n in zip(parts, counts, strict=True)]
    )
    with run.target.stage("weights"):
        log_p, _ = run.target.log_density_gradient(x)
    log_parts = np.stack([part.log_density(x) for part in parts], axis=1)
    stratum = np.repeat(np.arange(len(parts)), counts)
    weights, se = _by_em(log_p, log_parts, np.log(counts / counts.sum()), share, stratum)
    weighted = [replace(part, weight=float(w)) for part, w in zip(parts, weights, strict=True)]
    return weighted, se


def _by_em(
    log_p: Array, log_parts: Array, log_share: Array, weights: Array, stratum: Indices
) -> tuple[Array, float]:
    """Weights that maximise the likelihood of weighted draws; with their largest standard error."""
    total = logsumexp(log_parts + log_share, axis=1)
    told = np.isfinite(total)  # a component can be beyond numbers at draws of its own
    log_parts, stratum, log_ratio = log_parts[told], stratum[told], (log_p - total)[told]
    importance = np.exp(log_ratio - log_ratio.max())
    importance /= importance.sum()
    for _ in range(200):
        joint = np.log(np.maximum(weights, 1e-300)) + log_parts
        responsibility = np.exp(joint - logsumexp(joint, axis=1, keepdims=True))
        new = importance @ responsibility
        if np.abs(new - weights).max() < 1e-6:
            break
        weights = new
    terms = importance[:, None] * (responsibility - weights)
    variance = np.zeros(len(weights))
    for k in np.unique(stratum):
        own = terms[stratum == k]
        variance += len(own) * own.var(axis=0)
    return weights, float(np.sqrt(variance.max()))


def without_duplicates(
    parts: Sequence[Part], rng: np.random.Generator, notes: list[str]
) -> list[Part]:
    """Merge components that drifted into one another."""
    kept: list[Part] = []
    crowded = sum(1 + len(part.images) for part in parts) > CROWD

    def one(p: Component, q: Component) -> bool:
        return not (crowded and _far(p, q)) and _one(p, q, rng)

    for part in parts:
        images = tuple(by for by in part.images if not one(part.family, Moved(part.family, by)))
        if len(images) < len(part.images):
            notes.append("A component that had become its own image was left at that.")
            part = replace(part, images=images)
        for i, other in enumerate(kept):
            if any(one(part.family, member) for member in other.members):
                notes.append("Two components that had become one were merged.")
                kept[i] = replace(other, weight=other.weight + part.weight)
                break
        else:
            kept.append(part)
    return kept


def _far(p: Component, q: Component) -> bool:
    """Whether means alone tell that two components are not one."""
    apart = np.abs(p.mean() - q.mean())
    return bool((apart > _APART * np.maximum(p.sd(), q.sd())).any())


def _one(p: Component, q: Component, rng: np.random.Generator) -> bool:
    x, y = p.sample(_COMPARED, rng), q.sample(_COMPARED, rng)
    return _mean_gain(p, q, x) + _mean_gain(q, p, y) < _SAME


def _mean_gain(p: Component, q: Component, x: Array) -> float:
    """Mean of ``log p - log q`` at draws of p, where numbers hold it."""
    log_p = p.log_density(x)
    held = np.isfinite(log_p)
    apart = log_p[held] - q.log_density(x[held])
    return float(apart.mean()) if held.any() and np.isfinite(apart).all() else np.inf
