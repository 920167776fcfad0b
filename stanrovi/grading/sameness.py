"""Fits that are the same, shown once: auto may choose what another method also fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from stanrovi.draws import Draws
from stanrovi.grading.findings import Findings
from stanrovi.methods import METHODS


def shown_once(findings: Findings) -> Findings:
    """Put fits whose draws are equal under one name.

    Parameters
    ----------
    findings : Findings

    Returns
    -------
    Findings
        With fits named ``auto = rovi``, the most general method first: its verdict holds for
        all, since its cures are what is left to do. The same findings where all fits differ.
    """
    groups: list[list[str]] = []
    for name, fit in findings.fits.items():
        group = next((g for g in groups if _same(findings.fits[g[0]], fit)), None)
        if group is None:
            groups.append([name])
        else:
            group.append(name)
    if len(groups) == len(findings.fits):
        return findings
    ordered = [by_generality(findings, group) for group in groups]
    first = {" = ".join(names): names[0] for names in ordered}
    modes = findings.modes
    if modes is not None:
        mass = {label: modes.mass[name] for label, name in first.items() if name in modes.mass}
        modes = replace(modes, mass=mass)
    return replace(
        findings,
        methods={label: findings.methods[name] for label, name in first.items()},
        fits={label: findings.fits[name] for label, name in first.items()},
        modes=modes,
    )


def by_generality(findings: Findings, names: Sequence[str]) -> list[str]:
    """Order names of fits, those of the most general method first."""
    rank = {method: -i for i, method in enumerate(METHODS)}
    return sorted(names, key=lambda name: rank.get(findings.fits[name].method, 1))  # type: ignore[call-overload]


def _same(one: Draws, other: Draws) -> bool:
    return one.parameters == other.parameters and all(
        np.array_equal(one.posterior[name], other.posterior[name]) for name in one.parameters
    )
