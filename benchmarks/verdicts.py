"""Is a verdict right? Every method on targets of exact truth; writes docs/results/verdicts.md.

    python benchmarks/verdicts.py

Takes about half an hour on two processors. With ``--variant N`` the same is done for targets of
the same kinds with other dimensions, strengths and random axes, and printed.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from exact import Case, cases
from tables import markdown

from stanrovi.determinism import one_blas_thread
from stanrovi.diagnostics.statistics import psis_khat
from stanrovi.methods import Method
from stanrovi.scalars import Scalars
from stanrovi.target import Array
from stanrovi.vi.methods.driver import fit_density

OUTPUT = Path(__file__).parents[1] / "docs" / "results" / "verdicts.md"
METHODS: tuple[Method, ...] = ("auto", "rovi", "structured", "mfvi", "gaussian")
SEEDS = range(5)
N_DRAWS = 4000
# What counts as a bad fit.
WORST_W1, WORST_WEIGHT = 0.10, 0.03


@dataclass(frozen=True)
class Row:
    """One fit: how wrong it is, and what it says of itself.

    Attributes
    ----------
    case, kind, method, verdict, reason : str
    seed : int
    w1 : float
        Worst constrained marginal beyond the noise of the draws, sds.
    weight : float
        Worst error of a mode's weight.
    lacks : bool
        Whether a mode of weight 0.02 or more is missing.
    estimated : float
        Largest error of a marginal by the fit's own estimate.
    gradients, checks : int
        Of the fit, and of its checks.
    own, own_checks : float
        Seconds outside the density of the fit and of its checks.
    """

    case: str
    kind: str
    method: str
    seed: int
    verdict: str
    reason: str
    w1: float
    weight: float
    lacks: bool
    estimated: float
    gradients: int
    checks: int
    own: float
    own_checks: float

    @property
    def bad(self) -> bool:
        """Whether anything is wrong with it."""
        return self.w1 > WORST_W1 or self.weight > WORST_WEIGHT or self.lacks

    @property
    def ok(self) -> bool:
        """Whether it calls itself so."""
        return self.verdict == "ok"


@cache
def _suite(variant: int) -> list[Case]:
    return cases(variant)


@cache
def _noise(variant: int, number: int) -> Array:
    return _suite(variant)[number].noise(N_DRAWS)


def row(variant: int, number: int, method: Method, seed: int) -> Row:
    case = _suite(variant)[number]
    width = case.constrain(np.zeros((2, case.density.dim))).shape[1]
    scalars = Scalars(tuple(f"q[{i + 1}]" for i in range(width)), case.constrain)
    with np.errstate(all="ignore"):
        result = fit_density(
            case.density, method, seed=seed, n_draws=N_DRAWS, pareto_k=psis_khat, scalars=scalars
        )
        excess = case.errors(result.draws) - _noise(variant, number)
    stages = result.seconds_by_stage
    judging = stages["draws"] + stages["checks"]
    spent = result.gradients_by_stage
    extra = (spent["draws"] + spent["checks"]) / result.n_gradients * result.density_seconds
    return Row(
        case=case.name,
        kind=case.kind,
        method=method,
        seed=seed,
        verdict=result.verdict.name,
        reason=result.verdict.reasons[0],
        w1=float(excess.max()),
        weight=case.weight_error(result.draws),
        lacks=case.lacks_a_mode(result.draws),
        estimated=float(np.nanmax(result.errors.error)),
        gradients=result.n_fit_gradients,
        checks=spent["draws"] + spent["checks"],
        own=result.seconds - judging - (result.density_seconds - extra),
        own_checks=max(judging - extra, 0.0),
    )


def rows(variant: int, seeds: Sequence[int]) -> list[Row]:
    """All fits, largest targets first."""
    dims = [case.density.dim for case in _suite(variant)]
    order = np.argsort(dims)[::-1]
    jobs = [(variant, int(i), m, s) for i in order for m in METHODS for s in seeds]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(_row, jobs, chunksize=5))
    return sorted(found, key=lambda r: (r.case, METHODS.index(r.method), r.seed))  # type: ignore[arg-type]


def _row(job: tuple[int, int, Method, int]) -> Row:
    with one_blas_thread():
        return row(*job)


def confusion(found: Sequence[Row], key: Callable[[Row], str], head: str) -> str:
    """Count good and bad fits by verdict, a line for each value of a key."""
    lines = []
    for value in [*dict.fromkeys(key(r) for r in found), ""]:
        part = [r for r in found if not value or key(r) == value]
        good, bad = [r for r in part if not r.bad], [r for r in part if r.bad]
        false_ok, alarms = [r for r in bad if r.ok], [r for r in good if not r.ok]
        lines.append(
            (
                value or "all",
                len(good) - len(alarms),
                f"{len(alarms)} ({_share(len(alarms), len(good))})",
                len(bad) - len(false_ok),
                f"{len(false_ok)} ({_share(len(false_ok), len(bad))})",
            )
        )
    columns = (head, "good, ok", "good, not ok", "bad, not ok", "bad, ok")
    return markdown(columns, lines)


def _share(count: int, total: int) -> str:
    return f"{count / total:.1%}" if total else "-"


def false_ok_table(found: Sequence[Row]) -> str:
    wrong = [r for r in found if r.bad and r.ok]
    if not wrong:
        return "None."
    lines = [
        (r.case, r.method, r.seed, f"{r.w1:.2f}", f"{r.estimated:.2f}", f"{r.weight:.2f}")
        for r in wrong
    ]
    columns = ("target", "method", "seed", "W1 beyond noise", "estimated", "weight error")
    return markdown(columns, lines)


def alarm_table(found: Sequence[Row]) -> str:
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for r in found:
        if not r.bad and not r.ok:
            why = "unconverged" if "did not converge" in r.reason else "shape or weights"
            groups.setdefault((r.case, r.method, why), []).append(r)
    lines = [
        (*key, len(part), f"{min(r.w1 for r in part):.2f} to {max(r.w1 for r in part):.2f}")
        for key, part in groups.items()
    ]
    return markdown(("target", "method", "reason", "runs", "W1 beyond noise"), lines)


def cost_table(found: Sequence[Row]) -> str:
    lines = []
    for method in (*METHODS, "all"):
        part = [r for r in found if method in (r.method, "all")]
        lines.append(
            (
                method,
                f"{np.median([r.gradients for r in part]):,.0f}",
                f"{np.median([r.checks for r in part]):,.0f}",
                f"{sum(r.own_checks for r in part) / sum(r.own for r in part):.2f}",
            )
        )
    columns = ("method", "gradients, fit", "gradients, checks", "own time, checks over fit")
    return markdown(columns, lines)


TEXT = """# Is a verdict right?

