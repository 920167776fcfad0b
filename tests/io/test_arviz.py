import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from places import DATA

import stanrovi
from stanrovi.draws import Draws
from stanrovi.errors import DrawsError, OutputError, UsageError
from stanrovi.families.axes import DiagonalAxes
from stanrovi.io.arviz import as_tree, from_arviz, to_arviz
from stanrovi.io.generations import is_legacy
from stanrovi.io.netcdf import read_draws, write_netcdf
from stanrovi.modes.basins import Mode, Peak


@pytest.fixture
def draws():
    rng = np.random.default_rng(1)
    return Draws(
        method="rovi",
        posterior={
            "mu": rng.normal(size=(2, 50)),
            "theta": rng.normal(size=(2, 50, 3)),
            "L": rng.normal(size=(2, 50, 2, 4)),
            "empty": np.empty((2, 50, 0)),
        },
        parameters=("theta", "mu"),
        sample_stats={"lp": rng.normal(size=(2, 50)), "diverging": np.zeros((2, 50), dtype=bool)},
        attrs={"seed": 3, "khat": 0.25, "engine": "stanli", "flag": np.True_, "n": np.int64(4)},
        unconstrained=rng.normal(size=(2, 50, 4)),
    )


def test_container_has_groups_dims_and_attributes(draws):
    data = to_arviz(draws, observed_data={"y": [1.0, 2.0], "N": 2})
    assert data["posterior"]["L"].dims == ("chain", "draw", "L_dim_0", "L_dim_1")
    assert list(data["posterior"]["theta_dim_0"].values) == [0, 1, 2]
    assert data["unconstrained_posterior"]["unconstrained"].shape == (2, 50, 4)
    assert data["sample_stats"]["diverging"].dtype == bool
    assert data["observed_data"]["y"].shape == (2,)
    assert data.attrs["inference_library"] == "stanrovi"
    assert data.attrs["method"] == "rovi"
    assert type(data).__name__ == ("InferenceData" if is_legacy() else "DataTree")


def test_a_variable_may_have_the_name_of_a_dimension(tmp_path):
    values = {"x": np.zeros((1, 5, 3)), "x_dim_0": np.ones((1, 5)), "x_dim_0_": np.ones((1, 5))}
    draws = Draws(method="rovi", posterior=values, parameters=tuple(values))
    back = read_draws(write_netcdf(draws, tmp_path / "a.nc"))
    assert {name: x.shape for name, x in back.posterior.items()} == {
        name: x.shape for name, x in values.items()
    }


def test_round_trip(draws, tmp_path):
    path = write_netcdf(draws, tmp_path / "a.nc")
    back = read_draws(path)
    assert back.method == "rovi"
    assert back.parameters == draws.parameters
    assert list(back.posterior) == list(draws.posterior)
    for name, values in draws.posterior.items():
        np.testing.assert_array_equal(back.posterior[name], values)
    np.testing.assert_array_equal(back.unconstrained, draws.unconstrained)
    np.testing.assert_array_equal(back.sample_stats["lp"], draws.sample_stats["lp"])
    assert {key: back.attrs[key] for key in ("seed", "khat", "engine", "flag", "n")} == {
        "seed": 3,
        "khat": 0.25,
        "engine": "stanli",
        "flag": 1,
        "n": 4,
    }
    assert all(type(value) in (str, int, float) for value in back.attrs.values())
    assert list(back.scalars()) == ["theta[1]", "theta[2]", "theta[3]", "mu"]


def test_arviz_reads_what_we_write(draws, tmp_path):
    import arviz as az

    write_netcdf(draws, tmp_path / "a.nc")
    data = az.from_netcdf(str(tmp_path / "a.nc"))
    assert list(az.summary(data, var_names=["mu"]).index) == ["mu"]


def test_writing_refuses_to_overwrite(draws, tmp_path):
    write_netcdf(draws, tmp_path / "a.nc")
    with pytest.raises(OutputError, match="exists already"):
        write_netcdf(draws, tmp_path / "a.nc")
    write_netcdf(draws, tmp_path / "a.nc", overwrite=True)


def test_a_run_serves_as_its_draws(draws, tmp_path):
    fit = SimpleNamespace(draws=draws)
    assert to_arviz(fit)["posterior"].equals(to_arviz(draws)["posterior"])
    assert read_draws(write_netcdf(fit, tmp_path / "a.nc")).parameters == draws.parameters


