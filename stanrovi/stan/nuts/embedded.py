"""NUTS of the embedded engine."""

from __future__ import annotations

import io
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from stanrovi.errors import ModelError, SamplerError, shortened
from stanrovi.stan.batch import processors
from stanrovi.stan.engine import construct, log_prints, translate
from stanrovi.stan.nuts.chains import ChainListener, Chains, NutsSettings
from stanrovi.stan.program import Program
from stanrovi.target import Array

if TYPE_CHECKING:
    import stanli

_turn = threading.Lock()  # stdout is one of the whole process
_PROGRESS = re.compile(r"Chain \[(?P<chain>\d+)\] Iteration:\s*(?P<done>\d+) / (?P<total>\d+)")
_SECONDS = re.compile(r"(?P<seconds>[\d.]+) seconds \((?P<phase>Warm-up|Sampling|Total)\)")
_REPORTS = 50  # progress reports of a chain


def sample_embedded(
    program: Program, data: str, settings: NutsSettings, progress: ChainListener | None
) -> Chains:
    """Run NUTS in this process; runs in several threads take turns.

    Parameters
    ----------
    program : Program
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
    SamplerError
        If a chain fails, with the engine's reason.
    ModelError
        If the engine does not know a feature of the program.
    """
    import stanli

    mir = translate(program)
    log_prints()
    try:
        model = construct(lambda: stanli.Model(mir=mir, data=data, seed=settings.seed))
    except RuntimeError as error:
        raise ModelError(
            f"the embedded engine cannot run {program.name} ({shortened(str(error))}); its NUTS "
            "needs it"
        ) from error
    with _listening(progress) as console:
        fit = _sample(model, settings, console)
    return _chains(fit, settings, console)


def _sample(model: stanli.Model, settings: NutsSettings, console: _Console) -> stanli.Fit:
    try:
        return model.sample(
            chains=settings.chains,
            parallel_chains=min(settings.chains, processors()),
            seed=settings.seed,
            warmup=settings.iter_warmup,
            samples=settings.iter_sampling,
            delta=settings.adapt_delta,
            max_depth=settings.max_treedepth,
            save_warmup=settings.save_warmup,
            adapt_engaged=settings.iter_warmup > 0,
            refresh=max(1, settings.iterations // _REPORTS),
            inits=settings.starts,
            metric=settings.metric,
            inv_metric=settings.inv_metric,
        )
    except RuntimeError as error:
        if error is console.raised:
            raise
        raise SamplerError(f"NUTS (embedded engine) failed: {shortened(str(error))}") from error


def _chains(fit: stanli.Fit, settings: NutsSettings, console: _Console) -> Chains:
    import stanli

    stats = dict(zip(stanli.SAMPLER_COLUMNS, np.moveaxis(fit.sampler_stats, 2, 0), strict=True))
    skip = settings.iter_warmup if settings.save_warmup else 0
    variables: dict[str, Array] = {name: fit.draws(name)[:, skip:] for name in fit.variables}
    return Chains(
        variables=variables,
        sampler={name: values[:, skip:] for name, values in stats.items()},
        n_gradients=int(stats["n_leapfrog__"].sum()),
        includes_warmup=settings.save_warmup or settings.iter_warmup == 0,
        seconds_warmup=console.seconds["Warm-up"],
        seconds_sampling=console.seconds["Sampling"],
    )


@contextmanager
def _listening(progress: ChainListener | None) -> Iterator[_Console]:
    """Read what is printed while the block runs."""
    with _turn:
        none = getattr(sys.stdout, "closed", sys.stdout is None)  # as services have it
        console = _Console(io.StringIO() if none else sys.stdout, progress)
        with redirect_stdout(console):
            try:
                yield console
            finally:
                console.end()


class _Console:
    """Stands in for stdout: the engine tells progress and times only by printing.

    Lines of the engine are read and kept from the terminal; anything else
    (another thread's output) passes through, all of it once ended. The chains
    print from threads of their own, so each thread has its own unfinished line.
    """

    def __init__(self, stdout: TextIO, progress: ChainListener | None) -> None:
        self._stdout = stdout
        self._progress = progress
        self._unfinished: dict[int, str] = {}
        self._ended = False
        self.raised: Exception | None = None  # by the callback, whose error it is
        self.seconds = {"Warm-up": 0.0, "Sampling": 0.0, "Total": 0.0}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stdout, name)

    def write(self, text: str) -> int:
        if self._ended:
            return self._stdout.write(text)
        thread = threading.get_ident()
        *lines, rest = (self._unfinished.pop(thread, "") + text).split("\n")
        for line in lines:
            self._take(line)
        if rest:
            self._unfinished[thread] = rest
        return len(text)

    def flush(self) -> None:
        if rest := self._unfinished.pop(threading.get_ident(), ""):  # a full disk refuses none, too
            self._stdout.write(rest)
        self._stdout.flush()

    def end(self) -> None:
        """Stop reading; whoever still holds this object writes to the terminal."""
        self._ended = True
        for thread in list(self._unfinished):
            self._stdout.write(self._unfinished.pop(thread))

    def _take(self, line: str) -> None:
        if match := _PROGRESS.match(line):
            if self._progress:
                try:
                    self._progress(int(match["chain"]), int(match["done"]), int(match["total"]))
                except Exception as error:
                    self.raised = error
                    raise
                self.flush()  # what the callback printed must not precede the next line
        elif match := _SECONDS.search(line):
            self.seconds[match["phase"]] += float(match["seconds"])
        elif line.strip() and not line.startswith("Warning: "):
            self._stdout.write(line + "\n")
