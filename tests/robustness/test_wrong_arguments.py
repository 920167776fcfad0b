"""Wrong arguments of every public name: told by name, never a raw error, never taken in silence.

Each row of the table is a call that works, and for each of its arguments what is right among the
pool of strange values; all others must be refused by an error of stanrovi.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import stanrovi as sr
from stanrovi.benchmark.result import BenchResult
from stanrovi.densities import (
    FunctionDensity,
    normal,
    normal_mixture,
    skew_normal,
    student,
    two_normals,
)
from stanrovi.diagnostics.statistics import psis_khat
from stanrovi.errors import DataError, DensityError, DrawsError, StanroviError, UsageError
from stanrovi.families.mixture import Mixture
from stanrovi.runs.laplace import laplace_draws
from stanrovi.vi.methods.driver import fit_density

PROGRAM = """
data { real y; vector[2] z; }
parameters { real m; vector[2] v; }
model { m ~ std_normal(); v ~ std_normal(); y ~ normal(m, 1); z ~ normal(v, 1); }
"""
DATA = {"y": 0.0, "z": [0.0, 0.0]}


class Odd:
    """Something that no function expects."""


def raises(*arguments: object) -> Any:
    """Raise what no function expects."""
    raise RuntimeError("not to be had")


SPECIAL = (
    "array", "len", "iter", "getitem", "repr", "str", "eq", "bool", "int", "index", "float",
    "fspath",
)  # fmt: skip
Hostile = type(
    "Hostile", (), {f"__{name}__": raises for name in SPECIAL} | {"__hash__": object.__hash__}
)

HostileMapping = type(
    "HostileMapping",
    (Mapping,),
    {f"__{name}__": raises for name in ("getitem", "iter", "len", "repr")} | {"items": raises},
)

# Strange values by name; none of them is right unless a row says so.
POOL: dict[str, Any] = {
    "None": None,
    "object": Odd(),
    "text": "nowhere/x",
    "digits": "1",
    "bytes": b"1",
    "zero": 0,
    "minus": -1,
    "half": 1.5,
    "nan": float("nan"),
    "inf": float("inf"),
    "true": True,
    "list": [],
    "dict": {},
    "named": {"q": 1},
    "keys": {1: 2},
    "nones": [None],
    "huge": 10**30,
    "array": np.arange(4.0),
    "objects": np.array([None, "a"], dtype=object),
    "complex": 1j,
    "class": Odd,
    "set": {1},
    "hostile": Hostile(),
    "hostiles": [Hostile()],
    "texts": [["x"]],
    "mapping": HostileMapping(),
    "masked": np.ma.masked,
}
NONE, COUNT = {"None"}, {"zero"}


def log_normal(x: Any) -> Any:
    """Standard normal, up to its constant."""
    return -0.5 * (x**2).sum(axis=1), -x


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A model with runs of it."""
    folder = tmp_path_factory.mktemp("arguments")
    (folder / "s.stan").write_text(PROGRAM)
    model = sr.Model(folder / "s.stan", DATA)
    fit = sr.fit(model, method="gaussian", seed=1, draws=60)
    nuts = sr.nuts(model, engine="stanli", chains=2, iter_warmup=60, iter_sampling=60, seed=1)
    return {
        "folder": folder,
        "model": model,
        "fit": fit,
        "nuts": nuts,
        "comparison": sr.compare(fit, nuts),
        "task": [sr.Task(model, method="gaussian", seed=1, settings={"draws": 10})],
        "draws": fit.draws,
        "saved": fit.save(folder / "saved.nc"),
    }


Row = tuple[Callable[..., Any], dict[str, Any], dict[str, set[str]]]


