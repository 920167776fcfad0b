"""The tasks of a benchmark: references that are lacking, then a row for each run."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from stanrovi.benchmark.accuracy import digest
from stanrovi.benchmark.posteriors import Posterior
from stanrovi.benchmark.rows import BenchRow
from stanrovi.draws import Draws
from stanrovi.errors import DrawsError, StanroviError
from stanrovi.io.ledger import kept_as
from stanrovi.io.netcdf import read_draws
from stanrovi.runs.many import name_of, run_many
from stanrovi.runs.tasks import Outcome, Task
from stanrovi.stan.data import DataSource
from stanrovi.stan.model import ModelSource

logger = logging.getLogger(__name__)

REFERENCES = "references"  # folder, in that of a benchmark
_REFERENCE_SEED = 2**31 - 1  # hardly that of another run, whose draws would be the same


@dataclass(frozen=True)
class WithReference:
    """A posterior whose reference a run has made.

    Attributes
    ----------
    posterior : Posterior
    path : Path
        NetCDF of the draws.
    hashes : tuple of pairs of str
        Of program and data, as the draws must have them.
    failure : str
        Why there are none; empty where there are.
    """

    posterior: Posterior = field(compare=False)
    path: Path
    hashes: tuple[tuple[str, str], ...] = ()
    failure: str = ""

    @property
    def name(self) -> str:
        """Name of the posterior."""
        return self.posterior.name

    def program(self) -> ModelSource:
        """Give that of the posterior."""
        return self.posterior.program()

    def data(self) -> DataSource:
        """Give those of the posterior."""
        return self.posterior.data()

    def reference(self) -> Draws:
        """Read the draws; `DrawsError` where the run failed, or the file is of another model."""
        if self.failure:
            raise DrawsError(self.failure)
        draws = read_draws(self.path)
        if any(draws.attrs.get(name) != value for name, value in self.hashes):
            raise DrawsError(
                f"{self.path} holds draws of another program or other data than {self.name}; "
                "have the reference made again."
            )
        return draws


def reference_path(folder: Path, name: str) -> Path:
    """Path of the reference of a posterior, whatever its name; each name has its own."""
    word = re.sub(r"[^A-Za-z0-9_.-]", "_", name)
    if word != name:
        word += f"-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return folder / f"{word}.nc"


@dataclass(frozen=True)
class Sweep:
    """What runs, and where.

    Attributes
    ----------
    posteriors : mapping of str to Posterior
        By name.
    include_paths : tuple of path
        Folders searched for ``#include``.
    where : mapping of str to object
        Keyword arguments of `run_many`: jobs, dask, time_limit, progress.
    model_seed : int
        Of random numbers in transformed data, so that all runs have one posterior.
    """

    posteriors: Mapping[str, Posterior]
    include_paths: tuple[str | os.PathLike[str], ...]
    where: Mapping[str, Any]
    model_seed: int
    _sources: dict[str, tuple[ModelSource, DataSource] | StanroviError] = field(
        default_factory=dict, repr=False
    )

    def with_references(
        self,
        method: str,
        make_reference: Callable[..., dict[str, str]],
        folder: Path,
        *,
        anew: bool,
    ) -> Sweep:
        """Make the references that are lacking.

        Parameters
        ----------
        method : str
        make_reference : callable
            Takes a model, and as keywords method, seed, the name ``posterior``, ``posteriors``,
            ``folder`` and ``anew``; makes a reference at `reference_path` if none is there, and
            gives the hashes of program and data, none where the posterior has a reference.
        folder : Path
            Of ``output``; `REFERENCES` in it is made with the first file.
        anew : bool
            Whether those of an earlier benchmark there are made again.
        """
        folder = folder.resolve() / REFERENCES
        made = [self._task(item, method, _REFERENCE_SEED) for item in self.posteriors.values()]
        tasks = [task for task in made if isinstance(task, Task)]
        known = dict(self.posteriors)
        work = partial(make_reference, posteriors=self.posteriors, folder=folder, anew=anew)
        progress = self.where["progress"] is True  # a function is told of the runs alone
        for outcome in run_many(tasks, work, **{**self.where, "progress": progress}):
            name = outcome.task.settings["posterior"]
            if outcome.value == {}:
                continue
            why = "" if outcome.value else f"{method} failed: {outcome.error}"
            hashes = tuple((outcome.value or {}).items())
            known[name] = WithReference(known[name], reference_path(folder, name), hashes, why)
        return replace(self, posteriors=known)

    def rows(
        self,
        methods: Sequence[str],
        seeds: Sequence[int],
        draws: int,
        measure: Callable[..., dict[str, Any]],
        ledger: Path | None,
    ) -> list[BenchRow]:
        """Run everything, and put the rows in order.

        Parameters
        ----------
        methods : sequence of str
        seeds : sequence of int
        draws : int
        measure : callable
            Takes a model, and as keywords method, seed, the name ``posterior``, ``draws``,
            ``reference``, and ``posteriors``, to the fields of a row.
        ledger : Path or None
        """
        rows: list[BenchRow] = []
        tasks: dict[int, Task] = {}  # of the rows that can be run, by place
        references: dict[str, str] = {}
        for posterior, method, seed in product(self.posteriors.values(), methods, seeds):
            if posterior.name not in references:
                references[posterior.name] = digest(posterior)
            reference = references[posterior.name]
            task = self._task(posterior, method, seed, draws=draws, reference=reference)
            row = BenchRow(posterior.name, None, None, method, seed)
            if isinstance(task, Task):
                tasks[len(rows)] = task
            else:
                row = replace(row, error=str(task), outcome="error")
            rows.append(row)
        places, left = list(tasks), len(tasks)
        work = partial(measure, posteriors=self.posteriors)
        vars(work)["ledger_name"] = name_of(measure)  # settings tell what is asked of it
        try:
            for outcome in run_many(tasks.values(), work, ledger=ledger, **self.where):
                place = places[outcome.index]
                rows[place] = _row(rows[place], outcome)
                left -= 1
        except KeyboardInterrupt:
            if ledger is not None and left < len(tasks):
                logger.warning(
                    "%d of %d runs are done and kept in %s; the same again with --resume "
                    "(resume=True) goes on.", len(tasks) - left, len(tasks), ledger,
                )  # fmt: skip
            raise
        return rows

    def _task(
        self, posterior: Posterior, method: str, seed: int, **settings: Any
    ) -> Task | StanroviError:
        """Make a task, or tell why program or data are not to be had."""
        source = self._sources.get(posterior.name)
        if source is None:
            try:
                source = posterior.program(), posterior.data()
            except StanroviError as error:
                source = error
            self._sources[posterior.name] = source
        if isinstance(source, StanroviError):
            return source
        settings = {"posterior": posterior.name, **settings}
        return Task(
            *source,
            method=method,
            seed=seed,
            model_seed=self.model_seed,
            include_paths=self.include_paths,
            settings=settings,
        )


def _row(asked: BenchRow, outcome: Outcome[dict[str, Any]]) -> BenchRow:
    if outcome.value is not None:
        return kept_as(BenchRow, outcome.value)
    return replace(asked, error=outcome.error, outcome=outcome.status)
