"""What each part of a fit earns: parts taken away one by one; writes docs/results/ablations.md.

    python benchmarks/ablations.py

Takes about five minutes on two processors. No part of the package knows of this: a part is taken
away by putting another function in its place for the time of a fit.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest.mock import patch

import exact
import hierarchies
import numpy as np
import references
from rival_modes import plain_mixtures
from tables import markdown
from verdicts import WORST_W1, WORST_WEIGHT

from stanrovi.determinism import one_blas_thread
from stanrovi.diagnostics.statistics import psis_khat
from stanrovi.families.product import Product
from stanrovi.families.rotation import symmetric_root
from stanrovi.methods import Method
from stanrovi.modes.found import SearchResult
from stanrovi.runs.record import constrained, record
from stanrovi.scalars import Scalars
from stanrovi.target import Array
from stanrovi.vi import conditional
from stanrovi.vi.fit_run import FitRun
from stanrovi.vi.gaussian import fit_gaussian
from stanrovi.vi.methods import driver, mixture, rovi
from stanrovi.vi.outcome import Outcome
from stanrovi.vi.pool import Pool
from stanrovi.vi.product import ProductFit, fit_product
from stanrovi.vi.result import FitResult
from stanrovi.vi.settings import FamilySettings
from stanrovi.vi.start import starting_gaussian
from stanrovi.vi.steps import ProductSettings

TEMPLATE = Path(__file__).parent / "ablations.template.md"
OUTPUT = Path(__file__).parents[1] / "docs" / "results" / "ablations.md"
SEEDS = range(3)
N_DRAWS = 4000
MOST_DIM = 12  # of the targets in closed form; so that all takes minutes
# W1 of a posterior, whose reference draws have noise of their own, up to which it is right.
POSTERIOR_W1 = 0.15
FAMILIES = {
    "one": ("tails", "skew", "bounds", "correlated", "regression"),
    "modes": ("pair or triangle", "minor mode", "modes", "symmetric", "needle"),
    "ruled": ("funnel", "banana", "hierarchy"),
}
POSTERIORS = (*references.NAMES, "seeds_centered", "surgical_noncentered")

Replacement = tuple[Any, str, Any]


@dataclass(frozen=True)
class Ablation:
    """A fit without some part.

    Attributes
    ----------
    name : str
    method : str
    replaced : tuple
        Module, name of a function in it, and what takes its place.
    settings : FamilySettings
    probe : bool
        Whether checks may spend gradients on marginals.
    """

    name: str
    method: Method
    replaced: tuple[Replacement, ...] = ()
    settings: FamilySettings = field(default_factory=FamilySettings)
    probe: bool = True

    @contextmanager
    def taken_away(self) -> Iterator[None]:
        """Fit without the part inside the block."""
        with ExitStack() as stack:
            for module, name, other in self.replaced:
                stack.enter_context(patch.object(module, name, other))
            yield


# -- what takes the place of a part ------------------------------------------------------------


def _turned_at_random(gaussian: Product, rng: np.random.Generator) -> Product:
    turn = np.linalg.qr(rng.standard_normal((gaussian.dim, gaussian.dim)))[0]
    return Product.gaussian(gaussian.center, symmetric_root(gaussian.covariance()) @ turn)


def _on_random_axes(moved: bool) -> Callable[[FitRun, SearchResult, FamilySettings], Outcome]:
    """Make RoVI on whitened axes that are turned at random, near one mode."""

    def fit(run: FitRun, search: SearchResult, settings: FamilySettings) -> Outcome:
        gaussian, pool, _ = fit_gaussian(run, starting_gaussian(run, search))
        turned = _turned_at_random(gaussian, run.rng)
        product = ProductSettings("free" if moved else "fixed")
        return fit_product(run, turned, product, pool).outcome()

    return fit


def _unscanned(run: FitRun, family: Product, axis: int, modes: Array) -> Product:
    return family


def _unweighed(family: Product, axis: int, modes: Array, pool: Pool) -> Product:
    return family


def _by_elbo(
    run: FitRun, start: Product, settings: ProductSettings, pool: Pool | None = None
) -> ProductFit:
    return fit_product(run, start, replace(settings, forward=0.0), pool)


_ELBO_ALONE: tuple[Replacement, ...] = (
    (rovi, "fit_product", _by_elbo),
    (mixture, "fit_product", _by_elbo),
    (conditional, "fit_product", _by_elbo),
    (rovi, "weigh_levels", _unweighed),
)


def _instead(fit: Callable[..., Outcome]) -> tuple[Replacement, ...]:
    return ((driver, "_FUNCTIONS", {**driver._FUNCTIONS, "rovi": fit}),)


ABLATIONS = (
    Ablation("nothing: `auto`", "auto"),
    Ablation("expectations under the target: ELBO alone", "auto", _ELBO_ALONE),
    Ablation("the second look for modes", "auto", ((driver, "_REPAIRS", 0),)),
    Ablation("gradients for the checks", "auto", probe=False),
    Ablation("conditional part and mixtures: `rovi`", "rovi"),
    Ablation("... and the search for axes", "rovi", _instead(_on_random_axes(moved=True))),
    Ablation("... and axes: random ones, fixed", "rovi", _instead(_on_random_axes(moved=False))),
    Ablation("... or the scan", "rovi", ((rovi, "scan_axis", _unscanned),)),
    Ablation("... or expectations under the target", "rovi", _ELBO_ALONE),
    Ablation(
        "... or all of it: the paper's plain RoVI",
        "rovi",
        settings=FamilySettings(preconditioner="diagonal"),
    ),
    Ablation("shapes of marginals: `gaussian`", "gaussian"),
    Ablation("rotation: `mfvi`", "mfvi"),
)


# -- runs --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One fit: how wrong, what it cost, what it says of itself."""

    family: str
    target: str
    ablation: str
    seed: int
    w1: float
    mass: float
    gradients: int
    ok: bool

    @property
    def wrong(self) -> bool:
        """Whether a marginal or a mass is wrong."""
        most = POSTERIOR_W1 if self.family == "posteriors" else WORST_W1
        return not (self.w1 <= most and self.mass <= WORST_WEIGHT)


