"""Records as text and arrays, and back: what a file can hold of an object without running code.

A record is a frozen dataclass of a known list. Its numbers and words become JSON, its arrays are
kept apart, bit for bit, and a record that occurs twice is written once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array

if TYPE_CHECKING:
    import xarray as xr

Arrays = dict[str, NDArray[Any]]

_TEXT = "record"

_SPARSE = {"csc": csc_array, "csr": csr_array}
_PARTS = ("data", "indices", "indptr")


def to_dataset(value: Any, known: Sequence[type]) -> xr.Dataset:
    """Give the group of a file that holds a value; see `Packer`.

    Raises
    ------
    TypeError
        For a record that is not known.
    """
    import xarray as xr

    packer = Packer(known)
    text = np.frombuffer(json.dumps(packer.pack(value)).encode(), dtype=np.uint8)
    return xr.Dataset(
        {
            name: ([f"{name}_dim_{i}" for i in range(array.ndim)], array)
            for name, array in (packer.arrays | {_TEXT: text}).items()
        }
    )


def from_dataset(group: xr.Dataset, known: Sequence[type]) -> Any:
    """Read what `to_dataset` has made.

    Raises
    ------
    LookupError, TypeError, ValueError
        Whatever Python raises on its own where it holds something else.
    """
    arrays = {str(name): part.values for name, part in group.data_vars.items()}
    return Unpacker(known, arrays).unpack(json.loads(bytes(arrays.pop(_TEXT))))


class Packer:
    """Writes values as JSON values, and keeps their arrays.

    Parameters
    ----------
    known : sequence of type
        The records that may occur.

    Attributes
    ----------
    arrays : dict of str to ndarray
        Those met so far, none without elements.
    """

    def __init__(self, known: Sequence[type]) -> None:
        self._known = set(known)
        self.arrays: Arrays = {}
        # The records are kept, so that no other takes the place of one in memory.
        self._seen: dict[int, tuple[int, Any]] = {}

    def pack(self, value: Any) -> Any:
        """Give the JSON value of a record, or of what its fields hold.

        Raises
        ------
        TypeError
            For a record that is not known, or any other object.
        """
        if isinstance(value, np.generic):
            return value.item()
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        if isinstance(value, Path):
            return {"path": str(value)}
        if isinstance(value, np.ndarray):
            return self._array(value)
        if isinstance(value, (csc_array, csr_array)):
            parts = [self._array(getattr(value, part)) for part in _PARTS]
            return {"sparse": value.format, "shape": list(value.shape), "parts": parts}
        if isinstance(value, tuple):
            return self._tuple(value)
        if isinstance(value, Mapping):
            return {"mapping": {str(key): self.pack(item) for key, item in value.items()}}
        if type(value) in self._known:
            return self._record(value)
        raise TypeError(f"a {type(value).__name__} is no record that files hold")

    def _array(self, value: NDArray[Any]) -> Any:
        if not value.size:
            return {"empty": list(value.shape), "dtype": value.dtype.str}
        name = f"array_{len(self.arrays)}"
        self.arrays[name] = value
        return {"array": name}

    def _tuple(self, value: tuple[Any, ...]) -> Any:
        if len(value) > 1 and all(isinstance(v, np.ndarray) and v.ndim == 1 for v in value):
            sizes = np.array([len(v) for v in value])
            return {"rows": self._array(np.concatenate(value)), "sizes": self._array(sizes)}
        return {"tuple": [self.pack(item) for item in value]}

    def _record(self, value: Any) -> Any:
        if id(value) in self._seen:
            return {"same": self._seen[id(value)][0]}
        self._seen[id(value)] = len(self._seen), value
        own = {f.name: self.pack(getattr(value, f.name)) for f in fields(value) if f.init}
        return {"record": type(value).__name__, "fields": own}


class Unpacker:
    """Reads what `Packer` has written.

    Parameters
    ----------
    known : sequence of type
        The records that may occur.
    arrays : mapping of str to ndarray
    """

    def __init__(self, known: Sequence[type], arrays: Mapping[str, NDArray[Any]]) -> None:
        self._known = {kind.__name__: kind for kind in known}
        self._arrays = arrays
        self._seen: list[Any] = []

    def unpack(self, value: Any) -> Any:
        """Give what a JSON value stands for.

        Raises
        ------
        LookupError, TypeError, ValueError
            Whatever Python raises on its own where it stands for nothing.
        """
        if not isinstance(value, Mapping):
            return value
        if "record" in value:
            return self._record(value)
        if "same" in value:
            return self._seen[value["same"]]
        if "array" in value:
            return self._arrays[value["array"]]
        if "empty" in value:
            return np.zeros(0, dtype=value["dtype"]).reshape(value["empty"])
        if "sparse" in value:
            parts = tuple(self.unpack(part) for part in value["parts"])
            return _SPARSE[value["sparse"]](parts, shape=tuple(value["shape"]))
        if "rows" in value:
            ends = np.cumsum(self.unpack(value["sizes"]))[:-1]
            return tuple(np.split(self.unpack(value["rows"]), ends))
        if "tuple" in value:
            return tuple(self.unpack(item) for item in value["tuple"])
        if "path" in value:
            return Path(value["path"])
        return {key: self.unpack(item) for key, item in value["mapping"].items()}

    def _record(self, value: Mapping[str, Any]) -> Any:
        kind, place = self._known[value["record"]], len(self._seen)
        self._seen.append(None)
        own = {name: self.unpack(part) for name, part in value["fields"].items()}
        self._seen[place] = kind(**own)
        return self._seen[place]
