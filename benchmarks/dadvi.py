"""ADVI with fixed draws: a deterministic objective, and linear response.

Giordano, Ingram and Broderick (2024, JMLR 25(18), arXiv:2304.05527), DADVI: mean field, the ELBO
estimated with the same 30 draws throughout, so that an optimiser of plain functions minimises it
and says itself when it is done. It begins at mean zero and standard deviations of exp(-3), as the
authors' code does. The paper's trust-region Newton method needs products with Hessians, which a
density does not give here: SciPy's L-BFGS-B with its defaults takes its place. The covariance by
linear response is a block of the inverse Hessian of the objective, by differences of its gradient.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from stanrovi.errors import DensityError
from stanrovi.target import Array, Density, Target

FIXED, LOG_SD = 30, -3.0
_WALL = 1e10  # objective where the density rejects a draw: the line search turns back
_STEP = 1e-4  # of a difference, in standard deviations


@dataclass(frozen=True)
class Dadvi:
    """What a run found.

    Attributes
    ----------
    x : ndarray, shape (n, dim)
        Draws, unconstrained space.
    n_gradients : int
    converged : bool
        Whether the optimiser ended at a minimum.
    """

    x: Array
    n_gradients: int
    converged: bool


@dataclass(frozen=True)
class _Objective:
    """Minus the ELBO with fixed draws, up to a constant, of means and log standard deviations."""

    target: Target
    fixed: Array

    def __call__(self, parameters: Array) -> tuple[float, Array]:
        mean, log_sd = np.split(parameters, 2)
        with np.errstate(over="ignore", invalid="ignore"):
            moved = self.fixed * np.exp(log_sd)
            value, gradient = self.target.log_density_gradient(mean + moved)
        if not np.isfinite(value).all():
            return _WALL, np.zeros_like(parameters)
        slope = np.concatenate([gradient.mean(axis=0), (gradient * moved).mean(axis=0) + 1])
        return -float(value.mean() + log_sd.sum()), -slope

    def response(self, parameters: Array) -> Array:
        """Covariance (dim, dim) of the means by linear response at the minimum."""
        dim = len(parameters) // 2
        steps = _STEP * np.concatenate([np.exp(parameters[dim:]), np.ones(dim)])
        rows = [
            (self(parameters + step)[1] - self(parameters - step)[1]) / (2 * step.sum())
            for step in np.diag(steps)
        ]
        hessian = (np.array(rows) + np.array(rows).T) / 2
        return np.asarray(np.linalg.inv(hessian)[:dim, :dim])


def dadvi(density: Density, *, seed: int, n_draws: int, response: bool = False) -> Dadvi:
    """Fit, and draw.

    Parameters
    ----------
    density : Density
    seed, n_draws : int
    response : bool
        Whether the draws have the covariance by linear response, instead of the mean field's.

    Raises
    ------
    DensityError
        If linear response gives no covariance: the optimiser is at no minimum.
    """
    target, rng = Target(density), np.random.default_rng(seed)
    objective = _Objective(target, rng.standard_normal((FIXED, density.dim)))
    start = np.concatenate([np.zeros(density.dim), np.full(density.dim, LOG_SD)])
    found = minimize(objective, start, jac=True, method="L-BFGS-B")
    mean, log_sd = np.split(found.x, 2)
    root = np.diag(np.exp(log_sd))
    if response:
        try:
            root = np.linalg.cholesky(objective.response(found.x))
        except np.linalg.LinAlgError:
            raise DensityError("linear response gives no covariance") from None
    x = mean + rng.standard_normal((n_draws, density.dim)) @ root.T
    return Dadvi(x, target.n_gradients, bool(found.success))
