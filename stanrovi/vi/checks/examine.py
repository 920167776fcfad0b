"""All checks of a finished fit, in the order of their cost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stanrovi.modes.basins import Mode
from stanrovi.scalars import Scalars
from stanrovi.vi.checks.basins import Orbits, absent_modes, lost_modes, orbits, shifts
from stanrovi.vi.checks.evidence import Evidence
from stanrovi.vi.checks.found import Checks
from stanrovi.vi.checks.marginals import marginal_errors

# Part of the gradients of the fit that a look for modes may take, with probes and without; and
# what it may take in any case.
_LOOK, _SHORT_LOOK, _LEAST_LOOK = 3, 6, 700
_LEAST = 1000  # gradients that checks may take however few the fit took


def most_gradients(n_gradients: int) -> int:
    """Gradients that each check may take, where the fit took so many."""
    return max(_LEAST, n_gradients)


def examine(
    evidence: Evidence,
    modes: Sequence[Mode],
    scalars: Scalars,
    names: Sequence[str],
    rng: np.random.Generator,
    *,
    n_gradients: int,
    probe: bool,
    search: bool,
) -> Checks:
    """Check a fit.

    Parameters
    ----------
    evidence : Evidence
    modes : sequence of Mode
        With the fit's masses.
    scalars : Scalars
        Whose marginals matter.
    names : sequence of str
        Unconstrained coordinates.
    rng : numpy.random.Generator
    n_gradients : int
        That the fit took; each check takes as many at most.
    probe : bool
        Whether to spend gradients on the errors of marginals, and a longer look for modes.
    search : bool
        Whether to look for modes that are not known, should none of the known ones be lost.

    Returns
    -------
    Checks
    """
    most = most_gradients(n_gradients)
    errors, weighted = marginal_errors(evidence, scalars, most if probe else 0, rng)
    found = Orbits((), ())
    absent: tuple[tuple[Mode, float], ...] = ()
    unexplained = (0.0, 0.0)
    lost = lost_modes(modes)
    if search and modes and not lost:
        found = orbits(evidence, modes, names)
        if not found.missing:
            look = most // _SHORT_LOOK if not probe else max(most // _LOOK, _LEAST_LOOK)
            absent, unexplained = absent_modes(evidence, modes, look, rng)
    return Checks(errors, lost, shifts(modes, weighted), found, absent, unexplained)
