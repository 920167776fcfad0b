"""Cost of many runs: in this process, in worker processes, on Dask; writes docs/results/many.md.

    python benchmarks/many.py

Needs `pip install 'stanrovi[dask]'`; takes about a quarter of an hour on two idle processors, and
measures time: let it have the machine to itself. Dask's scheduler and workers are processes of
their own, started by its own commands.
"""

from __future__ import annotations

import json
import os
import pickle
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import distributed
import numpy as np
import psutil
from tables import markdown

import stanrovi as sr
from stanrovi.io.ledger import Ledger
from stanrovi.runs.tasks import Report, Source

HERE = Path(__file__).parent
OUTPUT = HERE.parent / "docs" / "results" / "many.md"
PACKAGES = ("stanrovi", "distributed", "dask", "stanli")
REPEATS = 5  # of overheads; medians are told, with the range
PAIRS = 3  # of sweeps by one worker and by two
EMPTY = 450  # tasks that do nothing
RECORDS = 500
MODELS = ("eight_schools", "kidscore", "garch", "ar")
FITS = [sr.Task(model, method="rovi", seed=seed) for seed in range(12) for model in MODELS]
CHAINS = [
    sr.Task(model, seed=seed, settings={"chains": 2, "iter_warmup": 500, "iter_sampling": 1000})
    for seed in range(8)
    for model in MODELS
]
LARGE = 1_000_000  # numbers of a data set
WORKERS = (10, 100, 1000)
LENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0, 60.0)  # seconds of a task
BUSY = 0.9


def nothing(model: sr.Model, *, seed: int) -> int:
    """Do nothing on a model."""
    return seed


def fitted(model: sr.Model, *, method: str, seed: int) -> str:
    return str(sr.fit(model, method=method, seed=seed).verdict.name)


def sampled(model: sr.Model, *, seed: int, **settings: Any) -> int:
    return int(sr.nuts(model, seed=seed, **settings).draws.n_draws)


@dataclass(frozen=True)
class Cost:
    """What tasks took, in seconds: until the first was done, and each of the others."""

    first: float
    each: float


def cost(tasks: Sequence[sr.Task], function: Callable[..., Any], **where: Any) -> Cost:
    began = time.perf_counter()
    times = []
    for outcome in sr.run_many(tasks, function, **where):
        assert outcome.status == "done", outcome.error
        times.append(time.perf_counter() - began)
    # The first tenth: by then all workers have begun.
    warm = len(times) // 10
    return Cost(times[0], (times[-1] - times[warm]) / max(1, len(times) - 1 - warm))


def empty_tasks(n: int = EMPTY) -> list[sr.Task]:
    return [sr.Task("eight_schools", seed=seed) for seed in range(n)]


@dataclass(frozen=True)
class Cluster:
    """A scheduler and workers without nannies, each a process that can be looked at."""

    address: str
    scheduler: psutil.Process
    workers: list[psutil.Process]


