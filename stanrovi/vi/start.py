"""Where a fit begins."""

from __future__ import annotations

import numpy as np

from stanrovi.families import Product
from stanrovi.modes import SearchResult
from stanrovi.result import Mode
from stanrovi.target import Array
from stanrovi.vi.run import FitRun

_TRIAL = 16


def laplace(mode: Mode) -> Product:
    """Give the Gaussian of a mode's local quadratic."""
    root = np.asarray(np.linalg.cholesky(mode.covariance), dtype=np.float64)
    return Product.gaussian(mode.position, root)


def starting_gaussian(run: FitRun, search: SearchResult) -> Product:
    """Choose the Gaussian to begin at, by the median of ``log p - log q`` at a few draws.

    The candidates are the local quadratic at the heaviest mode (at the highest
    point reached, where there is no proper mode) and a unit Gaussian where the
    search began: a mode can be a poor place to start. In a funnel it lies deep
    in the neck, far from where the mass is.
    """
    candidates = [laplace(search.peak), Product.gaussian(search.start, np.eye(len(search.start)))]
    z = run.base(_TRIAL)
    with run.target.stage("start"):
        quality = [_median_ratio(run, c, z) for c in candidates]
    return candidates[int(np.argmax(quality))]


def _median_ratio(run: FitRun, family: Product, z: Array) -> float:
    x, log_q = family.push_forward(z)
    log_p, _ = run.target.log_density_gradient(x)
    return float(np.median(log_p - log_q))
