"""Many tasks: every one accounted for, and the same answers wherever they run."""

from __future__ import annotations

import errno
import gc
import json
import logging
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from multiprocessing.synchronize import SemLock
from pathlib import Path

import pytest
import worker_tasks as work

import stanrovi as sr
from stanrovi.errors import DensityError, OutputError, UsageError
from stanrovi.runs.guard import guarded
from stanrovi.runs.workers import Processes

pytestmark = pytest.mark.interpreter

NORMAL = "parameters { real x; } model { x ~ normal(0, 1); }"
DRAWN = (
    "transformed data { real m = normal_rng(0, 1); } "
    "parameters { real x; } model { x ~ normal(m, 1); }"
)


def by_index(outcomes):
    return {outcome.index: outcome for outcome in outcomes}


def values(outcomes):
    found = by_index(outcomes)
    assert [o.error for o in found.values() if o.status != "done"] == []
    return [found[i].value for i in range(len(found))]


def sweep():
    return [
        sr.Task(name, method=method, seed=seed)
        for name in ("eight_schools", "bimodal_gaussian")
        for method, seed in (("mfvi", 0), ("mfvi", 1), ("rovi", 0))
    ]


def test_processes_give_what_this_process_gives():
    here = values(sr.run_many(sweep(), work.elbo, jobs=0))
    assert values(sr.run_many(sweep(), work.elbo, jobs=2)) == here
    assert len({json.dumps(value) for value in here}) == 6


@pytest.mark.slow
def test_fits_samples_and_nuts_are_functions_of_tasks():
    task = sr.Task("eight_schools", seed=1, settings={"draws": 100}, method="mfvi")
    (fit,) = sr.run_many([task], sr.fit, jobs=1)
    assert fit.value.result.elbo == sr.fit("eight_schools", **task.arguments).result.elbo
    assert fit.value.sample(3, seed=0).posterior["mu"].shape == (1, 3)
    assert fit.seconds > 0
    assert fit.cpu_seconds > 0
    nuts = sr.Task("eight_schools", seed=1, settings={"iter_sampling": 50, "iter_warmup": 50})
    (run,) = sr.run_many([nuts], sr.nuts, jobs=1)
    assert run.value.draws.n_draws == 50
    (run,) = sr.run_many([sr.Task("eight_schools", seed=1)], sr.sample, jobs=1)
    assert run.value.trusted


def test_what_a_task_is_called_with(write):
    drawn = write("drawn.stan", DRAWN)
    tasks = [
        sr.Task("eight_schools", seed=5, settings={"a": [1, {"b": None}]}),
        sr.Task(drawn, seed=6, method="x"),
        sr.Task(sr.Model(drawn, seed=7), seed=8),
    ]
    told = values(sr.run_many(tasks, work.told, jobs=1))
    assert told[0] == {"dim": 10, "seed": 5, "model_seed": 0, "a": [1, {"b": None}]}
    assert told[1] == {"dim": 1, "seed": 6, "model_seed": 6, "method": "x"}
    assert told[2] == {"dim": 1, "seed": 8, "model_seed": 7}


def test_seeds_are_spawned_by_place_and_given_ones_stay():
    tasks = [sr.Task("eight_schools", seed=given) for given in (None, 3, None)]
    first = [told["seed"] for told in values(sr.run_many(tasks, work.told, jobs=0, seed=1))]
    again = [told["seed"] for told in values(sr.run_many(tasks, work.told, jobs=2, seed=1))]
    other = [told["seed"] for told in values(sr.run_many(tasks, work.told, jobs=0, seed=2))]
    assert first == again
    assert first[1] == other[1] == 3
    assert len({first[0], first[2], other[0], other[2]}) == 4


