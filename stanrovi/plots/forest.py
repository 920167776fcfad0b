"""ArviZ's forest plot, alike under both of its generations."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import numpy as np

from stanrovi.grading.findings import Findings
from stanrovi.io.generations import dataset, import_arviz, is_legacy
from stanrovi.plots.figure import add_legend
from stanrovi.plots.style import Looks, plot_style
from stanrovi.target import Array

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_forest(findings: Findings, count: int = 15) -> Figure:
    """Draw ArviZ's forest plot in units of the reference: mean 0, sd 1.

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
    reference = runs.pop(findings.reference.method)
    runs = {findings.reference.method: reference, **runs}
    centre = {name: (reference[name].mean(), reference[name].std()) for name in names}
    scaled = {
        run: {name: (draws[name] - centre[name][0]) / centre[name][1] for name in names}
        for run, draws in runs.items()
    }
    looks = Looks(tuple(findings.runs))
    with plot_style():
        figure = forest(scaled, looks.colors)
        axis = figure.axes[-1]
        axis.axvline(0, color="#999999", linewidth=0.8, zorder=0)
        axis.set_title("")
        axis.set_xlabel(
            f"{findings.reference.method} sds from its mean; median, 50% and 94% intervals"
        )
        add_legend(figure, looks, lines_only=True)
    return figure


def forest(samples: Mapping[str, Mapping[str, Array]], colors: Mapping[str, str]) -> Figure:
    """ArviZ's forest plot of several runs: median, 50% and 94% intervals.

    Parameters
    ----------
    samples : mapping of str to mapping of str to ndarray, shape (chain, draw)
        Runs by name, each with the same scalar quantities in the order wanted
        from top to bottom.
    colors : mapping of str to str
        Colour of each run.

    Returns
    -------
    matplotlib.figure.Figure
        Detached from pyplot: it is in no window and no global state. Its last
        axes hold the intervals.
    """
    # ArviZ 1.x joins the runs into one array, so all must have one shape.
    common = min(values.size for run in samples.values() for values in run.values())
    datasets = {
        name: dataset({key: _resized(values, common) for key, values in run.items()})
        for name, run in samples.items()
    }
    rows = len(next(iter(samples.values())))
    size = (7.0, 1.2 + rows * (0.14 + 0.075 * len(samples)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # layout advice about a figure we lay out ourselves
        if is_legacy():
            return _forest_legacy(datasets, colors, size)
        return _forest(datasets, colors, size)


def _resized(values: Array, size: int) -> Array:
    return values.reshape(1, -1)[:, np.linspace(0, values.size - 1, size).astype(int)]


def _forest_legacy(
    datasets: Mapping[str, xr.Dataset], colors: Mapping[str, str], size: tuple[float, float]
) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    import_arviz().plot_forest(
        list(datasets.values()),
        model_names=list(datasets),
        var_names=list(next(iter(datasets.values())).data_vars),  # else in a set's order
        combined=True,
        hdi_prob=0.94,
        colors=[colors[name] for name in datasets],
        textsize=9,
        linewidth=1.6,
        markersize=5,
        legend=False,
        ax=axis,
        show=False,
    )
    _label_once(axis, list(datasets))
    return figure


def _label_once(axis: Axes, models: list[str]) -> None:
    """Name each quantity once, in the middle of its models, instead of once per model."""
    longest_first = sorted(models, key=len, reverse=True)  # a name may begin with another and ": "
    rows: dict[str, list[float]] = {}
    for tick, label in zip(axis.get_yticks(), axis.get_yticklabels(), strict=True):
        model = next(name for name in longest_first if label.get_text().startswith(f"{name}: "))
        rows.setdefault(label.get_text().removeprefix(f"{model}: "), []).append(tick)
    axis.set_yticks([float(np.mean(ticks)) for ticks in rows.values()], list(rows))
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)


def _forest(
    datasets: Mapping[str, xr.Dataset], colors: Mapping[str, str], size: tuple[float, float]
) -> Figure:
    import matplotlib.pyplot as plt
    import xarray as xr
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    # A tree takes "/" for a path, and a name may hold one; the division slash looks the same.
    trees = {
        name: xr.DataTree.from_dict(
            {"posterior": data.rename({key: str(key).replace("/", "\u2215") for key in data})}
        )
        for name, data in datasets.items()
    }
    collection = import_arviz().plot_forest(
        trees,
        combined=True,
        point_estimate="median",
        ci_kind="eti",
        ci_probs=(0.5, 0.94),
        aes={"color": ["model"]},
        color=[colors[name] for name in datasets],
        backend="matplotlib",
        figure_kwargs={"figsize": size, "layout": "constrained"},
    )
    figure = cast("Figure", collection.viz["figure"].item())
    plt.close(figure)
    FigureCanvasAgg(figure)  # closing leaves a canvas that cannot draw
    labels = figure.axes[0]
    labels.set_xticks([])
    labels.spines["bottom"].set_visible(False)
    return figure
