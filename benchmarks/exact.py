"""Targets whose truth is known exactly: what a verdict has to be right about.

Every case is a density on unconstrained space with a sampler of its own and, where
parameters have bounds, the map to them. `cases(variant)` builds the suite; another
variant has other dimensions, strengths and random axes, of the same kinds.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import targets
from scipy.special import expit, gammaln, log_expit

from stanrovi.densities import FunctionDensity, MixtureDensity, normal, skew_normal, student
from stanrovi.target import Array, Density, LogDensity

Sampler = Callable[[int, np.random.Generator], Array]
_TRUTH, _LEAST_TRUTH = 400_000, 40_000
_CENTRAL = 0.005  # tail on either side that is left out where the variance is infinite


@dataclass(frozen=True)
class Case:
    """A target with its truth.

    Attributes
    ----------
    name, kind : str
    density : Density
    sample : callable
        Exact draws (n, dim) on unconstrained space.
    constrain : callable
        Constrained scalars (n, k) at unconstrained points (n, dim).
    heavy : bool
        Whether some marginal has no variance: distances are then in robust sds, over the
        central 99%.
    mixture : MixtureDensity or None
        Where modes have weights that shall be right.
    numbers : int
        Of the truth, over all scalars, in few dimensions or many at least 40,000 draws.
    """

    name: str
    kind: str
    density: Density
    sample: Sampler
    constrain: Callable[[Array], Array] = field(default=lambda x: x)
    heavy: bool = False
    mixture: MixtureDensity | None = None
    numbers: int = 20_000_000

    @cached_property
    def truth(self) -> Array:
        """Exact draws of the constrained scalars, each sorted, shape (n, k)."""
        rng = np.random.default_rng(12345)
        n = max(_LEAST_TRUTH, min(_TRUTH, self.numbers // self.density.dim))
        return np.sort(self.constrain(self.sample(n, rng)), axis=0)

    @cached_property
    def _scale(self) -> Array:
        if not self.heavy:
            return np.asarray(self.truth.std(axis=0))
        low, high = np.quantile(self.truth, [0.1587, 0.8413], axis=0)
        return np.asarray(high - low) / 2

    def errors(self, x: Array) -> Array:
        """W1 of each constrained marginal of draws x (n, dim), in sds of the truth, shape (k,)."""
        return self._w1(np.sort(self.constrain(x), axis=0))

    def noise(self, n: int, repeats: int = 5) -> Array:
        """Tell what `errors` is on average for n independent draws of the truth, shape (k,)."""
        rng = np.random.default_rng(777)
        draws = (np.sort(self.constrain(self.sample(n, rng)), axis=0) for _ in range(repeats))
        return np.asarray(np.mean([self._w1(values) for values in draws], axis=0))

    def weight_error(self, x: Array) -> float:
        """Largest error of a mode's weight at draws x (n, dim); zero for a single mode."""
        if self.mixture is None:
            return 0.0
        return float(np.abs(self.mixture.masses(x) - self.mixture.weights).max())

    def lacks_a_mode(self, x: Array) -> bool:
        """Whether a mode of weight 0.02 or more has less than a fifth of it."""
        if self.mixture is None:
            return False
        weights = self.mixture.weights
        return bool(((self.mixture.masses(x) < 0.2 * weights) & (weights >= 0.02)).any())

    def _w1(self, values: Array) -> Array:
        n = len(values)
        level = (np.arange(n) + 0.5) / n
        kept = (level > _CENTRAL) & (level < 1 - _CENTRAL) if self.heavy else level >= 0
        rows = (level * len(self.truth)).astype(int)
        return np.asarray(np.abs(values - self.truth[rows])[kept].sum(axis=0) / n / self._scale)


# -- one dimension ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Factor:
    """A distribution of one unconstrained coordinate: log density and score, draws, its map."""

    log_density: Callable[[Array], Array]
    score: Callable[[Array], Array]
    sample: Sampler
    constrain: Callable[[Array], Array] = field(default=lambda u: u)
    heavy: bool = False