def test_a_worker_builds_a_model_once_and_has_one_thread(monkeypatch):
    for name in ("STAN_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    tasks = [sr.Task("eight_schools") for _ in range(6)]
    found = values(sr.run_many(tasks, work.process, jobs=2))
    workers = {told["pid"] for told in found}
    assert os.getpid() not in workers
    assert len({(told["pid"], told["model"]) for told in found}) == len(workers) <= 2
    assert {told["threads"] for told in found} == {1}


FATES = (
    "good",
    "segfault",
    "memory",
    "asleep",
    "exit",
    "bug",
    "error",
    "odd",
    "one way",
    "killed",
    "quit",
    "good",
)
TOLD = {
    "segfault": ("crash", "SIGSEGV"),
    "memory": ("crash", "out of memory"),
    "asleep": ("time", "not done after 3 s"),
    "exit": ("crash", "exit code 3"),
    "bug": ("crash", "ZeroDivisionError: by zero"),
    "error": ("error", "finite nowhere"),
    "odd": ("crash", "pickle"),
    "one way": ("crash", "could not be unpickled: ValueError: one way"),
    "killed": ("crash", "SIGKILL, out of memory?"),
    "quit": ("crash", "SystemExit: enough"),
    "good": ("done", None),
}


@pytest.mark.slow
def test_a_bad_end_is_the_outcome_of_its_task_alone():
    tasks = [sr.Task("eight_schools", settings={"fate": fate}) for fate in FATES]
    found = by_index(sr.run_many(tasks, work.beset, jobs=2, time_limit=3))
    assert len(found) == len(FATES)
    for index, fate in enumerate(FATES):
        status, reason = TOLD[fate]
        assert found[index].status == status, fate
        if reason is not None:
            assert reason in found[index].error
        assert (found[index].value == fate) is (status == "done")


def test_a_value_that_does_not_come_back_tells_why():
    (outcome,) = sr.run_many(
        [sr.Task("eight_schools", settings={"fate": "one way"})], work.beset, jobs=1
    )
    assert outcome.status == "crash"
    assert outcome.error == "what came back could not be unpickled: ValueError: one way"


@pytest.mark.parametrize("jobs", [0, 1])
@pytest.mark.parametrize(
    ("fate", "error"),
    [("speechless", "SpeechlessError: no words, as"), ("talkative", "x ... (99,500 more")],
)
def test_whatever_an_error_says_is_told_in_a_few_words(jobs, fate, error):
    (outcome,) = sr.run_many(
        [sr.Task("eight_schools", settings={"fate": fate})], work.beset, jobs=jobs
    )
    assert outcome.status == "crash"
    assert error in outcome.error


def test_processes_that_may_have_no_children_are_told_so(monkeypatch):
    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)
    with pytest.raises(UsageError, match=r"not allowed to have children\); .*jobs=0"):
        list(sr.run_many([sr.Task("eight_schools")], work.told, jobs=1))


def test_no_worker_is_started_while_python_ends(tmp_path):
    script = tmp_path / "late.py"
    script.write_text(
        "import atexit, concurrent.futures.process\n"
        "from stanrovi import Task, fit, run_many\n"
        "from stanrovi.errors import UsageError\n"
        "def late():\n"
        "    try:\n"
        "        list(run_many([Task('eight_schools')], fit, jobs=1))\n"
        "    except UsageError as error:\n"
        "        print(error)\n"
        "if __name__ == '__main__':\n"
        "    atexit.register(late)\n"
    )
    found = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert "No worker process can be started" in found.stdout


def test_the_end_of_a_task_is_that_of_what_it_started(tmp_path, monkeypatch):
    monkeypatch.setenv("STANROVI_TEST_FOLDER", str(tmp_path))
    task = sr.Task("eight_schools", settings={"fate": "child"})
    (outcome,) = sr.run_many([task], work.beset, jobs=1, time_limit=1)
    assert outcome.status == "time"
    assert not runs(int((tmp_path / "child").read_text()))
    task = sr.Task("eight_schools", settings={"fate": "orphan"})
    (outcome,) = sr.run_many([task], work.beset, jobs=1)
    assert outcome.status == "crash"
    assert not runs(int((tmp_path / "child").read_text()))


