"""Densities beyond `stanrovi.densities` that tests alone need, and how tests fit them."""

import numpy as np
from scipy.special import gammaln
from scipy.stats import ortho_group

from stanrovi.densities import FunctionDensity, normal_mixture, two_normals
from stanrovi.diagnostics.statistics import psis_khat
from stanrovi.families.product import Product
from stanrovi.target import Target
from stanrovi.vi.fit_run import FitRun
from stanrovi.vi.methods.driver import fit_density

LOG_2PI = np.log(2 * np.pi)


def fit(density, method, seed=0, **options):
    """`fit_density` with the Pareto diagnostic of the package."""
    return fit_density(density, method, seed=seed, pareto_k=psis_khat, **options)


def run_on(density, seed=0, **budget):
    """A `FitRun` for the stages below the driver."""
    return FitRun(Target(density, **budget), np.random.default_rng(seed))


def gaussian(mean, covariance):
    return normal_mixture([1.0], [mean], [covariance])


gaussian_mixture = normal_mixture


def two_gaussians(separation, weight, covariance):
    """Two equal shapes, ``separation`` standard deviations apart along (1, ..., 1)."""
    factor = np.linalg.cholesky(np.asarray(covariance, dtype=float))
    direction = np.linalg.solve(factor, np.ones(len(factor)))
    return two_normals(separation, weight, factor, direction)


def triangle(weights=(0.5, 0.3, 0.2)):
    corners = [[0.0, 6.0], [-5.0, -3.0], [5.0, -3.0]]
    return gaussian_mixture(weights, corners, [np.eye(2)] * 3)


def student_t(df, dim):
    """Independent Student-t coordinates."""
    constant = gammaln((df + 1) / 2) - gammaln(df / 2) - 0.5 * np.log(df * np.pi)

    def function(x):
        log_density = constant - (df + 1) / 2 * np.log1p(x**2 / df)
        return log_density.sum(axis=1), -(df + 1) * x / (df + x**2)

    return FunctionDensity(function, dim)


def gumbel(axes):
    """Skew: independent standard Gumbel coordinates y, ``x = axes @ y``."""
    axes = np.asarray(axes, dtype=float)
    inverse = np.linalg.inv(axes)
    log_volume = np.linalg.slogdet(axes)[1]

    def function(x):
        y = x @ inverse.T
        with np.errstate(all="ignore"):
            fall = np.exp(-y)
            return -(y + fall).sum(axis=1) - log_volume, (fall - 1) @ inverse

    return FunctionDensity(function, len(axes))


def banana(bend):
    """``x_1 ~ N(0, 1), x_2 ~ N(bend (x_1^2 - 1), 1)``."""

    def function(x):
        rest = x[:, 1] - bend * (x[:, 0] ** 2 - 1)
        gradient = np.stack([-x[:, 0] + 2 * bend * x[:, 0] * rest, -rest], axis=1)
        return -0.5 * (x[:, 0] ** 2 + rest**2) - LOG_2PI, gradient

    return FunctionDensity(function, 2)


def funnel(dim, scale=3.0):
    """Neal's funnel: ``v ~ N(0, scale^2), x_i ~ N(0, exp(v))``."""

    def function(x):
        v, rest = x[:, 0], x[:, 1:]
        with np.errstate(all="ignore"):
            square = np.exp(-v) * (rest**2).sum(axis=1)
            pull = -np.exp(-v)[:, None] * rest
        value = -0.5 * ((v / scale) ** 2 + square + (dim - 1) * v + dim * LOG_2PI) - np.log(scale)
        along = -v / scale**2 + 0.5 * square - 0.5 * (dim - 1)
        return value, np.concatenate([along[:, None], pull], axis=1)

    return FunctionDensity(function, dim)


def two_scales(n):
    """Two groups of n, each with a scale of its own, and their common mean."""

    def function(x):
        mean, a, b = x[:, 0], x[:, 1], x[:, 2]
        value, gradient = -0.5 * (x[:, :3] ** 2).sum(axis=1), -x.copy()
        gradient[:, 3:] = 0.0
        for k, u in enumerate((a, b)):
            place = slice(3 + k * n, 3 + (k + 1) * n)
            away = x[:, place] - mean[:, None]
            pull = away * np.exp(-2 * u)[:, None]
            value = value - 0.5 * (away * pull).sum(axis=1) - n * u
            gradient[:, place] = -pull
            gradient[:, 0] += pull.sum(axis=1)
            gradient[:, 1 + k] += (away * pull).sum(axis=1) - n
        return value, gradient

    return FunctionDensity(function, 3 + 2 * n)


