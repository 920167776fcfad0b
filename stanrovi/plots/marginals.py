"""Picture of the marginal densities of the worst parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stanrovi.grading.findings import Findings
from stanrovi.plots.figure import add_legend, density_panel, new_figure
from stanrovi.plots.style import Looks

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_marginals(findings: Findings, count: int = 12) -> Figure:
    """Draw the marginal density of every method over the reference.

    Parameters
    ----------
    findings : Findings
    count : int
        Panels at most; the parameters that differ most come first (those declared
        first, where the reference is not trusted).

    Returns
    -------
    matplotlib.figure.Figure
    """
    names = findings.worst_parameters(count)
    runs = findings.scalars()
    columns = min(len(names), 4 if len(names) > 6 else 3)
    rows = -(-len(names) // columns)
    looks = Looks(tuple(findings.runs))
    with new_figure(2.7 * columns + 0.4, 2.0 * rows + 0.9) as figure:
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for axis, name in zip(axes, names, strict=False):
            density_panel(axis, looks, {run: draws[name] for run, draws in runs.items()})
            axis.set_title(_panel_title(findings, name), loc="left", y=1)
        for axis in axes[len(names) :]:
            axis.remove()
        add_legend(figure, looks)
        if len(names) < len(findings.parameters):
            figure.supxlabel(_choice(findings, len(names)), fontsize=9)
    return figure


def _panel_title(findings: Findings, name: str) -> str:
    graded = []
    for method, found in findings.methods.items():
        part = found.marginals
        if part is not None and name in part.names:
            i = part.names.index(name)
            graded.append((part.w1[i], part.floor[i], method))
    if not graded:
        return name
    w1, floor, method = max(graded)
    return f"{name}\n{method} W1 {w1:.2f} (noise {floor:.2f})"


def _choice(findings: Findings, count: int) -> str:
    """Say which parameters a plot of this many shows."""
    total = len(findings.parameters)
    if findings.reference.trusted:
        return f"The {count} of {total} parameters that differ most"
    return f"The first {count} of {total} parameters, as declared"
