"""Baselines: right distributions, honest counts, and draws that ArviZ takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stanrovi.densities import FunctionDensity
from stanrovi.diagnostics.statistics import ess, rhat
from stanrovi.errors import DensityError, UsageError
from stanrovi.io.netcdf import read_draws, write_netcdf
from stanrovi.runs.langevin import langevin_draws
from stanrovi.samplers.langevin import LangevinRun, LangevinSettings, run_langevin
from stanrovi.stan.model import Model
from stanrovi.target import Array, Target

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
