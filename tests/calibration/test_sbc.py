"""Simulation-based calibration: exact tests of uniformity, conventions, known miscalibration."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner
from places import SCHEMAS
from scipy import stats

from stanrovi.calibration.plots import calibration_plots
from stanrovi.calibration.ranks import rank_table
from stanrovi.calibration.result import CalibrationResult
from stanrovi.calibration.sbc import sbc
from stanrovi.calibration.uniformity import EcdfTest, chi_square, count_at_most, rank_edges
from stanrovi.errors import DensityError, ModelError, UsageError
from stanrovi.runs.nuts import nuts
from stanrovi.runs.nuts_run import NutsRun
from stanrovi.stan.model import Model
from stanrovi_cli.app import cli

Write = Callable[[str, str], Path]

SCHEMA = json.loads((SCHEMAS / "sbc.schema.json").read_text("utf-8"))

# Normal mean, its data from outside.
MEAN = """
data { int n; vector[n] y; }
parameters { real mu; }
model { mu ~ std_normal(); y ~ normal(mu, 1); }
generated quantities { array[2] real far = {mu + 1, -mu}; }
"""
# Normal mean and scale, drawn inside; what generated quantities tell is to be filled in.
OWN = """
transformed data {{
  real mu_ = std_normal_rng();
  real tau_ = lognormal_rng(0, 0.3);
  vector[8] y = to_vector(normal_rng(rep_vector(mu_, 8), tau_));
}}
parameters {{ real mu; real<lower=0> tau; }}
model {{ mu ~ std_normal(); tau ~ lognormal(0, 0.3); y ~ normal(mu, tau); }}
generated quantities {{ {told} }}
"""


def mean_model(write: Write) -> Model:
    return Model(write("mean.stan", MEAN), {"n": 1, "y": [0.0]})


def simulate_mean(
    rng: np.random.Generator, prior_mean: float = 0, prior_sd: float = 1
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    mu = rng.normal(prior_mean, prior_sd)
    true_values = {"mu": mu, "far": [mu + 1, -mu]}
    return true_values, {"n": 3, "y": rng.normal(mu, 1, 3)}


# Uniformity


@pytest.mark.parametrize(("n", "draws"), [(1, 3), (3, 3), (4, 2), (2, 9)])
def test_p_values_and_bands_are_exact(n: int, draws: int) -> None:
    """Against all rank vectors there are, which are equally likely."""
    test = EcdfTest(n, draws)
    every = [np.array(ranks) for ranks in itertools.product(range(draws + 1), repeat=n)]
    points = np.arange(1, draws + 1) / (draws + 1)
    tails = []
    for ranks in every:
        counts = (ranks[:, np.newaxis] < points * (draws + 1) - 1e-6).sum(axis=0)
        at_most, at_least = (
            stats.binom.cdf(counts, n, points),
            stats.binom.sf(counts - 1, n, points),
        )
        tails.append(np.minimum(at_most, at_least).min())
    for ranks, tail in zip(every, tails, strict=True):
        exact = np.mean(np.array(tails) <= tail * (1 + 1e-9))
        assert test.p_value(ranks) == pytest.approx(exact, abs=1e-12)
    for level in (0.05, 0.3):
        band = test.band(level)
        np.testing.assert_allclose(band.points, points)
        counts = np.array([count_at_most(ranks, band.ranks) for ranks in every])
        outside = ((counts < band.lower) | (counts > band.upper)).any(axis=1)
        assert outside.mean() <= level
        p_values = np.array([test.p_value(ranks) for ranks in every])
        np.testing.assert_array_equal(outside, p_values <= level)


def test_band_of_many_ranks_is_left_as_often_as_it_says() -> None:
    n, draws, level, repeats = 80, 199, 0.1, 4000
    band = EcdfTest(n, draws).band(level)
    assert band.points.size == 100
    rng = np.random.default_rng(1)
    counts = np.array(
        [count_at_most(rng.integers(0, draws + 1, n), band.ranks) for _ in range(repeats)]
    )
    left = ((counts < band.lower) | (counts > band.upper)).any(axis=1).mean()
    assert abs(left - level) < 4 * np.sqrt(level * (1 - level) / repeats)


def test_chi_square_is_pearsons() -> None:
    ranks = np.random.default_rng(2).integers(0, 100, 100)
    statistic, degrees, p_value = chi_square(ranks, 99)
    observed = np.bincount(ranks // 5, minlength=20)
    expected = stats.chisquare(observed)
    assert degrees == 19
    assert statistic == pytest.approx(expected.statistic)
    assert p_value == pytest.approx(expected.pvalue)


def test_bins_hold_whole_ranks_and_all_of_them() -> None:
    for n, draws in ((10, 2), (37, 13), (1000, 7)):
        edges = rank_edges(n, draws)
        assert (edges[0], edges[-1]) == (-0.5, draws + 0.5)
        assert (np.diff(edges) >= 1).all()
        np.testing.assert_array_equal(edges % 1, 0.5)


@pytest.mark.parametrize(
    ("a", "b", "verdict"),
    [
        (1, 1, "calibrated"),
        (0.4, 0.4, "too narrow"),
        (4, 4, "too wide"),
        (3, 1, "too low"),
        (1, 3, "too high"),
    ],
)
def test_verdict_names_what_ranks_show(a: float, b: float, verdict: str) -> None:
    """Ranks of beta-binomial distribution, whose shape is known."""
    ranks = stats.betabinom.rvs(99, a, b, size=200, random_state=3)
    found = rank_table({"x": ranks}, 99, 0.01).parameters["x"]
    assert found.verdict == verdict
    assert found.mean == pytest.approx(ranks.mean() / 99)
    uniform = stats.randint(0, 100)
    assert found.spread == pytest.approx(
        np.sqrt(np.mean((ranks - uniform.mean()) ** 2) / uniform.var())
    )


def test_verdict_on_what_is_neither_bias_nor_spread() -> None:
    ranks = np.tile([7, 43, 57, 92], 50)
    assert rank_table({"x": ranks}, 99, 0.01).parameters["x"].verdict == "not uniform"


def test_level_is_shared_among_parameters() -> None:
    rng = np.random.default_rng(4)
    ranks = rng.integers(0, 100, 50)
    alone = rank_table({"x": ranks}, 99, 0.02).band
    shared = rank_table({"x": ranks, "y": ranks}, 99, 0.02).band
    assert (shared.lower <= alone.lower).all()
    assert (shared.upper >= alone.upper).all()
    assert (shared.upper > alone.upper).any()


# The pipeline


@pytest.fixture(scope="module")
def mean_field() -> CalibrationResult:
    return sbc("sbc_regression", method="mfvi", simulations=25, seed=5)


def test_mean_field_is_found_too_narrow(mean_field: CalibrationResult) -> None:
    verdicts = {name: found.verdict for name, found in mean_field.parameters.items()}
    assert verdicts == {"alpha": "too narrow", "beta": "too narrow", "sigma": "calibrated"}
    assert not mean_field.calibrated
    assert mean_field.n_doubted == 25
    assert mean_field.n_simulations == 25


@pytest.mark.slow
def test_rovi_is_calibrated_where_mean_field_is_not() -> None:
    result = sbc("sbc_regression", method="rovi", simulations=25, seed=5)
    assert result.calibrated
    assert list(result.parameters) == ["alpha", "beta", "sigma"]
    assert all(0.7 < found.spread < 1.3 for found in result.parameters.values())


@pytest.mark.slow
def test_nuts_is_calibrated() -> None:
    result = sbc("sbc_regression", method="nuts", simulations=40, seed=5)
    assert result.calibrated
    assert result.engine == "stanli"
    assert result.n_gradients > 40 * 1000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "simulations", "narrow"),
    [("nuts", 200, ()), ("rovi", 200, ()), ("mfvi", 100, ("alpha", "beta"))],
)
def test_calibration_in_full(method: Any, simulations: int, narrow: tuple[str, ...]) -> None:
    result = sbc("sbc_regression", method=method, simulations=simulations, seed=2026)
    for name, found in result.parameters.items():
        assert found.verdict == ("too narrow" if name in narrow else "calibrated"), name


def test_simulations_are_draws_from_the_prior() -> None:
    """Means of the true values, and independence of their data from their order."""
    base = Model("sbc_regression")
    seeds = np.random.SeedSequence(0).generate_state(200) >> 1
    pars = np.array(
        [base.rebuild(seed=int(s)).constrain(np.zeros((1, 3)), seed=1)["pars_"][0] for s in seeds]
    )
    z = np.column_stack([pars[:, :2], np.log(pars[:, 2]) / 0.5])
    assert (abs(z.mean(axis=0)) < 4 / np.sqrt(200)).all()
    assert (abs(z.var(axis=0) - 1) < 4 * np.sqrt(2 / 200)).all()
    assert (abs(np.corrcoef(z.T) - np.eye(3)) < 4 / np.sqrt(200)).all()


def test_a_simulator_in_python(write: Write) -> None:
    seen: list[tuple[int, int]] = []
    result = sbc(
        mean_model(write), method="gaussian", simulations=40, seed=16, simulate=simulate_mean,
        progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert result.calibrated
    assert seen == [(i, 40) for i in range(1, 41)]
    ranks = {name: found.ranks for name, found in result.parameters.items()}
    assert list(ranks) == ["mu", "far[1]", "far[2]"]
    np.testing.assert_array_equal(ranks["far[1]"], ranks["mu"])
    np.testing.assert_array_equal(ranks["far[2]"], 99 - ranks["mu"])


@pytest.mark.parametrize(
    ("settings", "verdict"),
    [({"prior_mean": 2.0}, "too low"), ({"prior_sd": 5.0}, "too narrow")],
)
def test_a_simulator_that_disagrees_with_the_program_is_found(
    write: Write, settings: dict[str, float], verdict: str
) -> None:
    result = sbc(
        mean_model(write), method="nuts", simulations=40, draws=19, seed=7,
        simulate=lambda rng: simulate_mean(rng, **settings),
    )  # fmt: skip
    assert result.parameters["mu"].verdict == verdict


def test_same_seed_same_ranks(write: Write) -> None:
    first, again, other = (
        sbc(
            mean_model(write), method="gaussian", simulations=10, seed=seed, simulate=simulate_mean
        ).parameters["mu"].ranks.tolist()
        for seed in (8, 8, 9)
    )  # fmt: skip
    assert first == again != other


def test_chains_are_prolonged_until_they_can_be_thinned(monkeypatch: pytest.MonkeyPatch) -> None:
    """The funnel mixes slowly: runs grow up to the limit, and what is short there is doubted."""
    lengths: list[int] = []

    def spy(*args: Any, iter_sampling: int, **settings: Any) -> NutsRun:
        lengths.append(iter_sampling)
        return nuts(*args, iter_sampling=iter_sampling, **settings)

    def simulate(rng: np.random.Generator) -> tuple[dict[str, Any], dict[str, Any]]:
        y = rng.normal(0, 3)
        return {"y": y, "x": rng.normal(0, np.exp(y / 2), 9)}, {}

    monkeypatch.setattr("stanrovi.calibration.sbc.nuts", spy)
    result = sbc(
        "neals_funnel", method="nuts", simulations=10, draws=5, seed=1, simulate=simulate
    )  # fmt: skip
    assert lengths.count(40) == 10
    assert len(lengths) > 10
    assert max(lengths) <= 1000
    assert 0 < result.n_doubted <= 10
    assert all(found.ranks.max() <= 5 for found in result.parameters.values())


# Conventions of programs that simulate themselves

PARS = "vector[2] pars_ = [mu_, tau_]';"
RANKS = "array[2] int ranks_ = {mu > mu_, tau > tau_};"


def own(write: Write, told: str) -> CalibrationResult:
    model = Model(write("own.stan", OWN.format(told=told)))
    return sbc(model, method="gaussian", simulations=10, draws=49, seed=10)


def test_pars_and_ranks_tell_the_same(write: Write) -> None:
    both, pars, ranks = (own(write, told) for told in (PARS + RANKS, PARS, RANKS))
    assert list(both.parameters) == list(pars.parameters) == ["mu", "tau"]
    assert list(ranks.parameters) == ["ranks_[1]", "ranks_[2]"]
    for result in (pars, ranks):
        for found, expected in zip(
            result.parameters.values(), both.parameters.values(), strict=True
        ):
            np.testing.assert_array_equal(found.ranks, expected.ranks)
    assert {int(rank) for rank in both.parameters["mu"].ranks} - {0, 49}


def test_ranks_in_another_order_do_not_borrow_names(write: Write) -> None:
    swapped = "array[2] int ranks_ = {tau > tau_, mu > mu_};"
    assert list(own(write, PARS + swapped).parameters) == ["ranks_[1]", "ranks_[2]"]


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ("real pars_ = mu_;", "pars_ must hold one true value for each of mu, tau"),
        ("array[1] int ranks_ = {2};", "ranks_ must be 1 where"),
        ("real y_ = y[1];", "neither pars_ nor ranks_"),
    ],
)
def test_programs_that_tell_no_ranks(write: Write, told: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        own(write, told)


def test_programs_that_do_not_simulate() -> None:
    with pytest.raises(ModelError, match="eight_schools does not simulate"):
        sbc("eight_schools")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"method": "nut"},
            "Unknown method 'nut'. Did you mean 'nuts'.* Choose from gaussian, .*nuts",
        ),
        ({"simulations": 9}, "simulations must be a whole number from 10 to 1000000, not 9"),
        ({"draws": 1}, "draws must be a whole number of at least 2, not 1"),
        ({"level": 1.0}, r"level must lie between 0 and 1, not 1\.0"),
    ],
)
def test_impossible_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        sbc("sbc_regression", **options)


@pytest.mark.parametrize(
    ("true_values", "message"),
    [
        ({}, "true values of some of mu, far; it gave none"),
        ({"nu": 1.0}, "it gave nu"),
        ({"far": 1.0}, r"gave far the shape \(\), but it has \(2,\)"),
    ],
)
def test_simulators_that_miss_the_model(
    write: Write, true_values: dict[str, float], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        sbc(mean_model(write), simulate=lambda rng: (true_values, {}), method="gaussian")


def test_failures_are_told_and_spoil_the_verdict(write: Write) -> None:
    """Some simulations give a density that is finite nowhere, others NaN quantities."""
    program = OWN.format(told="vector[2] pars_ = [mu_ > 1 ? not_a_number() : mu_, tau_]';")
    program = program.replace("model {", 'model { if (mu_ < -1) reject("mu_ is too low"); ')
    result = sbc(Model(write("own.stan", program)), method="gaussian", simulations=30, seed=11)
    assert any("mu_ is too low" in failure for failure in result.failures)
    assert any("pars_ are NaN" in failure for failure in result.failures)
    assert result.n_simulations == 30 - len(result.failures)
    assert not result.calibrated
    jsonschema.validate(result.to_dict() | {"output": None}, SCHEMA)


def test_when_every_fit_fails(write: Write) -> None:
    program = OWN.format(told=PARS).replace("model {", 'model { reject("nowhere"); ')
    with pytest.raises(
        DensityError, match=r"All 10 fits failed; the first, simulation 1: .*nowhere"
    ):
        sbc(Model(write("own.stan", program)), method="gaussian", simulations=10)


# Output


def test_plots_show_what_the_result_holds(mean_field: CalibrationResult) -> None:
    plots = {plot.name: plot for plot in calibration_plots(mean_field)}
    assert "Not calibrated: alpha, beta." in plots["ranks"].alt
    worst = min(mean_field.parameters, key=lambda name: mean_field.parameters[name].ecdf_p)
    for plot in plots.values():
        titles = [axis.get_title() for axis in plot.figure.axes]
        assert titles[0] == f"{worst}: too narrow"
        assert sorted(title.split(":")[0] for title in titles) == ["alpha", "beta", "sigma"]
    line = plots["ecdf"].figure.axes[0].lines[-1]
    ranks = mean_field.parameters[worst].ranks
    expected = [(ranks <= r).mean() - (r + 1) / 100 for r in range(99)]
    np.testing.assert_allclose(line.get_ydata(), expected, atol=1e-12)


def test_methods_draw_the_plots(mean_field: CalibrationResult) -> None:
    assert len(mean_field.plot_ranks().axes) == 3
    assert len(mean_field.plot_ecdf().axes) == 3


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(cli, ["sbc", "sbc_regression", "--simulations", "10", *arguments])
    assert result.exit_code == code, result.output
    return result.stdout


def test_command_prints_a_table_and_fills_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "with space"
    text = run("--method", "mfvi", "--seed", "2", "--output", str(folder), "--strict", code=3)
    assert max(len(line) for line in text.replace(str(folder), "DIR").splitlines()) <= 80
    assert "calibrated  NO" in text
    assert "too narrow" in text
    found = json.loads((folder / "sbc.json").read_text("utf-8"))
    jsonschema.validate(found, SCHEMA)
    names = {path.name for path in folder.glob("[!.]*")}
    assert names == {"sbc.json", "runs.jsonl", "ranks.png", "ranks.svg", "ecdf.png", "ecdf.svg"}


def test_command_prints_json_only() -> None:
    found = json.loads(run("--method", "nuts", "--seed", "2", "--draws", "9", "--json", "--strict"))
    jsonschema.validate(found, SCHEMA)
    assert found["calibrated"] is True
    assert found["draws"] == 9
    again = sbc("sbc_regression", method="nuts", simulations=10, draws=9, seed=2)
    assert found["parameters"]["beta"]["ranks"] == again.parameters["beta"].ranks.tolist()


def test_a_program_that_does_not_simulate_is_told_so_in_words_for_both_interfaces() -> None:
    result = CliRunner().invoke(cli, ["sbc", "kidscore"])
    assert result.exit_code == 1
    assert "Let them draw parameters and data" in result.stderr
    assert "in Python, give stanrovi.sbc a function" in result.stderr
