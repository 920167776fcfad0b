"""The tasks of a benchmark: references that are lacking, then a row for each run."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from stanrovi.benchmark.posteriors import Posterior
from stanrovi.benchmark.rows import BenchRow
from stanrovi.draws import Draws
from stanrovi.errors import DrawsError, StanroviError
from stanrovi.io.files import output_folder
from stanrovi.io.netcdf import read_draws
from stanrovi.runs.many import run_many
from stanrovi.runs.tasks import Outcome, Task
from stanrovi.stan.data import DataSource
from stanrovi.stan.model import ModelSource

logger = logging.getLogger(__name__)

_REFERENCES = "references"
_REFERENCE_SEED = 2**31 - 1  # hardly that of another run, whose draws would be the same


@dataclass(frozen=True)
class WithReference:
    """A posterior whose reference a run has made.

    Attributes
    ----------
    posterior : Posterior
    path : Path
        NetCDF of the draws.
    made_by : str
        Method of the run; empty where it failed.
    failure : str
        Why there are none; empty where there are.
    """

    posterior: Posterior = field(compare=False)
    path: Path
    made_by: str
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
        """Read the draws; `DrawsError` where the run failed."""
        if self.failure:
            raise DrawsError(self.failure)
        return read_draws(self.path)


def reference_path(folder: Path, name: str) -> Path:
    """Path of the reference of a posterior, whatever its name."""
    return folder / f"{re.sub(r'[^A-Za-z0-9_.-]', '_', name)}.nc"


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
    """

    posteriors: Mapping[str, Posterior]
    include_paths: tuple[str | os.PathLike[str], ...]
    where: Mapping[str, Any]
    _sources: dict[str, tuple[ModelSource, DataSource] | StanroviError] = field(
        default_factory=dict, repr=False
    )

    def with_references(
        self, method: str, make_reference: Callable[..., bool], folder: Path
    ) -> Sweep:
        """Make the references that are lacking.

        Parameters
        ----------
        method : str
        make_reference : callable
            Takes a model, and as keywords method, seed, the name ``posterior``, ``posteriors``,
            and ``folder``; makes a reference at `reference_path` if none is there, and tells
            whether it is so.
        folder : Path
            Gets ``references``.
        """
        folder = output_folder(folder / _REFERENCES, overwrite=True).resolve()
        made = [self._task(item, method, _REFERENCE_SEED) for item in self.posteriors.values()]
        tasks = [task for task in made if isinstance(task, Task)]
        known = dict(self.posteriors)
        work = partial(make_reference, posteriors=self.posteriors, folder=folder)
        progress = self.where["progress"] is True  # a function is told of the runs alone
        for outcome in run_many(tasks, work, **{**self.where, "progress": progress}):
            name = outcome.task.settings["posterior"]
            if outcome.value is False:
                continue
            why = "" if outcome.value else f"{method} failed: {outcome.error}"
            known[name] = WithReference(
                known[name], reference_path(folder, name), "" if why else method, why
            )
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
        for posterior, method, seed in product(self.posteriors.values(), methods, seeds):
            by = posterior.made_by if isinstance(posterior, WithReference) else ""
            task = self._task(posterior, method, seed, draws=draws, reference=by)
            row = BenchRow(posterior.name, None, None, method, seed)
            if isinstance(task, Task):
                tasks[len(rows)] = task
            else:
                row = replace(row, error=str(task), outcome="error")
            rows.append(row)
        places, left = list(tasks), len(tasks)
        work = partial(measure, posteriors=self.posteriors)
        try:
            for outcome in run_many(tasks.values(), work, ledger=ledger, **self.where):
                place = places[outcome.index]
                rows[place] = _row(rows[place], outcome)
                left -= 1
        except KeyboardInterrupt:
            if ledger is not None:
                logger.warning(
                    "%d of %d runs are done and kept in %s; the same again with --resume "
                    "(resume=True) goes on.", len(rows) - left, len(rows), ledger,
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
            *source, method=method, seed=seed, include_paths=self.include_paths, settings=settings
        )


def _row(asked: BenchRow, outcome: Outcome[dict[str, Any]]) -> BenchRow:
    if outcome.value is not None:
        return BenchRow(**outcome.value)
    return replace(asked, error=outcome.error, outcome=outcome.status)
