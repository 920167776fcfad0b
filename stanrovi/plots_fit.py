"""Pictures of the fits themselves: ELBO trace, tail of the importance ratios, rotated axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

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
        axis.set_xscale("log")
        axis.set_ylim(*_elbo_limits(list(traces.values())))
        axis.set_xlabel("gradients spent")
        axis.set_ylabel("ELBO (up to a constant)")
        add_legend(figure, comparison, only=set(traces))
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
    with new_figure(6.4, 3.6) as figure:
        axis = figure.subplots()
        for name, values in ratios.items():
            _khat_line(axis, comparison, name, np.sort(values)[::-1])
        axis.axhline(0, color="#999999", linewidth=0.8, zorder=0)
        axis.set_xscale("log")
        axis.invert_xaxis()
        axis.set_xlabel("share of draws with a larger ratio")
        axis.set_ylabel("log10 of ratio / mean ratio")
        add_legend(figure, comparison, only=set(ratios))
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
        axes = json_attribute(fit.attrs, "axes", _axes)
        if axes is None:
            continue
        mine, theirs = _along(axes, fit.unconstrained), _along(axes, reference.unconstrained)
        if mine is not None and theirs is not None:
            return _axes_figure(comparison, name, mine, theirs, count)
    return None


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


def _khat_line(axis: Axes, comparison: Comparison, name: str, ratios: Array) -> None:
    """Plot sorted ratios against rank; a Pareto tail is straight with slope -k."""
    n, look = ratios.size, method_look(comparison, name)
    tail = max(5, int(min(n / 5, 3 * np.sqrt(n))))
    share = (np.arange(tail * 2) + 0.5) / n
    level = (np.logaddexp.reduce(ratios) - np.log(n)) / np.log(10)
    height = ratios[: tail * 2] / np.log(10) - level
    axis.plot(share, height, marker=look["marker"], markersize=2.5, lw=0, color=look["color"])
    khat = comparison.methods[name].khat
    if np.isfinite(khat):
        slope = height[tail] - khat * np.log10(share[:tail] / share[tail])
        axis.plot(share[:tail], slope, **line_style(look))
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
    with new_figure(2.7 * columns + 0.4, 1.9 * rows + 0.9) as figure:
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for axis, i in zip(axes, chosen, strict=False):
            runs = {comparison.reference.method: theirs[..., i], name: mine[..., i]}
            density_panel(axis, comparison, runs)
            axis.set_title(f"axis {i + 1}", loc="left")
        for axis in axes[len(chosen) :]:
            axis.remove()
        add_legend(figure, comparison)
    return figure