def rows(t: dict[str, Any]) -> dict[str, Row]:
    """Calls that work, by name: function, arguments, and what else is right of the pool."""
    model, fit, nuts, draws, folder = (t[k] for k in ("model", "fit", "nuts", "draws", "folder"))
    x, density = np.zeros((1, 3)), FunctionDensity(log_normal, 2)
    family, new = fit.result.family, folder / "new"
    mixture = Mixture(np.ones(1), (family,))
    known = two_normals(1.0, 0.5, np.eye(2), np.ones(2))
    seed, flag = NONE | COUNT, {"true"}
    nothing = NONE | {"list", "dict"}
    data = NONE
    return {
        "Model": (
            sr.Model,
            {
                "program": folder / "s.stan", "data": DATA, "engine": "auto", "include_paths": (),
                "seed": 0, "isolate": False,
            },
            {"seed": seed, "isolate": flag, "include_paths": {"text", "digits", "list"}},
        ),
        "log_density_gradient": (lambda x: model.log_density_gradient(x), {"x": x}, {}),
        "constrain": (
            lambda x, seed, until: model.constrain(x, seed=seed, until=until),
            {"x": x, "seed": 1, "until": None},
            {"seed": COUNT | {"huge"}, "until": NONE | {"zero", "minus", "half", "huge"}},
        ),
        "constrain_parameters": (model.constrain_parameters, {"x": x}, {}),
        "unconstrain": (model.unconstrain, {"values": {"m": 0, "v": [0, 0]}}, {}),
        "unconstrain_draws": (
            model.unconstrain_draws,
            {"draws": {"m": np.zeros(3), "v": np.zeros((3, 2))}},
            {},
        ),
        "rebuild": (
            model.rebuild,
            {"seed": 1, "data": None},
            {"seed": seed, "data": {"None", "dict", "named", "keys"}},
        ),
        "threads": (model.threads, {"n": 3}, {"n": COUNT | {"huge"}}),
        "fit": (
            sr.fit,
            {
                "model": model, "data": None, "method": "gaussian", "seed": 1, "draws": 10,
                "marginals": "flexible", "preconditioner": "full", "updates": "joint",
                "max_gradients": 100, "max_seconds": None, "progress": None,
            },
            {
                "data": data, "seed": seed, "max_gradients": NONE | {"huge"},
                "max_seconds": NONE | {"half", "huge"}, "progress": NONE | flag | {"class"},
            },
        ),
        "nuts": (
            sr.nuts,
            {
                "model": model, "data": None, "engine": "stanli", "chains": 1, "iter_warmup": 5,
                "iter_sampling": 5, "seed": 1, "init": None, "adapt_delta": 0.8,
                "max_treedepth": 3, "exe": None,
            },
            {
                "data": data, "iter_warmup": COUNT | NONE, "seed": seed, "init": NONE, "exe": NONE,
            },
        ),
        "sample": (
            sr.sample,
            {
                "model": "nowhere.stan", "data": None, "chains": 2, "ess": 5, "seed": 1,
                "init": fit, "wide_leg": False, "max_gradients": 10, "max_seconds": None,
            },
            {},  # the model is not there: nothing is right
        ),
        "find_modes": (sr.find_modes, {"model": model, "seed": 1}, {"seed": seed}),
        "relabel": (sr.relabel, {"run": fit, "model": model}, {}),
        "compare": (
            sr.compare,
            {"fits": fit, "reference": nuts, "model": None, "seed": 0},
            {"model": NONE | {"text", "digits"}, "seed": seed},
        ),
        "write_report": (
            sr.write_report,
            {
                "comparison": t["comparison"], "path": new, "plots": [], "commands": None,
                "files": None, "program": None, "overwrite": True,
            },
            {
                "path": {"digits"}, "plots": NONE | {"list"}, "commands": NONE | {"list"},
                "files": NONE | {"dict", "named"}, "program": NONE | {"text", "digits"},
                "overwrite": flag,
            },
        ),
        "to_arviz": (
            sr.to_arviz,
            {
                "draws": draws, "observed_data": None, "log_likelihood": None,
                "posterior_predictive": None, "coords": None, "dims": None,
            },
            {
                "observed_data": nothing | {"named"}, "log_likelihood": nothing,
                "posterior_predictive": nothing, "coords": NONE | {"dict"}, "dims": NONE | {"dict"},
            },
        ),
        "from_arviz": (
            sr.from_arviz,
            {"data": sr.to_arviz(draws), "method": None, "source": "it"},
            {"method": NONE | {"text", "digits"}, "source": NONE | {"text", "digits"}},
        ),
        "write_netcdf": (
            sr.write_netcdf,
            {"draws": draws, "path": new, "overwrite": True},
            {"path": {"digits"}, "overwrite": flag},
        ),
        "read_draws": (sr.read_draws, {"path": "nowhere.nc"}, {}),
        "load_fit": (sr.load_fit, {"path": t["saved"], "isolate": False}, {"isolate": flag}),
        "nuts_from_csv": (sr.nuts_from_csv, {"paths": "nowhere.csv", "model": model}, {}),
        "run_many": (
            lambda **k: list(sr.run_many(**k)),
            {
                "tasks": t["task"], "function": sr.fit, "jobs": 0, "dask": None, "ledger": None,
                "time_limit": None, "seed": 1, "progress": None,
            },
            {
                "tasks": {"list"}, "function": {"class"}, "jobs": COUNT | NONE, "dask": NONE,
                "ledger": NONE | {"digits"}, "time_limit": NONE, "seed": seed,
                "progress": NONE | flag | {"class"},
            },
        ),
        "Task": (
            lambda **k: sr.Task(**k),
            {"model": model, "method": None, "settings": {}, "include_paths": ()},
            {
                "model": set(POOL), "method": NONE | {"text", "digits"},
                "settings": NONE | {"dict", "named"},
                "include_paths": {"text", "digits", "list"},
            },
        ),
        "bench": (
            sr.bench,
            {
                "posteriors": ["nowhere"], "methods": ["gaussian"], "seeds": [1], "draws": 50,
                "reference": None, "output": None, "resume": False, "overwrite": False, "jobs": 0,
            },
            {},  # the posterior is not there: nothing is right
        ),
        "sbc": (
            sr.sbc,
            {
                "model": "nowhere.stan", "data": None, "method": "gaussian", "simulations": 10,
                "draws": 5, "level": 0.01, "seed": 1, "simulate": None, "jobs": 0,
            },
            {},
        ),
        "fit_density": (
            lambda density, method, **k: fit_density(density, method, **k),
            {
                "density": density, "method": "gaussian", "seed": 1, "n_draws": 10,
                "settings": None, "max_gradients": 100, "max_seconds": None, "pareto_k": psis_khat,
                "names": None, "scalars": None, "known": None, "probe": False,
            },
            {
                "seed": seed, "settings": NONE, "max_gradients": NONE | {"huge"},
                "max_seconds": NONE | {"half", "huge"}, "names": NONE, "scalars": NONE,
                "known": NONE, "probe": flag, "pareto_k": {"class"},
            },
        ),
        "FunctionDensity": (
            FunctionDensity,
            {"function": log_normal, "dim": 2},
            {"function": {"class"}, "dim": {"huge"}},
        ),
        "normal": (normal, {"mean": np.zeros(2), "factor": np.eye(2)}, {}),
        "student": (
            student,
            {"mean": np.zeros(2), "df": 3},
            {"mean": {"array"}, "df": {"half", "huge"}},
        ),
        "skew_normal": (
            skew_normal,
            {"mean": np.zeros(2), "slant": 3},
            {"mean": {"array"}, "slant": {"zero", "minus", "half", "huge"}},
        ),
        "normal_mixture": (
            normal_mixture,
            {"weights": [0.5, 0.5], "means": [np.zeros(2)] * 2, "covariances": [np.eye(2)] * 2},
            {},
        ),
        "two_normals": (
            two_normals,
            {"separation": 1.0, "weight": 0.5, "factor": np.eye(2), "direction": np.ones(2)},
            {"separation": {"zero", "half", "huge"}},
        ),
        "Fit.sample": (fit.sample, {"n": 5, "seed": 1}, {"seed": seed}),
        "Fit.log_density": (fit.log_density, {"x": np.zeros(3)}, {}),
        "Fit.resample": (fit.resample, {"draws": 10, "seed": 1}, {"draws": NONE, "seed": seed}),
        "Fit.loo": (fit.loo, {"var_name": "m"}, {}),
        "Fit.inits": (fit.inits, {"chains": 2, "seed": 1}, {"seed": seed}),
        "Fit.summary": (fit.summary, {"vars": None}, {"vars": NONE | {"list"}}),
        "Fit.draws_pd": (fit.draws_pd, {"vars": None}, {"vars": NONE | {"list"}}),
        "Fit.stan_variable": (fit.stan_variable, {"name": "m"}, {}),
        "Fit.save": (
            fit.save,
            {"path": new, "overwrite": True},
            {"path": {"digits"}, "overwrite": flag},
        ),
        "Fit.draws_xr": (fit.draws_xr, {"vars": None}, {"vars": NONE | {"list"}}),
        "Fit.save_csv": (
            fit.save_csv,
            {"folder": folder / "csv", "overwrite": True},
            {"folder": {"text", "digits"}, "overwrite": flag},
        ),
        "Fit.write_warm_start": (
            fit.write_warm_start,
            {"folder": folder / "warm", "chains": 2, "seed": 1, "overwrite": True},
            {"folder": {"text", "digits"}, "seed": seed, "overwrite": flag},
        ),
        "NutsRun.summary": (nuts.summary, {"vars": None}, {"vars": NONE | {"list"}}),
        "NutsRun.loo": (nuts.loo, {"var_name": "m"}, {}),
        "Draws.scalars": (
            draws.scalars,
            {"names": ("m",), "order": "C"},
            {"names": NONE | {"list"}},
        ),
        "Draws.variables": (draws.variables, {"names": "m"}, {"names": NONE | {"list"}}),
        "Draws.number": (draws.number, {"key": "elbo"}, {"key": NONE | {"text", "digits"}}),
        "Comparison.worst_parameters": (
            t["comparison"].worst_parameters,
            {"count": 2},
            {"count": NONE | COUNT | {"huge"}},
        ),
        "Comparison.to_html": (
            t["comparison"].to_html,
            {"path": new, "overwrite": True},
            {"path": {"digits"}, "overwrite": flag},
        ),
        "ModeTable.columns": (
            t["comparison"].modes.columns,
            {"reference": "nuts"},
            {"reference": NONE | {"text", "digits"}},
        ),
        "BenchResult.write": (
            BenchResult(()).write,
            {"folder": folder / "bench", "overwrite": True},
            {"folder": {"text", "digits"}, "overwrite": flag},
        ),
        "Family.log_density": (family.log_density, {"x": x}, {}),
        "Family.log_density_gradient": (family.log_density_gradient, {"x": x}, {}),
        "Family.sample": (family.sample, {"n": 5, "rng": np.random.default_rng(1)}, {"n": COUNT}),
        "Mixture.log_density": (mixture.log_density, {"x": x}, {}),
        "Mixture.log_density_gradient": (mixture.log_density_gradient, {"x": x}, {}),
        "Mixture.sample": (mixture.sample, {"n": 5, "rng": np.random.default_rng(1)}, {"n": COUNT}),
        "MixtureDensity.log_density_gradient": (
            lambda x: known.log_density_gradient(x),
            {"x": np.zeros((1, 2))},
            {},
        ),
        "MixtureDensity.masses": (known.masses, {"x": np.zeros((1, 2))}, {}),
        "Model.seconds_per_draw": (
            model.seconds_per_draw,
            {"until": 0.0},
            {"until": {"zero", "minus", "half", "huge"}},
        ),
        "Draws": (
            sr.Draws,
            {
                "method": "m", "posterior": {"x": np.zeros((1, 5))}, "parameters": ("x",),
                "sample_stats": {}, "attrs": {}, "unconstrained": None, "facts": None, "data": {},
            },
            {
                "method": {"text", "digits"}, "parameters": {"list"}, "sample_stats": {"dict"},
                "attrs": {"dict", "named"}, "unconstrained": NONE, "facts": NONE,
                "data": {"dict", "named"},
            },
        ),
    }  # fmt: skip


