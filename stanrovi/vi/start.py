"""Where a fit begins."""

from __future__ import annotations

import numpy as np

from stanrovi.families.axes import DiagonalAxes
from stanrovi.families.product import Product
from stanrovi.modes.basins import Mode
from stanrovi.modes.found import SearchResult
from stanrovi.target import Array
from stanrovi.vi.fit_run import FitRun

_TRIAL = 16
_TRACE = 4  # draws for each of many


def laplace(mode: Mode) -> Product:
    """Give the Gaussian of a mode's local quadratic."""
    return Product.gaussian(mode.position, mode.axes)


def starting_gaussian(run: FitRun, search: SearchResult) -> Product:
    """Choose the Gaussian to begin at, by the median of ``log p - log q`` at a few draws.

    The candidates are the local quadratic at the heaviest mode (at the highest
    point reached, where there is no proper mode) and a unit Gaussian where the
    search began: a mode can be a poor place to start. In a funnel it lies deep
    in the neck, far from where the mass is. Where no climb ended at a mode, the
    local quadratics along the highest climbs are candidates as well, the one with the
    best ELBO among them (Zhang, Carpenter, Gelman and Vehtari 2022, Pathfinder, JMLR 23).
    """
    unit = Product.gaussian(search.start, DiagonalAxes(np.ones(len(search.start))))
    candidates = [laplace(search.peak), unit]
    with run.target.stage("start"):
        candidates += best_on_trails(run, search.trails)[:1]
        z = run.base(_TRIAL)
        quality = [float(np.median(_ratios(run, c, z))) for c in candidates]
    return candidates[int(np.argmax(quality))]


def best_on_trails(run: FitRun, trails: tuple[tuple[Mode, ...], ...]) -> list[Product]:
    """Choose a local quadratic on each climb, best first.

    By the ELBO at a few draws, the same for all.
    """
    if not trails:
        return []
    z = run.base(_TRACE)
    found = []
    for trail in trails:
        quality = [float(_ratios(run, laplace(mode), z).mean()) for mode in trail]
        best = int(np.argmax(quality))
        found.append((quality[best], laplace(trail[best])))
    return [family for _, family in sorted(found, key=lambda pair: -pair[0])]


def places_for_roots(run: FitRun, search: SearchResult) -> list[Product]:
    """Choose places from which roots can be seen, in the order in which to look.

    Where the search began nothing is zero that is not zero everywhere; at its end, in the neck of
    a funnel, others may no longer depend on what rules them.
    """
    unit = Product.gaussian(search.start, DiagonalAxes(np.ones(len(search.start))))
    with run.target.stage("start"):
        return [unit, *(best_on_trails(run, search.trails) or [laplace(search.peak)])]


def _ratios(run: FitRun, family: Product, z: Array) -> Array:
    x, log_q = family.push_forward(z)
    log_p, _ = run.target.log_density_gradient(x)
    return log_p - log_q
