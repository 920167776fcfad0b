"""The Python API on the bundled programs, in the embedded engine."""

import json
import re
from contextlib import suppress
from functools import partial

import numpy as np
import pytest

import stanrovi as sr
from stanrovi.calibration.sbc import sbc
from stanrovi.errors import DensityError, UsageError
from stanrovi.runs.cmdstan_vi import cmdstan_vi
from stanrovi.runs.laplace import laplace_draws
from stanrovi.stan.check import check_model
from stanrovi.stan.model import Model
from stanrovi.vi.methods.driver import METHODS
from stanrovi.vi.settings import FamilySettings


@pytest.fixture(scope="module")
def bimodal():
    return Model("bimodal_gaussian", engine="stanli")


@pytest.mark.parametrize("method", METHODS)
def test_every_method_returns_constrained_draws(eight_schools, method):
    fit = sr.fit(eight_schools, method=method, seed=1, draws=1000)
    assert fit.result.method == method
    assert fit.result.draws.shape == (1000, eight_schools.dim)
    tau = fit.draws.posterior["tau"]
    assert tau.shape == (1, 1000)
    assert (tau > 0).all()
    assert set(fit.draws.parameters) <= set(fit.draws.posterior)
    np.testing.assert_array_equal(fit.draws.unconstrained[0], fit.result.draws)
    np.testing.assert_array_equal(fit.draws.sample_stats["lp"][0], fit.result.log_p)
    assert repr(fit).startswith(f"<Fit: eight_schools by {method}, {fit.result.verdict.name}")


def test_constrained_draws_are_the_images_of_the_unconstrained_ones(eight_schools):
    fit = sr.fit(eight_schools, seed=2, draws=50)
    again = eight_schools.constrain(fit.result.draws, seed=2)
    for name, values in again.items():
        np.testing.assert_array_equal(fit.draws.posterior[name][0], values)


def test_the_same_seed_gives_the_same_draws(eight_schools):
    first, second = (sr.fit(eight_schools, seed=3, draws=200) for _ in range(2))
    for name in first.draws.posterior:
        np.testing.assert_array_equal(first.draws.posterior[name], second.draws.posterior[name])


def test_a_seed_that_is_not_given_is_drawn_and_recorded(bimodal):
    first, second = (sr.fit(bimodal, draws=50) for _ in range(2))
    assert first.result.seed != second.result.seed
    again = sr.fit(bimodal, draws=50, seed=first.result.seed)
    np.testing.assert_array_equal(again.result.draws, first.result.draws)


def test_seed_zero_is_a_seed(bimodal):
    assert sr.fit(bimodal, draws=50, seed=0).result.seed == 0


def test_rovi_holds_the_two_modes_of_the_paper(bimodal):
    fit = sr.fit(bimodal, seed=0, draws=8000)
    assert fit.result.verdict.name == "ok"
    assert [m.mass for m in fit.result.modes] == pytest.approx([0.5, 0.5], abs=0.02)
    assert abs(fit.result.elbo) < 0.02
    assert np.corrcoef(fit.draws.posterior["x"][0].T)[0, 1] == pytest.approx(0.9, abs=0.02)


def test_mean_field_loses_one_of_them_and_the_verdict_says_so(bimodal):
    fit = sr.fit(bimodal, method="mfvi", seed=0)
    assert fit.result.verdict.name == "collapsed"
    assert fit.result.elbo == pytest.approx(-np.log(2), abs=1e-2)


@pytest.mark.parametrize("seed", range(2))
def test_labels_that_can_be_exchanged_share_the_mass(seed):
    fit = sr.fit("label_switching", method="auto", seed=seed, draws=8000)
    first, second = np.moveaxis(fit.draws.posterior["mu"][0], -1, 0)
    assert (first > second).mean() == pytest.approx(0.5, abs=0.02)
    assert fit.result.verdict.name == "ok"


def test_three_modes_need_a_mixture():
    auto = sr.fit("three_modes", method="auto", seed=0, draws=8000)
    assert auto.result.message.startswith("mixture")
    assert [m.mass for m in auto.result.modes] == pytest.approx([0.5, 0.3, 0.2], abs=0.02)
    forced = sr.fit("three_modes", method="rovi", seed=0)
    assert forced.result.verdict.name == "family cannot hold these modes"


def test_two_modes_in_more_dimensions():
    fit = sr.fit("gaussian_mixture_nd", seed=0, draws=8000)
    assert fit.result.verdict.name == "ok"
    assert [m.mass for m in fit.result.modes] == pytest.approx([0.7, 0.3], abs=0.02)


