"""NUTS of CmdStan, run through cmdstanpy."""

from __future__ import annotations

import logging
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from stanrovi.environment import environment
from stanrovi.errors import SamplerError
from stanrovi.io.files import scratch_folder
from stanrovi.stan.cmdstan import SIGNIFICANT_DIGITS, open_executable, own_logging, why_failed
from stanrovi.stan.constrain import plain, split
from stanrovi.stan.nuts.chains import ChainListener, Chains, NutsSettings
from stanrovi.stan.processes import end_processes
from stanrovi.target import Array

if TYPE_CHECKING:
    from cmdstanpy import CmdStanMCMC, CmdStanModel

logger = logging.getLogger(__name__)

T = TypeVar("T")

_THREADS = "STAN_NUM_THREADS"
_POLL_SECONDS = 0.25
_CHAIN_FILE = re.compile(r"(?:_(?P<chain>\d+))?\.csv$")


def sample_cmdstan(
    exe: Path, data: str, settings: NutsSettings, progress: ChainListener | None
) -> Chains:
    """Run NUTS in a CmdStan executable.

    Parameters
    ----------
    exe : Path
        Compiled executable.
    data : str
        JSON text.
    settings : NutsSettings
    progress : callable, optional
        Called with chain (from 1), iterations done and iterations in all.

    Returns
    -------
    Chains

    Raises
    ------
    UsageError
        If ``exe`` is no CmdStan executable.
    SamplerError
        If the run fails, with the reason from CmdStan's console.
    """
    with scratch_folder() as folder:
        data_file, output = folder / "data.json", folder / "output"
        data_file.write_text(data, encoding="utf-8")
        output.mkdir()
        watch = _watch(output, settings, progress) if progress else nullcontext()
        kept = environment({_THREADS: os.environ.get(_THREADS)})  # cmdstanpy sets it for good
        with own_logging(), kept, watch:
            model = open_executable(exe)
            try:
                return chains_of(
                    _interruptible(lambda: _sample(model, data_file, output, settings))
                )
            except (RuntimeError, ValueError, FileNotFoundError) as error:
                reason = why_failed(output, error)
                raise SamplerError(f"NUTS (CmdStan, {exe.name}) failed: {reason}") from error
            except KeyboardInterrupt:
                # cmdstanpy keeps its processes to itself and goes on starting queued
                # chains; without their folder those cannot start.
                shutil.rmtree(output, ignore_errors=True)
                end_processes(str(output))
                raise


def _interruptible(work: Callable[[], T]) -> T:
    """Work in another thread, while this one waits for it or for a signal.

    cmdstanpy waits for its chains wherever an exception finds it: a KeyboardInterrupt that
    falls between the start of the first chain and the last would be heard when all are done.
    And a signal that the system hands to another thread wakes no wait without end: Python
    heeds it in this thread, as soon as that runs.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="stanrovi-nuts", daemon=True).start()
    while not wait([future], _POLL_SECONDS).done:
        pass
    return future.result()


def chains_of(fit: CmdStanMCMC) -> Chains:
    """Read a finished CmdStan run.

    Parameters
    ----------
    fit : cmdstanpy.CmdStanMCMC

    Returns
    -------
    Chains
    """
    draws = np.ascontiguousarray(np.swapaxes(fit.draws(), 0, 1))
    stats: dict[str, Array] = {
        name: np.swapaxes(values, 0, 1) for name, values in fit.method_variables().items()
    }
    n_saved, n_draws = stats["lp__"].shape[1], draws.shape[1]
    return Chains(
        variables=split(draws, plain(fit.metadata.stan_vars, fit.column_names)),
        sampler={name: values[:, n_saved - n_draws :] for name, values in stats.items()},
        n_gradients=int(stats["n_leapfrog__"].sum()),
        includes_warmup=n_saved > n_draws or fit.num_draws_warmup == 0,
        seconds_warmup=sum(times.get("warmup", 0.0) for times in fit.time),
        seconds_sampling=sum(times.get("sampling", 0.0) for times in fit.time),
    )


def _sample(
    model: CmdStanModel, data_file: Path, output: Path, settings: NutsSettings
) -> CmdStanMCMC:
    adapts = settings.iter_warmup > 0
    return model.sample(
        data=str(data_file),
        chains=settings.chains,
        seed=settings.seed,
        iter_warmup=settings.iter_warmup,
        iter_sampling=settings.iter_sampling,
        save_warmup=settings.save_warmup,
        adapt_engaged=adapts,
        adapt_delta=settings.adapt_delta if adapts else None,
        inits=None if settings.inits is None else list(settings.inits),
        **_metric(settings),
        max_treedepth=settings.max_treedepth,
        output_dir=output,
        sig_figs=SIGNIFICANT_DIGITS,
        show_progress=False,
    )


def _metric(settings: NutsSettings) -> dict[str, Any]:
    """Options for a metric that is given: all of warm-up is for the step size."""
    if settings.inv_metric is None:
        return {}
    options = {"metric": settings.metric, "inv_metric": settings.inv_metric}
    if settings.iter_warmup == 0:
        return options
    phases = {"adapt_init_phase": 0, "adapt_metric_window": 0}
    return options | phases | {"adapt_step_size": settings.iter_warmup}


@contextmanager
def _watch(output: Path, settings: NutsSettings, progress: ChainListener) -> Iterator[None]:
    """Report progress while the block runs, from the rows in the growing CSV files."""
    done = threading.Event()
    counter = _RowCounter(output)

    def report() -> None:
        while not done.wait(_POLL_SECONDS):
            for chain, rows in counter.count().items():
                progress(chain, rows, settings.iterations)

    thread = threading.Thread(target=report, name="stanrovi-nuts-progress", daemon=True)
    thread.start()
    try:
        yield
        for chain in range(1, settings.chains + 1):
            progress(chain, settings.iterations, settings.iterations)
    finally:
        done.set()
        thread.join()


class _RowCounter:
    """Counts draws in CSV files that are being written, reading each byte once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[Path, int] = {}
        self._rows: dict[int, int] = {}

    def count(self) -> dict[int, int]:
        """Rows so far by chain."""
        for path in self._folder.glob("*.csv"):
            match = _CHAIN_FILE.search(path.name)
            chain = int(match["chain"] or 1) if match else 1
            with path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                text = file.read()
            complete = text[: text.rfind(b"\n") + 1]
            self._read[path] = self._read.get(path, 0) + len(complete)
            rows = sum(line[:1] in b"-0123456789" for line in complete.splitlines() if line)
            self._rows[chain] = self._rows.get(chain, 0) + rows
        return {chain: rows for chain, rows in self._rows.items() if rows}
