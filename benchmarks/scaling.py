"""Cost and accuracy by dimension, beside NUTS; writes docs/results/scaling.md and its picture.

    python benchmarks/scaling.py

Takes about half an hour. Every run is a process of its own, whose peak memory is told.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from memory import peak_memory
from tables import markdown

import stanrovi as sr
from stanrovi.target import Array

HERE = Path(__file__).parent
OUTPUT = HERE.parent / "docs" / "results" / "scaling.md"
PICTURE = HERE.parent / "docs" / "images" / "scaling.png"
DIMENSIONS = (10, 30, 100, 300, 1000, 3000, 10000)
MOST_OF_NUTS = {"horseshoe": 1000}  # dimensions in which it takes less than an hour
SEED = 1


@dataclass(frozen=True)
class Case:
    """A kind of posterior in any number of dimensions."""

    title: str
    data: Callable[[int, np.random.Generator], dict[str, object]]
    method: str = "auto"


def factor(d: int, rng: np.random.Generator) -> dict[str, object]:
    """Give five factors about half the variance."""
    r = min(5, d // 2)
    psi = np.exp(rng.standard_normal(d))
    loadings = 0.7 * rng.standard_normal((d, r)) / np.sqrt(psi)[:, None]
    inner = np.linalg.inv(np.eye(r) + loadings.T @ (loadings * psi[:, None]))
    mu = 3 * rng.standard_normal(d)
    return {"d": d, "r": r, "mu": mu, "psi": psi, "loadings": loadings, "inner": inner}


def hierarchy(d: int, rng: np.random.Generator) -> dict[str, object]:
    """Put five observations in each group, with five covariates."""
    k = min(5, d - 6)
    groups = d - k - 3
    group = np.repeat(np.arange(groups), 5)
    x, beta = rng.standard_normal((5 * groups, k)), rng.standard_normal(k)
    y = 1 + 0.7 * rng.standard_normal(groups)[group] + x @ beta
    y += rng.standard_normal(len(y))
    sizes: dict[str, object] = {"n": len(y), "groups": groups, "k": k}
    return {**sizes, "group": group + 1, "x": x, "y": y}


def horseshoe(d: int, rng: np.random.Generator) -> dict[str, object]:
    """Let five predictors matter to two hundred observations."""
    n, p = 200, (d - 2) // 2
    x, beta = rng.standard_normal((n, p)), np.zeros(p)
    beta[:5] = 2 * rng.standard_normal(len(beta[:5]))
    y = rng.random(n) < 1 / (1 + np.exp(-x @ beta))
    return {"n": n, "p": p, "x": x, "y": y.astype(int)}


def walk(d: int, rng: np.random.Generator) -> dict[str, object]:
    """Walk by steps of 0.2, seen with errors of 0.5."""
    n = d - 2
    steps = np.concatenate([rng.standard_normal(1), 0.2 * rng.standard_normal(n - 1)])
    return {"n": n, "y": np.cumsum(steps) + 0.5 * rng.standard_normal(n)}


CASES = {
    "factor": Case("correlated Gaussian, diagonal plus low rank", factor),
    "hierarchy": Case("hierarchical regression, non-centred", hierarchy),
    "horseshoe": Case("horseshoe logistic regression", horseshoe),
    "walk": Case("latent random walk", walk),
}


def load(case: str, d: int) -> tuple[sr.Model, dict[str, object]]:
    """Load a case in some dimensions."""
    data = CASES[case].data(d, np.random.default_rng(d))
    return sr.Model(HERE / "scaling" / f"{case}.stan", data), data


def run_fit(case: str, d: int, folder: Path) -> dict[str, object]:
    """Fit, and tell what it took."""
    model, data = load(case, d)
    began = time.process_time()
    fit = sr.fit(model, method=CASES[case].method, seed=SEED)
    seconds = time.process_time() - began
    result = fit.result
    found: dict[str, object] = {
        "seconds": seconds,
        "own": seconds - result.density_seconds,
        "gradients": sum(result.gradients_by_stage.values()),
        "verdict": result.verdict.name,
        "khat": result.khat,
    }
    if case == "factor":
        found["kl"] = _evidence(data) - result.elbo
    np.save(folder / f"{case}-{d}-fit.npy", _scalars(fit.draws))
    return found


def run_nuts(case: str, d: int, folder: Path) -> dict[str, object]:
    """Sample with Stan's own sampler, four chains of 1000 and 1000."""
    model, _ = load(case, d)
    began = time.process_time()
    run = sr.nuts(model, seed=SEED)
    found = {"seconds": time.process_time() - began, "gradients": run.n_gradients}
    np.save(folder / f"{case}-{d}-nuts.npy", _scalars(run.draws))
    return found


RUNS = {"fit": run_fit, "nuts": run_nuts}


def _evidence(data: dict[str, object]) -> float:
    """Log of the integral of the density that factor.stan has."""
    psi, inner = np.asarray(data["psi"]), np.asarray(data["inner"])
    log_det = np.log(psi).sum() - np.linalg.slogdet(inner)[1]
    return 0.5 * float(log_det) + 0.5 * len(psi) * float(np.log(2 * np.pi))


