"""Basins of a log density: what is known of a mode, what it weighs, and whose a draw is.

A draw belongs to the mode whose local Gaussian, times its weight, is densest there. This is
the one definition of a basin's mass: of a fit's, of a NUTS run's, of each of its chains.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np
from numpy.typing import NDArray

from stanrovi.families.axes import Axes, DenseAxes
from stanrovi.families.symmetry import Symmetry
from stanrovi.target import Array

Labels = NDArray[np.intp]


@dataclass(frozen=True, kw_only=True, eq=False)
class Peak:
    """A maximum of the log density, without the shape of its neighbourhood.

    Attributes
    ----------
    position : ndarray, shape (dim,)
        Unconstrained space.
    log_density : float
        Log density there, up to a constant.
    weight : float
        Share of the local evidence (Laplace, refined where draws allow it).
    mass, mass_se : float
        Share of the fit's draws that fall in this basin, and its standard error by their
        importance weights; NaN before a fit.
    orbit : int or None
        Modes that symmetries of the density exchange have the same, and the same weight.
    """

    position: Array
    log_density: float
    weight: float = 0.0
    mass: float = float("nan")
    mass_se: float = float("nan")
    orbit: int | None = None

    def with_axes(self, axes: Axes) -> Mode:
        """Give the peak a width."""
        own = {each.name: getattr(self, each.name) for each in fields(Peak)}
        return Mode(**own, axes=axes)


@dataclass(frozen=True, kw_only=True, eq=False)
class Mode(Peak):
    """One basin of the log density: a peak with its width.

    Attributes
    ----------
    axes : Axes
        Root of the inverse of minus the Hessian at the peak.
    symmetry : Symmetry or None
        What takes the first mode of its orbit to this one; None for the first.
    """

    axes: Axes = field(repr=False)
    symmetry: Symmetry | None = None

    @property
    def covariance(self) -> Array:
        """Inverse of minus the Hessian at the peak, shape (dim, dim)."""
        return self.axes.covariance()

    @property
    def sd(self) -> Array:
        """Local standard deviations, shape (dim,)."""
        return self.axes.sd()

    def moved(self, by: Symmetry) -> Mode:
        """Give the image of this mode, the first of its orbit."""
        axes = DenseAxes(by.apply(self.axes.matrix.T).T)
        return replace(self, position=by.apply(self.position), axes=axes, symmetry=by)


def local_evidence(mode: Mode) -> float:
    """Laplace estimate of the log evidence of a basin, up to a shared constant."""
    return mode.log_density + 0.5 * mode.axes.log_det_covariance()


def basin_labels(modes: Sequence[Mode], x: Array) -> Labels:
    """Basin of each point.

    Parameters
    ----------
    modes : sequence of Mode
        At least one.
    x : ndarray, shape (n, dim)

    Returns
    -------
    ndarray of int, shape (n,)
    """
    score = []
    for mode in modes:
        u = mode.axes.solve(x - mode.position)
        log_weight = np.log(max(mode.weight, 1e-300))
        score.append(-0.5 * (u**2).sum(axis=1) - mode.axes.log_volume + log_weight)
    return np.asarray(np.argmax(np.stack(score), axis=0))


def shares(labels: Labels, count: int) -> Array:
    """Share of each of ``count`` basins among labels of any shape, shape (count,)."""
    return np.bincount(labels.ravel(), minlength=count) / labels.size


def basin_shares(modes: Sequence[Mode], x: Array) -> Array:
    """Share of the points x (n, dim) in each basin, shape (K,)."""
    return shares(basin_labels(modes, x), len(modes))


def common_axes(residuals: Array) -> DenseAxes:
    """Axes of basins of one shape, from draws less the centres of their basins, shape (n, dim).

    Correlations are shrunk by dim / n, the relative error of a covariance in so many
    dimensions from n rows: few rows count by their standard deviations alone.
    """
    n, d = residuals.shape
    sd = np.asarray(residuals.std(axis=0))
    sd = np.where(sd > 0, sd, 1.0)
    scaled = (residuals - residuals.mean(axis=0)) / sd
    correlation = max(0.0, 1 - d / n) * (scaled.T @ scaled) / n
    np.fill_diagonal(correlation, 1.0)
    return DenseAxes(sd[:, None] * np.linalg.cholesky(correlation))


def with_common_axes(peaks: Sequence[Peak], x: Array) -> tuple[Mode, ...]:
    """Give peaks the shape that draws x (n, dim) have around them, one for all.

    Shape and basins depend on each other: both are improved in turns.
    """

    def modes(axes: DenseAxes) -> tuple[Mode, ...]:
        return tuple(peak.with_axes(axes) for peak in peaks)

    position = np.stack([p.position for p in peaks])
    found = modes(common_axes(x))
    for _ in range(2):
        found = modes(common_axes(x - position[basin_labels(found, x)]))
    return found
