"""Weights of modes, mode collapse and its bound, and cost; writes docs/results/multimodal.md.

    python benchmarks/multimodal.py

Takes about half an hour. Run it on a quiet machine: it also measures time.
"""

from __future__ import annotations

import os
import platform
import tempfile
from collections import Counter
from collections.abc import Sequence
from math import factorial
from pathlib import Path
from typing import Any

import many_modes
import numpy as np
import references
from tables import markdown
from targets import hard_pairs, pair_of_normals, triangle

import stanrovi as sr
from stanrovi.densities import MixtureDensity
from stanrovi.diagnostics.statistics import psis_khat
from stanrovi.families.mixture import Mixture
from stanrovi.methods import Method
from stanrovi.modes.separateness import separateness
from stanrovi.target import Array
from stanrovi.vi.methods.driver import fit_density
from stanrovi.vi.result import FitResult

OUTPUT = Path(__file__).parents[1] / "docs" / "results" / "multimodal.md"
N_DRAWS = 8000
SEEDS = range(20)
FEW_SEEDS = range(5)
TEN_SEEDS = range(10)
LABELS = Path(__file__).parent / "labels"
PAIRS = (
    *((2, separation, weight) for separation in (2.8, 4, 6, 8.5, 12) for weight in (0.5, 0.3, 0.1)),
    *((10, separation, weight) for separation in (5, 8) for weight in (0.2, 0.35)),
    (50, 6, 0.3),
)
# Weight error and KL that count as right, by dimension.
LIMITS = {2: (0.02, 0.02), 10: (0.02, 0.02), 50: (0.04, 0.10)}
# Stages of a fit whose cost is told.
STAGES = ("modes", "scan", "product")

ORDERED = """
data { int<lower=1> N; vector[N] y; }
parameters { ordered[2] mu; vector<lower=0>[2] sigma; real<lower=0, upper=1> theta; }
model {
  mu ~ normal(0, 5);
  sigma ~ lognormal(0, 1);
  theta ~ beta(2, 2);
  for (n in 1 : N)
    target += log_mix(theta, normal_lpdf(y[n] | mu[1], sigma[1]),
                      normal_lpdf(y[n] | mu[2], sigma[2]));
}
"""


def fit(density: Any, method: Method, seed: int) -> FitResult:
    return fit_density(density, method, seed=seed, n_draws=N_DRAWS, pareto_k=psis_khat)


def fits(density: Any, method: Method, seeds: Sequence[int]) -> list[FitResult]:
    return [fit(density, method, seed) for seed in seeds]


def spread(values: Sequence[float], digits: int) -> str:
    """Median, and the largest in parentheses."""
    return f"{np.median(values):,.{digits}f} ({np.max(values):,.{digits}f})"


def counted(words: Sequence[str]) -> str:
    """Words with how often they occur: ``20 ok``."""
    return ", ".join(f"{n} {word}" for word, n in Counter(words).most_common())


def families(results: Sequence[FitResult]) -> str:
    kinds = ["mixture" if isinstance(r.family, Mixture) else "product" for r in results]
    return counted(kinds)


def pair_table(method: Method) -> str:
    rows = []
    for dim, separation, weight in PAIRS:
        density = pair_of_normals(dim, separation, weight)
        results = fits(density, method, SEEDS)
        error = [abs(density.masses(r.draws)[0] - weight) for r in results]
        kl = [-r.elbo for r in results]
        most_error, most_kl = LIMITS[dim]
        good = sum(e <= most_error and k <= most_kl for e, k in zip(error, kl, strict=True))
        row = (
            f"d = {dim}, {separation:g} sd, w = {weight:g}",
            f"{good} of {len(SEEDS)}",
            f"{max(error):.3f}",
            f"{max(kl):.4f}",
            spread([r.n_gradients for r in results], 0),
            spread([r.seconds for r in results], 2),
            counted([r.verdict.name for r in results]),
        )
        print(method, *row, flush=True)
        rows.append(row)
    head = ("target", "right", "worst weight error", "worst KL", "gradients", "seconds", "verdict")
    return markdown(head, rows)


