"""Mode collapse of mean field and its cure: the study of arXiv:2510.17063, extended.

    python benchmarks/mode_collapse.py

The target is ``w N((-m, -m), I) + (1 - w) N((m, m), I)``. Mean field (MFVI), rotational
variational inference (RoVI), Langevin Monte Carlo (LMC) and NUTS are run on it for several m and w.
Writes docs/results/mode_collapse.md and its six pictures; takes about a minute.

What follows the paper: the target family, MFVI against RoVI (rotation and product measure, A
diagonal: "RoVI, plain"), LMC as comparator, marginals and recovered modes. Ours: the
default RoVI (A free), NUTS, the values of m, w and seeds, the exact mean-field optimum on a
grid, the study of starts, more than two modes, and the bounds: on collapse a self-contained
version of the paper's theorem (its constants are not available to us; see
stanrovi/modes/separateness.py), on RoVI's divergence stanrovi/modes/bounds.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle
from scipy.special import expit, logsumexp
from tables import markdown

import stanrovi as sr
from stanrovi.densities import normal_mixture
from stanrovi.diagnostics.density import kde
from stanrovi.diagnostics.statistics import psis_khat
from stanrovi.families.axes import DenseAxes, DiagonalAxes
from stanrovi.families.product import Product
from stanrovi.modes.basins import Mode
from stanrovi.modes.bounds import rovi_bound
from stanrovi.modes.separateness import separateness
from stanrovi.plots.figure import new_figure
from stanrovi.runs.langevin import langevin_draws
from stanrovi.samplers.langevin import run_langevin
from stanrovi.target import Array, Target
from stanrovi.vi.fit_run import FitRun
from stanrovi.vi.methods.driver import fit_density
from stanrovi.vi.product import fit_product
from stanrovi.vi.result import FitResult
from stanrovi.vi.steps import ProductSettings

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "results" / "mode_collapse.md"
IMAGES = HERE.parent / "docs" / "images"
DISTANCES = (1.0, 2.0, 3.0, 6.0)
WEIGHTS = (0.5, 0.3)
SEEDS = range(5)
CURVE = np.arange(0.25, 4.01, 0.25)
# Okabe and Ito's colours, each with its own marker and line.
LOOKS: dict[str, dict[str, Any]] = {
    "MFVI": {"color": "#D55E00", "marker": "v", "linestyle": "-"},
    "RoVI, plain": {"color": "#56B4E9", "marker": "s", "linestyle": (0, (5, 1.5))},
    "RoVI": {"color": "#0072B2", "marker": "o", "linestyle": (0, (5, 1.5))},
    "LMC": {"color": "#009E73", "marker": "^", "linestyle": (0, (1.2, 1.2))},
    "NUTS": {"color": "#CC79A7", "marker": "D", "linestyle": (0, (6, 1.5, 1.2, 1.5))},
}
GREY = "#555555"
FITS: dict[str, dict[str, Any]] = {
    "MFVI": {"method": "mfvi"},
    "RoVI, plain": {"method": "rovi", "preconditioner": "diagonal"},
    "RoVI": {"method": "rovi"},
}


@dataclass(frozen=True)
class Case:
    """All runs on one target.

    Attributes
    ----------
    m, w : float
    draws : dict of str to ndarray, shape (run, draw, 2)
        By method; a run is a seed of a fit, or a chain of a sampler.
    fits : dict of str to list of FitResult
        The variational runs.
    gradients : dict of str to int
        Typical cost: median over seeds, or all chains of a sampler.
    """

    m: float
    w: float
    draws: dict[str, Array]
    fits: dict[str, list[FitResult]]
    gradients: dict[str, int]

    def masses(self, method: str) -> Array:
        """Mass of the mode at (-m, -m) in each run."""
        return np.array([mass_of_first(x, self.m, self.w) for x in self.draws[method]])


def bimodal(m: float, w: float) -> sr.Model:
    return sr.Model("bimodal_gaussian", {"m": m, "w": w})


def mass_of_first(x: Array, m: float, w: float) -> float:
    """Mean responsibility of the mode at (-m, -m); its expectation under the target is w."""
    return float(expit(np.log(w / (1 - w)) - 2 * m * x.sum(axis=1)).mean())


def run_case(m: float, w: float) -> Case:
    """Run every method on one target."""
    model = bimodal(m, w)
    fits = {
        name: [sr.fit(model, seed=seed, **option).result for seed in SEEDS]
        for name, option in FITS.items()
    }
    draws = {name: np.stack([r.draws for r in results]) for name, results in fits.items()}
    gradients = {
        name: int(np.median([r.n_gradients for r in results])) for name, results in fits.items()
    }
    langevin = run_langevin(Target(model), np.random.default_rng(1), "lmc")
    lmc = langevin_draws(model, langevin, seed=1)
    nuts = sr.nuts(model, engine="stanli", seed=1)
    draws |= {"LMC": lmc.posterior["x"], "NUTS": nuts.draws.posterior["x"]}
    gradients |= {"LMC": langevin.n_gradients, "NUTS": nuts.n_gradients}
    return Case(m, w, draws, fits, gradients)


def mean_field_optimum(m: float, w: float) -> tuple[float, float]:
    """Exact mean-field optimum by coordinate ascent on a grid, best of several starts.

    Returns its KL from the target and the mass it gives the smaller mode.
    """
    grid = np.linspace(-m - 5, m + 5, 401)
    step = grid[1] - grid[0]
    parts = [
        np.log(weight) - np.log(2 * np.pi) - 0.5 * ((grid[:, None] - c) ** 2 + (grid - c) ** 2)
        for weight, c in ((w, -m), (1 - w, m))
    ]
    log_target = np.logaddexp(*parts)
    first = np.exp(parts[0] - log_target)
    best = np.inf, 0.0
    for start in (-m, 0.0, m):
        log_q = [-0.5 * (grid - start) ** 2] * 2
        for i in range(600):
            other = np.exp(log_q[1 - i % 2] - logsumexp(log_q[1 - i % 2]))
            log_q[i % 2] = log_target @ other
        q1, q2 = (np.exp(v - logsumexp(v)) for v in log_q)
        entropies = sum(float(q @ np.log(np.maximum(q, 1e-300) / step)) for q in (q1, q2))
        mass = float(q1 @ first @ q2)
        best = min(best, (entropies - float(q1 @ log_target @ q2), min(mass, 1 - mass)))
    return best


def collapse_bound(m: float, w: float) -> float:
    """Bound on the smaller mode's mass under the mean-field optimum, known before any fit."""
    unit = DiagonalAxes(np.ones(2))
    modes = tuple(
        Mode(position=np.full(2, c), log_density=np.log(weight), axes=unit, weight=weight)
        for weight, c in ((w, -m), (1 - w, m))
    )
    return separateness(modes, ("x[1]", "x[2]")).bound


