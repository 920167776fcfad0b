"""Verdicts: what the distances, the mode table and a fit's own checks amount to.

k-hat judges a fit where the fit lives and is blind to a mode it has missed, so it
never makes a verdict "ok"; agreement with a trusted reference or with the
mode table does.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stanrovi.diagnostics.reference import ReferenceCheck
from stanrovi.errors import decimal
from stanrovi.grading.distances import LEVEL_Z, Distances
from stanrovi.grading.mode_table import WEIGHT_LIMIT, ModeTable
from stanrovi.target import Array
from stanrovi.vi.facts import Verdict, VerdictName

# A difference smaller than this (reference sds) is measurable with enough draws, and harmless.
TOLERANCE = 0.1
PAIR_TOLERANCE = 0.2
SD_RATIO_LIMIT = 1.2
# A mode with less than this share of the mass it should have is lost.
LOST_SHARE = 0.2
MASS_TOLERANCE = 0.1
EXTRA_MASS = 0.03  # of draws in modes where the reference has none
_SEVERITY: dict[VerdictName, int] = {
    "ok": 0,
    "suspect": 1,
    "collapsed": 2,
    "family cannot hold these modes": 3,
}
_MORE_MODES = "Fit by method auto, or mixture, which give each mode a component."
_OTHER = "Use the draws of the reference, or another method."


class Finding(NamedTuple):
    """Something found, how grave it is, and what to do about it."""

    level: VerdictName
    reason: str
    cure: str = ""


def grade(
    own: Verdict | None,
    reference: ReferenceCheck,
    marginals: Distances | None,
    pairs: Distances | None,
    modes: ModeTable | None,
    name: str,
) -> Verdict:
    """Combine everything known about one fit.

    Parameters
    ----------
    own : Verdict or None
        The fit's own verdict.
    reference : ReferenceCheck
        Whether ``marginals`` and ``pairs`` mean anything.
    marginals, pairs : Distances or None
        Distances to the reference; None where it is not trusted.
    modes : ModeTable or None
        Mass per known basin.
    name : str
        Name of the fit in the mode table.

    Returns
    -------
    Verdict
        The worst of all findings. One exception: a fit that merely was "suspect"
        to itself (k-hat, say) is "ok" when no marginal and no pair differs from a
        trusted reference by more than noise.
    """
    masses = _mass_findings(modes, reference.trusted, name)
    if marginals is None:
        return _grade_without_reference(own, masses, reference, modes, name)
    findings = [*masses, *_distance_findings(marginals, pairs)]
    if own is not None and own.name not in ("ok", "suspect"):
        findings.extend(_own_findings(own, own.name, masses))
    if own is not None and own.name == "suspect":
        within = not findings and _within_floor(marginals, pairs)
        level: VerdictName = "ok" if within else "suspect"
        doubts = _own_findings(own, level, masses)
        findings.extend(Finding(level, f"Its own check: {d.reason}", d.cure) for d in doubts)
    return _verdict(findings, _summary(marginals))


def _grade_without_reference(
    own: Verdict | None,
    masses: list[Finding],
    reference: ReferenceCheck,
    modes: ModeTable | None,
    name: str,
) -> Verdict:
    findings = list(masses)
    if own is not None:
        findings.extend(_own_findings(own, own.name, masses))
    placed = modes is not None and name in modes.mass
    if own is None and not placed:
        reason = "There is nothing to judge it by: no modes, no own checks."
        findings.append(Finding("suspect", reason))
    elif own is None and not findings:
        findings.append(Finding("suspect", "Only the mode table speaks for it."))
    elif placed and not masses and modes is not None:
        shares = _slashed(modes.mass[name])
        reason = f"Mode table: {shares} of its draws, {_slashed(modes.weight)} expected."
        findings.append(Finding("ok", reason))
    return _verdict(
        findings, [f"Not graded against {reference.method}, which is not trusted here."]
    )


def _own_findings(own: Verdict, level: VerdictName, masses: list[Finding]) -> list[Finding]:
    """Give the fit's own reasons without those that the mode table has told as gravely."""
    told = "\n".join(m.reason for m in masses if _SEVERITY[m.level] >= _SEVERITY[level])
    return [
        Finding(level, reason, cure)
        for reason, cure in own.findings or (("by its own checks", ""),)
        if (mode := re.match(r"mode \d+", reason)) is None or f"{mode[0]}:" not in told
    ]


def _mass_findings(modes: ModeTable | None, trusted: bool, name: str) -> list[Finding]:
    if modes is None or name not in modes.mass or len(modes.weight) < 2:
        return []
    mass = modes.mass[name]
    source, expected = "the local evidence", modes.weight
    if trusted and modes.reference_mass is not None:
        source, expected = "the reference", modes.reference_mass
    findings: list[Finding] = []
    for i in np.flatnonzero(expected >= WEIGHT_LIMIT):
        has = f"mode {i + 1}: {mass[i]:.1%} of its draws, {expected[i]:.0%} by {source}."
        if mass[i] < LOST_SHARE * expected[i]:
            findings.append(Finding("collapsed", f"Lost {has}", _MORE_MODES))
        elif abs(mass[i] - expected[i]) > MASS_TOLERANCE:
            findings.append(Finding("suspect", f"Wrong weight of {has}", _MORE_MODES))
    lost = [finding for finding in findings if finding.level == "collapsed"]
    unseen = (expected == 0) & (mass >= EXTRA_MASS)
    extra = np.flatnonzero(unseen & (source == "the reference"))
    if lost or not len(extra):
        # Of two modes one has too much if the other has too little: one thing, said once.
        return lost or (findings[:1] if len(expected) == 2 else findings)
    share = float(mass[extra].sum())
    where = " and ".join(f"mode {i + 1}" for i in extra)
    reason = f"{share:.1%} of its draws lie in {where}, where the reference has none."
    return [
        Finding("suspect", reason, "Run more chains from other starts: one of the two is wrong.")
    ]


