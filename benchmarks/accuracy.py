"""Accuracy and cost on posteriors with reference draws; writes docs/results/accuracy.md.

    python benchmarks/accuracy.py

Takes about six minutes, most of them NUTS. Run it on a quiet machine: it also measures time.
Where a CmdStan executable is at hand (the prophet wheel's, or a CmdStan install for the rest),
ADVI and Pathfinder stand beside the fits.
"""

from __future__ import annotations

import importlib.util
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from references import NAMES, Posterior, load
from tables import markdown
from targets import gaussian

import stanrovi as sr
from stanrovi.diagnostics.statistics import psis_khat
from stanrovi.errors import StanroviError
from stanrovi.runs.cmdstan_vi import cmdstan_vi
from stanrovi.runs.laplace import laplace_draws
from stanrovi.stan.cmdstan import cmdstan_folder
from stanrovi.vi.methods.driver import fit_density

OUTPUT = Path(__file__).parents[1] / "docs" / "results" / "accuracy.md"
SEEDS = range(5)
N_DRAWS = 4000
FITS = ("gaussian", "mfvi", "rovi")
METHODS = ("laplace", *FITS, "nuts")
CMDSTAN = ("meanfield", "fullrank", "pathfinder")
TIGHT = (
    "arK",
    "kidscore_interaction",
    "logmesquite",
    "low_dim_gauss_mix",
    "gp_regr",
    "lotka_volterra",
)
LOOSE = ("garch11", "eight_schools_noncentered")


@dataclass(frozen=True)
class Run:
    """One method, one posterior, one seed; NaN for what it does not tell or a failed run."""

    posterior: str
    method: str
    seed: int
    w1: float = np.nan
    gradients: float = np.nan
    seconds: float = np.nan
    own_seconds: float = np.nan
    verdict: str = ""


class Runs(list[Run]):
    """All runs, none left out."""

    def values(self, posterior: str, method: str, field: str) -> np.ndarray:
        """One number of each seed."""
        mine = [r for r in self if (r.posterior, r.method) == (posterior, method)]
        return np.array([getattr(r, field) for r in mine])

    def median(self, posterior: str, method: str, field: str) -> float:
        """Median over seeds; a failed run counts as infinitely bad."""
        return float(np.median(np.nan_to_num(self.values(posterior, method, field), nan=np.inf)))

    def cell(self, posterior: str, method: str, field: str, digits: int) -> str:
        """Median, and the worst seed in parentheses."""
        values = self.values(posterior, method, field)
        if not len(values):
            return ""
        if np.isnan(values).all():
            return "fails"
        failed = int(np.isnan(values).sum())
        note = f", {failed} fail" if failed else ""
        return f"{np.nanmedian(values):,.{digits}f} ({np.nanmax(values):,.{digits}f}{note})"


def one_run(posterior: Posterior, method: str, seed: int, exe: Path | None) -> Run:
    try:
        return _measured(posterior, method, seed, exe)
    except StanroviError as error:
        print(f"  {posterior.name}, {method}, seed {seed} failed: {error}")
        return Run(posterior.name, method, seed)


def _measured(posterior: Posterior, method: str, seed: int, exe: Path | None) -> Run:
    def run(draws: sr.Draws, gradients: float, seconds: float, **rest: object) -> Run:
        w1 = posterior.worst_w1(draws)
        return Run(posterior.name, method, seed, w1, gradients, seconds, **rest)  # type: ignore[arg-type]

    if method == "nuts":
        nuts = sr.nuts(posterior.model, engine="stanli", chains=4, seed=seed)
        return run(nuts.draws, nuts.n_gradients, nuts.seconds)
    if method == "laplace":
        draws = laplace_draws(posterior.model, seed=seed, draws=N_DRAWS)
        return run(draws, float(draws.attrs["n_gradients"]), float(draws.attrs["seconds"]))
    if method in CMDSTAN:
        draws = cmdstan_vi(posterior.model, method, seed=seed, draws=N_DRAWS, exe=exe)
        return run(draws, np.nan, float(draws.attrs["seconds"]))
    fit = sr.fit(posterior.model, method=method, seed=seed, draws=N_DRAWS)
    r = fit.result
    own = r.seconds - r.density_seconds
    return run(fit.draws, r.n_gradients, r.seconds, own_seconds=own, verdict=r.verdict.name)


def all_runs(posteriors: Iterable[Posterior], exe: Path | None, with_cmdstan: bool) -> Runs:
    methods = (*METHODS, *(CMDSTAN if with_cmdstan else ()))
    runs = Runs()
    for posterior in posteriors:
        sr.fit(posterior.model, method="rovi", seed=99)  # imports and caches, not timed
        for method in methods:
            runs += [one_run(posterior, method, seed, exe) for seed in SEEDS]
            done = runs.cell(posterior.name, method, "w1", 3)
            print(f"{posterior.name}, {method}: {done}", flush=True)
    return runs