NAMES = (
    "Model", "log_density_gradient", "constrain", "constrain_parameters", "unconstrain",
    "unconstrain_draws", "rebuild", "threads", "fit", "nuts", "sample", "find_modes", "relabel",
    "compare", "write_report", "to_arviz", "from_arviz", "write_netcdf", "read_draws", "load_fit",
    "nuts_from_csv", "run_many", "Task", "bench", "sbc", "fit_density", "FunctionDensity", "normal",
    "student", "skew_normal", "normal_mixture", "two_normals", "Fit.sample", "Fit.log_density",
    "Fit.resample", "Fit.loo", "Fit.inits", "Fit.summary", "Fit.draws_pd", "Fit.stan_variable",
    "Fit.save", "Fit.draws_xr", "Fit.save_csv", "Fit.write_warm_start", "NutsRun.summary",
    "NutsRun.loo", "Draws.scalars", "Draws.variables", "Draws.number",
    "Comparison.worst_parameters", "Comparison.to_html", "ModeTable.columns", "BenchResult.write",
    "MixtureDensity.log_density_gradient", "MixtureDensity.masses", "Model.seconds_per_draw",
    "Family.log_density", "Family.log_density_gradient", "Family.sample",
    "Mixture.log_density", "Mixture.log_density_gradient", "Mixture.sample", "Draws",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_every_argument_is_right_or_told(
    name: str, things: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a text is a path, too
    table = rows(things)
    assert set(table) == set(NAMES)
    function, good, right = table[name]
    bad: list[str] = []
    for argument in good:
        for label, value in POOL.items():
            if label in right.get(argument, ()):
                continue
            try:
                function(**{**good, argument: value})
            except StanroviError as error:
                if len(str(error)) < 15:
                    bad.append(f"{argument}={label}: says too little: {error}")
            except Exception as error:
                bad.append(f"{argument}={label}: {type(error).__name__}: {error}")
            else:
                bad.append(f"{argument}={label}: taken in silence")
    assert not bad, "\n".join(bad)


SOUND = {"x": np.zeros((1, 5))}
HOLDS_ITSELF: list[Any] = []
HOLDS_ITSELF.append(HOLDS_ITSELF)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"posterior": {}}, "no variable"),
        ({"posterior": {"x": np.zeros(5)}}, r"shape \(chain, draw, ...\), not \(5,\)"),
        ({"posterior": {"x": np.zeros((0, 5))}}, "no draws of x: 0 chains of 5"),
        ({"posterior": {"x": np.zeros((1, 0))}}, "no draws of x: 1 chains of 0"),
        ({"posterior": SOUND | {"y": np.zeros((2, 5))}}, "y has 2 chains .* x 1 of 5"),
        ({"posterior": {"x": np.zeros((1, 5), complex)}}, "real numbers, not complex"),
        ({"posterior": {"x": [[1.0, 2.0]]}}, "must be an array"),
        ({"posterior": {"x": HOLDS_ITSELF}}, "not a list"),
        ({"posterior": {"x": np.ma.array(np.zeros((1, 2)), mask=[[0, 1]])}}, "draws of x are mask"),
        ({"posterior": {"x": xr.DataArray(np.zeros((1, 5)))}}, "not a DataArray .numpy.asarray"),
        ({"posterior": {1: np.zeros((1, 5))}}, "posterior names 1"),
        ({"parameters": "x"}, "names of variables"),
        ({"parameters": ("z",)}, "none of the variables"),
        ({"parameters": ("x", "x")}, "named twice"),
        ({"attrs": {"a": [1, 2]}}, "attribute a must be a text or a number"),
        ({"attrs": {"a": None}}, "attribute a"),
        ({"attrs": {"a": 10**30}}, "attribute a"),
        ({"sample_stats": {"lp": np.zeros((1, 4))}}, "lp has 1 chains of 4"),
        ({"sample_stats": {"lp": np.zeros(5)}}, "lp must have shape"),
        ({"unconstrained": np.zeros((1, 5))}, "unconstrained must have shape"),
    ],
)
def test_draws_that_are_none(changed: dict[str, Any], message: str) -> None:
    sound = {"method": "m", "posterior": SOUND, "parameters": ("x",)}
    with pytest.raises(DrawsError, match=message):
        sr.Draws(**(sound | changed))