def test_a_worker_that_ends_between_two_tasks_takes_none_along():
    tasks = [sr.Task("eight_schools", settings={"fate": fate}) for fate in ("later", "good")]
    outcomes = sr.run_many(tasks, work.beset, jobs=1)
    assert next(outcomes).value == "later"
    time.sleep(1)
    assert next(outcomes).value == "good"


def test_what_an_ended_task_leaves_goes(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    task = sr.Task("eight_schools", settings={"fate": "litter"})
    (outcome,) = sr.run_many([task], work.beset, jobs=1, time_limit=1)
    assert outcome.status == "time"
    assert os.listdir(tmp_path) == []


def test_what_dead_programs_leave_goes_and_living_ones_keep_theirs(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left = tmp_path / "stanrovi-work-abcdefgh"
    (left / "tmp").mkdir(parents=True)
    first = Processes(1)
    assert not left.exists()
    second = Processes(1)
    assert len(list(tmp_path.iterdir())) == 2
    first.close()
    second.close()
    assert list(tmp_path.iterdir()) == []


def test_a_limit_beyond_all_time_is_none():
    (outcome,) = sr.run_many([sr.Task("eight_schools")], work.told, jobs=1, time_limit=1e12)
    assert outcome.status == "done"


def test_a_rejection_of_one_task_is_not_told_of_another():
    model = sr.Model("eight_schools")
    model._evaluator.last_rejection = "of another run"

    def fails():
        raise DensityError("finite nowhere.")

    with pytest.raises(DensityError, match=r"nowhere\.$"):
        guarded(model, fails)


def runs(pid):
    """Whether a process is there, and no mere entry that nobody has read."""
    for _ in range(50):
        stat = Path(f"/proc/{pid}/stat")
        if not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z":
            return False
        time.sleep(0.1)
    return True


def test_models_that_cannot_be_had_are_told(write):
    tasks = [
        sr.Task(write("bad.stan", "parameters { real x; } model { x ~ nothing(0); }")),
        sr.Task(write("data.stan", f"data {{ int n; }} {NORMAL}")),
        sr.Task(write("good.stan", NORMAL)),
        sr.Task(write("more.stan", f"data {{ int n; }} {NORMAL}"), {"n": "three"}),
    ]
    found = by_index(sr.run_many(tasks, work.told, jobs=0))
    assert [found[i].status for i in range(4)] == ["error", "error", "done", "error"]
    assert "nothing" in found[0].error
    assert "declares data (n)" in found[1].error


def test_mistakes_are_told_at_the_call():
    with pytest.raises(UsageError, match=r"no model 'eight_schoolz'.*Did you mean"):
        sr.run_many([sr.Task("eight_schoolz")], work.told)
    with pytest.raises(UsageError, match="time_limit must be positive"):
        sr.run_many([], work.told, time_limit=-1)
    with pytest.raises(UsageError, match="time_limit needs workers"):
        sr.run_many([], work.told, time_limit=1, jobs=0)
    with pytest.raises(UsageError, match="jobs must be a whole number"):
        sr.run_many([], work.told, jobs=-1)
    with pytest.raises(UsageError, match="has its data already"):
        sr.run_many([sr.Task(sr.Model("eight_schools"), {"J": 1})], work.told)
    with pytest.raises(UsageError, match=r"tasks are of stanrovi\.Task, not str"):
        sr.run_many(["eight_schools"], work.told)
    with pytest.raises(UsageError, match="'fit' is no function"):
        sr.run_many([sr.Task("eight_schools")], "fit")
    with pytest.raises(UsageError, match="seed is no setting"):
        sr.Task("eight_schools", settings={"seed": 1})
    with pytest.raises(UsageError, match="time_limit must be positive"):
        sr.run_many([], work.told, time_limit="2")
    with pytest.raises(UsageError, match="seed"):
        sr.run_many([sr.Task("eight_schools", seed=-1)], work.told)
    with pytest.raises(UsageError, match=r"take what pickles.*jobs=0"):
        list(sr.run_many([sr.Task("eight_schools")], lambda model, seed: 1, jobs=1))
    with pytest.raises(UsageError, match="jobs counts the workers of dask='local'"):
        list(sr.run_many([], work.told, dask="tcp://127.0.0.1:1", jobs=2))


def test_workers_that_need_semaphores_which_cannot_be_made(monkeypatch):
    def no_place(*arguments, **keywords):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("stanrovi.runs.workers.ProcessPoolExecutor", no_place)
    with pytest.raises(UsageError, match=r"semaphores.*Read-only.*/dev/shm.*jobs=0"):
        list(sr.run_many([sr.Task("eight_schools")], work.told, jobs=1))


@pytest.mark.parametrize("jobs", [0, 1])
def test_a_function_may_have_tasks_of_its_own(jobs):
    (outcome,) = sr.run_many([sr.Task("eight_schools", seed=4)], work.nested, jobs=jobs)
    assert [told["seed"] for told in outcome.value] == [4, 5]


def test_nothing_to_do():
    assert list(sr.run_many([], work.told)) == []


def test_warnings_of_workers_are_told_once(caplog):
    tasks = [sr.Task("eight_schools") for _ in range(3)]
    with caplog.at_level(logging.WARNING):
        list(sr.run_many(tasks, work.warned, jobs=1))
    assert caplog.messages == ["eight_schools: take care"]


def test_the_ledger_spares_what_is_done(tmp_path, write):
    ledger = tmp_path / "runs.jsonl"
    calls = tmp_path / "calls"
    calls.mkdir()

    def run(n, **more):
        model = write("normal.stan", NORMAL)
        settings = {"folder": str(calls)} | more
        tasks = [sr.Task(model, seed=seed, settings=settings) for seed in range(n)]
        return by_index(sr.run_many(tasks, work.noted, jobs=0, ledger=ledger))

    assert not any(outcome.earlier for outcome in run(3).values())
    again = run(5)
    assert [again[i].earlier for i in range(5)] == [True, True, True, False, False]
    assert {outcome.value for outcome in again.values()} == {"noted"}
    assert len(list(calls.iterdir())) == 5
    assert len(ledger.read_text().splitlines()) == 5
    line = json.loads(ledger.read_text().splitlines()[3])
    assert (line["model"], line["seed"], line["status"]) == ("normal", 3, "done")


def test_the_ledger_knows_everything_that_matters(tmp_path, write):
    ledger = tmp_path / "runs.jsonl"
    task = sr.Task(write("a.stan", NORMAL), seed=1)

    def earlier(task, function=work.told):
        (outcome,) = sr.run_many([task], function, jobs=0, ledger=ledger)
        return outcome.earlier

    assert not earlier(task)
    assert earlier(task)
    assert earlier(sr.Task(write("b.stan", NORMAL), seed=1))  # of another name
    assert not earlier(sr.Task(write("c.stan", NORMAL + "\n//"), seed=1))
    assert not earlier(sr.Task(write("a.stan", NORMAL), seed=2))
    assert not earlier(sr.Task(write("a.stan", NORMAL), seed=1, method="rovi"))
    assert not earlier(sr.Task(write("a.stan", NORMAL), seed=1, settings={"x": 1}))
    assert not earlier(sr.Task(write("a.stan", NORMAL), {"n": 3}, seed=1))
    assert not earlier(task, work.process)
    assert not earlier(task, partial(work.told, x=1))
    assert earlier(task, partial(work.told, x=1))
    assert not earlier(task, partial(work.told, x=2))
    named = partial(work.told, x={1, 2})
    with pytest.raises(UsageError, match="arguments of partial functions, must be JSON"):
        earlier(task, named)
    vars(named)["ledger_name"] = "sets"
    with pytest.raises(UsageError, match="must return JSON"):
        earlier(task, named)
    for nameless in (lambda model, seed: 1, Caller(), Caller().__call__):
        with pytest.raises(UsageError, match="knows functions by their names"):
            earlier(task, nameless)


class Caller:
    def __call__(self, model, *, seed):
        return 1


def test_bad_ends_stand_in_the_ledger_and_are_tried_again(tmp_path):
    ledger = tmp_path / "runs.jsonl"
    fates = ("exit", "error", "good")
    tasks = [sr.Task("eight_schools", seed=0, settings={"fate": fate}) for fate in fates]
    for n in (1, 2):
        found = by_index(sr.run_many(tasks, work.beset, jobs=1, ledger=ledger))
        assert [found[i].status for i in range(3)] == ["crash", "error", "done"]
        assert [found[i].earlier for i in range(3)] == [False, False, n == 2]
    assert len(ledger.read_text().splitlines()) == 5


def test_a_ledger_needs_seeds_that_come_again(tmp_path):
    with pytest.raises(UsageError, match="finds tasks again by their seeds"):
        sr.run_many([sr.Task("eight_schools")], work.told, ledger=tmp_path / "l")


def test_values_for_a_ledger_are_json(tmp_path):
    ledger = tmp_path / "runs.jsonl"
    with pytest.raises(UsageError, match="must return JSON values"):
        list(sr.run_many([sr.Task("eight_schools", seed=1)], sr.fit, jobs=0, ledger=ledger))
    circle = sr.Task("eight_schools", seed=1, settings={"fate": "itself"})
    with pytest.raises(UsageError, match="must return JSON values"):
        list(sr.run_many([circle], work.beset, jobs=1, ledger=ledger))
    task = sr.Task("eight_schools", seed=1)
    (outcome,) = sr.run_many([task], work.warned, jobs=0, ledger=ledger)
    assert outcome.value is None  # a number that is none
    task = sr.Task("eight_schools", seed=1, settings={"x": {1, 2}})
    with pytest.raises(UsageError, match=r"settings of tasks.*must be JSON"):
        list(sr.run_many([task], work.told, jobs=0, ledger=ledger))
    with pytest.raises(OutputError, match="does not exist"):
        list(sr.run_many([task], work.told, jobs=0, ledger=tmp_path / "x" / "y"))


def test_outcomes_come_as_they_end_and_one_may_leave():
    tasks = [sr.Task("eight_schools", settings={"seconds": s}) for s in (60, 0, 0)]
    began = time.perf_counter()
    outcomes = sr.run_many(tasks, work.slow, jobs=2)
    assert {next(outcomes).index, next(outcomes).index} == {1, 2}
    outcomes.close()
    assert time.perf_counter() - began < 30
    assert not any(runs(child.pid) for child in multiprocessing.active_children())


def test_threads_of_ended_workers_are_gone():
    """At the end of Python one that is closing its pipes would be woken by them."""
    tasks = [sr.Task("eight_schools", settings={"seconds": s}) for s in (0, 60, 60)]
    before = set(threading.enumerate())
    outcomes = sr.run_many(tasks, work.slow, jobs=2)
    next(outcomes)
    outcomes.close()
    own = {thread.name for thread in set(threading.enumerate()) - before}
    assert not {name for name in own if not name.startswith("QueueFeederThread")}


@pytest.mark.parametrize(
    ("fate", "time_limit", "status"),
    [("killed", None, "crash"), ("asleep", 5, "time"), ("asleep", None, None)],
)
def test_ended_workers_leave_no_locks_to_the_collector(fate, time_limit, status):
    # Freed in the middle of something, a lock of multiprocessing's warns, or waits for itself
    # (github.com/python/cpython/issues/109593).
    def n_locks():
        return sum(isinstance(thing, SemLock) for thing in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = n_locks()
        tasks = [sr.Task("eight_schools", settings={"fate": f}) for f in (fate, "well")]
        outcomes = sr.run_many(tasks, work.beset, jobs=2, time_limit=time_limit)
        seen = {next(outcomes).status for _ in range(1 if status is None else 2)}
        assert seen == {"done", status or "done"}
        outcomes.close()
        del outcomes
        deadline = time.monotonic() + 20
        while n_locks() > before and time.monotonic() < deadline:
            time.sleep(0.05)
        assert n_locks() <= before
    finally:
        gc.enable()


def test_progress_counts_tasks(tmp_path):
    heard = []
    tasks = [sr.Task("eight_schools", seed=i) for i in range(3)]
    for _ in range(2):
        list(
            sr.run_many(
                tasks, work.told, jobs=0, ledger=tmp_path / "l", progress=lambda *a: heard.append(a)
            )
        )
    assert heard == [(1, 3), (2, 3), (3, 3)] * 2


SCRIPT = """
import sys
import stanrovi as sr
sys.path.insert(0, {support!r})
import worker_tasks as work

def main():
    tasks = [sr.Task("eight_schools", seed=i, settings=dict(seconds=0.2)) for i in range(40)]
    for outcome in sr.run_many(tasks, work.slow, jobs=2, ledger={ledger!r}):
        print(outcome.index, outcome.earlier, flush=True)

{guard}
"""


def script(tmp_path, guard="if __name__ == '__main__': main()"):
    path = tmp_path / "script.py"
    support = str(Path(__file__).parents[1] / "support")
    text = SCRIPT.format(support=support, ledger=str(tmp_path / "runs.jsonl"), guard=guard)
    path.write_text(text)
    return subprocess.Popen(
        [sys.executable, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_ended_goes_on_where_it_was(tmp_path, end):
    first = script(tmp_path)
    told = [first.stdout.readline() for _ in range(5)]
    workers = children(first.pid)
    assert len(workers) >= 2
    first.send_signal(end)
    more, errors = first.communicate(timeout=30)
    told += more.splitlines()
    assert (first.returncode == -signal.SIGKILL) if end == signal.SIGKILL else first.returncode
    assert "KeyboardInterrupt" in errors or end == signal.SIGKILL
    assert not any(runs(pid) for pid in workers)
    lines = (tmp_path / "runs.jsonl").read_text().count("\n")
    assert len(told) <= lines < 40
    second = script(tmp_path)
    output, _ = second.communicate(timeout=60)
    found = dict(line.split() for line in output.splitlines())
    assert len(found) == 40
    assert list(found.values()).count("True") == lines
    assert {line.split()[0] for line in told} <= {i for i, old in found.items() if old == "True"}


def children(pid):
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(stat.parent.name))
        except OSError:
            continue
    return found


def test_a_script_without_a_guard_is_told_so(tmp_path):
    run = script(tmp_path, guard="main()")
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 1
    assert "The worker processes do not start" in errors


def test_workers_that_are_killed_as_they_start(monkeypatch):
    monkeypatch.setattr("stanrovi.runs.workers.prepare_process", work.killed_at_start)
    (outcome,) = sr.run_many([sr.Task("eight_schools", seed=1)], work.told, jobs=1)
    assert (outcome.status, "SIGKILL" in outcome.error) == ("crash", True)


def test_the_end_of_a_process_with_workers_is_silent():
    """What it had of the system is cleared away without a word."""
    code = (
        "import os, signal; import stanrovi as sr, worker_tasks as work\n"
        "if __name__ == '__main__':\n"
        "    next(sr.run_many([sr.Task('eight_schools', seed=1)] * 2, work.told, jobs=1))\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    support = str(Path(work.__file__).parent)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "PYTHONPATH": support},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (-signal.SIGKILL, "")


def test_an_outcome_pickles():
    (outcome,) = sr.run_many([sr.Task("eight_schools", seed=1)], work.told, jobs=0)
    assert pickle.loads(pickle.dumps(outcome)) == outcome