def kinks(weights, places, dim):
    """Double exponentials with unit scales, each around a place on the diagonal."""

    def function(x):
        u = x[:, None] - np.asarray(places)[:, None]
        log_part = np.log(weights) - dim * np.log(2) - np.abs(u).sum(axis=-1)
        value = np.logaddexp.reduce(log_part, axis=1)
        share = np.exp(log_part - value[:, None])
        return value, -np.vecdot(share[:, :, None], np.sign(u), axis=1)

    return FunctionDensity(function, dim)


def flat(dim):
    """Improper: constant everywhere."""
    return FunctionDensity(lambda x: (np.zeros(len(x)), np.zeros_like(x)), dim)


def ridge():
    """Improper: a standard normal in ``x_1 + x_2``, constant along ``x_1 - x_2``."""

    def function(x):
        total = x.sum(axis=1)
        return -0.5 * total**2, -np.repeat(total[:, None], 2, axis=1)

    return FunctionDensity(function, 2)


def unbounded():
    """A density without a maximum: ``exp(x_2)`` in one direction."""

    def function(x):
        gradient = np.stack([-x[:, 0], np.ones(len(x))], axis=1)
        return -0.5 * x[:, 0] ** 2 + x[:, 1], gradient

    return FunctionDensity(function, 2)


def nowhere_finite(dim):
    return FunctionDensity(lambda x: (np.full(len(x), np.nan), np.full_like(x, np.nan)), dim)


def rejecting(density, allowed):
    """``density`` with NaN wherever ``allowed(x)`` is false."""

    def function(x):
        value, gradient = density.log_density_gradient(x)
        ok = allowed(x)
        return np.where(ok, value, np.nan), np.where(ok[:, None], gradient, np.nan)

    return FunctionDensity(function, density.dim)


def scaled(density, scale):
    """The distribution of ``scale * x`` coordinatewise, x from ``density``."""
    scale = np.asarray(scale, dtype=float)

    def function(x):
        value, gradient = density.log_density_gradient(np.ascontiguousarray(x / scale))
        return value - np.log(scale).sum(), gradient / scale

    return FunctionDensity(function, density.dim)


def covariance_of(dim, condition, seed=0):
    """Random axes, variances spread geometrically over ``condition``."""
    rng = np.random.default_rng(seed)
    axes = ortho_group.rvs(dim, random_state=rng) if dim > 1 else np.eye(1)
    variances = np.geomspace(condition**-0.5, condition**0.5, dim)
    covariance = (axes * variances) @ axes.T
    return (covariance + covariance.T) / 2


def gaussian_kl(family, mean, covariance):
    """``KL(family || N(mean, covariance))`` for a family whose moments are exact and Gaussian."""
    inverse = np.linalg.inv(covariance)
    q = family.covariance()
    offset = family.mean() - mean
    log_det = np.linalg.slogdet(covariance)[1] - np.linalg.slogdet(q)[1]
    return 0.5 * (np.trace(inverse @ q) + offset @ inverse @ offset - len(q) + log_det)


def finite_difference(function, x, step=1e-6):
    """Central differences of a scalar batch function, shape (n, dim)."""
    columns = []
    for j in range(x.shape[1]):
        shift = np.zeros(x.shape[1])
        shift[j] = step
        columns.append((function(x + shift) - function(x - shift)) / (2 * step))
    return np.stack(columns, axis=1)


def standard(dim):
    """Standard normal `Product`."""
    return Product.gaussian(np.zeros(dim), np.eye(dim))


def fitter_of(density, seed=0):
    """What `stanrovi.samplers.by_fit.sample_density` fits by."""

    def fitter(known, attempt, **budget):
        options = {"n_draws": 512, "known": known, "probe": False, **budget}
        return fit(density, "auto", seed + attempt, **options)

    return fitter
