"""Figures and what they are made of: density panels, limits, legends."""

from __future__ import annotations

import io
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from stanrovi.diagnostics.density import kde_by_mode
from stanrovi.errors import PlotError
from stanrovi.io.files import atomic_path
from stanrovi.plots.png import png_bytes
from stanrovi.plots.style import (
    REFERENCE_FILL,
    REFERENCE_LINE,
    Looks,
    plot_style,
)
from stanrovi.target import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)

_TALLEST = 4.0
_MOST_BARS = 60
_LEGEND_ROWS, _ROW_HEIGHT = 2, 0.19  # that every figure has room for; inches of one more
_DPI = 200
_KINDS = ("png", "svg")  # of files
# Coordinates of an SVG are points: two decimals of six are left, which halves the file.
_PATH, _DECIMALS = re.compile(rb' d="[^"]*"'), re.compile(rb"(\.\d\d)\d+")
_SCREEN_DPI = 100


@contextmanager
def new_figure(width: float, height: float) -> Iterator[Figure]:
    """Give a styled figure (inches) that is in no window and no pyplot state."""
    with plot_style():
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        figure = _figure_class()(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure


@cache
def _figure_class() -> type[Figure]:
    """Make the class of figures that notebooks show by themselves, whoever has loaded what.

    Where the inline backend is active, it has a say before the method, and shows the figure as
    it shows all others.
    """
    from matplotlib.figure import Figure

    class ShownFigure(Figure):
        def _repr_png_(self) -> bytes:
            with plot_style():
                file = io.BytesIO()
                self.savefig(file, format="png", dpi=_SCREEN_DPI)
            return file.getvalue()

    return ShownFigure


def density_panel(axis: Axes, looks: Looks, runs: dict[str, Array]) -> None:
    """Draw the density of one scalar: the reference filled, the fits as lines.

    A fit more than `_TALLEST` times as tall as the reference is scaled down to that
    height: the spike of a collapsed fit must neither flatten everything else nor be cut.
    """
    from matplotlib.collections import PolyCollection

    low, high = limits(list(runs.values()))
    whole = high - low <= _MOST_BARS and all((x == np.rint(x)).all() for x in runs.values())
    outline = _bars if whole else _density
    low, high = (low - 0.5, high + 0.5) if whole else (low, high)
    tallest = np.inf
    for name, values in runs.items():
        # Far outliers would coarsen the grid of the estimate; the margin keeps its ends unseen.
        margin = high - low
        inside = values[(values >= low - margin) & (values <= high + margin)]
        if inside.size < 10 or np.ptp(inside) == 0:
            axis.axvline(float(np.median(values)), **looks.line(name))
            continue
        grid, density = outline(inside)
        seen = (grid >= low - margin / 100) & (grid <= high + margin / 100)
        grid, density = grid[seen], density[seen]
        if name == looks.reference:
            ground = np.column_stack([grid[[0, *range(len(grid)), -1]], [0, *density, 0]])
            area = PolyCollection([ground], facecolors=REFERENCE_FILL, linewidths=0)
            axis.add_collection(area, autolim=False)  # its line has the same limits
            axis.plot(grid, density, color=REFERENCE_LINE, linewidth=0.8)
            tallest = _TALLEST * density.max()
        else:
            shown = density * min(1.0, tallest / density.max())
            axis.plot(grid, shown, **looks.line(name))
    axis.set_xlim(low, high)
    axis.set_ylim(bottom=0)
    axis.yaxis.set_visible(False)
    axis.spines["left"].set_visible(False)
    axis.locator_params(axis="x", nbins=4)


def _density(values: Array) -> tuple[Array, Array]:
    """Outline of the density, from the ground to the ground: at a bound it ends upright."""
    grid, density = kde_by_mode(values)
    return grid[[0, *range(len(grid)), -1]], np.concatenate([[0.0], density, [0.0]])


def _bars(values: Array) -> tuple[Array, Array]:
    """Outline of the bars of whole numbers, as tall as they are frequent."""
    whole = np.arange(np.rint(values.min()), np.rint(values.max()) + 1)
    counts, _ = np.histogram(values, np.append(whole - 0.5, whole[-1] + 0.5))
    sides = np.repeat(whole, 4) + np.tile([-0.4, -0.4, 0.4, 0.4], len(whole))
    return sides, np.outer(counts / values.size, [0, 1, 1, 0]).ravel()


def limits(runs: list[Array]) -> tuple[float, float]:
    """Limits that hold all but the last thousandth of every run."""
    ends = np.array([np.quantile(values, [0.001, 0.999]) for values in runs])
    low, high = float(ends[:, 0].min()), float(ends[:, 1].max())
    margin = 0.04 * (high - low) or 1.0
    return low - margin, high + margin


def add_legend(
    figure: Figure,
    looks: Looks,
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
        labels = {name: name for name in looks.runs}
    handles: list[Any] = []
    for name, label in labels.items():
        look = looks.look(name)
        if name not in looks.fits and not lines_only:
            handles.append(Patch(facecolor=REFERENCE_FILL, edgecolor=REFERENCE_LINE, label=label))
            continue
        style = {"color": look["color"], "linewidth": 2} if lines_only else looks.line(name)
        marker = look["marker"] if markers else ""
        handles.append(Line2D([], [], marker=marker, markersize=4, label=label, **style))
    if star:
        look = {"marker": "*", "markersize": 10, "markerfacecolor": "white", "linestyle": ""}
        handles.append(Line2D([], [], color="black", label="centre of a basin", **look))
    width = 0.6 + 0.07 * max(len(handle.get_label()) for handle in handles)
    columns = max(1, int(figure.get_figwidth() / max(1.3, width)))
    put_legend(figure, handles, columns)


def put_legend(figure: Figure, handles: Sequence[Any], columns: int) -> None:
    """Put a legend above the panels; the figure grows by what its many rows take."""
    more = max(0, -(-len(handles) // columns) - _LEGEND_ROWS)
    figure.set_figheight(figure.get_figheight() + _ROW_HEIGHT * more)
    figure.legend(handles=handles, loc="outside upper left", ncols=columns)


@dataclass(frozen=True)
class Plot:
    """A figure with the words that go with it.

    Attributes
    ----------
    name : str
        Stem of the file name.
    title, caption : str
        What it shows, and how to read it.
    alt : str
        The finding in words, for those who cannot see it.
    figure : matplotlib.figure.Figure
    """

    name: str
    title: str
    caption: str
    alt: str
    figure: Figure

    @cached_property
    def svg(self) -> bytes:
        """The figure as SVG; drawn once, for the folder and the report."""
        with _laid_out(self.figure):
            file = io.BytesIO()
            self.figure.savefig(file, format="svg", dpi=_DPI, metadata={"Date": None})
            return _PATH.sub(lambda path: _DECIMALS.sub(rb"\1", path[0]), file.getvalue())

    @cached_property
    def png(self) -> bytes:
        """The figure as PNG, 200 dpi."""
        canvas = cast("FigureCanvasAgg", self.figure.canvas)  # as `new_figure` gives it
        with _laid_out(self.figure):
            canvas.draw()
            return png_bytes(np.asarray(canvas.buffer_rgba()), _DPI)


@contextmanager
def _laid_out(figure: Figure) -> Iterator[None]:
    """Lay a figure out; within the block, it is not laid out again."""
    engine, dpi = figure.get_layout_engine(), figure.dpi
    with plot_style():
        try:
            figure.dpi = _DPI  # what is measured for the layout need not be again for the PNG
            if engine is not None:
                engine.execute(figure)
            figure.set_layout_engine(None)
            yield
        finally:
            figure.set_layout_engine(engine)
            figure.dpi = dpi


def save_plots(
    plots: list[Plot], folder: str | os.PathLike[str], *, overwrite: bool = False
) -> list[Path]:
    """Save every plot as PNG (200 dpi) and SVG.

    Parameters
    ----------
    plots : list of Plot
    folder : path-like
        An existing folder.
    overwrite : bool
        Whether existing files may be replaced.

    Returns
    -------
    list of Path

    Raises
    ------
    OutputError
        A file exists or cannot be written.
    """
    paths = []
    for plot in plots:
        for name in plot_files([plot.name]):
            path = Path(folder) / name
            with atomic_path(path, overwrite=overwrite) as temporary:
                temporary.write_bytes(getattr(plot, path.suffix[1:]))
            paths.append(path)
    return paths


def plot_files(names: Iterable[str]) -> list[str]:
    """Names of the files in which `save_plots` saves plots of these names."""
    return [f"{name}.{kind}" for name in names for kind in _KINDS]


def drawn(draw: Callable[[], list[Plot]], kinds: Sequence[str] = _KINDS) -> list[Plot]:
    """Draw; where matplotlib cannot, tell it, and do without pictures.

    Parameters
    ----------
    draw : callable
        Gives the plots.
    kinds : sequence of {"png", "svg"}
        Formats that are needed.

    Returns
    -------
    list of Plot
    """
    try:
        return [plot for plot in draw() if _can_be_drawn(plot, kinds)]
    except PlotError as error:
        logger.warning("The pictures are left out: %s", error)
        return []


def _can_be_drawn(plot: Plot, kinds: Sequence[str]) -> bool:
    """Draw it, and tell where matplotlib has no ticks for its numbers, as at 1e308."""
    try:
        with _laid_out(plot.figure):
            return all(getattr(plot, kind) for kind in kinds)
    except (OverflowError, ValueError) as error:
        logger.warning("The picture %s is left out: %s", plot.name, error)
        return False
