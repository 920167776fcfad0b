"""Whether a fit has every mode that can be known of, with its right weight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from stanrovi.modes.basins import Mode, basin_labels
from stanrovi.modes.explore import Held
from stanrovi.modes.look import Look, look_again
from stanrovi.modes.starts import all_around_log_density
from stanrovi.modes.symmetry import Image, exchanged, images, symmetries
from stanrovi.target import Array, BudgetExhausted
from stanrovi.vi.checks.evidence import Evidence
from stanrovi.vi.checks.weights import Weighted
from stanrovi.vi.start import laplace

WEIGHT = 0.03  # error of a mode's weight that matters
_SEEN = 0.02  # share of all mass from which on a mode counts
_LOST = 0.2  # share of its weight below which a mode has no draws to speak of
_PROBES = 128
_POOREST = 16  # draws where the fit has least of the target's mass: climbs begin there, too
_LEAST_STARTS = 50
_FAR_ABOVE = 1.0  # nats by which the target is where the fit explains nothing
_BULK, _MORE = 0.002, 0.5  # share of draws outside the bulk; nats above the ratios inside
_FEW_DRAWS = 8  # or so many draws, that a mode which has some does not pass for usual
_HELD = 3.0  # nats by which a fit may be lower at a mode than at its image


@dataclass(frozen=True)
class Shift:
    """Mass of a basin by the fit and by the importance weights.

    Attributes
    ----------
    fit, target, noise : float
        Shares, and the standard error of their difference.
    """

    fit: float
    target: float
    noise: float


@dataclass(frozen=True)
class Orbits:
    """What symmetries of the target say of its modes.

    Attributes
    ----------
    missing : tuple of Image
        Modes that must be there, and that the fit lacks.
    uneven : tuple of (int, int)
        Pairs of modes that are equally heavy, and in the fit are not.
    """

    missing: tuple[Image, ...]
    uneven: tuple[tuple[int, int], ...]


def lost_modes(modes: Sequence[Mode]) -> tuple[int, ...]:
    """Give the indices of modes with clear local evidence and (almost) no draws."""
    return tuple(k for k, m in enumerate(modes) if m.weight > _SEEN and m.mass < _LOST * m.weight)


def shifts(modes: Sequence[Mode], weighted: Weighted) -> tuple[Shift, ...]:
    """Compare masses of basins, one shift for each mode."""
    if len(modes) < 2:
        return ()
    labels = basin_labels(modes, weighted.x)
    found = []
    for k in range(len(modes)):
        inside = labels == k
        p, q = float(weighted.target[inside].sum()), float(weighted.fit[inside].sum())
        terms = weighted.target * (inside - p) - weighted.fit * (inside - q)
        found.append(Shift(q, p, float(np.sqrt((terms**2).sum()))))
    return tuple(found)


def absent_modes(
    evidence: Evidence, modes: Sequence[Mode], most_gradients: int, rng: np.random.Generator
) -> tuple[tuple[tuple[Mode, float], ...], tuple[float, float]]:
    """Look for further modes, and keep those whose mass the fit lacks.

    Parameters
    ----------
    evidence : Evidence
    modes : sequence of Mode
        Known; at least one.
    most_gradients : int
    rng : numpy.random.Generator

    Returns
    -------
    modes : tuple of (Mode, float)
        With their share of the target's mass, heaviest first.
    unexplained : (float, float)
        Share of the mass that nothing found so far explains, and its standard error.
    """
    poorest = evidence.x[np.argsort(-evidence.log_ratio)[:_POOREST]]
    poorest = np.concatenate([_beyond_draws(evidence), poorest])[:_POOREST]
    look = look_again(
        evidence.target, modes, poorest, rng, most_gradients=most_gradients, held=_held(evidence)
    )
    found = [(mode, _lacking(evidence, mode, rng)) for mode in look.modes]
    absent = tuple(sorted((a for a in found if a[1] >= _SEEN), key=lambda a: -a[1]))
    return absent, (0.0, 0.0) if absent else _unexplained(evidence, modes, look)


def _unexplained(evidence: Evidence, modes: Sequence[Mode], look: Look) -> tuple[float, float]:
    """Share of the mass where the target is far above the fit, by the points where climbs began.

    They are draws of a density of their own, wide and heavy-tailed, around the modes.
    """
    if len(look.starts) < _LEAST_STARTS:
        return 0.0, 0.0
    accepted = evidence.log_ratio[np.isfinite(evidence.log_p)]
    log_mass = logsumexp(accepted) - np.log(len(accepted))
    with np.errstate(all="ignore"):
        log_p = look.log_density - log_mass
        log_q = evidence.family.log_density(look.starts)
        beyond = log_p > np.nan_to_num(log_q, nan=-np.inf) + _FAR_ABOVE
        proposal = all_around_log_density(modes, look.starts)
        weight = np.where(beyond, np.exp(np.minimum(log_p - proposal, 50.0)), 0.0)
    share = float(np.nan_to_num(weight).mean())
    se = float(np.nan_to_num(weight).std() / np.sqrt(len(weight)))
    return share / (1 + share), se / (1 + share) ** 2


def _beyond_draws(evidence: Evidence) -> Array:
    """Points of the fit's making, in its bulk, where the target has more than at any draw."""
    if evidence.seen is None:
        return evidence.x[:0]
    x, log_p = evidence.seen
    floor, most = _bulk(evidence)
    with np.errstate(all="ignore"):
        log_q = evidence.family.log_density(x)
        ratio = np.where((log_q > floor) & np.isfinite(log_p), log_p - log_q, -np.inf)
    order = np.argsort(-ratio)[: _POOREST // 2]
    return x[order[ratio[order] > max(most, float(evidence.log_ratio.max()))]]


def _bulk(evidence: Evidence) -> tuple[float, float]:
    """Log density of a fit above which its bulk is, and the log ratio that is usual there."""
    accepted = np.isfinite(evidence.log_p)
    log_q, ratio = evidence.log_q[accepted], evidence.log_ratio[accepted]
    rare = max(_BULK, min(_FEW_DRAWS / len(ratio), 0.5))
    return float(np.quantile(log_q, _BULK)), float(np.quantile(ratio, 1 - rare) + _MORE)


def _held(evidence: Evidence) -> Held:
    """Tell points in the bulk of a fit where the target has no more mass than it has elsewhere."""
    floor, most = _bulk(evidence)

    def held(x: Array, log_p: Array) -> NDArray[np.bool_]:
        with np.errstate(all="ignore"):
            log_q = evidence.family.log_density(x)
            return np.asarray((log_q > floor) & (log_p - log_q < most))

    return held


def orbits(evidence: Evidence, modes: Sequence[Mode], names: Sequence[str]) -> Orbits:
    """Find what symmetries of the target promise, and the fit does not keep.

    Parameters
    ----------
    evidence : Evidence
    modes : sequence of Mode
        With the fit's masses.
    names : sequence of str
        Unconstrained coordinates.
    """
    accepted = evidence.x[np.isfinite(evidence.log_p)]
    try:
        found = symmetries(evidence.target, modes, accepted, names)
    except BudgetExhausted:
        found = ()
    if not found:
        return Orbits((), ())
    uneven = tuple(
        pair for pair in exchanged(modes, found)
        if abs(modes[pair[0]].mass - modes[pair[1]].mass) > 2 * WEIGHT
    )  # fmt: skip
    promised = list(images(modes, found))
    if not promised:
        return Orbits((), uneven)
    place = np.stack([image.position for image in promised])
    source = np.stack([modes[image.source].position for image in promised])
    there, here = evidence.family.log_density(place), evidence.family.log_density(source)
    held = there > here - _HELD
    return Orbits(tuple(i for i, kept in zip(promised, held, strict=True) if not kept), uneven)


def _lacking(evidence: Evidence, mode: Mode, rng: np.random.Generator) -> float:
    """Share of the target's mass around a mode that the fit does not have.

    By importance sampling from the local Gaussian.
    """
    x, own = laplace(mode).push_forward(rng.standard_normal((_PROBES, len(mode.position))))
    try:
        with np.errstate(all="ignore"):
            log_p, _ = evidence.target.log_density_gradient(x)
    except BudgetExhausted:
        return mode.weight
    accepted = evidence.log_ratio[np.isfinite(evidence.log_p)]
    log_mass = logsumexp(accepted) - np.log(len(accepted))
    with np.errstate(over="ignore", invalid="ignore"):
        target = np.exp(np.minimum(log_p - log_mass - own, 50.0))
        held = np.exp(np.minimum(evidence.family.log_density(x) - own, 50.0))
    lacking = float(np.maximum(np.nan_to_num(target - held), 0.0).mean())
    return lacking / (1 + lacking)
