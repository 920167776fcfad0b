"""Hierarchies, and shapes that are hard for a product; writes docs/results/hierarchies.md.

    python benchmarks/hierarchies.py

Takes about fifteen minutes. Every fit runs with its defaults; NUTS only tells what it costs.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from references import NAMES as SINGLE_MODE
from references import load as load_single_mode
from tables import markdown
from targets import banana, funnel, ring

import stanrovi as sr
from stanrovi.diagnostics.statistics import psis_khat
from stanrovi.target import Array, Density
from stanrovi.vi.methods.driver import fit_density

FOLDER = Path(__file__).parent / "hierarchies"
OUTPUT = Path(__file__).parents[1] / "docs" / "results" / "hierarchies.md"
SEEDS = range(5)
MANY_SEEDS = range(10)
PAIRS = ("seeds", "surgical", "rats", "radon_intercept", "radon_slope", "radon_both")
LOGITS = ("logit30", "logit100")
SEVERAL = (("logit_slopes", "centered"), ("logit_slopes", "noncentered"), ("crossed", ""))
OTHERS = ("horseshoe", "stochvol", "gp_poisson")
FORMS = ("centered", "noncentered")


@dataclass(frozen=True)
class Reference:
    """Quantiles and standard deviation of a scalar."""

    quantiles: Array
    sd: float


@dataclass(frozen=True)
class Posterior:
    """A model with marginals to be believed."""

    name: str
    model: sr.Model
    reference: Mapping[str, Reference]

    def worst_w1(self, draws: sr.Draws) -> float:
        """Largest Wasserstein-1 distance of any marginal, in sds of the reference."""
        variables = tuple(dict.fromkeys(name.split("[")[0] for name in self.reference))
        scalars = draws.scalars(variables)
        worst = 0.0
        for name, truth in self.reference.items():
            levels = (np.arange(len(truth.quantiles)) + 0.5) / len(truth.quantiles)
            apart = np.abs(np.quantile(scalars[name], levels) - truth.quantiles)
            worst = max(worst, float(apart.mean()) / truth.sd)
        return worst


def load(base: str, form: str = "") -> Posterior:
    """One of the posteriors in `FOLDER`."""
    name = f"{base}_{form}" if form else base
    reference = {}
    with gzip.open(FOLDER / f"{base}.reference.csv.gz", "rt", encoding="utf-8") as file:
        for scalar, sd, *quantiles in csv.reader(file):
            reference[scalar] = Reference(np.array(quantiles, dtype=float), float(sd))
    model = sr.Model(FOLDER / f"{name}.stan", FOLDER / f"{base}.data.json")
    return Posterior(name, model, reference)


@dataclass(frozen=True)
class Run:
    """One fit."""

    w1: float
    gradients: int
    own_seconds: float
    verdict: str
    roots: str


def fitted(posterior: Posterior, method: str, seed: int) -> Run:
    fit = sr.fit(posterior.model, method=method, seed=seed)
    r = fit.result
    roots = ", ".join(root.name for root in r.roots)
    w1 = posterior.worst_w1(fit.draws)
    return Run(w1, r.n_gradients, r.seconds - r.density_seconds, r.verdict.name, roots)


def cell(values: Sequence[float], digits: int) -> str:
    """Median, and the worst in parentheses."""
    return f"{np.median(values):,.{digits}f} ({max(values):,.{digits}f})"


def words(values: Sequence[str]) -> str:
    """Each word with how often it is there; nothing where all are empty."""
    return ", ".join(f"{values.count(w)} {w}" for w in dict.fromkeys(values) if w)


def row(posterior: Posterior, seeds: Sequence[int], limit: float, budget: int) -> list[str]:
    """Fit with all seeds, beside RoVI with one and the cost of NUTS."""
    runs = [fitted(posterior, "auto", seed) for seed in seeds]
    before = fitted(posterior, "rovi", 0)
    nuts = sr.nuts(posterior.model, engine="stanli", chains=4, seed=1)
    median = float(np.median([r.gradients for r in runs]))
    allowed = nuts.n_gradients / 20 if budget == 0 else budget
    w1 = [r.w1 for r in runs]
    reached = "yes" if np.median(w1) <= limit and median <= allowed else "**no**"
    line = [
        posterior.name,
        str(posterior.model.dim),
        cell(w1, 3),
        cell([r.gradients for r in runs], 0),
        f"{nuts.n_gradients / median:,.0f}",
        f"W1 {limit:g}, gradients {allowed:,.0f}",
        reached,
        words([r.verdict for r in runs]),
        words([r.roots for r in runs]),
        f"{before.w1:.3f}, {before.gradients:,}",
        f"{runs[0].own_seconds / before.own_seconds:.1f}",
    ]
    print(" | ".join(line), flush=True)
    return line


COLUMNS = (
    "posterior", "d", "worst W1", "gradients", "NUTS / fit", "goal", "reached", "verdicts",
    "roots", "rovi: W1, gradients", "own time / rovi",
)  # fmt: skip


def stan_table() -> str:
    rows = []
    for base in PAIRS:
        rows += [row(load(base, form), SEEDS, 0.10, 0) for form in FORMS]
    for base in LOGITS:
        rows += [row(load(base, form), MANY_SEEDS, 0.10, 0) for form in FORMS]
    rows += [row(load(base, form), SEEDS, 0.10, 0) for base, form in SEVERAL]
    rows += [row(load(base), SEEDS, 0.12, 30_000) for base in OTHERS]
    return markdown(COLUMNS, rows)


# W1 and gradients that were asked of the posteriors with reference draws; for the others what
# docs/results/accuracy.md shows of rovi, and 1.05 times its gradients.
ASKED: Mapping[str, tuple[float, int]] = {
    "eight_schools_centered": (0.05, 3000),
    "eight_schools_noncentered": (0.04, 3000),
    "garch11": (0.05, 2227),
    "arK": (0.044, 1517),
    "gp_regr": (0.021, 1130),
    "kidscore_interaction": (0.024, 1502),
    "logmesquite": (0.041, 2538),
    "lotka_volterra": (0.041, 3123),
    "low_dim_gauss_mix": (0.028, 1588),
}


def single_mode_table() -> str:
    rows = []
    for name in SINGLE_MODE:
        posterior, (limit, budget) = load_single_mode(name), ASKED[name]
        fits = [sr.fit(posterior.model, seed=seed) for seed in SEEDS]
        w1 = [posterior.worst_w1(fit.draws) for fit in fits]
        gradients = [fit.result.n_gradients for fit in fits]
        reached = np.median(w1) <= limit + 5e-4 and np.median(gradients) <= budget
        roots = words([", ".join(root.name for root in fit.result.roots) for fit in fits])
        rows.append([
            name, str(posterior.model.dim), cell(w1, 3), cell(gradients, 0),
            f"W1 {limit:g}, gradients {budget:,}", "yes" if reached else "**no**",
            words([fit.result.verdict.name for fit in fits]), roots,
        ])  # fmt: skip
        print(" | ".join(rows[-1]), flush=True)
    head = ("posterior", "d", "worst W1", "gradients", "goal", "reached", "verdicts", "roots")
    return markdown(head, rows)


def exact_cases() -> Mapping[str, tuple[Callable[[], Density], float]]:
    """Shapes with the KL that was asked."""
    return {
        "Neal's funnel, 9 leaves": (lambda: funnel(9), 0.01),
        "Neal's funnel, 100 leaves": (lambda: funnel(100), 0.01),
        "funnel, 9 correlated leaves": (lambda: funnel(9, correlated=True), 0.01),
        "banana": (lambda: banana(), 0.05),
        "ring": (lambda: ring(), 0.1),
    }


def exact_table() -> str:
    rows = []
    for name, (build, limit) in exact_cases().items():
        results = [fit_density(build(), "auto", seed=seed, pareto_k=psis_khat) for seed in SEEDS]
        kl, verdicts = [-r.elbo for r in results], [r.verdict.name for r in results]
        fine = [k <= limit or v != "ok" for k, v in zip(kl, verdicts, strict=True)]
        rows.append([
            name, str(results[0].dim), f"{np.median(kl):.4f} ({max(kl):.4f})",
            cell([r.n_gradients for r in results], 0), f"{limit:g}, or not ok",
            "yes" if all(fine) else "**no**", words(verdicts),
        ])  # fmt: skip
        print(" | ".join(rows[-1]), flush=True)
    head = ("target", "d", "KL (nats)", "gradients", "goal", "reached", "verdicts")
    return markdown(head, rows)


TEXT = """# Hierarchies