def collapse_table() -> str:
    rows = []
    for dim, separation, weight in PAIRS:
        density = pair_of_normals(dim, separation, weight)
        names = tuple(f"x[{i + 1}]" for i in range(dim))
        results = fits(density, "mfvi", SEEDS)
        smaller = [min(density.masses(r.draws)) for r in results]
        first = [density.masses(r.draws)[0] for r in results]
        bounds = [separateness(r.modes, names).bound for r in results if len(r.modes) > 1]
        bound = min(bounds, default=np.nan)
        row = (
            f"d = {dim}, {separation:g} sd, w = {weight:g}",
            f"{max(smaller):.2g}",
            "one mode" if np.isnan(bound) else f"{bound:.2g}" if bound < 0.5 else "says nothing",
            "" if np.isnan(bound) else f"{sum(s <= bound for s in smaller)} of {len(SEEDS)}",
            f"{sum(m > 0.9 for m in first)} / {sum(m < 0.1 for m in first)}",
            f"{min(-r.elbo for r in results):.3f} to {max(-r.elbo for r in results):.3f}",
            f"{-np.log(max(weight, 1 - weight)):.3f}",
            counted([r.verdict.name for r in results]),
        )
        print("mfvi", *row, flush=True)
        rows.append(row)
    head = (
        "target",
        "smaller mode, most",
        "bound, least",
        "below it",
        "kept first / second",
        "KL",
        "log 1/w",
        "verdict",
    )
    return markdown(head, rows)


def hard_table(densities: Sequence[MixtureDensity], method: Method) -> str:
    rows = []
    for density in densities:
        results = fits(density, method, FEW_SEEDS)
        masses = np.array([density.masses(r.draws) for r in results])
        worst = results[int(np.argmax([-r.elbo for r in results]))]
        row = (
            density.name,
            families(results),
            spread([-r.elbo for r in results], 4),
            f"{np.abs(masses - density.weights).max():.3f}",
            spread([r.n_gradients for r in results], 0),
            counted([r.verdict.name for r in results]),
            _reason(worst),
        )
        print(method, *row, flush=True)
        rows.append(row)
    head = ("target", "family", "KL", "worst weight error", "gradients", "verdict", "reason given")
    return markdown(head, rows)


def _reason(result: FitResult) -> str:
    return "" if result.verdict.name == "ok" else "; ".join(result.verdict.reasons)


def label_switching_table() -> str:
    reference = _relabelled_reference()
    rows = []
    for method in ("auto", "mixture", "rovi", "mfvi"):
        runs = [
            sr.fit("label_switching", method=method, seed=seed, draws=N_DRAWS) for seed in FEW_SEEDS
        ]
        results = [run.result for run in runs]
        first = [(run.draws.posterior["mu"][0, :, 0] < 0).mean() for run in runs]
        row = (
            method,
            families(results),
            f"{max(abs(share - 0.5) for share in first):.3f}",
            spread([reference.worst_w1(run.draws) for run in runs], 3),
            spread([r.n_gradients for r in results], 0),
            spread([r.seconds for r in results], 2),
            counted([r.verdict.name for r in results]),
        )
        print("label switching", *row, flush=True)
        rows.append(row)
    head = ("method", "family", "worst weight error", "worst W1", "gradients", "seconds", "verdict")
    return markdown(head, rows)


def _relabelled_reference() -> references.Posterior:
    """Long NUTS with ordered means, each draw under both labellings."""
    model = sr.Model("label_switching")
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "ordered.stan"
        program.write_text(ORDERED, encoding="utf-8")
        ordered = sr.Model(program, {"N": model.data["N"], "y": model.data["y"]})
    run = sr.nuts(ordered, engine="stanli", chains=4, iter_sampling=5000, seed=1)
    draws = run.draws.scalars()
    mirror = {f"{a}[{i}]": f"{a}[{3 - i}]" for a in ("mu", "sigma") for i in (1, 2)}
    other = {name: draws[mirror.get(name, name)] for name in draws}
    other["theta"] = 1 - draws["theta"]
    both = {name: np.concatenate([draws[name].ravel(), other[name].ravel()]) for name in draws}
    return references.Posterior("label_switching", model, both)


def cost_table() -> str:
    rows = []
    for dim in (2, 10, 50, 200):
        density = pair_of_normals(dim, 6, 0.3)
        counts, times, errors, kls = [], [], [], []
        for seed in FEW_SEEDS:
            r = fit(density, "rovi", seed)
            counts.append([r.gradients_by_stage.get(stage, 0) for stage in STAGES])
            seconds = [r.seconds_by_stage.get(stage, 0.0) for stage in STAGES]
            times.append([*seconds, r.density_seconds, r.seconds])
            errors.append(abs(density.masses(r.draws)[0] - 0.3))
            kls.append(-r.elbo)
        stages = zip(np.median(counts, axis=0), np.median(times, axis=0), strict=False)
        density_seconds, total = np.median(times, axis=0)[3:]
        row = (
            dim,
            *(f"{count:,.0f}, {second:.2f} s" for count, second in stages),
            f"{total:.2f} s",
            f"{density_seconds:.2f} s",
            f"{max(errors):.3f}",
            f"{max(kls):.3f}",
        )
        print("cost", *row, flush=True)
        rows.append(row)
    head = (
        "d",
        "mode search",
        "scan",
        "product fit",
        "all",
        "of it density",
        "worst weight error",
        "worst KL",
    )
    return markdown(head, rows)


