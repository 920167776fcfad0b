import numpy as np
import pytest
from targets import standard

from stanrovi.families.axes import DenseAxes
from stanrovi.modes.basins import Mode
from stanrovi.modes.symmetry import Image, Symmetry
from stanrovi.vi.checks.basins import Orbits, Shift, lost_modes
from stanrovi.vi.checks.found import Checks
from stanrovi.vi.checks.verdict import Case, judge
from stanrovi.vi.facts import MarginalErrors, Root
from stanrovi.vi.outcome import Outcome

EVEN = np.zeros(1000)
NOTHING = Orbits((), ())


def modes(*pairs):
    unit = DenseAxes(np.eye(2))
    return tuple(
        Mode(position=np.zeros(2), log_density=0.0, axes=unit, weight=weight, mass=mass)
        for weight, mass in pairs
    )


def errors(*pairs, source="weights"):
    names = tuple(f"theta[{i + 1}]" for i in range(len(pairs)))
    error, se = np.array(pairs).T
    return MarginalErrors(names, error, se, (source,) * len(pairs))


ONE, GOOD = modes((1.0, 1.0)), errors((0.02, 0.01), (0.04, 0.01))


def judged(
    modes=ONE,
    errors=GOOD,
    *,
    method="auto",
    status="converged",
    message="how it ended",
    misfit=None,
    ratio=EVEN,
    rejected=0,
    shifts=(),
    orbits=NOTHING,
    absent=(),
    unexplained=(0.0, 0.0),
    unseen=0.0,
    roots=(),
):  # fmt: skip
    outcome = Outcome(standard(2), status, message, misfit=misfit)
    checks = Checks(errors, lost_modes(modes), shifts, orbits, absent, unexplained)
    ratio = np.concatenate([ratio, np.full(rejected, -np.inf)])
    return judge(Case(method, outcome, modes, ratio, 0.1, checks, unseen, roots, ("a.1", "a.2")))


def test_a_good_fit_is_ok_and_names_its_worst_marginal():
    verdict = judged()
    assert verdict.name == "ok"
    assert "one basin" in verdict.reasons[0]
    assert "theta[2], about 0.04 sd (± 0.01)" in verdict.reasons[1]
    assert "k-hat 0.10" in verdict.reasons[2]
    assert not any(verdict.cures)


def test_a_good_fit_of_two_basins_is_ok():
    verdict = judged(modes((0.6, 0.61), (0.4, 0.39)), shifts=(Shift(0.61, 0.6, 0.01),) * 2)
    assert verdict.name == "ok"
    assert "2 basins" in verdict.reasons[0]


def test_one_wrong_marginal_of_a_thousand_is_enough():
    many = errors(*[(0.01, 0.01)] * 999, (0.2, 0.02))
    verdict = judged(errors=many)
    assert verdict.name == "suspect"
    assert "theta[1000] is about 0.20 sd (± 0.02)" in verdict.reasons[0]
    assert "more of" not in verdict.reasons[0]


def test_a_marginal_of_which_nothing_can_be_told_is_suspect():
    verdict = judged(errors=errors((0.02, 0.01), (0.03, 0.2), source="chains"))
    assert verdict.name == "suspect"
    assert "theta[2]" in verdict.reasons[0]
    assert "short chains" in verdict.reasons[0]


@pytest.mark.parametrize("unknown", [(np.nan, np.nan), (np.inf, np.inf)])
def test_an_error_that_is_no_number_is_never_ok(unknown):
    assert judged(errors=errors((0.01, 0.01), unknown)).name == "suspect"


@pytest.mark.parametrize("status", ["budget", "max_iterations"])
def test_an_unconverged_fit_is_never_ok(status):
    verdict = judged(status=status)
    assert verdict.name == "suspect"
    assert "how it ended" in verdict.reasons[0]
    assert all(verdict.cures)


def test_a_missing_mode_is_a_collapse_whatever_the_marginals_say():
    verdict = judged(modes((0.6, 1.0), (0.4, 0.0)), method="rovi")
    assert verdict.name == "collapsed"
    assert verdict.reasons == ("mode 2 has 40.0% of the local evidence and 0.0% of the draws",)
    assert "method auto" in verdict.cures[0]