def _distance_findings(marginals: Distances, pairs: Distances | None) -> list[Finding]:
    findings: list[Finding] = []
    far = exceeds(marginals)
    if far.any():
        i = _worst_index(marginals.w1, far)
        findings.append(
            Finding(
                "suspect",
                f"{_count(far, 'marginal')} differ from the reference; the worst is "
                f"{marginals.names[i]}: W1 {decimal(marginals.w1[i])} sd (noise floor "
                f"{marginals.floor[i]:.2f}), mean error {marginals.mean_error[i]:+z.2f} sd, "
                f"sd ratio {marginals.sd_ratio[i]:.2f}.",
                _OTHER,
            )
        )
    wrong = wrong_sd(marginals) & ~far
    if wrong.any():
        i = _worst_index(_log_sd(marginals), wrong)
        findings.append(
            Finding(
                "suspect",
                f"{_count(wrong, 'sd')} differ from the reference; the worst is "
                f"{marginals.names[i]} with sd ratio {marginals.sd_ratio[i]:.2f}.",
                _OTHER,
            )
        )
    if pairs is not None and (off := pairs.w1 > np.maximum(pairs.floor, PAIR_TOLERANCE)).any():
        i = _worst_index(pairs.w1, off)
        findings.append(
            Finding(
                "suspect",
                f"{int(off.sum())} of {off.size} sums and differences of standardised parameters "
                f"are off, so dependence is; the worst is {pairs.names[i]}: W1 "
                f"{decimal(pairs.w1[i])} sd, sd ratio {pairs.sd_ratio[i]:.2f}.",
                _OTHER,
            )
        )
    return findings


def exceeds(distances: Distances) -> NDArray[np.bool_]:
    """Which quantities differ from the reference by more than noise and more than matters."""
    return np.asarray(distances.w1 > np.maximum(distances.floor, TOLERANCE))


def wrong_sd(distances: Distances) -> NDArray[np.bool_]:
    """Which quantities have a wrong sd, beyond noise and beyond a factor of 1.2."""
    # The noise is for one quantity; the largest of k normal errors grows as sqrt(2 log k).
    bound = (LEVEL_Z + np.sqrt(2 * np.log(len(distances.names)))) * distances.sd_noise
    return np.asarray(_log_sd(distances) > np.maximum(bound, np.log(SD_RATIO_LIMIT)))


def _log_sd(distances: Distances) -> Array:
    with np.errstate(divide="ignore"):  # a frozen fit is infinitely too narrow
        return np.asarray(np.abs(np.log(distances.sd_ratio)))


def _within_floor(marginals: Distances, pairs: Distances | None) -> bool:
    both = [marginals] if pairs is None else [marginals, pairs]
    return all(bool((part.w1 <= part.floor).all()) for part in both)


def _summary(marginals: Distances) -> list[str]:
    i = int(np.argmax(marginals.w1))
    floor = float(marginals.floor.max())
    lines = []
    if not exceeds(marginals).any():
        lines.append(
            f"Worst of {len(marginals.names)} marginals: {marginals.names[i]}, W1 "
            f"{marginals.w1[i]:.3f} sd; noise floor {marginals.floor[i]:.3f}."
        )
    if floor > 2 * TOLERANCE:
        lines.append(
            f"Few effective draws: differences below {floor:.2f} sd cannot be seen; "
            "draw more from the reference."
        )
    return lines


def _verdict(findings: list[Finding], notes: list[str]) -> Verdict:
    """Give the gravest reasons first; what speaks for a fit counts only when nothing is against."""
    against = [finding for finding in findings if finding.level != "ok"]
    ordered = sorted(against or findings, key=lambda finding: -_SEVERITY[finding.level])
    cures = {finding.reason: finding.cure for finding in reversed(ordered)}
    reasons = tuple(dict.fromkeys(finding.reason for finding in ordered))
    worst: VerdictName = max((f.level for f in findings), key=_SEVERITY.__getitem__, default="ok")
    told = tuple(cures[reason] for reason in reasons) + ("",) * len(notes)
    return Verdict(worst, (*reasons, *notes), told)


def _worst_index(values: Array, among: NDArray[np.bool_]) -> int:
    return int(np.argmax(np.where(among, values, -np.inf)))


def _count(flags: NDArray[np.bool_], noun: str) -> str:
    return f"{int(flags.sum())} of {flags.size} {noun}s"


def _slashed(shares: Array) -> str:
    return "/".join(f"{share:.0%}" for share in shares)