Written by `python benchmarks/hierarchies.py`, which measures everything below.

The default method (`auto`) with its defaults, seeds {first} to {last} (0 to 9 for the logits); no
run is left out. A cell shows the median over the seeds and, in parentheses, the worst. W1 is the
Wasserstein-1 distance of the worst marginal to a long reference run, in its standard deviations,
from 4000 draws; two such references differ by about 0.02. Gradients include search, draws and
checks. NUTS is Stan's, of the embedded engine, 4 chains of
1000 + 1000. "rovi" is what the default was before, seed 0; so is the time that is set against its
own. Programs, data and references:
[benchmarks/hierarchies](../../benchmarks/hierarchies/README.md).

{stan}

`roots` are the parameters that the fit found to rule the spread of others
([mathematics](../explanation/mathematics.md#conditional-families)).

## The posteriors of accuracy.md, by the default method

Goals of the posteriors without a funnel: what [accuracy.md](accuracy.md) shows of `rovi`, and
1.05 times its gradients.

{single}

## Exact shapes

Their densities are normalised, so KL is minus the ELBO on 4000 fresh draws.

{exact}

## What it cannot do

- **Many roots.** Nodes cover the space of a few roots. Where every coefficient has a scale of its
  own (a horseshoe), or many parameters rule others a little (discriminations of a two-parameter
  item response model), the fit is RoVI's, its message says why, and the verdict what it is worth.
- **Roots that are no parameters.** A funnel turned out of the coordinates is found by neither test.
- **Rings**, and other shapes that no root unbends. The verdict is not `ok`.
- **Leaves with several modes** given the roots: each node is one Laplace approximation.
"""


def main() -> None:
    text = TEXT.format(
        first=min(SEEDS), last=max(SEEDS), stan=stan_table(), single=single_mode_table(),
        exact=exact_table(),
    )  # fmt: skip
    OUTPUT.write_text(text, encoding="utf-8")
    print(f"Wrote {OUTPUT}")


if __name__ == "__main__":
    main()
