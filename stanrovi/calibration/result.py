"""What simulation-based calibration of a method on a model found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stanrovi.calibration.plots import plot_ecdf, plot_ranks
from stanrovi.calibration.ranks import RankTable

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class CalibrationResult(RankTable):
    """Simulation-based calibration of a method on a model.

    Attributes
    ----------
    draws, level, parameters, band
        The ranks with their tests, see ``stanrovi.calibration.ranks``.
    model, method, engine : str
    seed : int
    failures : tuple of str
        Simulations whose fit failed, with the reason; their ranks are missing.
    n_doubted : int
        Simulations whose fit is doubtful by its own diagnostics: a verdict
        that is not ok, divergences, chains too short to be thinned.
    n_gradients : int
    seconds : float
        Wall time, and the time of simulations that a ledger had.
    """

    model: str
    method: str
    engine: str
    seed: int
    failures: tuple[str, ...]
    n_doubted: int
    n_gradients: int
    seconds: float

    def plot_ranks(self) -> Figure:
        """Draw a histogram of the ranks of each parameter."""
        return plot_ranks(self)

    def plot_ecdf(self) -> Figure:
        """Draw distribution functions less the uniform one."""
        return plot_ecdf(self)

    def __repr__(self) -> str:
        words = "calibrated" if self.calibrated else "NOT calibrated"
        return (
            f"<CalibrationResult: {self.method} on {self.model}, {words}, "
            f"{self.n_simulations} simulations among {self.draws} draws>"
        )

    @property
    def calibrated(self) -> bool:
        """Whether no fit failed and every parameter is calibrated."""
        verdicts = {parameter.verdict for parameter in self.parameters.values()}
        return not self.failures and verdicts == {"calibrated"}

    def to_dict(self) -> dict[str, Any]:
        """Plain data: what ``stanrovi sbc --json`` prints."""
        names = ("model", "method", "engine", "seed", "draws", "level", "n_doubted", "n_gradients")
        return {name: getattr(self, name) for name in names} | {
            "n_simulations": self.n_simulations,
            "seconds": self.seconds,
            "calibrated": self.calibrated,
            "failures": list(self.failures),
            "band": {
                "points": self.band.points.tolist(),
                "lower": self.band.lower.tolist(),
                "upper": self.band.upper.tolist(),
            },
            "parameters": {
                name: vars(parameter) | {"ranks": parameter.ranks.tolist()}
                for name, parameter in self.parameters.items()
            },
        }
