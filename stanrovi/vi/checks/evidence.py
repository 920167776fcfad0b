"""What is known of a finished fit before any check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from stanrovi.errors import DensityError
from stanrovi.families.base import Family
from stanrovi.target import Array, BudgetExhausted, Target

_EVEN = 0.05  # nats; a tail of ratios that differ by less bears no weight
_LEAST = 8  # draws evaluated even when the time is over, or nothing could be said
_STAGE = "draws"


@dataclass(frozen=True)
class Widened:
    """Evaluations at draws of a fit made wider.

    Attributes
    ----------
    x : ndarray, shape (n, dim)
    log_p, log_q, own : ndarray, shape (n,)
        Log density of the target, of the fit, and of the wider one.
    """

    x: Array
    log_p: Array
    log_q: Array
    own: Array


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
    rest : ndarray, shape (m, dim), optional
        Draws of the same kind that are not evaluated yet.
    widened : Widened, optional
        Evaluations further out, where weights were found to need them.
    seen : (ndarray, ndarray), optional
        Points (m, dim) where the target was evaluated for the fit, with the log density (m,).
    """

    target: Target
    family: Family
    x: Array
    gradient: Array
    log_p: Array
    log_q: Array
    khat: float
    pareto_k: Callable[[Array], float]
    rest: Array | None = None
    widened: Widened | None = None
    seen: tuple[Array, Array] | None = None

    @classmethod
    def at(
        cls,
        target: Target,
        family: Family,
        draws: Array,
        n: int,
        pareto_k: Callable[[Array], float],
    ) -> Evidence:
        """Evaluate the target at the first draws of a fit.

        Parameters
        ----------
        target : Target
        family : Family
        draws : ndarray, shape (N, dim)
        n : int
            How many to evaluate; there are fewer where the time ends.
        pareto_k : callable

        Raises
        ------
        BudgetExhausted
            If not even a few can be evaluated.
        DensityError
            If the target rejects them all.
        """
        least = min(_LEAST, n)
        with target.stage(_STAGE):
            log_p, gradient = target.leading(draws[:n], least)
        n = len(log_p)
        if n < least:
            raise BudgetExhausted
        x = draws[:n]
        log_p, log_q = _told(family, x, log_p)
        accepted = np.isfinite(log_p)
        if not accepted.any():
            raise DensityError(
                "The target rejects every draw of the fit, so nothing can be said of it. Check the "
                "constraints of the program: the density is not finite where its mass should be."
            )
        khat = _tail(log_p[accepted] - log_q[accepted], pareto_k)
        return cls(target, family, x, gradient, log_p, log_q, khat, pareto_k, draws[n:])

    @property
    def log_ratio(self) -> Array:
        """``log p - log q`` at the draws, -inf where the target rejects one, shape (n,)."""
        return np.where(np.isfinite(self.log_p), self.log_p - self.log_q, -np.inf)

    def grown(self, most: int) -> Evidence:
        """Evaluate as many draws again, or fewer, as far as there are any and the time allows."""
        rest = self.rest if self.rest is not None else self.x[:0]
        with self.target.stage(_STAGE):
            log_p, gradient = self.target.leading(rest[: min(len(self.x), most)], 0)
        n = len(log_p)
        if not n:
            return self
        log_p, log_q = _told(self.family, rest[:n], log_p)
        log_p, log_q = np.concatenate([self.log_p, log_p]), np.concatenate([self.log_q, log_q])
        accepted = np.isfinite(log_p)
        return replace(
            self,
            x=np.concatenate([self.x, rest[:n]]),
            gradient=np.concatenate([self.gradient, gradient]),
            log_p=log_p,
            log_q=log_q,
            khat=_tail(log_p[accepted] - log_q[accepted], self.pareto_k),
            rest=rest[n:],
        )


def _told(family: Family, x: Array, log_p: Array) -> tuple[Array, Array]:
    """Log densities (n,) of target and fit, rejected also where the family cannot tell its own."""
    log_q = family.log_density(x)
    return np.where(np.isfinite(log_q), log_p, -np.inf), log_q


def _tail(log_ratio: Array, pareto_k: Callable[[Array], float]) -> float:
    """Pareto shape of ratios (n,), that of no tail where they are all but even."""
    khat = pareto_k(log_ratio)
    return min(khat, 0.0) if log_ratio.std() < _EVEN else khat