def _of(density: LogDensity, sample: Sampler, *, heavy: bool = False) -> Factor:
    """Take a density of `stanrovi.densities` in one dimension."""
    return Factor(
        lambda u: density(u.reshape(-1, 1))[0].reshape(u.shape),
        lambda u: density(u.reshape(-1, 1))[1].reshape(u.shape),
        sample,
        heavy=heavy,
    )


def _normal() -> Factor:
    return _of(normal(np.zeros(1), np.eye(1)), lambda n, rng: rng.standard_normal(n))


def _student(df: float) -> Factor:
    return _of(student(np.zeros(1), df), lambda n, rng: rng.standard_t(df, n), heavy=df <= 2)


def _laplace() -> Factor:
    return Factor(
        lambda u: -np.abs(u) - np.log(2),
        lambda u: -np.sign(u),
        lambda n, rng: rng.laplace(size=n),
    )


def _logistic() -> Factor:
    return Factor(
        lambda u: log_expit(u) + log_expit(-u),
        lambda u: expit(-u) - expit(u),
        lambda n, rng: rng.logistic(size=n),
    )


def _gamma(shape: float) -> Factor:
    """Positive, on the logarithmic scale."""
    return Factor(
        lambda u: shape * u - np.exp(np.minimum(u, 700)) - gammaln(shape),
        lambda u: shape - np.exp(np.minimum(u, 700)),
        lambda n, rng: np.log(np.maximum(rng.gamma(shape, size=n), 1e-300)),
        lambda u: np.exp(np.minimum(u, 700)),
    )


def _inverse_gamma(shape: float) -> Factor:
    mirrored = _gamma(shape)
    return Factor(
        lambda u: mirrored.log_density(-u),
        lambda u: -mirrored.score(-u),
        lambda n, rng: -mirrored.sample(n, rng),
        lambda u: np.exp(np.minimum(u, 700)),
        heavy=shape <= 2,
    )


def _half_student(df: float) -> Factor:
    """Half t (half normal for large df), on the logarithmic scale."""
    t = _student(df)
    return Factor(
        lambda u: np.log(2) + t.log_density(np.exp(np.minimum(u, 300))) + u,
        lambda u: t.score(np.exp(np.minimum(u, 300))) * np.exp(np.minimum(u, 300)) + 1,
        lambda n, rng: np.log(np.maximum(np.abs(rng.standard_t(df, n)), 1e-300)),
        lambda u: np.exp(np.minimum(u, 300)),
        heavy=df <= 2,
    )


def _beta(a: float, b: float) -> Factor:
    """On the unit interval, on the logit scale."""
    constant = gammaln(a + b) - gammaln(a) - gammaln(b)

    def sample(n: int, rng: np.random.Generator) -> Array:
        # log of a gamma variate of small shape, without underflow
        first, second = (
            np.log(rng.gamma(s + 1, size=n)) + np.log(rng.random(n)) / s for s in (a, b)
        )
        return np.asarray(first - second)

    return Factor(
        lambda u: constant + a * log_expit(u) + b * log_expit(-u),
        lambda u: a * expit(-u) - b * expit(u),
        sample,
        expit,
    )


def _skew(slant: float) -> Factor:
    delta = slant / np.sqrt(1 + slant**2)

    def sample(n: int, rng: np.random.Generator) -> Array:
        return np.asarray(
            delta * np.abs(rng.standard_normal(n)) + np.sqrt(1 - delta**2) * rng.standard_normal(n)
        )

    return _of(skew_normal(np.zeros(1), slant), sample)