def test_a_mode_too_light_to_be_sure_of_is_no_collapse():
    assert judged(modes((0.985, 1.0), (0.015, 0.0))).name == "ok"


def test_a_mode_found_only_now_is_told_with_its_place():
    (mode,) = modes((0.1, 0.0))
    verdict = judged(absent=((mode, 0.12),))
    assert verdict.name == "collapsed"
    assert "about 12% of the mass" in verdict.reasons[0]
    assert "a.1 = 0, a.2 = 0" in verdict.reasons[0]


def test_missing_members_of_an_orbit_are_named():
    swap = Symmetry.signed(np.array([1, 0]), np.ones(2))
    turn = Symmetry.signed(np.array([0, 1]), np.array([1.0, -1.0]))
    missing = tuple(Image(0, g, np.zeros(2)) for g in (swap, turn))
    verdict = judged(orbits=Orbits(missing, ()))
    assert verdict.name == "collapsed"
    assert "mode 1 with a.1 and a.2 exchanged" in verdict.reasons[0]
    assert "the sign of a.2 turned" in verdict.reasons[0]
    assert "ordered" in verdict.cures[0]


def test_equal_modes_with_unequal_weights_are_suspect():
    verdict = judged(modes((0.5, 0.56), (0.5, 0.44)), orbits=Orbits((), ((0, 1),)))
    assert verdict.name == "suspect"
    assert "modes 1 and 2 are images of each other" in verdict.reasons[0]


def test_a_weight_that_importance_weights_contradict_is_suspect():
    off = Shift(0.55, 0.5, 0.005), Shift(0.45, 0.5, 0.005)
    verdict = judged(modes((0.5, 0.55), (0.5, 0.45)), shifts=off)
    assert verdict.name == "suspect"
    assert "mode 1 has 55.0% of the draws, and 50.0%" in verdict.reasons[0]


def test_where_weights_are_too_noisy_the_local_evidence_decides():
    noisy = Shift(0.65, 0.5, 0.2), Shift(0.35, 0.5, 0.2)
    verdict = judged(modes((0.5, 0.65), (0.5, 0.35)), shifts=noisy)
    assert verdict.name == "suspect"
    assert "local evidence" in verdict.reasons[0]


def test_rejected_draws_are_suspect():
    verdict = judged(rejected=10)
    assert verdict.name == "suspect"
    assert "1.0%" in verdict.reasons[0]
    assert "bounds" in verdict.cures[0]


def test_a_misfit_outranks_everything_and_counts_ghosts():
    ratio = np.where(np.arange(1000) < 250, -60.0, 0.0)
    verdict = judged(modes((0.6, 1.0), (0.4, 0.0)), misfit="three in a triangle", ratio=ratio)
    assert verdict.name == "family cannot hold these modes"
    assert verdict.reasons[0] == "three in a triangle"
    assert "mode 2" in verdict.reasons[1]
    assert "25%" in verdict.reasons[2]


def test_the_cure_of_a_wrong_marginal_knows_the_method_and_the_roots():
    wrong = errors((0.3, 0.02))
    assert "method auto" in judged(errors=wrong, method="gaussian").cures[0]
    assert "stanrovi sample" in judged(errors=wrong).cures[0]
    root = Root("tau", {"theta[1]": 3.0, "theta[2]": 3.0})
    cure = judged(errors=wrong, roots=(root,)).cures[0]
    assert "theta[1] and 1 more, whose spread tau rules" in cure


def test_a_chance_of_unseen_basins_is_a_doubt_above_two_percent():
    assert judged(unseen=0.02).name == "ok"
    verdict = judged(unseen=0.08)
    assert verdict.name == "suspect"
    assert "about 8% chance that another climb finds a new basin" in verdict.reasons[0]
    assert "another seed" in verdict.cures[0]


def test_mass_that_nothing_explains_is_a_doubt_beyond_its_noise():
    assert judged(unexplained=(0.06, 0.02)).name == "ok"
    verdict = judged(unexplained=(0.4, 0.05))
    assert verdict.name == "suspect"
    assert "about 40% (± 5%) of the mass" in verdict.reasons[0]
