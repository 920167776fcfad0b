"""Ranks of true values among draws, tests of their uniformity, verdicts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from stanrovi.calibration.uniformity import Band, EcdfTest, IntArray, chi_square

RankVerdict = Literal["calibrated", "too narrow", "too wide", "too low", "too high", "not uniform"]

# Standard errors from which bias or spread is taken to be what is wrong.
_TELLING = 2.0


@dataclass(frozen=True, eq=False)
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
    verdict: RankVerdict


@dataclass(frozen=True, eq=False)
class RankTable:
    """Ranks of true values among draws, tested for uniformity.

    Attributes
    ----------
    draws : int
        Draws that each true value is ranked among.
    level : float
        Probability that a calibrated method fails, over all parameters together.
    parameters : mapping of str to ParameterCalibration
    band : Band
        What the empirical distribution functions keep within.
    """

    draws: int
    level: float
    parameters: Mapping[str, ParameterCalibration]
    band: Band

    @property
    def n_simulations(self) -> int:
        """Simulations that were ranked."""
        return int(next(iter(self.parameters.values())).ranks.size)


def rank_table(ranks: Mapping[str, IntArray], draws: int, level: float) -> RankTable:
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
    RankTable
    """
    n = next(iter(ranks.values())).size
    test, share = EcdfTest(n, draws), level / len(ranks)
    parameters = {name: _parameter(values, draws, test, share) for name, values in ranks.items()}
    return RankTable(draws, level, parameters, test.band(share))


def _parameter(ranks: IntArray, draws: int, test: EcdfTest, level: float) -> ParameterCalibration:
    p_value = test.p_value(ranks)
    mean = float(ranks.mean() / draws)
    spread = math.sqrt(np.mean((ranks - draws / 2) ** 2) / (draws * (draws + 2) / 12))
    verdict = "calibrated" if p_value >= level else _complaint(mean, spread, ranks.size)
    return ParameterCalibration(ranks, p_value, *chi_square(ranks, draws), mean, spread, verdict)


def _complaint(mean: float, spread: float, n: int) -> RankVerdict:
    """Name what is wrong with ranks: bias or spread, whichever is more significant."""
    # The variance of a uniform variable is 1/12, and 1/180 that of its squared deviation.
    bias = (mean - 0.5) * math.sqrt(12 * n)
    excess = (spread**2 - 1) * math.sqrt(5 * n / 4)
    if max(abs(bias), abs(excess)) < _TELLING:
        return "not uniform"
    if abs(excess) >= abs(bias):
        return "too narrow" if excess > 0 else "too wide"
    return "too low" if bias > 0 else "too high"