def _two(gap: float, weight: float) -> Factor:
    """Two unit normals."""

    def joint(u: Array) -> tuple[Array, Array]:
        return (
            np.log(weight) - 0.5 * (u + gap / 2) ** 2,
            np.log(1 - weight) - 0.5 * (u - gap / 2) ** 2,
        )

    def score(u: Array) -> Array:
        first, second = joint(u)
        share = expit(first - second)
        return np.asarray(-share * (u + gap / 2) - (1 - share) * (u - gap / 2))

    def sample(n: int, rng: np.random.Generator) -> Array:
        side = np.where(rng.random(n) < weight, -1.0, 1.0)
        return np.asarray(side * gap / 2 + rng.standard_normal(n))

    return Factor(lambda u: np.logaddexp(*joint(u)) - 0.5 * np.log(2 * np.pi), score, sample)


def product(name: str, kind: str, factors: Sequence[Factor], mix: Array | None = None) -> Case:
    """Independent coordinates; or ``x = mix @ u`` of them, unconstrained."""
    d = len(factors)
    inverse = None if mix is None else np.linalg.inv(mix)
    volume = 0.0 if mix is None else np.linalg.slogdet(mix)[1]

    def function(x: Array) -> tuple[Array, Array]:
        u = x if inverse is None else x @ inverse.T
        value = np.sum([f.log_density(u[:, i]) for i, f in enumerate(factors)], axis=0)
        score = np.stack([f.score(u[:, i]) for i, f in enumerate(factors)], axis=1)
        return value - volume, score if inverse is None else score @ inverse

    def sample(n: int, rng: np.random.Generator) -> Array:
        u = np.stack([f.sample(n, rng) for f in factors], axis=1)
        return np.asarray(u if mix is None else u @ mix.T)

    def constrain(x: Array) -> Array:
        if mix is not None:
            return x
        return np.stack([f.constrain(x[:, i]) for i, f in enumerate(factors)], axis=1)

    heavy = any(f.heavy for f in factors)
    return Case(name, kind, FunctionDensity(function, d), sample, constrain, heavy)


def beside(case: Case, others: int, rng: np.random.Generator) -> Case:
    """Put a case among normal coordinates of random scale."""
    scale, shift = np.exp(rng.normal(0, 0.7, others)), rng.normal(0, 1, others)
    d = case.density.dim

    def function(x: Array) -> tuple[Array, Array]:
        value, gradient = case.density.log_density_gradient(np.ascontiguousarray(x[:, :d]))
        u = (x[:, d:] - shift) / scale
        rest = -0.5 * (u**2).sum(axis=1) - np.log(scale).sum() - 0.5 * others * np.log(2 * np.pi)
        return value + rest, np.concatenate([gradient, -u / scale], axis=1)

    def sample(n: int, rng: np.random.Generator) -> Array:
        return np.concatenate(
            [case.sample(n, rng), shift + scale * rng.standard_normal((n, others))], axis=1
        )

    def constrain(x: Array) -> Array:
        return np.concatenate([case.constrain(x[:, :d]), x[:, d:]], axis=1)

    name = f"{case.name}, among {others} normals"
    return Case(
        name, case.kind, FunctionDensity(function, d + others), sample, constrain, case.heavy
    )


def dirichlet(name: str, alpha: Array) -> Case:
    """Simplex by stick breaking, as Stan's before version 2.37."""
    k = len(alpha)
    rest = np.cumsum(alpha[::-1])[::-1][1:]  # alpha of what is left after each piece
    shift = -np.log(np.arange(k - 1, 0, -1.0))
    sticks = [_beta(float(a), float(r)) for a, r in zip(alpha[:-1], rest, strict=True)]

    def function(x: Array) -> tuple[Array, Array]:
        u = x + shift
        value = np.sum([f.log_density(u[:, i]) for i, f in enumerate(sticks)], axis=0)
        return value, np.stack([f.score(u[:, i]) for i, f in enumerate(sticks)], axis=1)

    def sample(n: int, rng: np.random.Generator) -> Array:
        return np.stack([f.sample(n, rng) for f in sticks], axis=1) - shift

    def constrain(x: Array) -> Array:
        broken = expit(x + shift)
        left = np.cumprod(np.concatenate([np.ones((len(x), 1)), 1 - broken], axis=1), axis=1)
        return np.concatenate([left[:, :-1] * broken, left[:, -1:]], axis=1)

    return Case(name, "bounds", FunctionDensity(function, k - 1), sample, constrain)


