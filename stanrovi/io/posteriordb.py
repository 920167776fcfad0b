"""Folders of posteriordb: programs, data and reference draws of many posteriors, by name.

Layouts of all its versions are known, from names with ``|`` and a folder ``content`` (2019) on.
An entry that is damaged takes no other with it: it is listed, and refused when it is used.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

from stanrovi.arguments import suggestion
from stanrovi.draws import Draws
from stanrovi.errors import DataError, DrawsError, ModelError, StanroviError, UsageError
from stanrovi.io.files import usable_path
from stanrovi.io.reference_draws import read_reference
from stanrovi.io.zipped_json import read_json

logger = logging.getLogger(__name__)

# Where versions keep things, below the folder; the newest first.
_MODEL_INFO = ("models/info", "content/models/info", "content/models")
_PROGRAMS = ("models/stan", "content/models/stan", "content/models")
_DATA_INFO = ("data/info", "content/data/info", "content/datasets/info", "content/datasets")
_DATA = ("data/data", "content/data/data", "content/datasets/data", "content/datasets")
_DRAWS = ("reference_posteriors/draws/draws", "reference_posteriors/draws", "gold_standards/draws")
_REFERENCE_KEYS = ("reference_posterior_name", "gold_standard_name")
_FEW = 12


@dataclass(frozen=True)
class StoredPosterior:
    """A posterior in a folder of posteriordb; each part is read when it is asked for.

    Attributes
    ----------
    name : str
        Name of its file in ``posteriors/``.
    folder : Path
        The folder that holds ``posteriors/``.
    """

    name: str
    folder: Path

    def program(self) -> Path:
        """Find its Stan program.

        Returns
        -------
        Path
            What the model's information names, or else the file called like the model.

        Raises
        ------
        ModelError
            The entry or the model's information is damaged, names no model, or names a file
            that is not there or lies outside the folder.
        """
        model = self._told(("model_name",), ModelError)
        if model is None:
            raise ModelError(
                f"{self._entry_file} names no model; add its model_name, or leave {self.name} out."
            )
        info = _info(self.folder, _MODEL_INFO, model, ModelError)
        code = _inner(info, "model_implementations", "stan", "model_code")
        declared = _inner(info, "model_code", "stan") if code is None else code
        return _require(self.folder, _PROGRAMS, declared, f"{model}.stan", ModelError, self.name)

    def data(self) -> dict[str, Any]:
        """Read its data.

        Returns
        -------
        dict
            JSON values by variable name; empty where the entry names no data.

        Raises
        ------
        DataError
            The entry or the information on the data is damaged, or the file is missing, cannot
            be read, holds no JSON object, or lies outside the folder.
        """
        data = self._told(("data_name",), DataError)
        if data is None:
            return {}
        declared = _info(self.folder, _DATA_INFO, data, DataError).get("data_file")
        file = _require(self.folder, _DATA, declared, f"{data}.json", DataError, self.name)
        return _read_object(file, DataError)

    def reference(self) -> Draws | None:
        """Read its reference draws.

        Returns
        -------
        Draws or None
            See `read_posteriordb`; None where the entry names none, or names draws that are
            not in the folder.

        Raises
        ------
        DrawsError
            The entry is damaged, or the draws cannot be read.
        """
        reference = self._told(_REFERENCE_KEYS, DrawsError)
        file = None if reference is None else _reference_file(self.folder, reference)
        return None if file is None else read_reference(file)

    @property
    def _entry_file(self) -> Path:
        return self.folder / "posteriors" / f"{self.name}.json"

    def _told(self, keys: Sequence[str], error: type[StanroviError]) -> str | None:
        """Read the first name that the entry gives under some keys; null is none."""
        entry = _read_object(self._entry_file, error)
        told = next((entry[key] for key in keys if entry.get(key) is not None), None)
        if told is not None and not (isinstance(told, str) and told):
            raise error(f"{self._entry_file}: {keys[0]} is {told!r:.40}, and must be a name.")
        return told


class PosteriorDatabase:
    """A folder of posteriordb.

    Parameters
    ----------
    path : path-like
        A checkout of posteriordb, its folder ``posterior_database``, or any other folder that
        holds ``posteriors/``.

    Attributes
    ----------
    folder : Path
        The folder that holds ``posteriors/``.
    names : tuple of str
        Names of the posteriors, sorted: of their files, without those that are a second name
        of another one.

    Raises
    ------
    UsageError
        There is no such folder.
    """

    folder: Path
    names: tuple[str, ...]

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.folder = _database_folder(usable_path(path))
        entries = dict(_entries(self.folder / "posteriors"))
        second = _second_names(entries)
        self.names = tuple(name for name in entries if name not in second)
        listed = _listed_aliases(self.folder / "alias" / "posteriors.json")
        self._aliases = second | {
            alias: second.get(name, name)
            for alias, name in listed.items()
            if second.get(name, name) in entries and alias not in entries
        }

    def select(self, patterns: Iterable[str] = ()) -> list[StoredPosterior]:
        """Choose posteriors.

        Parameters
        ----------
        patterns : iterable of str
            Names, aliases, or patterns as shells have them (``eight_schools*``); aliases are
            matched where no name is.

        Returns
        -------
        list of StoredPosterior
            In the order of the patterns, each once; all where there is no pattern.

        Raises
        ------
        UsageError
            A pattern matches nothing.
        """
        wanted = [patterns] if isinstance(patterns, str) else list(patterns)
        matches = [self._matching(pattern) for pattern in wanted] or [self.names]
        chosen = dict.fromkeys(name for found in matches for name in found)
        return [StoredPosterior(name, self.folder) for name in chosen]

    def find(self, name: str) -> StoredPosterior | None:
        """Find a posterior by its name or alias; None where there is none."""
        name = self._aliases.get(name, name)
        return StoredPosterior(name, self.folder) if name in self.names else None

    def _matching(self, pattern: str) -> Sequence[str]:
        stored = self.find(pattern)
        if stored is not None:
            return [stored.name]
        found = [name for name in self.names if fnmatchcase(name, pattern)] or [
            name for alias, name in self._aliases.items() if fnmatchcase(alias, pattern)
        ]
        if not found:
            near = suggestion(pattern, (*self.names, *self._aliases))
            more = ", ..." if len(self.names) > _FEW else ""
            held = ", ".join(self.names[:_FEW]) + more or "none"
            raise UsageError(
                f"No posterior in {self.folder} is called or matches {pattern!r}.{near} "
                f"It holds {len(self.names)}: {held}."
            )
        return found


def read_posteriordb(path: str | os.PathLike[str], name: str | None = None) -> Draws:
    """Read reference draws.

    Parameters
    ----------
    path : path-like
        A ``NAME.json.zip`` or ``NAME.json`` file of reference draws; or, with
        ``name``, a folder as `PosteriorDatabase` takes it.
    name : str, optional
        Name or alias of the posterior, or name of the reference draws.

    Returns
    -------
    Draws
        Method ``"reference"``; chains as stored, constrained space. All
        variables count as parameters, as posteriordb does not tell them apart.

    Raises
    ------
    UsageError
        ``path`` is no folder of posteriordb.
    DrawsError
        Nothing there, no reference draws for this posterior, or another format.
    """
    if name is None:
        return read_reference(Path(path))
    database = PosteriorDatabase(path)
    stored = database.find(name)
    if stored is not None:
        draws = stored.reference()
        if draws is None:
            raise DrawsError(
                f"There are no reference draws for {name} in {database.folder}; run NUTS instead."
            )
        return draws
    file = _reference_file(database.folder, name)
    if file is None:
        raise DrawsError(
            f"There are no reference draws named {name} in {database.folder}; check the name."
            f"{suggestion(name, database.names)}"
        )
    return read_reference(file)


def _database_folder(path: Path) -> Path:
    for folder in (path / "posterior_database", path):
        if os.path.isdir(folder / "posteriors"):
            return folder
    raise UsageError(
        f"{path} is no folder of posteriordb: neither {path / 'posteriors'} nor "
        f"{path / 'posterior_database' / 'posteriors'} is a folder. Give a checkout of "
        "posteriordb, or its folder posterior_database."
    )


def _entries(folder: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Names of the entries, sorted, and what they say; nothing of those that are damaged."""
    try:
        files = [folder / file for file in os.listdir(folder) if not file.startswith(".")]
    except OSError as error:
        raise UsageError(f"{folder} cannot be listed ({error.strerror}).") from error
    files = [file for file in files if file.suffix == ".json" and os.path.isfile(file)]
    for file in sorted(files, key=lambda file: file.stem):
        try:
            yield file.stem, _read_object(file, DataError)
        except DataError:  # told when the entry is used
            yield file.stem, {}


