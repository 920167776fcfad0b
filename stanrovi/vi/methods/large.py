"""All methods in more dimensions than dense matrices are for."""

from __future__ import annotations

from stanrovi.methods import Method
from stanrovi.modes.found import SearchResult
from stanrovi.vi.fit_run import FitRun
from stanrovi.vi.high_dimension import fit_high_dimensional, fit_marginals, fit_structured_gaussian
from stanrovi.vi.methods.mfvi import fit_mfvi
from stanrovi.vi.methods.mixture import fit_mixture
from stanrovi.vi.outcome import Outcome
from stanrovi.vi.settings import FamilySettings
from stanrovi.vi.start import places_for_roots, starting_gaussian


def fit_large(
    run: FitRun, search: SearchResult, method: Method, settings: FamilySettings
) -> Outcome:
    """Fit by the member of each family whose axes are no dense matrix.

    Parameters
    ----------
    run, search, settings
        See `stanrovi.vi.methods.mixture.fit_mixture`.
    method : Method
        ``"rovi"`` has axes of the target's structure, which are not turned; ``"auto"`` is a
        conditional family where there are roots, and a mixture where there are several modes.

    Returns
    -------
    Outcome
    """
    flexible = settings.marginals == "flexible"
    if method == "mfvi":
        return fit_mfvi(run, search, settings)
    if method in ("auto", "mixture") and len(search.modes) > 1:
        return fit_mixture(run, search, settings)
    gaussian = starting_gaussian(run, search)
    if method == "gaussian":
        family, _, converged = fit_structured_gaussian(run, gaussian)
        if converged:
            return Outcome(family, "converged", "The last step was below tolerance.")
        return Outcome(family, "max_iterations", "The natural-gradient steps did not settle.")
    if method in ("rovi", "mixture"):
        return fit_marginals(run, gaussian, flexible)
    return fit_high_dimensional(run, places_for_roots(run, search), gaussian, flexible)
