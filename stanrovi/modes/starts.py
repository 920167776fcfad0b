"""Where climbs begin: around the origin, outward from a mode, and all around what is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from stanrovi.errors import DensityError
from stanrovi.modes.basins import Labels, Mode
from stanrovi.target import Array, Target

_RADIUS = 2.0  # of Stan's own initialisation
# Local standard deviations from a mode at which climbs begin: near it, and at all orders.
_OUTWARD = 3.0, 20.0
_NEAR, _FAR = (3.0, 10.0), (3.0, 150.0)
_FEW_DIMENSIONS = 10
_LARGEST = 1e30  # a gradient beyond is as good as a rejection


def usable(value: Array, gradient: Array) -> NDArray[np.bool_]:
    """Tell where a climb may begin: not where a point is as good as rejected (1e30 and beyond)."""
    return np.asarray(np.isfinite(value) & (np.abs(gradient).max(axis=1) < _LARGEST))


def around_origin(target: Target, rng: np.random.Generator, n: int) -> tuple[Array, Array, Array]:
    """Draw starting points with a finite density.

    In opposite pairs, so that no half-space is without one: uniform in cubes of half-width 2,
    as Stan begins, and, every other pair, of twice that.

    Returns
    -------
    x, log_density, gradient : ndarray, shape (m, dim), (m,), (m, dim)

    Raises
    ------
    DensityError
        If the density is finite at none.
    """
    radius = np.where(np.arange(n) // 2 % 2 == 0, 1.0, 2.0) * _RADIUS
    found = []
    missing = radius
    for _ in range(8):
        half = rng.uniform(-1.0, 1.0, (-(-len(missing) // 2), target.dim))
        x = np.stack([half, -half], axis=1).reshape(-1, target.dim)[: len(missing)]
        x *= missing[:, None]
        value, gradient = target.log_density_gradient(x)
        kept = usable(value, gradient)
        found.append((x[kept], value[kept], gradient[kept]))
        missing = missing[~kept] * 0.3
        if not len(missing):
            break
    starts, value, gradient = (np.concatenate(part) for part in zip(*found, strict=True))
    if not len(starts):
        raise DensityError(
            f"The log density is not finite at any of {8 * n} points within "
            f"{2 * _RADIUS:g} of the origin of unconstrained space, or its gradient is "
            "beyond 1e30 there. Check the data and the constraints of the program: a parameter "
            "without its bounds, a division by zero, or data outside the likelihood's support "
            "are the usual causes. Parameters on scales far from 1 want an offset and multiplier."
        )
    return starts, value, gradient


def outward(modes: Sequence[Mode], rng: np.random.Generator, n: int) -> tuple[Array, Labels]:
    """Place starts 3 to 20 local standard deviations from a mode, modes taking turns.

    In opposite pairs, half in random whitened directions, half along the widest
    axes, where other modes hide behind a long, thin one.

    Returns
    -------
    x : ndarray, shape (n, dim)
    origins : ndarray of int, shape (n,)
        Which mode each lies around.
    """
    starts = []
    for i in range(-(-n // 2)):
        k = i % len(modes)
        direction = rng.standard_normal(len(modes[k].position))
        widest = (i // len(modes) + k) % 2 == 1
        step = modes[k].axes.outward(direction, rng.uniform(*_OUTWARD), along_widest=widest)
        starts += [modes[k].position + step, modes[k].position - step]
    return np.stack(starts[:n]), _origins(n, len(modes))


def all_around(modes: Sequence[Mode], rng: np.random.Generator, n: int) -> tuple[Array, Labels]:
    """Place starts around the modes by turns, at all orders of distance.

    In opposite pairs, in random directions: as the mode is wide, and every fourth pair as its
    coordinates are. Modes that hide from far away are near: every fourth pair begins far, and
    every second where there are many dimensions.

    Returns
    -------
    x : ndarray, shape (n, dim)
    origins : ndarray of int, shape (n,)
    """
    d = len(modes[0].position)
    scale, far_every = _reach(d)
    near, far = np.log(_NEAR), np.log(_FAR)
    pairs = -(-n // 2)
    step = np.empty((pairs, d))
    for i in range(pairs):
        direction = rng.standard_normal(d)
        log_distance = rng.uniform(*(near if i // len(modes) % far_every else far))
        step[i] = direction * (scale * np.exp(log_distance) / np.sqrt(direction @ direction))
    at = np.arange(pairs)
    places = np.stack([mode.position for mode in modes])[at % len(modes)]
    for k, mode in enumerate(modes):
        mine, own = at % len(modes) == k, at // len(modes) % 4 == 3
        step[mine & own] *= mode.sd
        step[mine & ~own] = mode.axes.apply(step[mine & ~own])
    starts = np.stack([places + step, places - step], axis=1).reshape(-1, d)
    return starts[:n], _origins(n, len(modes))


def all_around_log_density(modes: Sequence[Mode], x: Array) -> Array:
    """Log density (n,) of the points that `all_around` gives, at x (n, dim)."""
    d = x.shape[1]
    scale, far_every = _reach(d)
    far = 1 / far_every
    log_sphere = np.log(2) + 0.5 * d * np.log(np.pi) - gammaln(0.5 * d)

    def radial(u: Array, log_volume: float, limits: tuple[float, float]) -> Array:
        r = np.linalg.norm(u, axis=1)
        low, high = scale * np.array(limits)
        inside = (r >= low) & (r <= high)
        log_r = np.log(np.where(inside, r, 1.0))
        value = -d * log_r - np.log(np.log(high / low)) - log_sphere - log_volume
        return np.where(inside, value, -np.inf)

    parts = []
    for mode in modes:
        step = x - mode.position
        white = mode.axes.solve(step)
        parts += [
            np.log(far) + radial(white, mode.axes.log_volume, _FAR),
            np.log(0.75 - far) + radial(white, mode.axes.log_volume, _NEAR),
            np.log(0.25) + radial(step / mode.sd, float(np.log(mode.sd).sum()), _NEAR),
        ]
    return np.asarray(np.logaddexp.reduce(parts, axis=0) - np.log(len(modes)))


def _reach(dim: int) -> tuple[float, int]:
    """Factor of all distances, and which pair out of how many begins far away.

    In many dimensions a random direction hardly leads to another mode: go further.
    """
    many = dim > _FEW_DIMENSIONS
    return float(np.sqrt(dim / _FEW_DIMENSIONS)) if many else 1.0, 2 if many else 4


def _origins(n: int, count: int) -> Labels:
    return np.asarray(np.arange(n) // 2 % count)
