"""What the checks of a finished fit found."""

from __future__ import annotations

from dataclasses import dataclass

from stanrovi.modes.basins import Mode
from stanrovi.target import Array
from stanrovi.vi.checks.basins import Orbits, Shift
from stanrovi.vi.facts import MarginalErrors


@dataclass(frozen=True)
class Checks:
    """What the checks found.

    Attributes
    ----------
    errors : MarginalErrors
    lost : tuple of int
        Indices of the known modes that have (almost) no draws.
    shifts : tuple of Shift
        Masses of the known modes; empty for one.
    orbits : Orbits
        What symmetries of the target say of its modes.
    absent : tuple of (Mode, float)
        Modes found only now that the fit lacks, with their share of all mass; heaviest first.
    unexplained : (float, float)
        Share of the mass that no basin and no draw of the fit explains, with its standard error.
    """

    errors: MarginalErrors
    lost: tuple[int, ...]
    shifts: tuple[Shift, ...]
    orbits: Orbits
    absent: tuple[tuple[Mode, float], ...]
    unexplained: tuple[float, float] = (0.0, 0.0)

    @property
    def places(self) -> list[Array]:
        """Where modes are that the fit lacks, shape (dim,) each."""
        there = [mode.position for mode, _ in self.absent]
        return there + [image.position for image in self.orbits.missing]
