import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from comparison_cases import (
    bimodal,
    collapsed_fit,
    fit_attrs,
    good_fit,
    nuts,
    run,
    stuck,
)
from matplotlib.contour import ContourSet

from stanrovi.comparison.comparison import compare
from stanrovi.diagnostics.statistics import pareto_tail
from stanrovi.errors import OutputError
from stanrovi.io.generations import import_arviz, is_legacy
from stanrovi.plots.figure import save_plots
from stanrovi.plots.fits import plot_axes, plot_khat, plot_trace
from stanrovi.plots.forest import plot_forest, shortest_interval
from stanrovi.plots.gallery import all_plots
from stanrovi.plots.marginals import plot_marginals
from stanrovi.plots.modes import plot_modes
from stanrovi.plots.pairs import plot_pairs

AXES = json.dumps({"center": [0, 0], "matrix": [[1, -1], [1, 1]]})


@pytest.fixture(scope="module")
def small():
    rng = np.random.default_rng(0)
    fits = [collapsed_fit(rng), good_fit(rng, axes=AXES)]
    return compare(fits, nuts(bimodal(rng, 4, 500, 0.5)))


@pytest.fixture(scope="module")
def large():
    rng = np.random.default_rng(1)
    location = 10.0 ** rng.integers(-3, 6, 300)
    values = location * (1 + rng.normal(size=(4, 250, 300)))
    narrow = location * (1 + np.linspace(1, 0.4, 300) * rng.normal(size=(1, 1000, 300)))
    return compare(run("mfvi", narrow, attrs=fit_attrs(modes="[]")), nuts(values))


def test_everything_is_drawn_and_saved(small, tmp_path):
    plots = all_plots(small)
    names = ["marginals", "modes", "pairs", "forest", "axes", "trace", "khat"]
    assert [plot.name for plot in plots] == names
    paths = save_plots(plots, tmp_path)
    assert sorted(path.name for path in paths) == sorted(
        f"{name}.{kind}" for name in names for kind in ("png", "svg")
    )
    for path in paths:
        if path.suffix == ".png":
            assert path.read_bytes().startswith(b"\x89PNG")
        else:
            assert ET.parse(path).getroot().tag.endswith("svg")
    with pytest.raises(OutputError, match="exists already"):
        save_plots(plots, tmp_path)


def test_alternative_texts_tell_the_finding(small):
    alt = {plot.name: plot.alt for plot in all_plots(small)}
    assert "mfvi: largest W1 0.9" in alt["marginals"]
    assert "mfvi 100%, 0%" in alt["modes"]
    assert "k-hat: mfvi" in alt["khat"]
    assert len(set(alt.values())) == len(alt)


def test_marginals_show_the_worst_first_and_cap_the_grid(large):
    figure = plot_marginals(large)
    assert len(figure.axes) == 12
    titles = [axis.get_title(loc="left").splitlines()[0] for axis in figure.axes]
    assert titles == list(large.worst_parameters(12))
    assert all(int(title[2:-1]) > 200 for title in titles)
    assert figure.get_supxlabel() == "The 12 of 300 parameters that differ most"


def shown_texts(figure):
    """Boxes (pixels) of panel titles, texts, and the tick labels inside the limits."""
    for axis in figure.axes:
        texts = [*axis.texts, axis._left_title, axis.xaxis.label, axis.yaxis.label]
        for side in (axis.xaxis, axis.yaxis):
            low, high = sorted(side.get_view_interval())
            ticks = [*side.get_major_ticks(), *side.get_minor_ticks()]
            ticks = [tick for tick in ticks if low <= tick.get_loc() <= high]
            texts += [tick.label1 for tick in ticks if tick.label1.get_visible()]
        for text in texts:
            box = text.get_window_extent()
            if text.get_text() and box.width and box.height:
                yield text.get_text(), box


@pytest.fixture(scope="module")
def short():
    rng = np.random.default_rng(13)
    fit = good_fit(rng)
    points = enumerate(fit.facts.trace)
    trace = tuple(replace(point, n_gradients=170 * 5**i) for i, point in points)
    stats = {
        "lp": fit.sample_stats["lp"],
        "log_q": fit.sample_stats["lp"] + 1e-5 * rng.normal(size=(1, 4000)),
    }
    fit = replace(fit, facts=replace(fit.facts, trace=trace), sample_stats=stats)
    return compare(fit, nuts(bimodal(rng, 4, 500, 0.5)))


