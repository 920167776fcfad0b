"""Tasks on a Dask cluster: a real scheduler and workers, which are ended in every way."""

from __future__ import annotations

import errno
import logging
import os
import signal
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import worker_tasks as work
from dask_clusters import Cluster, Marked

import stanrovi as sr
from stanrovi.errors import UsageError
from stanrovi.runs import dask_workers

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")

NO_NANNY = ("--no-nanny",)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A scheduler and two workers with nannies, which every test leaves as they are."""
    with Cluster(tmp_path_factory.mktemp("cluster"), (), ()) as started:
        yield started


def by_index(outcomes):
    return {outcome.index: outcome for outcome in outcomes}


def values(outcomes):
    found = by_index(outcomes)
    assert [o.error for o in found.values() if o.status != "done"] == []
    return [found[i].value for i in range(len(found))]


def sweep(n_seeds):
    return [
        sr.Task(name, method=method, seed=seed, settings={"draws": 200})
        for name in ("eight_schools", "bimodal_gaussian")
        for method in ("mfvi", "rovi")
        for seed in range(n_seeds)
    ]


def draws(fit):
    return {name: np.asarray(v) for name, v in fit.draws.posterior.items()}


def same(first, second):
    a, b = draws(first), draws(second)
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


@pytest.mark.slow
def test_a_worker_killed_in_the_middle_loses_no_task(tmp_path):
    tasks = sweep(4)
    with Cluster(tmp_path, NO_NANNY, NO_NANNY) as started:
        outcomes = sr.run_many(tasks, sr.fit, dask=started.address)
        found = [next(outcomes) for _ in range(3)]
        started.workers[0].send_signal(signal.SIGKILL)
        found += list(outcomes)
        assert started.workers[0].wait() == -signal.SIGKILL
        assert started.workers[1].poll() is None
    assert sorted(outcome.index for outcome in found) == list(range(len(tasks)))
    here = values(sr.run_many(tasks, sr.fit, jobs=0))
    assert all(same(a, b) for a, b in zip(here, values(found), strict=True))


FATES = ("good", *["segfault", "killed", "exit"] * 2, "asleep", "bug", "error", "odd", "good")
TOLD = {
    "segfault": ("crash", "SIGSEGV"),
    "killed": ("crash", "SIGKILL"),
    "exit": ("crash", "exit code 3"),
    "asleep": ("time", "not done after 3 s"),
    "bug": ("crash", "ZeroDivisionError: by zero"),
    "error": ("error", "finite nowhere"),
    "odd": ("crash", "pickle"),
    "good": ("done", None),
}


@pytest.mark.slow
def test_a_bad_end_is_the_outcome_of_its_task_alone(cluster):
    """Many of them, so that one beside them would be suspected if Dask were to guess."""
    before = cluster.living()
    tasks = [sr.Task("eight_schools", settings={"fate": fate}) for fate in FATES]
    found = by_index(sr.run_many(tasks, work.beset, dask=cluster.address, time_limit=3))
    assert len(found) == len(FATES)
    for index, fate in enumerate(FATES):
        status, reason = TOLD[fate]
        assert found[index].status == status, (fate, found[index].error)
        assert reason is None or reason in found[index].error
    assert cluster.returned(before)  # no worker was lost, and no process is left


def test_the_ledger_spares_what_is_done(cluster, tmp_path):
    ledger, tasks = tmp_path / "runs.jsonl", [sr.Task("eight_schools", seed=i) for i in range(6)]
    outcomes = sr.run_many(tasks, work.told, dask=cluster.address, ledger=ledger)
    first = [next(outcomes).index for _ in range(2)]
    outcomes.close()
    lines = ledger.read_text().count("\n")
    found = by_index(sr.run_many(tasks, work.told, dask=cluster.address, ledger=ledger))
    assert len(found) == 6
    assert all(found[index].earlier for index in first)
    assert sum(outcome.earlier for outcome in found.values()) == lines
    here = by_index(sr.run_many(tasks, work.told, jobs=0, ledger=ledger))
    assert all(outcome.earlier for outcome in here.values())


def test_many_that_take_no_time(cluster):
    tasks = [sr.Task("eight_schools", seed=seed) for seed in range(200)]
    found = values(sr.run_many(tasks, work.told, dask=cluster.address))
    assert [told["seed"] for told in found] == list(range(200))


def test_who_leaves_early_ends_what_runs(cluster):
    before = cluster.living()
    tasks = [sr.Task("eight_schools", settings={"seconds": s}) for s in (0, 600, 600)]
    outcomes = sr.run_many(tasks, work.slow, dask=cluster.address)
    assert next(outcomes).index == 0
    began = time.perf_counter()
    outcomes.close()
    assert time.perf_counter() - began < 10
    assert cluster.returned(before)


def test_a_client_of_yours_stays_open(cluster):
    with distributed.Client(cluster.address, set_as_default=False) as client:
        tasks = [sr.Task("eight_schools", seed=seed) for seed in range(3)]
        found = values(sr.run_many(tasks, work.told, dask=client))
        assert [told["seed"] for told in found] == [0, 1, 2]
        assert client.submit(sum, [1, 2]).result() == 3


def test_functions_that_no_module_has(cluster):
    offset = 5
    found = values(
        sr.run_many(
            [sr.Task("eight_schools", seed=1)],
            lambda model, seed: model.dim + offset,
            dask=cluster.address,
        )
    )
    assert found == [15]


N_LARGE = 1_200_000


@pytest.mark.slow
def test_large_data_are_sent_once_to_each_worker(cluster, write):
    program = write(
        "big.stan",
        "data { int n; vector[n] y; } parameters { real x; } model { x ~ normal(y[1], 1); }",
    )
    y = np.random.default_rng(1).standard_normal(N_LARGE)
    data = {"n": len(y), "y": y}
    tasks = [sr.Task(program, data, seed=seed) for seed in range(8)]
    before = loopback_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = values(sr.run_many(tasks, work.told, dask=cluster.address))
    sent = loopback_bytes() - before
    assert [told["seed"] for told in found] == list(range(8))
    assert sent < 6 * y.nbytes  # to the scheduler, and to each of two workers


def loopback_bytes():
    lines = Path("/proc/net/dev").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.strip().startswith("lo:"))


@pytest.mark.slow
def test_threads_of_a_worker_give_the_same(tmp_path):
    tasks = sweep(1)
    with Cluster(tmp_path, ("--nthreads", "2")) as started:
        told = values(
            sr.run_many([sr.Task("eight_schools")] * 4, work.process, dask=started.address)
        )
        found = values(sr.run_many(tasks, sr.fit, dask=started.address))
    assert len({where["pid"] for where in told}) <= 2
    here = values(sr.run_many(tasks, sr.fit, jobs=0))
    assert all(same(a, b) for a, b in zip(here, found, strict=True))


@pytest.mark.slow
def test_workers_come_and_go(tmp_path, caplog):
    tasks = [sr.Task("eight_schools", settings={"seconds": s}) for s in (0, 0, 0, 0)]
    with Cluster(tmp_path) as started:
        later = threading.Timer(2, started.add_worker, NO_NANNY)
        later.start()
        with caplog.at_level(logging.WARNING):
            outcomes = sr.run_many(tasks, work.slow, dask=started.address)
            assert next(outcomes).status == "done"
        assert [m for m in caplog.messages if "no workers" in m] == [
            "The Dask cluster has no workers; waiting for some."
        ]
        started.add_worker(*NO_NANNY)
        assert len(list(outcomes)) == 3
        with distributed.Client(started.address, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=30)
            gone = next(iter(client.nthreads()))
            client.retire_workers([gone])
            left = values(sr.run_many(tasks, work.slow, dask=client))
    assert len(left) == 4


@pytest.mark.slow
def test_a_cluster_that_ends_is_no_outcome(tmp_path):
    """What was under way is not written down as a crash: it will be done when called again."""
    ledger = tmp_path / "runs.jsonl"
    tasks = [sr.Task("eight_schools", settings={"seconds": s}) for s in (0, 0, 600, 600)]
    with Cluster(tmp_path, NO_NANNY) as started:
        outcomes = sr.run_many(tasks, work.slow, dask=started.address, ledger=ledger, seed=1)
        assert {next(outcomes).index, next(outcomes).index} == {0, 1}
        began = time.perf_counter()
        for process in (started.scheduler, *started.workers):
            process.send_signal(signal.SIGKILL)
        with pytest.raises(UsageError, match=r"has ended.*with a ledger"):
            next(outcomes)
        assert time.perf_counter() - began < 45
    assert ledger.read_text().count("\n") == 2


@pytest.mark.slow
@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "tcp:/x", "nothing", "tls://127.0.0.1:9"])
def test_a_wrong_address_is_told(address, monkeypatch):
    assert dask_workers._CONNECT_SECONDS <= 8
    monkeypatch.setattr(dask_workers, "_CONNECT_SECONDS", 2)
    with pytest.raises(UsageError, match=r"No Dask scheduler answers.*tcp://host:8786"):
        list(sr.run_many([sr.Task("eight_schools")], work.told, dask=address))


def test_a_cluster_that_cannot_be_started_is_told(monkeypatch):
    def refuse(*arguments):
        raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))

    monkeypatch.setattr("socket.create_connection", refuse)
    with pytest.raises(UsageError, match=r"No Dask cluster can be started here.*unreachable"):
        list(sr.run_many([sr.Task("eight_schools")], work.told, dask="local"))


def other_stanrovi(folder, text):
    (folder / "stanrovi").mkdir(parents=True)
    (folder / "stanrovi" / "__init__.py").write_text(text)
    return (folder,)


@pytest.mark.slow
def test_workers_that_cannot_do_it_are_told(tmp_path):
    tasks = [sr.Task("eight_schools", seed=1)]
    path = other_stanrovi(tmp_path / "other", "raise ImportError('not here')")
    with (
        Cluster(tmp_path) as started,
        distributed.Client(started.address, set_as_default=False) as client,
    ):
        worker = started.add_worker(*NO_NANNY, python_path=path)
        client.wait_for_workers(1, timeout=30)
        with pytest.raises(UsageError, match=r"must have stanrovi .*not here"):
            list(sr.run_many(tasks, work.told, dask=client))
        worker.send_signal(signal.SIGKILL)
        started.add_worker(*NO_NANNY, support=False)
        client.wait_for_workers(1, timeout=30)
        with pytest.raises(UsageError, match=r"does not find the function.*worker_tasks"):
            list(sr.run_many(tasks, work.told, dask=client))


LOCAL = """
import stanrovi as sr
import worker_tasks as work

