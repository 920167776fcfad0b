"""Fits that are the same are shown once."""

from dataclasses import replace

import numpy as np
from comparison_cases import bimodal, collapsed_fit, good_fit, nuts

from stanrovi.comparison.as_html import report_html
from stanrovi.comparison.comparison import compare
from stanrovi.grading.sameness import shown_once
from stanrovi.plots.gallery import all_plots


def three():
    rng = np.random.default_rng(0)
    rovi = good_fit(rng)
    fits = [rovi, collapsed_fit(rng), replace(rovi, method="auto")]
    return compare(fits, nuts(bimodal(rng, 4, 300, 0.5)))


def test_equal_draws_go_by_one_name_the_most_general_method_first():
    found = three()
    once = shown_once(found)
    assert list(once.fits) == list(once.methods) == ["auto = rovi", "mfvi"]
    assert set(once.modes.mass) == {"auto = rovi", "mfvi"}
    assert once.fits["auto = rovi"] is found.fits["auto"]
    assert set(found.to_dict()["methods"]) == {"rovi", "mfvi", "auto"}  # the contract stays


def test_fits_that_differ_by_one_draw_are_two():
    found = three()
    other = found.fits["auto"]
    values = other.posterior["x"].copy()
    values[0, -1, 0] += 1e-12
    fits = {**found.fits, "auto": replace(other, posterior={"x": values})}
    differing = compare(fits, found.reference_draws)
    assert shown_once(differing) is differing


def test_the_report_and_its_plots_show_one_card_and_one_curve():
    found = three()
    plots = all_plots(found)
    for plot in plots:
        for legend in plot.figure.legends:
            texts = " ".join(text.get_text() for text in legend.get_texts())
            assert "auto = rovi" in texts
    assert len(plots[0].figure.axes[0].lines) == 3
    page = report_html(found, plots=plots, files={"rovi": "a.nc", "auto": "b.nc"})
    assert page.count("<h3>auto = rovi</h3>") == 1
    assert "<article" in page
    assert page.count("<article") == 3  # two fits and the reference
    assert "Use the draws of auto = rovi (b.nc)" in page
    assert len(found.plot().axes[0].lines) == 3