# -- curved ----------------------------------------------------------------------------------


def funnel(leaves: int, strength: float) -> Case:
    """Take a funnel of `targets`, with draws."""

    def sample(n: int, rng: np.random.Generator) -> Array:
        u = strength * rng.standard_normal((n, 1))
        return np.concatenate([u, np.exp(u / 2) * rng.standard_normal((n, leaves))], axis=1)

    name = f"funnel, {leaves} leaves, strength {strength:g}"
    return Case(name, "funnel", targets.funnel(leaves, strength), sample)


def banana(bend: float, arms: int = 1) -> Case:
    """Take a banana of `targets`, with draws."""

    def sample(n: int, rng: np.random.Generator) -> Array:
        u = rng.standard_normal((n, 1))
        return np.concatenate([u, bend * (u**2 - 1) + rng.standard_normal((n, arms))], axis=1)

    name = f"banana, bend {bend:g}" + (f", {arms} arms" if arms > 1 else "")
    return Case(name, "banana", targets.banana(bend, arms), sample)


def ring(radius: float, width: float) -> Case:
    """Take a ring of `targets`, with draws: the distance by its distribution function on a grid."""
    grid = np.linspace(0, radius + 12 * width, 100_001)
    total = np.cumsum(grid * np.exp(-0.5 * ((grid - radius) / width) ** 2))

    def sample(n: int, rng: np.random.Generator) -> Array:
        distance = np.interp(rng.random(n) * total[-1], total, grid)
        angle = rng.uniform(0, 2 * np.pi, n)
        return distance[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)

    return Case(f"ring, {radius:g} by {width:g}", "banana", targets.ring(radius, width), sample)


# -- hierarchies -----------------------------------------------------------------------------


def hierarchy_data(groups: int, noise: float, spread: float, seed: int) -> tuple[Array, Array]:
    """Draw what is seen of each group, and the standard deviation of its noise."""
    rng = np.random.default_rng(seed)
    s = noise * np.exp(rng.normal(0, 0.3, groups))
    return 1.0 + spread * rng.standard_normal(groups) + s * rng.standard_normal(groups), s


