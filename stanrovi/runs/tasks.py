"""One run of many: what is to be done on which model, and what came of it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import numpy as np

from stanrovi.arguments import checked_mapping, checked_seed, checked_text
from stanrovi.errors import StanroviError, UsageError
from stanrovi.io.json_values import plain
from stanrovi.io.ledger import misfit
from stanrovi.stan.data import DataSource, read_data
from stanrovi.stan.engine import EngineChoice
from stanrovi.stan.locate import folders, locate
from stanrovi.stan.model import Model, ModelSource, hashes, rebuilt
from stanrovi.stan.program import Program

T = TypeVar("T")

Status = Literal["done", "error", "crash", "time"]


@dataclass(frozen=True)
class Task:
    """A function to be called on a model, somewhere.

    It is called as ``function(model, method=method, seed=seed, **settings)``, without
    ``method`` where that is None; so `stanrovi.fit`, `stanrovi.sample` and `stanrovi.nuts` are
    such functions.

    Attributes
    ----------
    model : Model, path or str
        A model, or what `Model` takes: read where the task is made ready, built where it runs.
    data : path, str, mapping or None
        Data for ``model`` when it is not a `Model` already.
    method : str, optional
    seed : int, optional
        Below 2**32; of the call, and, where ``model`` is no `Model` yet, of random numbers in
        transformed data. Given by `run_many` where it is None.
    model_seed : int, optional
        Of random numbers in transformed data instead, where ``model`` is no `Model` yet.
    include_paths : sequence of path
        See `Model`.
    settings : mapping of str to JSON values
        More keyword arguments.
    """

    model: ModelSource
    data: DataSource = None
    _: KW_ONLY
    method: str | None = None
    seed: int | None = None
    model_seed: int | None = None
    include_paths: Sequence[str | os.PathLike[str]] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "settings", checked_mapping("settings", self.settings, "options"))
        object.__setattr__(self, "include_paths", tuple(folders(self.include_paths)))
        checked_text("method", self.method)
        for name in ("seed", "method"):
            if name in self.settings:
                raise UsageError(f"{name} is no setting of a task; give it by itself ({name}=).")

    @property
    def name(self) -> str:
        """Of the model."""
        if isinstance(self.model, Model):
            return self.model.name
        path = getattr(self.model, "stan_file", None) or self.model
        return Path(str(path)).stem

    def bare(self) -> Task:
        """Give the task without its data, for where its model is built already."""
        return replace(self, model=self.name, data=None, include_paths=())

    @property
    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of the call."""
        method = {} if self.method is None else {"method": self.method}
        return method | {"seed": self.seed} | dict(self.settings)


@dataclass(frozen=True, eq=False)
class Source:
    """What a model is built of in a worker; see the attributes of `Model`.

    Attributes
    ----------
    program : Program or Path
    data : dict
    engine : {"auto", "stanli", "bridgestan"}
    seed : int or None
        Of transformed data; None where the task's own is to be taken.
    hashes : dict of str to str
        Of program and data.
    isolate : bool
    """

    program: Program | Path
    data: dict[str, Any]
    engine: EngineChoice
    seed: int | None
    hashes: Mapping[str, str]
    isolate: bool = False

    @classmethod
    def of(cls, task: Task) -> Source:
        """Read a task's program and data.

        Raises
        ------
        UsageError
            If nothing of that name is there.
        ModelError, DataError
            If they cannot be read.
        """
        model = task.model
        if isinstance(model, Model):
            if task.data is not None:
                raise UsageError(
                    f"{model.name} has its data already; pass data only with a program."
                )
            return cls(
                model.source, model.data, model.engine, model.seed, model.hashes, model.isolate
            )
        program, data = locate(model, task.include_paths, task.data)
        values = read_data(data)
        if isinstance(program, Path):
            program = program.resolve()
        return cls(program, values, "auto", task.model_seed, hashes(program, values))

    def seed_for(self, seed: int) -> int:
        """Seed of the model in a task with this seed; one for all, where it changes nothing."""
        if isinstance(self.program, Program) and not self.program.has_random_data:
            return 0
        return seed if self.seed is None else self.seed

    def build(self, seed: int) -> Model:
        """Build the model with the seed that `seed_for` told.

        Raises
        ------
        ModelError, DataError
            See `Model`.
        """
        return rebuilt(self.program, self.data, self.engine, seed, self.isolate)