def surviving(m: float, w: float, starts: Array) -> Array:
    """Mass of the mode at (-m, -m) after MFVI from a unit Gaussian at each start (n, 2)."""
    target = Target(bimodal(m, w))
    mean_field = ProductSettings(axes_moves="fixed", flexible=True, forward=0.0)
    masses = []
    for start in starts:
        run = FitRun(target, np.random.default_rng(1))
        unit = Product.gaussian(start, DiagonalAxes(np.ones(2)))
        family = fit_product(run, unit, mean_field).family
        masses.append(mass_of_first(family.sample(1000, np.random.default_rng(2)), m, w))
    return np.array(masses)


def case_table(cases: Sequence[Case]) -> str:
    """Tell masses, divergences, costs and verdicts of all runs."""
    rows = []
    for case in cases:
        for name in LOOKS:
            results = case.fits.get(name, [])
            rows.append((
                f"{case.m:g}", f"{case.w:g}", name,
                " ".join(f"{mass:.2f}" for mass in case.masses(name)),
                f"{max(np.median([-r.elbo for r in results]), 0):.3f}" if results else "",
                f"{case.gradients[name]:,d}",
                ", ".join(dict.fromkeys(r.verdict.name for r in results)),
            ))  # fmt: skip
    head = ("m", "w", "method", "mass of the mode at (-m, -m)", "KL", "gradients", "verdict")
    return markdown(head, rows)


