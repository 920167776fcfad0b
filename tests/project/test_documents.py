"""Documents say what is so: their blocks run as typed, and their links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from documents import Reader, anchors, blocks, commands, compare, links, masked, runs
from places import ROOT

import stanrovi
from stanrovi_cli.app import COMMANDS

PAGES = sorted(
    path
    for pattern in (
        "*.md",
        "docs/**/*.md",
        "examples/*.md",
        "benchmarks/*/README.md",
        "stan_models/*/*.md",
    )
    for path in ROOT.glob(pattern)
    if "_build" not in path.parts
)
# Pages that take long.
SLOW = {
    "README.md",
    "docs/guide/benchmarks.md",
    "docs/guide/choosing-a-method.md",
    "docs/guide/compiled-engines.md",
    "docs/guide/existing-cmdstan-run.md",
    "docs/guide/hierarchies.md",
    "docs/guide/many-machines.md",
    "docs/guide/many-models.md",
    "docs/guide/own-program.md",
    "docs/guide/predictive-checks-and-loo.md",
    "docs/guide/several-modes.md",
    "docs/guide/suspect.md",
    "docs/guide/warm-start.md",
    "docs/start.md",
}


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def to_follow() -> list[object]:
    """Pages with something to run; how to contribute is not for an empty folder.

    What the gallery prints is compared in test_examples.py.
    """
    found = [
        page
        for page in PAGES
        if page.parent != ROOT or page.name == "README.md"
        if name(page) != "docs/examples.md"
        if any(map(runs, blocks(page.read_text(encoding="utf-8"))))
    ]
    return [
        pytest.param(page, id=name(page), marks=[pytest.mark.slow] * (name(page) in SLOW))
        for page in found
    ]


@pytest.mark.parametrize("page", to_follow())
def test_what_a_page_says_can_be_typed(page, tmp_path):
    Reader(name(page), tmp_path, {"__name__": "page"}).follow(page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page):
    for link in links(page.read_text(encoding="utf-8")):
        if re.match(r"https?:|mailto:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), link


def test_every_public_name_stands_in_the_reference():
    pages = (ROOT / "docs" / "reference" / "api").glob("*.md")
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    shown = re.findall(r"^\.\. auto\w+:: stanrovi\.(\w+)$", text, re.MULTILINE)
    assert sorted(shown) == sorted(stanrovi.__all__)


def test_every_command_has_its_options_in_the_reference():
    text = (ROOT / "docs" / "reference" / "options.md").read_text(encoding="utf-8")
    shown = re.findall(r"^\.\. click:: stanrovi_cli\.(\w+):command$", text, re.MULTILINE)
    assert tuple(shown) == COMMANDS


PAGE = """# A [title](x.md)

<!-- not run: why -->
```sh
false
```

```sh
echo 3 > three
true
```

## A title

```python
x = int(open("three").read())
print("x is", x, "after", 0.25, "s")
```

```text
x is 3 after 17 s
```

```console
$ cat three \\
  three
3
3
$ false; echo it; exit 3
it
```
"""


def test_a_page_is_followed(tmp_path):
    assert [block.skipped for block in blocks(PAGE)] == ["why", "", "", "", ""]
    assert list(links(PAGE)) == ["x.md"]
    assert anchors(PAGE) == {"a-title", "a-title-1"}
    names: dict[str, object] = {}
    Reader("page", tmp_path, names).follow(PAGE)
    assert names["x"] == 3
    assert list(commands("$ a \\\n  b\nc\n$ d\n")) == [("a \\\n  b", "c"), ("d", "")]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("x is 3", "x was 3"),
        ("3\n3\n", "3\n"),
        ("\nit\n", "\nIt\n"),
        ("> three", "> four"),
        ("\ntrue", "\nfalse\ntrue"),
    ],
)
def test_a_page_that_is_wrong_is_found(old, new, tmp_path):
    with pytest.raises((AssertionError, FileNotFoundError)):
        Reader("page", tmp_path, {}).follow(PAGE.replace(old, new))


def test_what_is_printed_is_compared():
    assert masked("beta[3] 0.06-1.00, -4,420 in 3.1 s: p_31") == (
        "beta[#] #-#, # in # s: p_31", [3, 0.06, 1, -4420]
    )  # fmt: skip
    table = "mean sd\n──────\n1.20 0.30\n1.20 0.31\n2 3"
    compare(table, table.replace("1.20", "1.25").replace("\n2", " 2"), "")
    with pytest.raises(AssertionError):
        compare(table, table.replace("1.20", "7.1").replace("0.3", "2"), "")
    compare("of 400 gradients, 0.2", "of 410 gradients, 0.21", "")
    for few in ("of 500 gradients, 0.2", "of 400 gradients, 0.3"):
        with pytest.raises(AssertionError):
            compare("of 400 gradients, 0.2", few, "")
    compare("one ... three", "one two three", "")
    with pytest.raises(AssertionError):
        compare("one ... three", "one two", "")
