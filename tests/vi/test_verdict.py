import numpy as np
import pytest
from targets import standard

from stanrovi.families.axes import DenseAxes
from stanrovi.modes.basins import Mode
from stanrovi.vi.outcome import Outcome
from stanrovi.vi.verdict import judge, reverse_kl

EVEN = np.zeros(1000)


def outcome(status="converged", misfit=None, dim=2):
    return Outcome(standard(dim), status, "how it ended", misfit=misfit)


def modes(*pairs):
    unit = DenseAxes(np.eye(2))
    return tuple(
        Mode(position=np.zeros(2), log_density=0.0, axes=unit, weight=weight, mass=mass)
        for weight, mass in pairs
    )


GOOD, ONE = outcome(), modes((1.0, 1.0))


def judged(outcome=GOOD, modes=ONE, ratio=EVEN, khat=0.1, rejected=0):
    return judge(outcome, modes, ratio, khat, rejected, len(ratio) + rejected)


def heavy(seed=0):
    """Log ratios with a tail heavy enough that weights are far from even."""
    return np.random.default_rng(seed).exponential(1.5, 1000)


def test_a_good_fit_of_one_basin_is_ok_and_says_why():
    verdict = judged()
    assert verdict.name == "ok"
    assert "one basin" in verdict.reasons[0]
    assert "0.10" in verdict.reasons[1]


def test_a_good_fit_of_two_basins_is_ok():
    verdict = judged(modes=modes((0.6, 0.61), (0.4, 0.39)))
    assert verdict.name == "ok"
    assert "2 basins" in verdict.reasons[0]


def test_a_small_khat_does_not_excuse_a_missing_mode():
    verdict = judged(modes=modes((0.6, 1.0), (0.4, 0.0)), khat=-0.5)
    assert verdict.name == "collapsed"
    assert verdict.reasons == ("mode 2 has 40.0% of the local evidence and 0.0% of the draws",)


def test_a_mode_too_light_to_be_sure_of_is_no_collapse():
    assert judged(modes=modes((0.985, 1.0), (0.015, 0.0))).name == "ok"


def test_a_mode_with_the_wrong_weight_is_suspect():
    verdict = judged(modes=modes((0.5, 0.65), (0.5, 0.35)))
    assert verdict.name == "suspect"
    assert len(verdict.reasons) == 2


def test_no_mode_at_all_is_suspect():
    verdict = judged(modes=())
    assert verdict.name == "suspect"
    assert "no proper mode" in verdict.reasons[0]


def test_a_large_khat_is_suspect_unless_the_weights_are_even():
    assert judged(khat=0.9).name == "ok"
    verdict = judged(ratio=heavy(), khat=0.9)
    assert verdict.name == "suspect"
    assert "0.90" in verdict.reasons[0]


def test_a_distance_in_kl_is_suspect_and_scaled_by_dimension():
    ratio = np.random.default_rng(0).normal(0, 0.5, 1000)  # KL about 0.125
    verdict = judged(ratio=ratio)
    assert verdict.name == "suspect"
    assert "nats" in verdict.reasons[0]
    assert judged(outcome=outcome(dim=40), ratio=ratio).name == "ok"


def test_a_fit_cut_short_by_its_budget_is_suspect():
    verdict = judged(outcome=outcome("budget"))
    assert verdict.name == "suspect"
    assert verdict.reasons == ("how it ended",)


def test_rejected_draws_are_suspect():
    verdict = judged(rejected=10)
    assert verdict.name == "suspect"
    assert "1.0%" in verdict.reasons[0]


def test_a_misfit_outranks_everything_and_counts_ghosts():
    ratio = np.where(np.arange(1000) < 250, -60.0, 0.0)
    verdict = judged(
        outcome=outcome(misfit="three in a triangle"), modes=modes((0.6, 1.0), (0.4, 0.0)),
        ratio=ratio,
    )  # fmt: skip
    assert verdict.name == "family cannot hold these modes"
    assert verdict.reasons[0] == "three in a triangle"
    assert "mode 2" in verdict.reasons[1]
    assert "25%" in verdict.reasons[2]


def test_reverse_kl_of_gaussians():
    x = np.random.default_rng(1).standard_normal(100_000)
    log_ratio = -0.5 * (x - 0.3) ** 2 + 0.5 * x**2 + 17.0
    assert reverse_kl(log_ratio) == pytest.approx(0.045, abs=0.003)
