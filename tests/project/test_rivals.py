"""What comparison and ablations rest on: rivals' algorithms, adapters, parts that are put back."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
from places import ROOT
from scipy.linalg import sqrtm
from scipy.optimize import approx_fprime

import stanrovi as sr
from stanrovi.densities import normal_mixture
from stanrovi.errors import DensityError, SamplerError
from stanrovi.vi.methods import rovi

pytestmark = pytest.mark.interpreter


@pytest.fixture(scope="module")
def benchmarks() -> Iterator[SimpleNamespace]:
    """Load the programs of benchmarks/, whose modules have names that tests use, too."""
    before = dict(sys.modules)
    sys.modules.pop("targets", None)
    sys.path.insert(0, str(ROOT / "benchmarks"))
    import ablations
    import advi
    import batch_and_match
    import dadvi
    import multi_start
    import pathfinder
    import peers
    import references
    import rival_modes
    import rivals

    yield SimpleNamespace(
        ablations=ablations,
        advi=advi,
        batch_and_match=batch_and_match,
        dadvi=dadvi,
        multi_start=multi_start,
        pathfinder=pathfinder,
        peers=peers,
        references=references,
        rival_modes=rival_modes,
        rivals=rivals,
    )
    sys.path.remove(str(ROOT / "benchmarks"))
    for name in set(sys.modules) - set(before):
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(ROOT / "benchmarks")):
            del sys.modules[name]
    sys.modules.update({k: v for k, v in before.items() if k == "targets"})


PATHFINDER = "Pathfinder, one path"
COVARIANCE = np.array([[1.0, 0.8], [0.8, 1.0]])
DENSITY = normal_mixture([1.0], [[1.0, -2.0]], [COVARIANCE])


@pytest.mark.parametrize("name", ["MeanField", "FullRank"])
def test_slopes_are_those_of_the_elbo(benchmarks, name):
    family = getattr(benchmarks.advi, name)(2)
    rng = np.random.default_rng(1)
    eps = rng.standard_normal((500, 2))
    parameters = family.start(np.array([0.3, 0.1]))
    parameters += rng.normal(0, 0.1, parameters.shape)
    if name == "FullRank":
        parameters[3] = 0.0  # above the diagonal

    def elbo(at):
        value, _ = DENSITY.log_density_gradient(family.move(at, eps))
        return value.mean() + family.entropy(at)

    _, gradients = DENSITY.log_density_gradient(family.move(parameters, eps))
    slope = np.mean(
        [family.slope(parameters, e, g) for e, g in zip(eps, gradients, strict=True)], axis=0
    )
    free = np.arange(len(parameters)) != (3 if name == "FullRank" else -1)
    assert slope[free] == pytest.approx(approx_fprime(parameters, elbo, 1e-6)[free], abs=1e-4)


def test_advi_finds_a_normal(benchmarks):
    run = benchmarks.advi.advi(DENSITY, benchmarks.advi.FullRank(2), seed=1, n_draws=4000)
    assert run.x.mean(axis=0) == pytest.approx([1.0, -2.0], abs=0.3)
    assert np.cov(run.x.T) == pytest.approx(COVARIANCE, abs=0.3)
    assert run.n_gradients > 300


def test_mean_field_advi_is_too_narrow(benchmarks):
    run = benchmarks.advi.advi(DENSITY, benchmarks.advi.MeanField(2), seed=1, n_draws=4000)
    assert run.x.std(axis=0) == pytest.approx([0.6, 0.6], abs=0.15)


def test_advi_says_why_it_fails(benchmarks):
    nowhere = SimpleNamespace(
        dim=2, log_density_gradient=lambda x: (np.full(len(x), -np.inf), np.zeros_like(x))
    )
    with pytest.raises(DensityError, match="none of 100 starts"):
        benchmarks.advi.advi(nowhere, benchmarks.advi.MeanField(2), seed=1, n_draws=10)


def test_the_constant_that_stan_drops(benchmarks):
    model = benchmarks.references.load("kidscore_interaction").model
    n = len(model.data["kid_score"])
    cauchy = -np.log(np.pi) - np.log(2.5)
    normal = -0.5 * n * np.log(2 * np.pi)
    assert benchmarks.peers.dropped_constant(model) == pytest.approx(cauchy + normal)


def test_pathfinder_of_the_engine_draws(benchmarks):
    posterior = benchmarks.references.load("gp_regr")
    run = benchmarks.rivals.run_once(posterior, "", benchmarks.rivals.STAN[PATHFINDER], seed=1)
    assert run.w1 < 0.2
    assert run.verdict == "silent"


def test_the_match_is_the_closed_form_of_the_paper(benchmarks):
    rng = np.random.default_rng(0)
    mean, root = rng.normal(size=3), np.linalg.cholesky(np.cov(rng.normal(size=(3, 9))))
    x, score, rate = rng.normal(size=(5, 3)), rng.normal(size=(5, 3)), 4.0
    middle, pull, share = x.mean(axis=0), score.mean(axis=0), rate / (1 + rate)
    u = rate * np.cov(score.T, bias=True) + share * np.outer(pull, pull)
    v = (
        root @ root.T
        + rate * np.cov(x.T, bias=True)
        + share * np.outer(mean - middle, mean - middle)
    )
    covariance = 2 * v @ np.linalg.inv(np.eye(3) + sqrtm(np.eye(3) + 4 * u @ v))
    new = benchmarks.batch_and_match.matched(mean, root, x, score, rate)
    assert new[1] == pytest.approx(covariance)
    assert new[0] == pytest.approx((1 - share) * mean + share * (covariance @ pull + middle))


@pytest.mark.parametrize("at_mode", [False, True])
def test_batch_and_match_finds_a_normal(benchmarks, at_mode):
    x, n = benchmarks.batch_and_match.batch_and_match(
        DENSITY, seed=1, n_draws=4000, budget=3200, at_mode=at_mode
    )
    assert x.mean(axis=0) == pytest.approx([1.0, -2.0], abs=0.1)
    assert np.cov(x.T) == pytest.approx(COVARIANCE, abs=0.1)
    assert n == 3200 if not at_mode else n > 3200


def test_batch_and_match_says_why_it_fails(benchmarks):
    nowhere = SimpleNamespace(
        dim=2, log_density_gradient=lambda x: (np.full(len(x), -np.inf), np.zeros_like(x))
    )
    with pytest.raises(DensityError, match="rejects 10 batches"):
        benchmarks.batch_and_match.batch_and_match(nowhere, seed=1, n_draws=10)


def test_fixed_draws_are_too_narrow_and_linear_response_mends_that(benchmarks):
    narrow = benchmarks.dadvi.dadvi(DENSITY, seed=1, n_draws=4000)
    assert narrow.converged
    assert narrow.x.std(axis=0) == pytest.approx([0.6, 0.6], abs=0.25)
    mended = benchmarks.dadvi.dadvi(DENSITY, seed=1, n_draws=4000, response=True)
    assert np.cov(mended.x.T) == pytest.approx(COVARIANCE, abs=0.1)
    assert mended.n_gradients - narrow.n_gradients == 2 * 2 * 2 * 30


def test_several_paths_are_resampled_and_counted(benchmarks):
    model = benchmarks.references.load("gp_regr").model
    answer = benchmarks.pathfinder.multi_path(model, seed=1)
    assert answer.x.shape == (1, 4000, model.dim)
    assert len(np.unique(answer.x[0], axis=0)) < 4000
    assert 4000 < answer.n_gradients < 10_000
    assert answer.doubted is False


def test_the_last_sum_of_a_climb_tells_its_gradients(benchmarks):
    line = "Path [1] : Iter\t Notes \n  {} -2.9e+00 3.0e+00 8.9e-01 1.0e+00 1.0e-03 {} -inf 7.5e-02"
    lines = [line.format(1, 31), "a word", line.format(2, 67), line.format(3, 106)]
    # Sums 25 + 6, 25 + 11, 25 + 14: a climb of 14 gradients with three ELBOs of 25 draws.
    assert benchmarks.pathfinder._evaluations(lines, 25) == 14 + 3 * 25
    assert benchmarks.pathfinder._evaluations(lines[:1], 25) == 31


def test_another_interface_of_the_engine_is_refused(benchmarks, monkeypatch):
    monkeypatch.setattr(benchmarks.pathfinder, "_INTERFACE", -1)
    with pytest.raises(SamplerError, match="another interface"):
        benchmarks.pathfinder.pathfinder(sr.Model("eight_schools"), 1)


def test_starts_at_one_mode_count_once_where_they_are_merged(benchmarks):
    pair = normal_mixture([0.5, 0.5], [[-5.0, 0.0], [5.0, 0.0]], [np.eye(2)] * 2)
    found = benchmarks.multi_start.from_starts(pair, seed=1, starts=9)
    left = sum(family.center[0] < 0 for family in found.families)
    assert 0 < left < 9
    rng = np.random.default_rng(0)
    every = pair.masses(found.draws(4000, rng, merged=False))[0]
    assert every == pytest.approx(left / 9, abs=0.1)
    assert pair.masses(found.draws(4000, rng, merged=True))[0] == pytest.approx(0.5, abs=0.05)


def test_a_mixture_as_a_program_is_the_same_density(benchmarks):
    case = benchmarks.rival_modes.plain_mixtures()[0]
    model = benchmarks.rival_modes.program(case)
    x = np.random.default_rng(0).normal(size=(5, case.density.dim))
    apart = model.log_density_gradient(x)[0] - case.density.log_density_gradient(x)[0]
    assert apart == pytest.approx(np.full(5, apart[0]), abs=1e-8)


def test_a_part_is_taken_away_for_a_fit_and_put_back(benchmarks):
    ablations, scan = benchmarks.ablations, rovi.scan_axis
    pair = next(name for name, (family, _) in ablations._cases().items() if family == "modes")
    unscanned = next(a for a in ablations.ABLATIONS if a.name == "... or the scan")
    fit = ablations.row(pair, unscanned, 0)
    assert rovi.scan_axis is scan
    whole = ablations.row(pair, next(a for a in ablations.ABLATIONS if a.method == "rovi"), 0)
    assert fit.gradients != whole.gradients
    assert not whole.wrong


def test_a_table_of_ablations_sums_up(benchmarks):
    ablations = benchmarks.ablations
    name = ablations.ABLATIONS[0].name
    rows = [
        ablations.Row("one", "a", a.name, 0, w1, 0.0, 100, ok)
        for a in ablations.ABLATIONS
        for w1, ok in ((0.0, False), (0.02, True), (0.5, True))
    ]
    line = ablations.table(rows, masses=False).splitlines()[2]
    assert line == f"| {name} | 0.020 | 0.50 | 100 | 1 of 3 | 1 | 1 of 2 |"


def test_a_point_asked_for_twice_counts_once(benchmarks):
    density = benchmarks.peers.Counted(sr.Model("eight_schools"))
    x = np.zeros(10)
    value, gradient = density(x)
    assert density(x)[0] == value
    assert gradient.shape == (10,)
    density(x + 1)
    assert density.n == 2


def test_a_failed_run_has_said_so(benchmarks):
    def fails(model, seed):
        raise DensityError("no")

    posterior = benchmarks.references.load("gp_regr")
    run = benchmarks.rivals.run_once(posterior, "rival", fails, seed=1)
    assert np.isnan(run.w1)
    assert run.verdict == "doubted"


def test_sums_over_runs(benchmarks):
    rivals = benchmarks.rivals

    def run(posterior, seed, w1, word):
        return rivals.Run(posterior, "m", seed, w1, 100.0, 1.0, verdict=word)

    runs = rivals.Runs(
        [
            run("a", 0, 0.05, "sure"),
            run("a", 1, 0.06, "doubted"),
            run("a", 2, 0.35, "sure"),
            run("b", 0, 0.50, "doubted"),
            run("b", 1, 0.40, "doubted"),
            rivals.Run("b", "m", 2, verdict="doubted"),
        ]
    )
    row = rivals.summary_row(runs, ["a", "b"], "m")
    assert row == ("m", "0.280", "0.50", "1", "100", "1.00", "4 of 6", "3", "1 of 2")


def test_a_method_that_says_nothing_has_no_word(benchmarks):
    rivals = benchmarks.rivals
    runs = rivals.Runs([rivals.Run("a", "m", s, 0.5, 1.0, 1.0, verdict="silent") for s in range(3)])
    assert rivals.summary_row(runs, ["a"], "m")[-2:] == ("no word", "no word")


@pytest.mark.parametrize(
    ("page", "tables", "numbers"),
    [
        (
            "comparison",
            ("versions", "summary", "w1", "gradients", "prophet", "modes", "kinds_of_modes",
             "lost_modes"),
            ("good", "far", "last", "n_draws", "n_targets", "good_mass"),
        ),
        (
            "ablations",
            ("version", "one", "modes", "ruled", "posteriors"),
            ("last", "n_draws", "most_dim", "w1", "posterior_w1", "mass", "n_one", "n_modes",
             "n_ruled", "n_posteriors"),
        ),
    ],
)  # fmt: skip
def test_the_words_have_a_place_for_every_table(page, tables, numbers):
    text = (ROOT / "benchmarks" / f"{page}.template.md").read_text(encoding="utf-8")
    filled = text.format(**{name: f"<{name}>" for name in tables}, **dict.fromkeys(numbers, 0))
    assert all(f"<{name}>" in filled for name in tables)


def rows(text: str) -> dict[str, dict[str, str]]:
    """Read the first table that has a column "wrong runs": cells by column, by method."""
    lines = [line.strip("| \n").split(" | ") for line in text.splitlines() if line.startswith("|")]
    start = next(i for i, cells in enumerate(lines) if "wrong runs" in cells)
    head, found = lines[start], {}
    for cells in lines[start + 2 :]:
        if len(cells) != len(head):
            break
        found[cells[0]] = dict(zip(head, cells, strict=True))
    return found


def test_the_readme_tells_what_was_measured():
    page = rows((ROOT / "docs" / "results" / "comparison.md").read_text(encoding="utf-8"))
    readme = rows((ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(readme) > 5
    for method, cells in readme.items():
        assert cells == {head: page[method][head] for head in cells}
