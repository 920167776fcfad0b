"""Picture of the mode table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from stanrovi.grading.findings import Findings
from stanrovi.grading.mode_table import LOCAL_EVIDENCE
from stanrovi.plots.figure import new_figure, put_legend
from stanrovi.plots.style import REFERENCE_FILL, Looks

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_modes(findings: Findings) -> Figure | None:
    """Draw the mode table: the share of each run's draws in each basin.

    Parameters
    ----------
    findings : Findings

    Returns
    -------
    matplotlib.figure.Figure or None
        None where fewer than two modes are known.
    """
    table = findings.modes
    if table is None or len(table.weight) < 2:
        return None
    columns = table.columns(findings.reference.method)
    fills = Looks(tuple(findings.runs)).colors | {findings.reference.method: REFERENCE_FILL}
    shown = min(len(table.weight), 10)
    width = 0.84 / len(columns)
    with new_figure(min(9.5, 2.6 + 0.42 * shown * len(columns)), 3.4) as figure:
        axis = figure.subplots()
        for k, (label, mass) in enumerate(columns.items()):
            x = np.arange(shown) + (k - (len(columns) - 1) / 2) * width
            look: dict[str, Any] = {"edgecolor": "#333333", "label": label}
            if label == LOCAL_EVIDENCE:
                look |= {"facecolor": "white", "hatch": "////"}
            else:
                look["facecolor"] = fills[label]
            drawn = axis.bar(x, mass[:shown], width * 0.92, **look)
            axis.bar_label(drawn, [f"{m:.0%}" for m in mass[:shown]], padding=1, fontsize=7)
        axis.set_xticks(np.arange(shown), [f"mode {i + 1}" for i in range(shown)])
        axis.set_ylim(0, 1.05)
        axis.set_ylabel("share of draws")
        axis.tick_params(axis="x", length=0)
        handles, _ = axis.get_legend_handles_labels()
        put_legend(figure, handles, max(2, int(figure.get_figwidth() / 1.3)))
    return figure
