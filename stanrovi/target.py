"""The one interface through which the numerical core sees a posterior.

Everything below this module works on a `Target`: a log density with its
gradient on unconstrained space, evaluated in batches, with evaluations
counted by stage. It knows nothing of Stan.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Density(Protocol):
    """A log density up to a constant, with its gradient, on unconstrained space."""

    @property
    def dim(self) -> int:
        """Number of unconstrained parameters."""

    def log_density_gradient(self, x: Array, /) -> tuple[Array, Array]:
        """Evaluate a batch.

        Parameters
        ----------
        x : ndarray, shape (n, dim)
            Unconstrained points, C-contiguous float64.

        Returns
        -------
        log_density : ndarray, shape (n,)
            ``-inf`` where the density rejects the point.
        gradient : ndarray, shape (n, dim)
        """


class BudgetExhausted(Exception):  # noqa: N818 - control flow, not a failure
    """The gradient or time budget is spent; caught by the fit driver, never shown."""


class Target:
    """A density with counting, rejection handling and a budget.

    A point is *rejected* where the log density or its gradient is not finite.
    Rejected points come back with log density ``-inf`` and gradient zero, so
    no NaN ever reaches an optimiser; callers must look at the log density.

    Parameters
    ----------
    density : Density
        The log density to evaluate.
    max_gradients : int, optional
        Evaluations allowed before `BudgetExhausted` is raised.
    deadline : float, optional
        Value of ``time.perf_counter()`` after which `BudgetExhausted` is raised.

    Attributes
    ----------
    n_gradients : int
        Points evaluated so far (value and gradient together count once).
    n_rejections : int
        Points rejected so far.
    seconds : float
        Wall time spent inside the density.
    by_stage : dict[str, int]
        Evaluations per stage; see `stage`.
    """

    def __init__(
        self,
        density: Density,
        *,
        max_gradients: int | None = None,
        deadline: float | None = None,
    ) -> None:
        self._density = density
        self._max_gradients = max_gradients
        self._deadline = deadline
        self._stage = "other"
        self.dim = density.dim
        self.n_gradients = 0
        self.n_rejections = 0
        self.seconds = 0.0
        self.by_stage: dict[str, int] = {}

    def log_density_gradient(self, x: Array) -> tuple[Array, Array]:
        """Evaluate a batch, counting it.

        Parameters
        ----------
        x : ndarray, shape (n, dim)
            Unconstrained points.

        Returns
        -------
        log_density : ndarray, shape (n,)
            ``-inf`` at rejected points.
        gradient : ndarray, shape (n, dim)
            Zero at rejected points.

        Raises
        ------
        BudgetExhausted
            When the budget does not cover this batch.
        """
        x = np.ascontiguousarray(x, dtype=np.float64)
        n = x.shape[0]
        if self._max_gradients is not None and self.n_gradients + n > self._max_gradients:
            raise BudgetExhausted
        start = time.perf_counter()
        if self._deadline is not None and start > self._deadline:
            raise BudgetExhausted
        log_density, gradient = self._density.log_density_gradient(x)
        self.seconds += time.perf_counter() - start
        self.n_gradients += n
        self.by_stage[self._stage] = self.by_stage.get(self._stage, 0) + n
        bad = ~(np.isfinite(log_density) & np.isfinite(gradient).all(axis=1))
        if bad.any():
            self.n_rejections += int(bad.sum())
            log_density = np.where(bad, -np.inf, log_density)
            gradient = np.where(bad[:, None], 0.0, gradient)
        return log_density, gradient

    @property
    def n_left(self) -> int:
        """Gradients left in the budget; 0 where none was given."""
        return 0 if self._max_gradients is None else self._max_gradients - self.n_gradients

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Attribute the evaluations made inside the block to ``name``."""
        previous, self._stage = self._stage, name
        try:
            yield
        finally:
            self._stage = previous


class FunctionDensity:
    """A plain Python function as a `Density`, for tests, examples and research.

    Parameters
    ----------
    function : callable
        Maps ``x`` of shape (n, dim) to ``(log_density (n,), gradient (n, dim))``.
    dim : int
        Number of unconstrained parameters.
    """

    def __init__(self, function: Callable[[Array], tuple[Array, Array]], dim: int) -> None:
        self._function = function
        self.dim = dim

    def log_density_gradient(self, x: Array, /) -> tuple[Array, Array]:
        """Evaluate a batch; see `Density.log_density_gradient`."""
        return self._function(x)