def hierarchy(groups: int, noise: float, spread: float, *, centred: bool, seed: int) -> Case:
    """Take normal means ``theta_j ~ N(mu, tau)`` seen with known noise, and tau half normal.

    Exact: mu and theta are normal given tau, whose marginal density is on a grid.
    """
    y, s = hierarchy_data(groups, noise, spread, seed)
    prior_mu, prior_tau = 5.0, 2.0
    grid = np.linspace(np.log(1e-4), np.log(30.0), 20_001)
    variance = s**2 + np.exp(2 * grid)[:, None]
    precision = (1 / variance).sum(axis=1) + prior_mu**-2
    at = (y / variance).sum(axis=1) / precision
    log_tau = (
        -0.5 * np.log(variance).sum(axis=1)
        - 0.5 * (y**2 / variance).sum(axis=1)
        + 0.5 * precision * at**2
        - 0.5 * np.log(precision)
        - 0.5 * np.exp(2 * grid) / prior_tau**2
        + grid
    )
    share = np.cumsum(np.exp(log_tau - log_tau.max()))

    def exact(n: int, rng: np.random.Generator) -> tuple[Array, Array, Array]:
        t = np.interp(rng.random(n) * share[-1], share, grid)
        tau = np.exp(t)[:, None]
        v = s**2 + tau**2
        p = (1 / v).sum(axis=1) + prior_mu**-2
        mu = (y / v).sum(axis=1) / p + rng.standard_normal(n) / np.sqrt(p)
        inner = 1 / (1 / s**2 + 1 / tau**2)
        mean = inner * (y / s**2 + mu[:, None] / tau**2)
        return mu, t, mean + np.sqrt(inner) * rng.standard_normal((n, groups))

    def sample(n: int, rng: np.random.Generator) -> Array:
        mu, t, theta = exact(n, rng)
        rest = theta if centred else (theta - mu[:, None]) / np.exp(t)[:, None]
        return np.concatenate([mu[:, None], t[:, None], rest], axis=1)

    def function(x: Array) -> tuple[Array, Array]:
        mu, t = x[:, 0], np.clip(x[:, 1], -300, 300)
        with np.errstate(over="ignore", invalid="ignore"):
            tau = np.exp(t)
            z = (x[:, 2:] - mu[:, None]) / tau[:, None] if centred else x[:, 2:]
            theta = x[:, 2:] if centred else mu[:, None] + tau[:, None] * z
            r = (y - theta) / s**2
            value = (
                -0.5 * ((y - theta) / s) ** 2 - 0.5 * z**2 - (t[:, None] if centred else 0.0)
            ).sum(axis=1)
            value += -0.5 * (mu / prior_mu) ** 2 - 0.5 * (tau / prior_tau) ** 2 + t
            of_t = 1 - (tau / prior_tau) ** 2
            if centred:
                of_mu = (z / tau[:, None]).sum(axis=1)
                of_t = of_t + (z**2 - 1).sum(axis=1)
                rest = r - z / tau[:, None]
            else:
                of_mu = r.sum(axis=1)
                of_t = of_t + (r * z).sum(axis=1) * tau
                rest = r * tau[:, None] - z
            of_mu = of_mu - mu / prior_mu**2
        return value, np.concatenate([of_mu[:, None], of_t[:, None], rest], axis=1)

    def constrain(x: Array) -> Array:
        return np.concatenate([x[:, :1], np.exp(np.minimum(x[:, 1:2], 300)), x[:, 2:]], axis=1)

    form = "centred" if centred else "non-centred"
    name = f"hierarchy, {groups} groups, noise {noise:g}, spread {spread:g}, {form}"
    return Case(name, "hierarchy", FunctionDensity(function, groups + 2), sample, constrain)


def regression(n: int, k: int, seed: int) -> Case:
    """Linear regression with unknown sigma: normal given sigma, whose square is inverse gamma."""
    rng = np.random.default_rng(seed)
    design = rng.standard_normal((n, k)) @ np.diag(np.exp(rng.normal(0, 1, k)))
    design[:, 1:] += 0.8 * design[:, :1]
    y = design @ rng.standard_normal(k) + 0.7 * rng.standard_normal(n)
    gram = design.T @ design + 0.01 * np.eye(k)
    best = np.linalg.solve(gram, design.T @ y)
    shape, scale = 2 + n / 2, 1 + 0.5 * (y @ y - best @ gram @ best)
    root = np.linalg.cholesky(np.linalg.inv(gram))

    def sample(m: int, rng: np.random.Generator) -> Array:
        log_sigma = 0.5 * np.log(scale / rng.gamma(shape, size=m))
        step = rng.standard_normal((m, k)) @ root.T
        return np.concatenate(
            [best + np.exp(log_sigma)[:, None] * step, log_sigma[:, None]], axis=1
        )

    def function(x: Array) -> tuple[Array, Array]:
        u, t = x[:, :k] - best, np.clip(x[:, k], -300, 300)
        pull = u @ gram
        total = (scale + 0.5 * (u * pull).sum(axis=1)) * np.exp(-2 * t)
        value = -(2 * shape + k) * t - total
        along = -(2 * shape + k) + 2 * total
        return value, np.concatenate([-pull * np.exp(-2 * t)[:, None], along[:, None]], axis=1)

    def constrain(x: Array) -> Array:
        return np.concatenate([x[:, :k], np.exp(np.minimum(x[:, k:], 300))], axis=1)

    name = f"regression, {n} rows, {k} columns"
    return Case(name, "regression", FunctionDensity(function, k + 1), sample, constrain)


# -- several modes ---------------------------------------------------------------------------