@cache
def _cases() -> dict[str, tuple[str, exact.Case]]:
    """Targets in closed form with the family of each, by name."""
    of_kind = {kind: family for family, kinds in FAMILIES.items() for kind in kinds}
    return {
        case.name: (of_kind[case.kind], case)
        for case in (*plain_mixtures(), *exact.cases())
        if case.kind in of_kind and case.density.dim <= MOST_DIM
    }


@cache
def _noise(name: str) -> Array:
    return _cases()[name][1].noise(N_DRAWS)


@cache
def _posterior(name: str) -> references.Posterior | hierarchies.Posterior:
    return references.load(name) if name in references.NAMES else hierarchies.load(*name.split("_"))


def _fitted(density: Any, ablation: Ablation, seed: int, scalars: Scalars) -> FitResult:
    with ablation.taken_away(), np.errstate(all="ignore"):
        return driver.fit_density(
            density,
            ablation.method,
            seed=seed,
            n_draws=N_DRAWS,
            settings=ablation.settings,
            pareto_k=psis_khat,
            scalars=scalars,
            probe=ablation.probe,
        )


def row(name: str, ablation: Ablation, seed: int) -> Row:
    """One fit of a target."""
    if name in POSTERIORS:
        posterior = _posterior(name)
        model = posterior.model
        found = _fitted(model, ablation, seed, model.scalars)
        values = constrained(model, found.draws[None], seed=seed)
        draws = record(
            model, "fit", values, engine=model.engine, seed=seed, sample_stats={}, attrs={}
        )
        family, w1, mass = "posteriors", posterior.worst_w1(draws), 0.0
    else:
        family, case = _cases()[name]
        width = case.constrain(np.zeros((2, case.density.dim))).shape[1]
        scalars = Scalars(tuple(f"q[{i + 1}]" for i in range(width)), case.constrain)
        found = _fitted(case.density, ablation, seed, scalars)
        w1 = max(float((case.errors(found.draws) - _noise(name)).max()), 0.0)
        mass = case.weight_error(found.draws)
    ok = found.verdict.name == "ok"
    return Row(family, name, ablation.name, seed, w1, mass, found.n_gradients, ok)


def rows_on(name: str) -> list[Row]:
    """Every ablation of a target, with every seed."""
    with one_blas_thread():
        found = [row(name, ablation, seed) for ablation in ABLATIONS for seed in SEEDS]
    print(f"{name}: done", flush=True)
    return found


# -- the page ----------------------------------------------------------------------------------


def table(rows: Sequence[Row], *, masses: bool) -> str:
    """Make a line for each ablation: over all targets of a family, and seeds."""
    lines = []
    for ablation in ABLATIONS:
        mine = [r for r in rows if r.ablation == ablation.name]
        wrong = [r for r in mine if r.wrong]
        w1, mass = np.array([r.w1 for r in mine]), np.array([r.mass for r in mine])
        cells = [ablation.name, f"{np.median(w1):.3f}", f"{w1.max():.2f}"]
        cells += [f"{np.median(mass):.3f}", f"{mass.max():.2f}"] if masses else []
        cells += [f"{np.median([r.gradients for r in mine]):,.0f}"]
        cells += [f"{len(wrong)} of {len(mine)}", str(sum(r.ok for r in wrong))]
        right = [r for r in mine if not r.wrong]
        lines.append([*cells, f"{sum(not r.ok for r in right)} of {len(right)}"])
    columns = ["without", "W1, median", "worst"]
    columns += ["error of a mass, median", "worst"] if masses else []
    columns += ["gradients", "wrong runs", "of these ok", "right runs not ok"]
    return markdown(columns, lines)


def write(rows: Sequence[Row]) -> None:
    """Write the page."""
    of = {family: [r for r in rows if r.family == family] for family in (*FAMILIES, "posteriors")}
    counts = {f"n_{family}": len({r.target for r in mine}) for family, mine in of.items()}
    text = TEMPLATE.read_text(encoding="utf-8").format(
        version=version("stanrovi"),
        last=max(SEEDS),
        n_draws=N_DRAWS,
        most_dim=MOST_DIM,
        w1=WORST_W1,
        posterior_w1=POSTERIOR_W1,
        mass=WORST_WEIGHT,
        **{family: table(mine, masses=family == "modes") for family, mine in of.items()},
        **counts,
    )
    OUTPUT.write_text(text, encoding="utf-8")
    print(f"Wrote {OUTPUT}")


def main() -> None:
    names = [*POSTERIORS, *_cases()]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        write([r for some in pool.map(rows_on, names) for r in some])


if __name__ == "__main__":
    main()
