"""The loop of every fit: evaluate, accept or halve, propose, grow, stop.

A fit looks at its target from the current approximation, takes the look for better or for
worse than the best so far, and proposes where to look next, how boldly and with how many
draws. What differs between fits is a `Rule`; the loop is this one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from stanrovi.families.product import Product
from stanrovi.target import Array
from stanrovi.vi.fit_run import FitRun
from stanrovi.vi.pool import Batch, Pool

_DRIFT = 0.1  # nats
_RISE, _UNSURE = 0.1, 1.0  # nats that count as a rise at least; standard errors that are believed


@dataclass
class Progress:
    """The best approximation so far, and how boldly to leave it.

    Attributes
    ----------
    family, batch
        The best, and the evaluations at its draws.
    boldness : float
        Share of a step to take; a rule may lower it further.
    rejected : bool
        Whether the last look was at something worse.
    first : Batch
        Evaluations where the fit began.
    safest : tuple of Product and Batch
        The accepted one with the highest ELBO less two standard errors.
    """

    family: Product
    batch: Batch
    boldness: float = 1.0
    rejected: bool = False
    first: Batch = field(init=False)
    safest: tuple[Product, Batch] = field(init=False)

    def __post_init__(self) -> None:
        self.first = self.batch
        self.safest = self.family, self.batch

    def accept(self, family: Product, batch: Batch) -> None:
        """Go on from an approximation."""
        self.family, self.batch, self.rejected = family, batch, False
        if batch.safe_elbo > self.safest[1].safe_elbo:
            self.safest = family, batch

    def reject(self) -> None:
        """Stay, and go half as far the next time."""
        self.boldness /= 2
        self.rejected = True

    def settled(self) -> tuple[Product, Batch]:
        """Return the last accepted one, or the safest where the last is clearly less safe.

        Steps that are each within their noise can still drift.
        """
        if self.batch.safe_elbo > self.safest[1].safe_elbo - _DRIFT:
            return self.family, self.batch
        return self.safest


@dataclass
class Plateau:
    """Whether gradients still gain anything.

    Attributes
    ----------
    patience : int
        Looks without a rise after which there will be none.
    high : float
        ELBO at the last rise beyond noise.
    looks : int
        Since then.
    """

    patience: int
    high: float = -np.inf
    looks: int = 0

    def reached(self, best: Progress) -> bool:
        """Take in the best look so far; whether too many, no worse, have brought nothing."""
        batch = best.batch
        if batch.elbo > self.high + max(_RISE, 2 * min(batch.elbo_se, _UNSURE)):
            self.high, self.looks = batch.elbo, 0
        elif not best.rejected:  # else the next one is at a shorter step
            self.looks += 1
        return self.looks >= self.patience


@dataclass(frozen=True)
class Proposal:
    """Where to look next.

    Attributes
    ----------
    family : Product
    n_draws : int
    ended : str
        Why the fit is over; empty while it is not.
    converged : bool
        Whether it ended well.
    """

    family: Product
    n_draws: int
    ended: str = ""
    converged: bool = False


class Rule(Protocol):
    """What a fit brings to the loop."""

    @property
    def stage(self) -> str:
        """Name of the stage."""

    @property
    def first_draws(self) -> int:
        """Draws of the first look."""

    @property
    def recovery(self) -> float:
        """Factor by which boldness recovers with each accepted step, up to 1."""

    def affords(self, step: int, spent: int) -> bool:
        """Whether look number ``step`` (from 0) may bring the gradients to ``spent``."""

    def base(self, run: FitRun, n: int) -> Array:
        """About n base draws, shape (n, dim)."""

    def better_start(self, family: Product, batch: Batch, step: int) -> Product | None:
        """Where to begin instead, judging by a look at the start."""

    def overshot(self, new: Batch, best: Batch) -> bool:
        """Whether a look is worse than the best so far, beyond noise."""

    def propose(self, best: Progress, pool: Pool, n_draws: int, step: int) -> Proposal:
        """Take a step from the best so far."""


@dataclass(frozen=True)
class Course:
    """How a fit went.

    Attributes
    ----------
    best : Progress
    last : Proposal or None
        The proposal that ended the fit; None where means ran out.
    spent : int
        Gradients.
    """

    best: Progress
    last: Proposal | None
    spent: int


def ascend(run: FitRun, start: Product, rule: Rule, pool: Pool) -> Course:
    """Fit.

    Parameters
    ----------
    run : FitRun
        Its ``family`` is kept at the best so far.
    start : Product
    rule : Rule
        Affords the first look.
    pool : Pool
        Earlier evaluations, to which all of the fit's are added.

    Returns
    -------
    Course

    Raises
    ------
    BudgetExhausted
        When the run's budget ends.
    """
    family, best = start, None
    n, spent = rule.first_draws, 0
    step = -1
    with run.stage(rule.stage):
        while True:
            step += 1
            if best is not None and not rule.affords(step, spent + n):
                return Course(best, None, spent)
            batch = run.evaluate(rule.stage, family, rule.base(run, n))
            spent += len(batch.x)
            if best is None and (other := rule.better_start(family, batch, step)) is not None:
                family = other
                continue
            pool.add(batch)
            if best is None:
                best = Progress(family, batch)
            elif rule.overshot(batch, best.batch):
                best.reject()
            else:
                best.accept(family, batch)
                best.boldness = min(1.0, rule.recovery * best.boldness)
            run.family = best.family
            proposal = rule.propose(best, pool, n, step)
            if proposal.ended:
                return Course(best, proposal, spent)
            family, n = proposal.family, proposal.n_draws
