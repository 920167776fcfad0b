"""Fits in files: as they were, whatever the family, and no fit where there is none."""

import importlib
import json
import pkgutil
from dataclasses import is_dataclass

import h5netcdf
import numpy as np
import pytest
import xarray as xr

import stanrovi
import stanrovi.families
from stanrovi.errors import DrawsError, ModelError, OutputError, UsageError
from stanrovi.families.conditional import Conditional
from stanrovi.families.mixture import Mixture
from stanrovi.families.moved import Moved
from stanrovi.families.product import Product
from stanrovi.io.arviz import as_tree
from stanrovi.io.netcdf import read_tree, write_tree
from stanrovi.runs.saved import _RECORDS, StoredModel

FITS = {
    "gaussian": ("ar", "gaussian", Product),
    "mean field": ("kidscore", "mfvi", Product),
    "rotated": ("bimodal_gaussian", "rovi", Product),
    "mixture": ("three_modes", "auto", Mixture),
    "symmetric": ("label_switching", "mixture", Mixture),
    "conditional": ("neals_funnel", "structured", Conditional),
}


@pytest.fixture(scope="module", params=FITS)
def fit(request):
    name, method, family = FITS[request.param]
    fit = stanrovi.fit(name, method=method, seed=1, draws=200)
    assert isinstance(fit.result.family, family)
    return fit


@pytest.fixture(scope="module")
def schools():
    return stanrovi.fit("eight_schools", method="rovi", seed=1, draws=200)


@pytest.fixture
def stored(schools, tmp_path):
    return schools.save(tmp_path / "fit.nc")


def test_a_loaded_fit_is_the_fit(fit, tmp_path):
    back = stanrovi.load_fit(fit.save(tmp_path / "fit.nc"))
    assert repr(back) == repr(fit)
    assert back.verdict == fit.verdict
    assert back.summary().equals(fit.summary())
    x = fit.result.draws
    np.testing.assert_array_equal(back.log_density(x), fit.log_density(x))
    np.testing.assert_array_equal(back.result.log_p, fit.result.log_p)
    for mine, theirs in zip(back.modes, fit.modes, strict=True):
        np.testing.assert_array_equal(mine.position, theirs.position)
        np.testing.assert_array_equal(mine.sd, theirs.sd)
        assert (mine.mass, mine.orbit) == (theirs.mass, theirs.orbit)
    again, first = back.sample(50, seed=7), fit.sample(50, seed=7)
    assert list(again.posterior) == list(first.posterior)
    for name, values in first.posterior.items():
        np.testing.assert_array_equal(again.posterior[name], values)


def test_components_that_share_a_fit_share_it_after_a_file(tmp_path):
    fit = stanrovi.fit("label_switching", method="mixture", seed=1, draws=200)
    family = stanrovi.load_fit(fit.save(tmp_path / "fit.nc")).result.family
    first, *others = family.components
    assert others
    assert all(isinstance(c, Moved) and c.component is first for c in others)


def test_many_dimensions_go_through_a_file(tmp_path):
    path = tmp_path / "walk.stan"
    path.write_text(
        "parameters { vector[600] x; } model { x[1] ~ normal(0, 1); "
        "x[2:600] ~ normal(x[1:599], 1); x ~ normal(0, 3); }",
        encoding="utf-8",
    )
    fit = stanrovi.fit(path, method="gaussian", seed=1, draws=100)
    file = fit.save(tmp_path / "fit.nc")
    assert file.stat().st_size < 4e6
    x = fit.result.draws
    np.testing.assert_array_equal(stanrovi.load_fit(file).log_density(x), fit.log_density(x))


def test_the_file_needs_neither_program_nor_data(tmp_path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "priors.stan").write_text("mu ~ normal(0, 10);\n", encoding="utf-8")
    program = folder / "mean.stan"
    program.write_text(
        "data { int N; vector[N] y; }\nparameters { real mu; }\nmodel {\n#include priors.stan\n"
        "y ~ normal(mu, 1); }\ngenerated quantities { real twice = 2 * mu; }\n",
        encoding="utf-8",
    )
    fit = stanrovi.fit(program, {"N": 3, "y": [1.0, 2.0, 4.5]}, seed=1, draws=100)
    file = fit.save(tmp_path / "fit.nc")
    expected = fit.sample(20, seed=3).posterior
    for path in folder.iterdir():
        path.unlink()
    back = stanrovi.load_fit(file)
    assert back.model.data["y"] == [1.0, 2.0, 4.5]
    assert back.model.hashes == fit.model.hashes
    found = back.sample(20, seed=3).posterior
    np.testing.assert_array_equal(found["twice"], expected["twice"])
    assert back.resample(model=back.model).draws.n_draws == 100


def test_new_draws_are_those_of_the_distribution(schools):
    draws = schools.sample(4000, seed=5)
    assert (draws.n_chains, draws.n_draws, draws.method) == (1, 4000, "rovi")
    assert draws.attrs["seed"] == 5
    assert {"theta_trans", "mu", "tau", "theta"} <= set(draws.posterior)
    family = schools.result.family
    x = draws.unconstrained[0]
    error = (x.mean(axis=0) - family.mean()) / family.sd() * np.sqrt(4000)
    assert np.abs(error).max() < 4  # quasi-random: nearer than independent draws
    np.testing.assert_allclose(draws.sample_stats["log_q"][0], schools.log_density(x))
    assert np.isnan(draws.sample_stats["lp"]).all()
    other = schools.sample(10)
    assert other.attrs["seed"] != schools.sample(10).attrs["seed"]
    assert schools.sample(1, seed=0).n_draws == 1


