"""What importance weights say of each marginal.

Draws of the fit, weighted by ``p / q``, are draws of the target wherever the fit has any. Where
the largest weights have a heavy tail, a few draws of the fit made wider, along one axis or along
all (defensive importance sampling: Hesterberg 1995, doi:10.2307/1269620), look at what lies beyond.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from stanrovi.families.base import LOG_SQRT_2PI, Family, base_draws
from stanrovi.families.mixture import parts
from stanrovi.target import Array, BudgetExhausted
from stanrovi.vi.checks.evidence import Evidence, Widened

_WIDTH = 2.0  # scale of the Cauchy that replaces one base coordinate
_SCALES = np.array([1.5, 3.0, 6.0, 12.0, 20.0])  # of all base coordinates together


@dataclass(frozen=True)
class Weighted:
    """Points with two weightings: by the target, and by the fit.

    Attributes
    ----------
    x : ndarray, shape (n, dim)
    target, fit : ndarray, shape (n,)
        Each sums to one.
    """

    x: Array
    target: Array
    fit: Array

    @property
    def size(self) -> float:
        """Effective number of points under the target."""
        return float(1 / (self.target @ self.target))


def weigh(evidence: Evidence) -> Weighted:
    """Weigh the draws of a fit."""
    n = len(evidence.x)
    return Weighted(evidence.x, _normalised(evidence.log_ratio), np.full(n, 1 / n))


def widen(evidence: Evidence, n: int, rng: np.random.Generator) -> Widened:
    """Evaluate the target at ``n`` draws of a fit made wider.

    Raises
    ------
    BudgetExhausted
        If there is not the time for so many.
    """
    if not evidence.target.covers(n):
        raise BudgetExhausted
    with np.errstate(all="ignore"):
        x, log_q, own = _widened_draws(evidence.family, n, rng)
        told = np.isfinite(x).all(axis=1) & np.isfinite(log_q) & np.isfinite(own)
        x = x[told]
        log_p, _ = evidence.target.log_density_gradient(x)
    return Widened(x, log_p, log_q[told], own[told])


def weigh_widened(evidence: Evidence, widened: Widened) -> Weighted:
    """Weigh the draws of a fit together with those of its widened self.

    Both are draws of one mixture (the balance heuristic, Veach and Guibas 1995,
    doi:10.1145/218380.218498), whose weights are bounded where either proposal reaches.

    Parameters
    ----------
    evidence : Evidence
    widened : Widened
    """
    drawn, log_q, x = evidence.x, evidence.log_q, widened.x
    with np.errstate(all="ignore"):
        at_draws = _widened_log_density(evidence.family, drawn, log_q)
    size = len(drawn) + len(x)
    shares = np.log([len(drawn) / size, max(len(x), 1) / size])
    all_q = np.concatenate([log_q, widened.log_q])
    all_p = np.concatenate([evidence.log_p, widened.log_p])
    other = np.nan_to_num(np.concatenate([at_draws, widened.own]), nan=-np.inf, posinf=-np.inf)
    proposal = np.logaddexp(shares[0] + all_q, shares[1] + other)
    ratio = np.where(np.isfinite(all_p) & np.isfinite(proposal), all_p - proposal, -np.inf)
    fit = np.where(np.isfinite(proposal), all_q - proposal, -np.inf)
    return Weighted(np.concatenate([drawn, x]), _normalised(ratio), _normalised(fit))


def _widened_draws(family: Family, n: int, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Draw from the widened fit; with the log density of the fit, and of itself, (n,) each."""
    components, weights = parts(family)
    label = rng.choice(len(components), n, p=weights)
    z = base_draws(n, family.dim, rng)
    half = n // 2
    z[np.arange(half), rng.integers(family.dim, size=half)] = _WIDTH * rng.standard_cauchy(half)
    z[half:] *= rng.choice(_SCALES, n - half)[:, None]
    if len(components) == 1:
        x, log_q = components[0].push_forward(z)
        return x, log_q, log_q + _widening(z)
    x = np.empty_like(z)
    for k, component in enumerate(components):
        x[label == k] = component.from_base(z[label == k])
    log_q = family.log_density(x)
    return x, log_q, _widened_log_density(family, x, log_q)


def _widened_log_density(family: Family, x: Array, log_q: Array) -> Array:
    """Log density (n,) of the widened fit where that of the fit is log_q."""
    components, weights = parts(family)
    if len(components) == 1:
        return log_q + _widening(components[0].to_base(x))
    joint = [
        np.log(weight) + component.log_density(x) + _widening(component.to_base(x))
        for component, weight in zip(components, weights, strict=True)
    ]
    return np.asarray(logsumexp(joint, axis=0))


def _widening(z: Array) -> Array:
    """Log ratio (n,) of the widened base distribution to the standard normal.

    Half is Cauchy along one axis, any of them; half is wider along all.
    """
    d = z.shape[1]
    wider = -np.log(np.pi * _WIDTH) - np.log1p((z / _WIDTH) ** 2) + 0.5 * z**2 + LOG_SQRT_2PI
    one = logsumexp(wider, axis=1) - np.log(d)
    square = (z**2).sum(axis=1)[:, None]
    radial = 0.5 * square * (1 - _SCALES**-2) - d * np.log(_SCALES)
    every = logsumexp(radial, axis=1) - np.log(len(_SCALES))
    return np.asarray(np.logaddexp(one, every) - np.log(2))


def _normalised(log_weight: Array) -> Array:
    w = np.exp(log_weight - log_weight.max())
    return np.asarray(w / w.sum())
