"""Mean-field variational inference: a product measure on the coordinate axes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from stanrovi.families.axes import DENSE_LIMIT, DiagonalAxes
from stanrovi.families.product import Product
from stanrovi.modes.found import SearchResult
from stanrovi.vi.fit_run import FitRun
from stanrovi.vi.outcome import Outcome
from stanrovi.vi.product import fit_product
from stanrovi.vi.settings import FamilySettings
from stanrovi.vi.start import starting_gaussian
from stanrovi.vi.steps import ProductSettings


def fit_mfvi(run: FitRun, search: SearchResult, settings: FamilySettings) -> Outcome:
    """Fit mean field, near one mode, by maximising the ELBO.

    Begins at `starting_gaussian`'s optimum for a Gaussian target: variances one
    over the diagonal of the precision.

    Parameters
    ----------
    run : FitRun
    search : SearchResult
        Modes, if there are any, and where to begin.
    settings : FamilySettings
        Only ``marginals`` matters.

    Returns
    -------
    Outcome
    """
    gaussian = starting_gaussian(run, search)
    precision = gaussian.axes.precision_diagonal(np.ones(gaussian.dim))
    family = Product.gaussian(gaussian.center, DiagonalAxes(precision**-0.5))
    # No Gaussian fit goes before: the way from Laplace's approximation is longer.
    thin = run.target.dim > DENSE_LIMIT
    affine = ProductSettings("fixed", alone=thin, flexible=False, forward=0.0)
    fit = fit_product(run, family, affine)
    if settings.marginals == "flexible":
        flexible = replace(affine, flexible=True)
        fit = fit_product(run, fit.family, flexible)
    return fit.outcome()