def test_the_density_of_one_point_is_a_number(schools):
    x = schools.result.draws[:2]
    assert schools.log_density(x).shape == (2,)
    assert schools.log_density(x[0]) == schools.log_density(x)[0]


def test_the_density_is_a_number_wherever_the_point_is(schools):
    points = np.zeros((5, 10))
    points[1:4] = np.array([[np.inf], [-np.inf], [1e200]])
    points[4, 2] = np.nan
    found = schools.log_density(points)
    assert np.isfinite(found[0])
    assert (found[1:4] == -np.inf).all()
    assert np.isnan(found[4])
    assert schools.log_density(points[:0]).shape == (0,)


@pytest.mark.parametrize("x", [[1.0, 2.0], np.zeros((3, 11)), np.zeros((1, 1, 10)), "x", None, 1.0])
def test_points_of_another_dimension_are_refused(schools, x):
    with pytest.raises(UsageError, match=r"shape \(n, 10\) or \(10,\).*unconstrain"):
        schools.log_density(x)


@pytest.mark.parametrize(("n", "seed"), [(0, 1), (1.5, 1), (10, -1)])
def test_impossible_requests_for_draws_are_refused(schools, n, seed):
    with pytest.raises(UsageError, match="whole number"):
        schools.sample(n, seed=seed)


def test_nothing_is_replaced_unasked(schools, stored):
    with pytest.raises(OutputError, match="exists already"):
        schools.save(stored)
    assert schools.save(stored, overwrite=True) == stored
    assert stanrovi.load_fit(stored).save(stored, overwrite=True) == stored
    assert stanrovi.load_fit(stored).verdict == schools.verdict


def test_the_file_is_one_of_draws_too(schools, stored):
    back = stanrovi.read_draws(stored)
    assert back.facts.verdict == schools.verdict
    np.testing.assert_array_equal(back.posterior["tau"], schools.draws.posterior["tau"])


def test_draws_alone_are_no_fit(schools, tmp_path):
    file = stanrovi.write_netcdf(schools.draws, tmp_path / "draws.nc")
    with pytest.raises(DrawsError, match="no fit to draw from again"):
        stanrovi.load_fit(file)


def _changed(path, change):
    tree = read_tree(path)
    group = tree["stored_fit"].to_dataset()
    change(tree, group)
    tree["stored_fit"] = xr.DataTree(group)
    return write_tree(tree, path, overwrite=True)


def _record(change):
    def apply(_tree, group):
        record = json.loads(bytes(group["record"].values))
        change(record)
        text = np.frombuffer(json.dumps(record).encode(), dtype=np.uint8)
        group["record"] = (["text"], text)

    return apply


def _other_draws(tree, _group):
    draws = tree["unconstrained_posterior"]["unconstrained"]
    draws.values[:] += 1


@pytest.mark.parametrize(
    "change",
    [
        _record(lambda record: record["mapping"].clear()),
        _record(lambda record: record["mapping"]["fit"].update(record="Path")),
        _record(lambda record: record["mapping"]["fit"]["fields"].pop("family")),
        _record(lambda record: record["mapping"].update(model=None)),
        _record(
            lambda record: record["mapping"]["fit"]["fields"].update(family={"array": "array_0"})
        ),
        _other_draws,
    ],
)
def test_damaged_files_are_told(stored, change):
    with pytest.raises(DrawsError, match="damaged, or of another version"):
        stanrovi.load_fit(_changed(stored, change))


def _path_as_data(record):
    record["mapping"]["model"]["fields"]["data"] = "/dev/null"


def test_data_of_a_file_are_no_path(stored):
    with pytest.raises(DrawsError, match="damaged"):
        stanrovi.load_fit(_changed(stored, _record(_path_as_data)))


def test_another_format_is_told_with_its_version(stored):
    def later(tree, group):
        tree.attrs["inference_library_version"] = "9.1"
        group.attrs["format"] = 2

    with pytest.raises(DrawsError, match=r"format 2, by stanrovi 9\.1, .*this version.*format 1"):
        stanrovi.load_fit(_changed(stored, later))


def test_a_small_file_cannot_ask_for_all_of_the_memory(tmp_path):
    path = tmp_path / "bomb.nc"
    with h5netcdf.File(path, "w") as file:
        group = file.create_group("posterior")
        group.dimensions = {"chain": 1, "draw": 10**14}
        group.create_variable("x", ("chain", "draw"), "f8", chunks=(1, 1000))
    for read in (stanrovi.load_fit, stanrovi.read_draws):
        with pytest.raises(DrawsError, match=r"declares [\d,]{19,} bytes"):
            read(path)


def test_an_engine_with_other_coordinates_is_told(schools):
    other = schools.sample(60, seed=1)
    other.unconstrained[:] += 0.5
    with pytest.raises(ModelError, match="other unconstrained coordinates"):
        StoredModel.of(schools.model).build(other)


def test_every_record_of_a_family_is_known():
    found = set()
    for module in pkgutil.iter_modules(stanrovi.families.__path__):
        loaded = importlib.import_module(f"stanrovi.families.{module.name}")
        found |= {c for c in vars(loaded).values() if isinstance(c, type) and is_dataclass(c)}
    own = {c.__name__ for c in found if c.__module__.startswith("stanrovi.families")}
    made_anew = {"Chain", "Frame", "_Point"}
    assert own - {c.__name__ for c in _RECORDS} == made_anew


def test_trees_of_draws_have_no_fit(schools):
    assert "stored_fit" not in as_tree(schools.draws).children
