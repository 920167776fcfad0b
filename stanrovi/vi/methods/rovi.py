"""Rotational variational inference (Sheng, Wu and Gonzalez-Sanz 2025, arXiv:2510.17063).

A product measure on rotated axes. With one mode: a Gaussian first, then the
product fit from its whitened axes. With several: axes on which the modes form
a lattice, a scan along each multimodal axis, the product fit for the rest.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from stanrovi.families.product import Product
from stanrovi.families.rotation import principal_root
from stanrovi.modes.basins import Mode
from stanrovi.modes.found import SearchResult
from stanrovi.modes.lattice import Lattice, find_lattice
from stanrovi.target import Array, BudgetExhausted
from stanrovi.vi.axis_search import promising_axes
from stanrovi.vi.fit_run import FitRun
from stanrovi.vi.gaussian import fit_gaussian
from stanrovi.vi.outcome import Outcome
from stanrovi.vi.pool import Batch, Pool
from stanrovi.vi.product import fit_product
from stanrovi.vi.scan import mixture_marginal, scan_axis, weigh_levels, with_marginal
from stanrovi.vi.settings import FamilySettings
from stanrovi.vi.start import starting_gaussian
from stanrovi.vi.steps import ProductSettings

_SWEEPS = 2
_POOR = 0.5  # nats of Jeffreys divergence at which a single mode is tried, too


def fit_rovi(run: FitRun, search: SearchResult, settings: FamilySettings) -> Outcome:
    """Fit RoVI.

    Parameters
    ----------
    run : FitRun
    search : SearchResult
        Modes, if there are any, and where to begin.
    settings : FamilySettings

    Returns
    -------
    Outcome
    """
    if len(search.modes) < 2:
        return _unimodal(run, search, settings)
    several = _multimodal(run, search.modes, settings)
    assert several.check is not None
    if several.check.divergence()[0] < _POOR:
        return several
    try:
        one = _unimodal(run, search, settings)
    except BudgetExhausted:
        message = "The budget ran out before a product begun at a single mode was tried, too."
        return replace(several, status="budget", message=message)
    assert one.check is not None
    if not one.check.elbo > several.check.elbo:
        return several
    message = "A product over all modes had a worse ELBO than this one, begun at a single mode."
    return replace(one, status="fallback", message=message, misfit=several.misfit)


def _unimodal(run: FitRun, search: SearchResult, settings: FamilySettings) -> Outcome:
    gaussian, pool, _ = fit_gaussian(run, starting_gaussian(run, search))
    return rovi_from_gaussian(run, gaussian, pool, settings)


def rovi_from_gaussian(
    run: FitRun, gaussian: Product, pool: Pool, settings: FamilySettings
) -> Outcome:
    """Fit RoVI near one mode, from a fitted Gaussian and its evaluations.

    Parameters
    ----------
    run : FitRun
    gaussian : Product
    pool : Pool
    settings : FamilySettings

    Returns
    -------
    Outcome
    """
    if settings.preconditioner == "diagonal":
        covariance = gaussian.covariance()
        family = Product.gaussian(gaussian.center, principal_root(covariance))
        product = _product_settings(settings, preconditioner=np.diag(np.sqrt(np.diag(covariance))))
    else:
        family = promising_axes(gaussian, pool)
        product = _product_settings(settings)
    fit = fit_product(run, family, product, pool)
    if fit.last.worse_than(fit.first):
        message = "The product fit was not better than the Gaussian on fresh draws."
        return Outcome(gaussian, "fallback", message, fit.first)
    return fit.outcome()


def _multimodal(run: FitRun, modes: tuple[Mode, ...], settings: FamilySettings) -> Outcome:
    lattice = find_lattice(modes)
    positions = np.stack([m.position for m in modes])
    family = _on_lattice(lattice)
    run.family = family
    axes = range(len(lattice.levels))
    product = _product_settings(settings, frozen=tuple(axes), lattice=lattice)
    pool = Pool()
    for sweep in range(_SWEEPS):
        for axis in axes:
            family = scan_axis(run, family, axis, positions)
        fit = fit_product(run, family, product, pool)
        family = fit.family
        if family.dim == 1 or (sweep == 0 and len(axes) == 1 and not _moved(fit.first, fit.last)):
            break
    if product.forward > 0:
        for axis in axes:
            family = weigh_levels(family, axis, positions, pool)
    family = family.standardised()
    check = run.evaluate("check", family, run.base(max(128, 4 * family.dim)))
    return replace(fit.outcome(), family=family, check=check, misfit=lattice.misfit)


def _on_lattice(lattice: Lattice) -> Product:
    """Product measure with unit normals at every level, before any fitting."""
    family = Product.gaussian(lattice.center, lattice.axes)
    for axis, (levels, weights) in enumerate(zip(lattice.levels, lattice.weights, strict=True)):
        family = with_marginal(family, axis, mixture_marginal(levels, weights))
    return family


def _product_settings(
    settings: FamilySettings,
    *,
    preconditioner: Array | None = None,
    frozen: tuple[int, ...] = (),
    lattice: Lattice | None = None,
) -> ProductSettings:
    plain = settings.preconditioner == "diagonal"
    if plain and lattice is not None:
        preconditioner = np.diag(np.sqrt(np.diag(lattice.axes.covariance())))
    return ProductSettings(
        axes_moves="rotation" if plain else "free",
        flexible=settings.marginals == "flexible",
        forward=0.0 if plain else 0.5,
        alternating=settings.updates == "alternating",
        preconditioner=preconditioner,
        frozen=frozen,
    )


def _moved(first: Batch, last: Batch) -> bool:
    """Whether the product fit changed the approximation beyond noise."""
    return abs(last.elbo - first.elbo) > 0.02 + 2 * np.hypot(first.elbo_se, last.elbo_se)
