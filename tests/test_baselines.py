"""Baselines: right distributions, honest counts, and draws that ArviZ takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stanrovi.densities import FunctionDensity
from stanrovi.diagnostics.statistics import ess, rhat
from stanrovi.draws import Draws
from stanrovi.errors import DensityError, ModelError, SamplerError, UsageError
from stanrovi.io.netcdf import read_draws, write_netcdf
from stanrovi.runs.cmdstan_vi import cmdstan_vi
from stanrovi.runs.langevin import langevin_draws
from stanrovi.runs.laplace import laplace_draws
from stanrovi.runs.nuts import nuts
from stanrovi.samplers.langevin import LangevinRun, LangevinSettings, run_langevin
from stanrovi.stan.model import Model
from stanrovi.target import Array, Target

Write = Callable[[str, str], Path]

CENTER, SD = np.array([3.0, -1.0]), np.array([2.0, 0.5])


def gaussian(scale: float = 1.0) -> FunctionDensity:
    sd = scale * SD

    def function(x: Array) -> tuple[Array, Array]:
        z = (x - CENTER) / sd
        return -0.5 * (z**2).sum(axis=1), -z / sd

    return FunctionDensity(function, 2)


def half_normal(x: Array) -> tuple[Array, Array]:
    value = np.where(x[:, 0] > 0, -0.5 * x[:, 0] ** 2, np.nan)
    return value, -x


def two_modes(x: Array) -> tuple[Array, Array]:
    """Unit normals at -10 and 10, the latter three times as heavy."""
    logs = np.stack([-0.5 * (x[:, 0] + 10) ** 2, np.log(3) - 0.5 * (x[:, 0] - 10) ** 2], axis=1)
    total = np.logaddexp(*logs.T)
    share = np.exp(logs - total[:, None])
    return total, -x + 10 * (share[:, 1:] - share[:, :1])


def standard_errors(run: LangevinRun) -> Array:
    return run.draws.std(axis=(0, 1)) / np.sqrt(ess(run.draws))


class TestLangevin:
    @pytest.mark.parametrize("scale", [1e-5, 1.0, 1e4])
    def test_mala_samples_the_target_at_any_scale(self, scale: float) -> None:
        start = CENTER + scale * np.random.default_rng(0).standard_normal((4, 2))
        settings = LangevinSettings(iter_warmup=500, iter_sampling=10_000)
        run = run_langevin(
            Target(gaussian(scale)), np.random.default_rng(1), "mala", settings, start=start
        )
        error = (run.draws.mean(axis=(0, 1)) - CENTER) / standard_errors(run)
        assert np.abs(error).max() < 4
        squares = ((run.draws - CENTER) / (scale * SD)) ** 2
        spread = (squares.mean(axis=(0, 1)) - 1) * np.sqrt(ess(squares) / 2)
        assert np.abs(spread).max() < 4
        # Dual averaging aims at 0.574 and ends within a few hundredths.
        assert np.abs(run.acceptance - 0.574).max() < 0.1

    def test_unadjusted_bias_is_the_one_its_step_implies(self) -> None:
        """For N(0, s^2) the chain's stationary variance is s^2 / (1 - h / (2 s^2))."""
        settings = LangevinSettings(chains=8, iter_sampling=20_000)
        run = run_langevin(Target(gaussian()), np.random.default_rng(2), "lmc", settings)
        assert (run.acceptance > 0.97).all()
        expected = SD**2 / (1 - run.step_size.mean() / (2 * SD**2))
        squares = (run.draws - CENTER) ** 2 / expected
        error = (squares.mean(axis=(0, 1)) - 1) * np.sqrt(ess(squares) / 2)
        assert np.abs(error).max() < 4
        assert np.sqrt(expected / SD**2).max() < 1.05

    def test_chains_do_not_cross_between_far_modes(self) -> None:
        start = np.array([[-9.0], [-11.0], [8.0], [12.0]])
        settings = LangevinSettings(iter_warmup=200, iter_sampling=2000)
        for method in ("lmc", "mala"):
            target = Target(FunctionDensity(two_modes, 1))
            run = run_langevin(target, np.random.default_rng(3), method, settings, start=start)
            assert np.sign(run.draws[..., 0]).mean(axis=1).tolist() == [-1, -1, 1, 1]
            assert rhat(run.draws)[0] > 1.5

    def test_every_gradient_is_counted(self) -> None:
        settings = LangevinSettings(chains=3, iter_warmup=50, iter_sampling=101, thin=4)
        target = Target(gaussian())
        target.log_density_gradient(np.zeros((7, 2)))  # somebody else's
        run = run_langevin(target, np.random.default_rng(4), "mala", settings)
        assert run.draws.shape == (3, 25, 2)
        assert run.log_density.shape == (3, 25)
        assert target.by_stage == {"other": 7, "langevin": run.n_gradients}
        # One for the starts, 50 + 100 steps, and a few to find the first step size.
        assert 3 * 151 < run.n_gradients < 3 * 200

    @pytest.mark.parametrize("method", ["lmc", "mala"])
    def test_points_outside_the_support_are_refused(self, method: str) -> None:
        target = Target(FunctionDensity(half_normal, 1))
        run = run_langevin(target, np.random.default_rng(5), method, LangevinSettings())
        assert (run.draws > 0).all()
        assert np.isfinite(run.log_density).all()
        assert run.n_rejections == target.n_rejections > 0
        if method == "mala":
            error = run.draws.mean() - np.sqrt(2 / np.pi)
            assert abs(error) < 4 * standard_errors(run)[0]

    def test_same_seed_same_draws(self) -> None:
        settings = LangevinSettings(iter_warmup=50, iter_sampling=100)
        first, second, other = (
            run_langevin(Target(gaussian()), np.random.default_rng(seed), "lmc", settings).draws
            for seed in (6, 6, 7)
        )
        assert (first == second).all()
        assert (first != other).any()

    def test_bad_requests(self) -> None:
        rng = np.random.default_rng(8)
        with pytest.raises(UsageError, match="lmc, mala, got 'ula'"):
            run_langevin(Target(gaussian()), rng, "ula")  # type: ignore[arg-type]
        with pytest.raises(UsageError, match=r"\(4, 2\), got \(2,\)"):
            run_langevin(Target(gaussian()), rng, start=np.zeros(2))
        with pytest.raises(UsageError, match="chains must be at least 1, got 0"):
            LangevinSettings(chains=0)
        with pytest.raises(UsageError, match=r"at least thin \(10\), got 5"):
            LangevinSettings(iter_sampling=5)
        nowhere = FunctionDensity(lambda x: (np.full(len(x), np.nan), x), 1)
        with pytest.raises(DensityError, match=r"chains \[1, 2, 3, 4\]"):
            run_langevin(Target(nowhere), rng)

    def test_draws_of_a_stan_model_go_through_a_file(
        self, eight_schools: Model, tmp_path: Path
    ) -> None:
        settings = LangevinSettings(iter_warmup=100, iter_sampling=200)
        run = run_langevin(Target(eight_schools), np.random.default_rng(9), "mala", settings)
        draws = langevin_draws(eight_schools, run, seed=9)
        back = read_draws(write_netcdf(draws, tmp_path / "mala.nc"))
        assert back.method == "mala"
        assert back.parameters == eight_schools.parameters
        assert back.attrs["n_gradients"] == run.n_gradients
        np.testing.assert_array_equal(back.posterior["tau"], draws.posterior["tau"])
        assert (draws.posterior["tau"] > 0).all()
        assert {v.shape for v in back.sample_stats.values()} == {(4, 20)}