@pytest.mark.parametrize("name", ["ar", "challenger", "eight_schools", "garch", "kidscore"])
def test_well_behaved_posteriors_are_fitted_and_rotation_does_no_harm(name):
    gaussian, rovi = (sr.fit(name, method=m, seed=0).result for m in ("gaussian", "rovi"))
    for result in (gaussian, rovi):
        assert len(result.modes) == 1
        assert result.verdict.name in ("ok", "suspect")
        assert result.n_rejections < 0.05 * result.n_gradients
        assert result.n_fit_gradients < 6000
    assert rovi.elbo > gaussian.elbo - 2 * np.hypot(rovi.elbo_se, gaussian.elbo_se)


@pytest.mark.parametrize("name", ["eight_schools_centered", "neals_funnel"])
def test_funnels_are_suspect_by_a_product(name):
    assert sr.fit(name, method="rovi", seed=0).result.verdict.name == "suspect"


def test_data_change_the_posterior():
    far = sr.fit("bimodal_gaussian", {"m": 6, "w": 0.3}, seed=0, draws=8000)
    assert (far.draws.posterior["x"][0, :, 0] < 0).mean() == pytest.approx(0.3, abs=0.02)


def test_settings_reach_the_family(bimodal):
    fit = sr.fit(bimodal, method="mfvi", marginals="affine", seed=0, draws=50)
    assert fit.result.family.marginals.is_affine


def test_a_budget_reaches_the_fit(eight_schools):
    full = sr.fit(eight_schools, seed=0, draws=50).result
    budget = full.gradients_by_stage["modes"] + 300
    limited = sr.fit(eight_schools, seed=0, draws=50, max_gradients=budget).result
    assert limited.status == "budget"
    assert limited.n_fit_gradients <= budget
    assert sr.fit(eight_schools, seed=0, draws=50, max_seconds=60).result.status == full.status


def test_progress_is_reported(bimodal):
    heard = []
    fit = sr.fit(bimodal, seed=0, draws=50, progress=heard.append)
    assert tuple(heard) == fit.result.trace


def test_attributes_carry_the_run(bimodal):
    fit = sr.fit(bimodal, seed=4, draws=50)
    attrs = fit.draws.attrs
    assert attrs["method"] == "auto"
    assert attrs["seed"] == 4
    assert attrs["elbo"] == fit.result.elbo
    facts = fit.draws.facts
    assert facts.verdict == fit.result.verdict
    assert facts.modes == fit.result.modes
    assert facts.trace == fit.result.trace
    assert facts.settings == FamilySettings()


def test_files_carry_the_run_as_text_and_arrays(bimodal):
    fit = sr.fit(bimodal, seed=4, draws=50)
    data = fit.to_arviz()
    assert data.attrs["verdict"] == "ok"
    rows = json.loads(data.attrs["modes"])
    assert [row["mass"] for row in rows] == [m.mass for m in fit.result.modes]
    assert len(json.loads(data.attrs["trace"])) == len(fit.result.trace)
    axes = np.asarray(data["fit"]["axes"])
    np.testing.assert_allclose(axes @ axes.T, fit.result.family.covariance(), rtol=1e-6)
    widths = np.asarray(data["fit"]["mode_axes"])
    for mode, width in zip(fit.result.modes, widths, strict=True):
        np.testing.assert_allclose(width @ width.T, mode.covariance, rtol=1e-6)


def test_a_fit_becomes_arviz_data(bimodal):
    data = sr.fit(bimodal, seed=0, draws=50).to_arviz()
    assert data["posterior"]["x"].shape == (1, 50, 2)


def test_modes_are_reported_in_both_coordinates(bimodal):
    report = sr.find_modes(bimodal, seed=0)
    assert report.names == tuple(bimodal.unconstrained_names)
    assert [m.weight for m in report.modes] == pytest.approx([0.5, 0.5], abs=1e-3)
    assert report.original is not None
    assert report.rotated is not None
    assert report.original.bound < 0.25
    assert report.rotated.bound == 0.5
    assert report.n_gradients < 1000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "rov"}, "Did you mean 'rovi'"),
        ({"method": "x"}, "Choose from gaussian"),
        ({"draws": 1}, "draws must be a whole number from 2 to .*, not 1"),
        ({"draws": 99.5}, r"draws must be .*, not 99\.5"),
        ({"draws": 2**31}, "draws must be .*, not 2147483648"),
        ({"max_gradients": 0}, "max_gradients must be a whole number of at least 1, not 0"),
        ({"max_gradients": 1e4}, r"max_gradients must be .*, not 10000\.0"),
        ({"max_seconds": -1.0}, "max_seconds must be positive and finite, not -1"),
        ({"max_seconds": np.nan}, "max_seconds must be positive and finite, not nan"),
        ({"max_seconds": np.inf}, "not inf; leave it out for no limit"),
        ({"preconditioner": "diag"}, "Unknown preconditioner 'diag'"),
        ({"marginals": "afine"}, "Unknown marginals 'afine'"),
        ({"updates": None}, "Unknown updates None"),
    ],
)
def test_impossible_options_are_refused_before_the_model_is_loaded(options, message):
    with pytest.raises(UsageError, match=message):
        sr.fit("no such model", **options)


