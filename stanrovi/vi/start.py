"""Where a fit begins."""

from __future__ import annotations

import numpy as np

from stanrovi.families.axes import DiagonalAxes
from stanrovi.families.product import Product
from stanrovi.modes.basins import Mode
from stanrovi.modes.search import SearchResult
from stanrovi.target import Array
from stanrovi.vi.fit_run import FitRun

_TRIAL = 16


def laplace(mode: Mode) -> Product:
    """Give the Gaussian of a mode's local quadratic."""
    return Product.gaussian(mode.position, mode.axes)


def starting_gaussian(run: FitRun, search: SearchResult) -> Product:
    """Choose the Gaussian to begin at, by the median of ``log p - log q`` at a few draws.

    The candidates are the local quadratic at the heaviest mode (at the highest
    point reached, where there is no proper mode) and a unit Gaussian where the
    search began: a mode can be a poor place to start. In a funnel it lies deep
    in the neck, far from where the mass is.
    """
    unit = Product.gaussian(search.start, DiagonalAxes(np.ones(len(search.start))))
    candidates = [laplace(search.peak), unit]
    z = run.base(_TRIAL)
    with run.target.stage("start"):
        quality = [_median_ratio(run, c, z) for c in candidates]
    return candidates[int(np.argmax(quality))]


def _median_ratio(run: FitRun, family: Product, z: Array) -> float:
    x, log_q = family.push_forward(z)
    log_p, _ = run.target.log_density_gradient(x)
    return float(np.median(log_p - log_q))
