"""What `stanrovi.sample` costs and whether it is right; writes docs/results/sampling.md.

    python benchmarks/sampling.py

Takes about twenty minutes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from hierarchies import FORMS, LOGITS, OTHERS, PAIRS, SEVERAL, cell, words
from hierarchies import load as load_hierarchy
from references import NAMES
from references import load as load_single
from tables import markdown

import stanrovi as sr
from stanrovi.densities import MixtureDensity, normal_mixture, two_normals
from stanrovi.diagnostics.statistics import ess, mixing, psis_khat
from stanrovi.samplers.by_fit import Sampled, sample_density
from stanrovi.samplers.mixing import Goal
from stanrovi.samplers.trust import doubts
from stanrovi.target import Array
from stanrovi.vi.methods.driver import fit_density
from stanrovi.vi.result import FitResult

TEMPLATE = Path(__file__).parent / "sampling.template.md"
OUTPUT = Path(__file__).parents[1] / "docs" / "results" / "sampling.md"
SEEDS = range(5)
MANY_SEEDS = range(20)


@dataclass(frozen=True)
class Truth:
    """Mean and standard deviation of a scalar, each with the error of its reference."""

    mean: float
    sd: float
    mean_se: float
    sd_se: float


@dataclass(frozen=True)
class Posterior:
    """A model with what is known of its scalars."""

    name: str
    model: sr.Model
    truth: dict[str, Truth]


def _of_draws(x: Array, effective: float) -> Truth:
    """Truth from draws, or from quantiles that so many effective draws stand behind."""
    sd = float(x.std())
    kurtosis = float(((x - x.mean()) ** 4).mean() / sd**4)
    errors = sd / np.sqrt(effective), sd * np.sqrt(max(kurtosis - 1, 0) / (4 * effective))
    return Truth(float(x.mean()), sd, *map(float, errors))


def single(name: str) -> Posterior:
    found = load_single(name)
    truth = {k: _of_draws(v, len(v)) for k, v in found.reference.items()}
    return Posterior(name, found.model, truth)


def hierarchy(base: str, form: str = "") -> Posterior:
    """Quantiles know the mean; of the standard deviation the reference tells its own."""
    found = load_hierarchy(base, form)
    truth = {}
    for name, reference in found.reference.items():
        like = _of_draws(reference.quantiles, EFFECTIVE)
        truth[name] = Truth(like.mean, reference.sd, like.mean_se, like.sd_se)
    return Posterior(found.name, found.model, truth)


EFFECTIVE = 10_000  # draws behind a reference, at least, as its README tells

POSTERIORS: tuple[Callable[[], Posterior], ...] = (
    *(partial(single, name) for name in NAMES),
    *(partial(hierarchy, base, form) for base in (*PAIRS, *LOGITS) for form in FORMS),
    *(partial(hierarchy, base, form) for base, form in SEVERAL),
    *(partial(hierarchy, base) for base in OTHERS),
    lambda: Posterior("neals_funnel", sr.Model("neals_funnel"), {}),
)


def worst_z(posterior: Posterior, run: sr.SampleRun) -> float:
    """Largest difference of a mean or standard deviation, in standard errors."""
    variables = tuple(dict.fromkeys(name.split("[")[0] for name in posterior.truth))
    scalars = run.draws.scalars(variables)
    worst = 0.0
    for name, truth in posterior.truth.items():
        x = scalars[name]
        centred = np.abs(x - x.mean())
        size, wide = (float(ess(v[..., None])[0]) for v in (x, centred))
        like = _of_draws(x.ravel(), 1.0)
        z_mean = (x.mean() - truth.mean) / np.hypot(like.mean_se / np.sqrt(size), truth.mean_se)
        z_sd = (x.std() - truth.sd) / np.hypot(like.sd_se / np.sqrt(wide), truth.sd_se)
        worst = max(worst, abs(z_mean), abs(z_sd))
    return worst


def cost_row(posterior: Posterior) -> tuple[list[str], float]:
    runs = [sr.sample(posterior.model, seed=seed) for seed in SEEDS]
    nuts = sr.nuts(posterior.model, engine="stanli", seed=1)
    gradients = [r.n_gradients for r in runs]
    fits = [sum(n for k, n in r.gradients_by_stage.items() if k.startswith("fit")) for r in runs]
    z = [worst_z(posterior, r) for r in runs] if posterior.truth else []
    ratio = float(np.median(gradients)) / nuts.n_gradients
    line = [
        posterior.name,
        str(posterior.model.dim),
        cell(gradients, 0),
        cell(fits, 0),
        f"{nuts.n_gradients:,}",
        f"1/{1 / ratio:.0f}" if ratio < 1 else f"{ratio:.1f}",
        f"{min(r.result.mixed.ess_min for r in runs):.0f}",
        f"{nuts.check.ess_min:.0f}",
        cell(z, 1) if z else "-",
        words([r.result.kernel for r in runs]),
        f"{sum(r.trusted for r in runs)} of {len(runs)}",
        f"{max(r.divergences for r in runs)}",
    ]
    print(" | ".join(line), flush=True)
    return line, ratio


def costs() -> str:
    rows, ratios = [], []
    for make in POSTERIORS:
        line, ratio = cost_row(make())
        rows.append(line)
        ratios.append(ratio)
    columns = (
        "posterior", "d", "gradients", "of these the fit", "NUTS 1000 + 1000", "ratio",
        "least ESS", "of NUTS", "worst z", "moved by", "trusted", "divergences",
    )  # fmt: skip
    table = markdown(columns, rows)
    median = float(np.median(ratios))
    return f"{table}\n\nMedian ratio 1/{1 / median:.1f}, worst {max(ratios):.2f}."


def _pair(dim: int, apart: float, weight: float) -> MixtureDensity:
    rng = np.random.default_rng(dim)
    root = np.linalg.cholesky(np.cov(rng.standard_normal((dim, 3 * dim))) + 0.1 * np.eye(dim))
    return two_normals(apart, weight, root, rng.standard_normal(dim))


def _three() -> MixtureDensity:
    means = [(-4.0, -2.0), (4.0, -2.0), (0.0, 4.0)]
    return normal_mixture([0.5, 0.3, 0.2], means, [np.eye(2)] * 3, "three modes")


TARGETS: tuple[tuple[str, MixtureDensity], ...] = (
    ("two normals, d = 2, 6 sd, .5", _pair(2, 6.0, 0.5)),
    ("two normals, d = 2, 12 sd, .5", _pair(2, 12.0, 0.5)),
    ("two normals, d = 2, 12 sd, .2", _pair(2, 12.0, 0.2)),
    ("three modes, d = 2", _three()),
    ("two normals, d = 20, 6 sd, .3", _pair(20, 6.0, 0.3)),
    ("two normals, d = 20, 10 sd, .3", _pair(20, 10.0, 0.3)),
)


def _sampled(density: MixtureDensity, seed: int, init: FitResult | None) -> tuple[Sampled, Goal]:
    goal = Goal(max_gradients=200_000)

    def fitter(known: FitResult | None, attempt: int, **budget: Any) -> FitResult:
        options = {"pareto_k": psis_khat, "known": known, "probe": False, **budget}
        return fit_density(density, "auto", seed=seed + attempt, n_draws=512, **options)

    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        run = sample_density(density, seed=seed, goal=goal, mixing=mixing, fitter=fitter, init=init)
    return run, goal


def mode_row(name: str, density: MixtureDensity, collapsed: bool) -> list[str]:
    runs, errors, wrong = [], [], 0
    seeds = MANY_SEEDS if collapsed else SEEDS
    for seed in seeds:
        init = None
        if collapsed:
            init = fit_density(density, "mfvi", seed=seed, n_draws=1000, pareto_k=psis_khat)
        run, goal = _sampled(density, seed, init)
        x = run.trace.x.reshape(-1, density.dim)
        off = np.abs(density.masses(x) - density.weights)
        allowed = max(0.02, 3 * float(run.mass_errors.max(initial=0.0)))
        right = bool((off <= allowed).all())
        trusted = not doubts(run, goal)
        wrong += trusted and not right
        runs.append((run, trusted))
        errors.append(float(off.max()))
    line = [
        name,
        cell(errors, 3),
        f"{sum(t for _, t in runs)} of {len(runs)}",
        str(wrong),
        cell([r.n_gradients for r, _ in runs], 0),
    ]
    print(" | ".join(line), flush=True)
    return line


def label_row(model: sr.Model, n_labels: int, name: str) -> list[str]:
    """Every order of the first parameter's elements is equally probable."""
    runs = [sr.sample(model, seed=seed, max_gradients=300_000) for seed in SEEDS]
    errors = []
    for run in runs:
        mu = next(iter(run.draws.posterior.values())).reshape(-1, n_labels)
        orders = np.unique(np.argsort(mu, axis=1), axis=0, return_counts=True)[1] / len(mu)
        count = int(np.prod(np.arange(1, n_labels + 1)))
        shares = np.concatenate([orders, np.zeros(count - len(orders))])
        errors.append(float(np.abs(shares - 1 / count).max()))
    allowed = [max(0.02, 3 * float(r.result.mass_errors.max(initial=0.0))) for r in runs]
    wrong = sum(r.trusted and e > a for r, e, a in zip(runs, errors, allowed, strict=True))
    line = [
        name,
        cell(errors, 3),
        f"{sum(r.trusted for r in runs)} of {len(runs)}",
        str(wrong),
        cell([r.n_gradients for r in runs], 0),
    ]
    print(" | ".join(line), flush=True)
    return line


def modes() -> str:
    rows = [mode_row(name, density, collapsed=False) for name, density in TARGETS]
    rows.append(label_row(sr.Model("label_switching"), 2, "label switching, K = 2"))
    folder = Path(__file__).parent / "labels"
    three = sr.Model(folder / "labels3.stan", folder / "labels3.data.json")
    rows.append(label_row(three, 3, "label switching, K = 3"))
    rows += [
        mode_row(f"{name}, begun from mfvi", density, collapsed=True)
        for name, density in TARGETS[:2]
    ]
    columns = ("posterior", "worst weight error", "trusted", "trusted and wrong", "gradients")
    return markdown(columns, rows)


def main() -> None:
    text = TEMPLATE.read_text(encoding="utf-8").format(costs=costs(), modes=modes())
    OUTPUT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
