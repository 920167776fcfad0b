"""Pictures of simulation-based calibration: histograms of ranks, distribution functions.

The parameters furthest from uniform come first, and those beyond the panels are left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import bdtr

from stanrovi.calibration.ranks import ParameterCalibration, RankTable
from stanrovi.calibration.uniformity import count_at_most, rank_edges
from stanrovi.plots.figure import Plot, new_figure
from stanrovi.plots.style import REFERENCE_FILL, REFERENCE_LINE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOR = "#0072B2"


def plot_ranks(table: RankTable, count: int = 12) -> Figure:
    """Draw a histogram of the ranks of each parameter.

    The grey band is where one bar lies with probability 99% if ranks are uniform.

    Parameters
    ----------
    table : RankTable
    count : int
        Panels at most.

    Returns
    -------
    matplotlib.figure.Figure
    """
    n, draws = table.n_simulations, table.draws
    edges = rank_edges(n, draws)
    share = np.diff(edges) / (draws + 1)
    counts = np.arange(n + 1)
    bands = [np.searchsorted(bdtr(counts, n, s), [0.005, 0.995]) for s in [*share, share[-1]]]
    low, high = np.transpose(bands)
    with _panels(table, count) as (figure, panels):
        for axis, parameter in panels:
            axis.fill_between(edges, low, high, step="post", color=REFERENCE_FILL, lw=0)
            axis.hist(parameter.ranks, edges.tolist(), histtype="step", color=_COLOR, linewidth=1.3)
            axis.set_xlim(edges[0], edges[-1])
        figure.supxlabel(f"rank of the true value among {draws} draws", fontsize=9)
        figure.supylabel(f"simulations of {n}", fontsize=9)
    return figure


def plot_ecdf(table: RankTable, count: int = 12) -> Figure:
    """Draw the distribution function of the ranks less the uniform one.

    A line that leaves the grey band anywhere is not uniform, at the table's level.

    Parameters
    ----------
    table : RankTable
    count : int
        Panels at most.

    Returns
    -------
    matplotlib.figure.Figure
    """
    n, band = table.n_simulations, table.band
    low, high = band.lower / n - band.points, band.upper / n - band.points
    with _panels(table, count) as (figure, panels):
        for axis, parameter in panels:
            counts = count_at_most(parameter.ranks, band.ranks)
            axis.fill_between(band.points, low, high, color=REFERENCE_FILL, lw=0)
            axis.axhline(0, color=REFERENCE_LINE, linewidth=0.8)
            axis.plot(band.points, counts / n - band.points, color=_COLOR, linewidth=1.3)
            axis.set_xlim(0, 1)
        figure.supxlabel(f"rank, as a share of {table.draws + 1}", fontsize=9)
        figure.supylabel("distribution function less uniform", fontsize=9)
    return figure


def calibration_plots(table: RankTable) -> list[Plot]:
    """Make both pictures with their words, for `stanrovi.plots.figure.save_plots`."""
    failed = [name for name, p in table.parameters.items() if p.verdict != "calibrated"]
    finding = f"Not calibrated: {', '.join(failed)}." if failed else "All are calibrated."
    return [
        Plot(
            "ranks",
            "Ranks of the true values",
            "Bars should lie in the grey band, each with probability 99%. Bars that rise at both "
            "ends: draws too narrow; in the middle: too wide; at one end: biased.",
            f"Histograms of ranks. {finding}",
            plot_ranks(table),
        ),
        Plot(
            "ecdf",
            "Distribution functions of the ranks",
            f"Lines should stay in the grey band, all of them with probability "
            f"{1 - table.level:.0%}.",
            f"Distribution functions of ranks. {finding}",
            plot_ecdf(table),
        ),
    ]


@contextmanager
def _panels(
    table: RankTable, count: int
) -> Iterator[tuple[Figure, list[tuple[Axes, ParameterCalibration]]]]:
    """Give a figure with one titled panel for each of the parameters furthest from uniform."""
    shown = sorted(table.parameters.items(), key=lambda item: item[1].ecdf_p)[:count]
    columns = min(len(shown), 3)
    rows = math.ceil(len(shown) / columns)
    with new_figure(2.3 * columns + 0.6, 1.9 * rows + 0.4) as figure:
        grid: Any = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for axis in grid.ravel()[len(shown) :]:
            axis.set_visible(False)
        panels = []
        for axis, (name, parameter) in zip(grid.ravel(), shown, strict=False):
            axis.set_title(name if parameter.verdict == "calibrated"
                           else f"{name}: {parameter.verdict}")  # fmt: skip
            panels.append((axis, parameter))
        yield figure, panels