def mixture(
    name: str, kind: str, weights: Sequence[float], means: Sequence[Array], factors: Sequence[Array]
) -> Case:
    parts: tuple[LogDensity, ...] = tuple(
        normal(np.asarray(m, dtype=float), f) for m, f in zip(means, factors, strict=True)
    )
    shares = np.asarray(weights, dtype=float)
    density = MixtureDensity(name, len(means[0]), shares / shares.sum(), parts)
    return _of_mixture(name, kind, density, means, factors)


def _of_mixture(
    name: str, kind: str, density: MixtureDensity, means: Sequence[Array], factors: Sequence[Array]
) -> Case:
    def sample(n: int, rng: np.random.Generator) -> Array:
        labels = rng.choice(len(density.weights), n, p=density.weights)
        out = rng.standard_normal((n, density.dim))
        for k, (mean, factor) in enumerate(zip(means, factors, strict=True)):
            out[labels == k] = mean + out[labels == k] @ factor.T
        return out

    return Case(name, kind, density, sample, mixture=density)


def random_factor(d: int, rng: np.random.Generator, decades: float = 0.5) -> Array:
    """Root of a covariance with random axes; variances log-uniform, 2 ``decades`` apart at most."""
    basis = np.linalg.qr(rng.standard_normal((d, d)))[0]
    variances = 10 ** rng.uniform(-decades, decades, d)
    return np.linalg.cholesky((basis * variances) @ basis.T)


def minor_mode(d: int, weight: float, gap: float, rng: np.random.Generator) -> Case:
    direction = rng.standard_normal(d)
    step = gap * direction / np.linalg.norm(direction)
    factor = random_factor(d, rng, 0.2)
    means = [-factor @ step / 2, factor @ step / 2]
    name = f"minor mode of {weight:g}, {gap:g} sd away, d = {d}"
    return mixture(name, "minor mode", [1 - weight, weight], means, [factor] * 2)


def general_position(count: int, d: int, rng: np.random.Generator) -> Case:
    means = [4.0 * rng.standard_normal(d) for _ in range(count)]
    factors = [random_factor(d, rng, 0.3) for _ in range(count)]
    weights = rng.dirichlet(np.full(count, 6.0))
    return mixture(f"{count} modes, d = {d}", "modes", list(weights), means, factors)


def permuted(levels: Sequence[float], width: float, others: int) -> Case:
    """Put a mode at every permutation of the levels, equally heavy, as labels switch."""
    k = len(levels)
    means = [np.array([*order, *np.zeros(others)]) for order in itertools.permutations(levels)]
    factor = np.diag([*np.full(k, width), *np.ones(others)])
    name = f"labels of {k} switched, d = {k + others}"
    return mixture(name, "symmetric", [1.0] * len(means), means, [factor] * len(means))


def signs(count: int, gap: float, others: int, rng: np.random.Generator) -> Case:
    """Signs of blocks of two coordinates, equally heavy."""
    centre = rng.uniform(0.7, 1.3, (count, 2)) * gap / 2
    means = [
        np.array([*(np.array(s)[:, None] * centre).ravel(), *np.zeros(others)])
        for s in itertools.product([-1.0, 1.0], repeat=count)
    ]
    d = 2 * count + others
    name = f"signs of {count} blocks, d = {d}"
    return mixture(name, "symmetric", [1.0] * len(means), means, [np.eye(d)] * len(means))


def needle(d: int, width: float, weight: float, rng: np.random.Generator) -> Case:
    """Hide a narrow mode inside a wide one."""
    at = rng.normal(0, 0.5, d)
    name = f"needle of {weight:g}, width 1:{1 / width:g}, d = {d}"
    return mixture(
        name, "needle", [1 - weight, weight], [np.zeros(d), at], [np.eye(d), width * np.eye(d)]
    )


def correlated(d: int, rho: float) -> Case:
    """Equal correlations."""
    factor = np.linalg.cholesky(np.full((d, d), rho) + (1 - rho) * np.eye(d))
    return mixture(f"correlation {rho:g}, d = {d}", "correlated", [1.0], [np.zeros(d)], [factor])


