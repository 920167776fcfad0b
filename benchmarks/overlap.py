"""Two components that overlap, or are not normal; writes docs/results/overlap.md and its picture.

    python benchmarks/overlap.py

Takes about six minutes on two processors.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from exact import Case, Sampler
from matplotlib.lines import Line2D
from tables import markdown
from verdicts import N_DRAWS, WORST_W1, WORST_WEIGHT

from stanrovi.densities import MixtureDensity, normal, normal_mixture, skew_normal, student
from stanrovi.determinism import one_blas_thread
from stanrovi.diagnostics.statistics import mixing, psis_khat
from stanrovi.methods import Method
from stanrovi.modes.separateness import separateness
from stanrovi.plots.figure import new_figure
from stanrovi.samplers.adaptation import NutsChains, starts
from stanrovi.target import Array, LogDensity, Target
from stanrovi.vi.methods.driver import fit_density
from stanrovi.vi.result import FitResult

HERE = Path(__file__).parent
TEMPLATE = HERE / "overlap.template.md"
OUTPUT = HERE.parent / "docs" / "results" / "overlap.md"
PICTURE = HERE.parent / "docs" / "images" / "overlap.png"
METHODS: tuple[Method, ...] = ("mfvi", "rovi", "mixture", "auto")
NUTS = "nuts"
SEEDS = range(3)
APART, FEW_APART = (0, 1, 2, 3, 5, 8), (2, 5, 8)
# Dimension, weight of the first component, separations.
PLANS = (
    (20, 0.8, FEW_APART),
    (5, 0.8, APART),
    (2, 0.8, APART),
    (2, 0.5, FEW_APART),
    (2, 0.95, FEW_APART),
)
SAMPLED = (5, 0.8, (2, 8))  # where NUTS runs, too
RHAT = 1.01
LOOKS: dict[str, dict[str, Any]] = {
    "mfvi": {"color": "#D55E00", "marker": "v", "linestyle": "-"},
    "rovi": {"color": "#0072B2", "marker": "o", "linestyle": (0, (5, 1.5))},
    "mixture": {"color": "#E69F00", "marker": "P", "linestyle": (0, (3, 1))},
    "auto": {"color": "#009E73", "marker": "s", "linestyle": (0, (1.2, 1.2))},
    NUTS: {"color": "#CC79A7", "marker": "D", "linestyle": (0, (6, 1.5, 1.2, 1.5))},
}


@dataclass(frozen=True)
class Part:
    """A component, at the origin or elsewhere: its normalised density, and its draws."""

    density: LogDensity
    sample: Sampler


def _normal(at: Array, factor: Array) -> Part:
    d = len(at)
    return Part(normal(at, factor), lambda n, rng: at + rng.standard_normal((n, d)) @ factor.T)


def _wide(at: Array, first: bool) -> Part:
    return _normal(at, (0.7 if first else 1.4) * np.eye(len(at)))


def _correlated(at: Array, first: bool) -> Part:
    """Correlate neighbours by .8, or by -.8."""
    place = np.arange(len(at))
    powers = (0.8 if first else -0.8) ** np.abs(place[:, None] - place)
    return _normal(at, np.linalg.cholesky(powers))


def _student(at: Array, first: bool, *, df: float) -> Part:
    def sample(n: int, rng: np.random.Generator) -> Array:
        scale = np.sqrt(df / rng.chisquare(df, n))
        return np.asarray(at + scale[:, None] * rng.standard_normal((n, len(at))))

    return Part(student(at, df), sample)


def _skew(at: Array, first: bool) -> Part:
    """Slant the first axis outward."""
    slant = -4.0 if first else 3.0
    delta = slant / np.sqrt(1 + slant**2)

    def sample(n: int, rng: np.random.Generator) -> Array:
        x = rng.standard_normal((n, len(at)))
        x[:, 0] = delta * np.abs(rng.standard_normal(n)) + np.sqrt(1 - delta**2) * x[:, 0]
        return np.asarray(at + x)

    return Part(skew_normal(at, slant), sample)


def _laplace(at: Array, first: bool) -> Part:
    """Take independent double exponentials with unit standard deviations."""
    rate = np.sqrt(2)

    def density(x: Array) -> tuple[Array, Array]:
        u = x - at
        value = len(at) * np.log(rate / 2) - rate * np.abs(u).sum(axis=1)
        return value, -rate * np.sign(u)

    return Part(density, lambda n, rng: at + rng.laplace(scale=1 / rate, size=(n, len(at))))


def _bimodal(at: Array, first: bool) -> Part:
    """Take two normals 4 apart along the last axis, of weights .6 and .4."""
    step = np.zeros(len(at))
    step[-1] = 2.0
    inner = normal_mixture([0.6, 0.4], [at - step, at + step], [np.eye(len(at))] * 2)

    def sample(n: int, rng: np.random.Generator) -> Array:
        side = np.where(rng.random(n) < 0.6, -1.0, 1.0)
        return np.asarray(at + side[:, None] * step + rng.standard_normal((n, len(at))))

    return Part(inner.log_density_gradient, sample)


SHAPES: dict[str, Callable[[Array, bool], Part]] = {
    "normal": lambda at, first: _normal(at, np.eye(len(at))),
    "normal, widths 1 : 2": _wide,
    "normal, correlations .8, -.8": _correlated,
    "Student t, 10 df": partial(_student, df=10.0),
    "Student t, 5 df": partial(_student, df=5.0),
    "Student t, 3 df": partial(_student, df=3.0),
    "skew normal": _skew,
    "Laplace": _laplace,
    "bimodal each": _bimodal,
}


def pair(shape: str, dim: int, weight: float, apart: float) -> Case:
    """Put two components of a shape so far apart along the diagonal, the first with a weight."""
    at = np.full(dim, 0.5 * apart / np.sqrt(dim))
    parts = SHAPES[shape](-at, True), SHAPES[shape](at, False)
    weights = np.array([weight, 1 - weight])
    density = MixtureDensity(shape, dim, weights, tuple(part.density for part in parts))

    def sample(n: int, rng: np.random.Generator) -> Array:
        first = rng.random(n) < weight
        return np.where(first[:, None], *(part.sample(n, rng) for part in parts))

    return Case(shape, shape, density, sample, mixture=density, numbers=4_000_000)


@dataclass(frozen=True)
class Run:
    """One run on one target.

    Attributes
    ----------
    shape, method, verdict : str
    dim, seed, gradients : int
    weight_of_first, apart : float
    w1 : float
        Worst marginal beyond the noise of the draws, sds.
    weight : float
        Error of a component's weight.
    estimated : float
        Largest error of a marginal by the fit's own estimate.
    kl : float
        From fit to target, nats; NaN for NUTS.
    smaller : float
        Mass of the component that has less.
    bound : float
        On it for mean field by the modes found; NaN where fewer than two were.
    """

    shape: str
    dim: int
    weight_of_first: float
    apart: float
    method: str
    seed: int
    verdict: str
    gradients: int
    w1: float
    weight: float
    estimated: float
    kl: float
    smaller: float
    bound: float

    @property
    def wrong_marginal(self) -> bool:
        """Whether a marginal is further off than a verdict of ok promises."""
        return self.w1 > WORST_W1

    @property
    def wrong_weight(self) -> bool:
        """Whether a component has a wrong weight."""
        return self.weight > WORST_WEIGHT

    @property
    def ok(self) -> bool:
        """Whether it calls itself so."""
        return self.verdict in ("ok", "mixed")


def _collapse(result: FitResult, dim: int) -> float:
    if len(result.modes) < 2:
        return np.nan
    return separateness(result.modes, tuple(f"x[{i + 1}]" for i in range(dim))).bound


def runs_on(shape: str, dim: int, weight: float, apart: float) -> list[Run]:
    """Run every method with every seed on one target."""
    case = pair(shape, dim, weight, apart)
    mixture = case.mixture
    assert mixture is not None
    noise = case.noise(N_DRAWS)
    found = []

    def add(method: str, seed: int, x: Array, told: dict[str, Any]) -> None:
        found.append(
            Run(
                shape,
                dim,
                weight,
                apart,
                method,
                seed,
                w1=float((case.errors(x) - noise).max()),
                weight=case.weight_error(x),
                smaller=float(mixture.masses(x).min()),
                **told,
            )
        )

    for method in METHODS:
        for seed in SEEDS:
            with np.errstate(all="ignore"):
                r = fit_density(
                    case.density, method, seed=seed, n_draws=N_DRAWS, pareto_k=psis_khat
                )
            bound = _collapse(r, dim) if method == "mfvi" else np.nan
            told = {"verdict": r.verdict.name, "gradients": r.n_gradients, "kl": -r.elbo}
            add(method, seed, r.draws, {
                **told, "bound": bound, "estimated": float(np.nanmax(r.errors.error)),
            })  # fmt: skip
    if (dim, weight) == SAMPLED[:2] and apart in SAMPLED[2]:
        add(NUTS, SEEDS[0], *_sampled(case, SEEDS[0]))
    print(shape, dim, weight, apart, flush=True)
    return found


def _sampled(case: Case, seed: int) -> tuple[Array, dict[str, Any]]:
    """Run NUTS with Stan's defaults."""
    target, rng = Target(case.density), np.random.default_rng(seed)
    chains = NutsChains(target, starts(target, rng, 4), rng)
    chains.warm_up(1000)
    x = chains.sample(1000).x
    verdict = "mixed" if mixing(x)[0].max() <= RHAT else "not mixed"
    nothing = {"estimated": np.nan, "kl": np.nan, "bound": np.nan}
    told = {"verdict": verdict, "gradients": target.n_gradients, **nothing}
    return x.reshape(-1, case.density.dim), told


