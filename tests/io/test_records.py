"""Records become text and arrays, and come back as they were."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csc_array, csr_array

from stanrovi.io.records import Packer, Unpacker


@dataclass(frozen=True, eq=False)
class Leaf:
    value: Any


@dataclass(frozen=True)
class Stranger:
    value: int


def through(value):
    packer = Packer([Leaf])
    packed = packer.pack(value)
    return Unpacker([Leaf], packer.arrays).unpack(packed)


@pytest.mark.parametrize(
    "value", [None, True, 3, 0.1, "text", (1, ("a", None)), {"a": 1}, Path("x.so"), (), {}]
)
def test_plain_values_come_back(value):
    back = through(Leaf(value)).value
    assert back == value
    assert type(back) is type(value)


def test_numbers_of_numpy_become_plain():
    assert type(through(np.float64(1.5))) is float
    assert np.isnan(through(np.float64("nan")))


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0, 4)])
@pytest.mark.parametrize("kind", [np.float64, np.int64, np.bool_])
def test_arrays_keep_shape_and_type(shape, kind):
    value = np.ones(shape, dtype=kind)
    back = through(value)
    assert back.dtype == value.dtype
    np.testing.assert_array_equal(back, value)


@pytest.mark.parametrize("kind", [csc_array, csr_array])
def test_sparse_matrices_come_back(kind):
    value = kind(np.array([[1.0, 0.0], [2.0, 3.0]]))
    back = through(value)
    assert isinstance(back, kind)
    np.testing.assert_array_equal(back.toarray(), value.toarray())


def test_rows_of_different_length_take_two_arrays():
    rows = tuple(np.arange(n) for n in (2, 0, 3))
    packer = Packer([])
    back = Unpacker([], packer.arrays).unpack(packer.pack(rows))
    assert len(packer.arrays) == 2
    assert [part.tolist() for part in back] == [[0, 1], [], [0, 1, 2]]


def test_what_occurs_twice_is_one():
    leaf = Leaf(np.zeros(2))
    first, second = through((leaf, leaf))
    assert first is second


@pytest.mark.parametrize("value", [Stranger(1), object(), {1, 2}, [1]])
def test_what_is_not_known_is_refused(value):
    with pytest.raises(TypeError, match="no record"):
        Packer([Leaf]).pack(value)


def test_unknown_records_are_not_made():
    with pytest.raises(KeyError):
        Unpacker([Leaf], {}).unpack({"record": "Stranger", "fields": {"value": 1}})