@contextmanager
def cluster(n_workers: int) -> Iterator[Cluster]:
    """Start Dask by its own commands."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        file = Path(folder) / "scheduler.json"

        def start(program: str, *options: str) -> psutil.Process:
            command = [sys.executable, "-m", f"distributed.cli.dask_{program}", *options]
            command += ["--scheduler-file", str(file), "--host", "127.0.0.1", "--no-dashboard"]
            quiet = subprocess.DEVNULL
            process = subprocess.Popen(command, stdout=quiet, stderr=quiet, cwd=folder)
            stack.callback(process.wait)
            stack.callback(process.kill)
            return psutil.Process(process.pid)

        scheduler = start("scheduler", "--port", "0")
        while not file.exists() or not file.read_text(encoding="utf-8").strip():
            time.sleep(0.05)
        workers = [start("worker", "--nthreads", "1", "--no-nanny") for _ in range(n_workers)]
        address = json.loads(file.read_text(encoding="utf-8"))["address"]
        with distributed.Client(address) as client:
            client.wait_for_workers(n_workers, timeout=60)
        yield Cluster(address, scheduler, workers)


def spread(values: Sequence[float], scale: float = 1.0, digits: int = 1) -> str:
    """Median, with the range."""
    low, middle, high = (f"{scale * f(values):.{digits}f}" for f in (min, statistics.median, max))
    return f"{middle} ({low} to {high})"


def overheads() -> tuple[str, dict[str, list[Cost]]]:
    """Measure tasks that do nothing, everywhere in turn."""
    found: dict[str, list[Cost]] = {}
    with cluster(1) as one, cluster(2) as two:
        places: dict[str, dict[str, Any]] = {
            "this process": {"jobs": 0},
            "1 process": {"jobs": 1},
            "2 processes": {"jobs": 2},
            "Dask here, 1 worker": {"dask": "local", "jobs": 1},
            "Dask here, 2 workers": {"dask": "local", "jobs": 2},
            "Dask scheduler, 1 worker": {"dask": one.address},
            "Dask scheduler, 2 workers": {"dask": two.address},
        }
        for _ in range(REPEATS):
            for place, where in places.items():
                found.setdefault(place, []).append(cost(empty_tasks(), nothing, **where))
    rows = [
        (
            place,
            spread([c.each for c in costs], 1e3),
            f"{1 / statistics.median(c.each for c in costs):,.0f}",
            spread([c.first for c in costs], 1, 2),
        )
        for place, costs in found.items()
    ]
    columns = ("where", "ms per task (range)", "tasks per second", "s to the first outcome (range)")
    return markdown(columns, rows), found


SWEEPS: dict[str, tuple[Callable[..., Any], list[sr.Task]]] = {
    f"{len(FITS)} fits by rovi": (fitted, FITS),
    f"{len(CHAINS)} runs of NUTS": (sampled, CHAINS),
}


def sweep(
    function: Callable[..., Any], tasks: Sequence[sr.Task], **where: Any
) -> tuple[float, ...]:
    """Wall-clock seconds of everything, and the processor seconds of the tasks."""
    began = time.perf_counter()
    outcomes = list(sr.run_many(tasks, function, **where))
    seconds = time.perf_counter() - began
    assert all(outcome.status == "done" for outcome in outcomes)
    return seconds, sum(outcome.cpu_seconds or 0 for outcome in outcomes)


def speedups() -> str:
    """Measure one worker and two in turn."""
    rows = []
    for name, (function, tasks) in SWEEPS.items():
        for place, more in (("processes", {}), ("Dask here", {"dask": "local"})):
            pairs = [
                [sweep(function, tasks, jobs=jobs, **more) for jobs in (1, 2)] for _ in range(PAIRS)
            ]
            one, two = ([pair[i] for pair in pairs] for i in (0, 1))
            rows.append(
                (
                    f"{name}, {place}",
                    spread([s for s, _ in one]),
                    spread([s for s, _ in two]),
                    spread([a[0] / b[0] for a, b in pairs], digits=2),
                    spread([b[1] / a[1] for a, b in pairs], digits=2),
                )
            )
    columns = (
        "sweep",
        "s, 1 worker",
        "s, 2 workers",
        "speed-up",
        "processor s of the tasks, 2 to 1",
    )
    return markdown(columns, rows)


def cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def loopback_bytes() -> int:
    """Bytes that this machine has sent to itself."""
    return int(psutil.net_io_counters(pernic=True)["lo"].bytes_sent)


def resident(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / 1e6


def hosted(worker: psutil.Process) -> list[psutil.Process]:
    """Find the processes of a Dask worker that do tasks."""
    return [c for c in worker.children() if "resource_tracker" not in " ".join(c.cmdline())]


def central() -> tuple[str, str, dict[str, float]]:
    """Measure what a task costs scheduler, client and worker, in processor time and bytes."""
    me, found = psutil.Process(), []
    memory: dict[str, float] = {}
    with cluster(2) as running, tempfile.TemporaryDirectory() as folder:
        for repeat in range(REPEATS):
            processes = [me, running.scheduler, *running.workers]
            # What each task of a longer run adds: not what a run costs once.
            totals = []
            for n in (EMPTY // 3, EMPTY):
                before, sent = [cpu(p) for p in processes], loopback_bytes()
                ledger = Path(folder) / f"{repeat}-{n}.jsonl"
                list(sr.run_many(empty_tasks(n), nothing, dask=running.address, ledger=ledger))
                spent = [1e3 * (cpu(p) - b) for p, b in zip(processes, before, strict=True)]
                kilobytes = (loopback_bytes() - sent) / 1e3
                totals.append([spent[0], spent[1], spent[2] + spent[3], kilobytes])
            few, many = np.array(totals)
            found.append((many - few) / (EMPTY - EMPTY // 3))
        memory["scheduler"] = resident(running.scheduler)
        outcomes = sr.run_many(FITS[:12], fitted, dask=running.address)
        for _ in range(12):
            next(outcomes)
        memory["Dask worker"] = max(map(resident, running.workers))
        theirs = [process for worker in running.workers for process in hosted(worker)]
        memory["its process that does tasks, after fits"] = max(map(resident, theirs))
        outcomes.close()
    memory["client"] = resident(me)
    columns = np.transpose(found)
    names = (
        "client, ms (with the ledger)",
        "scheduler, ms",
        "the Dask worker itself, ms",
        "bytes over the network, all ways, kB",
    )
    table = markdown(
        ("of each task", "median (range)"),
        [(name, spread(list(column), 1, 2)) for name, column in zip(names, columns, strict=True)],
    )
    memories = markdown(("process", "MB"), [(name, f"{mb:,.0f}") for name, mb in memory.items()])
    client, scheduler, *_ = (float(np.median(column)) / 1e3 for column in columns)
    return table, memories, {"client": client, "scheduler": scheduler}


def data_sent() -> str:
    """Measure what goes over the network for one large data set and several tasks."""
    program = "data { int n; vector[n] y; } parameters { real x; } model { x ~ normal(y[1], 1); }"
    with cluster(2) as running, tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.stan"
        path.write_text(program, encoding="utf-8")
        data = {"n": LARGE, "y": np.random.default_rng(1).standard_normal(LARGE)}
        tasks = [sr.Task(path, data, seed=seed) for seed in range(16)]
        size = len(pickle.dumps(Source.of(tasks[0])))
        before = loopback_bytes()
        outcomes = list(sr.run_many(tasks, nothing, dask=running.address))
        assert all(outcome.status == "done" for outcome in outcomes)
        copies = (loopback_bytes() - before) / size
    return (
        f"A data set of {size / 1e6:.1f} MB crossed the network {copies:.1f} times for 16 tasks on "
        "two workers"
    )


def sizes() -> str:
    """Measure what is sent: a task, and what comes back."""
    task = sr.Task("eight_schools", method="rovi", seed=1)
    (outcome,) = sr.run_many([task], sr.fit, jobs=0)
    number = Report("done", outcome.value.result.elbo).timed(0.5, 0.5)
    rows = [
        ("a task without its model", len(pickle.dumps(task.bare()))),
        ("a report with a number", len(pickle.dumps(number))),
        ("a whole fit of eight schools, 4,000 draws", len(pickle.dumps(outcome.value))),
        ("program and data of eight schools", len(pickle.dumps(Source.of(task)))),
    ]
    return markdown(("what is sent", "kB"), [(name, f"{n / 1e3:,.1f}") for name, n in rows])


def ledger_cost() -> tuple[str, float]:
    """Measure how long the client waits for a record to be on the disk; told, and in seconds."""
    record = {"model": "eight_schools", "method": "rovi", "seed": 1, "value": {"x": [0.1] * 20}}
    times = []
    with tempfile.TemporaryDirectory(dir=HERE) as folder, Ledger(Path(folder) / "l") as ledger:
        for i in range(RECORDS):
            began = time.perf_counter()
            ledger.append(str(i), record)
            times.append(1e3 * (time.perf_counter() - began))
    middle, slow = np.quantile(times, [0.5, 0.99])
    return f"{middle:.2f} ms ({slow:.2f} ms in the slowest of a hundred)", float(middle) / 1e3


def efficiency(n: int, length: float, own: float, shared: float) -> float:
    """Share of the time that n workers are busy; see the page."""
    return min(length / (length + own), length / (n * shared))


def on_paper(own: float, shared: float) -> tuple[str, dict[int, float]]:
    """Say how busy workers are, and how long tasks must be for most of the time."""
    rows = [
        [f"{n:,} workers", *(f"{100 * efficiency(n, s, own, shared):.0f}%" for s in LENGTHS)]
        for n in WORKERS
    ]
    least = {n: BUSY * max(own / (1 - BUSY), n * shared) for n in WORKERS}
    table = markdown(
        ("tasks of", *(f"{s:g} s" for s in LENGTHS), f"{100 * BUSY:.0f}% busy from"),
        [[*row, f"{least[n]:.1f} s"] for row, n in zip(rows, WORKERS, strict=True)],
    )
    return table, least


def main() -> None:
    """Measure everything and write the page."""
    began_load = os.getloadavg()[0]
    said, costs = overheads()
    print(said, flush=True)
    central_table, memories, of_task = central()
    print(central_table, memories, sep="\n\n", flush=True)
    ledger, wait = ledger_cost()
    of_task["client"] += wait
    own = statistics.median(c.each for c in costs["Dask scheduler, 1 worker"])
    shared = max(of_task.values())
    paper, least = on_paper(own, shared)
    print(paper, flush=True)
    sweeps = speedups()
    print(sweeps, flush=True)
    template = (HERE / "many.template.md").read_text(encoding="utf-8")
    OUTPUT.write_text(
        template.format(
            versions=", ".join(f"{name} {version(name)}" for name in PACKAGES),
            python=platform.python_version(),
            processors=os.cpu_count(),
            load=f"{began_load:.1f}",
            empty=EMPTY,
            repeats=REPEATS,
            pairs=PAIRS,
            overheads=said,
            sweeps=sweeps,
            central=central_table,
            memories=memories,
            sizes=sizes(),
            data_sent=data_sent(),
            ledger=ledger,
            busiest=max(of_task, key=lambda name: of_task[name]),
            shared=f"{1e3 * shared:.1f}",
            most=f"{1 / shared:,.0f}",
            own=f"{1e3 * own:.0f}",
            least=f"{least[1000]:.1f}",
            paper=paper,
        ),
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