def accuracy_table(runs: Runs, posteriors: Sequence[Posterior], methods: Sequence[str]) -> str:
    rows = [
        (
            p.name,
            p.model.dim,
            f"{p.noise():.3f}",
            *(runs.cell(p.name, m, "w1", 3) for m in methods),
            _verdicts(runs, p.name),
        )
        for p in posteriors
    ]
    return markdown(("posterior", "d", "noise", *methods, "verdicts on rovi"), rows)


def _verdicts(runs: Runs, name: str) -> str:
    words = [r.verdict for r in runs if (r.posterior, r.method) == (name, "rovi")]
    return ", ".join(f"{words.count(w)} {w or 'failed'}" for w in dict.fromkeys(words))


def cost_table(runs: Runs, posteriors: Sequence[Posterior]) -> str:
    rows = []
    for p in posteriors:
        ratio = runs.median(p.name, "nuts", "gradients") / runs.median(p.name, "rovi", "gradients")
        counts = (runs.cell(p.name, m, "gradients", 0) for m in METHODS)
        rows.append((p.name, *counts, f"{ratio:,.0f}"))
    return markdown(("posterior", *METHODS, "nuts / rovi"), rows)


def time_table(runs: Runs, posteriors: Sequence[Posterior]) -> str:
    rows = []
    for p in posteriors:
        own = (runs.cell(p.name, m, "own_seconds", 2) for m in FITS)
        wall = (runs.cell(p.name, m, "seconds", 2) for m in (*FITS, "nuts"))
        rows.append((p.name, *own, *wall))
    head = ("posterior", *(f"{m}, own" for m in FITS), *(f"{m}, all" for m in (*FITS, "nuts")))
    return markdown(head, rows)


def goals_table(runs: Runs) -> str:
    """Set what was asked beside what was reached."""
    checks: list[tuple[str, str, bool]] = []

    def check(text: str, values: dict[str, float], limit: float, digits: int) -> None:
        worst = max(values, key=lambda name: values[name])
        reached = f"{values[worst]:,.{digits}f} ({worst})"
        checks.append((f"{text} at most {limit:,g}", reached, values[worst] <= limit))

    def medians(names: Sequence[str], method: str, field: str) -> dict[str, float]:
        return {name: runs.median(name, method, field) for name in names}

    check("rovi, W1 on six posteriors", medians(TIGHT, "rovi", "w1"), 0.06, 3)
    check("rovi, W1 on garch11 and eight schools", medians(LOOSE, "rovi", "w1"), 0.1, 3)
    check("gaussian, W1 on six posteriors", medians(TIGHT, "gaussian", "w1"), 0.1, 3)
    for method, limit in (("gaussian", 1000), ("rovi", 3000)):
        counts = medians((*TIGHT, *LOOSE), method, "gradients")
        middle = {"median of the eight": float(np.median(list(counts.values())))}
        check(f"{method}, gradients", middle, limit, 0)
    own = medians((*TIGHT, *LOOSE), "rovi", "own_seconds")
    check("rovi, own seconds", own, 0.15, 2)
    rows = [(text, reached, "yes" if ok else "**no**") for text, reached, ok in checks]
    return markdown(("goal (medians over seeds)", "worst", "reached"), rows)


def gaussian_table() -> str:
    """Fit the Gaussian in 200 dimensions; KL from the ELBO, its density being normalised."""
    density = gaussian(200, 1e4)
    rows = []
    for method in ("gaussian", "rovi"):
        results = [
            fit_density(density, method, seed=seed, n_draws=N_DRAWS, pareto_k=psis_khat)
            for seed in SEEDS
        ]
        kl, gradients, seconds = (
            np.array([f(r) for r in results])
            for f in (lambda r: -r.elbo, lambda r: r.n_gradients, lambda r: r.seconds)
        )
        rows.append(
            (
                method,
                f"{np.median(kl):.4f} ({kl.max():.4f})",
                f"{np.median(gradients):,.0f} ({gradients.max():,.0f})",
                f"{np.median(seconds):.2f} ({seconds.max():.2f})",
            )
        )
        print(f"Gaussian, d = 200, {method}: KL {rows[-1][1]}", flush=True)
    return markdown(("method", "KL (nats)", "gradients", "seconds"), rows)


def prophet() -> tuple[Posterior, Path] | None:
    """Prophet's program on simulated days, and its CmdStan executable, where installed."""
    spec = importlib.util.find_spec("prophet")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "stan_model"
    exe = folder / "prophet_model.bin"
    if not exe.is_file():
        return None
    model = sr.Model(folder / "prophet.stan", _prophet_data())
    long = sr.nuts(model, exe=exe, chains=4, iter_sampling=5000, seed=1, adapt_delta=0.95).draws
    reference = {name: v[:, ::2].ravel() for name, v in long.scalars().items()}
    return Posterior("prophet", model, reference), exe


