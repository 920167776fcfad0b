"""Gaussians from many starts, mixed by exp(ELBO): the plain way to several modes.

Each start is a point uniform between -2 and 2, as Stan's, with the unit covariance; from there
stanrovi's own full-rank Gaussian goes on, so what is measured is the way of mixing and not a poorer
Gaussian. ``exp(ELBO)`` is a Gaussian's estimate of the mass near its mode. Two starts that end at
one mode count it twice: the literature of parallel runs weighs all of them (pseudo-BMA: Yao,
Vehtari, Simpson and Gelman 2018, doi:10.1214/17-BA1091, and for modes Yao, Vehtari and Gelman 2022,
JMLR 23(79)); with ``merged`` only the best of each mode counts, Gaussians within half a nat of
Jeffreys' divergence being one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from stanrovi.errors import DensityError
from stanrovi.families.product import Product
from stanrovi.target import Array, Density, Target
from stanrovi.vi.fit_run import FitRun
from stanrovi.vi.gaussian import fit_gaussian

STARTS, ELBO_DRAWS = 20, 256
_SAME = 0.5  # nats


@dataclass(frozen=True)
class Starts:
    """Gaussians of all starts.

    Attributes
    ----------
    families : tuple of Product
    elbos : ndarray, shape (n,)
    n_gradients : int
    """

    families: tuple[Product, ...]
    elbos: Array
    n_gradients: int

    def draws(self, n: int, rng: np.random.Generator, *, merged: bool) -> Array:
        """Draw from the mixture, shape (n, dim)."""
        kept = _distinct(self.families, self.elbos) if merged else range(len(self.families))
        chosen = [self.families[i] for i in kept]
        counts = rng.multinomial(n, softmax(self.elbos[list(kept)]))
        return np.concatenate(
            [family.sample(int(k), rng) for family, k in zip(chosen, counts, strict=True) if k]
        )


def from_starts(density: Density, *, seed: int, starts: int = STARTS) -> Starts:
    """Fit from every start.

    Raises
    ------
    DensityError
        If no start leads to a Gaussian whose draws the density accepts.
    """
    target, rng = Target(density), np.random.default_rng(seed)
    families, elbos = [], []
    for _ in range(starts):
        run = FitRun(target, rng)
        start = Product.gaussian(rng.uniform(-2, 2, target.dim), np.eye(target.dim))
        family, _, _ = fit_gaussian(run, start)
        elbo = run.evaluate("elbo", family, run.base(ELBO_DRAWS)).elbo
        if np.isfinite(elbo):
            families.append(family)
            elbos.append(elbo)
    if not families:
        raise DensityError(f"none of {starts} starts leads to a Gaussian")
    return Starts(tuple(families), np.array(elbos), target.n_gradients)


def _distinct(families: Sequence[Product], elbos: Array) -> list[int]:
    """Places of the best Gaussian of each mode."""
    kept: list[int] = []
    for i in np.argsort(-elbos):
        if all(_jeffreys(families[i], families[k]) > _SAME for k in kept):
            kept.append(int(i))
    return kept


def _jeffreys(p: Product, q: Product) -> float:
    """Sum of both Kullback-Leibler divergences of Gaussians."""
    a, b, apart = p.covariance(), q.covariance(), p.center - q.center
    traces = np.trace(np.linalg.solve(a, b)) + np.trace(np.linalg.solve(b, a))
    across = apart @ np.linalg.solve(a, apart) + apart @ np.linalg.solve(b, apart)
    return 0.5 * float(traces + across) - p.dim
