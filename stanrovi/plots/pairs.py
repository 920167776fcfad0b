"""Picture of the worst parameters in pairs."""

from __future__ import annotations

from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Any

import numpy as np

from stanrovi.grading.findings import Findings
from stanrovi.plots.contours import Surface, heights, surfaces
from stanrovi.plots.figure import add_legend, density_panel, limits, new_figure
from stanrovi.plots.style import Looks
from stanrovi.target import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


# Shares of a fit's draws that its contours enclose.
_SHARES = (0.9, 0.5)


def plot_pairs(findings: Findings, count: int = 4) -> Figure | None:
    """Draw the worst parameters in pairs, with the centres of the known basins.

    The reference is a cloud of points, each fit a pair of contours that enclose half
    and nine tenths of its draws.

    Parameters
    ----------
    findings : Findings
    count : int
        Parameters at most.

    Returns
    -------
    matplotlib.figure.Figure or None
        None for a model with one parameter.
    """
    names = findings.worst_parameters(count)
    if len(names) < 2:
        return None
    runs, size = findings.scalars(), len(names)
    looks = Looks(tuple(findings.runs))
    with new_figure(2.2 * size + 0.4, 2.0 * size + 0.9) as figure:
        grid = figure.add_gridspec(size, size)
        for j, i in combinations_with_replacement(range(size), 2):  # below the diagonal
            axis = figure.add_subplot(grid[i, j])
            if i == j:
                density_panel(axis, looks, {r: draws[names[i]] for r, draws in runs.items()})
            else:
                _pair_panel(axis, findings, looks, runs, names[j], names[i])
            _outer_labels(axis, names, i, j)
        add_legend(figure, looks, star=bool(findings.basin_centres))
    return figure


def _pair_panel(
    axis: Axes, findings: Findings, looks: Looks, runs: dict[str, dict[str, Array]], x: str, y: str
) -> None:
    for name, draws in runs.items():
        points, look = (draws[x].ravel(), draws[y].ravel()), looks.look(name)
        if name == looks.reference:
            step = max(1, points[0].size // 1200)
            cloud: dict[str, Any] = {"s": 8, "alpha": 0.5, "lw": 0, "rasterized": True}
            axis.scatter(points[0][::step], points[1][::step], c="#AAAAAA", **cloud)
        elif (found := surfaces(*points)) is None:
            axis.plot(*points, marker=look["marker"], color=look["color"], lw=0, markersize=3)
        else:
            style: dict[str, Any] = {"colors": [look["color"]], "linestyles": [look["linestyle"]]}
            _contours(axis, found, style)
    axis.set_xlim(*limits([draws[x] for draws in runs.values()]))
    axis.set_ylim(*limits([draws[y] for draws in runs.values()]))
    axis.locator_params(nbins=4)
    centres = findings.basin_centres
    if x in centres and y in centres:
        axis.scatter(
            centres[x], centres[y], marker="*", s=70, c="white", edgecolors="black", zorder=5
        )


def _contours(axis: Axes, found: list[Surface], style: dict[str, Any]) -> None:
    levels = heights(found, _SHARES)
    for one in found:
        crossed = levels[(levels > np.nanmin(one.density)) & (levels < np.nanmax(one.density))]
        if len(crossed):
            axis.contour(one.x, one.y, one.density, crossed, linewidths=1.1, **style)


def _outer_labels(axis: Axes, names: tuple[str, ...], i: int, j: int) -> None:
    if i == len(names) - 1:
        axis.set_xlabel(names[j])
    else:
        axis.tick_params(labelbottom=False)
    if j == 0 and i > 0:
        axis.set_ylabel(names[i])
    elif i != j:
        axis.tick_params(labelleft=False)