def draw_contours(figure: Figure, cases: Sequence[Case]) -> None:
    """Draws of every method on the target's contours; rows by distance."""
    axes = figure.subplots(len(cases), len(LOOKS), squeeze=False)
    rng = np.random.default_rng(0)
    for row, case in zip(axes, cases, strict=True):
        reach = case.m + 3.6
        grid = np.linspace(-reach, reach, 201)
        height = _target(case, grid[:, None, None], grid[None, :, None])[..., 0]
        levels = np.exp(-0.5 * np.array([3.2, 1.8, 0.8]) ** 2) * height.max()
        for axis, name in zip(row, LOOKS, strict=True):
            axis.contour(grid, grid, height.T, levels=levels, colors=GREY, linewidths=0.7)
            # One seed of a fit; all chains of a sampler.
            runs = case.draws[name][:1] if name in case.fits else case.draws[name]
            points = rng.choice(runs.reshape(-1, 2), 500, replace=False)
            color = LOOKS[name]["color"]
            axis.scatter(*points.T, s=3, color=color, alpha=0.45, linewidths=0, rasterized=True)
            axis.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
            axis.locator_params(nbins=5)
            axis.label_outer()
            if case is cases[0]:
                axis.set_title(name)
        row[0].set_ylabel(f"m = {case.m:g}\n$x_2$")
    for axis in axes[-1]:
        axis.set_xlabel("$x_1$")


def _target(case: Case, x: Array, y: Array) -> Array:
    parts = [
        np.log(weight / (2 * np.pi)) - 0.5 * ((x - c) ** 2 + (y - c) ** 2)
        for weight, c in ((case.w, -case.m), (1 - case.w, case.m))
    ]
    return np.exp(np.logaddexp(*parts))


def draw_marginals(figure: Figure, cases: Sequence[Case]) -> None:
    """Marginal of the first coordinate; rows by weight, columns by distance."""
    axes = figure.subplots(len(WEIGHTS), len(DISTANCES), squeeze=False)
    for axis, case in zip(axes.ravel(), cases, strict=True):
        grid = np.linspace(-case.m - 4, case.m + 4, 400)
        truth = sum(
            weight * np.exp(-0.5 * (grid - c) ** 2) / np.sqrt(2 * np.pi)
            for weight, c in ((case.w, -case.m), (1 - case.w, case.m))
        )
        axis.fill_between(grid, truth, color="#D0D0D0", lw=0)
        for name in ("MFVI", "RoVI", "LMC", "NUTS"):
            runs = case.draws[name][:1] if name in case.fits else case.draws[name]
            look = {key: LOOKS[name][key] for key in ("color", "linestyle")}
            axis.plot(*kde(runs[..., 0]), linewidth=1.4, **look)
        axis.set(xlim=(grid[0], grid[-1]), yticks=[], title=f"m = {case.m:g}, w = {case.w:g}")
        axis.set_ylim(bottom=0)
        axis.spines["left"].set_visible(False)
    for axis in axes[-1]:
        axis.set_xlabel("$x_1$")
    names = ("MFVI", "RoVI", "LMC", "NUTS")
    handles = [Line2D([], [], color="#D0D0D0", linewidth=6, label="target")]
    handles += [
        Line2D([], [], label=name, **{k: LOOKS[name][k] for k in ("color", "linestyle")})
        for name in names
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=5)


def draw_masses(figure: Figure, cases: Sequence[Case]) -> None:
    """Mass of the first mode, one mark a run: a seed of a fit or a chain of a sampler."""
    for axis, w in zip(figure.subplots(1, len(WEIGHTS), sharey=True), WEIGHTS, strict=True):
        axis.axhline(w, color=GREY, linewidth=0.8, zorder=0)
        for i, case in enumerate(c for c in cases if c.w == w):
            for j, (name, look) in enumerate(LOOKS.items()):
                masses = case.masses(name)
                x = i + 0.16 * (j - 2) + np.linspace(-0.05, 0.05, len(masses))
                style = {"color": look["color"], "marker": look["marker"]}
                axis.scatter(x, masses, s=18, linewidths=0, **style)
            if i:
                axis.axvline(i - 0.5, color="#DDDDDD", linewidth=0.8, zorder=0)
        axis.set_xticks(range(len(DISTANCES)), [f"m = {m:g}" for m in DISTANCES])
        axis.tick_params(axis="x", length=0)
        axis.set_title(f"true weight w = {w:g}")
    figure.axes[0].set_ylabel("mass of the mode at (−m, −m)")
    _marker_legend(figure, tuple(LOOKS))


