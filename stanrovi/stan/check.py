"""Is a model fit for inference? Gradient, cost and threads at a few points."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from stanrovi.arguments import checked_count, checked_seed
from stanrovi.errors import DensityError
from stanrovi.stan.model import Model
from stanrovi.target import Array

_TIMED_BATCH = 200
# Share of rejected points that needs no explanation.
_TOLERATED = 0.05


@dataclass(frozen=True)
class ModelCheck:
    """What `check_model` found.

    Attributes
    ----------
    gradient_error : float
        Largest error of a gradient component against finite differences,
        relative to the larger of 1 and the gradient's norm.
    n_points, n_rejected : int
        Random points tried, and how many of them the density rejected.
    last_rejection : str or None
        Reason of the last rejection.
    microseconds_per_gradient : float
        Per point of a batch, as inference will see it.
    threads : int
        Threads that such a batch is spread over.
    """

    gradient_error: float
    n_points: int
    n_rejected: int
    last_rejection: str | None
    microseconds_per_gradient: float
    threads: int

    @property
    def gradient_agrees(self) -> bool:
        """Whether gradient and finite differences agree as far as differences can tell."""
        return self.gradient_error < 1e-4

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the program's author should look at, although inference may work."""
        if self.n_rejected <= _TOLERATED * self.n_points:
            return ()
        return (
            f"{self.n_rejected} of {self.n_points} random points are rejected (the last: "
            f"{self.last_rejection or 'the log density is not finite'}). A parameter may lack a "
            "bound that the model needs, such as <lower=0> of a scale.",
        )


def check_model(model: Model, *, n_points: int = 10, seed: int = 0) -> ModelCheck:
    """Compare gradients with finite differences at random points, and time them.

    Parameters
    ----------
    model : Model
    n_points : int
        Points drawn uniformly from (-2, 2), as Stan draws its initial values.
    seed : int
        Seed of the points.

    Returns
    -------
    ModelCheck

    Raises
    ------
    UsageError
        For a seed or a number of points that is none.
    DensityError
        If the density rejects every point.
    """
    n_points = checked_count("n_points", n_points, 1)
    rng = np.random.default_rng(checked_seed(seed))
    x = rng.uniform(-2.0, 2.0, (n_points, model.dim))
    log_density, gradient = model.log_density_gradient(x)
    accepted, reason = np.isfinite(log_density), model.last_rejection
    if not accepted.any():
        raise DensityError(
            f"{model.name} rejects all of {n_points} random points; the last reason: "
            f"{reason or 'the log density or its gradient is not finite'}. "
            "Check the bounds of the parameters and the data."
        )
    points = x[accepted]
    error = _gradient_error(model, points, gradient[accepted], rng)
    batch = points[np.arange(_TIMED_BATCH) % len(points)]
    model.log_density_gradient(batch)
    start = time.perf_counter()
    model.log_density_gradient(batch)
    seconds = time.perf_counter() - start
    return ModelCheck(
        gradient_error=error,
        n_points=n_points,
        n_rejected=int((~accepted).sum()),
        last_rejection=None if accepted.all() else reason,
        microseconds_per_gradient=1e6 * seconds / _TIMED_BATCH,
        threads=model.threads(_TIMED_BATCH),
    )


def _gradient_error(model: Model, x: Array, gradient: Array, rng: np.random.Generator) -> float:
    """Check directional derivatives: two evaluations a direction, whatever the dimension."""
    direction = rng.normal(size=x.shape)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    expected = np.einsum("ij,ij->i", gradient, direction)
    scale = np.maximum(1.0, np.linalg.norm(gradient, axis=1))
    best = np.full(x.shape[0], np.inf)
    # The best step depends on curvature and rounding, so the best of several counts.
    for step in (1e-3, 1e-4, 1e-5, 1e-6):
        ahead, _ = model.log_density_gradient(x + step * direction)
        behind, _ = model.log_density_gradient(x - step * direction)
        with np.errstate(invalid="ignore"):
            error = np.abs((ahead - behind) / (2 * step) - expected) / scale
        best = np.fmin(best, error)
    return float(best.max())
