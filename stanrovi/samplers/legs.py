"""Two legs to a target: from its fit, and from a wide reference that shares little with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stanrovi.families.axes import DenseAxes
from stanrovi.families.product import Product
from stanrovi.modes.look import look_again
from stanrovi.samplers.bridge import LogRatio
from stanrovi.samplers.tempering import Leg, Tempering
from stanrovi.target import Array, BudgetExhausted, Target
from stanrovi.vi.result import FitResult

_WIDEN = 3.0  # times as wide as what is known of the target
_MOST_DIM = 200  # a wide leg from there on would have more rungs than it can have
_SYSTEMS = 4
_SCANS = 100  # from look to look
_PRECISE = 0.15  # nats; legs this precise tell that half of the mass is missing
_MOST = 40_000  # gradients for it; half of them where nothing travels
_TRIPS = 8  # round trips from which on points travel
_BEYOND = 2.0  # nats of log ratio above all draws of the fit, where it has no mass to speak of
_CLIMBS = 16
_LOOK = 2000


@dataclass(frozen=True)
class LegReport:
    """What a leg of tempering came to.

    Attributes
    ----------
    name : {"fit", "wide"}
    rungs : int
    barrier : float
        Sum of the rejection rates of swaps between neighbouring rungs.
    round_trips : int
        From the reference to the target and back, all systems together.
    evidence : LogRatio
        Log of the target's normalising constant.
    alive : bool
        Whether enough points travelled for the evidence to mean anything.
    """

    name: str
    rungs: int
    barrier: float
    round_trips: int
    evidence: LogRatio
    alive: bool

    @classmethod
    def of(cls, name: str, tempering: Tempering, evidence: LogRatio) -> LegReport:
        """Tell what a run of a leg came to."""
        trips = tempering.round_trips
        return cls(name, len(tempering.powers), tempering.barrier, trips, evidence, trips >= _TRIPS)

    @classmethod
    def unfinished(cls, name: str) -> LegReport:
        """Tell of a leg that the budget did not suffice for."""
        return cls(name, 0, float("nan"), 0, LogRatio(float("nan"), float("inf")), alive=False)


def fit_leg(fit: FitResult) -> Leg:
    """Give the leg from a fit, through its own base coordinates all along."""
    return Leg(fit.family, lambda _: fit.family, common=True)


def wide_leg(fit: FitResult) -> Leg | None:
    """Give the leg from a normal as wide as all that is known of the target, and wider.

    Walkers move by a metric that goes from the reference's to that of the known modes. None
    where the fit has no such covariance.
    """
    parts = [(fit.family.mean(), fit.family.covariance())]
    if fit.modes:
        position = np.stack([m.position for m in fit.modes])
        centre = position.mean(axis=0)
        local = np.mean([m.covariance for m in fit.modes], axis=0)
        apart = position - centre
        parts.append((centre, local + apart.T @ apart / len(apart)))
    else:
        local = parts[0][1]
    centre = np.mean([mean for mean, _ in parts], axis=0)
    known = np.mean([c + np.outer(m - centre, m - centre) for m, c in parts], axis=0)
    try:
        reference = Product.gaussian(centre, DenseAxes.of_covariance(_WIDEN**2 * known))
        wide, narrow = np.linalg.inv(_WIDEN**2 * known), np.linalg.inv(local)
        np.linalg.cholesky(narrow)
    except np.linalg.LinAlgError:
        return None

    def coordinates(b: float) -> Product:
        metric = np.linalg.inv((1 - b) * wide + b * narrow)
        return Product.gaussian(centre, DenseAxes.of_covariance(0.5 * (metric + metric.T)))

    return Leg(reference, coordinates, common=False)


def look_from_afar(
    target: Target, fit: FitResult, rng: np.random.Generator
) -> tuple[LegReport | None, Array]:
    """Temper from a wide reference, and look where its draws are that the fit knows nothing of.

    Parameters
    ----------
    target : Target
    fit : FitResult
    rng : numpy.random.Generator

    Returns
    -------
    report : LegReport or None
        None where there can be no such leg.
    places : ndarray, shape (m, dim)
        Modes that the fit lacks.

    Raises
    ------
    BudgetExhausted
        When the budget is spent before the leg has said anything.
    """
    nothing = np.empty((0, target.dim))
    leg = wide_leg(fit) if target.dim <= _MOST_DIM else None
    if leg is None:
        return None, nothing
    start = fit.draws[rng.choice(len(fit.draws), _SYSTEMS, replace=False)]
    before = target.n_gradients
    tempering = Tempering(target, leg, start, rng)
    if tempering.dead:
        return LegReport.of("wide", tempering, LogRatio(float("nan"), float("inf"))), nothing
    traces = []
    while True:
        try:
            traces.append(tempering.sample(_SCANS))
        except BudgetExhausted:
            if not traces:
                raise
            break
        evidence = tempering.evidence()
        if evidence.se <= _PRECISE and tempering.round_trips >= _TRIPS:
            break
        spent = target.n_gradients - before
        if spent > _MOST or (spent > _MOST / 2 and tempering.round_trips == 0):
            break
    report = LegReport.of("wide", tempering, tempering.evidence())
    x = np.concatenate([t.x for t in traces], axis=1).reshape(-1, target.dim)
    log_p = np.concatenate([t.log_p for t in traces], axis=1).ravel()
    return report, _unseen(target, fit, x, log_p, rng)


def _unseen(
    target: Target, fit: FitResult, x: Array, log_p: Array, rng: np.random.Generator
) -> Array:
    """Climb from draws where the fit has nothing to what it does not know; shape (m, dim)."""
    most = (fit.log_p - fit.log_q).max() + _BEYOND
    beyond = np.flatnonzero(log_p - fit.family.log_density(x) > most)
    if not len(beyond) or not fit.modes:
        return np.empty((0, target.dim))
    first = x[rng.choice(beyond, min(_CLIMBS, len(beyond)), replace=False)]
    look = look_again(target, fit.modes, first, rng, most_gradients=_LOOK)
    return np.array([mode.position for mode in look.modes]).reshape(-1, target.dim)