@dataclass(frozen=True)
class CurvePoint:
    """One distance: the exact mean-field optimum, the bound, and one fit by each method."""

    m: float
    w: float
    exact_kl: float
    exact_mass: float
    bound: float
    kl: dict[str, float]
    mass: float

    @classmethod
    def at(cls, m: float, w: float) -> CurvePoint:
        """Compute all of it."""
        results = {name: sr.fit(bimodal(m, w), seed=1, **o).result for name, o in FITS.items()}
        mass = mass_of_first(results["MFVI"].draws, m, w)
        return cls(
            m,
            w,
            *mean_field_optimum(m, w),
            collapse_bound(m, w),
            {name: -result.elbo for name, result in results.items()},
            min(mass, 1 - mass),
        )


def draw_curves(figure: Figure, points: Sequence[CurvePoint]) -> None:
    """KL, and the smaller mode's mass under mean field, against the distance."""
    rows = figure.subplots(2, len(WEIGHTS), sharex=True, sharey="row")
    dashed = {"color": "black", "linewidth": 1.4, "linestyle": (0, (5, 1.5))}
    exact = {"color": LOOKS["MFVI"]["color"], "linewidth": 1.2}
    for (upper, lower), w in zip(rows.T, WEIGHTS, strict=True):
        mine = [p for p in points if p.w == w]
        m = [p.m for p in mine]
        upper.plot(m, [p.exact_kl for p in mine], **exact)
        lower.plot(m, [p.exact_mass for p in mine], **exact)
        lower.plot(m, [p.bound for p in mine], **dashed)
        for name, size in (("MFVI", 22), ("RoVI, plain", 22), ("RoVI", 10)):
            style = {"color": LOOKS[name]["color"], "marker": LOOKS[name]["marker"]}
            upper.scatter(m, [p.kl[name] for p in mine], s=size, linewidths=0, zorder=3, **style)
            if name == "MFVI":
                lower.scatter(m, [p.mass for p in mine], s=size, linewidths=0, zorder=3, **style)
        heavier = max(w, 1 - w)
        upper.axhline(-np.log(heavier), color=GREY, linewidth=0.8, zorder=0)
        upper.annotate(
            f"log 1/{heavier:g}: one mode kept", (m[0], -np.log(heavier)),
            xytext=(0, 3), textcoords="offset points", fontsize=8, color=GREY,
        )  # fmt: skip
        upper.set(title=f"w = {w:g}", ylim=(-0.03, 0.78))
        lower.set(yscale="log", ylim=(1e-6, 1), xlabel="m (modes $2\\sqrt{2}\\,m$ sd apart)")
    rows[0, 0].set_ylabel("KL(q || target), nats")
    rows[1, 0].set_ylabel("smaller mode's mass under MFVI")
    handles = _markers(tuple(FITS))
    handles += [
        Line2D([], [], label="exact mean-field optimum", **exact),
        Line2D([], [], label="computed bound", **dashed),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=5)


def draw_starts(figure: Figure) -> None:
    """Which mode MFVI keeps, by where it starts."""
    targets = ((1.0, 0.5), (3.0, 0.5), (3.0, 0.3))
    side = np.linspace(-5, 5, 7)
    starts = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    outcomes = (
        ("the mode at (−m, −m)", "#0072B2", "o"),
        ("the mode at (m, m)", "#E69F00", "^"),
        ("both", GREY, "x"),
    )
    for axis, (m, w) in zip(figure.subplots(1, 3, sharey=True), targets, strict=True):
        mass = surviving(m, w, starts)
        kind = np.where(mass > 0.9, 0, np.where(mass < 0.1, 1, 2))
        for i, (_, color, marker) in enumerate(outcomes):
            axis.scatter(*starts[kind == i].T, color=color, marker=marker, s=30)
        for c in (-m, m):
            axis.add_patch(Circle((c, c), 1.0, fill=False, edgecolor="black"))
        axis.set(aspect="equal", xlabel="start, $x_1$", title=f"m = {m:g}, w = {w:g}")
    figure.axes[0].set_ylabel("start, $x_2$")
    handles = [
        Line2D([], [], color=color, marker=marker, linestyle="", label=f"MFVI keeps {label}")
        for label, color, marker in outcomes
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=3)