def _prophet_data() -> dict[str, object]:
    """Two hundred days with a bend in the trend and a weekly season."""
    rng = np.random.default_rng(5)
    n_days, n_bends = 200, 5
    t = np.linspace(0.0, 1.0, n_days)
    angle = 2 * np.pi * np.arange(n_days) / 7
    season = np.column_stack([np.sin(angle), np.cos(angle)])
    trend = 0.3 + 0.8 * t - 0.5 * np.clip(t - 0.5, 0, None)
    y = trend + season @ [0.15, -0.1] + rng.normal(0, 0.08, n_days)
    return {
        "T": n_days, "K": 2, "S": n_bends, "t": t, "cap": np.zeros(n_days), "y": y,
        "t_change": np.linspace(0.0, 0.8, n_bends + 1)[1:], "X": season,
        "sigmas": np.full(2, 10.0), "tau": 0.05, "trend_indicator": 0,
        "s_a": np.ones(2), "s_m": np.zeros(2),
    }  # fmt: skip


def cmdstan_table(runs: Runs, posterior: Posterior) -> str:
    rows = [
        (
            method if method not in CMDSTAN else f"CmdStan {method}",
            runs.cell(posterior.name, method, "w1", 3),
            "not told" if method in CMDSTAN else runs.cell(posterior.name, method, "gradients", 0),
            runs.cell(posterior.name, method, "seconds", 2),
        )
        for method in (*METHODS, *CMDSTAN)
    ]
    return markdown(("method", "worst W1", "gradients", "seconds"), rows)


TEXT = """# Accuracy and cost on posteriors with one mode

Written by `python benchmarks/accuracy.py`, which measures everything below.

Every method runs with its defaults and seeds {first} to {last}; no run is left out. A cell shows
the median over the seeds and, in parentheses, the worst seed. W1 is the Wasserstein-1 distance of
the worst marginal to reference draws (10 independent long NUTS chains, see
[benchmarks/posteriors](../../benchmarks/posteriors/README.md)), in standard deviations of the
reference, from {n_draws} draws. "Noise" is what {n_draws} random draws of the reference itself
show; fits draw quasi-randomly and can be nearer. NUTS is Stan's, of the embedded engine, with 4
chains of 1000 + 1000 iterations.

## Goals

{goals}

## Worst-marginal W1

{accuracy}

The verdict is rovi's own, made without any reference. `eight_schools_centered` has no goal: its
posterior is a funnel, which a product on linear axes cannot hold, and the verdict says so.

## Gradients

Mode search, draws and the checks of the verdict included; for NUTS, warm-up included.

{cost}

## Seconds

"Own" is everything outside the log density, "all" the whole fit. One process on {cores}
processors ({machine}), whose load average was {load:.1f} before it began.

{time}

## A Gaussian in 200 dimensions

Random axes, variances from 0.01 to 100 (condition number 10,000). The density is normalised, so
KL is minus the ELBO on {n_draws} fresh draws. Goal: KL below 0.01 d = 2 with at most 20,000
gradients.

{gaussian}
"""

CMDSTAN_TEXT = """
## Beside CmdStan's variational methods

The program of the forecasting package prophet, whose wheel brings a CmdStan executable, on 200
simulated days (d = {dim}). Reference: CmdStan's NUTS, 4 chains of 5000 iterations, every other
draw (noise {noise}). CmdStan does not tell how many gradients ADVI and Pathfinder take; its
seconds include starting a process and writing and reading files.

{table}
"""


def main() -> None:
    load_average = os.getloadavg()[0]
    posteriors = [load(name) for name in NAMES]
    everywhere = cmdstan_folder() is not None
    runs = all_runs(posteriors, None, with_cmdstan=everywhere)
    methods = (*METHODS, *(CMDSTAN if everywhere else ()))
    text = TEXT.format(
        first=min(SEEDS),
        last=max(SEEDS),
        n_draws=N_DRAWS,
        goals=goals_table(runs),
        accuracy=accuracy_table(runs, posteriors, methods),
        cost=cost_table(runs, posteriors),
        time=time_table(runs, posteriors),
        gaussian=gaussian_table(),
        cores=os.cpu_count(),
        machine=platform.machine(),
        load=load_average,
    )
    found = prophet()
    if found is not None:
        posterior, exe = found
        beside = all_runs([posterior], exe, with_cmdstan=True)
        text += CMDSTAN_TEXT.format(
            dim=posterior.model.dim,
            noise=f"{posterior.noise():.3f}",
            table=cmdstan_table(beside, posterior),
        )
    OUTPUT.write_text(text, encoding="utf-8")
    print(f"Wrote {OUTPUT}")


if __name__ == "__main__":
    main()