@pytest.mark.parametrize("draw", [plot_marginals, plot_pairs, plot_forest, plot_trace])
def test_texts_do_not_overlap_or_leave_the_figure(large, small, short, draw):
    for comparison in (small, large, short):
        figure = draw(comparison)
        figure.canvas.draw()
        edge, texts = figure.bbox, list(shown_texts(figure))
        assert len(texts) >= 4
        outside = [
            text
            for text, box in texts
            if min(box.x0 - edge.x0, box.y0 - edge.y0, edge.x1 - box.x1, edge.y1 - box.y1) < -2
        ]
        assert not outside
        overlapping = [
            (one, other)
            for i, (one, a) in enumerate(texts)
            for other, b in texts[i + 1 :]
            if min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 2
        ]
        assert not overlapping


def test_forest_keeps_order_and_pairs_names_with_their_values():
    rng = np.random.default_rng(2)
    shift = np.arange(12)
    fit = run("ro: vi", shift + rng.normal(size=(1, 900, 12)))
    comparison = compare(fit, nuts(rng.normal(size=(4, 250, 12))))
    axis = plot_forest(comparison).axes[0]
    names = list(comparison.worst_parameters(12))
    assert names == [f"x[{i}]" for i in range(12, 0, -1)]
    assert [text.get_text() for text in axis.get_yticklabels()] == names
    heights = axis.transData.transform(np.column_stack([np.zeros(12), axis.get_yticks()]))[:, 1]
    assert (np.diff(heights) < 0).all()  # from top to bottom
    line = next(line for line in axis.lines if line.get_color() == "#0072B2")
    medians, places = line.get_data()
    np.testing.assert_allclose(medians, shift[::-1], rtol=0.1, atol=0.2)
    np.testing.assert_allclose(places, axis.get_yticks(), atol=0.3)


def test_intervals_are_shortest_as_those_of_arviz():
    values = np.random.default_rng(3).exponential(size=(4, 333))
    found = shortest_interval(values, 0.94)
    if is_legacy():
        theirs = import_arviz().hdi(values.ravel(), 0.94)
    else:
        from arviz_stats.base import array_stats

        theirs = array_stats.hdi(values.ravel(), 0.94)
    np.testing.assert_allclose(found, theirs, rtol=1e-12)


def test_plots_without_material_are_left_out(large):
    assert plot_modes(large) is None
    assert plot_khat(large) is None
    assert plot_axes(large) is None
    rng = np.random.default_rng(3)
    bare = compare(run("vi", rng.normal(size=(1, 200, 1))), nuts(rng.normal(size=(4, 200, 1))))
    assert plot_trace(bare) is None
    assert plot_pairs(bare) is None
    assert [plot.name for plot in all_plots(bare)] == ["marginals", "forest"]


@pytest.mark.parametrize(
    "foreign",
    ["yes", "3", "[1]", '{"center": [0, 0], "matrix": [[1, 1], [1, 1]]}', '{"center": 1}', 7,
     '{"center": [0], "matrix": [[1]]}', '{"center": [NaN, 0], "matrix": [[1, 0], [0, 1]]}'],
)  # fmt: skip
def test_foreign_attributes_are_no_axes_and_no_trace(foreign):
    rng = np.random.default_rng(6)
    attrs = {"axes": foreign, "trace": foreign, "modes": foreign}
    comparison = compare(
        run("vi", rng.normal(size=(1, 200, 2)), attrs=attrs), nuts(rng.normal(size=(4, 200, 2)))
    )
    assert comparison.modes is None
    assert plot_axes(comparison) is None
    assert plot_trace(comparison) is None


def test_an_untrusted_reference_is_drawn_but_not_graded():
    rng = np.random.default_rng(4)
    comparison = compare(good_fit(rng), nuts(stuck(rng, 200)))
    figure = plot_marginals(comparison)
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["x[1]", "x[2]"]
    assert "Not graded" in all_plots(comparison)[0].alt


def test_rotated_axes_separate_the_modes(small):
    figure = plot_axes(small)
    titles = {axis.get_title(loc="left"): axis for axis in figure.axes}
    split, plain = titles["axis 1"], titles["axis 2"]
    assert split.get_xlim()[1] > 4 > 3 > plain.get_xlim()[1]


