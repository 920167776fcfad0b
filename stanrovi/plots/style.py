"""How every picture looks: colours, line styles, markers.

Colours are Okabe and Ito's (colour-blind safe), each with its own line style and marker.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from stanrovi.environment import environment
from stanrovi.errors import PlotError

logger = logging.getLogger(__name__)

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
    """Apply the style for the length of the block; the user's own settings come back.

    They have no part in it: LaTeX or fonts that are not there would end what draws.

    Raises
    ------
    PlotError
        If matplotlib cannot be loaded.
    """
    mpl = _matplotlib()
    with mpl.rc_context(_defaults() | _STYLE):
        yield


@contextmanager
def _unheard(name: str) -> Iterator[None]:
    """Keep a library from telling, say, that it makes do with another folder."""
    library = logging.getLogger(name)
    before = library.level
    library.setLevel(logging.ERROR)
    try:
        yield
    finally:
        library.setLevel(before)


def _matplotlib() -> Any:
    """Load matplotlib, whatever backend is asked for: ours are figures without windows."""
    if "matplotlib" not in sys.modules:
        backend = os.environ.get("MPLBACKEND")
        try:
            with environment({"MPLBACKEND": None}), _unheard("matplotlib"):
                import matplotlib as mpl
        except Exception as error:
            for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
                del sys.modules[name]  # half of it, which would hide the reason the next time
            raise PlotError(
                f"matplotlib cannot be loaded ({error}); mend its installation or its settings: "
                "the file matplotlibrc, here or where MATPLOTLIBRC and MPLCONFIGDIR point."
            ) from error
        if backend:
            try:
                mpl.rcParams["backend"] = backend
            except ValueError:
                logger.warning("MPLBACKEND=%s is no backend of matplotlib; not heeded.", backend)
    return sys.modules["matplotlib"]


@cache
def _defaults() -> dict[str, Any]:
    """Give matplotlib's settings as they come, but for the backend, which is the user's."""
    defaults = _matplotlib().rcParamsDefault
    return {name: defaults[name] for name in defaults if not name.startswith("backend")}


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
