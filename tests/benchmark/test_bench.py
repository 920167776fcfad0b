"""Benchmarks: rows, references, ledgers, tables and plots."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from posterior_databases import fabricated_posteriordb

import stanrovi as sr
from stanrovi.benchmark import bench as running
from stanrovi.benchmark.accuracy import digest, ruler
from stanrovi.benchmark.plots import bench_plots
from stanrovi.benchmark.posteriors import posteriors_of
from stanrovi.benchmark.result import BenchResult
from stanrovi.benchmark.rows import BenchRow, summarise
from stanrovi.benchmark.sweep import WithReference, reference_path
from stanrovi.draws import Draws
from stanrovi.errors import DrawsError, ModelError, OutputError, SamplerError, UsageError
from stanrovi.io.ledger import n_done
from stanrovi.io.netcdf import read_draws
from stanrovi.io.posteriordb import PosteriorDatabase
from stanrovi.methods import BENCH_METHODS, METHODS, OTHER_SUMMARIES, BenchMethod, OtherMethod
from stanrovi.runs.fit import fit

NORMAL = "parameters { vector[2] x; } model { x ~ std_normal(); }"
NO_COST = {"seconds": None, "cpu_seconds": None}


@pytest.fixture(scope="module")
def database(tmp_path_factory) -> PosteriorDatabase:
    return PosteriorDatabase(fabricated_posteriordb(tmp_path_factory.mktemp("db")))


@dataclass(frozen=True)
class Known:
    """A posterior whose reference is at hand."""

    draws: Draws | None
    name: str = "known"

    def __hash__(self) -> int:
        return id(self.draws)

    def program(self) -> str:
        return "kidscore"

    def data(self) -> None:
        return None

    def reference(self) -> Draws | None:
        return self.draws


def test_there_is_one_list_of_methods():
    assert get_args(BenchMethod) == (*METHODS, *get_args(OtherMethod)) == BENCH_METHODS
    assert tuple(OTHER_SUMMARIES) == get_args(OtherMethod)
    assert tuple(running._RUNNERS) == get_args(OtherMethod)


def test_every_combination_has_a_row_in_order_wherever_it_runs():
    asked = (["bimodal_gaussian", "kidscore"], ["mfvi", "rovi"], [0, 1])
    here = sr.bench(*asked, draws=100, jobs=0).rows
    assert [(row.model, row.method, row.seed) for row in here] == [
        (model, method, seed) for model in asked[0] for method in asked[1] for seed in asked[2]
    ]
    expected = fit("bimodal_gaussian", method="rovi", seed=1, draws=100).result
    assert (here[3].elbo, here[3].n_gradients) == (expected.elbo, expected.n_gradients)
    assert {(row.error, row.outcome, row.reference) for row in here} == {(None, "done", None)}
    assert all(row.cpu_seconds > 0 for row in here)
    there = sr.bench(*asked, draws=100, jobs=2).rows
    assert [replace(row, **NO_COST) for row in there] == [replace(row, **NO_COST) for row in here]


def test_a_word_stands_for_a_list_of_it():
    (row,) = sr.bench("kidscore", "gaussian", jobs=0, draws=50).rows
    assert (row.model, row.method, row.error) == ("kidscore", "gaussian", None)


def test_a_failure_is_a_row(write):
    wrong = write("wrong.stan", "parameters { real x; } model { y ~ normal(0, 1); }")
    never = write("never.stan", 'parameters { real x; } model { reject("never"); }')
    rows = sr.bench([wrong, never, "bimodal_gaussian"], ["mfvi"], jobs=0).rows
    assert [row.outcome for row in rows] == ["error", "error", "done"]
    assert (rows[0].model, rows[0].dim, rows[0].engine) == ("wrong", None, None)
    assert (rows[1].model, rows[1].dim, rows[1].engine) == ("never", 1, "stanli")
    assert "y" in rows[0].error
    assert "never" in rows[1].error


@pytest.mark.slow
def test_a_worker_that_ends_and_one_that_takes_too_long_are_rows(write):
    loops = write("loops.stan", "parameters { real x; } model { while (1 > 0) target += x; }")
    rows = sr.bench([loops, "bimodal_gaussian"], ["mfvi"], jobs=1, time_limit=8, draws=50).rows
    assert [row.outcome for row in rows] == ["time", "done"]
    assert "8 s" in rows[0].error


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"methods": ["rovy"]}, "Did you mean 'rovi'"),
        ({"seeds": [-1]}, "seed"),
        ({"draws": 1}, "draws"),
        ({"seeds": 3}, r"seeds must be a list, not 3; write \[3\]"),
        ({"seeds": []}, "no seeds; give at least one"),
        ({"methods": ()}, "no methods; give at least one"),
        ({"posteriors": []}, "no posteriors; give at least one"),
        ({"posteriors": [("a.stan", "b.json", 1)]}, r"give pairs of a model and its data"),
        ({"posteriors": [3]}, "3 is no posterior; give a model"),
        ({"posteriors": ("kidscore", {"N": 1})}, "'N': 1} is no posterior; give a model"),
        ({"reference": "hmc"}, "reference"),
        ({"resume": True}, "name it"),
        ({"resume": True, "overwrite": True, "output": "out"}, "one of them"),
    ],
)
def test_impossible_options_are_refused(settings, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=message):
        sr.bench(**({"posteriors": ["kidscore"]} | settings))
    assert not any(tmp_path.iterdir())


def test_posteriors_have_names_of_their_own(write, tmp_path):
    (tmp_path / "b").mkdir()
    one, other = write("m.stan", NORMAL), write("b/m.stan", NORMAL)
    data = [write(name, "{}") for name in ("d.data.json", "e.json")]
    names = [p.name for p in posteriors_of([f"{one}:{data[0]}", (one, data[1]), "kidscore"])]
    assert names == ["m-d", "m-e", "kidscore"]
    assert [p.name for p in posteriors_of([one, other])] == [str(tmp_path / "m"), str(other)[:-5]]
    assert posteriors_of([f"{one}:{data[0]}"])[0].data() == data[0]
    assert posteriors_of([sr.Model("kidscore")])[0].name == "kidscore"
    twice = [one, "kidscore", str(one), "kidscore"]
    assert [p.name for p in posteriors_of(twice)] == ["m", "kidscore"]
    with pytest.raises(UsageError, match="2 posteriors are called kidscore"):
        posteriors_of([sr.Model("kidscore"), "kidscore"])
    with pytest.raises(UsageError, match=r"gone.json, given as the data of"):
        posteriors_of([f"{one}:gone.json"])


def test_a_folder_of_posteriordb_with_every_oddity(database):
    rows = {row.model: row for row in sr.bench(database.select(), ["gaussian"], jobs=0).rows}
    assert {name for name, row in rows.items() if row.error is None} == {
        "center-center", "center-center_alone", "line-line",
    }  # fmt: skip
    assert "gone.json" in rows["gone-line"].error
    assert "broken.json" in rows["broken"].error
    assert "unfinished" in rows["line-unfinished"].error
    line, alone = rows["line-line"], rows["center-center_alone"]
    assert line.reference == "posteriordb, 4 x 500 draws"
    assert line.right
    assert line.w1_max < 0.1
    assert line.w1_worst in ("alpha", "beta")
    assert (alone.reference, alone.w1_max, alone.right) == (None, None, None)


def test_accuracy_is_in_sds_of_the_reference_and_leaves_out_constants_and_copies():
    rng = np.random.default_rng(1)
    x = rng.normal(3, 2, (4, 1000, 2))
    matrix = np.ones((4, 1000, 2, 2))
    matrix[..., 0, 1] = matrix[..., 1, 0] = rng.uniform(-1, 1, (4, 1000))
    reference = Draws("nuts", {"x": x, "R": matrix, "z": x[..., 0]}, ("x", "R", "z"))
    shifted = x.copy()
    shifted[..., 1] = 3 + 3 * (shifted[..., 1] - 3) + 1
    run = Draws("rovi", {"x": shifted, "R": matrix, "z": x[..., 0]}, ("x",))
    made = ruler(Known(reference), digest(Known(reference)), run)
    assert made.yardstick.names == ("x[1]", "x[2]", "R[1,2]")
    found = made.accuracy(run)
    assert found.w1_worst == "x[2]"
    assert found.w1_max > 0.5
    assert found.w1_floor < 0.2
    assert found.mean_error_max == pytest.approx(0.5, abs=0.05)
    assert found.sd_ratio == pytest.approx(3)
    assert not found.right
    assert made.accuracy(reference).right
    nan = Draws("rovi", {"x": x * np.nan, "R": matrix, "z": x[..., 0]}, ("x",))
    with pytest.raises(DrawsError, match="NaN"):
        made.accuracy(nan)


def test_a_reference_that_knows_nothing_of_the_program_is_told_and_grades_nothing():
    rng = np.random.default_rng(1)
    foreign = Draws("nuts", {"theta": rng.normal(size=(4, 500))}, ("theta",))
    apart = rng.normal(size=(4, 500, 4)) + np.arange(4)[:, None, None]
    stuck = Draws("nuts", {"beta": apart}, ("beta",))
    rows = sr.bench([Known(foreign), Known(stuck, "stuck")], ["gaussian"], jobs=0, draws=50).rows
    assert [row.error for row in rows] == [None, None]
    assert "has theta, and the program none of them" in rows[0].reference
    assert "not trusted: The chains disagree" in rows[1].reference
    assert {(row.w1_max, row.right) for row in rows} == {(None, None)}


@pytest.mark.slow
def test_references_are_made_where_none_are_and_kept(database, tmp_path):
    asked = database.select(["center-center_alone", "line-line"])
    settings = {"reference": "nuts", "output": tmp_path / "out", "jobs": 0, "draws": 500}
    rows = sr.bench(asked, ["gaussian"], **settings).rows
    assert [row.reference for row in rows] == ["nuts, 4 x 4000 draws", "posteriordb, 4 x 500 draws"]
    assert all(row.right for row in rows)
    (path,) = (tmp_path / "out" / "references").iterdir()
    assert path.name == "center-center_alone.nc"
    when = path.stat().st_mtime_ns
    more = sr.bench(asked, ["gaussian"], [0, 1], resume=True, **settings).rows
    assert (more[0], more[2]) == rows
    assert path.stat().st_mtime_ns == when
    settings["reference"] = "sample"
    other = sr.bench(asked[:1], ["gaussian"], resume=True, **settings).rows
    assert other[0].reference.startswith("sample, ")
    assert other[0].right


@dataclass(frozen=True)
class InFile(Known):
    """A posterior whose reference is a file that may change."""

    draws: Draws | None = None
    path: Path = Path()

    def __hash__(self) -> int:
        return hash(self.path)

    def reference(self) -> Draws | None:
        return read_draws(self.path) if self.path.exists() else None


@pytest.mark.slow
def test_a_reference_that_was_replaced_measures_anew(tmp_path):
    path, output = tmp_path / "r.nc", tmp_path / "out"
    sr.write_netcdf(sr.nuts("kidscore", seed=1, iter_sampling=2000).draws, path)
    asked = ([InFile(name="kid", path=path)], ["gaussian"])
    settings = {"output": output, "jobs": 0, "draws": 500}
    path.rename(tmp_path / "later.nc")
    (none,) = sr.bench(*asked, **settings).rows
    (tmp_path / "later.nc").rename(path)
    (right,) = sr.bench(*asked, resume=True, **settings).rows
    assert (none.reference, right.reference) == (None, "nuts, 4 x 2000 draws")
    assert right.right
    draws = read_draws(path)
    moved = {name: values + 1000 for name, values in draws.posterior.items()}
    sr.write_netcdf(replace(draws, posterior=moved), path, overwrite=True)
    (wrong,) = sr.bench(*asked, resume=True, **settings).rows
    assert not wrong.right


def test_references_of_names_that_are_no_files_are_apart(tmp_path):
    names = ("x/a", "x_a", "x a")
    assert len({reference_path(tmp_path, name) for name in names}) == 3
    assert reference_path(tmp_path, "x_a").name == "x_a.nc"
    path = tmp_path / "x_a.nc"
    sr.write_netcdf(sr.nuts("bimodal_gaussian", seed=1, iter_sampling=50).draws, path)
    given = posteriors_of(["kidscore"])[0]
    made = WithReference(given, path, tuple(sr.Model("kidscore").hashes.items()))
    with pytest.raises(DrawsError, match="draws of another program"):
        made.reference()


def test_a_damaged_reference_and_all_when_begun_anew_are_made_again(tmp_path):
    settings = {"reference": "nuts", "output": tmp_path, "jobs": 0, "draws": 500}
    (first,) = sr.bench(["bimodal_gaussian"], ["rovi"], **settings).rows
    path = tmp_path / "references" / "bimodal_gaussian.nc"
    path.write_bytes(path.read_bytes()[:1000])
    (again,) = sr.bench(["bimodal_gaussian"], ["rovi"], resume=True, **settings).rows
    assert again.reference == first.reference
    when = path.stat().st_mtime_ns
    sr.bench(["bimodal_gaussian"], ["rovi"], overwrite=True, **settings)
    assert path.stat().st_mtime_ns > when


@pytest.mark.slow
def test_draws_that_are_nan_keep_what_else_is_known(monkeypatch):
    def broken(model, method, *, seed, draws):
        made = run_method(model, method, seed=seed, draws=draws)
        nan = {name: values * np.nan for name, values in made.draws.posterior.items()}
        return replace(made, draws=replace(made.draws, posterior=nan))

    run_method = running.run_method
    reference = sr.nuts("kidscore", seed=1, iter_sampling=2000).draws
    monkeypatch.setattr(running, "run_method", broken)
    (row,) = sr.bench([Known(reference)], ["gaussian"], jobs=0, draws=50).rows
    assert (row.error, row.w1_max) == (None, None)
    assert row.elbo is not None
    assert row.n_gradients > 0
    assert "NaN" in row.reference


@pytest.mark.slow
def test_workers_of_dask_make_references_and_read_them(database, tmp_path):
    asked = database.select(["center-center_alone"])
    settings = {"reference": "nuts", "output": tmp_path / "out", "draws": 500}
    (row,) = sr.bench(asked, ["gaussian"], dask="local", jobs=1, **settings).rows
    assert row.reference == "nuts, 4 x 4000 draws"
    here = sr.bench(asked, ["gaussian"], jobs=0, **settings, overwrite=True).rows
    assert [replace(row, **NO_COST)] == [replace(row, **NO_COST) for row in here]


def test_a_reference_run_that_fails_is_told_and_grades_nothing(monkeypatch):
    def fails(model, **settings):
        raise SamplerError("all chains are lost")

    monkeypatch.setattr(running, "_embedded_nuts", fails)
    (row,) = sr.bench(["kidscore"], ["gaussian"], reference="nuts", jobs=0, draws=50).rows
    assert "nuts failed: all chains are lost" in row.reference
    assert (row.error, row.w1_max) == (None, None)


def test_a_benchmark_goes_on_from_its_ledger(tmp_path):
    output = tmp_path / "out"
    first = sr.bench(["kidscore"], ["gaussian"], [0, 1], output=output, jobs=0, draws=50)
    ledger = output / "runs.jsonl"
    assert n_done(ledger) == 2
    with pytest.raises(OutputError, match="--resume"):
        sr.bench(["kidscore"], ["gaussian"], [0], output=output, jobs=0)
    more = sr.bench(
        ["kidscore"], ["gaussian", "mfvi"], [0, 1], output=output, jobs=0, draws=50, resume=True
    )
    assert more.rows[:2] == first.rows
    lines = [json.loads(line) for line in ledger.read_text().splitlines()[1:]]
    assert [(line["method"], line["seed"]) for line in lines] == [
        ("gaussian", 0), ("gaussian", 1), ("mfvi", 0), ("mfvi", 1),
    ]  # fmt: skip
    document = json.loads((output / "bench.json").read_text())
    assert document == json.loads(json.dumps(more.to_dict()))
    anew = sr.bench(["kidscore"], ["mfvi"], output=output, jobs=0, draws=50, overwrite=True)
    assert n_done(ledger) == len(anew.rows) == 1


@pytest.mark.slow
def test_references_that_were_made_before_an_end_are_gone_on_with(tmp_path, monkeypatch):
    made, output = [], tmp_path / "out"
    asked = (["bimodal_gaussian", "kidscore"], ["gaussian"])
    settings = {"reference": "nuts", "output": output, "jobs": 0, "draws": 50}
    embedded_nuts = running._embedded_nuts

    def interrupted(model, **how):
        if len(made) == limit:
            raise KeyboardInterrupt
        made.append(model.name)
        for resume, message in ((False, "holds runs that have begun"), (True, "being written")):
            with pytest.raises(OutputError, match=message):
                sr.bench(*asked, **settings, resume=resume)
        return embedded_nuts(model, **how)

    monkeypatch.setattr(running, "_embedded_nuts", interrupted)
    for limit in (0, 1):
        with pytest.raises(KeyboardInterrupt):
            sr.bench(*asked, **settings)
        assert output.exists() == (limit > 0)
    assert n_done(output / "runs.jsonl") == 0
    limit = 2
    rows = sr.bench(*asked, **settings, resume=True).rows
    assert made == ["bimodal_gaussian", "kidscore"]
    assert all(row.reference.startswith("nuts") for row in rows)


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for resume in (False, True):
        with pytest.raises(OutputError, match="not empty"):
            sr.bench(["kidscore"], output=tmp_path, resume=resume, jobs=0)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_an_interrupt_before_the_first_run_promises_nothing(tmp_path, monkeypatch, caplog):
    def interrupted(model, method, *, seed, draws):
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "run_method", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sr.bench(["kidscore"], ["gaussian"], output=tmp_path / "out", jobs=0, draws=50)
    assert caplog.text == ""
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_tells_what_is_done_and_how_to_go_on(tmp_path, monkeypatch, caplog):
    run_method = running.run_method

    def interrupted(model, method, *, seed, draws):
        if seed == 1:
            raise KeyboardInterrupt
        return run_method(model, method, seed=seed, draws=draws)

    monkeypatch.setattr(running, "run_method", interrupted)
    asked = (["kidscore"], ["gaussian"], [0, 1, 2])
    settings = {"output": tmp_path / "out", "jobs": 0, "draws": 50}
    with pytest.raises(KeyboardInterrupt):
        sr.bench(*asked, **settings)
    assert "1 of 3 runs are done" in caplog.text
    assert "--resume" in caplog.text
    monkeypatch.undo()
    rows = sr.bench(*asked, resume=True, **settings).rows
    assert [row.error for row in rows] == [None] * 3


@pytest.mark.parametrize("method", ["nuts", "sample", "laplace", "lmc", "mala", "auto"])
def test_every_method_runs_and_is_measured(method, database):
    (row,) = sr.bench(database.select(["line"]), [method], jobs=0, draws=1000).rows
    assert row.error is None
    assert row.right
    assert row.n_gradients > 0
    assert row.seconds > 0
    assert row.verdict == (None if method == "laplace" else "ok")
    assert (row.elbo is None) == (method != "auto")
    assert (row.khat is None) == (method not in ("auto", "laplace"))


@pytest.mark.slow
def test_a_sampler_that_does_not_trust_itself_is_suspect():
    (row,) = sr.bench(["bimodal_gaussian"], ["mala"], jobs=0).rows
    assert row.verdict == "suspect"


@pytest.mark.cmdstan
def test_methods_of_cmdstan_by_the_executable_beside_the_program(
    prophet_folder, prophet_data, tmp_path
):
    shutil.copy(prophet_folder / "prophet.stan", tmp_path)
    (tmp_path / "prophet").symlink_to(prophet_folder / "prophet_model.bin")
    methods = ["advi_meanfield", "advi_fullrank", "pathfinder"]
    asked = [(tmp_path / "prophet.stan", prophet_data)]
    rows = sr.bench(asked, methods, jobs=0, draws=200).rows
    assert [row.error for row in rows] == [None] * 3
    assert all(row.n_gradients is None and row.seconds > 0 for row in rows)
    assert {row.status for row in rows} <= {"converged", "max_iterations"}


def test_without_an_executable_the_error_has_the_cure(write, monkeypatch):
    monkeypatch.setattr("stanrovi.benchmark.others.cmdstan_folder", lambda: None)
    path = write("m.stan", NORMAL)
    (row,) = sr.bench([path], ["pathfinder"], jobs=0).rows
    assert str(path.with_suffix("")) in row.error
    assert "install_cmdstan" in row.error
    with pytest.raises(ModelError, match="there is none"):
        running.run_method(sr.Model(path), "advi_meanfield", seed=0, draws=10)


def rows_by_hand() -> tuple[BenchRow, ...]:
    """Two methods on two posteriors: right and wrong, doubted and not."""
    common = {"n_gradients": 100, "seconds": 1.0, "cpu_seconds": 1.0, "reference": "nuts"}
    told = [
        ("rovi", "ok", 0.01, True),
        ("rovi", "suspect", 0.02, True),
        ("rovi", "ok", 0.5, False),
        ("rovi", "suspect", 0.7, False),
        ("laplace", None, 0.3, False),
    ]
    rows = [
        BenchRow("a|b", 2, "stanli", m, i, verdict=v, w1_max=w1, right=r, **common)
        for i, (m, v, w1, r) in enumerate(told)
    ]
    lost = BenchRow("c", None, None, "rovi", 0, error="out of\nmemory", outcome="crash")
    return (*rows, lost)


def test_a_summary_sets_verdicts_against_errors():
    result = BenchResult(rows_by_hand())
    rovi, laplace = result.methods
    assert (rovi.runs, rovi.failed, rovi.graded) == (5, 1, 4)
    assert (rovi.wrong, rovi.wrong_doubted, rovi.right_doubted) == (2, 1, 1)
    assert (rovi.w1_median, rovi.w1_worst) == (pytest.approx(0.26), 0.7)
    assert (laplace.wrong, laplace.wrong_doubted, laplace.right_doubted) == (1, None, None)
    assert summarise("none", []).w1_median is None
    assert list(result.summary().index) == ["rovi", "laplace"]
    assert result.to_dataframe().shape == (6, len(asdict(rows_by_hand()[0])))
    assert "2 posteriors, 2 methods, 1 failed" in repr(result)


def test_what_is_written(tmp_path):
    result = BenchResult(rows_by_hand())
    result.write(tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").glob("[!.]*")}
    plots = ("accuracy_gradients", "accuracy_seconds", "verdicts")
    assert names == {"bench.json", "bench.csv", "bench.md"} | {
        f"{plot}.{kind}" for plot in plots for kind in ("png", "svg")
    }
    text = (tmp_path / "out" / "bench.md").read_text()
    assert "| rovi | 5 | 1 | 0.260 | 0.700 | 50% of 4 | 2 | 1 | 1 | 100 | 1.00 | 1.00 |" in text
    assert r"| a\|b | 0.260 (0.700) | 0.300 |" in text
    assert "- c, rovi, seed 0: out of memory" in text
    lines = list(csv.DictReader((tmp_path / "out" / "bench.csv").read_text().splitlines()))
    assert [line["w1_max"] for line in lines] == ["0.01", "0.02", "0.5", "0.7", "0.3", ""]
    with pytest.raises(OutputError, match="not empty"):
        result.write(tmp_path / "out")
    bare = BenchResult((rows_by_hand()[-1],))
    bare.write(tmp_path / "out", overwrite=True)
    assert {path.name for path in (tmp_path / "out").glob("[!.]*")} == {
        "bench.json", "bench.csv", "bench.md",
    }  # fmt: skip


def test_plots_tell_their_finding_in_words():
    found = {plot.name: plot for plot in bench_plots(rows_by_hand())}
    assert "rovi 0.260, laplace 0.300" in found["accuracy_gradients"].alt
    assert "rovi: 2 of 4 runs wrong, 1 of these doubted" in found["verdicts"].alt
    assert bench_plots(rows_by_hand()[-1:]) == []


@pytest.mark.parametrize("method", ["gaussian", "nuts"])
def test_random_transformed_data_are_the_same_in_all_runs_and_the_reference(write, method):
    program = write("drawn.stan", """
        transformed data { real m = normal_rng(0, 100); }
        parameters { real x; }
        model { x ~ normal(m, 1); }
    """)  # fmt: skip
    found = sr.bench([program], [method], seeds=[4, 5], reference="nuts", jobs=0)
    assert [row.error for row in found.rows] == [None, None]
    assert max(row.w1_max for row in found.rows) < 0.2
