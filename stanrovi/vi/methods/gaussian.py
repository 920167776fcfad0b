"""A full-rank Gaussian."""

from __future__ import annotations

from stanrovi.modes.found import SearchResult
from stanrovi.vi.fit_run import FitRun
from stanrovi.vi.gaussian import fit_gaussian
from stanrovi.vi.outcome import Outcome
from stanrovi.vi.settings import FamilySettings
from stanrovi.vi.start import starting_gaussian


def fit_full_rank(run: FitRun, search: SearchResult, _settings: FamilySettings) -> Outcome:
    """Fit a full-rank Gaussian; see `stanrovi.vi.gaussian`."""
    family, _, ended = fit_gaussian(run, starting_gaussian(run, search))
    if ended == "settled":
        return Outcome(family, "converged", "The last natural-gradient step was below tolerance.")
    return Outcome(family, "max_iterations", "The natural-gradient steps did not settle.")
