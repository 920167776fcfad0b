"""The mode table of a model: its modes, how separate they are, what a product can do with them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

from stanrovi.families.axes import DenseAxes
from stanrovi.markup import block, judgement, line, short, table
from stanrovi.modes.basins import Mode
from stanrovi.modes.bounds import rovi_bound_of_modes
from stanrovi.modes.coherence import Flaw
from stanrovi.modes.found import SearchResult
from stanrovi.modes.lattice import Lattice, find_lattice
from stanrovi.modes.separateness import Separateness, separateness

_ROWS, _SHOWN = 24, 12  # modes and coordinates in a table
_PAIRED = 6  # heaviest modes, of which all pairs are told


@dataclass(frozen=True)
class Pair:
    """Separateness of two modes among several.

    Attributes
    ----------
    first, second : int
        Indices of the modes.
    separateness : Separateness
    """

    first: int
    second: int
    separateness: Separateness


@dataclass(frozen=True, repr=False)
class ModeReport:
    """Mode table of a model.

    Attributes
    ----------
    model : str
    modes : tuple of Mode
    names : tuple of str
        Unconstrained parameters.
    original, rotated : Separateness or None
        Of the heaviest mode against all others, for the coordinate axes and for the axes that
        RoVI would begin with; None with fewer than two modes.
    pairs : tuple of Pair
        Of more than two modes, each two of the heaviest, on the coordinate axes.
    rovi_kl : float
        Nats by which the best rotated product differs from the modes' local Gaussians, at most;
        see ``stanrovi.modes.bounds.rovi_bound``.
    misfit : str or None
        Why one rotated product cannot hold the modes.
    n_starts, n_usable, n_improper, n_gradients : int
    unseen : float
        Chance that another climb finds a new basin.
    warnings : tuple of str
        That no mode was found, for one.
    """

    model: str
    modes: tuple[Mode, ...]
    names: tuple[str, ...]
    original: Separateness | None
    rotated: Separateness | None
    pairs: tuple[Pair, ...]
    rovi_kl: float
    misfit: str | None
    n_starts: int
    n_usable: int
    n_improper: int
    n_gradients: int
    unseen: float
    warnings: tuple[str, ...]

    def __repr__(self) -> str:
        weights = ", ".join(f"{mode.weight:.1%}" for mode in self.modes) or "none found"
        bounds = "".join(
            f", {axes} axes: epsilon {found.epsilon:.2g}, smaller mode at most {found.bound:.2g}"
            for axes, found in (("original", self.original), ("rotated", self.rotated))
            if found is not None
        )
        return f"<ModeReport: {self.model}, modes {weights}{bounds}>"

    def _repr_html_(self) -> str:
        names, modes = self.names[:_SHOWN], self.modes[:_ROWS]
        rows = [
            (
                str(i),
                f"{mode.log_density:.2f}",
                f"{mode.weight:.1%}",
                *(short(float(x)) for x in mode.position[: len(names)]),
            )
            for i, mode in enumerate(modes, 1)
        ]
        more = len(self.names) - len(names)
        first = f"The first {_ROWS} modes" if len(modes) < len(self.modes) else "Modes"
        caption = (
            f"{first}: log density, share of the local evidence, and where they are (unconstrained"
            + (f"; {more:,} more coordinates)" if more else ")")
        )
        axes = {"original": self.original, "rotated": self.rotated}
        told = [f"{name} axes: {found.told}" for name, found in axes.items() if found is not None]
        cost = f"{self.n_starts} starts, {self.n_gradients:,} gradients"
        unseen = f"about {self.unseen:.1%} chance that another climb finds a new basin"
        doubts = [(text, "") for text in (*self.warnings, self.misfit) if text]
        return block(
            f"Modes of {self.model}: {len(self.modes) or 'none found'}",
            judgement("!", "Doubts", doubts) if doubts else "",
            line(cost, unseen),
            *map(line, told),
            table(("mode", "log density", "evidence", *names), rows, caption) if rows else "",
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as ``stanrovi modes --json`` prints it."""
        rows = [
            {
                "weight": m.weight,
                "log_density": m.log_density,
                "orbit": m.orbit,
                "position": m.position.tolist(),
            }
            for m in self.modes
        ]
        return {
            "model": self.model,
            "names": list(self.names),
            "modes": rows,
            "separateness": {
                "original": None if self.original is None else asdict(self.original),
                "rotated": None if self.rotated is None else asdict(self.rotated),
            },
            "pairs": [
                {"modes": [pair.first + 1, pair.second + 1], **asdict(pair.separateness)}
                for pair in self.pairs
            ],
            "rovi_kl": self.rovi_kl,
            "misfit": self.misfit,
            "n_starts": self.n_starts,
            "n_usable": self.n_usable,
            "n_improper": self.n_improper,
            "n_gradients": self.n_gradients,
            "unseen": self.unseen,
            "warnings": list(self.warnings),
        }


def mode_report(
    search: SearchResult,
    n_gradients: int,
    model: str,
    names: tuple[str, ...],
    flaw: Flaw | None = None,
) -> ModeReport:
    """Mode table with separateness in original and in rotated coordinates.

    Parameters
    ----------
    search : SearchResult
    n_gradients : int
        Spent on the search.
    model : str
    names : tuple of str
        Unconstrained parameters.
    flaw : Flaw, optional
        What makes the density none.
    """
    original = rotated = misfit = None
    pairs: tuple[Pair, ...] = ()
    modes = search.modes
    if len(modes) >= 2:
        lattice = find_lattice(modes)
        misfit = lattice.misfit
        original = separateness(modes, names)
        rotated = separateness(*_in_lattice(modes, lattice))
    if len(modes) > 2:
        pairs = tuple(
            Pair(k, j, separateness(modes, names, [k], [j]))
            for k, j in combinations(range(min(len(modes), _PAIRED)), 2)
        )
    return ModeReport(
        model=model,
        modes=modes,
        names=names,
        original=original,
        rotated=rotated,
        pairs=pairs,
        rovi_kl=rovi_bound_of_modes(modes),
        misfit=misfit,
        n_starts=search.n_starts,
        n_usable=search.n_usable,
        n_improper=search.n_improper,
        n_gradients=n_gradients,
        unseen=search.unseen,
        warnings=(*search.doubts, *([] if flaw is None else [str(flaw)])),
    )


def _in_lattice(
    modes: tuple[Mode, ...], lattice: Lattice
) -> tuple[tuple[Mode, ...], tuple[str, ...]]:
    """Modes in the coordinates of rotated axes."""
    turned = tuple(
        replace(
            m,
            position=lattice.axes.solve(m.position - lattice.center),
            axes=DenseAxes(lattice.axes.solve(m.axes.matrix.T).T),
        )
        for m in modes
    )
    return turned, tuple(f"axis {i + 1}" for i in range(lattice.axes.dim))
