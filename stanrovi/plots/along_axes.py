"""Draws along the axes of a fit, and which fit that is."""

from __future__ import annotations

import numpy as np

from stanrovi.draws import Draws
from stanrovi.families.axes import DiagonalAxes, Frame
from stanrovi.grading.findings import Findings
from stanrovi.methods import Method
from stanrovi.target import Array

_FIRST: tuple[Method, ...] = ("rovi", "auto")  # whose axes are worth seeing before others'


def axes_owner(findings: Findings) -> str | None:
    """Name of the fit along whose axes `plot_axes` draws; None where it draws nothing.

    A rovi fit before all others, and one whose axes are the parameters last.
    """
    found = on_axes(findings)
    return None if found is None else found[0]


def on_axes(findings: Findings) -> tuple[str, Array, Array] | None:
    """Name of a fit, and its draws and those of the reference along its axes."""
    theirs = findings.reference_draws.unconstrained
    fits = findings.fits
    for name in sorted(fits, key=lambda name: _rank(fits[name])):
        facts = fits[name].facts
        if facts is None or facts.frame is None:
            continue
        along = _along(facts.frame, fits[name].unconstrained), _along(facts.frame, theirs)
        if along[0] is not None and along[1] is not None:
            return name, along[0], along[1]
    return None


def _rank(fit: Draws) -> int:
    """Lower for axes more worth seeing; diagonal ones are the parameters."""
    frame = None if fit.facts is None else fit.facts.frame
    if frame is None or isinstance(frame.axes, DiagonalAxes):
        return len(_FIRST) + 1
    return next((i for i, method in enumerate(_FIRST) if method == fit.method), len(_FIRST))


def _along(frame: Frame, draws: Array | None) -> Array | None:
    """Coordinates of draws (chain, draw, d) along the axes; None where they have none."""
    if draws is None or draws.shape[-1] != frame.axes.dim:
        return None
    along = frame.coordinates(draws)
    return along if np.isfinite(along).all() else None
