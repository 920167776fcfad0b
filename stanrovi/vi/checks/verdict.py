"""Whether a fit may be trusted, from what the fit itself knows; and what to do where not.

Importance weights say how well the approximation matches the target where it puts its draws;
they cannot see a mode without draws. So "ok" needs the modes to agree as well. The comparison
with NUTS (`stanrovi.compare`) adds what only a reference can tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stanrovi.errors import decimal
from stanrovi.methods import Method
from stanrovi.modes.basins import Mode
from stanrovi.modes.coherence import Flaw
from stanrovi.target import Array
from stanrovi.vi.checks.basins import WEIGHT
from stanrovi.vi.checks.found import Checks
from stanrovi.vi.checks.marginals import WRONG
from stanrovi.vi.facts import MarginalErrors, Root, Verdict
from stanrovi.vi.outcome import Outcome

_WILD = 3.0  # nats by which a density is none, whatever weights say
_UNSURE = 0.05  # Monte Carlo error of an estimate that says nothing
_UNSEEN = 0.02  # chance of a new basin
_UNEXPLAINED = 0.05  # share of the mass
_LAPLACE = 0.10  # error of a mode's weight, where only local evidence tells it
_SAMPLE = "Sample instead, which starts from such a fit (`stanrovi sample`, stanrovi.sample)."
_AUTO = "Fit by method auto, which looks for a richer family."
_SOURCES = {
    "weights": "importance weights",
    "scores": "the scores at its draws",
    "chains": "short chains from its draws",
}

Doubt = tuple[str, str]  # a reason with its cure


@dataclass(frozen=True)
class Case:
    """A finished fit with everything that is known of it.

    Attributes
    ----------
    method : Method
    outcome : Outcome
    modes : tuple of Mode
        With the fit's masses.
    log_ratio : ndarray, shape (n,)
        ``log p - log q`` at draws of the fit, -inf where the target rejects one.
    khat : float
    checks : Checks
    unseen : float
        Chance that another climb finds a new basin.
    roots : tuple of Root
    names : sequence of str
        Unconstrained parameters.
    flaw : Flaw or None
        What makes the density none.
    """

    method: Method
    outcome: Outcome
    modes: tuple[Mode, ...]
    log_ratio: Array
    khat: float
    checks: Checks
    unseen: float
    roots: tuple[Root, ...]
    names: Sequence[str]
    flaw: Flaw | None = None


def judge(case: Case) -> Verdict:
    """Judge a fit.

    Parameters
    ----------
    case : Case

    Returns
    -------
    Verdict
    """
    lost = _lost(case)
    shape = [*_marginals(case), *_weights(case)]
    ghosts = _ghosts(case)
    # A misfit is foreseen from the modes alone; draws that agree with the target refute it.
    if case.outcome.misfit is not None and (lost or shape or ghosts):
        foreseen = (case.outcome.misfit, _more_components(case))
        return _verdict("family cannot hold these modes", [foreseen, *lost, *ghosts])
    lost += [*_missing_images(case), *_absent(case)]
    if lost:
        return _verdict("collapsed", lost)
    # Marginals that are wrong say where the mass is; what is left is told where they do not.
    missed = [] if shape else _unexplained(case)
    doubts = [
        *_flaw(case, wrong=bool(shape)),
        *shape,
        *missed,
        *_unseen(case),
        *_ending(case),
        *_rejections(case),
    ]
    if doubts:
        return _verdict("suspect", doubts)
    return _verdict("ok", [(reason, "") for reason in _support(case)])


def _verdict(name: str, doubts: Sequence[Doubt]) -> Verdict:
    reasons, cures = zip(*doubts, strict=True)
    return Verdict(name, reasons, cures)  # type: ignore[arg-type]


def _flaw(case: Case, *, wrong: bool) -> list[Doubt]:
    """Doubt a fit to what is no density, unless values alone have told that it is right."""
    flaw = case.flaw
    if flaw is None or not flaw.grave:
        return []
    by_values = all(source == "weights" for source in case.checks.errors.source)
    if by_values and not wrong and flaw.size < _WILD:
        return []
    return [(flaw.reason, flaw.cure)]


def _lost(case: Case) -> list[Doubt]:
    """Modes with clear local evidence and (almost) no draws."""
    return [
        (
            f"mode {k + 1} has {case.modes[k].weight:.1%} of the local evidence and "
            f"{case.modes[k].mass:.1%} of the draws",
            _more_components(case),
        )
        for k in case.checks.lost
    ]


def _ghosts(case: Case) -> list[Doubt]:
    """Tell of accepted draws far below the target's usual density ratio."""
    ratio = case.log_ratio[np.isfinite(case.log_ratio)]
    share = float((ratio < np.median(ratio) - 10.0).mean())
    if share <= 0.01:
        return []
    return [(f"{share:.0%} of the draws lie where the target has no mass", _more_components(case))]


