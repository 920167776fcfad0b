"""Figures by themselves: what a notebook shows."""

import sys

import numpy as np
from comparison_cases import bimodal, good_fit, nuts

from stanrovi.comparison.comparison import compare
from stanrovi.plots.gallery import all_plots


def test_every_figure_shows_itself():
    rng = np.random.default_rng(1)
    comparison = compare(good_fit(rng), nuts(bimodal(rng, 4, 250, 0.5)))
    figures = [comparison.plot(), *(plot.figure for plot in all_plots(comparison))]
    pyplot = sys.modules.get("matplotlib.pyplot")
    for figure in figures:
        png = figure._repr_png_()
        assert png.startswith(b"\x89PNG\r\n\x1a\n")
        width, height = (int.from_bytes(png[i : i + 4], "big") for i in (16, 20))
        assert (width, height) == tuple((100 * figure.get_size_inches()).astype(int))
        assert pyplot is None or figure not in map(pyplot.figure, pyplot.get_fignums())
