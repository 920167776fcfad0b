"""Pictures of the fits themselves: ELBO trace, tail of the importance ratios, rotated axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stanrovi.diagnostics.pareto import tail_size
from stanrovi.diagnostics.statistics import pareto_tail
from stanrovi.draws import Draws
from stanrovi.grading.findings import Findings
from stanrovi.plots.along_axes import on_axes
from stanrovi.plots.figure import add_legend, density_panel, new_figure
from stanrovi.plots.style import Looks
from stanrovi.target import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_LEAST_HEIGHT = 0.3
_MARKERS = 150  # of the importance ratios of a fit, at most


def plot_trace(findings: Findings) -> Figure | None:
    """Draw how the ELBO grew with the gradients spent.

    Parameters
    ----------
    findings : Findings

    Returns
    -------
    matplotlib.figure.Figure or None
        None where no fit carries a trace.
    """
    told = {name: _trace(fit) for name, fit in findings.fits.items()}
    traces = {name: trace for name, trace in told.items() if len(trace)}
    if not traces:
        return None
    looks = Looks(tuple(findings.runs))
    with new_figure(6.4, 3.6) as figure:
        axis = figure.subplots()
        for name, trace in traces.items():
            look = looks.look(name)
            spent, elbo, error = trace.T
            axis.plot(spent, elbo, marker=look["marker"], markersize=3.5, **looks.line(name))
            axis.fill_between(
                spent, elbo - 2 * error, elbo + 2 * error, color=look["color"], alpha=0.18, lw=0
            )
        _count_axis(axis)
        axis.set_ylim(*_elbo_limits(list(traces.values())))
        axis.set_xlabel("gradients spent")
        axis.set_ylabel("ELBO (up to a constant)")
        add_legend(figure, looks, labels={name: name for name in traces})
    return figure


def plot_khat(findings: Findings) -> Figure | None:
    """Draw the largest importance ratios and the Pareto tail fitted to them.

    Parameters
    ----------
    findings : Findings

    Returns
    -------
    matplotlib.figure.Figure or None
        None where no fit carries its log densities.
    """
    ratios = {name: _log_ratios(fit) for name, fit in findings.fits.items()}
    ratios = {name: values for name, values in ratios.items() if values.size >= 25}
    if not ratios:
        return None
    looks = Looks(tuple(findings.runs))
    with new_figure(6.4, 3.6) as figure:
        axis = figure.subplots()
        for name, values in ratios.items():
            _khat_line(axis, looks, name, np.sort(values)[::-1])
        axis.axhline(0, color="#999999", linewidth=0.8, zorder=0)
        axis.set_xscale("log")
        axis.invert_xaxis()
        # Ratios that are constant but for rounding shall look so.
        axis.set_ylim(top=max(axis.get_ylim()[1], _LEAST_HEIGHT))
        axis.set_xlabel("share of draws with a larger ratio")
        axis.set_ylabel("log10 of ratio / mean ratio")
        khats = {name: findings.methods[name].khat for name in ratios}
        labels = {name: f"{name}, k-hat {khat:.2f}" for name, khat in khats.items()}
        add_legend(figure, looks, labels=labels, markers=True)
    return figure


def plot_axes(findings: Findings, count: int = 12) -> Figure | None:
    """Draw a fit and the reference along the axes of that fit; which, tells `axes_owner`.

    Parameters
    ----------
    findings : Findings
    count : int
        Axes at most, those with the largest W1 first.

    Returns
    -------
    matplotlib.figure.Figure or None
        None where no fit tells its axes, or without unconstrained draws on both sides.
    """
    found = on_axes(findings)
    return None if found is None else _axes_figure(findings, *found, count)


def _count_axis(axis: Axes) -> None:
    """Logarithmic x axis of counts, with as many labels as there is room for."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axis.set_xscale("log")
    low, high = axis.get_xlim()
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
    axis.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axis.xaxis.set_minor_formatter(NullFormatter())


def _trace(fit: Draws) -> Array:
    """Rows (gradients, ELBO, standard error); finite ones only."""
    points = fit.facts.trace if fit.facts is not None else ()
    rows = [[p.n_gradients, p.elbo, p.elbo_se] for p in points]
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
    ratios = fit.log_ratios
    return np.empty(0) if ratios is None else ratios[np.isfinite(ratios)]


def _khat_line(axis: Axes, looks: Looks, name: str, ratios: Array) -> None:
    """Plot sorted log ratios against rank, and the generalised Pareto tail fitted to them."""
    n = ratios.size
    level = np.logaddexp.reduce(ratios) - np.log(n)
    fitted = pareto_tail(ratios)
    count = min(n, 2 * tail_size(n))
    share = (np.arange(count) + 0.5) / n
    height = (ratios[:count] - level) / np.log(10)
    marker = {key: looks.look(name)[key] for key in ("marker", "color")}
    # On a logarithmic axis the later ones would lie on each other.
    apart = np.unique(np.geomspace(1, count, _MARKERS).astype(int)) - 1
    axis.plot(share, height, markersize=2.5, lw=0, markevery=list(apart), **marker)
    if fitted is not None:
        line = (fitted - level) / np.log(10)
        axis.plot(share[: len(line)], line, **looks.line(name))


def _axes_figure(findings: Findings, name: str, mine: Array, theirs: Array, count: int) -> Figure:
    flat = [np.sort(values.reshape(-1, values.shape[-1]), axis=0) for values in (mine, theirs)]
    levels = np.linspace(0.005, 0.995, 199)
    gap = [
        np.abs(np.quantile(flat[0][:, i], levels) - np.quantile(flat[1][:, i], levels)).mean()
        for i in range(flat[0].shape[1])
    ]
    chosen = np.argsort(-np.array(gap))[:count]
    columns = min(len(chosen), 4)
    rows = -(-len(chosen) // columns)
    looks = Looks(tuple(findings.runs))
    with new_figure(2.7 * columns + 0.4, 1.9 * rows + 0.9) as figure:
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for axis, i in zip(axes, chosen, strict=False):
            runs = {findings.reference.method: theirs[..., i], name: mine[..., i]}
            density_panel(axis, looks, runs)
            axis.set_title(f"axis {i + 1}", loc="left", y=1)
        for axis in axes[len(chosen) :]:
            axis.remove()
        figure.supxlabel(f"Coordinates along the axes of {name}", fontsize=9)
        drawn = (looks.reference, name)
        add_legend(figure, looks, labels={run: run for run in drawn})
    return figure