@pytest.mark.parametrize("entry", [sr.fit, sr.find_modes, sr.nuts, sbc])
def test_a_model_has_its_data_already(bimodal, entry):
    with pytest.raises(UsageError, match="has its data already"):
        entry(bimodal, {"m": 1, "w": 0.5})


@pytest.mark.parametrize("seed", [-1, 1.5, 2**32, "1", np.float64(1)])
@pytest.mark.parametrize("entry", [sr.fit, sr.find_modes, sr.nuts, sbc])
def test_what_is_no_seed_is_refused_before_the_model_is_loaded(entry, seed):
    with pytest.raises(UsageError, match="seed must be a whole number from 0 to 4294967295, not"):
        entry("no such model", seed=seed)


@pytest.mark.parametrize(
    "entry", [laplace_draws, check_model, partial(cmdstan_vi, algorithm="pathfinder")]
)
def test_what_is_no_seed_is_refused_with_a_model(bimodal, entry):
    with pytest.raises(UsageError, match="seed must be a whole number"):
        entry(bimodal, seed=-1)


def test_what_is_no_seed_of_a_model_is_refused(eight_schools):
    for build in (lambda: Model("eight_schools", seed=-1), lambda: eight_schools.rebuild(seed=0.5)):
        with pytest.raises(UsageError, match=r"seed must be .*, not (-1|0\.5)"):
            build()


def test_the_largest_seed_and_numpys_integers_are_seeds(tmp_path):
    seed = np.uint32(2**32 - 1)
    fit = sr.fit(Model("bimodal_gaussian", seed=seed), seed=seed, draws=np.int64(50))
    assert sr.find_modes("bimodal_gaussian", seed=seed).names == ("x.1", "x.2")
    stored = sr.read_draws(sr.write_netcdf(fit.draws, tmp_path / "fit.nc"))
    assert stored.attrs["seed"] == fit.result.seed == 2**32 - 1


@pytest.mark.parametrize("entry", [sr.fit, sr.find_modes])
def test_densities_without_bound_warn_of_nothing(write, entry):
    """Climbs run out of numbers, and NumPy would say so (warnings fail tests)."""
    program = "parameters { real x; real y; } model { target += x + exp(y); }"
    with suppress(DensityError):
        entry(write("unbounded.stan", program), seed=0)


def test_a_program_that_rejects_everything_is_quoted(write):
    program = write(
        "hopeless.stan",
        'parameters { real x; } model { if (x < 1e9) reject("x is too small"); x ~ normal(0, 1); }',
    )
    model = Model(program, engine="stanli")
    with pytest.raises(DensityError, match="x is too small"):
        sr.fit(model, seed=0)
    with pytest.raises(DensityError, match="x is too small"):
        sr.find_modes(model, seed=0)


@pytest.mark.slow
def test_every_collapse_of_mean_field_is_flagged(bimodal):
    verdicts = {sr.fit(bimodal, method="mfvi", seed=s).result.verdict.name for s in range(50)}
    assert verdicts == {"collapsed"}


VOLATILITY = """
data { int T; vector[T] y; }
parameters { real mu; real<lower=-1, upper=1> phi; real<lower=0> s; vector[T] z; }
transformed parameters {
  vector[T] h = z * s;
  h[1] /= sqrt(1 - phi^2);
  h += mu;
  for (t in 2:T) h[t] += phi * (h[t - 1] - mu);
}
model { s ~ cauchy(0, 5); mu ~ cauchy(0, 10); z ~ std_normal(); y ~ normal(0, exp(h / 2)); }
"""


def volatility(folder, seed):
    """Stochastic volatility, with data from the model itself."""
    program = folder / "volatility.stan"
    program.write_text(VOLATILITY)
    rng = np.random.default_rng(seed)
    h = np.zeros(60)
    for t in range(1, 60):
        h[t] = 0.9 * h[t - 1] + 0.3 * rng.normal()
    return sr.Model(program, {"T": 60, "y": np.exp((h - 1) / 2) * rng.normal(size=60)})


