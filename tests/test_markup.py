"""HTML for notebooks: everything is escaped, and nothing needs a colour."""

import math

import pytest

from stanrovi.markup import block, judgement, line, short, table

EVIL = "<script>&"
SAFE = "&lt;script&gt;&amp;"


def test_every_text_is_escaped():
    for html in (
        block(EVIL),
        judgement("!", EVIL),
        judgement("✗", "bad", [(EVIL, EVIL)]),
        line(EVIL),
        table((EVIL, EVIL), [(EVIL, EVIL)], EVIL),
    ):
        assert "<script" not in html
        assert SAFE in html


def test_signs_stand_beside_colours_that_both_themes_show():
    assert "✓</b> <b>ok</b>" in judgement("✓", "ok")
    assert "black" not in judgement("✓", "ok") + table(("a",), [("b",)])


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0.000"), (1.23456, "1.235"), (-12.3456, "-12.35"), (123.456, "123.5"), (99999.4, "99999"),
     (1e6, "1.00e+06"), (1e-5, "1.00e-05"), (math.nan, "-"), (math.inf, "-")],
)  # fmt: skip
def test_numbers_keep_what_matters(value, text):
    assert short(value) == text