if __name__ == "__main__":
    tasks = [sr.Task("eight_schools", settings=dict(seconds=s)) for s in (0, 0, {seconds})]
    for outcome in sr.run_many(tasks, work.slow, jobs=2, dask="local"):
        print(outcome.index, outcome.status, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("end", [None, signal.SIGINT, signal.SIGKILL])
def test_a_local_cluster_leaves_nothing_behind(tmp_path, end):
    script = tmp_path / "script.py"
    script.write_text(LOCAL.format(seconds=0 if end is None else 600))
    with Marked(tmp_path) as marked:
        run = marked.start(str(script))
        log = tmp_path / "1.log"
        until = time.monotonic() + 60
        while log.read_text().count(" done\n") < 2 and time.monotonic() < until:
            time.sleep(0.05)
        if end is not None:
            os.killpg(run.pid, end)  # as a terminal does
        run.wait(timeout=20)
        assert marked.returned({}), marked.living()
    assert log.read_text().count(" done\n") == (3 if end is None else 2), log.read_text()
    if end == signal.SIGINT:
        assert log.read_text().count("Traceback") == 1
        assert log.read_text().endswith("KeyboardInterrupt\n")


def test_workers_here_that_end_again_and_again_are_told(monkeypatch):
    monkeypatch.setattr(dask_workers, "_START_SECONDS", 1)
    limit = dask.config.set({"distributed.worker.memory.terminate": 1e-4})
    with limit, pytest.raises(UsageError, match=r"end as soon as they start.*limits on memory"):
        list(sr.run_many([sr.Task("eight_schools")], work.told, jobs=1, dask="local"))


def test_a_cluster_of_ones_own_here(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    tasks = [sr.Task("eight_schools", seed=seed) for seed in range(3)]
    assert len(values(sr.run_many(tasks, work.told, jobs=1, dask="local"))) == 3
    assert not list(tmp_path.iterdir())