def test_rotated_axes_are_those_of_rovi_and_the_words_say_so(small):
    rng = np.random.default_rng(7)
    mine = json.dumps({"center": [0, 0], "matrix": [[1, 0], [0, 1]]})
    meanfield = run("mfvi", rng.normal(size=(1, 500, 2)), attrs=fit_attrs(axes=mine))
    both = compare([meanfield, good_fit(rng, axes=AXES)], nuts(bimodal(rng, 4, 500, 0.5)))
    alone = compare(meanfield, nuts(bimodal(rng, 4, 500, 0.5)))
    for comparison, owner in ((both, "rovi"), (alone, "mfvi")):
        plot = next(plot for plot in all_plots(comparison) if plot.name == "axes")
        assert plot.title == f"Along the axes of {owner}"
        assert plot.caption.count(owner) == 2
        assert plot.figure.get_supxlabel() == f"Coordinates along the axes of {owner}"
        legend = [text.get_text() for text in plot.figure.legends[0].get_texts()]
        assert legend == ["nuts", owner]
        assert len(plot.figure.axes[0].lines) == 2


def test_the_order_of_an_untrusted_reference_is_called_by_its_name():
    rng = np.random.default_rng(8)
    values = rng.normal(size=(4, 200, 15)) + np.arange(4)[:, None, None]
    comparison = compare(run("vi", rng.normal(size=(1, 400, 15))), nuts(values))
    plots = {plot.name: plot for plot in all_plots(comparison)}
    label = plots["marginals"].figure.get_supxlabel()
    assert label == "The first 12 of 15 parameters, as declared"
    for plot in plots.values():
        assert "differ most" not in plot.caption
        assert "order of the program" in plot.caption


def test_khat_is_in_the_legend_and_its_line_is_the_fitted_tail(small):
    figure = plot_khat(small)
    khat = small.methods["mfvi"].khat
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == [f"mfvi, k-hat {khat:.2f}", "rovi, k-hat 0.10"]
    assert not figure.axes[0].texts
    points, line = figure.axes[0].lines[:2]
    shown, fitted = points.get_ydata()[: len(line.get_ydata())], line.get_ydata()
    # Where the order statistics hardly vary, below the first few, the line lies on the points.
    assert np.abs(fitted - shown)[20:].max() < 0.02


def test_labels_of_the_trace_stand_apart(short):
    figure = plot_trace(short)
    figure.canvas.draw()
    boxes = [box for text, box in shown_texts(figure) if text.replace(",", "").isdigit()]
    assert len(boxes) >= 3
    assert all(right.x0 - left.x1 > 4 for left, right in pairwise(boxes))


def steep(ratios):
    rng = np.random.default_rng(15)
    stats = {"lp": ratios[None], "log_q": np.zeros((1, ratios.size))}
    fit = run("vi", rng.normal(size=(1, ratios.size, 2)), stats=stats)
    return fit, nuts(rng.normal(size=(4, 500, 2)))


def test_ratios_that_only_rounding_moves_look_constant(short):
    axis = plot_khat(short).axes[0]
    assert np.ptp(axis.lines[0].get_ydata()) < 0.01 * np.ptp(axis.get_ylim())


def test_the_tail_of_a_pareto_sample_is_recovered():
    rng = np.random.default_rng(9)
    for shape in (-0.3, 0.5, 1.2):
        exact = (rng.random(4000) ** -shape - 1) / shape
        ratios = np.sort(np.log(exact))[::-1]
        tail = pareto_tail(ratios)
        ranks = np.arange(20, len(tail))
        expected = np.log((((ranks + 0.5) / 4000) ** -shape - 1) / shape)
        # An order statistic varies relatively by about shape / sqrt(rank), over 1 at the most.
        assert np.abs(tail[ranks] - expected).max() < 4 * max(abs(shape), 0.3) / np.sqrt(20)
    assert pareto_tail(np.zeros(100)) is None


@pytest.mark.parametrize("scale", [30, 1000])
def test_tails_of_thousands_of_nats_neither_overflow_nor_fail(scale):
    ratios = np.sort(scale * np.random.default_rng(14).exponential(size=2000))[::-1]
    tail = pareto_tail(ratios)
    assert tail is None or np.isfinite(tail).all()
    axis = plot_khat(compare(*steep(ratios))).axes[0]
    assert np.isfinite(axis.get_ylim()).all()


