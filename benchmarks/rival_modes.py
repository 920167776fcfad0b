"""Rivals on several modes whose masses are known: a part of `rivals`.

Normal mixtures of `targets` and `exact` in closed form, and a posterior whose labels switch. The
embedded Pathfinder runs on Stan programs, so mixtures are written as one, from their components.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import exact
import numpy as np
import targets
from exact import Case
from multi_start import Starts, from_starts
from pathfinder import multi_path
from tables import markdown

import stanrovi as sr
from stanrovi.densities import MixtureDensity
from stanrovi.diagnostics.statistics import psis_khat
from stanrovi.errors import StanroviError
from stanrovi.methods import Method
from stanrovi.target import Array, LogDensity
from stanrovi.vi.methods.driver import fit_density

N_DRAWS = 4000
SEEDS = range(3)
# Up to which an answer is right: W1 in sds, error of a mode's mass.
GOOD, GOOD_MASS = 0.15, 0.03
PROGRAM = """
data {
  int D, K;
  vector[K] log_weight;
  array[K] vector[D] mean;
  array[K] matrix[D, D] factor;
}
parameters { vector[D] x; }
model {
  vector[K] parts;
  for (k in 1 : K)
    parts[k] = log_weight[k] + multi_normal_cholesky_lpdf(x | mean[k], factor[k]);
  target += log_sum_exp(parts);
}
"""


@dataclass(frozen=True)
class Run:
    """One method, one target, one seed; infinite errors if it failed."""

    target: str
    kind: str
    method: str
    seed: int
    w1: float = np.inf
    mass: float = np.inf
    gradients: float = np.nan

    @property
    def right(self) -> bool:
        """Whether every marginal and every mass is near the truth."""
        return self.w1 <= GOOD and self.mass <= GOOD_MASS


class Labels(Case):
    """The bundled posterior of two normals whose labels switch.

    Its truth is NUTS, each draw under both labellings.
    """

    def weight_error(self, x: Array) -> float:
        """Error of the share of either labelling at draws x (n, dim)."""
        return abs(float((x[:, 0] < x[:, 1]).mean()) - 0.5)


def labels() -> Labels:
    model = sr.Model("label_switching")
    run = sr.nuts(model, engine="stanli", chains=4, iter_sampling=5000, seed=1)
    parameters = {name: v.reshape(-1, *v.shape[2:]) for name, v in run.draws.posterior.items()}
    mirrored = {"mu": parameters["mu"][:, ::-1], "sigma": parameters["sigma"][:, ::-1]}
    mirrored["theta"] = 1 - parameters["theta"]
    both = {name: np.concatenate([parameters[name], mirrored[name]]) for name in mirrored}
    x = model.unconstrain_draws(both)
    assert x is not None

    def sample(n: int, rng: np.random.Generator) -> Array:
        return np.asarray(x[rng.integers(len(x), size=n)])

    return Labels("label switching, d = 5", "posterior", model, sample, model.scalars.of)


def _of_density(density: MixtureDensity) -> Case:
    """Take a mixture of normals of `targets`."""
    means, factors = zip(*(normal_of(c, density.dim) for c in density.components), strict=True)
    name = density.name if "apart" in density.name else f"{density.name}, d = {density.dim}"
    return exact.mixture(name, "pair or triangle", list(density.weights), means, factors)


def normal_of(component: LogDensity, dim: int) -> tuple[Array, Array]:
    """Mean, and lower root of the covariance, of a normal: its score is linear."""
    _, score = component(np.concatenate([np.zeros((1, dim)), np.eye(dim)]))
    covariance = np.linalg.inv(score[0] - score[1:])
    return covariance @ score[0], np.linalg.cholesky((covariance + covariance.T) / 2)


def plain_mixtures() -> list[Case]:
    """Take pairs of normals, alike and not, and a triangle, of `targets`."""
    pairs = ((2, 4, 0.3), (2, 8.5, 0.1), (2, 12, 0.5), (10, 8, 0.2), (50, 6, 0.3))
    unlike = [d for d in targets.hard_pairs() if d.name.startswith(("oppo", "overl", "unlike w"))]
    alike = (targets.pair_of_normals(*pair) for pair in pairs)
    return [_of_density(density) for density in (*alike, targets.triangle(), *unlike)]


@cache
def cases() -> list[Case]:
    """Every target here."""
    several = [c for c in exact.cases() if c.mixture is not None and len(c.mixture.weights) > 1]
    return [*plain_mixtures(), *several, labels()]


@cache
def _program(number: int) -> sr.Model:
    return program(cases()[number])


def program(case: Case) -> sr.Model:
    """Write a target as a Stan program."""
    if isinstance(case.density, sr.Model):
        return case.density
    assert case.mixture is not None
    d = case.density.dim
    means, factors = zip(*(normal_of(c, d) for c in case.mixture.components), strict=True)
    data = {
        "D": d,
        "K": len(means),
        "log_weight": np.log(case.mixture.weights),
        "mean": np.array(means),
        "factor": np.array(factors),
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "mixture.stan"
        file.write_text(PROGRAM, encoding="utf-8")
        return sr.Model(file, data)


Answer = tuple[Array, float]


def _fit(method: Method, number: int, seed: int) -> Answer:
    case = cases()[number]
    fit = fit_density(case.density, method, seed=seed, n_draws=N_DRAWS, pareto_k=psis_khat)
    return fit.draws, fit.n_gradients


@cache
def _starts(number: int, seed: int) -> Starts:
    return from_starts(cases()[number].density, seed=seed)


def _multi_start(merged: bool, number: int, seed: int) -> Answer:
    found = _starts(number, seed)
    draws = found.draws(N_DRAWS, np.random.default_rng(seed), merged=merged)
    return draws, found.n_gradients


def _pathfinder(paths: int, number: int, seed: int) -> Answer:
    answer = multi_path(_program(number), seed, paths)
    return answer.x[0], answer.n_gradients


METHODS: dict[str, Callable[[int, int], Answer]] = {
    "stanrovi, auto": partial(_fit, "auto"),
    "stanrovi, mixture": partial(_fit, "mixture"),
    "20 Gaussians, exp(ELBO), all": partial(_multi_start, False),
    "20 Gaussians, exp(ELBO), merged": partial(_multi_start, True),
    "Pathfinder, 4 paths": partial(_pathfinder, 4),
    "Pathfinder, 20 paths": partial(_pathfinder, 20),
}
OURS = tuple(METHODS)[:2]


def runs_on(number: int) -> list[Run]:
    """Every method on a target, with every seed."""
    case, found = cases()[number], []
    for name, method in METHODS.items():
        for seed in SEEDS:
            run = Run(case.name, case.kind, name, seed)
            try:
                with np.errstate(all="ignore"):
                    x, n = method(number, seed)
                    error, mass = float(case.errors(x).max()), case.weight_error(x)
                run = Run(case.name, case.kind, name, seed, error, mass, n)
            except StanroviError as error:
                print(f"  {case.name}, {name}, seed {seed} failed: {error}", flush=True)
            found.append(run)
    print(f"{case.name}: done", flush=True)
    return found


def summary_table(runs: Sequence[Run]) -> str:
    """Make a line for each method, over all targets and seeds."""
    rows = []
    for method in METHODS:
        mine = [r for r in runs if r.method == method]
        rows.append(
            (
                method,
                *_middle_and_worst([r.w1 for r in mine]),
                *_middle_and_worst([r.mass for r in mine]),
                f"{sum(r.right for r in mine)} of {len(mine)}",
                f"{np.nanmedian([r.gradients for r in mine]):,.0f}",
            )
        )
    columns = ("method", "W1, median", "worst", "error of a mass, median", "worst", "runs right",
               "gradients")  # fmt: skip
    return markdown(columns, rows)


def _middle_and_worst(values: Sequence[float]) -> tuple[str, str]:
    worst = max(values)
    return f"{np.median(values):.3f}", f"{worst:.2f}" if np.isfinite(worst) else "fails"


def kind_table(runs: Sequence[Run]) -> str:
    """Count runs that are right: a line for each method, a column for each kind of target."""
    kinds = list(dict.fromkeys(r.kind for r in runs))
    rows = []
    for method in METHODS:
        mine = [[r for r in runs if (r.method, r.kind) == (method, kind)] for kind in kinds]
        rows.append((method, *(f"{sum(r.right for r in part)} of {len(part)}" for part in mine)))
    return markdown(("runs right", *kinds), rows)


def loss_table(runs: Sequence[Run]) -> str:
    """Targets on which `auto` is wrong, or a rival clearly nearer: medians over seeds."""
    rows = []
    for name in dict.fromkeys(r.target for r in runs):
        w1 = {m: _median(runs, name, m, "w1") for m in METHODS}
        mass = {m: _median(runs, name, m, "mass") for m in METHODS}
        mine, rivals = OURS[0], [m for m in METHODS if m not in OURS]
        best = min(rivals, key=lambda m: w1[m])
        if w1[mine] > GOOD or mass[mine] > GOOD_MASS or w1[mine] > w1[best] + 0.02:
            cells = (f"{w1[m]:.2f} ({mass[m]:.2f})" for m in METHODS)
            rows.append((name, *cells))
    return markdown(("W1 (error of a mass)", *METHODS), rows)


def _median(runs: Sequence[Run], target: str, method: str, field: str) -> float:
    mine = [getattr(r, field) for r in runs if (r.target, r.method) == (target, method)]
    return float(np.median(mine))