def test_draws_are_equal_to_themselves_alone() -> None:
    draws = sr.Draws("m", SOUND, ("x",))
    assert draws == draws
    assert draws != copy.deepcopy(draws)
    assert len({draws, draws}) == 1


def test_runs_are_equal_to_themselves_alone(things: dict[str, Any]) -> None:
    fit, nuts, comparison = things["fit"], things["nuts"], things["comparison"]
    calibrated = sr.sbc("sbc_regression", method="gaussian", simulations=10, draws=5, jobs=0)
    sampled = sr.sample(things["model"], chains=2, ess=5, seed=1, init=fit)
    for run in (
        fit, fit.result, fit.result.family, fit.result.errors, fit.modes[0], fit.draws.facts, nuts,
        comparison, *comparison.methods.values(), comparison.modes, calibrated,
        *calibrated.parameters.values(), sr.find_modes(things["model"], seed=1),
        two_normals(1.0, 0.5, np.eye(2), np.ones(2)),
        Mixture(np.ones(1), (fit.result.family,)), sampled, sampled.result,
    ):  # fmt: skip
        assert run == run
        assert run != copy.deepcopy(run)
        assert len({run, run}) == 1


def test_comparisons_of_nothing_and_under_names_that_are_no_texts(things: dict[str, Any]) -> None:
    empty = sr.Draws("m", {"x": np.zeros((1, 5, 0))}, ("x",))
    with pytest.raises(DrawsError, match="x have no elements"):
        sr.compare({"a": empty}, empty)
    with pytest.raises(UsageError, match="Fits are named by texts"):
        sr.compare({"\ud800": things["fit"]}, things["nuts"])