def test_what_is_no_run_is_refused_with_the_way_to_make_it_one(draws, tmp_path):
    for foreign, cure in (
        (to_arviz(draws), "stanrovi.from_arviz"),
        ("fit.nc", r"stanrovi.read_draws\('fit.nc'\)"),
        (tmp_path / "fit.nc", "stanrovi.read_draws"),
        (3, r"of type int\) carries no draws; give what stanrovi.fit"),
    ):
        with pytest.raises(UsageError, match=cure):
            to_arviz(foreign)
        with pytest.raises(UsageError, match=cure):
            write_netcdf(foreign, tmp_path / "new.nc")
    assert not (tmp_path / "new.nc").exists()


def test_draws_say_what_they_are_and_not_all_they_hold(draws):
    assert repr(draws) == "<Draws: rovi, 2 x 50 draws, parameters theta, mu>"


def test_foreign_container_without_our_attributes():
    tree = xr.DataTree.from_dict(
        {
            "posterior": xr.Dataset(
                {
                    "x": (("i", "draw", "chain"), np.arange(24.0).reshape(2, 6, 2)),
                    "label": (("chain", "draw"), np.full((2, 6), "a")),
                }
            )
        }
    )
    back = from_arviz(tree)
    assert (back.method, back.parameters) == ("nuts", ("x",))
    assert back.posterior["x"].shape == (2, 6, 2)
    assert back.posterior["x"][1, 3, 1] == 12 + 3 * 2 + 1


@pytest.mark.parametrize("foreign", ["mu tau", 3, "3", '"mu"', "[1]", "{}", "[]"])
def test_a_foreign_attribute_of_our_name_is_ignored(foreign):
    values = (("chain", "draw"), np.zeros((2, 6)))
    tree = xr.DataTree.from_dict({"posterior": xr.Dataset({"mu": values, "tau": values})})
    tree.attrs["parameters"] = foreign
    assert from_arviz(tree).parameters == ("mu", "tau")


def test_a_parameter_without_draws_is_named():
    values = (("chain", "draw"), np.zeros((2, 6)))
    tree = xr.DataTree.from_dict({"posterior": xr.Dataset({"mu": values})})
    tree.attrs["parameters"] = '["mu", "tau"]'
    with pytest.raises(DrawsError, match="no draws of parameter tau"):
        from_arviz(tree)


def test_unreadable_files(tmp_path):
    with pytest.raises(DrawsError, match="no file"):
        read_draws(tmp_path / "a.nc")
    with pytest.raises(DrawsError, match="is a folder"):
        read_draws(tmp_path)
    (tmp_path / "b.nc").write_text("lp__,a\n1,2\n")
    with pytest.raises(DrawsError, match="cannot be read as NetCDF"):
        read_draws(tmp_path / "b.nc")
    xr.Dataset({"z": ("i", [1.0])}).to_netcdf(tmp_path / "c.nc", engine="h5netcdf")
    with pytest.raises(DrawsError, match=r"no posterior group \(groups found: none\)"):
        read_draws(tmp_path / "c.nc")
    xr.Dataset({"z": ("i", [1.0])}).to_netcdf(
        tmp_path / "d.nc", group="posterior", engine="h5netcdf"
    )
    with pytest.raises(DrawsError, match="need chain and draw"):
        read_draws(tmp_path / "d.nc")


def test_nan_draws_are_refused_in_parameters_only(draws, tmp_path):
    draws.posterior["L"][0, 0, 0, 0] = np.nan
    write_netcdf(draws, tmp_path / "a.nc")
    assert np.isnan(read_draws(tmp_path / "a.nc").posterior["L"][0, 0, 0, 0])
    draws.posterior["mu"][1, 7] = np.nan
    write_netcdf(draws, tmp_path / "b.nc")
    with pytest.raises(DrawsError, match=r"1 of 100 values of mu in .*b\.nc are NaN or infinite"):
        read_draws(tmp_path / "b.nc")


