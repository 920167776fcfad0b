"""Variables of the environment are lent."""

from __future__ import annotations

import os

import pytest

from stanrovi.environment import environment


def test_variables_are_as_before_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STANROVI_SET", "before")
    monkeypatch.delenv("STANROVI_UNSET", raising=False)
    with environment({"STANROVI_SET": None, "STANROVI_UNSET": "x"}):
        assert "STANROVI_SET" not in os.environ
        assert os.environ["STANROVI_UNSET"] == "x"
    assert os.environ["STANROVI_SET"] == "before"
    assert "STANROVI_UNSET" not in os.environ
