"""The paper quotes figures that stand on the pages of results, and cites what it lists."""

from __future__ import annotations

import re

import pytest
from places import ROOT

PAPER = (ROOT / "paper" / "paper.md").read_text(encoding="utf-8")
BIBLIOGRAPHY = (ROOT / "paper" / "paper.bib").read_text(encoding="utf-8")
# As the paper says it; as the page of results says it.
QUOTED = [
    ("at most 0.074 on eight", "accuracy", "| 0.074 (eight_schools_noncentered) |"),
    ("where it is 0.529", "accuracy", "| 0.529 ("),
    ("20 to 531 times", "accuracy", "| 531 |"),
    ("20 to 531 times", "accuracy", "| 20 |"),
    ("0.140 for RoVI", "accuracy", "| rovi | 0.140 ("),
    ("0.187 for our full-rank", "accuracy", "| gaussian | 0.187 ("),
    ("0.529 for Pathfinder", "accuracy", "| CmdStan pathfinder | 0.529 ("),
    ("1.081 and 3.484 for ADVI", "accuracy", "| CmdStan meanfield | 1.081 ("),
    ("1.081 and 3.484 for ADVI", "accuracy", "| CmdStan fullrank | 3.484 ("),
    ("has 0.024 there", "hierarchies", "| eight_schools_centered | 10 | 0.024 ("),
    ("0.038 in either form", "hierarchies", "| logit_slopes_centered | 51 | 0.038 ("),
    ("28 to 161 times", "hierarchies", "| 28 | W1"),
    ("28 to 161 times", "hierarchies", "| 161 | W1"),
    ("all 20 seeds", "multimodal", "| d = 50, 6 sd, w = 0.3 | 20 of 20 |"),
    ("a median 1/22", "sampling", "Median ratio 1/22.0"),
    ("2,900 fits to 116 targets", "verdicts", "2,900 fits, none left out"),
    ("1.8% of the bad fits", "verdicts", "| all | 1591 | 104 (6.1%) | 1183 | 22 (1.8%) |"),
    ("a twentieth as wide", "multimodal", "at 1 : 20 in five dimensions it is found never"),
]


@pytest.mark.parametrize(("said", "page", "measured"), QUOTED)
def test_figures_are_those_of_the_pages(said: str, page: str, measured: str) -> None:
    assert said in " ".join(PAPER.split())
    results = (ROOT / "docs" / "results" / f"{page}.md").read_text(encoding="utf-8")
    assert measured in " ".join(results.split())


def test_what_is_cited_is_listed_and_the_reverse() -> None:
    listed = re.findall(r"^@\w+\{(\w+),", BIBLIOGRAPHY, re.MULTILINE)
    assert sorted(listed) == sorted(set(re.findall(r"@(\w+)", PAPER.partition("# Summary")[2])))
