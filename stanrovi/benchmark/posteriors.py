"""What a benchmark runs on: named posteriors, with a reference or without."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from stanrovi.arguments import told
from stanrovi.draws import Draws
from stanrovi.errors import DataError, ModelError, UsageError
from stanrovi.io.files import usable_path
from stanrovi.stan.data import DataSource
from stanrovi.stan.engine import LIBRARY_SUFFIXES
from stanrovi.stan.locate import locate
from stanrovi.stan.model import Model, ModelSource

# A program and its data in one word: model.stan:data.json.
_PAIR = re.compile(rf"(.+(?:\.stan|{'|'.join(map(re.escape, LIBRARY_SUFFIXES))})):(.+)", re.S)


class Posterior(Protocol):
    """A posterior by name: hashable, and picklable to the processes that run it.

    What cannot be had raises `stanrovi.errors.StanroviError` when it is asked for.
    """

    @property
    def name(self) -> str:
        """What the rows call it."""

    def __hash__(self) -> int:
        """Tell it from others, so that its reference is read once."""

    def program(self) -> ModelSource:
        """Give the program, as `stanrovi.Model` takes it."""

    def data(self) -> DataSource:
        """Give its data; None where the program needs none, or has them beside it."""

    def reference(self) -> Draws | None:
        """Give reference draws; None where there are none."""


@dataclass(frozen=True, eq=False)
class GivenPosterior:
    """A posterior that a user names by model and data, without a reference.

    Attributes
    ----------
    name : str
    source : Model, path or str
    given : path, str, mapping or None
        Data.
    """

    name: str
    source: ModelSource
    given: DataSource = None

    def program(self) -> ModelSource:
        """Give the model."""
        return self.source

    def data(self) -> DataSource:
        """Give the data."""
        return self.given

    def reference(self) -> Draws | None:
        """Give none."""
        return None


def posteriors_of(
    given: Iterable[Any], include_paths: Sequence[str | os.PathLike[str]] = ()
) -> tuple[Posterior, ...]:
    """Name what a user gives, each by a name of its own.

    Parameters
    ----------
    given : iterable
        Of posteriors, models, words (``"kidscore"``, ``"a.stan"``, ``"a.stan:b.json"``), and pairs
        of a model and its data.
    include_paths : sequence of path

    Returns
    -------
    tuple of Posterior

    Raises
    ------
    UsageError
        For a model that is not there, or two posteriors of one name.
    """
    found = [_posterior(item, include_paths) for item in _once(given)]
    twice = {name for name, n in Counter(item.name for item in found).items() if n > 1}
    named = [_longer_named(item) if item.name in twice else item for item in found]
    for name, n in Counter(item.name for item in named).items():
        if n > 1:
            raise UsageError(f"{n} posteriors are called {name}; give each once, or other names.")
    return tuple(named)


def _once(given: Iterable[Any]) -> list[Any]:
    """Leave out words and paths that repeat another one."""
    kept: list[Any] = []
    for item in given:
        word = str(usable_path(item)) if isinstance(item, os.PathLike) else item
        if not (isinstance(word, str) and any(word == other for other in kept)):
            kept.append(word)
    return kept


def _posterior(item: Any, include_paths: Sequence[str | os.PathLike[str]]) -> Posterior:
    if isinstance(item, Model):
        return GivenPosterior(item.name, item)
    if hasattr(item, "reference") and hasattr(item, "program"):
        found: Posterior = item
        return found
    if isinstance(item, tuple) and len(item) != 2:
        raise UsageError(
            f"A tuple of {len(item)} is no posterior; give pairs of a model and its data, "
            "(model, data)."
        )
    source, data = item if isinstance(item, tuple) else _split(item)
    if isinstance(source, Model):
        return GivenPosterior(source.name, source, data)
    if not isinstance(source, str | os.PathLike) and not hasattr(source, "stan_file"):
        raise UsageError(
            f"{told(source)} is no posterior; give a model, a path, a word such as "
            "'a.stan:b.json', or a pair (model, data)."
        )
    with suppress(ModelError, DataError):  # becomes the error of its rows
        locate(source, include_paths, data)
    path = source if isinstance(source, str | os.PathLike) else source.stan_file
    return GivenPosterior(Path(os.fspath(path)).stem, source, data)


def _split(item: Any) -> tuple[Any, DataSource]:
    """Take a word apart into program and data."""
    pair = _PAIR.fullmatch(item) if isinstance(item, str) else None
    if pair is None:
        return item, None
    if not (data := usable_path(pair[2])).is_file():
        raise UsageError(f"no such file: {data}, given as the data of {pair[1]}.")
    return pair[1], data


def _longer_named(item: Posterior) -> Posterior:
    """Name it by its data, too; a path without data by its folder."""
    if not isinstance(item, GivenPosterior) or not isinstance(item.source, str | os.PathLike):
        return item
    if isinstance(item.given, os.PathLike):
        data = Path(item.given).name.removesuffix(".json").removesuffix(".data")
        return replace(item, name=f"{item.name}-{data}")
    return replace(item, name=os.fspath(Path(item.source).with_suffix("")))