def several_table() -> str:
    """Tell of more than two modes what a product cannot keep, and how near a rotated one comes."""
    unit = np.eye(2)
    up, down = (np.array([[1.0, rho], [rho, 1.0]]) for rho in (0.9, -0.9))
    line = [np.full(2, c) for c in (-9.0, -3.0, 3.0, 9.0)]
    diamond = [np.array(c, dtype=float) for c in ((0, 6), (6, 0), (0, -6), (-6, 0))]
    angles = 0.3 + 2 * np.pi / 3 * np.arange(3)
    triangle = list(4 * np.column_stack([np.cos(angles), np.sin(angles)]))
    targets = (
        ("four on a diagonal, weights .4 to .1", [0.4, 0.3, 0.2, 0.1], line, [unit] * 4),
        ("four in a diamond, equal", [0.25] * 4, diamond, [unit] * 4),
        ("a triangle, weights .5, .3, .2", [0.5, 0.3, 0.2], triangle, [unit] * 3),
        (
            "two of opposite correlations, weights .6, .4",
            [0.6, 0.4],
            [np.full(2, -4.0), np.full(2, 4.0)],
            [up, down],
        ),
    )
    rows = []
    for name, weights, means, covariances in targets:
        density = normal_mixture(weights, means, covariances, name)
        modes = tuple(
            Mode(position=m, log_density=0.0, weight=w, axes=DenseAxes.of_covariance(c))
            for w, m, c in zip(weights, means, covariances, strict=True)
        )
        found = separateness(modes, ("x[1]", "x[2]"))
        fits = {
            method: fit_density(density, method, seed=1, pareto_k=psis_khat)
            for method in ("mfvi", "rovi", "auto")
        }
        first = float(density.masses(fits["mfvi"].draws)[0])
        rows.append(
            (
                name,
                f"{found.epsilon:.1e}",
                f"{found.bound:.2g}" if found.bound < 0.5 else "none",
                f"{min(first, 1 - first):.2g}",
                f"{rovi_bound(weights, means, covariances):.3f}",
                *(f"{max(-result.elbo, 0):.3f}" for result in fits.values()),
            )
        )
    head = (
        "target", "epsilon", "bound", "lighter side under MFVI", "bound on RoVI", "MFVI", "RoVI",
        "auto",
    )  # fmt: skip
    return markdown(head, rows)


def _markers(names: Sequence[str]) -> list[Line2D]:
    return [
        Line2D([], [], label=name, color=LOOKS[name]["color"], marker=LOOKS[name]["marker"],
               markersize=5, linestyle="")
        for name in names
    ]  # fmt: skip


def _marker_legend(figure: Figure, names: Sequence[str]) -> None:
    figure.legend(handles=_markers(names), loc="outside upper center", ncols=len(names))


def save(figure: Figure, name: str, dpi: int = 130) -> None:
    figure.savefig(IMAGES / f"mode_collapse_{name}.png", dpi=dpi)


def main() -> None:
    cases = [run_case(m, w) for w in WEIGHTS for m in DISTANCES]
    for w, label in zip(WEIGHTS, ("equal", "unequal"), strict=True):
        with new_figure(8.0, 6.9) as figure:
            draw_contours(figure, [case for case in cases if case.w == w])
            save(figure, f"contours_{label}", dpi=90)
    with new_figure(8.0, 3.8) as figure:
        draw_marginals(figure, cases)
        save(figure, "marginals")
    with new_figure(8.0, 3.4) as figure:
        draw_masses(figure, cases)
        save(figure, "masses")
    points = [CurvePoint.at(float(m), w) for w in WEIGHTS for m in CURVE]
    with new_figure(8.0, 5.4) as figure:
        draw_curves(figure, points)
        save(figure, "curves")
    with new_figure(8.0, 3.4) as figure:
        draw_starts(figure)
        save(figure, "starts")
    below = sum(p.mass <= p.bound for p in points)
    template = (HERE / "mode_collapse.template.md").read_text(encoding="utf-8")
    text = template.format(
        cases=case_table(cases),
        several=several_table(),
        within=f"{below} of {len(points)}",
        rovi_kl=f"{max(p.kl['RoVI'] for p in points):.4f}",
    )
    PAGE.write_text(text, encoding="utf-8")
    print(f"Wrote {PAGE}")


if __name__ == "__main__":
    main()
