"""Batch and match: a Gaussian of any covariance, by score matching.

Cai, Modi, Pillaud-Vivien, Margossian, Gower, Blei and Saul (2024, ICML, arXiv:2402.14758). A step
draws a batch from the Gaussian and takes the Gaussian that matches the batch's scores best, near
the one before, in closed form. The paper leaves batch, schedule and length to the user; here they
are those of its experiments with posteriors (section 5.2): the larger of its two batches, 32, a
learning rate of ``32 dim / (t + 1)``, a start at the unit covariance with means uniform between 0
and 0.1. It has no stop rule: a budget of gradients ends it.
"""

from __future__ import annotations

import numpy as np

from stanrovi.errors import DensityError
from stanrovi.modes.search import search_modes
from stanrovi.target import Array, Density, Target

BATCH, BUDGET = 32, 10_000
_TRIES = 10  # batches for one that the density does not reject as a whole


def batch_and_match(
    density: Density, *, seed: int, n_draws: int, budget: int = BUDGET, at_mode: bool = False
) -> tuple[Array, int]:
    """Fit, and draw.

    Parameters
    ----------
    density : Density
    seed, n_draws : int
    budget : int
        Gradients of all steps; as many steps as they cover.
    at_mode : bool
        Whether to begin at Laplace's approximation where stanrovi's search finds a mode. The
        authors' code has such a start, too, by L-BFGS.

    Returns
    -------
    x : ndarray, shape (n_draws, dim)
        Unconstrained space.
    n_gradients : int

    Raises
    ------
    DensityError
        If the density rejects every draw of ten batches in a row.
    """
    target, rng = Target(density), np.random.default_rng(seed)
    mean, root = rng.uniform(0, 0.1, density.dim), np.eye(density.dim)
    if at_mode and (modes := search_modes(target, rng).modes):
        mean, root = modes[0].position, np.linalg.cholesky(modes[0].covariance)
    for t in range(budget // BATCH):
        x, score = _batch(target, mean, root, rng)
        try:
            mean, covariance = matched(mean, root, x, score, BATCH * density.dim / (t + 1))
            root = np.linalg.cholesky(covariance)
        except np.linalg.LinAlgError:  # no covariance, to working precision: stay
            continue
    return mean + rng.standard_normal((n_draws, density.dim)) @ root.T, target.n_gradients


def _batch(
    target: Target, mean: Array, root: Array, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Draws with their scores, (n, dim) each, those left out that the density rejects."""
    for _ in range(_TRIES):
        x = mean + rng.standard_normal((BATCH, target.dim)) @ root.T
        value, score = target.log_density_gradient(x)
        accepted = np.isfinite(value)
        if accepted.any():
            return x[accepted], score[accepted]
    raise DensityError(f"the density rejects {_TRIES} batches of draws in a row")


def matched(mean: Array, root: Array, x: Array, score: Array, rate: float) -> tuple[Array, Array]:
    """Take the step of the paper's algorithm 1.

    ``S = 2 V (I + (I + 4 U V)^(1/2))^(-1)``; with ``V = L L'`` all roots are of symmetric matrices.

    Parameters
    ----------
    mean : ndarray, shape (dim,)
    root : ndarray, shape (dim, dim)
        Of the covariance.
    x, score : ndarray, shape (n, dim)
    rate : float
        Large: the batch alone counts; zero: the Gaussian stays.

    Returns
    -------
    mean, covariance : ndarray

    Raises
    ------
    LinAlgError
        If numbers do not hold the step.
    """
    shrunk = rate / (1 + rate)
    middle, pull = x.mean(axis=0), score.mean(axis=0)
    with np.errstate(over="ignore", invalid="ignore"):
        v = root @ root.T + rate * _covariance(x) + shrunk * np.outer(mean - middle, mean - middle)
        u = rate * _covariance(score) + shrunk * np.outer(pull, pull)
        factor = np.linalg.cholesky(v)
        spectrum, axes = np.linalg.eigh(factor.T @ u @ factor)
        scaled = factor @ axes * np.sqrt(2 / (1 + np.sqrt(1 + 4 * np.maximum(spectrum, 0))))
        covariance = scaled @ scaled.T
    if not np.isfinite(covariance).all():
        raise np.linalg.LinAlgError("the step is beyond numbers")
    return (mean + rate * (covariance @ pull + middle)) / (1 + rate), covariance


def _covariance(values: Array) -> Array:
    centred = values - values.mean(axis=0)
    return np.asarray(centred.T @ centred / len(values))
