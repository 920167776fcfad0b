"""A model given as a compiled library: fitted, sampled and compared without its program.

The library is the embedded engine's own, a BridgeStan library like others, which takes the program
with the data.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import stanli
from click.testing import CliRunner

import stanrovi as sr
from stanrovi.errors import UsageError
from stanrovi_cli.app import cli

PROGRAM = "parameters { real x; vector[2] y; } model { x ~ normal(1, 2); y ~ normal(x, 1); }"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("library")
    path = folder / "m_model.so"
    shutil.copy(stanli.bridgestan_model(stan_code="").lib_path, path)
    manifest = {"build_id": stanli.build_id(), "mir": stanli.stan_to_mir(PROGRAM), "name": "m"}
    data = folder / "data.json"
    data.write_text(json.dumps({"__stanli": manifest}))
    return path, data


@pytest.mark.slow
def test_nuts_and_sample_and_their_comparison(library):
    model = sr.Model(*library)
    nuts, sampled = sr.nuts(model, seed=1), sr.sample(model, seed=1)
    assert nuts.engine == "numpy"
    assert nuts.check.trusted
    assert sampled.trusted
    assert sampled.draws.posterior["x"].mean() == pytest.approx(1.0, abs=0.3)
    assert sr.compare(sampled.draws, nuts).methods["sample"].verdict.name == "ok"
    warm = sr.nuts(model, seed=1, init=sr.fit(model, seed=1))
    assert warm.n_gradients < nuts.n_gradients
    assert np.isfinite(sampled.log_evidence.value)
    assert "up to the constant" in sampled.evidence_note


@pytest.mark.slow
def test_compare_from_the_command_line(library):
    path, data = library
    args = ["compare", str(path), "--data", str(data), "--methods", "gaussian", "--seed", "1"]
    result = CliRunner().invoke(cli, args)
    assert result.exit_code == 0, result.output
    assert "reference  nuts, engine numpy" in result.stdout
    assert "gaussian: ok" in result.stdout


@pytest.mark.parametrize("engine", ["stanli", "cmdstan"])
def test_engines_that_need_the_program_say_so(library, engine):
    with pytest.raises(UsageError, match=f"engine '{engine}' cannot run the library"):
        sr.nuts(sr.Model(*library), engine=engine)


def test_an_executable_is_for_cmdstan(library):
    with pytest.raises(UsageError, match="engine 'numpy' runs no executable"):
        sr.nuts(sr.Model(*library), engine="numpy", exe="m")