def gaussian(d: int, decades: float, rng: np.random.Generator) -> Case:
    factor = random_factor(d, rng, decades)
    name = f"normal, d = {d}, condition 1e{2 * decades:g}"
    return mixture(name, "dimension", [1.0], [rng.standard_normal(d)], [factor])


# -- the suite -------------------------------------------------------------------------------


def cases(variant: int = 0) -> list[Case]:
    """Build the suite.

    Parameters
    ----------
    variant : int
        0 for the table in docs; others for targets of the same kinds that no one has seen.
    """
    rng = np.random.default_rng(1000 + variant)

    def near(value: float, spread: float = 0.2) -> float:
        """Give the value itself in the table, one near it elsewhere."""
        return (
            value if variant == 0 else float(f"{value * np.exp(rng.uniform(-spread, spread)):.3g}")
        )

    def count(value: int, spread: float = 0.3) -> int:
        return (
            value if variant == 0 else max(1, round(value * np.exp(rng.uniform(-spread, spread))))
        )

    unit = _normal()
    found: list[Case] = []
    add = found.append

    # heavy tails and peaks
    for df in (1.0, 1.5, 2.5, 4.0, 8.0):
        add(product(f"t({near(df, 0.02):g})", "tails", [_student(df)]))
    df = near(3.0)
    add(product(f"t({df:g}), d = 5", "tails", [_student(df)] * 5))
    df = near(4.0)
    add(beside(product(f"t({df:g}), d = 3", "tails", [_student(df)] * 3), count(20), rng))
    add(beside(product("Cauchy", "tails", [_student(1.0)]), count(8), rng))
    add(product("Laplace, d = 4", "tails", [_laplace()] * 4))
    add(product("logistic, d = 8", "tails", [_logistic()] * 8))
    mix = random_factor(6, rng)
    add(product("Laplace mixed, d = 6", "tails", [_laplace()] * 6, mix))
    mix = random_factor(4, rng)
    add(product("t(5) mixed, d = 4", "tails", [_student(5.0)] * 4, mix))

    # skew
    a = near(6.0)
    add(product(f"skew normal {a:g}, d = 5", "skew", [_skew(a)] * 5))
    add(product("skew normal mixed, d = 5", "skew", [_skew(near(4.0))] * 5, random_factor(5, rng)))
    add(product("gamma(0.5)", "skew", [_gamma(near(0.5))]))
    add(product("gamma(1 to 5), d = 5", "skew", [_gamma(near(float(k))) for k in range(1, 6)]))
    add(beside(product("gamma(0.2)", "skew", [_gamma(near(0.2))]), count(20), rng))
    add(product("inverse gamma(3)", "skew", [_inverse_gamma(near(3.0, 0.1))]))
    add(product("half Cauchy", "skew", [_half_student(1.0)]))
    add(product("half t(4), d = 3", "skew", [_half_student(4.0)] * 3))
    add(product("half normal, d = 10", "skew", [_half_student(1e6)] * 10))

    # bounds
    add(product("beta(.1, .1)", "bounds", [_beta(near(0.1), near(0.1))]))
    add(product("beta(.5, .5), d = 5", "bounds", [_beta(near(0.5), near(0.5))] * 5))
    add(product("uniform, d = 10", "bounds", [_beta(1.0, 1.0)] * 10))
    add(product("beta(2, 8), d = 10", "bounds", [_beta(near(2.0), near(8.0))] * 10))
    add(beside(product("beta(.3, 3)", "bounds", [_beta(near(0.3), near(3.0))]), count(30), rng))
    for alpha, k in ((0.1, 4), (1.0, 6), (5.0, 10)):
        add(dirichlet(f"Dirichlet({alpha:g}), {k} parts", np.full(k, near(alpha))))

    # funnels of all strengths
    for leaves, strength in (
        (1, 0.3),
        (5, 0.3),
        (9, 0.6),
        (9, 1.0),
        (30, 0.3),
        (30, 1.0),
        (9, 2.0),
        (50, 2.0),
        (9, 3.0),
    ):
        add(funnel(count(leaves), near(strength)))
    add(beside(funnel(1, near(1.0)), count(20), rng))
    add(beside(funnel(3, near(2.0)), count(50), rng))
    add(beside(funnel(1, near(0.5)), count(80), rng))

    # bananas
    for bend, arms in ((0.1, 1), (0.3, 1), (0.6, 1), (1.0, 1), (0.3, 4), (1.0, 4)):
        add(banana(near(bend), arms))
    add(beside(banana(near(0.5)), count(20), rng))
    add(beside(banana(near(1.0)), count(50), rng))
    add(beside(banana(near(0.3)), count(80), rng))
    add(ring(near(4.0), near(0.5)))
    add(ring(near(10.0), near(0.3)))

    # hierarchies
    for k, (groups, noise, spread) in enumerate(
        (
            (8, 1.0, 0.3),
            (8, 0.3, 1.0),
            (20, 1.0, 1.0),
            (30, 0.5, 0.2),
            (30, 3.0, 1.0),
            (50, 0.3, 1.0),
        )
    ):
        for centred in (True, False):
            form = hierarchy(
                count(groups), near(noise), near(spread), centred=centred, seed=10 * variant + k
            )
            add(form)
    for k, (rows, columns) in enumerate(((8, 2), (30, 5), (200, 20), (100, 60))):
        add(regression(rows, count(columns, 0.1), 100 * variant + k))

    # several modes
    for d, weight, gap in (
        (1, 0.02, 8.0),
        (1, 0.1, 5.0),
        (2, 0.05, 6.0),
        (2, 0.3, 3.0),
        (5, 0.1, 8.0),
        (5, 0.03, 6.0),
        (10, 0.2, 6.0),
        (10, 0.05, 10.0),
        (30, 0.3, 7.0),
        (30, 0.1, 10.0),
    ):
        add(minor_mode(d, weight, near(gap), rng))
    for modes, d in ((3, 2), (5, 2), (8, 2), (3, 5), (4, 5), (8, 5), (3, 10), (6, 10)):
        add(general_position(modes, d, rng))
    add(permuted([-4, 4], 1.0, 2))
    add(permuted([-6, 0, 6], near(0.8), 0))
    add(permuted([-6, 0, 6], near(1.0), 4))
    add(permuted([-9, -3, 3, 9], near(0.7), 0))
    add(signs(1, near(6.0), 3, rng))
    add(signs(2, near(8.0), 0, rng))
    add(signs(3, near(8.0), 2, rng))
    add(product("bimodal product, d = 3", "modes", [_two(near(6.0), 0.4)] * 3))
    add(beside(product("bimodal", "modes", [_two(near(5.0), 0.3)]), count(30), rng))

    # needles in hay
    for d, width, weight in (
        (1, 0.02, 0.3),
        (2, 0.05, 0.3),
        (3, 0.1, 0.3),
        (5, 0.1, 0.3),
        (5, 0.2, 0.2),
    ):
        add(needle(d, near(width), weight, rng))

    # correlations and dimension
    for d, rho in ((2, 0.5), (2, 0.999), (2, 0.999999), (10, 0.9), (10, 0.9999), (50, 0.5)):
        add(correlated(d, rho))
    add(beside(correlated(2, near(0.6)), count(40), rng))
    add(beside(correlated(2, 0.95), count(80), rng))
    for d, decades in ((20, 1.0), (50, 2.0), (100, 0.5), (200, 1.0)):
        add(gaussian(count(d, 0.1), decades, rng))
    add(product("t(6), d = 60", "dimension", [_student(6.0)] * 60))
    add(product("skew normal 3, d = 100", "dimension", [_skew(3.0)] * 100))
    add(product("logistic mixed, d = 50", "dimension", [_logistic()] * 50, random_factor(50, rng)))
    add(product("normal, d = 150", "dimension", [unit] * 150))
    return found
