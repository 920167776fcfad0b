"""Pictures of a comparison: legible with 3 and with 300 parameters.

The parameters that differ most come first and the rest is left out. Colours are
Okabe and Ito's (colour-blind safe), each with its own line style. Figures belong to
no window and to no pyplot state; save them or show them in a notebook.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stanrovi import arviz_io
from stanrovi.draws import Draws
from stanrovi.files import atomic_path
from stanrovi.target import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from stanrovi.compare import Comparison

_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_DASHES = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)), "-", (0, (5, 1.5)))
_MARKERS = ("o", "^", "s", "D", "v", "P")
_REFERENCE_FILL, _REFERENCE_LINE = "#B8B8B8", "#555555"
_STYLE = {
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "legend.frameon": False,
    "svg.hashsalt": "stanrovi",
}


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
        Panels at most; the parameters that differ most come first.

    Returns
    -------
    matplotlib.figure.Figure
    """
    names = comparison.worst_parameters(count)
    runs = _scalars(comparison)
    columns = min(len(names), 4 if len(names) > 6 else 3)
    rows = -(-len(names) // columns)
    with _figure(2.7 * columns + 0.4, 2.0 * rows + 0.9) as figure:
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for axis, name in zip(axes, names, strict=False):
            _density_panel(axis, comparison, {run: draws[name] for run, draws in runs.items()})
            axis.set_title(_panel_title(comparison, name), loc="left")
        for axis in axes[len(names) :]:
            axis.remove()
        _legend(figure, comparison)
        total = len(comparison.parameters)
        if total > len(names):
            figure.supxlabel(f"The {len(names)} of {total} parameters that differ most", fontsize=9)
    return figure


def plot_pairs(comparison: Comparison, count: int = 4) -> Figure | None:
    """Draw the worst parameters in pairs, with the centres of the known basins.

    Parameters
    ----------
    comparison : Comparison
    count : int
        Parameters at most.

    Returns
    -------
    matplotlib.figure.Figure or None
        None for a model with one parameter.
    """
    names = comparison.worst_parameters(count)
    if len(names) < 2:
        return None
    runs, size = _scalars(comparison), len(names)
    with _figure(2.2 * size + 0.4, 2.0 * size + 0.9) as figure:
        axes = figure.subplots(size, size, squeeze=False)
        for i, j in np.ndindex(size, size):
            axis = axes[i, j]
            if j > i:
                axis.remove()
                continue
            if i == j:
                _density_panel(axis, comparison, {r: draws[names[i]] for r, draws in runs.items()})
            else:
                _scatter_panel(axis, comparison, runs, names[j], names[i])
            _outer_labels(axis, names, i, j)
        _legend(figure, comparison, points=True)
    return figure


def plot_forest(comparison: Comparison, count: int = 20) -> Figure:
    """Draw ArviZ's forest plot in units of the reference: mean 0, sd 1.

    Parameters
    ----------
    comparison : Comparison
    count : int
        Parameters at most, the worst on top.

    Returns
    -------
    matplotlib.figure.Figure
    """
    names = comparison.worst_parameters(count)
    runs = _scalars(comparison)
    reference = runs.pop(comparison.reference.method)
    runs = {comparison.reference.method: reference, **runs}
    centre = {name: (reference[name].mean(), reference[name].std()) for name in names}
    scaled = {
        run: {name: (draws[name] - centre[name][0]) / centre[name][1] for name in names}
        for run, draws in runs.items()
    }
    with _style():
        figure = arviz_io.forest(scaled, _colors(comparison))
        axis = next(axis for axis in reversed(figure.axes) if axis.lines)
        axis.axvline(0, color="#999999", linewidth=0.8, zorder=0)
        axis.set_title("")
        axis.set_xlabel(
            f"{comparison.reference.method} sds from its mean; median, 50% and 94% intervals"
        )
        _legend(figure, comparison, lines_only=True)
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
        bars[label] = (table.reference_mass, {"facecolor": _REFERENCE_FILL})
    colors = _colors(comparison)
    bars |= {name: (mass, {"facecolor": colors[name]}) for name, mass in table.mass.items()}
    shown = min(len(table.weight), 10)
    width = 0.84 / len(bars)
    with _figure(min(9.5, 2.6 + 0.42 * shown * len(bars)), 3.4) as figure:
        axis = figure.subplots()
        for k, (label, (mass, look)) in enumerate(bars.items()):
            x = np.arange(shown) + (k - (len(bars) - 1) / 2) * width
            axis.bar(x, mass[:shown], width * 0.92, edgecolor="#333333", label=label, **look)
        axis.set_xticks(np.arange(shown), [f"mode {i + 1}" for i in range(shown)])
        axis.set_ylim(0, 1)
        axis.set_ylabel("share of draws")
        axis.tick_params(axis="x", length=0)
        figure.legend(loc="outside upper left", ncols=min(len(bars), 4))
    return figure


def plot_trace(comparison: Comparison) -> Figure | None:
    """Draw how the ELBO grew with the gradients spent.

    Parameters
    ----------
    comparison : Comparison

    Returns
    -------
    matplotlib.figure.Figure or None
        None where no fit carries a trace.
    """
    traces = {name: _trace(fit) for name, fit in comparison.fits.items()}
    traces = {name: trace for name, trace in traces.items() if len(trace)}
    if not traces:
        return None
    with _figure(6.4, 3.6) as figure:
        axis = figure.subplots()
        for name, trace in traces.items():
            look = _look(comparison, name)
            spent, elbo, error = trace.T
            axis.plot(spent, elbo, marker=look["marker"], markersize=3.5, **_line(look))
            axis.fill_between(
                spent, elbo - 2 * error, elbo + 2 * error, color=look["color"], alpha=0.18, lw=0
            )
        axis.set_xscale("log")
        axis.set_ylim(*_elbo_limits(list(traces.values())))
        axis.set_xlabel("gradients spent")
        axis.set_ylabel("ELBO (up to a constant)")
        _legend(figure, comparison, only=set(traces))
    return figure


def plot_khat(comparison: Comparison) -> Figure | None:
    """Draw the tail of the importance ratios with the Pareto slope that k-hat gives it.

    Parameters
    ----------
    comparison : Comparison

    Returns
    -------
    matplotlib.figure.Figure or None
        None where no fit carries its log densities.
    """
    ratios = {name: _log_ratios(fit) for name, fit in comparison.fits.items()}
    ratios = {name: values for name, values in ratios.items() if values.size >= 25}
    if not ratios:
        return None
    with _figure(6.4, 3.6) as figure:
        axis = figure.subplots()
        for name, values in ratios.items():
            _khat_line(axis, comparison, name, np.sort(values)[::-1])
        axis.axhline(0, color="#999999", linewidth=0.8, zorder=0)
        axis.set_xscale("log")
        axis.invert_xaxis()
        axis.set_xlabel("share of draws with a larger ratio")
        axis.set_ylabel("log10 of ratio / mean ratio")
        _legend(figure, comparison, only=set(ratios))
    return figure


def plot_axes(comparison: Comparison, count: int = 12) -> Figure | None:
    """Draw fit and reference along the rotated axes of the first fit that carries them.

    Parameters
    ----------
    comparison : Comparison
        A fit's attribute ``axes`` holds JSON ``{"center": (d,), "matrix": (d, d)}``: on
        unconstrained space x = center + matrix @ y, with the fit a product in y.
    count : int
        Axes at most, those with the largest W1 first.

    Returns
    -------
    matplotlib.figure.Figure or None
        None without such an attribute or without unconstrained draws on both sides.
    """
    reference = comparison.reference_draws
    for name, fit in comparison.fits.items():
        stored = json.loads(str(fit.attrs.get("axes") or "null"))
        if stored and fit.unconstrained is not None and reference.unconstrained is not None:
            inverse = np.linalg.inv(np.array(stored["matrix"], dtype=np.float64))
            centre = np.array(stored["center"], dtype=np.float64)
            mine = (fit.unconstrained - centre) @ inverse.T
            theirs = (reference.unconstrained - centre) @ inverse.T
            return _axes_figure(comparison, name, mine, theirs, count)
    return None


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
    from stanrovi import captions

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


@contextmanager
def _style() -> Iterator[None]:
    import matplotlib as mpl

    with mpl.rc_context(_STYLE):
        yield


@contextmanager
def _figure(width: float, height: float) -> Iterator[Figure]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with _style():
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure


def _scalars(comparison: Comparison) -> dict[str, dict[str, Array]]:
    """Scalar parameters of the reference and of every fit, each shaped (chain, draw)."""
    runs = {comparison.reference.method: comparison.reference_draws, **comparison.fits}
    return {name: run.scalars(tuple(run.posterior)) for name, run in runs.items()}


def _look(comparison: Comparison, name: str) -> dict[str, Any]:
    i = list(comparison.fits).index(name) % len(_COLORS)
    return {"color": _COLORS[i], "linestyle": _DASHES[i], "marker": _MARKERS[i]}


def _line(look: dict[str, Any]) -> dict[str, Any]:
    return {"color": look["color"], "linestyle": look["linestyle"], "linewidth": 1.5}


def _colors(comparison: Comparison) -> dict[str, str]:
    fits = {name: str(_look(comparison, name)["color"]) for name in comparison.fits}
    return {comparison.reference.method: _REFERENCE_LINE, **fits}


def _density_panel(axis: Axes, comparison: Comparison, runs: dict[str, Array]) -> None:
    low, high = _window(list(runs.values()))
    tallest = 0.0
    for name, values in runs.items():
        inside = values[(values >= low) & (values <= high)]
        if inside.size < 10 or np.ptp(inside) == 0:
            axis.axvline(float(np.median(values)), **_line(_look(comparison, name)))
            continue
        grid, density = arviz_io.kde(inside)
        if name == comparison.reference.method:
            axis.fill_between(grid, density, color=_REFERENCE_FILL, lw=0)
            axis.plot(grid, density, color=_REFERENCE_LINE, linewidth=0.8)
            tallest = 3 * density.max()
        else:
            axis.plot(grid, density, **_line(_look(comparison, name)))
    axis.set_xlim(low, high)
    # A collapsed fit's spike must not flatten everything else.
    axis.set_ylim(0, min(axis.get_ylim()[1], tallest) if tallest else None)
    axis.set_yticks([])
    axis.spines["left"].set_visible(False)
    axis.locator_params(axis="x", nbins=4)


def _scatter_panel(
    axis: Axes, comparison: Comparison, runs: dict[str, dict[str, Array]], x: str, y: str
) -> None:
    for name, draws in runs.items():
        step = max(1, draws[x].size // 800)
        points = draws[x].ravel()[::step], draws[y].ravel()[::step]
        reference = name == comparison.reference.method
        look = {"color": "#999999", "marker": "o"} if reference else _look(comparison, name)
        axis.scatter(
            *points, s=4, alpha=0.35, lw=0, rasterized=True, c=look["color"], marker=look["marker"]
        )
    axis.set_xlim(*_window([draws[x] for draws in runs.values()]))
    axis.set_ylim(*_window([draws[y] for draws in runs.values()]))
    axis.locator_params(nbins=4)
    centres = comparison.modes.centres if comparison.modes is not None else {}
    if x in centres and y in centres:
        axis.scatter(
            centres[x], centres[y], marker="*", s=110, c="white", edgecolors="black", zorder=5
        )


def _outer_labels(axis: Axes, names: tuple[str, ...], i: int, j: int) -> None:
    if i == len(names) - 1:
        axis.set_xlabel(names[j])
    else:
        axis.tick_params(labelbottom=False)
    if j == 0 and i > 0:
        axis.set_ylabel(names[i])
    elif i != j:
        axis.tick_params(labelleft=False)


def _window(runs: list[Array]) -> tuple[float, float]:
    """Limits that hold all but the last thousandth of every run."""
    ends = np.array([np.quantile(values, [0.001, 0.999]) for values in runs])
    low, high = float(ends[:, 0].min()), float(ends[:, 1].max())
    margin = 0.04 * (high - low) or 1.0
    return low - margin, high + margin


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


def _legend(
    figure: Figure,
    comparison: Comparison,
    *,
    points: bool = False,
    lines_only: bool = False,
    only: set[str] | None = None,
) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = []
    label = comparison.reference.method
    if lines_only:
        handles.append(Line2D([], [], color=_REFERENCE_LINE, linewidth=2, label=label))
    elif only is None:
        handles.append(Patch(facecolor=_REFERENCE_FILL, edgecolor=_REFERENCE_LINE, label=label))
    for name in comparison.fits:
        if only is not None and name not in only:
            continue
        look = _look(comparison, name)
        style = {"color": look["color"], "linewidth": 2} if lines_only else _line(look)
        marker = look["marker"] if points else ""
        handles.append(Line2D([], [], marker=marker, markersize=4, label=name, **style))
    if points and comparison.modes is not None:
        star = {"marker": "*", "markersize": 10, "markerfacecolor": "white", "linestyle": ""}
        handles.append(Line2D([], [], color="black", label="centre of a basin", **star))
    columns = min(len(handles), 5)
    outside = figure.get_layout_engine() is not None
    figure.legend(
        handles=handles, loc="outside upper left" if outside else "upper left", ncols=columns
    )


def _trace(fit: Draws) -> Array:
    """Rows (gradients, ELBO, standard error) of a fit's trace; finite ones only."""
    points = json.loads(str(fit.attrs.get("trace") or "[]"))
    rows = [[p["n_gradients"], p["elbo"], p["elbo_se"]] for p in points]
    table = np.array(rows, dtype=np.float64).reshape(-1, 3)
    return table[np.isfinite(table).all(axis=1) & (table[:, 0] > 0)]


def _elbo_limits(traces: list[Array]) -> tuple[float, float]:
    """Show the approach to the optimum; the first steps may be thousands of nats below."""
    final = np.array([trace[-1, 1] for trace in traces])
    top = max(float(trace[:, 1].max()) for trace in traces)
    values = np.concatenate([trace[:, 1] for trace in traces])
    bottom = max(float(values.min()), float(final.min()) - 20.0)
    margin = 0.06 * (top - bottom) or 1.0
    return bottom - margin, top + margin


def _log_ratios(fit: Draws) -> Array:
    if not {"lp", "log_q"} <= set(fit.sample_stats):
        return np.empty(0)
    ratios = np.ravel(fit.sample_stats["lp"]) - np.ravel(fit.sample_stats["log_q"])
    return np.asarray(ratios[np.isfinite(ratios)], dtype=np.float64)


def _khat_line(axis: Axes, comparison: Comparison, name: str, ratios: Array) -> None:
    """Plot sorted ratios against rank; a Pareto tail is straight with slope -k."""
    n, look = ratios.size, _look(comparison, name)
    tail = max(5, int(min(n / 5, 3 * np.sqrt(n))))
    share = (np.arange(tail * 2) + 0.5) / n
    level = (np.logaddexp.reduce(ratios) - np.log(n)) / np.log(10)
    height = ratios[: tail * 2] / np.log(10) - level
    axis.plot(share, height, marker=look["marker"], markersize=2.5, lw=0, color=look["color"])
    khat = comparison.methods[name].khat
    if np.isfinite(khat):
        slope = height[tail] - khat * np.log10(share[:tail] / share[tail])
        axis.plot(share[:tail], slope, **_line(look))
        axis.annotate(
            f"k-hat {khat:.2f}",
            (share[0], slope[0]),
            xytext=(4, 0),
            textcoords="offset points",
            color=look["color"],
            va="center",
            annotation_clip=False,
        )


def _axes_figure(
    comparison: Comparison, name: str, mine: Array, theirs: Array, count: int
) -> Figure:
    flat = [np.sort(values.reshape(-1, values.shape[-1]), axis=0) for values in (mine, theirs)]
    levels = np.linspace(0.005, 0.995, 199)
    gap = [
        np.abs(np.quantile(flat[0][:, i], levels) - np.quantile(flat[1][:, i], levels)).mean()
        for i in range(flat[0].shape[1])
    ]
    chosen = np.argsort(-np.array(gap))[:count]
    columns = min(len(chosen), 4)
    rows = -(-len(chosen) // columns)
    with _figure(2.7 * columns + 0.4, 1.9 * rows + 0.9) as figure:
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for axis, i in zip(axes, chosen, strict=False):
            runs = {comparison.reference.method: theirs[..., i], name: mine[..., i]}
            _density_panel(axis, comparison, runs)
            axis.set_title(f"axis {i + 1}", loc="left")
        for axis in axes[len(chosen) :]:
            axis.remove()
        _legend(figure, comparison)
    return figure
