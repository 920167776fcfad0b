"""How every picture looks: colours, line styles, panels, legend.

Colours are Okabe and Ito's (colour-blind safe), each with its own line style and marker.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from stanrovi import draw_stats
from stanrovi.target import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from stanrovi.comparison import Comparison

_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_DASHES = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)), "-", (0, (5, 1.5)))
_MARKERS = ("o", "^", "s", "D", "v", "P")
_TALLEST = 4.0
REFERENCE_FILL, REFERENCE_LINE = "#B8B8B8", "#555555"
_STYLE: dict[Any, Any] = {
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "legend.frameon": False,
    "svg.hashsalt": "stanrovi",
}


@contextmanager
def plot_style() -> Iterator[None]:
    """Apply the style for the length of the block; the user's own settings come back."""
    import matplotlib as mpl

    with mpl.rc_context(_STYLE):
        yield


@contextmanager
def new_figure(width: float, height: float) -> Iterator[Figure]:
    """Give a styled figure (inches) that is in no window and no pyplot state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with plot_style():
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure


def method_look(comparison: Comparison, name: str) -> dict[str, Any]:
    """Give colour, line style and marker of a run, by its place among the fits."""
    if name not in comparison.fits:
        return {"color": REFERENCE_LINE, "linestyle": "-", "marker": "o"}
    i = list(comparison.fits).index(name) % len(_COLORS)
    return {"color": _COLORS[i], "linestyle": _DASHES[i], "marker": _MARKERS[i]}


def line_style(look: dict[str, Any]) -> dict[str, Any]:
    """Give the line properties of a look."""
    return {"color": look["color"], "linestyle": look["linestyle"], "linewidth": 1.5}


def run_colors(comparison: Comparison) -> dict[str, str]:
    """Give the colour of the reference and of every fit."""
    fits = {name: str(method_look(comparison, name)["color"]) for name in comparison.fits}
    return {comparison.reference.method: REFERENCE_LINE, **fits}


def scalar_runs(comparison: Comparison) -> dict[str, dict[str, Array]]:
    """Scalar quantities of the reference and of every fit, each shaped (chain, draw)."""
    runs = {comparison.reference.method: comparison.reference_draws, **comparison.fits}
    return {name: run.scalars(tuple(run.posterior)) for name, run in runs.items()}


def basin_centres(comparison: Comparison) -> Mapping[str, Array]:
    """Centres of the known basins by parameter; empty for a single one, which tells nothing."""
    table = comparison.modes
    return {} if table is None or len(table.weight) < 2 else table.centres


def density_panel(axis: Axes, comparison: Comparison, runs: dict[str, Array]) -> None:
    """Draw the density of one scalar: the reference filled, the fits as lines.

    A fit more than `_TALLEST` times as tall as the reference is scaled down to that
    height: the spike of a collapsed fit must neither flatten everything else nor be cut.
    """
    low, high = limits(list(runs.values()))
    tallest = np.inf
    for name, values in runs.items():
        # Far outliers would coarsen the grid of the estimate; the margin keeps its ends unseen.
        margin = high - low
        inside = values[(values >= low - margin) & (values <= high + margin)]
        if inside.size < 10 or np.ptp(inside) == 0:
            axis.axvline(float(np.median(values)), **line_style(method_look(comparison, name)))
            continue
        grid, density = draw_stats.kde(inside)
        if name == comparison.reference.method:
            axis.fill_between(grid, density, color=REFERENCE_FILL, lw=0)
            axis.plot(grid, density, color=REFERENCE_LINE, linewidth=0.8)
            tallest = _TALLEST * density.max()
        else:
            shown = density * min(1.0, tallest / density.max())
            axis.plot(grid, shown, **line_style(method_look(comparison, name)))
    axis.set_xlim(low, high)
    axis.set_ylim(bottom=0)
    axis.set_yticks([])
    axis.spines["left"].set_visible(False)
    axis.locator_params(axis="x", nbins=4)


def limits(runs: list[Array]) -> tuple[float, float]:
    """Limits that hold all but the last thousandth of every run."""
    ends = np.array([np.quantile(values, [0.001, 0.999]) for values in runs])
    low, high = float(ends[:, 0].min()), float(ends[:, 1].max())
    margin = 0.04 * (high - low) or 1.0
    return low - margin, high + margin


def add_legend(
    figure: Figure,
    comparison: Comparison,
    *,
    markers: bool = False,
    lines_only: bool = False,
    star: bool = False,
    labels: Mapping[str, str] | None = None,
) -> None:
    """Name the runs above the panels.

    ``markers`` adds the markers of the fits, ``star`` that of the basins, ``lines_only``
    draws plain lines, ``labels`` gives the runs that are drawn and their words (by
    default all of them, each by its name).
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    if labels is None:
        labels = {name: name for name in (comparison.reference.method, *comparison.fits)}
    handles: list[Any] = []
    for name, label in labels.items():
        look = method_look(comparison, name)
        if name not in comparison.fits and not lines_only:
            handles.append(Patch(facecolor=REFERENCE_FILL, edgecolor=REFERENCE_LINE, label=label))
            continue
        style = {"color": look["color"], "linewidth": 2} if lines_only else line_style(look)
        marker = look["marker"] if markers else ""
        handles.append(Line2D([], [], marker=marker, markersize=4, label=label, **style))
    if star:
        look = {"marker": "*", "markersize": 10, "markerfacecolor": "white", "linestyle": ""}
        handles.append(Line2D([], [], color="black", label="centre of a basin", **look))
    width = 0.6 + 0.07 * max(len(handle.get_label()) for handle in handles)
    columns = max(1, int(figure.get_figwidth() / max(1.3, width)))
    figure.legend(handles=handles, loc="outside upper left", ncols=columns)
