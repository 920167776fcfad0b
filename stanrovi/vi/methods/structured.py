"""Hierarchies: a conditional family, or RoVI where nothing rules anything.

Parameters that rule the spread of others are looked for by differences where the search
ended; and where RoVI is poor, in the evaluations of the Gaussian with which it began.
"""

from __future__ import annotations

from dataclasses import replace

from stanrovi.families.product import Product
from stanrovi.modes.basins import basin_shares
from stanrovi.modes.found import SearchResult
from stanrovi.target import BudgetExhausted
from stanrovi.vi.conditional import fit_conditional
from stanrovi.vi.fit_run import FitRun
from stanrovi.vi.gaussian import fit_gaussian
from stanrovi.vi.hierarchy import extended, nodes_from_gaussian, nodes_near
from stanrovi.vi.high_dimension import fit_by_structure
from stanrovi.vi.methods.rovi import rovi_from_gaussian
from stanrovi.vi.nodes import Nodes
from stanrovi.vi.outcome import Outcome
from stanrovi.vi.pool import Pool
from stanrovi.vi.settings import FamilySettings
from stanrovi.vi.start import best_on_trails, laplace, places_for_roots, starting_gaussian
from stanrovi.vi.steps import ProductSettings

# Divergence below which a conditional fit is good enough, and RoVI not worth another try.
_GOOD, _POOR = 0.1, 0.25
_THIN = 64  # dimensions from which on the structure of the target is tried first
_LOOKED_AT, _REACHED = 2000, 0.2  # draws; part of a mode's weight that they must have


def fit_structured(run: FitRun, search: SearchResult, settings: FamilySettings) -> Outcome:
    """Fit a conditional family.

    Parameters
    ----------
    run : FitRun
    search : SearchResult
        Where to look for roots.
    settings : FamilySettings
        Only ``marginals`` matters, but for RoVI where there are no roots.

    Returns
    -------
    Outcome
    """
    plain = _by_structure(run, search, settings) if run.target.dim > _THIN else None
    if plain is not None:
        return plain
    nodes = _nodes_where_the_search_ended(run, search)
    crowded = nodes is not None and nodes.too_many
    first = None if nodes is None or crowded else _conditional(run, nodes, settings)
    if first is not None and first.divergence < _GOOD:
        return first
    try:
        gaussian, pool, ended = fit_gaussian(run, starting_gaussian(run, search))
        plain = rovi_from_gaussian(run, gaussian, Pool([*pool.batches]), settings)
        if first is None and not crowded and ended != "stopped" and not plain.divergence < _POOR:
            first = _conditional_from_gaussian(run, gaussian, pool, settings)
    except BudgetExhausted:
        if first is None:
            raise
        message = "The budget ran out before RoVI was tried, too."
        return replace(first, status="budget", message=message)
    if first is not None and first.safe_elbo > plain.safe_elbo:
        return first
    note = "Nothing was found that a conditional family could follow"
    if crowded:
        note = "More parameters rule the spread of others than a conditional family can follow"
    if first is not None:
        note = "A conditional family had a worse ELBO"
    return replace(plain, message=f"{note}. {plain.message}")


def _by_structure(run: FitRun, search: SearchResult, settings: FamilySettings) -> Outcome | None:
    """Fit on axes that are no matrices, if that is good."""
    places = places_for_roots(run, search)
    outcome = fit_by_structure(run, places, places[1], settings.marginals == "flexible")
    return outcome if outcome is not None and outcome.divergence < _GOOD else None


def fit_along_roots(run: FitRun, search: SearchResult, settings: FamilySettings) -> Outcome | None:
    """Fit a conditional family that holds all modes, as one can where they follow the roots.

    Parameters
    ----------
    run, search, settings
        See `fit_structured`.

    Returns
    -------
    Outcome or None
        None where no parameters rule others, or a mode is not the conditional mode of the
        rest given its roots.
    """
    with run.stage("roots"):
        nodes = nodes_near(run.target, laplace(search.peak))
        if nodes is None or nodes.too_many:
            return None
        if not all(nodes.lead_to(mode.position) for mode in search.modes):
            return None
    outcome = _conditional(run, nodes, settings)
    # Modes that follow the roots can still lie where the fit has no mass.
    share = basin_shares(search.modes, outcome.family.sample(_LOOKED_AT, run.rng))
    reached = all(s > _REACHED * m.weight for s, m in zip(share, search.modes, strict=True))
    return outcome if reached and outcome.divergence < _GOOD else None


def _conditional_from_gaussian(
    run: FitRun, gaussian: Product, pool: Pool, settings: FamilySettings
) -> Outcome | None:
    """Fit with roots that show in the evaluations of a Gaussian fit, if there are any."""
    best = run.family
    try:
        with run.stage("roots"):
            nodes = nodes_from_gaussian(run.target, gaussian, pool)
        return None if nodes is None else _conditional(run, nodes, settings)
    except BudgetExhausted:
        run.family = best
        raise


def _nodes_where_the_search_ended(run: FitRun, search: SearchResult) -> Nodes | None:
    """Look at the mode; without one at the best of each climb, until evidence has a mode."""
    with run.stage("roots"):
        for start in best_on_trails(run, search.trails) or [laplace(search.peak)]:
            nodes = nodes_near(run.target, start)
            if nodes is not None:
                return nodes
    return None


def _conditional(run: FitRun, nodes: Nodes, settings: FamilySettings) -> Outcome:
    """Fit, and once again where the fit is poor and shows further roots."""
    product = ProductSettings(
        flexible=settings.marginals == "flexible",
        max_gradients=max(2500, 40 * run.target.dim, run.target.n_left),
    )
    outcome, missed = fit_conditional(run, nodes, product)
    if outcome.divergence < _GOOD or not len(missed):
        return outcome
    with run.stage("roots"):
        more = extended(nodes, missed)
    if more is None:
        return outcome
    try:
        again, _ = fit_conditional(run, more, product)
    except BudgetExhausted:
        run.family = outcome.family
        raise
    return again if again.safe_elbo > outcome.safe_elbo else outcome
