"""Pictures of a comparison: legible with 3 and with 300 parameters.

The parameters that differ most come first and the rest is left out. Colours are
Okabe and Ito's (colour-blind safe), each with its own line style. Figures belong to
no window and to no pyplot state; save them or show them in a notebook.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from stanrovi.grading.findings import Findings
from stanrovi.grading.sameness import shown_once
from stanrovi.plots import captions
from stanrovi.plots.along_axes import axes_owner
from stanrovi.plots.figure import Plot
from stanrovi.plots.fits import plot_axes, plot_khat, plot_trace
from stanrovi.plots.forest import plot_forest
from stanrovi.plots.marginals import plot_marginals
from stanrovi.plots.modes import plot_modes
from stanrovi.plots.pairs import plot_pairs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# By name, in the order of the report.
DRAWN: dict[str, Callable[[Findings], Figure | None]] = {
    "marginals": plot_marginals,
    "modes": plot_modes,
    "pairs": plot_pairs,
    "forest": plot_forest,
    "axes": plot_axes,
    "trace": plot_trace,
    "khat": plot_khat,
}


def all_plots(findings: Findings) -> list[Plot]:
    """Draw everything the comparison has material for.

    Parameters
    ----------
    findings : Findings

    Returns
    -------
    list of Plot
        In the order of the report. Fits whose draws are equal are drawn once.
    """
    findings = shown_once(findings)
    owner = axes_owner(findings)
    made = {name: draw(findings) for name, draw in DRAWN.items()}
    return [
        Plot(name, *captions.words(name, findings, owner), figure)
        for name, figure in made.items()
        if figure is not None
    ]
