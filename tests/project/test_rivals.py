"""What the comparison with rivals rests on: ADVI as CmdStan has it, adapters, sums over runs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
from places import ROOT
from scipy.optimize import approx_fprime

import stanrovi as sr
from stanrovi.densities import normal_mixture
from stanrovi.errors import DensityError


@pytest.fixture(scope="module")
def benchmarks() -> Iterator[SimpleNamespace]:
    """Load the programs of benchmarks/, whose modules have names that tests use, too."""
    before = dict(sys.modules)
    sys.modules.pop("targets", None)
    sys.path.insert(0, str(ROOT / "benchmarks"))
    import advi
    import peers
    import references
    import rivals

    yield SimpleNamespace(advi=advi, peers=peers, references=references, rivals=rivals)
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


def test_the_words_have_a_place_for_every_table(benchmarks):
    text = (ROOT / "benchmarks" / "comparison.template.md").read_text(encoding="utf-8")
    tables = ("versions", "summary", "w1", "gradients", "prophet")
    filled = text.format(
        **{name: name.upper() for name in tables}, good=0, far=0, last=0, n_draws=0
    )
    assert all(name.upper() in filled for name in tables)


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
