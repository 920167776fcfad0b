"""Every gradient of a fit, kept for the regressions that follow.

Batches drawn from earlier iterates are reweighted to the current one
(self-normalised importance sampling within each batch), so a regression sees
all the evaluations so far and its noise falls as the fit proceeds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from stanrovi.families.axes import DENSE_LIMIT
from stanrovi.target import Array

# A batch whose effective size fell below this share no longer counts.
_MIN_EFFICIENCY = 0.2
_MAX_ROWS = 4096
_MAX_NUMBERS = 2**23  # of the points held, in many dimensions
_PENALTY = 50.0  # nats, for an iterate all of whose draws are rejected
_ROUNDING = 1e-4  # nats; below that, ELBOs are equal


@dataclass(frozen=True)
class Batch:
    """Target evaluations at draws from one iterate.

    Attributes
    ----------
    x, gradient : ndarray, shape (n, dim)
        Where the target rejected a point, the gradient is a stand-in that
        points back to the centre of the iterate: a wall for the regressions.
    log_p, log_q : ndarray, shape (n,)
        Target (-inf where rejected) and iterate log density.
    """

    x: Array
    gradient: Array
    log_p: Array
    log_q: Array

    @cached_property
    def n_rejected(self) -> int:
        """Number of points that the target rejected."""
        return int((~np.isfinite(self.log_p)).sum())

    @cached_property
    def log_ratio(self) -> Array:
        """``log p - log q`` at accepted points; its mean is the ELBO if there are no others."""
        ok = np.isfinite(self.log_p)
        return self.log_p[ok] - self.log_q[ok]

    @cached_property
    def elbo(self) -> float:
        """ELBO estimate, less `_PENALTY` nats per share of rejected points."""
        if self.n_rejected == len(self.log_p):
            return -np.inf
        return float(self.log_ratio.mean()) - self._penalty()

    @cached_property
    def elbo_se(self) -> float:
        """Standard error of the estimate (an upper bound for Sobol draws)."""
        r = self.log_ratio
        with np.errstate(over="ignore"):  # a draw may lie so far out that no error can be told
            return float(r.std(ddof=1) / np.sqrt(len(r))) if len(r) > 1 else np.inf

    @property
    def safe_elbo(self) -> float:
        """ELBO less two standard errors."""
        return self.elbo - 2 * self.elbo_se

    def worse_than(self, other: Batch) -> bool:
        """Whether the ELBO is lower by more than two standard errors and `_ROUNDING`.

        The own standard error counts for three times the other's at most: a
        fit with wild ratios must not pass because of them.
        """
        se = np.hypot(min(self.elbo_se, 3 * other.elbo_se), other.elbo_se)
        return not self.elbo > other.elbo - 2 * se - _ROUNDING

    def divergence(self) -> tuple[float, float]:
        """Jeffreys divergence ``KL(q || p) + KL(p || q)`` and its standard error.

        Expectations under p by self-normalised importance weights, so it is
        blind to what the draws do not reach; unlike the ELBO it needs no
        normalising constant, and it is zero only for an exact fit.
        """
        r = self.log_ratio
        if len(r) < 2:
            return np.inf, 0.0
        w = np.exp(r - r.max())
        w /= w.sum()
        mean_p = float(w @ r)
        counts = w > 0  # what is beyond numbers has no weight
        se_p = np.sqrt(w[counts] ** 2 @ (r[counts] - mean_p) ** 2)
        return mean_p - float(r.mean()) + self._penalty(), float(np.hypot(se_p, self.elbo_se))

    def _penalty(self) -> float:
        return _PENALTY * self.n_rejected / len(self.log_p)


@dataclass
class Pool:
    """Batches of one fit, newest last."""

    batches: list[Batch] = field(default_factory=list)
    _last: dict[str, tuple[list[Batch], Array]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def add(self, batch: Batch) -> None:
        """Keep a batch, and of the older ones as many as make `_MAX_ROWS` points."""
        self.batches.append(batch)
        dim = batch.x.shape[1]
        limit = max(_MAX_ROWS, 8 * dim)
        if dim > DENSE_LIMIT:
            limit = min(_MAX_ROWS, _MAX_NUMBERS // dim)
        while len(self.batches) > 1 and sum(len(b.x) for b in self.batches) > limit:
            self.batches.pop(0)

    def forget(self, weight: Array) -> None:
        """Drop the batches whose points all have weight zero."""
        ends = np.cumsum([len(b.x) for b in self.batches])[:-1]
        parts = np.split(weight, ends)
        self.batches = [b for b, w in zip(self.batches, parts, strict=True) if w.any()]

    @property
    def x(self) -> Array:
        """All points, shape (n, dim)."""
        return self._joined("x")

    @property
    def gradient(self) -> Array:
        """All gradients, shape (n, dim)."""
        return self._joined("gradient")

    @property
    def log_p(self) -> Array:
        """All target log densities, shape (n,)."""
        return self._joined("log_p")

    def _joined(self, name: str) -> Array:
        """Join the batches, once for as long as they are the same."""
        batches, joined = self._last.get(name, ([], None))
        if joined is None or [*map(id, batches)] != [*map(id, self.batches)]:
            joined = np.concatenate([getattr(b, name) for b in self.batches])
            self._last[name] = [*self.batches], joined
        return joined

    def weights(self, log_q: Array) -> Array:
        """Weights (n,) that turn the pool into a sample of the current iterate.

        Parameters
        ----------
        log_q : ndarray, shape (n,)
            Current iterate's log density at `x`.

        Returns
        -------
        ndarray
            Each batch's weights sum to its effective sample size, or to zero
            when that is too small.
        """
        out, start = [], 0
        for batch in self.batches:
            stop = start + len(batch.log_p)
            out.append(_importance(log_q[start:stop] - batch.log_q))
            start = stop
        return np.concatenate(out)


def _importance(log_ratio: Array) -> Array:
    """Weights that sum to their effective sample size, or to zero when that is too small."""
    top = log_ratio.max()
    if top == -np.inf:  # every point was rejected
        return np.zeros_like(log_ratio)
    w = np.exp(log_ratio - top)
    size = w.sum() ** 2 / (w @ w)
    return w * (size / w.sum()) if size > _MIN_EFFICIENCY * len(w) else np.zeros_like(w)