def all_runs() -> list[Run]:
    """Run everything, the most dimensions first."""
    jobs = [(s, d, w, float(a)) for d, w, apart in PLANS for a in apart for s in SHAPES]
    with ProcessPoolExecutor(os.cpu_count(), initializer=_one_thread) as pool:
        return [run for part in pool.map(runs_on, *zip(*jobs, strict=True)) for run in part]


def _one_thread() -> None:
    one_blas_thread().__enter__()


# -- what is told ----------------------------------------------------------------------------


def _counted(runs: Iterable[Run]) -> str:
    counts = Counter(run.verdict for run in runs)
    return ", ".join(f"{n} {word}" for word, n in counts.most_common())


def verdict_table(found: Sequence[Run], key: Callable[[Run], str], head: str) -> str:
    """Count right and wrong fits by verdict."""
    rows = []
    for value in [*dict.fromkeys(map(key, found)), "all"]:
        part = [r for r in found if value in ("all", key(r))]
        wrong = [r for r in part if r.wrong_marginal or r.wrong_weight]
        right = [r for r in part if not (r.wrong_marginal or r.wrong_weight)]
        rows.append((
            value, len(part), sum(r.ok for r in right), sum(not r.ok for r in right),
            sum(not r.ok for r in wrong),
            f"**{sum(r.ok for r in wrong if r.wrong_marginal)}**",
            sum(r.ok for r in wrong if not r.wrong_marginal),
        ))  # fmt: skip
    columns = (head, "fits", "right, ok", "right, not ok", "wrong, not ok",
        "marginal wrong, ok", "only a weight wrong, ok")  # fmt: skip
    return markdown(columns, rows)