def _scalars(draws: sr.Draws) -> Array:
    """Draws of all parameters, in order, shape (n, k), in single precision."""
    columns = [np.reshape(v, (v.shape[0] * v.shape[1], -1)) for v in draws.posterior.values()]
    return np.concatenate(columns, axis=1, dtype=np.float32)


def worst_w1(first: Array, second: Array) -> float:
    """Largest W1 of a marginal, in standard deviations of the second."""
    a, b = (np.sort(part.astype(np.float64), axis=0) for part in (first, second))
    level = (np.arange(1000) + 0.5) / 1000
    at, other = (part[(level * len(part)).astype(int)] for part in (a, b))
    return float((np.abs(at - other).mean(axis=0) / b.std(axis=0)).max())


def measured(kind: str, case: str, d: int, folder: Path) -> dict[str, float | str]:
    """Run in a process of its own."""
    command = [sys.executable, __file__, kind, case, str(d), str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    print(kind, case, d, done.stdout.strip().splitlines()[-1], flush=True)
    return json.loads(done.stdout.splitlines()[-1])


def rows(case: str, folder: Path) -> list[dict[str, float | str]]:
    """Measure one case in all dimensions."""
    found = []
    for d in DIMENSIONS:
        row: dict[str, float | str] = {"d": d, **measured("fit", case, d, folder)}
        if d <= MOST_OF_NUTS.get(case, DIMENSIONS[-1]):
            nuts = measured("nuts", case, d, folder)
            row.update({f"nuts_{key}": value for key, value in nuts.items()})
            first, second = (np.load(folder / f"{case}-{d}-{kind}.npy") for kind in RUNS)
            row["w1"] = worst_w1(first, second)
            row["floor"] = worst_w1(second[: len(second) // 2], second[len(second) // 2 :])
        found.append(row)
    return found


def table(found: Sequence[dict[str, float | str]]) -> str:
    """Make the table of one case."""
    columns = ("d", "processor s", "own s", "gradients", "peak MB", "verdict", "worst W1 (noise)")
    columns = (*columns, "NUTS s", "NUTS gradients", "NUTS peak MB")
    if "kl" in found[0]:
        columns = (*columns, "KL, nats")
    return markdown(columns, [_cells(row) for row in found])


def _cells(row: dict[str, float | str]) -> list[str]:
    cells = [f"{row['d']:,}", f"{row['seconds']:.2f}", f"{row['own']:.2f}", f"{row['gradients']:,}"]
    cells += [f"{row['peak']:,.0f}", str(row["verdict"])]
    if "w1" in row:
        cells += [f"{row['w1']:.2f} ({row['floor']:.2f})", f"{row['nuts_seconds']:.2f}"]
        cells += [f"{row['nuts_gradients']:,}", f"{row['nuts_peak']:,.0f}"]
    else:
        cells += ["", "", "", ""]
    return [*cells, f"{row['kl']:.1e}"] if "kl" in row else cells


def exponents(found: Sequence[dict[str, float | str]], key: str) -> str:
    """Give the exponents of growth between the dimensions from 300 up."""
    large = [row for row in found if float(row["d"]) >= 300]
    grown = [
        np.log(float(b[key]) / float(a[key])) / np.log(float(b["d"]) / float(a["d"]))
        for a, b in pairwise(large)
    ]
    return ", ".join(f"{g:.2f}" for g in grown)


def picture(found: dict[str, list[dict[str, float | str]]]) -> None:
    """Draw seconds by dimension."""
    mpl.use("Agg")
    figure, panels = plt.subplots(
        1, len(found), figsize=(12, 3.4), sharey=True, layout="constrained"
    )
    for panel, (case, measured_rows) in zip(panels, found.items(), strict=True):
        for key, label in (("seconds", "fit"), ("own", "fit, own time"), ("nuts_seconds", "NUTS")):
            kept = [row for row in measured_rows if key in row]
            panel.loglog(
                [row["d"] for row in kept], [row[key] for row in kept], "o-", ms=4, label=label
            )
        panel.set_title(CASES[case].title, fontsize=9)
        panel.set_xlabel("dimensions")
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("processor seconds")
    panels[0].legend(frameon=False)
    figure.savefig(PICTURE, dpi=110)


def main() -> None:
    """Measure everything and write the page."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            found[case] = rows(case, Path(folder))
    picture(found)
    growth = markdown(
        ("exponent between 300, 1,000, 3,000 and 10,000", "own time", "gradients", "memory"),
        [
            (CASES[case].title, *(exponents(rows_, key) for key in ("own", "gradients", "peak")))
            for case, rows_ in found.items()
        ],
    )
    sections = "\n\n".join(
        f"## {CASES[case].title.capitalize()}\n\n{table(found[case])}" for case in found
    )
    template = (HERE / "scaling.template.md").read_text(encoding="utf-8")
    OUTPUT.write_text(template.format(sections=sections, growth=growth), encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        _, kind_, case_, d_, folder_ = sys.argv
        outcome = RUNS[kind_](case_, int(d_), Path(folder_))
        outcome["peak"] = peak_memory()
        print(json.dumps(outcome))
