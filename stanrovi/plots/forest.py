"""Picture of intervals: the forest plot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from stanrovi.grading.findings import Findings
from stanrovi.plots.figure import add_legend, new_figure
from stanrovi.plots.style import Looks
from stanrovi.target import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDE, _HALF = 0.94, (0.25, 0.5, 0.75)
_ROOM = 0.55  # of the height of a parameter that its runs take


def plot_forest(findings: Findings, count: int = 15) -> Figure:
    """Draw intervals of all runs in units of the reference: mean 0, sd 1.

    Parameters
    ----------
    findings : Findings
    count : int
        Parameters at most, in the order of `plot_marginals`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    names = findings.worst_parameters(count)
    runs = findings.scalars()
    reference = runs[findings.reference.method]
    centre = {name: (reference[name].mean(), reference[name].std()) for name in names}
    looks = Looks(tuple(findings.runs))
    with new_figure(7.0, 1.2 + len(names) * (0.14 + 0.075 * len(runs))) as figure:
        axis = figure.subplots()
        for row in range(0, len(names), 2):
            axis.axhspan(row - 0.45, row + 0.45, color="black", alpha=0.1, zorder=0)
        for k, run in enumerate(looks.runs):
            scaled = {n: (runs[run][n] - centre[n][0]) / centre[n][1] for n in names}
            offset = _ROOM * ((k + 0.5) / len(runs) - 0.5)
            draw_intervals(axis, scaled, offset, looks.colors[run])
        axis.axvline(0, color="#999999", linewidth=0.8, zorder=0)
        axis.set_yticks(range(len(names)), names)
        axis.set_ylim(len(names) - 0.5, -0.5)  # the first on top
        axis.tick_params(axis="y", length=0)
        axis.spines["left"].set_visible(False)
        axis.set_xlabel(
            f"{findings.reference.method} sds from its mean; median, 50% and 94% intervals"
        )
        add_legend(figure, looks, lines_only=True)
    return figure


def draw_intervals(axis: Axes, samples: Mapping[str, Array], offset: float, color: str) -> None:
    """Draw median, quartiles and the narrowest interval that holds 94% of each quantity.

    Parameters
    ----------
    axis : matplotlib.axes.Axes
    samples : mapping of str to ndarray
        Draws of scalar quantities, drawn at the heights 0, 1, ...
    offset : float
        Added to the heights.
    color : str
    """
    heights = np.arange(len(samples)) + offset
    lower, middle, upper = np.array([np.quantile(x, _HALF) for x in samples.values()]).T
    wide = np.array([shortest_interval(x, _WIDE) for x in samples.values()]).T
    style: dict[str, Any] = {"color": color}
    axis.hlines(heights, *wide, linewidth=1.6, **style)
    axis.hlines(heights, lower, upper, linewidth=3.2, **style)
    face = axis.get_facecolor()
    axis.plot(middle, heights, "o", markersize=3.75, markerfacecolor=face, **style)


def shortest_interval(values: Array, share: float) -> tuple[float, float]:
    """Find the narrowest interval between draws that holds a share of them.

    Parameters
    ----------
    values : ndarray
        Draws of a scalar, any shape.
    share : float

    Returns
    -------
    lower, upper : float
    """
    ordered = np.sort(values, axis=None)
    step = int(np.floor(share * ordered.size))
    start = int((ordered[step:] - ordered[: ordered.size - step]).argmin())
    return float(ordered[start]), float(ordered[start + step])