def false_table(found: Sequence[Run], *, marginal: bool) -> str:
    """List every fit that is wrong and calls itself ok, a line for each target and method."""
    groups: dict[tuple[Any, ...], list[Run]] = {}
    for r in found:
        wrong = r.wrong_marginal if marginal else r.wrong_weight and not r.wrong_marginal
        if wrong and r.ok:
            groups.setdefault((r.shape, r.dim, r.weight_of_first, r.apart, r.method), []).append(r)
    if not groups:
        return "None."
    rows = [
        (
            shape, dim, f"{weight:g}", f"{apart:g}", method, ", ".join(str(r.seed) for r in part),
            f"{max(r.w1 for r in part):.2f}", f"{max(r.estimated for r in part):.2f}",
            f"{max(r.weight for r in part):.3f}", f"{max(r.kl for r in part):.3f}",
        )
        for (shape, dim, weight, apart, method), part in groups.items()
    ]  # fmt: skip
    columns = ("components", "d", "weight", "sd apart", "method", "seeds", "W1",
        "estimated", "weight error", "KL, nats")  # fmt: skip
    return markdown(columns, rows)


def error_table(found: Sequence[Run], dim: int, weight: float) -> str:
    """Tell W1, weight error and KL of each method on each target: the worst seed."""
    part = [r for r in found if (r.dim, r.weight_of_first) == (dim, weight)]
    keys = dict.fromkeys((r.shape, r.apart) for r in part)
    rows = []
    for shape, apart in sorted(keys, key=lambda k: (list(SHAPES).index(k[0]), k[1])):
        cells = []
        for method in METHODS:
            runs = [r for r in part if (r.shape, r.apart, r.method) == (shape, apart, method)]
            w1, off, kl = (max(getattr(r, k) for r in runs) for k in ("w1", "weight", "kl"))
            cells.append(f"{max(w1, 0):.2f}, {off:.2f}, {max(kl, 0):.2f}; {_counted(runs)}")
        rows.append((f"{shape}, {apart:g} apart", *cells))
    return markdown(("components", *METHODS), rows)


