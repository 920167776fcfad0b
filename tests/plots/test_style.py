"""Settings of matplotlib that are not ours: pictures do not depend on them, and reports less."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from comparison_cases import bimodal, good_fit, nuts

from stanrovi.comparison.comparison import compare
from stanrovi.plots.gallery import all_plots

SETTINGS = {
    "text.usetex": True, "font.family": ["no such font"], "font.size": 30, "lines.linewidth": 0,
    "savefig.bbox": "tight", "figure.autolayout": True, "axes.formatter.use_mathtext": True,
    "mathtext.fontset": "custom", "figure.facecolor": "black", "text.parse_math": False,
}  # fmt: skip


def test_pictures_do_not_depend_on_settings() -> None:
    rng = np.random.default_rng(1)
    comparison = compare(good_fit(rng, 300), nuts(bimodal(rng, 4, 250, 0.5)))
    plain = [(plot.svg, plot.png) for plot in all_plots(comparison)]
    with mpl.rc_context(SETTINGS):
        assert [(plot.svg, plot.png) for plot in all_plots(comparison)] == plain


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from pathlib import Path
from comparison_cases import bimodal, good_fit, nuts
from stanrovi.comparison.comparison import compare
from stanrovi.comparison.folder import write_comparison
from stanrovi.errors import PlotError
rng = np.random.default_rng(1)
comparison = compare(good_fit(rng, 200), nuts(bimodal(rng, 4, 200, 0.5)))
for _ in range(2):
    try:
        comparison.plot()
    except PlotError as error:
        print(error)
write_comparison(comparison, Path("."))
"""


@pytest.mark.parametrize(
    ("environment", "settings", "told"),
    [
        ({"MPLBACKEND": "bogus"}, b"text.usetex: True", ""),
        ({}, b"text.usetex: True\n\xff\xfe: x\n", "The pictures are left out: matplotlib cannot"),
    ],
    ids=["backend", "damaged matplotlibrc"],
)
def test_settings_that_matplotlib_cannot_be_loaded_with(
    environment: dict[str, str], settings: bytes, told: str, tmp_path: Path
) -> None:
    """A bogus backend is not heeded; else the pictures alone are missing."""
    (tmp_path / "matplotlibrc").write_bytes(settings)
    support = str(Path(__file__).parents[1] / "support")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, support], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "plots" / "marginals.png").exists() == (not told)
    assert {"report.html", "comparison.json"} <= set(os.listdir(tmp_path))
    assert "None were drawn" in (tmp_path / "report.html").read_text() or not told
    if told:
        assert told in done.stderr
        assert done.stdout.count("matplotlib cannot be loaded ('utf-8' codec can't decode") == 2
    else:
        assert "MPLBACKEND=bogus is no backend" in done.stderr


def test_a_home_that_cannot_be_written() -> None:
    """Matplotlib makes do with another folder, and told so in two lines."""
    places = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"), "/dev/null")
    kept = {name: value for name, value in os.environ.items() if name != "MPLCONFIGDIR"}
    script = "from stanrovi.plots.style import plot_style\nwith plot_style(): pass"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True, text=True, env=kept | places,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