@pytest.mark.slow
def test_a_start_with_draws_a_googol_of_nats_off_is_survived(tmp_path):
    """Doubly exponential tails: a Laplace approximation at a poor mode is far too wide."""
    model = volatility(tmp_path, seed=1)
    elbos = [sr.fit(model, method="gaussian", seed=seed).result.elbo for seed in range(6)]
    assert max(elbos) - min(elbos) < 1.0


@pytest.mark.slow
def test_steps_cut_short_again_and_again_get_more_draws(tmp_path):
    model = volatility(tmp_path, seed=3)
    assert sr.fit(model, method="gaussian", seed=8).result.elbo > 42.2


def test_reprs_are_one_line_with_the_first_reason(bimodal):
    fit = sr.fit(bimodal, method="mfvi", seed=1, draws=100)
    reason = fit.result.verdict.reasons[0]
    assert f"<Fit: bimodal_gaussian by mfvi, collapsed ({reason}), ELBO -" in repr(fit)
    found = repr(sr.find_modes(bimodal, seed=1))
    assert re.fullmatch(
        r"<ModeReport: bimodal_gaussian, modes 50.0%, 50.0%, original axes: epsilon \S+, smaller "
        r"mode at most \S+, rotated axes: epsilon \S+, smaller mode at most 0.5>",
        found,
    ), found


def test_seconds_that_are_not_spent_do_not_show(eight_schools):
    one, other = (sr.fit(eight_schools, seed=2, max_seconds=s) for s in (None, 1e6))
    assert one.result.trace == other.result.trace
    for name, values in one.draws.posterior.items():
        np.testing.assert_array_equal(values, other.draws.posterior[name])
    np.testing.assert_array_equal(one.result.log_p, other.result.log_p)


def only(n):
    """Constrain the first points alone, as where the time ends then."""
    whole = Model.constrain

    def constrain(self, x, *, seed, until=None):
        return whole(self, x[: len(x) if until is None else n], seed=seed)

    return constrain


def test_draws_that_could_be_constrained_are_left(eight_schools, monkeypatch):
    whole = sr.fit(eight_schools, seed=1, draws=1000)
    monkeypatch.setattr(Model, "constrain", only(300))
    fit = sr.fit(eight_schools, seed=1, draws=1000, max_seconds=60)
    assert "300 of 1,000 draws are left" in fit.result.warnings[-1]
    assert fit.result.message.endswith(fit.result.warnings[-1])
    assert fit.verdict == whole.verdict
    np.testing.assert_array_equal(fit.result.draws, whole.result.draws[:300])
    np.testing.assert_array_equal(fit.draws.unconstrained[0], fit.result.draws)
    assert fit.draws.sample_stats["lp"].shape == (1, 300)
    np.testing.assert_array_equal(
        fit.draws.posterior["theta"], whole.draws.posterior["theta"][:, :300]
    )


def test_too_few_constrained_draws_leave_all_parameters(eight_schools, monkeypatch):
    whole = sr.fit(eight_schools, seed=1, draws=1000)
    monkeypatch.setattr(Model, "constrain", only(3))
    fit = sr.fit(eight_schools, seed=1, draws=1000, max_seconds=60)
    assert "theta are left out, as 3 of 1,000 draws were done" in fit.result.warnings[-1]
    np.testing.assert_array_equal(fit.draws.posterior["tau"], whole.draws.posterior["tau"])
    assert list(fit.draws.posterior) == list(fit.draws.parameters)


def test_chains_keep_the_same_draws(eight_schools, monkeypatch):
    whole = sr.sample(eight_schools, seed=1, ess=100)
    monkeypatch.setattr(Model, "constrain", only(4 * 110 + 2))
    run = sr.sample(eight_schools, seed=1, ess=100, max_seconds=1e6)
    if whole.draws.n_draws <= 110:
        pytest.skip("chains too short to be cut")
    assert f"4 x 110 of 4 x {whole.draws.n_draws} draws" in run.warnings[-1]
    assert run.draws.posterior["theta"].shape[:2] == (4, 110)
    for name, values in run.draws.posterior.items():
        np.testing.assert_array_equal(values, whole.draws.posterior[name][:, :110])
    np.testing.assert_array_equal(run.draws.unconstrained, whole.draws.unconstrained[:, :110])
    assert run.draws.sample_stats["lp"].shape == (4, 110)
