"""Whether sampled draws may be trusted, and what they lack where not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from stanrovi.samplers.by_fit import DIVERGENT_SHARE, Sampled
from stanrovi.samplers.legs import LegReport
from stanrovi.samplers.mixing import Goal
from stanrovi.scalars import TOO_NARROW, counted
from stanrovi.vi.checks.basins import lost_modes

_APART = 3.0  # standard errors between the evidences of two legs
_BLIND = 0.2  # standard error (nats) at which legs do not see that half of the mass is missing
_WALL = 3.0  # nats by which a density jumps, from which on chains may not cross it
_TOLD = 5


def doubts(sampled: Sampled, goal: Goal) -> tuple[str, ...]:
    """Say what is against draws, a sentence each; nothing where they may be trusted.

    Parameters
    ----------
    sampled : Sampled
    goal : Goal
    """
    if not sampled.mixed.names:
        return (TOO_NARROW,)
    return (
        *_lacking(sampled, goal),
        *_divergences(sampled),
        *_modes(sampled),
        *_legs(sampled),
        *_flaw(sampled),
    )


def support(sampled: Sampled, goal: Goal) -> str:
    """Say what speaks for draws that may be trusted."""
    chains = f"{goal.chains} chains agree" if goal.chains > 1 else "One chain"
    text = (
        f"{chains}: R-hat at most {sampled.mixed.rhat_max:.3f}, bulk and tail ESS at least "
        f"{sampled.mixed.ess_min:.0f} over {counted(len(sampled.mixed.names), 'parameter')}, "
        f"{counted(int(sampled.trace.diverged.sum()), 'divergence')}"
    )
    modes = len(sampled.fit.modes)
    if modes:
        text += f"; {counted(modes, 'basin')} found, and no other on a second look"
    else:
        text += "; the density has no mode of its own, as that of a funnel, and no symmetry takes "
        text += "the draws to where none is"
    if len(sampled.legs) > 1:
        first, second = (leg.evidence for leg in sampled.legs)
        text += (
            f"; the evidence from the fit and from a wide reference agree ({first.value:.2f} ± "
            f"{first.se:.2f} and {second.value:.2f} ± {second.se:.2f})"
        )
    return text + "."


def _lacking(sampled: Sampled, goal: Goal) -> list[str]:
    found = sampled.mixed
    lacking = np.flatnonzero(found.lacking(goal))
    if not len(lacking):
        return []
    order = lacking[np.argsort(found.ess[lacking])][:_TOLD]
    told = [f"{found.names[i]} (R-hat {found.rhat[i]:.3f}, ESS {found.ess[i]:.0f})" for i in order]
    more = f" and {len(lacking) - len(told)} more" if len(lacking) > len(told) else ""
    return [
        f"{len(lacking)} of {counted(len(found.names), 'parameter')} have not reached R-hat below "
        f"{goal.rhat:g} and bulk and tail ESS of {goal.ess:g}: {', '.join(told)}{more}. Allow more "
        "gradients or seconds, or reparameterise."
    ]


def _divergences(sampled: Sampled) -> list[str]:
    diverged = sampled.trace.diverged
    if diverged.mean() <= DIVERGENT_SHARE:
        return []
    return [
        f"{diverged.sum()} of {diverged.size} trajectories diverged: parts of the posterior are "
        "too narrow for the steps. Reparameterise what rules their width."
    ]


def _modes(sampled: Sampled) -> list[str]:
    out = []
    if sampled.unvisited:
        out.append(
            f"The density is the same with {sampled.unvisited[0]}, and no draw is there. Break the "
            "symmetry in the program (a sign that is fixed, an ordered vector)."
        )
    elif not sampled.fit.modes and sampled.kernel == "nuts":
        out.append(
            "No proper mode was found, so there was no look for others: all chains may be in one "
            "of several."
        )
    if n := len(sampled.fit.absent):
        out.append(
            f"{counted(n, 'mode')} found that the fit could not be given: draws there are "
            "missing, or come by luck. Another seed may do."
        )
    visited = [
        replace(mode, mass=float(mass))
        for mode, mass in zip(sampled.fit.modes, sampled.masses, strict=True)
    ]
    for k in lost_modes(visited):
        mode = visited[k]
        out.append(
            f"Mode {k + 1} has {mode.weight:.1%} of the local evidence and {mode.mass:.1%} of the "
            "draws."
        )
    return out


def _flaw(sampled: Sampled) -> list[str]:
    """Doubt what was accepted by values that another look changes, or next to high walls.

    Low jumps and gradients of another function make chains slow, and leave them right; a slit
    behind a wall is found by no gradient, and most chains have never been there.
    """
    flaw = sampled.fit.flaw
    if flaw is None:
        return []
    hidden = flaw.kind == "jump" and flaw.size >= _WALL
    return [str(flaw)] if hidden or (flaw.kind == "noise" and flaw.grave) else []


def _legs(sampled: Sampled) -> list[str]:
    legs: dict[str, LegReport] = {leg.name: leg for leg in sampled.legs}
    several = len(sampled.fit.modes) > 1
    if not several and "wide" not in legs:
        return []
    dim = sampled.trace.x.shape[2]
    blind = "a mode that the search missed would go unseen"
    if several and "fit" not in legs:
        return [
            f"No tempering from the fit: it is too far from the posterior in {dim} dimensions, "
            "or the budget did not suffice."
        ]
    if "wide" not in legs:
        return [f"No wide reference reaches a posterior of {dim} dimensions: {blind}."]
    wide = legs["wide"]
    if not wide.rungs:
        return [f"The budget did not suffice to temper from a wide reference: {blind}."]
    if not wide.alive:
        return [
            f"Tempering from a wide reference made {counted(wide.round_trips, 'round trip')} in "
            f"{dim} dimensions (barrier {wide.barrier:.1f}): {blind}."
        ]
    own = legs["fit"].evidence if "fit" in legs else sampled.evidence
    error = float(np.hypot(own.se, wide.evidence.se))
    if not abs(own.value - wide.evidence.value) <= _APART * error:
        return [
            f"The log evidence is {own.value:.2f} ± {own.se:.2f} from the fit and "
            f"{wide.evidence.value:.2f} ± {wide.evidence.se:.2f} from a wide reference: one of "
            "them misses part of the posterior."
        ]
    if error > _BLIND:
        return [
            f"The log evidences from the fit and from a wide reference have an error of "
            f"{error:.2f}: {blind}. Allow more gradients."
        ]
    return []
