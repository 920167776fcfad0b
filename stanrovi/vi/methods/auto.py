"""The automatic choice: one rotated product, a conditional family, or a mixture."""

from __future__ import annotations

from dataclasses import replace

from stanrovi.families.conditional import Conditional
from stanrovi.modes.found import SearchResult
from stanrovi.modes.lattice import find_lattice
from stanrovi.target import BudgetExhausted
from stanrovi.vi.fit_run import FitRun
from stanrovi.vi.methods.mixture import fit_mixture
from stanrovi.vi.methods.rovi import fit_rovi
from stanrovi.vi.methods.structured import fit_along_roots, fit_structured
from stanrovi.vi.outcome import Outcome
from stanrovi.vi.settings import FamilySettings

_GOOD = 0.05  # nats of Jeffreys divergence at which auto looks no further


def fit_auto(run: FitRun, search: SearchResult, settings: FamilySettings) -> Outcome:
    """Choose between one rotated product, a conditional family and a mixture.

    One basin: a conditional family if parameters rule the spread of others, else RoVI.
    Basins on a lattice of rotated axes: RoVI. Where it cannot hold the modes, or its draws show
    that it does not: a conditional family if all basins follow the parameters that rule others
    and it is good, else also the mixture, and the better ELBO on fresh draws wins.

    Parameters
    ----------
    run, search, settings
        See `stanrovi.vi.methods.mixture.fit_mixture`.

    Returns
    -------
    Outcome
        Its message begins with the reason for the choice.
    """
    if len(search.modes) < 2:
        single = fit_structured(run, search, settings)
        reason = "rovi, since one basin was found. "
        if isinstance(single.family, Conditional):
            reason = "structured, since parameters rule the spread of others. "
        return replace(single, message=reason + single.message)
    misfit = find_lattice(search.modes).misfit
    if misfit is not None:
        several = _in_parts(run, search, settings)
        if isinstance(several.family, Conditional):
            return several
        return replace(several, message=f"mixture, since {misfit}. {several.message}")
    single = fit_rovi(run, search, settings)
    assert single.check is not None
    divergence = single.check.divergence()[0]
    if divergence < _GOOD and single.status == "converged":
        reason = "rovi, since the basins lie on rotated axes and its draws agree with the target. "
        return replace(single, message=reason + single.message)
    try:
        several = _in_parts(run, search, settings)
    except BudgetExhausted:
        if single.status == "fallback":
            raise  # the mixture so far has all modes
        reason = "rovi, since the budget ran out before a mixture was fitted. "
        return replace(single, status="budget", message=reason + single.message)
    if isinstance(several.family, Conditional):
        return several
    assert several.check is not None
    gain = several.check.elbo - single.check.elbo
    settled = several.status == "converged" and single.status != "converged"
    if gain > 0 or (settled and gain > -_GOOD):
        reason = f"mixture, since its ELBO is {gain:.3f} nats above that of rovi. "
        if gain <= 0:
            reason = f"mixture, since rovi did not converge and is {-gain:.3f} nats better. "
        return replace(several, message=reason + several.message)
    return replace(single, message="rovi, since the mixture's ELBO is no better. " + single.message)


def _in_parts(run: FitRun, search: SearchResult, settings: FamilySettings) -> Outcome:
    """Fit a conditional family that holds all basins, if there is one, or else a mixture."""
    along = fit_along_roots(run, search, settings)
    if along is None:
        return fit_mixture(run, search, settings)
    reason = "structured, since the basins follow the parameters that rule the others. "
    return replace(along, message=reason + along.message)
