"""Contours that enclose shares of draws, without smearing narrow modes, necks, or bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stanrovi.diagnostics.density import valleys
from stanrovi.plots.figure import limits
from stanrovi.target import Array

_BINS = 100
_PADDED = 128  # bins with an empty margin, so that what leaves on one side enters on no other
_LEAST_MODE = 25  # draws
_STRAY = 0.02  # of the draws, up to which those between modes are left out
_STEP = np.sqrt(2)  # between two bandwidths
_BANDWIDTHS = 8
_ROUNDS = 4
_SETTLED = 0.95  # of the points keep their bandwidths: these are those of the density
_REACH = 3.0  # bandwidths from a bound within which points are mirrored


@dataclass(frozen=True)
class Surface:
    """Smoothed density of the draws of one mode.

    Attributes
    ----------
    x, y : ndarray, shape (bins, bins)
        Centres of the bins, which lie along the principal axes of the draws: smoothing
        along x and y would widen a narrow ridge.
    density : ndarray, shape (bins, bins)
        Share of all draws per unit of area; NaN outside the box of the draws, which
        may end at a bound.
    cell : float
        Area of a bin.
    """

    x: Array
    y: Array
    density: Array
    cell: float


def surfaces(x: Array, y: Array) -> list[Surface] | None:
    """Smooth the density of points, with bandwidths as narrow as they are dense.

    Parameters
    ----------
    x, y : ndarray, shape (n,)
        Coordinates.

    Returns
    -------
    list of Surface or None
        One for each mode that lies apart; None where the points of one lie on a line.
    """
    points = np.column_stack([x, y])
    if not np.ptp(points, axis=0).all():
        return None
    made = [_surface(mode, len(mode) / len(points)) for mode in _modes(points)]
    return None if any(one is None for one in made) else [one for one in made if one is not None]


def heights(found: Sequence[Surface], shares: Sequence[float]) -> Array:
    """Find the heights whose contours enclose shares of the draws, all modes taken together.

    Parameters
    ----------
    found : sequence of Surface
    shares : sequence of float

    Returns
    -------
    ndarray, shape (<= len(shares),)
        Ascending.
    """
    density = np.concatenate([one.density.ravel() for one in found])
    mass = np.concatenate([one.density.ravel() * one.cell for one in found])
    known = np.isfinite(density)
    density, mass = density[known], mass[known]
    order = np.argsort(-density)
    enclosed = np.cumsum(mass[order])
    return np.unique(density[order][np.searchsorted(enclosed / enclosed[-1], shares)])


def _modes(points: Array) -> list[Array]:
    """Part points into modes that lie apart along x or y, or along the principal axes."""
    parts = [inner for part in _apart(points, points) for inner in _apart(part, _turned(part))]
    kept = [part for part in parts if len(part) >= _LEAST_MODE]
    lost = len(points) - sum(map(len, kept))
    return kept if kept and lost <= _STRAY * len(points) else [points]


def _apart(points: Array, along: Array) -> list[Array]:
    """Part points (n, 2) by the valleys of both of their coordinates (n, 2) along some axes."""
    if not np.ptp(along, axis=0).all():
        return [points]
    first, second = (np.digitize(values, valleys(values)) for values in along.T)
    label = first * (second.max() + 1) + second
    return [points[label == i] for i in np.unique(label)]


def _turned(points: Array) -> Array:
    centred = points - points.mean(axis=0)
    sd = centred.std(axis=0)
    if len(points) < _LEAST_MODE or not sd.all():
        return centred
    return np.asarray(centred / sd @ np.linalg.eigh(np.corrcoef(points.T))[1])


def _surface(points: Array, share: float) -> Surface | None:
    mean, sd = points.mean(axis=0), points.std(axis=0)
    if not sd.all():
        return None
    variance, turn = np.linalg.eigh(np.corrcoef(points.T))
    if variance[0] < 1e-10:
        return None
    scale = turn * np.sqrt(variance) * sd[:, None]  # from white coordinates to x and y
    whitening = np.linalg.inv(scale).T
    widest = len(points) ** (-1 / 6)  # Scott's rule for a Gaussian in two dimensions
    box = points.min(axis=0), points.max(axis=0)
    white = (_mirrored(points, *box, _REACH * widest * sd) - mean) @ whitening
    window = [np.array(limits([part])) * 1.15 for part in ((points - mean) @ whitening).T]
    density, edges = _smoothed(white, len(points), widest, window)
    centres = np.meshgrid(*((part[1:] + part[:-1]) / 2 for part in edges), indexing="ij")
    grid = mean + np.stack(centres, axis=-1) @ scale.T
    inside = ((grid >= box[0]) & (grid <= box[1])).all(axis=-1)
    area = abs(float(np.linalg.det(scale)))
    cell = area * float(np.prod([part[1] - part[0] for part in edges]))
    density = np.where(inside, density * share / area, np.nan)
    return Surface(grid[..., 0], grid[..., 1], density, cell)


def _mirrored(points: Array, low: Array, high: Array, reach: Array) -> Array:
    """Add the mirror images of points near the sides of their box, for what kernels lose there."""
    for i in range(2):
        images = []
        for bound in (low[i], high[i]):
            image = points[np.abs(points[:, i] - bound) < reach[i]].copy()
            image[:, i] = 2 * bound - image[:, i]
            images.append(image)
        points = np.concatenate([points, *images])
    return points


def _smoothed(
    white: Array, count: int, widest: float, window: Sequence[Array]
) -> tuple[Array, list[Array]]:
    """Density of white points in bins, and the edges of the bins.

    The bandwidth at a point is that for a Gaussian as dense as the points are there, and
    nowhere more than that for a Gaussian with the entropy of all of them: narrow necks and
    thin, curved ridges have less of it than their covariance tells.
    """
    edges = [np.linspace(low, high, _BINS + 1) for low, high in window]
    width = np.array([part[1] - part[0] for part in edges])
    place = np.column_stack(
        [np.searchsorted(part, values) - 1 for part, values in zip(edges, white.T, strict=True)]
    )
    place = place[((place >= 0) & (place < _BINS)).all(axis=1)]
    level = np.zeros(len(place), dtype=np.intp)
    for _ in range(_ROUNDS):
        density = _sum_of_kernels(place, level, widest / width) / (count * width.prod())
        local = density[tuple(place.T)]
        area = np.exp(-np.log(local).mean()) / (2 * np.pi * np.e)  # that of a Gaussian: one
        square = np.minimum(area, 1 / (4 * np.pi * local))
        step = np.rint(-np.log(square) / 2 / np.log(_STEP)).astype(np.intp)
        step = np.clip(step, 0, _BANDWIDTHS - 1)
        if (step == level).mean() > _SETTLED:
            break
        level = step
    return density, edges


def _sum_of_kernels(place: NDArray[np.intp], level: NDArray[np.intp], widest: Array) -> Array:
    """Sum Gaussian kernels at bins, ``level`` steps narrower than the widest (in bins)."""
    rows, columns = np.fft.fftfreq(_PADDED), np.fft.rfftfreq(_PADDED)
    total = np.zeros((len(rows), len(columns)), dtype=np.complex128)
    for k in np.unique(level):
        at = place[level == k] @ [_PADDED, 1]
        counts = np.bincount(at, minlength=_PADDED**2).reshape(_PADDED, _PADDED)
        sd = np.maximum(widest / _STEP**k, 0.7)
        kernel = [
            np.exp(-2 * (np.pi * f * s) ** 2) for f, s in zip((rows, columns), sd, strict=True)
        ]
        total += np.fft.rfft2(counts) * np.outer(*kernel)
    return np.maximum(np.fft.irfft2(total, s=(_PADDED, _PADDED))[:_BINS, :_BINS], 0)
