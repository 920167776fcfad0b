"""Draws along the axes of a fit, and which fit that is."""

from __future__ import annotations

import numpy as np

from stanrovi.families.axes import Frame
from stanrovi.grading.findings import Findings
from stanrovi.target import Array

_AXES_RANK = {"rovi": 0, "auto": 1, "mfvi": 3}


def axes_owner(findings: Findings) -> str | None:
    """Name of the fit along whose axes `plot_axes` draws; None where it draws nothing.

    A rovi fit before all others, and mfvi, whose axes are the parameters, last.
    """
    found = on_axes(findings)
    return None if found is None else found[0]


def on_axes(findings: Findings) -> tuple[str, Array, Array] | None:
    """Name of a fit, and its draws and those of the reference along its axes."""
    theirs = findings.reference_draws.unconstrained
    fits = findings.fits
    for name in sorted(fits, key=lambda name: _AXES_RANK.get(fits[name].method, 2)):
        facts = fits[name].facts
        if facts is None or facts.frame is None:
            continue
        along = _along(facts.frame, fits[name].unconstrained), _along(facts.frame, theirs)
        if along[0] is not None and along[1] is not None:
            return name, along[0], along[1]
    return None


def _along(frame: Frame, draws: Array | None) -> Array | None:
    """Coordinates of draws (chain, draw, d) along the axes; None where they have none."""
    if draws is None or draws.shape[-1] != frame.axes.dim:
        return None
    along = frame.coordinates(draws)
    return along if np.isfinite(along).all() else None