def test_draws_of_none_are_unconstrained_to_none(things: dict[str, Any]) -> None:
    none = {"m": np.zeros(0), "v": np.zeros((0, 2))}
    assert things["model"].unconstrain_draws(none).shape == (0, 3)


def test_what_is_masked_is_no_number(things: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="not an array of numbers"):
        things["model"].unconstrain({"m": np.ma.masked, "v": [0, 0]})


@pytest.mark.parametrize(
    "value", [pd.NA, pd.Timestamp("2020-01-01"), HOLDS_ITSELF, Hostile(), range(2), {1, 2}]
)
def test_data_that_no_json_holds(things: dict[str, Any], value: Any) -> None:
    with pytest.raises(DataError, match=r"y .* Stan data: .*Give numbers, lists") as told:
        sr.Model(things["folder"] / "s.stan", DATA | {"y": value})
    assert "recursion" not in str(told.value)


def test_seeds_without_end_are_no_list() -> None:
    with pytest.raises(UsageError, match=r"seeds must be a list, and range.*MemoryError"):
        sr.bench(["eight_schools"], seeds=range(10**15))


@pytest.mark.parametrize("name", ["a/b", "chain", "..", "a\0b", "\ud800"])
def test_names_that_no_file_can_hold(tmp_path: Path, name: str) -> None:
    draws = sr.Draws("m", {name: np.zeros((1, 5))}, (name,))
    for write in (sr.to_arviz, lambda d: sr.write_netcdf(d, tmp_path / "x.nc")):
        with pytest.raises(UsageError, match="can be no name"):
            write(draws)
    assert not list(tmp_path.iterdir())


