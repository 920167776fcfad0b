"""What simulation-based calibration found: ranks, tests of their uniformity, verdicts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from stanrovi.uniformity import Band, EcdfTest, IntArray, chi_square

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Verdict = Literal["calibrated", "too narrow", "too wide", "too low", "too high", "not uniform"]

# Standard errors from which bias or spread is taken to be what is wrong.
_TELLING = 2.0


@dataclass(frozen=True)
class ParameterCalibration:
    """Calibration of one scalar quantity.

    Attributes
    ----------
    ranks : ndarray of int, shape (simulations,)
        Number of draws below the true value, ``0..draws``.
    ecdf_p : float
        p-value of the test by the empirical distribution function, which the
        verdict rests on.
    chi_square, chi_square_p : float
    chi_square_degrees : int
        Pearson's test on the histogram.
    mean : float
        Mean rank over the number of draws; 0.5 when unbiased, above when draws
        are too low.
    spread : float
        Standard deviation of the ranks over that of uniform ones; above 1 when
        draws are too narrow.
    verdict : str
        ``"calibrated"``, or what the ranks show.
    """

    ranks: IntArray
    ecdf_p: float
    chi_square: float
    chi_square_degrees: int
    chi_square_p: float
    mean: float
    spread: float
    verdict: Verdict


@dataclass(frozen=True)
class CalibrationResult:
    """Simulation-based calibration of a method on a model.

    Attributes
    ----------
    model, method, engine : str
    seed : int
    draws : int
        Draws that each true value is ranked among.
    level : float
        Probability that a calibrated method fails, over all parameters together.
    parameters : mapping of str to ParameterCalibration
    band : Band
        What the empirical distribution functions keep within.
    failures : tuple of str
        Simulations whose fit failed, with the reason; their ranks are missing.
    n_doubted : int
        Simulations whose fit is doubtful by its own diagnostics: a verdict
        that is not ok, divergences, chains too short to be thinned.
    n_gradients : int
    seconds : float
    """

    model: str
    method: str
    engine: str
    seed: int
    draws: int
    level: float
    parameters: Mapping[str, ParameterCalibration]
    band: Band
    failures: tuple[str, ...]
    n_doubted: int
    n_gradients: int
    seconds: float

    def plot_ranks(self) -> Figure:
        """Draw a histogram of the ranks of each parameter; see `stanrovi.sbc_plots`."""
        from stanrovi.sbc_plots import plot_ranks

        return plot_ranks(self)

    def plot_ecdf(self) -> Figure:
        """Draw the distribution functions less the uniform one; see `stanrovi.sbc_plots`."""
        from stanrovi.sbc_plots import plot_ecdf

        return plot_ecdf(self)

    @property
    def n_simulations(self) -> int:
        """Simulations that were ranked."""
        return int(next(iter(self.parameters.values())).ranks.size)

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


def grade(
    ranks: Mapping[str, IntArray], draws: int, level: float
) -> tuple[dict[str, ParameterCalibration], Band]:
    """Test the ranks of every parameter, and give the band that all should keep.

    Parameters
    ----------
    ranks : mapping of str to ndarray of int, shape (n,)
        In ``0..draws``, of the same number of simulations for each.
    draws : int
    level : float
        Shared evenly among the parameters (Bonferroni).

    Returns
    -------
    parameters : dict of str to ParameterCalibration
    band : Band
    """
    n = next(iter(ranks.values())).size
    test, share = EcdfTest(n, draws), level / len(ranks)
    parameters = {name: _parameter(values, draws, test, share) for name, values in ranks.items()}
    return parameters, test.band(share)


def _parameter(ranks: IntArray, draws: int, test: EcdfTest, level: float) -> ParameterCalibration:
    p_value = test.p_value(ranks)
    mean = float(ranks.mean() / draws)
    spread = math.sqrt(np.mean((ranks - draws / 2) ** 2) / (draws * (draws + 2) / 12))
    verdict = "calibrated" if p_value >= level else _complaint(mean, spread, ranks.size)
    return ParameterCalibration(ranks, p_value, *chi_square(ranks, draws), mean, spread, verdict)


def _complaint(mean: float, spread: float, n: int) -> Verdict:
    """Name what is wrong with ranks: bias or spread, whichever is more significant."""
    # The variance of a uniform variable is 1/12, and 1/180 that of its squared deviation.
    bias = (mean - 0.5) * math.sqrt(12 * n)
    excess = (spread**2 - 1) * math.sqrt(5 * n / 4)
    if max(abs(bias), abs(excess)) < _TELLING:
        return "not uniform"
    if abs(excess) >= abs(bias):
        return "too narrow" if excess > 0 else "too wide"
    return "too low" if bias > 0 else "too high"
