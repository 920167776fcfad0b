"""The marginal along a multimodal axis, by evaluating the coordinate-ascent fixed point.

Between separated modes there are no draws, so gradients at draws cannot tell
how much each mode weighs. The fixed point of coordinate ascent can:

    log q_1(y) = E[ log p(c + B (y, y_-1)) ] + const,

the expectation over the other coordinates under the fit. It is evaluated on a
grid with the same draws of the others at every grid point, so their noise
cancels; values and derivatives give a Hermite interpolant. Where the modes'
relative heights are still noisy, only the level points get more draws.
"""

from __future__ import annotations

import numpy as np

from stanrovi.families.maps import SplineMap, stack
from stanrovi.families.product import Product
from stanrovi.target import Array
from stanrovi.vi.fit_run import FitRun
from stanrovi.vi.pool import Pool

_STEP = 0.5  # grid spacing around a level, in its local sd
_MARGIN = 6.5
_GAP_POINTS = 33
_REFINE = 16
_DRAWS = 16
_MAX_DRAWS = 512
_LOG_ODDS_SE = 0.02
_FURTHEST = 1e4  # sds between modes along an axis that can be scanned
_PAIRS = 1_000_000  # of grid points and levels, at once in memory
_FEW, _FULL = 50, 5e6  # levels; sds between the outermost, times levels, that a grid fills


