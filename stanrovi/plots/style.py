"""How every picture looks: colours, line styles, markers.

Colours are Okabe and Ito's (colour-blind safe), each with its own line style and marker.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_DASHES = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)), "-", (0, (5, 1.5)))
_MARKERS = ("o", "^", "s", "D", "v", "P")
REFERENCE_FILL, REFERENCE_LINE = "#B8B8B8", "#555555"
_STYLE: dict[Any, Any] = {
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "legend.frameon": False,
    "svg.hashsalt": "stanrovi",
}


@contextmanager
def plot_style() -> Iterator[None]:
    """Apply the style for the length of the block; the user's own settings come back."""
    import matplotlib as mpl

    with mpl.rc_context(_STYLE):
        yield


@contextmanager
def saving_style() -> Iterator[None]:
    """Apply what files need: names in an SVG that do not change, and no layout but our own."""
    import matplotlib as mpl

    settings: dict[Any, Any] = {
        "svg.hashsalt": _STYLE["svg.hashsalt"],
        "figure.autolayout": False,
        "figure.constrained_layout.use": False,
    }
    with mpl.rc_context(settings):
        yield


@dataclass(frozen=True)
class Looks:
    """How the runs of a comparison look.

    Attributes
    ----------
    runs : sequence of str
        The reference, then the fits in the order in which they take their looks.
    """

    runs: Sequence[str]

    @property
    def reference(self) -> str:
        """Name of the reference."""
        return self.runs[0]

    @property
    def fits(self) -> Sequence[str]:
        """Names of the fits."""
        return self.runs[1:]

    def look(self, name: str) -> dict[str, Any]:
        """Give colour, line style and marker of a run, by its place among the fits."""
        if name not in self.fits:
            return {"color": REFERENCE_LINE, "linestyle": "-", "marker": "o"}
        rounds, i = divmod(self.fits.index(name), len(_COLORS))
        j = (i + rounds) % len(_COLORS)  # no two of 36 are alike
        return {"color": _COLORS[i], "linestyle": _DASHES[j], "marker": _MARKERS[j]}

    def line(self, name: str) -> dict[str, Any]:
        """Give the line properties of a run."""
        look = self.look(name)
        return {"color": look["color"], "linestyle": look["linestyle"], "linewidth": 1.5}

    @property
    def colors(self) -> dict[str, str]:
        """Colour of the reference and of every fit."""
        return {name: str(self.look(name)["color"]) for name in self.runs}
