"""One list of methods: all who know them know the same."""

import re
from typing import get_args

import pytest
from places import ROOT

import stanrovi as sr
from stanrovi.methods import METHODS, SBC_METHODS, SUMMARIES, Method
from stanrovi.vi.methods import driver
from stanrovi_cli import options


def test_whoever_runs_or_offers_methods_has_the_list():
    assert get_args(Method) == METHODS
    assert tuple(SUMMARIES) == METHODS
    assert tuple(driver._FUNCTIONS) == METHODS
    assert (*METHODS, "sample", "nuts") == SBC_METHODS
    assert options.METHODS is METHODS


def test_the_page_of_the_command_line_has_the_list():
    text = (ROOT / "docs" / "reference" / "command-line.md").read_text(encoding="utf-8")
    for line in re.findall(r"`--method ([\w|]+)`", text):
        assert set(line.split("|")) - {"sample", "nuts"} == set(METHODS)
    assert len(re.findall(r"`--method ([\w|]+)`", text)) >= 1


@pytest.mark.parametrize("method", METHODS)
def test_a_method_is_described_where_users_look(method):
    assert f'"{method}"' in sr.fit.__doc__
    assert f'"{method}"' in sr.sbc.__doc__
    assert (ROOT / "stanrovi" / "vi" / "methods" / f"{method}.py").is_file()
