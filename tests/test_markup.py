"""HTML for notebooks: everything is escaped, and nothing needs a colour."""

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


def test_numbers_keep_what_matters():
    assert [short(x) for x in (0, 1.23456, 123.456, 1e-9, float("nan"))] == [
        "0.000", "1.235", "123.5", "1.00e-09", "-"
    ]  # fmt: skip
