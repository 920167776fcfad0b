"""A comparison on disk."""

import base64
import json
from collections import Counter

import numpy as np
import pytest
from comparison_cases import bimodal, collapsed_fit, good_fit, nuts
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from stanrovi.comparison.comparison import compare
from stanrovi.comparison.folder import write_comparison
from stanrovi.errors import OutputError
from stanrovi.io.netcdf import read_draws


@pytest.fixture(scope="module")
def comparison():
    rng = np.random.default_rng(0)
    return compare([collapsed_fit(rng), good_fit(rng)], nuts(bimodal(rng, 4, 250, 0.5)))


def test_everything_is_there_and_reads_back(comparison, tmp_path):
    write_comparison(comparison, tmp_path, commands=["stanrovi compare something"])
    again = compare(
        [read_draws(tmp_path / f"{name}.nc") for name in ("mfvi", "rovi")],
        read_draws(tmp_path / "nuts.nc"),
    )
    assert again.to_dict() == comparison.to_dict()
    assert json.loads((tmp_path / "comparison.json").read_text()) == comparison.to_dict()
    assert "stanrovi compare something" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert {path.suffix for path in (tmp_path / "plots").iterdir()} == {".png", ".svg"}


def test_draws_that_came_from_files_are_not_written_again(comparison, tmp_path):
    write_comparison(comparison, tmp_path, files={})
    assert not list(tmp_path.glob("*.nc"))


def test_nothing_is_overwritten(comparison, tmp_path):
    (tmp_path / "comparison.json").write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        write_comparison(comparison, tmp_path, files={})
    assert (tmp_path / "comparison.json").read_text() == "mine"


def test_every_figure_is_laid_out_once_and_drawn_once_a_format(comparison, tmp_path, monkeypatch):
    calls = Counter()

    def counted(owner, name):
        original = getattr(owner, name)

        def call(self, *args, **options):
            calls[name, self if owner is Figure else args[0]] += 1
            return original(self, *args, **options)

        monkeypatch.setattr(owner, name, call)

    counted(Figure, "draw")
    counted(ConstrainedLayoutEngine, "execute")
    write_comparison(comparison, tmp_path, files={})
    images = list((tmp_path / "plots").glob("*.svg"))
    assert len(images) >= 6
    assert Counter(name for name, _ in calls) == {"draw": len(images), "execute": len(images)}
    assert {n for (name, _), n in calls.items() if name == "draw"} == {2}  # PNG and SVG
    assert {n for (name, _), n in calls.items() if name == "execute"} == {1}
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for image in images:
        assert base64.b64encode(image.read_bytes()).decode("ascii") in page