def ruined(x: Any) -> Any:
    """Write over the points."""
    value, gradient = log_normal(x.copy())
    x[:] = 99
    return value, gradient


BUFFER = np.empty((100_000, 2))


@pytest.mark.parametrize(
    "function",
    [
        ruined,
        lambda x: [part.tolist() for part in log_normal(x)],
        lambda x: (log_normal(x)[0] + 0 * np.max(x), -x),  # of no points there is no maximum
        lambda x: (log_normal(x)[0], np.negative(x, out=BUFFER[: len(x)])),  # one array again
    ],
)
def test_densities_with_odd_manners_are_evaluated_well(function: Callable[..., Any]) -> None:
    found = fit_density(
        FunctionDensity(function, 2), "rovi", seed=1, n_draws=50, pareto_k=psis_khat
    )
    np.testing.assert_allclose(found.elbo, np.log(2 * np.pi), atol=1e-6)


class SpeechlessError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("nothing")


def throw(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: None, "return two arrays.*not None"),
        (lambda x: (0.0, -x), r"values have shape \(\)"),
        (lambda x: (log_normal(x)[0][:, None], -x), "values have shape"),
        (lambda x: (log_normal(x)[0], -x.T), "gradients have shape"),
        (lambda x: (log_normal(x)[0][1:], -x), "values have shape"),
        (lambda x: tuple(part.astype(complex) for part in log_normal(x)), "must be real numbers"),
        (lambda x: tuple(part.astype(object) for part in log_normal(x)), "must be real numbers"),
        (lambda x: ("a", "b"), "must be real numbers, not 'a'"),
        (lambda x: 1 / 0, "raised ZeroDivisionError"),
        (lambda x: throw(ValueError("z" * 100_000)), r"ValueError: z{500} \.\.\. \(99,500 more"),
        (lambda x: throw(ValueError("\x1b[31mred")), r"ValueError: \\x1b\[31mred"),
        (lambda x: throw(SpeechlessError()), "no words, as those raised RuntimeError"),
    ],
)
def test_densities_that_are_none(function: Callable[..., Any], message: str) -> None:
    density = FunctionDensity(function, 2)
    with pytest.raises(DensityError, match=message):
        fit_density(density, "gaussian", seed=1, n_draws=50, pareto_k=psis_khat)