def many_modes_table() -> str:
    rows = []
    for case in many_modes.cases(0):
        assert case.mixture is not None
        noise, count = case.noise(4000), len(case.mixture.weights)
        runs = [
            fit_density(case.density, "auto", seed=seed, pareto_k=psis_khat) for seed in TEN_SEEDS
        ]
        weight = [case.weight_error(run.draws) for run in runs]
        marginal = [float((case.errors(run.draws) - noise).max()) for run in runs]
        right = [w <= 0.03 and e <= 0.10 for w, e in zip(weight, marginal, strict=True)]
        row = (
            case.name,
            f"{sum(right)} of {len(runs)}",
            sum(not r and run.verdict.name == "ok" for r, run in zip(right, runs, strict=True)),
            counted([run.verdict.name for run in runs]),
            f"{np.median(weight):.3f} ({max(weight):.3f})",
            f"{max(np.median(marginal), 0):.2f} ({max(*marginal, 0):.2f})",
            spread([run.n_gradients for run in runs], 0),
            f"{np.median([run.n_gradients for run in runs]) / count:,.0f}",
            spread([run.seconds for run in runs], 1),
        )
        print("many modes", *row, flush=True)
        rows.append(row)
    head = ("target", "right", "wrong and ok", "verdict", "weight error", "W1", "gradients",
            "a mode", "seconds")  # fmt: skip
    return markdown(head, rows)


def orbit_table() -> str:
    rows = []
    for name, model, count in _symmetric_models():
        runs = [sr.fit(model, seed=seed).result for seed in TEN_SEEDS]
        heavy = [[m for m in run.modes if m.weight > 0.01] for run in runs]
        mass = [max(abs(m.mass - 1 / count) for m in modes) for modes in heavy]
        row = (
            name,
            model.dim,
            count,
            f"{sum(len(modes) == count for modes in heavy)} of {len(runs)}",
            f"{max(mass):.3f}",
            spread([run.n_gradients for run in runs], 0),
            spread([run.seconds for run in runs], 1),
            counted([run.verdict.name for run in runs]),
        )
        print("orbits", *row, flush=True)
        rows.append(row)
    head = ("posterior", "d", "modes", "whole orbits", "weight error", "gradients", "seconds",
            "verdict")  # fmt: skip
    return markdown(head, rows)


def _symmetric_models() -> list[tuple[str, sr.Model, int]]:
    """Stan programs that symmetries leave as they are, with the number of their modes."""
    rng = np.random.default_rng(0)
    found = []
    for means in ((-3, 3), (-5, 0, 5), (-8, -3, 2, 8)):
        k = len(means)
        y = np.concatenate([rng.normal(mean, 1, 60) for mean in means])
        model = sr.Model(LABELS / "labels.stan", {"N": len(y), "K": k, "y": y})
        found.append((f"labels of {k} components with a simplex", model, factorial(k)))
    scores = rng.standard_normal(30)
    y = np.outer(scores, [1.2, -0.9, 0.7, 1.0, -1.1]) + 0.6 * rng.standard_normal((30, 5))
    model = sr.Model(LABELS / "factor.stan", {"N": 30, "P": 5, "y": y})
    found.append(("signs of a factor", model, 2))
    x = np.linspace(-2, 2, 60)
    y = 1.5 * np.tanh(3 * x + 2) - 2 * np.tanh(2 * x - 1.5) + 0.15 * rng.standard_normal(60)
    model = sr.Model(LABELS / "network.stan", {"N": 60, "H": 2, "x": x, "y": y})
    found.append(("a network of 2 hidden units", model, 8))
    return found


def no_harm_table() -> str:
    rows = []
    for name in references.NAMES:
        posterior = references.load(name)
        w1: dict[str, Array] = {}
        gradients: dict[str, Array] = {}
        for method in ("rovi", "auto"):
            runs = [sr.fit(posterior.model, method=method, seed=seed) for seed in FEW_SEEDS]
            w1[method] = np.array([posterior.worst_w1(run.draws) for run in runs])
            gradients[method] = np.array([run.result.n_gradients for run in runs])
        row = (
            name,
            *(spread(w1[m], 3) for m in ("rovi", "auto")),
            *(spread(gradients[m], 0) for m in ("rovi", "auto")),
            f"{np.median(gradients['auto'] / gradients['rovi']):.2f}",
        )
        print("no harm", *row, flush=True)
        rows.append(row)
    head = ("posterior", "W1, rovi", "W1, auto", "gradients, rovi", "gradients, auto", "ratio")
    return markdown(head, rows)