def _more_components(case: Case) -> str:
    if case.method in ("auto", "mixture"):
        return "Sample instead (`stanrovi sample`): chains that jump from mode to mode."
    return "Fit by method auto, which gives each mode a component where one family has no room."


def _missing_images(case: Case) -> list[Doubt]:
    missing = case.checks.orbits.missing
    if not missing:
        return []
    said = [f"mode {i.source + 1} with {i.symmetry.told(case.names)}" for i in missing[:3]]
    more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
    them = "a mode" if len(missing) == 1 else f"{len(missing)} modes"
    reason = f"the density is symmetric, and {them} of the orbit missing: {'; '.join(said)}{more}"
    cure = "Break the symmetry in the program (an ordered vector, a sign that is fixed)"
    return [(reason, f"{cure}, or fit with another seed.")]


def _absent(case: Case) -> list[Doubt]:
    doubts = []
    for mode, share in case.checks.absent:
        place = ", ".join(
            f"{name} = {value:.3g}"
            for name, value in zip(case.names[:3], mode.position, strict=False)
        )
        more = ", ..." if len(mode.position) > 3 else ""
        doubts.append(
            (
                f"a mode with about {share:.0%} of the mass has no draws; it is at {place}{more} "
                "(unconstrained)",
                _more_components(case),
            )
        )
    return doubts


def _marginals(case: Case) -> list[Doubt]:
    errors = case.checks.errors
    wrong = ~(errors.error <= WRONG)
    unsure = ~wrong & ~(errors.se <= _UNSURE)
    doubts = []
    if wrong.any():
        i = errors.worst(wrong)
        more = f", as are {wrong.sum() - 1} more of {len(wrong)}" if wrong.sum() > 1 else ""
        reason = (
            f"{errors.names[i]} is about {_sds(errors, i)} from the posterior by "
            f"{_SOURCES[errors.source[i]]}{more}; Pareto k-hat {case.khat:.2f}"
        )
        doubts.append((reason, _richer(case)))
    if unsure.any():
        i = int(np.argmax(np.where(unsure, errors.se, -np.inf)))
        more = f" and {unsure.sum() - 1} more" if unsure.sum() > 1 else ""
        reason = (
            f"how far {errors.names[i]}{more} may be from the posterior cannot be told: "
            f"{decimal(errors.error[i])} ± {decimal(errors.se[i])} sd by "
            f"{_SOURCES[errors.source[i]]}"
        )
        doubts.append((reason, _richer(case)))
    return doubts


def _sds(errors: MarginalErrors, i: int) -> str:
    return f"{decimal(errors.error[i])} sd (± {decimal(errors.se[i])})"


def _richer(case: Case) -> str:
    if case.method not in ("auto", "structured"):
        return _AUTO
    if case.roots:
        root = case.roots[0]
        ruled = list(root.ruled)
        many = f" and {len(ruled) - 1} more" if len(ruled) > 1 else ""
        return (
            f"Try the other form of {ruled[0]}{many}, whose spread {root.name} rules: non-centred "
            f"where it is centred, centred where it is not. Or sample (`stanrovi sample`)."
        )
    return _SAMPLE


