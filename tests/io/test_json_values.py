import json
from pathlib import Path

import numpy as np
import pytest

from stanrovi.io.json_values import json_attribute, plain


def test_plain_values_are_what_json_knows():
    value = {
        1: np.array([1.0, np.nan]),
        "n": np.int64(3),
        "b": np.True_,
        "p": Path("a") / "b",
        "t": (np.float64("inf"), None, "x", True),
    }
    assert json.loads(json.dumps(plain(value), allow_nan=False)) == {
        "1": [1.0, None],
        "n": 3,
        "b": True,
        "p": str(Path("a") / "b"),
        "t": [None, None, "x", True],
    }


def total(stored):
    return sum(float(row["x"]) for row in stored)


def test_an_attribute_is_read():
    assert json_attribute({"a": '[{"x": 1}, {"x": 2}]'}, "a", total) == 3


@pytest.mark.parametrize(
    "value",
    ["yes", "", 3, 2.5, None, "3", "null", "[1]", '["x"]', '[{"y": 1}]', '[{"x": "word"}]',
     pytest.param('[{"x": 1' + "0" * 400 + "}]", id="huge"),
     pytest.param("[" * 100_000, id="deep")],
)  # fmt: skip
def test_what_is_not_expected_is_absent(value):
    assert json_attribute({"a": value}, "a", total) is None
    assert json_attribute({}, "a", total) is None