def test_laplace_is_the_gaussian_at_the_mode(write: Write) -> None:
    program = "parameters { vector[2] x; } model { x ~ normal([3, -1], [2, 0.5]); }"
    draws = laplace_draws(Model(write("normal.stan", program)), seed=1)
    assert draws.method == "laplace"
    x = draws.posterior["x"][0]
    assert x.shape == (4000, 2)
    z = (x - CENTER) / SD
    assert np.abs(z.mean(axis=0)).max() < 4 / np.sqrt(4000)
    assert np.abs((z**2).mean(axis=0) - 1).max() < 4 * np.sqrt(2 / 4000)
    ratio = draws.sample_stats["lp"] - draws.sample_stats["log_q"]
    assert np.ptp(ratio) < 1e-3  # exact up to the constant that Stan drops
    assert 0 < draws.attrs["n_gradients"] < 1000


def test_laplace_needs_a_mode(write: Write) -> None:
    program = "parameters { real x; } model { target += x; }"
    with pytest.raises(DensityError, match="needs a mode"):
        laplace_draws(Model(write("improper.stan", program)), seed=1)


@pytest.mark.cmdstan
class TestCmdStan:
    @pytest.fixture
    def exe(self, prophet_folder: Path) -> Path:
        return prophet_folder / "prophet_model.bin"

    @pytest.fixture(scope="class")
    def reference(self, prophet: Model) -> Draws:
        return nuts(prophet, engine="stanli", seed=1).draws

    @pytest.mark.parametrize("algorithm", ["meanfield", "fullrank", "pathfinder"])
    def test_fits_are_near_nuts(
        self, prophet: Model, exe: Path, reference: Draws, algorithm: str
    ) -> None:
        draws = cmdstan_vi(prophet, algorithm, seed=1, draws=500, exe=exe)
        assert draws.method.endswith(algorithm)
        assert draws.parameters == prophet.parameters
        assert draws.attrs["status"] in ("converged", "max_iterations")
        assert draws.attrs["seconds"] > 0
        for name in prophet.variables:
            assert draws.posterior[name].shape == (1, 500, *reference.posterior[name].shape[2:])
        assert draws.unconstrained is not None
        assert draws.unconstrained.shape == (1, 500, prophet.dim)
        # They are rough, but of this posterior: sigma_obs within three of its standard deviations.
        truth = reference.posterior["sigma_obs"]
        error = draws.posterior["sigma_obs"].mean() - truth.mean()
        assert abs(error) < 3 * truth.std()

    def test_bad_data_tell_cmdstans_reason(
        self, prophet: Model, exe: Path, eight_schools: Model
    ) -> None:
        with pytest.raises(SamplerError, match=r"meanfield \(CmdStan, prophet_model.bin\) failed"):
            cmdstan_vi(eight_schools, "meanfield", seed=1, exe=exe)

    def test_bad_requests(self, prophet: Model, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="Unknown algorithm 'advi'"):
            cmdstan_vi(prophet, "advi", seed=1)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="no such CmdStan executable"):
            cmdstan_vi(prophet, "meanfield", seed=1, exe=tmp_path / "none.bin")

    def test_without_cmdstan_the_cure_is_named(
        self, prophet: Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("CMDSTAN", str(tmp_path / "nowhere"))
        monkeypatch.setenv("HOME", str(tmp_path))
        with pytest.raises(ModelError, match="install_cmdstan"):
            cmdstan_vi(prophet, "pathfinder", seed=1)
