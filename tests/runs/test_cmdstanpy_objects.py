"""What users of cmdstanpy have in hand: its models and its runs, real ones."""

import logging

import cmdstanpy
import numpy as np
import pytest

import stanrovi as sr
from stanrovi.draws import Draws
from stanrovi.errors import UsageError
from stanrovi.io.arviz import from_arviz, to_arviz


@pytest.fixture(scope="module")
def executable(prophet_folder):
    logging.getLogger("cmdstanpy").setLevel(logging.CRITICAL)
    return cmdstanpy.CmdStanModel(exe_file=prophet_folder / "prophet_model.bin")


@pytest.fixture(scope="module", params=[False, True], ids=["draws", "with warm-up"])
def run(request, executable, prophet_data):
    data = {name: np.asarray(value).tolist() for name, value in prophet_data.items()}
    return executable.sample(
        data=data,
        chains=2,
        seed=1,
        iter_warmup=300,
        iter_sampling=300,
        save_warmup=request.param,
        show_progress=False,
        show_console=False,
    )


class Compiled:
    """A CmdStanModel of a file, as far as it is asked; making one takes a compiler."""

    exe_file = "/nowhere/m"

    def __init__(self, stan_file, folders):
        self.stan_file = str(stan_file)
        self.stanc_options = {"include-paths": folders}


def test_a_program_of_cmdstanpy_is_taken_with_what_it_includes(tmp_path, prophet_folder):
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "model.stan").write_text("model { x ~ normal(0, 1); }")
    path = tmp_path / "m.stan"
    path.write_text("parameters { real x; }\n#include model.stan\n")
    for folders in ([str(tmp_path / "parts")], str(tmp_path / "parts")):
        model = sr.Model(Compiled(path, folders))
        assert (model.name, model.dim) == ("m", 1)
    assert sr.fit(Compiled(path, folders), seed=1, draws=100).model_name == "m"
    own = cmdstanpy.CmdStanModel(
        stan_file=prophet_folder / "prophet.stan", exe_file=prophet_folder / "prophet"
    )
    assert {"stan_file", "exe_file", "stanc_options"} <= set(dir(own))


def test_an_executable_alone_is_no_program(executable, prophet_data):
    with pytest.raises(UsageError, match=r"executable alone \(.*prophet_model.bin\).*\.stan file"):
        sr.fit(executable, prophet_data)
    for nothing in (None, 3):
        with pytest.raises(UsageError, match=r"a model is the path of a \.stan file"):
            sr.Model(nothing)


def test_a_run_of_cmdstanpy_is_draws(run, prophet):
    draws, read = from_arviz(run), sr.nuts_from_csv(run.runset.csv_files, prophet).draws
    assert (draws.method, draws.n_chains, draws.n_draws) == ("nuts", 2, 300)
    assert draws.parameters_assumed
    for theirs, ours in (
        (read.posterior, draws.posterior), (read.sample_stats, draws.sample_stats)
    ):  # fmt: skip
        assert theirs.keys() == ours.keys()
        for name, values in theirs.items():
            np.testing.assert_array_equal(ours[name], values)
            assert ours[name].dtype == values.dtype
    for name in ("model", "engine", "seed", "n_gradients", "divergences"):
        assert draws.attrs[name] == read.attrs[name]
    assert "sample_stats" in to_arviz(draws)


def test_compare_takes_a_run_of_cmdstanpy(run, prophet, tmp_path):
    fit = sr.fit(prophet, seed=1)
    found = sr.compare(fit, run)
    assert found.parameters == tuple(fit.draws.scalars())
    assert found.reference.method == "nuts"
    assert sr.compare([fit], to_arviz(from_arviz(run))).parameters == found.parameters
    with pytest.raises(UsageError, match=r"CmdStanMCMC\) carries no draws; convert it first"):
        sr.write_netcdf(run, tmp_path / "a.nc")


def test_what_holds_no_draws_is_told_apart(run):
    draws = from_arviz(run)
    for thing, cure in (
        (None, "type NoneType.*give an InferenceData, an xarray.DataTree or a CmdStanMCMC"),
        ({"mu": [1.0]}, "from_dict makes one"),
        (run.draws_xr(), "from_dict makes one"),
        ("nuts.nc", r"stanrovi.read_draws\('nuts.nc'\)"),
        (draws, "a run of stanrovi already"),
    ):
        with pytest.raises(UsageError, match=cure):
            from_arviz(thing)
    assert isinstance(draws, Draws)
