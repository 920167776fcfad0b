"""`stanrovi.sample` on Stan models: what it returns, costs, refuses and writes."""

import json

import cmdstanpy
import numpy as np
import pytest

import stanrovi as sr
from stanrovi.diagnostics.statistics import ess
from stanrovi.errors import OutputError, UsageError
from stanrovi.io.netcdf import read_draws, write_netcdf

LOG_NORMALISER = 0.5 * np.log(2 * np.pi)


@pytest.fixture(scope="module")
def eight() -> sr.Model:
    return sr.Model("eight_schools")


@pytest.fixture(scope="module")
def run(eight) -> sr.SampleRun:
    return sr.sample(eight, seed=1)


def test_draws_agree_with_nuts_for_a_tenth_of_its_gradients(eight, run):
    nuts = sr.nuts(eight, engine="stanli", seed=2)
    assert run.trusted
    assert run.n_gradients < nuts.n_gradients / 10
    for name, x in run.draws.scalars().items():
        y = nuts.draws.scalars()[name]
        errors = [v.std() / np.sqrt(ess(v[..., None])[0]) for v in (x, y)]
        assert abs(x.mean() - y.mean()) < 4 * np.hypot(*errors), name


def test_the_run_is_that_of_a_sampler(eight, run, tmp_path):
    draws = run.draws
    assert draws.method == "sample"
    assert draws.parameters == eight.parameters
    assert tuple(draws.posterior) == eight.variables
    assert set(draws.sample_stats) == {
        "lp", "diverging", "tree_depth", "n_steps", "energy", "step_size", "acceptance_rate"
    }  # fmt: skip
    x = draws.unconstrained.reshape(-1, eight.dim)
    assert eight.log_density_gradient(x)[0] == pytest.approx(draws.sample_stats["lp"].ravel())
    assert draws.n_chains == 4
    table = run.summary()
    assert (table["r_hat"] < 1.01).all()
    assert (table[["ess_bulk", "ess_tail"]] >= 400).all(axis=None)
    assert "trusted" in repr(run)
    assert run.divergences == 0
    assert run.fit.verdict.name in ("ok", "suspect")
    container = run.to_arviz()
    assert container["posterior"]["mu"].shape == (4, draws.n_draws)
    assert "energy" in container["sample_stats"]
    path = write_netcdf(draws, tmp_path / "draws.nc")
    assert read_draws(path).attrs["reason"] == run.reason
    assert run.warnings == ()
    assert sum(run.gradients_by_stage.values()) == run.n_gradients
    assert run.seconds > 0


def test_one_seed_one_run(eight, run):
    again = sr.sample(eight, seed=1)
    assert np.array_equal(again.draws.unconstrained, run.draws.unconstrained)


def test_csv_files_are_those_of_cmdstan(eight, run, tmp_path):
    paths = run.save_csv(tmp_path / "csv")
    assert len(paths) == 4
    back = cmdstanpy.from_csv([str(p) for p in paths])
    mu = np.swapaxes(back.draws(), 0, 1)[..., back.column_names.index("mu")]
    assert np.array_equal(mu, run.draws.posterior["mu"])
    theta = back.stan_variable("theta").reshape(4, -1, 8)
    assert np.array_equal(theta, run.draws.posterior["theta"])
    read = sr.nuts_from_csv([str(p) for p in paths], eight)
    assert read.check.trusted
    with pytest.raises(OutputError, match="not empty"):
        run.save_csv(tmp_path / "csv")
    assert run.save_csv(tmp_path / "csv", overwrite=True) == paths


def test_matrices_stand_in_the_files_column_by_column(write, tmp_path):
    program = write("matrix.stan", "parameters { matrix[2, 3] A; } model { to_vector(A) ~ normal("
                                   "to_vector([[1, 2, 3], [4, 5, 6]]), 0.1); }")  # fmt: skip
    run = sr.sample(program, seed=1)
    back = cmdstanpy.from_csv([str(p) for p in run.save_csv(tmp_path / "csv")])
    assert back.column_names[7:] == ("A[1,1]", "A[2,1]", "A[1,2]", "A[2,2]", "A[1,3]", "A[2,3]")
    assert back.stan_variable("A").mean(axis=0)[1] == pytest.approx([4, 5, 6], abs=0.05)


@pytest.mark.parametrize(
    ("body", "note", "value"),
    [
        ("target += normal_lpdf(x | 0, 2);", "target +=", 0.0),
        ("x ~ normal(0, 2);", "up to the constant", LOG_NORMALISER),
        ("target += normal_lupdf(x | 0, 2);", "up to the constant", LOG_NORMALISER),
    ],
)
def test_log_evidence_says_up_to_what(write, body, note, value):
    program = write("one.stan", f"parameters {{ real x; }} model {{ {body} }}")
    run = sr.sample(program, seed=1)
    assert note in run.evidence_note
    dropped = 0.0 if value == 0.0 else value + np.log(2.0)
    assert run.log_evidence.value == pytest.approx(dropped, abs=4 * run.log_evidence.se + 1e-6)


def test_both_modes_of_a_stan_model(eight):
    run = sr.sample("bimodal_gaussian", seed=3)
    assert run.trusted
    assert run.result.masses == pytest.approx([0.5, 0.5], abs=4 * run.result.mass_errors.max())
    assert "a wide reference agree" in run.reason
    assert run.log_evidence.value == pytest.approx(0.0, abs=0.01)


def test_a_collapsed_fit_to_begin_from_is_made_anew():
    model = sr.Model("bimodal_gaussian")
    said = []
    collapsed = sr.fit(model, method="mfvi", seed=1)
    run = sr.sample(model, init=collapsed, seed=1, progress=said.append)
    assert run.trusted
    assert run.result.masses == pytest.approx([0.5, 0.5], abs=4 * run.result.mass_errors.max())
    assert "fitting again, with modes that the fit lacked" in said


def test_one_chain_is_told_and_has_no_rhat(eight):
    run = sr.sample(eight, chains=1, ess=100, seed=1)
    assert run.draws.n_chains == 1
    assert run.trusted
    assert "One chain" in run.reason


def test_what_cannot_be_asked_for(eight):
    for options, message in (
        ({"chains": 0}, "chains"),
        ({"ess": 0}, "ess must be a finite number of at least 1, not 0"),
        ({"max_seconds": 0}, "max_seconds must be positive and finite, not 0"),
        ({"max_gradients": 0}, "max_gradients"),
        ({"init": sr.fit("bimodal_gaussian", seed=1)}, "give a fit of the same model"),
    ):
        with pytest.raises(UsageError, match=message):
            sr.sample(eight, **options)


@pytest.mark.slow
def test_a_budget_too_small_for_the_goal_says_what_lacks(eight):
    run = sr.sample(eight, ess=20_000, max_gradients=12_000, seed=1)
    assert not run.trusted
    assert "have not reached R-hat" in run.reason
    assert run.n_gradients <= 12_000
    assert json.dumps(run.draws.attrs)


def test_untrusted_draws_are_no_reference(eight):
    run = sr.sample(eight, ess=20_000, max_gradients=12_000, seed=1)
    found = sr.compare(sr.fit(eight, method="gaussian", seed=1), run)
    assert not found.reference.trusted
    assert "have not reached R-hat" in found.reference.reason


def test_generated_quantities_that_are_nan_are_told(write):
    body = (
        "parameters { real x; } model { x ~ std_normal(); } "
        "generated quantities { real y = not_a_number(); }"
    )
    run = sr.sample(write("nan.stan", body), seed=1)
    assert run.warnings == ("y hold NaN, as computed by the program",)