def cost_table(found: Sequence[Run]) -> str:
    """Tell gradients by method and dimension: the median, and the most."""
    dims = sorted({r.dim for r in found})
    rows = []
    for method in (*METHODS, NUTS):
        cells = []
        for dim in dims:
            values = [r.gradients for r in found if (r.method, r.dim) == (method, dim)]
            cells.append(f"{np.median(values):,.0f} ({max(values):,})" if values else "")
        rows.append((method, *cells))
    return markdown(("method", *(f"d = {dim}" for dim in dims)), rows)


def nuts_table(found: Sequence[Run]) -> str:
    """Put NUTS beside `auto` on the same targets."""
    rows = []
    for r in (r for r in found if r.method == NUTS):
        key = r.shape, r.dim, r.weight_of_first, r.apart
        fits = [
            f for f in found
            if f.method == "auto" and (f.shape, f.dim, f.weight_of_first, f.apart) == key
        ]  # fmt: skip
        rows.append((
            f"{r.shape}, {r.apart:g} apart",
            f"{max(r.w1, 0):.2f}", f"{r.weight:.3f}", f"{r.gradients:,}", r.verdict,
            f"{max(*(f.w1 for f in fits), 0):.2f}", f"{max(f.weight for f in fits):.3f}",
            f"{np.median([f.gradients for f in fits]):,.0f}", _counted(fits),
        ))  # fmt: skip
    columns = ("components", "NUTS: W1", "weight error", "gradients", "says", "auto: W1",
        "weight error", "gradients", "says")  # fmt: skip
    return markdown(columns, rows)