def _weights(case: Case) -> list[Doubt]:
    doubts = []
    for k, (m, shift) in enumerate(zip(case.modes, case.checks.shifts, strict=False), start=1):
        off = abs(shift.fit - shift.target)
        if off > WEIGHT + 2 * shift.noise:
            reason = (
                f"mode {k} has {shift.fit:.1%} of the draws, and {shift.target:.1%} by importance "
                "weights"
            )
        elif shift.noise > WEIGHT and abs(m.mass - m.weight) > _LAPLACE:
            reason = (
                f"mode {k} has {m.weight:.1%} of the local evidence but {m.mass:.1%} of the draws"
            )
        else:
            continue
        doubts.append((reason, _more_components(case)))
    for i, j in case.checks.orbits.uneven[:1]:
        reason = (
            f"modes {i + 1} and {j + 1} are images of each other and equally heavy, but have "
            f"{case.modes[i].mass:.1%} and {case.modes[j].mass:.1%} of the draws"
        )
        doubts.append((reason, _more_components(case)))
    return doubts


def _unseen(case: Case) -> list[Doubt]:
    if case.unseen <= _UNSEEN:
        return []
    reason = (
        f"about {case.unseen:.0%} chance that another climb finds a new basin: so large a share of "
        "the climbs ended in basins met only once"
    )
    cure = "Fit with another seed, whose climbs begin elsewhere; or sample with a wide leg"
    return [(reason, f"{cure} (`stanrovi sample --wide-leg`).")]


def _unexplained(case: Case) -> list[Doubt]:
    share, se = case.checks.unexplained
    if not share - 2 * se > _UNEXPLAINED:
        return []
    reason = (
        f"about {share:.0%} (± {se:.0%}) of the mass lies around the fit, where it has next to no "
        "draws and no basin is known: a plateau, a ridge, a wide basin around a narrow one"
    )
    return [(reason, _SAMPLE)]


def _ending(case: Case) -> list[Doubt]:
    if case.outcome.status == "budget":
        return [(case.outcome.message, "Allow more gradients or seconds.")]
    if case.outcome.status == "max_iterations":
        cure = _richer(case)
        if case.outcome.resumable:
            cure = "Allow more gradients (--max-gradients, max_gradients)."
        return [(f"the fit did not converge: {case.outcome.message}", cure)]
    return []


def _rejections(case: Case) -> list[Doubt]:
    rejected = ~np.isfinite(case.log_ratio)
    if not rejected.any():
        return []
    reason = f"the target rejects {rejected.mean():.1%} of the draws"
    return [(reason, "Declare the bounds of the parameters, so that nothing is rejected.")]


def _support(case: Case) -> list[str]:
    modes = case.modes
    if not modes:
        first = "the mode search found no proper mode, but the marginals agree with the target"
        if case.outcome.anchored:
            first = "the density has no mode, but the marginal density of what rules the rest has"
            first += " one"
    elif len(modes) == 1:
        first = "one basin was found, and the draws lie in it"
    else:
        first = f"the draws are shared among {len(modes)} basins as the target shares its mass"
    errors = case.checks.errors
    reasons = [first]
    if len(errors.names):
        i = int(np.argmax(errors.error))
        reasons.append(
            f"the worst marginal is {errors.names[i]}, about {_sds(errors, i)} from the posterior "
            f"by {_SOURCES[errors.source[i]]}"
        )
    reasons.append(
        f"importance weights are {_efficiency(case.log_ratio):.0%} efficient, Pareto k-hat "
        f"{case.khat:.2f}"
    )
    return reasons


def _efficiency(log_ratio: Array) -> float:
    """Relative effective sample size of the importance weights of accepted draws."""
    w = np.exp(log_ratio[np.isfinite(log_ratio)] - log_ratio.max())
    return float(w.sum() ** 2 / (len(w) * (w @ w)))