Made by `python benchmarks/verdicts.py`: {n_cases} targets whose truth is known exactly
([benchmarks/exact.py](../../benchmarks/exact.py)), five methods with their defaults,
seeds {first} to {last}, {n_fits:,} fits, none left out.

A fit is *bad* if a constrained marginal of its {n_draws:,} draws is further than {w1:g} standard
deviations (Wasserstein-1) from the truth, beyond what as many independent draws show on average; or
if the weight of a mode is off by more than {weight:g}; or if a mode of weight 0.02 or more is
missing. Where a distribution has no variance, W1 is that of the central 99%, in robust standard
deviations. The verdict is the fit's own, made without any reference. Its limits were chosen on
another draw of the suite (`--variant 1`: other dimensions, strengths and random axes), and checked
on a third.

## Verdicts

{by_method}

By kind of target:

{by_kind}

## Every false "ok"

{false_ok}

## False alarms

An unconverged fit is never "ok", so some good fits are among these.

{alarms}

## Cost

Checks are what is spent to judge a fit, at its draws and beyond. "Own" is what is spent outside
the log density; the last column is a ratio of sums over all fits.

{cost}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--variant", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=len(SEEDS))
    options = parser.parse_args()
    seeds = range(options.seeds)
    found = rows(options.variant, seeds)
    text = TEXT.format(
        n_cases=len(_suite(options.variant)),
        first=min(seeds),
        last=max(seeds),
        n_fits=len(found),
        n_draws=N_DRAWS,
        w1=WORST_W1,
        weight=WORST_WEIGHT,
        by_method=confusion(found, lambda r: r.method, "method"),
        by_kind=confusion(sorted(found, key=lambda r: r.kind), lambda r: r.kind, "kind"),
        false_ok=false_ok_table(found),
        alarms=alarm_table(found),
        cost=cost_table(found),
    )
    print(Counter(r.verdict for r in found))
    if options.variant or options.seeds != len(SEEDS):
        print(text)
    else:
        OUTPUT.write_text(text, encoding="utf-8")
        print(f"Wrote {OUTPUT}")


if __name__ == "__main__":
    main()