def bound_table(found: Sequence[Run]) -> str:
    """Put mean field's smaller component beside the bound on it, by shape and separation."""
    rows = []
    mean_field = [r for r in found if r.method == "mfvi"]
    for shape in SHAPES:
        for apart in APART:
            part = [r for r in mean_field if (r.shape, r.apart) == (shape, apart)]
            told = [r for r in part if r.bound < 0.5]
            if not told:
                continue
            rows.append((
                f"{shape}, {apart:g} apart",
                f"{len(told)} of {len(part)}",
                f"{sum(r.smaller <= r.bound for r in told)} of {len(told)}",
                f"{min(r.bound for r in told):.2f} to {max(r.bound for r in told):.2f}",
                f"{max(r.smaller for r in told):.3f}",
            ))  # fmt: skip
    columns = ("components", "fits with a bound", "within it", "bound", "smaller, most")
    return markdown(columns, rows)


def picture(found: Sequence[Run]) -> None:
    """Draw the worst marginal by separation; filled where the verdict is ok."""
    with new_figure(9.0, 8.0) as figure:
        panels = figure.subplots(3, 3, sharex=True, sharey=True)
        for panel, shape in zip(panels.flat, SHAPES, strict=True):
            for method in LOOKS:
                _line(panel, [
                    r for r in found
                    if (r.shape, r.method) == (shape, method)
                    and (r.dim, r.weight_of_first) == SAMPLED[:2]
                ], LOOKS[method])  # fmt: skip
            panel.axhline(WORST_W1, color="#555555", linewidth=0.8)
            panel.set(title=shape, yscale="log")
            panel.grid(alpha=0.25)
        figure.supxlabel("standard deviations apart", fontsize=9)
        figure.supylabel("worst W1 of a marginal beyond noise, sd", fontsize=9)
        handles = [Line2D([], [], label=m, markersize=5, **look) for m, look in LOOKS.items()]
        hollow = {"marker": "o", "markerfacecolor": "white", "color": "#555555", "linestyle": ""}
        handles.append(Line2D([], [], label="hollow: not ok", **hollow))
        figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
        figure.savefig(PICTURE, dpi=110)


def _line(panel: Any, runs: Sequence[Run], look: dict[str, Any]) -> None:
    by_apart: dict[float, list[Run]] = {}
    for r in runs:
        by_apart.setdefault(r.apart, []).append(r)
    apart = sorted(by_apart)
    # An error below what can be seen is drawn where seeing ends.
    y = [max(*(r.w1 for r in by_apart[a]), 3e-3) for a in apart]
    panel.plot(apart, y, color=look["color"], linestyle=look["linestyle"], linewidth=1.2)
    for a, value in zip(apart, y, strict=True):
        face = look["color"] if any(r.ok for r in by_apart[a]) else "white"
        panel.plot(a, value, color=look["color"], marker=look["marker"], markersize=4.5,
                   markerfacecolor=face)  # fmt: skip


def main() -> None:
    """Measure everything and write the page."""
    found = all_runs()
    fits = [r for r in found if r.method != NUTS]
    false = [r for r in fits if r.ok and (r.wrong_marginal or r.wrong_weight)]
    picture(found)
    text = TEMPLATE.read_text(encoding="utf-8").format(
        n_fits=f"{len(fits):,}",
        n_false=len(false),
        n_false_marginal=sum(r.wrong_marginal for r in false),
        n_false_weight=sum(not r.wrong_marginal for r in false),
        by_method=verdict_table(fits, lambda r: r.method, "method"),
        by_shape=verdict_table(fits, lambda r: r.shape, "components"),
        by_dim=verdict_table(fits, lambda r: f"d = {r.dim}", "dimension"),
        false_marginals=false_table(fits, marginal=True),
        false_weights=false_table(fits, marginal=False),
        bound=bound_table(found),
        nuts=nuts_table(found),
        cost=cost_table(found),
        **{
            f"errors_{dim}_{round(100 * weight)}": error_table(fits, dim, weight)
            for dim, weight, _ in PLANS
        },
    )
    OUTPUT.write_text(text, encoding="utf-8")
    print(f"Wrote {OUTPUT}")


if __name__ == "__main__":
    main()
