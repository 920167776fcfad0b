"""Functions for tasks: what a worker may be asked to do, and to suffer."""

from __future__ import annotations

import os
import resource
import signal
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

import stanrovi as sr
from stanrovi.errors import DensityError
from stanrovi.stan.batch import processors


def told(model: sr.Model, *, seed: int, **settings: Any) -> dict[str, Any]:
    """What a task is called with."""
    return {"dim": model.dim, "seed": seed, "model_seed": model.seed} | settings


def elbo(model: sr.Model, *, method: Any, seed: int) -> dict[str, Any]:
    """Numbers of a fit, to the last bit."""
    fit = sr.fit(model, method=method, seed=seed, draws=200)
    first = next(iter(fit.draws.posterior.values()))
    return {"elbo": fit.result.elbo, "sum": float(np.sum(first))}


def process(model: sr.Model, *, seed: int) -> dict[str, Any]:
    """Who works: the process, the model in its memory, and how many threads it may use."""
    return {"pid": os.getpid(), "model": id(model), "threads": processors()}


def noted(model: sr.Model, *, seed: int, folder: str) -> str:
    """Leave a file for each call."""
    (Path(folder) / f"{seed}-{time.time_ns()}").touch()
    return "noted"


def slow(model: sr.Model, *, seed: int, seconds: float) -> int:
    """Take a while."""
    time.sleep(seconds)
    return seed


class OneWay:
    """Pickles, and does not unpickle."""

    def __getstate__(self) -> dict[str, int]:
        return {"a": 1}

    def __setstate__(self, state: Any) -> None:
        raise ValueError("one way")


class SpeechlessError(Exception):
    """Raises another error where it is to be told."""

    def __str__(self) -> str:
        raise RuntimeError("nothing")


def beset(model: sr.Model, *, seed: int, fate: str) -> Any:
    """Come to a bad end, or to a good one."""
    if fate == "segfault":
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGSEGV)
    elif fate == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif fate == "exit":
        os._exit(3)
    elif fate == "memory":
        limits = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (8 << 30, limits[1]))
        try:
            np.ones(1 << 40)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, limits)
    elif fate == "bug":
        raise ZeroDivisionError("by zero")
    elif fate == "speechless":
        raise SpeechlessError
    elif fate == "talkative":
        raise ValueError("x" * 100_000)
    elif fate == "error":
        raise DensityError("finite nowhere")
    elif fate == "asleep":
        time.sleep(600)
    elif fate == "quit":
        sys.exit("enough")
    elif fate == "itself":
        circle: list[Any] = []
        circle.append(circle)
        return circle
    elif fate == "later":  # once the task is done
        threading.Timer(0.1, os._exit, [9]).start()
    elif fate == "litter":
        tempfile.mkdtemp(prefix="litter-", dir=None)
        time.sleep(600)
    elif fate == "orphan":
        child = os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "600")
        (Path(os.environ["STANROVI_TEST_FOLDER"]) / "child").write_text(str(child))
        os.kill(os.getpid(), signal.SIGKILL)
    elif fate == "odd":
        return lambda: None  # does not pickle
    elif fate == "one way":
        return OneWay()
    elif fate == "child":
        child = os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "600")
        (Path(os.environ["STANROVI_TEST_FOLDER"]) / "child").write_text(str(child))
        time.sleep(600)
    return fate


def nested(model: sr.Model, *, seed: int) -> list[Any]:
    """Have tasks of its own."""
    tasks = [sr.Task(model, seed=seed + i) for i in range(2)]
    return [outcome.value for outcome in sr.run_many(tasks, told, jobs=0)]


def warned(model: sr.Model, *, seed: int) -> float:
    """Let the library warn."""
    import logging

    logging.getLogger("stanrovi.somewhere").warning("take care")
    warnings.simplefilter("error")
    return float("nan")


def killed_at_start(passing: Path) -> None:
    """In place of what makes a process a worker."""
    os.kill(os.getpid(), signal.SIGKILL)