def test_a_narrow_density_is_not_cut_and_flattens_nothing():
    rng = np.random.default_rng(10)
    narrow = run("mfvi", 0.02 * rng.normal(size=(1, 1000, 2)))
    axis = plot_marginals(compare(narrow, nuts(rng.normal(size=(4, 500, 2))))).axes[0]
    reference, spike = (line.get_ydata().max() for line in axis.lines)
    assert spike == pytest.approx(4 * reference)
    assert axis.get_ylim()[1] > spike


def test_fits_do_not_cover_each_other_in_pairs(small):
    figure = plot_pairs(small)
    below = figure.axes[1]
    assert len([c for c in below.collections if c.get_rasterized()]) == 1
    contours = [c for c in below.collections if isinstance(c, ContourSet)]
    assert len(contours) == 3  # of one mode, and of two
    assert not any(c.get_fill() for c in contours)


def test_intervals_stay_on_a_page():
    rng = np.random.default_rng(12)
    fits = {f"fit {i}": run("vi", rng.normal(size=(1, 300, 36))) for i in range(4)}
    figure = plot_forest(compare(fits, nuts(rng.normal(size=(4, 300, 36)))))
    assert figure.get_figheight() < 10


def test_a_frozen_fit_and_heavy_tails_can_be_drawn():
    rng = np.random.default_rng(5)
    reference = rng.standard_cauchy(size=(4, 400, 2))
    fits = {"frozen": run("a", np.zeros((1, 100, 2))), "one": run("b", np.ones((1, 100, 2)))}
    figure = plot_marginals(compare(fits, nuts(reference)))
    figure.canvas.draw()
    assert figure.axes[0].get_xlim()[1] < 5000


def test_densities_stand_upright_on_the_ground_at_a_bound():
    rng = np.random.default_rng(16)
    fit = run("vi", rng.exponential(size=(1, 2000, 1)))
    axis = plot_marginals(compare(fit, nuts(rng.exponential(size=(4, 500, 1))))).axes[0]
    for line in axis.lines:
        (left, height), (right, density) = line.get_xydata()[:2]
        assert height == 0
        assert left == right == pytest.approx(0, abs=0.02)
        assert density > 0.8
    assert axis.get_xlim()[0] < 0


def test_narrow_modes_are_drawn_as_tall_as_they_are():
    rng = np.random.default_rng(17)
    narrow = rng.random((5, 800, 1)) < 0.3
    values = np.where(
        narrow, 6 + 0.05 * rng.normal(size=narrow.shape), rng.normal(size=narrow.shape)
    )
    axis = plot_marginals(compare(run("vi", values[:1]), nuts(values[1:]))).axes[0]
    for line in axis.lines:
        x, density = line.get_data()
        assert density[x > 4].max() == pytest.approx(0.3 / 0.05 / np.sqrt(2 * np.pi), rel=0.15)
        assert density[x < 4].max() == pytest.approx(0.7 / np.sqrt(2 * np.pi), rel=0.15)
        assert density[(x > 4.2) & (x < 5.5)].max(initial=0) < 1e-3


def test_whole_numbers_are_drawn_as_bars():
    rng = np.random.default_rng(18)
    values = rng.poisson(2.0, size=(5, 800, 1)).astype(float)
    axis = plot_marginals(compare(run("vi", values[:1]), nuts(values[1:]))).axes[0]
    x, height = (part[: len(part) // 4 * 4].reshape(-1, 4) for part in axis.lines[1].get_data())
    assert (height[:, [0, 3]] == 0).all()
    whole = np.rint(x.mean(axis=1))
    assert height[:, 1] == pytest.approx([(values[0] == k).mean() for k in whole])
    np.testing.assert_allclose(np.diff(x), [[0, 0.8, 0]] * len(x), atol=1e-9)
    assert axis.get_xlim()[0] < -0.4


def test_no_global_state_of_matplotlib_changes():
    code = """
import matplotlib as mpl, numpy as np, sys
sys.path.insert(0, "tests/support")
from comparison_cases import good_fit, bimodal, nuts
from stanrovi.comparison.comparison import compare
from stanrovi.plots.gallery import all_plots
before = dict(mpl.rcParams)
rng = np.random.default_rng(0)
all_plots(compare(good_fit(rng, 200), nuts(bimodal(rng, 4, 200, 0.5))))
changed = {k for k, v in dict(mpl.rcParams).items() if before[k] != v} - {"backend"}
import matplotlib.pyplot as plt
print(sorted(changed), plt.get_fignums())
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[] []"