def mixture_marginal(levels: Array, weights: Array) -> SplineMap:
    """Marginal of one coordinate: unit normals at ``levels`` with ``weights``."""
    grid = _mixture_grid(levels)
    log_density, score = np.empty((2, len(grid)))
    rows = max(_PAIRS // len(levels), 1)
    for at in (slice(i, i + rows) for i in range(0, len(grid), rows)):
        parts = np.log(weights) - 0.5 * (grid[at, None] - levels) ** 2
        share = np.exp(parts - parts.max(axis=1, keepdims=True))
        log_density[at] = parts.max(axis=1) + np.log(share.sum(axis=1))
        share /= share.sum(axis=1, keepdims=True)
        score[at] = (share * (levels - grid[at, None])).sum(axis=1)
    return SplineMap.from_log_density(grid[None], log_density[None], score[None])


def _mixture_grid(levels: Array) -> Array:
    """Points of one distance; only near the levels, where millions would fill the gaps."""
    levels = np.sort(levels)
    groups = [levels]
    if np.ptp(levels) * max(len(levels), _FEW) > _FULL:
        groups = np.split(levels, np.flatnonzero(np.diff(levels) > 2 * _MARGIN) + 1)
    return np.concatenate([np.arange(g[0] - _MARGIN, g[-1] + _MARGIN, 0.05) for g in groups])


def scan_axis(run: FitRun, family: Product, axis: int, modes: Array) -> Product:
    """Replace the marginal of one axis by its coordinate-ascent fixed point.

    Parameters
    ----------
    run : FitRun
    family : Product
    axis : int
    modes : ndarray, shape (K, dim)
        Positions of the modes, unconstrained space.

    Returns
    -------
    Product
        Not standardised. As it was where the axis has become so short that the modes are
        thousands of its standard deviations apart, and no grid leads from one to another, or
        where its modes are so narrow, or so far out, that all points of a grid are one number.
    """
    from scipy.interpolate import CubicHermiteSpline  # slow to import, and few fits scan

    levels = np.sort(family.coordinates(modes)[:, axis])
    if not np.ptp(levels) <= _FURTHEST:
        return family
    grid = _scan_grid(levels, _local_widths(family, axis, levels))
    if len(grid) < 2:
        return family
    with run.stage("scan"):
        value, slope = _along(run, family, axis, grid, _DRAWS)
        mean, mean_slope = value.mean(axis=0), slope.mean(axis=0)
        mean = mean + _height_correction(run, family, axis, grid, value, levels)
        fine = _refined(grid)
        curve = CubicHermiteSpline(grid, mean, mean_slope)
        marginal = SplineMap.from_log_density(fine[None], curve(fine)[None], curve(fine, 1)[None])
        return with_marginal(family, axis, marginal)


def _scan_grid(levels: Array, widths: Array) -> Array:
    """Points around every level, as dense as its mode is narrow, and a few in the gaps."""
    around = np.arange(-_MARGIN, _MARGIN + _STEP / 2, _STEP)
    near = (levels[:, None] + widths[:, None] * around).ravel()
    spacing = np.repeat(widths, len(around)) * _STEP
    between = np.linspace(near.min(), near.max(), _GAP_POINTS)
    points = np.concatenate([near, between])
    spacing = np.concatenate([spacing, np.full(_GAP_POINTS, between[1] - between[0])])
    kept = [float(near.min())]
    order = np.argsort(points)
    for point, gap in zip(points[order], spacing[order], strict=True):
        if point - kept[-1] > 0.7 * gap:
            kept.append(float(point))
    return np.array(kept)


def _refined(grid: Array) -> Array:
    """Each interval of a grid divided into `_REFINE`."""
    at = np.linspace(0, len(grid) - 1, _REFINE * (len(grid) - 1) + 1)
    return np.interp(at, np.arange(len(grid)), grid)


def with_marginal(family: Product, axis: int, marginal: SplineMap) -> Product:
    """Exchange one marginal."""
    rows = [family.marginals.select(np.array([i])) for i in range(family.dim)]
    rows[axis] = marginal
    return Product(family.center, family.axes, stack(rows))


def weigh_levels(family: Product, axis: int, modes: Array, pool: Pool) -> Product:
    """Give the levels of an axis the weights that importance sampling finds.

    The fixed point of coordinate ascent has the right weights only if the
    target is a product on these axes; the share of the target's mass near each
    level, from the importance weights of the pool, does not need that.
    """
    weight = pool.weights(pool.log_p)
    if weight.sum() < 0.1 * len(weight) or not len(weight):
        return family
    levels = np.sort(family.coordinates(modes)[:, axis])
    levels = levels[np.concatenate([[True], np.diff(levels) > 0.05])]
    edges = (levels[1:] + levels[:-1]) / 2
    region = np.searchsorted(edges, family.coordinates(pool.x)[:, axis])
    one = family.marginals.select(np.array([axis]))
    under_q = pool.weights(family.log_density(pool.x))
    mass_p = np.bincount(region, weight, minlength=len(levels)) / weight.sum()
    mass_q = np.bincount(region, under_q, minlength=len(levels)) / max(under_q.sum(), 1e-300)
    if (mass_p <= 0).any() or (mass_q <= 0).any():
        return family
    # The same draws under q: what their number in a region is off by cancels.
    change = np.log(mass_p / mass_q)
    grid = _refined(one.y[0])
    half = 0.1 * np.diff(levels)
    turns = np.stack([edges - half, edges + half], axis=1).ravel()
    offset = np.interp(grid, turns, np.repeat(change, 2)[1:-1])
    log_density = one.log_density(grid[:, None])[:, 0] + offset
    score = one.score(one.inverse(grid[:, None]))[:, 0] + np.gradient(offset, grid)
    marginal = SplineMap.from_log_density(grid[None], log_density[None], score[None])
    return with_marginal(family, axis, marginal)


def _local_widths(family: Product, axis: int, levels: Array) -> Array:
    """Local standard deviations at the levels, from the present marginal."""
    marginal = family.marginals.select(np.array([axis]))
    sd = float(np.sqrt(marginal.moments()[1][0]))
    step = 1e-3 * sd
    low, high = (marginal.score(marginal.inverse(levels[:, None] + s)) for s in (-step, step))
    curvature = (low - high)[:, 0] / (2 * step)
    return np.asarray(np.minimum(sd, np.maximum(curvature, 1e-300) ** -0.5))


def _along(run: FitRun, family: Product, axis: int, grid: Array, n: int) -> tuple[Array, Array]:
    """Log density and directional derivative, shape (n, len(grid)) each; NaN-free."""
    y = family.marginals.value(run.base(n))
    points = np.repeat(y[:, None, :], len(grid), axis=1)
    points[:, :, axis] = grid
    x = family.center + family.axes.apply(points.reshape(-1, family.dim))
    value, gradient = run.target.log_density_gradient(x)
    slope = gradient @ family.axes.column(axis)
    accepted = np.isfinite(value)
    lowest = value[accepted].min() if accepted.any() else -1e10
    return np.where(accepted, value, lowest).reshape(n, -1), slope.reshape(n, -1)


def _height_correction(
    run: FitRun, family: Product, axis: int, grid: Array, value: Array, levels: Array
) -> Array:
    """Offset along the grid that gives the levels their heights from more draws."""
    nearest = np.unique([np.argmin(np.abs(grid - level)) for level in levels])
    heights = value[:, nearest]
    n, coarse = len(heights), heights.mean(axis=0)
    while n < _MAX_DRAWS:
        contrast = heights - heights.mean(axis=1, keepdims=True)
        if (contrast.std(axis=0, ddof=1) / np.sqrt(len(heights))).max() < _LOG_ODDS_SE:
            break
        more, _ = _along(run, family, axis, grid[nearest], n)
        heights = np.concatenate([heights, more])
        n = len(heights)
    offset = heights.mean(axis=0) - coarse
    return np.asarray(np.interp(grid, grid[nearest], offset))