class Changed(sr.Model):
    """Whose density is another's."""

    function: Any = None

    def log_density_gradient(self, x: Any) -> Any:
        return self.function(x)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: {}["not there"], "raised KeyError: 'not there'"),
        (lambda x: (log_normal(x)[0], -x[:, :1]), "gradients have shape"),
        (lambda x: None, "return two arrays"),
    ],
)
@pytest.mark.parametrize(
    "use", [sr.fit, sr.find_modes, sr.sample, lambda model, seed: laplace_draws(model, seed=seed)]
)
def test_models_whose_density_is_none(
    things: dict[str, Any], function: Callable[..., Any], message: str, use: Callable[..., Any]
) -> None:
    model = type("Broken", (Changed,), {"function": staticmethod(function)})(
        things["folder"] / "s.stan", DATA
    )
    with pytest.raises(DensityError, match=message):
        use(model, seed=1)


class Dimensionless:
    """Whose dimension cannot be told."""

    @property
    def dim(self) -> int:
        return 1 // 0

    def log_density_gradient(self, x: Any, /) -> Any:
        return log_normal(x)


@pytest.mark.parametrize(
    ("density", "message"),
    [
        (Dimensionless(), "The density's dim raised ZeroDivisionError"),
        (FunctionDensity(log_normal, 10**12), r"1,000,000,000,000 dimensions take .* GiB"),
    ],
)
def test_densities_of_dimensions_that_cannot_be(density: Any, message: str) -> None:
    began = time.perf_counter()
    with pytest.raises(StanroviError, match=message):
        fit_density(density, "gaussian", seed=1, pareto_k=psis_khat)
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize("shape_of_tail", [lambda ratio: "heavy", lambda ratio: ratio[0, 0]])
def test_a_tail_that_cannot_be_told(shape_of_tail: Any) -> None:
    density = FunctionDensity(log_normal, 2)
    with pytest.raises(StanroviError, match="pareto_k raised"):
        fit_density(density, "gaussian", seed=1, pareto_k=shape_of_tail)


@pytest.mark.parametrize("shape", [(3,), (1, 2), (1, 4), (2, 2, 3), (0,)])
def test_points_of_another_width_reach_no_compiled_code(
    things: dict[str, Any], shape: tuple[int, ...]
) -> None:
    model, x = things["model"], np.zeros(shape)
    for ask in (
        model.log_density_gradient,
        model.constrain_parameters,
        lambda x: model.constrain(x, seed=1),
        model.scalars.of,
    ):
        with pytest.raises(UsageError, match=r"shape \(n, 3\)"):
            ask(x)
    with pytest.raises(DataError, match="draws of v have shape"):
        model.unconstrain_draws({"m": np.zeros(1), "v": np.zeros((1, 1))})
    with pytest.raises(DataError, match="as many draws"):
        model.unconstrain_draws({"m": np.zeros(1), "v": np.zeros((2, 2))})


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "two mappings"),
        (({"m": 1.0}, None), "not None"),
        (({"m": np.nan}, {"y": 1.0}), "nan as the true value of m"),
        (({"m": "1"}, {"y": 1.0}), "true value of m"),
        (({"m": [1.0]}, {"y": 1.0}), "the shape"),
        (({"q": 1.0}, {"y": 1.0}), "it gave q"),
        (({1: 1.0}, {"y": 1.0}), "mapping of parameters"),
        (({"m": 1.0}, {"q": 1.0}), "data q, which s does not declare"),
        (({"y": 1.0}, {"m": 1.0}), "data m"),
    ],
)
def test_simulators_that_are_none(things: dict[str, Any], returned: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        sr.sbc(
            things["model"], method="gaussian", simulations=10, draws=5, seed=1,
            simulate=lambda rng: returned,
        )  # fmt: skip


def test_simulators_that_change_their_mind(things: dict[str, Any]) -> None:
    def simulate(rng: np.random.Generator) -> Any:
        return ({"m": 1.0} if rng.random() < 0.5 else {"v": [1.0, 2.0]}), {"y": 1.0}

    with pytest.raises(UsageError, match="other parameters in some"):
        sr.sbc(
            things["model"], method="gaussian", simulations=10, draws=5, seed=1, simulate=simulate
        )