@dataclass(frozen=True)
class Report(Generic[T]):
    """What came of a call.

    Attributes
    ----------
    status : {"done", "error", "crash", "time"}
        Done; an error of stanrovi's own, which tells why the model, the data or the method
        cannot be had; the end of the worker by a fault, for want of memory, or an exception
        that nobody expected; or the end of its time.
    value : object
        What the function returned; None unless it is done.
    error : str or None
        Why there is no value.
    seconds, cpu_seconds : float or None
        Of the call, by the clock and of all processors; None where its worker took that along.
    warnings : tuple of str
        What was logged meanwhile.
    """

    status: Status
    value: T | None = None
    error: str | None = None
    seconds: float | None = None
    cpu_seconds: float | None = None
    warnings: tuple[str, ...] = ()

    @classmethod
    def failed(cls, error: StanroviError) -> Report[Any]:
        """Tell an error."""
        return cls("error", error=str(error))

    def to_record(self, task: Task) -> dict[str, Any]:
        """Give JSON values, with the task's own.

        Raises
        ------
        UsageError
            If the value is none that JSON knows.
        """
        told = {"model": task.name, "method": task.method, "seed": task.seed}
        record = told | {"settings": dict(task.settings)} | vars(self)
        try:
            return dict(json.loads(json.dumps(plain(record))))
        except (TypeError, ValueError, RecursionError) as error:
            raise UsageError(
                f"With a ledger a function must return JSON values ({error})."
            ) from None

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Report[Any] | None:
        """Read what `to_record` gave; None where it is something else."""
        try:
            report = cls(**{item.name: record[item.name] for item in fields(Report)})
            return None if misfit(report) else report.warned(tuple(report.warnings))
        except (KeyError, TypeError):
            return None

    def timed(self, seconds: float, cpu_seconds: float) -> Report[T]:
        """Add what it took."""
        return replace(self, seconds=seconds, cpu_seconds=cpu_seconds)

    def warned(self, warnings: tuple[str, ...]) -> Report[T]:
        """Add what was logged."""
        return replace(self, warnings=warnings)


@dataclass(frozen=True, kw_only=True)
class Outcome(Report[T]):
    """What came of a task.

    Attributes
    ----------
    status : {"done", "error", "crash", "time"}
        Done; an error of stanrovi's own, which says why model, data or method cannot be had; the
        end of the worker, or an exception that nobody expected; or the end of its time.
    value : object
        What the function returned; None unless it is done.
    error : str or None
        Why there is no value.
    seconds, cpu_seconds : float or None
        Of the call, by the clock and of all processors; None where its worker took that along.
    warnings : tuple of str
        What was logged meanwhile.
    index : int
        Place of the task in the sequence.
    task : Task
        With its seed.
    earlier : bool
        Whether it was read from the ledger.
    """

    index: int
    task: Task
    earlier: bool = False

    @classmethod
    def of(cls, report: Report[T], index: int, task: Task, *, earlier: bool = False) -> Outcome[T]:
        """Join a report and its task."""
        return cls(**vars(report), index=index, task=task, earlier=earlier)


def seeded(tasks: list[Task], seed: int) -> list[Task]:
    """Give each task without a seed one of its own, which its place and ``seed`` tell."""
    children = np.random.SeedSequence(seed).spawn(len(tasks))
    return [
        replace(
            task,
            seed=int(child.generate_state(1)[0] >> 1)
            if task.seed is None
            else checked_seed(task.seed),
        )
        for task, child in zip(tasks, children, strict=True)
    ]


@cache  # it is read from a file, for longer than all else that is done for a small task
def own_version() -> str:
    """Tell the version of stanrovi here."""
    return version("stanrovi")


def key(source: Source, task: Task, function: Any) -> str:
    """Name a task by all that its outcome depends on; the function by JSON values.

    Raises
    ------
    UsageError
        If its settings are none that JSON knows.
    """
    model = [dict(source.hashes), source.engine, source.seed_for(task.seed or 0)]
    what = [own_version(), function, model, task.arguments]
    try:
        text = json.dumps(plain(what), sort_keys=True)
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(
            f"With a ledger settings of tasks, and arguments of partial functions, must be JSON "
            f"values ({error}); let the function have other things by itself, and a ledger_name "
            "that tells them."
        ) from None
    return hashlib.sha256(text.encode()).hexdigest()[:32]