def _second_names(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Other names of entries, each with that of the file.

    Files that repeat the entry whose name they tell, as aliases once were stored; and names that
    differ from their files' and are told once.
    """
    told = {f: e["name"] for f, e in entries.items() if isinstance(e.get("name"), str)}
    counts = Counter(told.values())
    out = {}
    for file, name in told.items():
        if name not in entries and counts[name] == 1:
            out[name] = file
        elif name != file and told.get(name) == name and _same(entries[file], entries[name]):
            out[file] = name
    return out


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    keys = ("model_name", "data_name", *_REFERENCE_KEYS)
    return all(one.get(key) == other.get(key) for key in keys)


def _listed_aliases(file: Path) -> dict[str, str]:
    if not os.path.isfile(file):
        return {}
    try:
        listed = _read_object(file, DataError)
    except DataError as error:
        logger.warning("No aliases are known: %s", error)
        return {}
    return {alias: name for alias, name in listed.items() if isinstance(name, str)}


def _info(
    folder: Path, places: Sequence[str], name: str, error: type[StanroviError]
) -> dict[str, Any]:
    """Read the information on a model or data set; nothing where there is none."""
    file = _first_file(folder, [f"{place}/{name}.info.json" for place in places], error)
    return {} if file is None else _read_object(file, error)


def _reference_file(folder: Path, name: str) -> Path | None:
    return _first_file(folder, [f"{place}/{name}.json" for place in _DRAWS], DrawsError)


def _require(
    folder: Path,
    places: Sequence[str],
    declared: Any,
    usual: str,
    error: type[StanroviError],
    entry: str,
) -> Path:
    """Find the file that is declared, or that has the usual name; ``error`` if there is none."""
    candidates = [f"{place}/{usual}" for place in places]
    if declared is not None:
        if not (isinstance(declared, str) and declared):
            raise error(f"{entry} in {folder}: the path {declared!r:.40} is none; mend its JSON.")
        declared = declared.removesuffix(".zip")
        # Folders have moved, and files were renamed, below paths that stayed as they were.
        moved = [f"{place}/{PurePosixPath(declared).name}" for place in places]
        candidates = [declared, *moved, *candidates]
    file = _first_file(folder, candidates, error)
    if file is None:
        raise error(
            f"{entry} lacks a file: there is no {candidates[0]} in {folder}; fetch the folder "
            f"again, or leave {entry} out."
        )
    return file


def _first_file(folder: Path, candidates: Sequence[str], error: type[StanroviError]) -> Path | None:
    """Find the first file that is there, JSON plain or zipped."""
    for candidate in candidates:
        inside = Path(os.path.normpath(candidate))
        if inside.anchor or inside.parts[:1] == ("..",):
            raise error(
                f"{candidate} lies outside {folder}, from which alone files are read; "
                "mend the JSON that names it."
            )
        for ending in ("", ".zip") if inside.suffix == ".json" else ("",):
            if os.path.isfile(file := folder / f"{inside}{ending}"):
                return file
    return None


def _read_object(file: Path, error: type[StanroviError]) -> dict[str, Any]:
    content = read_json(file, error)
    if not isinstance(content, dict):
        raise error(f"{file} holds no JSON object, which is expected there; fetch it again.")
    return content


def _inner(content: Any, *keys: str) -> Any:
    """Look up a value in nested objects; None where one of them is missing or no object."""
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    return content
