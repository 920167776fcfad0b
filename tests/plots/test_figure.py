"""Figures by themselves: what a notebook shows."""

import sys

import numpy as np
import pytest
from comparison_cases import bimodal, good_fit, nuts

from stanrovi.comparison.comparison import compare
from stanrovi.plots.fits import plot_trace
from stanrovi.plots.gallery import all_plots
from stanrovi.plots.marginals import plot_marginals
from stanrovi.plots.modes import plot_modes


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


@pytest.mark.parametrize("draw", [plot_marginals, plot_modes, plot_trace])
def test_names_of_many_runs_leave_the_panels_their_room(draw):
    rng = np.random.default_rng(2)
    reference = nuts(bimodal(rng, 4, 100, 0.5))
    heights = []
    for count in (1, 60):
        figure = draw(compare([good_fit(rng) for _ in range(count)], reference))
        figure.get_layout_engine().execute(figure)  # warns where there is no room
        heights.append(figure.axes[0].get_window_extent().height)
    assert heights[1] > 0.8 * heights[0]
