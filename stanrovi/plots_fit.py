"""Pictures of the fits themselves: ELBO trace, tail of the importance ratios, rotated axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from stanrovi import draw_stats
from stanrovi.draws import Draws
from stanrovi.json_values import json_attribute
from stanrovi.plot_style import (
    add_legend,
    density_panel,
    line_style,
    method_look,
    new_figure,
)
from stanrovi.target import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from stanrovi.comparison import Comparison


_LEAST_HEIGHT = 0.3
_AXES_RANK = {"rovi": 0, "auto": 1, "mfvi": 3}


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
    stored = {
        name: json_attribute(fit.attrs, "trace", _trace) for name, fit in comparison.fits.items()
    }
    traces = {name: trace for name, trace in stored.items() if trace is not None and len(trace)}
    if not traces:
        return None
    with new_figure(6.4, 3.6) as figure:
        axis = figure.subplots()
        for name, trace in traces.items():
            look = method_look(comparison, name)
            spent, elbo, error = trace.T
            axis.plot(spent, elbo, marker=look["marker"], markersize=3.5, **line_style(look))
            axis.fill_between(
                spent, elbo - 2 * error, elbo + 2 * error, color=look["color"], alpha=0.18, lw=0
            )
        _count_axis(axis)
        axis.set_ylim(*_elbo_limits(list(traces.values())))
        axis.set_xlabel("gradients spent")
        axis.set_ylabel("ELBO (up to a constant)")
        add_legend(figure, comparison, labels={name: name for name in traces})
    return figure


def plot_khat(comparison: Comparison) -> Figure | None:
    """Draw the largest importance ratios and the Pareto tail fitted to them.

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
    with new_figure(6.4, 3.6) as figure:
        axis = figure.subplots()
        for name, values in ratios.items():
            _khat_line(axis, method_look(comparison, name), np.sort(values)[::-1])
        axis.axhline(0, color="#999999", linewidth=0.8, zorder=0)
        axis.set_xscale("log")
        axis.invert_xaxis()
        # Ratios that are constant but for rounding shall look so.
        axis.set_ylim(top=max(axis.get_ylim()[1], _LEAST_HEIGHT))
        axis.set_xlabel("share of draws with a larger ratio")
        axis.set_ylabel("log10 of ratio / mean ratio")
        khats = {name: comparison.methods[name].khat for name in ratios}
        labels = {name: f"{name}, k-hat {khat:.2f}" for name, khat in khats.items()}
        add_legend(figure, comparison, labels=labels, markers=True)
    return figure


def plot_axes(comparison: Comparison, count: int = 12) -> Figure | None:
    """Draw a fit and the reference along the axes of that fit; which, tells `axes_owner`.

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
    found = _on_axes(comparison)
    return None if found is None else _axes_figure(comparison, *found, count)


def axes_owner(comparison: Comparison) -> str | None:
    """Name of the fit along whose axes `plot_axes` draws; None where it draws nothing.

    A rovi fit before all others, and mfvi, whose axes are the parameters, last.
    """
    found = _on_axes(comparison)
    return None if found is None else found[0]


def _on_axes(comparison: Comparison) -> tuple[str, Array, Array] | None:
    """Name of a fit, and its draws and those of the reference along its axes."""
    theirs = comparison.reference_draws.unconstrained
    fits = comparison.fits
    for name in sorted(fits, key=lambda name: _AXES_RANK.get(fits[name].method, 2)):
        axes = json_attribute(fits[name].attrs, "axes", _axes)
        if axes is None:
            continue
        along = _along(axes, fits[name].unconstrained), _along(axes, theirs)
        if along[0] is not None and along[1] is not None:
            return name, along[0], along[1]
    return None


def _count_axis(axis: Axes) -> None:
    """Logarithmic x axis of counts, with as many labels as there is room for."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axis.set_xscale("log")
    low, high = axis.get_xlim()
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
    axis.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axis.xaxis.set_minor_formatter(NullFormatter())


def _axes(stored: Any) -> tuple[Array, Array]:
    """Centre (d,) and the inverse of the matrix (d, d)."""
    centre = np.array(stored["center"], dtype=np.float64)
    inverse = np.linalg.inv(np.array(stored["matrix"], dtype=np.float64))
    if inverse.shape != (len(centre), len(centre)):
        raise ValueError("centre and matrix differ in size")
    return centre, inverse


def _along(axes: tuple[Array, Array], draws: Array | None) -> Array | None:
    """Coordinates of draws (chain, draw, d) along the axes; None where they have none."""
    centre, inverse = axes
    if draws is None or draws.shape[-1] != len(centre):
        return None
    along = (draws - centre) @ inverse.T
    return along if np.isfinite(along).all() else None


def _trace(stored: Any) -> Array:
    """Rows (gradients, ELBO, standard error); finite ones only."""
    rows = [[p["n_gradients"], p["elbo"], p["elbo_se"]] for p in stored]
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


def _khat_line(axis: Axes, look: dict[str, Any], ratios: Array) -> None:
    """Plot sorted log ratios against rank, and the generalised Pareto tail fitted to them."""
    n = ratios.size
    level = np.logaddexp.reduce(ratios) - np.log(n)
    fitted = draw_stats.pareto_tail(ratios)
    count = min(n, 2 * draw_stats.tail_size(n))
    share = (np.arange(count) + 0.5) / n
    height = (ratios[:count] - level) / np.log(10)
    axis.plot(share, height, marker=look["marker"], markersize=2.5, lw=0, color=look["color"])
    if fitted is not None:
        line = (fitted - level) / np.log(10)
        axis.plot(share[: len(line)], line, **line_style(look))


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
    with new_figure(2.7 * columns + 0.4, 1.9 * rows + 0.9) as figure:
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for axis, i in zip(axes, chosen, strict=False):
            runs = {comparison.reference.method: theirs[..., i], name: mine[..., i]}
            density_panel(axis, comparison, runs)
            axis.set_title(f"axis {i + 1}", loc="left")
        for axis in axes[len(chosen) :]:
            axis.remove()
        figure.supxlabel(f"Coordinates along the axes of {name}", fontsize=9)
        drawn = (comparison.reference.method, name)
        add_legend(figure, comparison, labels={run: run for run in drawn})
    return figure
