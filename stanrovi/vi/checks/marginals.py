"""An estimated error for every marginal of a fit, without a reference.

From importance weights where they carry; from the scores at the fit's draws where they do not;
from short chains where neither does.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from stanrovi.families.mixture import Mixture, parts
from stanrovi.modes.basins import Mode
from stanrovi.scalars import Scalars, first_of_copies, varying
from stanrovi.target import Array, BudgetExhausted
from stanrovi.vi.checks.basins import shifts
from stanrovi.vi.checks.chains import from_chains, gradients_of
from stanrovi.vi.checks.distances import spread, weighted_w1, without_noise
from stanrovi.vi.checks.evidence import Evidence
from stanrovi.vi.checks.normal_scores import NormalScores
from stanrovi.vi.checks.scores import from_scores
from stanrovi.vi.checks.weights import Weighted, weigh, weigh_widened, widen
from stanrovi.vi.facts import MarginalErrors

WRONG = 0.105  # sds at which a marginal is wrong: W1 of 0.1, beyond the noise of the draws
_KHAT = 0.5  # above it the weights have no variance
_WIDENED = 1000
_INSIDE = 1.2
_CARRY = 0.03  # noise (sds) of an estimate from weights that carry
_DISTRUST = 1.5  # chains count as so much noisier than they say: two moments are not a marginal
_UNSEEN = 0.25  # residual score up to which the linear response is the whole answer
_CLEAR = 0.15  # an error this large needs no better estimate
_VAGUE = 100  # effective draws below which a large error is known to be large, and no more
_CHAINS = 64, 512
_FAR = 1e100  # squares of what is nearer are numbers
_DRAWS_PER_DIMENSION = 10  # that scores are regressed on
_NEAR = 2.0  # standard errors from that limit, within which a verdict is a matter of luck
_SHARE = 0.01  # noise of a basin's share that leaves no shift of weight unseen


def with_enough_draws(
    evidence: Evidence,
    scalars: Scalars,
    modes: Sequence[Mode],
    most_gradients: int,
    rng: np.random.Generator,
) -> Evidence:
    """Evaluate more draws of a fit, where those so far cannot tell and more would.

    Parameters
    ----------
    evidence : Evidence
    scalars : Scalars
    modes : sequence of Mode
    most_gradients : int
        That short chains may take; where they would take more than all draws, those are better.
    rng : numpy.random.Generator
        Of the draws of the widened fit.

    Returns
    -------
    Evidence
        With twice the draws, or four times, and so on, up to all that there are; and with draws
        of the widened fit, where weights need those, in place of some unless chains are due.
    """
    chains = _chains(most_gradients, evidence.family.dim) * gradients_of(evidence.family.dim)
    while True:
        if not evidence.khat < _KHAT and evidence.widened is None:
            with suppress(BudgetExhausted):
                evidence = replace(evidence, widened=widen(evidence, _WIDENED, rng))
        if evidence.rest is None or not len(evidence.rest) or evidence.target.over:
            return evidence
        more = evidence.grown(_wanted(evidence, scalars, modes, chains))
        if more is evidence:
            return evidence
        evidence = more


def _wanted(evidence: Evidence, scalars: Scalars, modes: Sequence[Mode], chains: int) -> int:
    """How many draws more would settle a verdict that is open by those so far."""
    assert evidence.rest is not None
    n, more = len(evidence.x), len(evidence.rest)
    spare = more if evidence.widened is None else max(more - len(evidence.widened.x), 0)
    errors, weighted = marginal_errors(evidence, scalars, 0, np.random.default_rng(0))
    clear = (errors.error > _CLEAR + 3 * errors.se).any()  # whatever else there is
    if not clear and (errors.se > _CARRY).any() and chains > more:
        return spare or more
    if any(shift.noise > _SHARE for shift in shifts(modes, weighted)):
        return spare
    if clear:
        return 0
    weights = np.array(errors.source) == "weights"
    near = weights & (np.abs(errors.error - WRONG) <= _NEAR * errors.se)
    vague = weights & (errors.se > _CARRY)
    settled = errors.se * np.sqrt(n / (n + more)) <= _CARRY
    if (near & settled).any() or (vague.any() and settled[vague].all()):
        return spare
    scanty = n < _DRAWS_PER_DIMENSION * evidence.family.dim and not weights.all()
    return spare if scanty else 0


def marginal_errors(
    evidence: Evidence, scalars: Scalars, most_gradients: int, rng: np.random.Generator
) -> tuple[MarginalErrors, Weighted]:
    """Estimate how far each marginal is from that of the target.

    Parameters
    ----------
    evidence : Evidence
    scalars : Scalars
    most_gradients : int
        Gradients that short chains may take; with none nothing is evaluated at all.
    rng : numpy.random.Generator

    Returns
    -------
    errors : MarginalErrors
        Of the scalars that vary.
    weighted : Weighted
        The draws, and whatever was drawn besides, with the weights behind the errors.
    """
    weighted = weigh(evidence)
    khat = evidence.khat
    if not khat < _KHAT:
        widened = evidence.widened
        if widened is None and most_gradients:
            with suppress(BudgetExhausted):
                widened = widen(evidence, _WIDENED, rng)
        if widened is not None:
            weighted = weigh_widened(evidence, widened)
            khat = evidence.pareto_k(np.log(weighted.target[weighted.target > 0]))
    with np.errstate(over="ignore"):
        values = np.clip(scalars.of(weighted.x), -_FAR, _FAR)
    finite: Array = np.where(np.isfinite(values), values, 0.0)[: len(evidence.x)]
    kept = varying(finite) & first_of_copies(finite)
    if not kept.any():
        nothing = np.empty(0)
        return MarginalErrors((), nothing, nothing, ()), weighted
    scalars, values = scalars.only(kept), values[:, kept]
    sound = np.asarray(np.isfinite(values).all(axis=1))
    values = values[sound]
    first, second = weighted.target[sound], weighted.fit[sound]
    if not first.sum() > 0:
        unknown = np.full(len(scalars.names), np.inf)
        return MarginalErrors(
            scalars.names, unknown, unknown, ("weights",) * len(unknown)
        ), weighted
    first, second = first / first.sum(), second / second.sum()
    w1, noise = weighted_w1(values, first, second)
    error = without_noise(w1, noise)
    # A tail that no widening explains is mass inside, which scores and chains do not see.
    found = _Found(
        scalars.names, error, noise, vague=weighted.size < _VAGUE, inside=not khat < _INSIDE
    )
    drawn = sound[: len(evidence.x)]
    if found.unsettled.any() and drawn.any():
        own = values[: int(drawn.sum())]
        ranked = np.sort(own, axis=0)
        scores = NormalScores(ranked, spread(ranked, np.full(ranked.shape, 1 / len(ranked)))[0])
        if not isinstance(evidence.family, Mixture) and len(own) >= 2 * evidence.family.dim:
            _look_at_scores(found, evidence, drawn, scores, own)
        # Where something is wrong beyond doubt, the verdict needs no chains.
        if most_gradients and found.open.any() and not found.clear.any():
            _look_at_chains(found, evidence, scalars, scores, most_gradients, rng)
    return found.errors(), weighted


class _Found:
    """Errors found so far, with where each comes from."""

    def __init__(
        self, names: tuple[str, ...], error: Array, noise: Array, *, vague: bool, inside: bool
    ) -> None:
        self._names, self._vague, self._inside = names, vague, inside
        self._error, self.noise = error, noise
        self._source = np.array(["weights"] * len(names), dtype=object)

    @property
    def open(self) -> NDArray[np.bool_]:
        """Which estimates are too noisy to go by, and may be replaced by any better."""
        return (self.noise > _CARRY) & ~self.clear & (not self._inside)

    @property
    def unsettled(self) -> NDArray[np.bool_]:
        """Which another estimate may better: the open ones, and large errors by few draws."""
        return self.open | (self.clear & self._vague)

    @property
    def clear(self) -> NDArray[np.bool_]:
        """Which are wrong beyond doubt."""
        return np.asarray(self._error > _CLEAR + 3 * self.noise)

    def settle(self, which: NDArray[np.bool_], error: Array, noise: Array, source: str) -> None:
        """Replace the estimates of some quantities."""
        self._error[which], self.noise[which] = error[which], noise[which]
        self._source[which] = source

    def errors(self) -> MarginalErrors:
        return MarginalErrors(self._names, self._error, self.noise, tuple(self._source))


def _look_at_scores(
    found: _Found,
    evidence: Evidence,
    drawn: NDArray[np.bool_],
    scores: NormalScores,
    values: Array,
) -> None:
    (family,), _ = parts(evidence.family)
    accepted = np.isfinite(evidence.log_p[drawn])
    with np.errstate(all="ignore"):
        z = family.to_base(evidence.x[drawn])
        _, _, lift = family.transport(z)
        residual = lift(evidence.gradient[drawn]) + z
    usable = accepted & np.isfinite(residual).all(axis=1)
    error, unseen = from_scores(z[usable], residual[usable], scores, scores.of(values)[usable])
    # Few draws of much weight tell that an error is large, not how large.
    which = found.unsettled & ((unseen < _UNSEEN) | (~found.open & (error > _CLEAR)))
    # What a residual score leaves unseen is of the order of its square.
    noise = np.where(unseen < _UNSEEN, unseen**2, error / 4)
    found.settle(which, error, noise, "scores")


def _look_at_chains(
    found: _Found,
    evidence: Evidence,
    scalars: Scalars,
    scores: NormalScores,
    most_gradients: int,
    rng: np.random.Generator,
) -> None:
    chains = _chains(most_gradients, evidence.family.dim)
    try:
        moved = from_chains(evidence.target, evidence.family, scalars, scores, chains, rng)
    except BudgetExhausted:
        return
    if not moved.stuck:
        error = without_noise(moved.error, moved.noise)
        noise = _DISTRUST * moved.noise
        found.settle(found.open & (noise < found.noise), error, noise, "chains")


def _chains(most_gradients: int, dim: int) -> int:
    return int(np.clip(most_gradients // gradients_of(dim), *_CHAINS))