TEXT = """# Posteriors with several modes

Written by `python benchmarks/multimodal.py`, which measures everything below.

All methods run with their defaults; no run is left out. The densities are normalised, so the KL
divergence from fit to target is minus the ELBO, here from {n_draws} fresh draws (an exact fit can
show a value just below zero). The weight of a mode is the mean responsibility of its component
over the same draws, whose expectation under the target is the true weight exactly. One process
on {cores} processors ({machine}), whose load average was {load:.1f} before it began; cells with
parentheses show the median and the largest over the seeds.

## Two normals, RoVI

One covariance, modes so many standard deviations apart, the first with weight w; in the plane the
paper's target, in 10 and 50 dimensions a random covariance and direction. Right means: weight
error at most 0.02 and KL at most 0.02 (d = 50: 0.04 and 0.10). Seeds 0 to 19. Goal: right in 19
of 20 seeds, at most 30,000 gradients, at most 1 s (d = 2).

{rovi}

## The same, `auto`

{auto}

## The same, mean field: collapse and its bound

The bound m* on the smaller mode's mass is computed from the modes alone
(`stanrovi.modes.separateness`), before any fit; where the modes overlap too much it says nothing,
and "one mode" means that the search found no second. Keeping one mode of weight w costs log 1/w
nats; in correlated dimensions mean field loses more by its shape. "Kept" counts the runs with over
nine tenths of the draws in the first or in the second mode.

{mfvi}

## More than a rotation can hold, and other shapes: `auto`

Seeds 0 to 4. Goal: KL at most 0.05, or a verdict that says why not.

{hard}

The triangle with `rovi` forced, which cannot hold it:

{forced}

## Every mode, `auto`

Modes of unlike weight (.02 to .5) and shape; seeds 0 to 9. Normals in general position have random
covariances (variances up to 4 times apart) and the nearest neighbour of each 4 to 30 standard
deviations away; above ten dimensions their volumes are alike. Right means: every weight within .03,
every marginal within W1 of .10 sds of exact draws (beyond the noise of 4000 draws). "Wrong and ok"
counts what must not be. Goals: right in 9 of 10 where no mode is smaller than a hundredth of the
volume of the widest, at most 5,000 gradients a mode, and never ok where a mode of weight .03 or
more is missing.

{many}

Where the search ends: a mode hides where the region in which it is the denser one is small seen
from the others. Of two normals 5 wide standard deviations apart, the narrow one a hundredth of the
volume, it is found in most seeds, not in all; at 1 : 20 in five dimensions it is found never, and
nothing tells: such misses are called ok. A normal that lies in the tails of a heavy-tailed mode in
ten dimensions is not found either, but the tails are doubted.

## Symmetry, `auto`

Stan programs whose posterior a symmetry leaves as it is; modes of an orbit weigh the same. Seeds 0
to 9.

{orbits}

## Label switching

The bundled model `label_switching`: an unordered two-component normal mixture on 200 values. The
modes are mirror images, so each has weight one half. Reference: NUTS on the program with ordered
means (4 chains of 5000), every draw under both labellings. W1 in its standard deviations, worst
of the five parameters. Goal for `auto` and `mixture`: weights within 0.02, W1 at most 0.1.

{labels}

## No harm on posteriors with one mode

Worst-marginal W1 (reference sds, 4000 draws) and gradients, seeds 0 to 4. Goal: `auto` as
accurate as `rovi`, with at most 1.3 times its gradients.

{harm}

## Cost by dimension

Two normals, 6 sd apart, w = 0.3, `rovi`, medians over seeds 0 to 4: gradients and seconds of each
stage.

{cost}
"""


def main() -> None:
    text = TEXT.format(
        n_draws=N_DRAWS,
        cores=os.cpu_count(),
        machine=platform.machine(),
        load=os.getloadavg()[0],
        rovi=pair_table("rovi"),
        auto=pair_table("auto"),
        mfvi=collapse_table(),
        hard=hard_table((triangle(), *hard_pairs()), "auto"),
        forced=hard_table((triangle(),), "rovi"),
        many=many_modes_table(),
        orbits=orbit_table(),
        labels=label_switching_table(),
        harm=no_harm_table(),
        cost=cost_table(),
    )
    OUTPUT.write_text(text, encoding="utf-8")
    print(f"Wrote {OUTPUT}")


if __name__ == "__main__":
    main()
