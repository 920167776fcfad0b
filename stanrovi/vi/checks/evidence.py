"""What is known of a finished fit before any check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stanrovi.families.base import Family
from stanrovi.target import Array, Target


@dataclass(frozen=True)
class Evidence:
    """Evaluations at the draws of a finished fit.

    Attributes
    ----------
    target : Target
    family : Family
    x, gradient : ndarray, shape (n, dim)
    log_p, log_q : ndarray, shape (n,)
        ``log_p`` is -inf where the target rejects the draw.
    khat : float
    pareto_k : callable
        Pareto shape of log importance ratios (n,).
    """

    target: Target
    family: Family
    x: Array
    gradient: Array
    log_p: Array
    log_q: Array
    khat: float
    pareto_k: Callable[[Array], float]

    @property
    def log_ratio(self) -> Array:
        """``log p - log q`` at the draws, -inf where the target rejects one, shape (n,)."""
        return np.where(np.isfinite(self.log_p), self.log_p - self.log_q, -np.inf)