@pytest.mark.parametrize("origin", [None, 1])
def test_indices_count_from_the_origin_of_arviz_which_need_not_load(origin, tmp_path):
    if origin is not None:
        (tmp_path / "arvizrc").write_text(f"data.index_origin : {origin}\n")
    code = (
        "import sys, numpy as np; from stanrovi.io.generations import dataset;"
        "data = dataset({'x': np.zeros((1, 2, 3))});"
        "print(int(data['x_dim_0'][0]), 'arviz' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert done.stdout.split() == [str(origin or 0), str(origin is not None)]


def test_import_is_light():
    code = (
        "import sys, stanrovi.io.arviz, stanrovi.diagnostics.statistics, stanrovi.plots.forest;"
        "print({'arviz', 'xarray', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("generation", [0, 1])
def test_files_of_both_generations_read_alike(generation):
    # Written by `write_netcdf` under ArviZ 0.23.4 and 1.3.0.
    back = read_draws(DATA / f"draws_arviz{generation}.nc")
    assert back.attrs["creation_library_version"].startswith(f"{generation}.")
    assert (back.method, back.parameters) == ("rovi", ("mu", "theta"))
    np.testing.assert_array_equal(back.posterior["theta"], np.arange(24.0).reshape(2, 4, 3))
    np.testing.assert_array_equal(back.posterior["L"], np.arange(32.0).reshape(2, 4, 2, 2))
    np.testing.assert_array_equal(back.unconstrained, back.posterior["theta"])
    assert back.sample_stats["diverging"].sum() == 4
    assert (back.attrs["seed"], back.attrs["khat"], back.attrs["engine"]) == (3, 0.25, "stanli")


def test_a_file_that_holds_axes_as_text_tells_its_fit():
    draws = read_draws(DATA / "fit_with_axes_as_text.nc")
    facts = draws.facts
    assert facts.verdict.name == "ok"
    assert len(facts.verdict.reasons) == 2
    np.testing.assert_allclose(
        [mode.position for mode in facts.modes], [[3, 3], [-3, -3]], atol=1e-3
    )
    np.testing.assert_allclose([mode.weight for mode in facts.modes], 0.5)
    np.testing.assert_allclose([mode.mass for mode in facts.modes], 0.5)
    assert not any(isinstance(mode, Mode) for mode in facts.modes)
    assert [point.stage for point in facts.trace][-1] == "check"
    assert facts.gradients_by_stage["scan"] == 688
    along = facts.frame.coordinates(draws.unconstrained)
    np.testing.assert_allclose(along.std(axis=(0, 1)), 1, atol=0.15)
    assert {"elbo", "khat", "status", "model"} <= draws.attrs.keys()
    assert not {"modes", "trace", "axes", "verdict", "warnings"} & draws.attrs.keys()


def test_facts_survive_a_file(tmp_path):
    for method in ("rovi", "mfvi", "mixture"):
        fit = stanrovi.fit("bimodal_gaussian", method=method, seed=1, draws=100)
        back = read_draws(write_netcdf(fit, tmp_path / f"{method}.nc"))
        facts, mine = back.facts, fit.draws.facts
        assert facts.verdict == mine.verdict
        assert facts.settings == mine.settings
        assert facts.trace == mine.trace
        assert facts.gradients_by_stage == mine.gradients_by_stage
        assert back.attrs.items() >= fit.draws.attrs.items()
        assert (facts.frame is None) == (method == "mixture")
        if facts.frame is not None:
            assert type(facts.frame.axes) is type(mine.frame.axes)
            np.testing.assert_array_equal(facts.frame.axes.matrix, mine.frame.axes.matrix)
        for mode, expected in zip(facts.modes, mine.modes, strict=True):
            np.testing.assert_array_equal(mode.position, expected.position)
            np.testing.assert_allclose(mode.covariance, expected.covariance)
            assert (mode.weight, mode.mass) == (expected.weight, expected.mass)


@pytest.mark.parametrize(
    "arrays",
    [
        {"axes_center": np.zeros(2), "axes": np.ones((2, 2))},  # no inverse
        {"axes_center": np.zeros(2), "axes": np.full((2, 2), np.nan)},
        {"axes_center": np.zeros(2), "axes_scale": np.array([1.0, -1.0])},
        {"axes_center": np.zeros(2), "axes_scale": np.ones(3)},
        {"axes_center": np.zeros((2, 2)), "axes": np.eye(2)},
        {"axes_center": np.array(["a", "b"]), "axes": np.eye(2)},
        {"mode_axes": np.eye(2)},
    ],
)
def test_a_foreign_group_called_fit_is_no_fact(draws, arrays):
    tree = as_tree(draws)
    foreign = {
        key: ([f"{key}_{i}" for i in range(value.ndim)], value) for key, value in arrays.items()
    }
    tree["fit"] = xr.DataTree(xr.Dataset(foreign))
    assert from_arviz(tree).facts is None


def read_with(draws, attrs, arrays=None):
    """Draws read from a container with these attributes, and these arrays in the group fit."""
    tree = as_tree(draws)
    tree.attrs.update(attrs)
    if arrays:
        foreign = {
            key: ([f"{key}_{i}" for i in range(np.ndim(value))], value)
            for key, value in arrays.items()
        }
        tree["fit"] = xr.DataTree(xr.Dataset(foreign))
    return from_arviz(tree)


@pytest.mark.parametrize(
    "modes",
    [
        [{"weight": 1, "log_density": 0, "position": 1.0}],
        [{"weight": 1, "log_density": 0, "position": [[1, 2, 3, 4]]}],
        [{"weight": 1, "log_density": 0, "position": p} for p in ([1, 2], [1])],
        [{"weight": None, "log_density": 0, "position": [1, 2]}],
        [{"weight": 1, "log_density": 0}],
        [[1, 2]],
        {},
        [],
        7,
    ],
)  # fmt: skip
def test_modes_that_are_none_are_left_where_they_are(draws, modes):
    back = read_with(draws, {"modes": json.dumps(modes)})
    assert back.facts is None
    assert back.attrs["modes"] == json.dumps(modes)


def test_a_mode_whose_mass_is_no_number_is_still_a_mode(draws):
    modes = [{"weight": 1, "log_density": 0, "mass": "much", "position": [1, 2, 3, 4]}]
    (mode,) = read_with(draws, {"modes": json.dumps(modes)}).facts.modes
    assert np.isnan(mode.mass)


@pytest.mark.parametrize(
    "widths", [np.zeros((1, 4, 4)), np.ones((1, 4, 4)), np.full((1, 4, 4), np.nan), np.eye(4)]
)
def test_widths_that_are_none_leave_peaks(draws, widths):
    modes = [{"weight": 1, "log_density": 0, "mass": 1, "position": [1, 2, 3, 4]}]
    back = read_with(draws, {"modes": json.dumps(modes)}, {"mode_axes": widths})
    (peak,) = back.facts.modes
    assert type(peak) is Peak


@pytest.mark.parametrize("n_gradients", [10**400, float("inf"), "x", None])
def test_a_trace_of_numbers_that_are_none_is_no_trace(draws, n_gradients):
    point = {"stage": "product", "n_gradients": n_gradients, "elbo": 0, "elbo_se": 1}
    assert read_with(draws, {"trace": json.dumps([point])}).facts is None


def test_axes_of_no_dimension_are_none(draws):
    arrays = {"axes_center": np.empty(0), "axes_scale": np.empty(0)}
    assert read_with(draws, {}, arrays).facts is None
    assert read_with(draws, {"axes": json.dumps({"center": [], "matrix": []})}).facts is None


def test_a_sampler_may_warn_without_becoming_a_fit(draws):
    theirs = {"warnings": "the sampler said x", "settings": "{}", "gradients_by_stage": "[1]"}
    back = read_with(draws, theirs)
    assert back.facts is None
    assert back.attrs.items() >= theirs.items()
    assert {key: as_tree(back).attrs[key] for key in theirs} == theirs


def test_older_axes_of_mean_field_are_known_as_diagonal(draws):
    text = json.dumps({"center": [0, 0, 0, 0], "matrix": np.diag([1.0, 2, 3, 4]).tolist()})
    assert isinstance(read_with(draws, {"axes": text}).facts.frame.axes, DiagonalAxes)


def test_roots_come_back_from_a_file_and_nonsense_does_not(tmp_path):
    draws = stanrovi.fit("neals_funnel", seed=1, draws=50).draws
    write_netcdf(draws, tmp_path / "f.nc")
    assert read_draws(tmp_path / "f.nc").facts.roots == draws.facts.roots
    (root,) = draws.facts.roots
    assert str(root).startswith("y rules the spread of x.")
    narrow = type(root)("a", {"b": 0.5})
    assert str(narrow) == "a rules the spread of b (2.0 times as narrow from -1 to +1 sd of a)"
    for nonsense in ('[{"name": "a", "ruled": {}}]', '[{"name": "a", "ruled": {"b": -1}}]', "3"):
        data = to_arviz(draws)
        data.attrs["roots"] = nonsense
        assert from_arviz(data).facts.roots == ()


def test_a_file_tells_errors_and_cures(tmp_path):
    fit = stanrovi.fit("neals_funnel", method="gaussian", seed=0, draws=200)
    facts = read_draws(write_netcdf(fit.draws, tmp_path / "f.nc")).facts
    assert facts.verdict == fit.verdict
    assert facts.verdict.cures[0]
    mine = fit.result.errors
    assert (facts.errors.names, facts.errors.source) == (mine.names, mine.source)
    np.testing.assert_allclose(facts.errors.error, mine.error)
    np.testing.assert_allclose(facts.errors.se, mine.se)
