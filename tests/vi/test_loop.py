"""The loop of every fit, on a rule that does as it is told."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from targets import gaussian, run_on, standard

from stanrovi.families.product import Product
from stanrovi.target import BudgetExhausted
from stanrovi.vi.loop import Proposal, ascend
from stanrovi.vi.pool import Pool

DENSITY = gaussian([0.0], [[1.0]])


def at(center):
    return Product.gaussian(np.array([center]), np.eye(1))


@dataclass
class Told:
    """A rule that looks at given centres in turn, and remembers what it is asked."""

    centers: list[float]
    recovery: float = 1.5
    stage: str = "told"
    first_draws: int = 8
    steps: int = 100
    start: float | None = None
    asked: list[tuple[float, float, bool, int]] = field(default_factory=list)

    def affords(self, step, spent):
        return step < self.steps

    def base(self, run, n):
        return run.base(n)

    def better_start(self, family, batch, step):
        if self.start is None:
            return None
        other, self.start = at(self.start), None
        return other

    def overshot(self, new, best):
        return new.elbo < best.elbo - 0.1

    def propose(self, best, pool, n_draws, step):
        self.asked.append((float(best.family.center[0]), best.boldness, best.rejected, n_draws))
        if not self.centers:
            return Proposal(best.family, n_draws, ended="told all", converged=True)
        return Proposal(at(self.centers.pop(0)), n_draws + 1)


def test_what_is_worse_is_left_and_the_next_step_is_half_as_bold():
    rule, run = Told([1.0, 5.0, 5.0, 0.5]), run_on(DENSITY)
    ascent = ascend(run, at(2.0), rule, Pool())
    assert [center for center, *_ in rule.asked] == [2.0, 1.0, 1.0, 1.0, 0.5]
    assert [boldness for _, boldness, *_ in rule.asked] == [1.0, 1.0, 0.5, 0.25, 0.375]
    assert [rejected for *_, rejected, _ in rule.asked] == [False, False, True, True, False]
    assert [n for *_, n in rule.asked] == [8, 9, 10, 11, 12]
    assert (ascent.last.ended, ascent.last.converged) == ("told all", True)
    assert ascent.spent == run.target.n_gradients == sum(range(8, 13))
    assert run.target.by_stage == {"told": ascent.spent}
    assert len(run.trace) == 5


def test_the_run_keeps_the_best_so_far_when_its_budget_ends():
    run = run_on(DENSITY, max_gradients=20)
    with pytest.raises(BudgetExhausted):
        ascend(run, at(1.0), Told([3.0, 0.0]), Pool())
    assert run.family.center[0] == 1.0


def test_means_that_run_out_end_the_fit_without_a_last_word():
    ascent = ascend(run_on(DENSITY), at(2.0), Told([1.0, 0.5, 0.0], steps=3), Pool())
    assert ascent.last is None
    assert ascent.best.family.center[0] == 0.5


def test_the_first_look_is_always_afforded():
    ascent = ascend(run_on(DENSITY), at(2.0), Told([1.0], steps=0), Pool())
    assert ascent.spent == 8


def test_a_better_start_takes_the_place_of_the_first_and_stays_out_of_the_pool():
    pool = Pool()
    rule = Told([], start=0.0)
    ascent = ascend(run_on(DENSITY), at(9.0), rule, pool)
    assert ascent.best.family.center[0] == 0.0
    assert (len(pool.batches), ascent.spent) == (1, 16)


def test_a_drift_within_noise_goes_back_to_the_safest():
    drifted = ascend(run_on(DENSITY), standard(1), Told([0.4, 0.55, 0.7]), Pool())
    assert drifted.best.safest[0].center[0] == 0.0
    assert drifted.best.settled()[0].center[0] == 0.0
