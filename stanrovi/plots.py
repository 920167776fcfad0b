"""Pictures of a comparison: legible with 3 and with 300 parameters.

The parameters that differ most come first and the rest is left out. Colours are
Okabe and Ito's (colour-blind safe), each with its own line style. Figures belong to
no window and to no pyplot state; save them or show them in a notebook.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stanrovi import captions
from stanrovi.files import atomic_path
from stanrovi.forest_plot import forest
from stanrovi.plot_style import (
    REFERENCE_FILL,
    add_legend,
    density_panel,
    new_figure,
    plot_style,
    run_colors,
    scalar_runs,
)
from stanrovi.plots_fit import plot_axes, plot_khat, plot_trace
from stanrovi.plots_pairs import plot_pairs
from stanrovi.target import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from stanrovi.comparison import Comparison


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


def plot_marginals(comparison: Comparison, count: int = 12) -> Figure:
    """Draw the marginal density of every method over the reference.

    Parameters
    ----------
    comparison : Comparison
    count : int
        Panels at most; the parameters that differ most come first (those declared
        first, where the reference is not trusted).

    Returns
    -------
    matplotlib.figure.Figure
    """
    names = comparison.worst_parameters(count)
    runs = scalar_runs(comparison)
    columns = min(len(names), 4 if len(names) > 6 else 3)
    rows = -(-len(names) // columns)
    with new_figure(2.7 * columns + 0.4, 2.0 * rows + 0.9) as figure:
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for axis, name in zip(axes, names, strict=False):
            density_panel(axis, comparison, {run: draws[name] for run, draws in runs.items()})
            axis.set_title(_panel_title(comparison, name), loc="left")
        for axis in axes[len(names) :]:
            axis.remove()
        add_legend(figure, comparison)
        if len(names) < len(comparison.parameters):
            figure.supxlabel(captions.choice(comparison, len(names)), fontsize=9)
    return figure


def plot_forest(comparison: Comparison, count: int = 15) -> Figure:
    """Draw ArviZ's forest plot in units of the reference: mean 0, sd 1.

    Parameters
    ----------
    comparison : Comparison
    count : int
        Parameters at most, in the order of `plot_marginals`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    names = comparison.worst_parameters(count)
    runs = scalar_runs(comparison)
    reference = runs.pop(comparison.reference.method)
    runs = {comparison.reference.method: reference, **runs}
    centre = {name: (reference[name].mean(), reference[name].std()) for name in names}
    scaled = {
        run: {name: (draws[name] - centre[name][0]) / centre[name][1] for name in names}
        for run, draws in runs.items()
    }
    with plot_style():
        figure = forest(scaled, run_colors(comparison))
        axis = figure.axes[-1]
        axis.axvline(0, color="#999999", linewidth=0.8, zorder=0)
        axis.set_title("")
        axis.set_xlabel(
            f"{comparison.reference.method} sds from its mean; median, 50% and 94% intervals"
        )
        add_legend(figure, comparison, lines_only=True)
    return figure


def plot_modes(comparison: Comparison) -> Figure | None:
    """Draw the mode table: the share of each run's draws in each basin.

    Parameters
    ----------
    comparison : Comparison

    Returns
    -------
    matplotlib.figure.Figure or None
        None where fewer than two modes are known.
    """
    table = comparison.modes
    if table is None or len(table.weight) < 2:
        return None
    bars: dict[str, tuple[Array, dict[str, Any]]] = {
        "local evidence": (table.weight, {"facecolor": "white", "hatch": "////"})
    }
    if table.reference_mass is not None:
        label = comparison.reference.method
        bars[label] = (table.reference_mass, {"facecolor": REFERENCE_FILL})
    colors = run_colors(comparison)
    bars |= {name: (mass, {"facecolor": colors[name]}) for name, mass in table.mass.items()}
    shown = min(len(table.weight), 10)
    width = 0.84 / len(bars)
    with new_figure(min(9.5, 2.6 + 0.42 * shown * len(bars)), 3.4) as figure:
        axis = figure.subplots()
        for k, (label, (mass, look)) in enumerate(bars.items()):
            x = np.arange(shown) + (k - (len(bars) - 1) / 2) * width
            look |= {"edgecolor": "#333333", "label": label}
            drawn = axis.bar(x, mass[:shown], width * 0.92, **look)
            axis.bar_label(drawn, [f"{m:.0%}" for m in mass[:shown]], padding=1, fontsize=7)
        axis.set_xticks(np.arange(shown), [f"mode {i + 1}" for i in range(shown)])
        axis.set_ylim(0, 1.05)
        axis.set_ylabel("share of draws")
        axis.tick_params(axis="x", length=0)
        figure.legend(loc="outside upper left", ncols=max(2, int(figure.get_figwidth() / 1.3)))
    return figure


def all_plots(comparison: Comparison) -> list[Plot]:
    """Draw everything the comparison has material for.

    Parameters
    ----------
    comparison : Comparison

    Returns
    -------
    list of Plot
        In the order of the report.
    """
    made = {
        "marginals": plot_marginals(comparison),
        "modes": plot_modes(comparison),
        "pairs": plot_pairs(comparison),
        "forest": plot_forest(comparison),
        "axes": plot_axes(comparison),
        "trace": plot_trace(comparison),
        "khat": plot_khat(comparison),
    }
    return [
        Plot(name, *captions.words(name, comparison), figure)
        for name, figure in made.items()
        if figure is not None
    ]


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
        for kind in ("png", "svg"):
            path = Path(folder) / f"{plot.name}.{kind}"
            with atomic_path(path, overwrite=overwrite) as temporary:
                plot.figure.savefig(
                    temporary,
                    format=kind,
                    dpi=200,
                    metadata={"Date": None} if kind == "svg" else {},
                )
            paths.append(path)
    return paths


def _panel_title(comparison: Comparison, name: str) -> str:
    i = comparison.parameters.index(name)
    graded = [
        (m.marginals.w1[i], m.marginals.floor[i], method)
        for method, m in comparison.methods.items()
        if m.marginals is not None
    ]
    if not graded:
        return name
    w1, floor, method = max(graded)
    return f"{name}\n{method} W1 {w1:.2f} (noise {floor:.2f})"
