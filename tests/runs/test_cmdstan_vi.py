"""Baselines: right distributions, honest counts, and draws that ArviZ takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from stanrovi.draws import Draws
from stanrovi.errors import ModelError, SamplerError, UsageError
from stanrovi.runs.cmdstan_vi import cmdstan_vi
from stanrovi.runs.nuts import nuts
from stanrovi.stan.model import Model


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
