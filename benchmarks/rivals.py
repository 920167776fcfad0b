"""stanrovi beside every rival that runs on the same posteriors; writes docs/results/comparison.md.

    pip install prophet --no-deps; pip install nutpie pymc-extras   # the rivals, as far as wanted
    python benchmarks/rivals.py

Takes about ten minutes on two processors. Rivals that are not installed are left out.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path

import hierarchies
import numpy as np
import peers
import references
import rival_modes
from accuracy import CMDSTAN, N_DRAWS, Run, Runs, prophet
from advi import FullRank, MeanField
from batch_and_match import batch_and_match
from dadvi import dadvi
from pathfinder import multi_path, pathfinder
from tables import markdown

import stanrovi as sr
from stanrovi.diagnostics.reference import check_draws
from stanrovi.errors import StanroviError
from stanrovi.runs.cmdstan_vi import cmdstan_vi
from stanrovi.runs.laplace import laplace_draws
from stanrovi.runs.record import constrained, record

TEMPLATE = Path(__file__).parent / "comparison.template.md"
OUTPUT = Path(__file__).parents[1] / "docs" / "results" / "comparison.md"
SEEDS = range(3)
HIERARCHIES = (("seeds", "centered"), ("surgical", "noncentered"))
PROPHET = "prophet"
# W1 in sds: up to which an answer is right, beyond which it is wrong. 400 draws show about 0.12.
GOOD, FAR = 0.15, 0.3
PACKAGES = ("stanrovi", "stanli", "prophet", "pymc", "pymc-extras", "nutpie")

Posterior = references.Posterior | hierarchies.Posterior
DOUBTED, SURE, SILENT = "doubted", "sure", "silent"


@dataclass(frozen=True)
class Told:
    """What a method gives: draws, what they cost, and whether it doubts them (None: no word)."""

    draws: sr.Draws
    n_gradients: float
    doubted: bool | None


Method = Callable[[sr.Model, int], Told]


def _fit(method: str, model: sr.Model, seed: int) -> Told:
    fit = sr.fit(model, method=method, seed=seed, draws=N_DRAWS)
    return Told(fit.draws, fit.result.n_gradients, fit.result.verdict.name != "ok")


def _sample(model: sr.Model, seed: int) -> Told:
    run = sr.sample(model, seed=seed)
    return Told(run.draws, run.n_gradients, not run.trusted)


def _nuts(model: sr.Model, seed: int) -> Told:
    run = sr.nuts(model, engine="stanli", seed=seed)
    return Told(run.draws, run.n_gradients, not run.check.trusted)


def _laplace(model: sr.Model, seed: int) -> Told:
    draws = laplace_draws(model, seed=seed, draws=N_DRAWS)
    return Told(draws, float(draws.attrs["n_gradients"]), None)


def _advi(family: type[MeanField] | type[FullRank], model: sr.Model, seed: int) -> Told:
    return _told(model, seed, peers.stan_advi(model, seed, family(model.dim)))


def _batch_and_match(at_mode: bool, model: sr.Model, seed: int) -> Told:
    x, n_gradients = batch_and_match(model, seed=seed, n_draws=N_DRAWS, at_mode=at_mode)
    return _told(model, seed, peers.Answer(x[None], n_gradients, None))


def _dadvi(response: bool, model: sr.Model, seed: int) -> Told:
    run = dadvi(model, seed=seed, n_draws=N_DRAWS, response=response)
    return _told(model, seed, peers.Answer(run.x[None], run.n_gradients, not run.converged))


def _pathfinder(model: sr.Model, seed: int) -> Told:
    return _told(model, seed, pathfinder(model, seed))


def _multi_path(model: sr.Model, seed: int) -> Told:
    return _told(model, seed, multi_path(model, seed))


def _pymc_advi(method: str, model: sr.Model, seed: int) -> Told:
    from in_pymc import pymc_advi

    return _told(model, seed, pymc_advi(model, seed, method))


def _pymc_pathfinder(model: sr.Model, seed: int) -> Told:
    from in_pymc import pymc_pathfinder

    return _told(model, seed, pymc_pathfinder(model, seed))


def _nutpie(model: sr.Model, seed: int) -> Told:
    told = _told(model, seed, peers.nutpie(model, seed))
    return Told(told.draws, told.n_gradients, not check_draws(told.draws).trusted)


def _told(model: sr.Model, seed: int, answer: peers.Answer) -> Told:
    draws = record(
        model,
        "peer",
        constrained(model, answer.x, seed=seed),
        engine=model.engine,
        seed=seed,
        sample_stats={},
        attrs={},
    )
    return Told(draws, answer.n_gradients, answer.doubted)


def _cmdstan(algorithm: str, exe: Path, model: sr.Model, seed: int) -> Told:
    draws = cmdstan_vi(model, algorithm, seed=seed, draws=N_DRAWS, exe=exe)  # type: ignore[arg-type]
    says = None if algorithm == "pathfinder" else draws.attrs["status"] != "converged"
    return Told(draws, np.nan, says)


OURS: dict[str, Method] = {
    "stanrovi fit, auto": partial(_fit, "auto"),
    "stanrovi fit, rovi": partial(_fit, "rovi"),
    "stanrovi fit, gaussian": partial(_fit, "gaussian"),
    "stanrovi fit, mfvi": partial(_fit, "mfvi"),
    "stanrovi sample": _sample,
}
STAN: dict[str, Method] = {
    "Laplace": _laplace,
    "ADVI, mean field": partial(_advi, MeanField),
    "ADVI, full rank": partial(_advi, FullRank),
    "DADVI, mean field": partial(_dadvi, False),
    "DADVI, linear response": partial(_dadvi, True),
    "Batch and match": partial(_batch_and_match, False),
    "Batch and match, from a mode": partial(_batch_and_match, True),
    "Pathfinder, one path": _pathfinder,
    "Pathfinder, four paths": _multi_path,
    "Stan's NUTS": _nuts,
}
PYMC: dict[str, Method] = {
    "PyMC ADVI, mean field": partial(_pymc_advi, "advi"),
    "PyMC ADVI, full rank": partial(_pymc_advi, "fullrank_advi"),
    "Pathfinder, pymc-extras": _pymc_pathfinder,
}
NUTPIE: dict[str, Method] = {"nutpie's NUTS": _nutpie}


def methods() -> dict[str, Method]:
    """Everything that runs on every posterior here."""
    found = OURS | STAN
    if peers.has("pymc_extras"):
        found |= PYMC
    if peers.has("nutpie"):
        found |= NUTPIE
    return found


def names() -> list[str]:
    """Every posterior here."""
    mine = [*references.NAMES, *(f"{base}_{form}" for base, form in HIERARCHIES)]
    return [*mine, *([PROPHET] if peers.has("prophet") else [])]


def load(name: str) -> tuple[Posterior, dict[str, Method]]:
    """Load a posterior, with the methods that run on it alone."""
    if name in references.NAMES:
        return references.load(name), {}
    if name != PROPHET:
        base, form = name.split("_")
        return hierarchies.load(base, form), {}
    found = prophet()
    assert found is not None
    return found[0], {f"CmdStan's {a}": partial(_cmdstan, a, found[1]) for a in CMDSTAN}


def run_once(posterior: Posterior, name: str, method: Method, seed: int) -> Run:
    """One method, one posterior, one seed; a failed run has no numbers, and has said so."""
    began = _processor_seconds()
    try:
        told = method(posterior.model, seed)
    except StanroviError as error:
        print(f"  {posterior.name}, {name}, seed {seed} failed: {error}")
        return Run(posterior.name, name, seed, verdict=DOUBTED)
    seconds = _processor_seconds() - began
    word = SILENT if told.doubted is None else DOUBTED if told.doubted else SURE
    w1 = posterior.worst_w1(told.draws)
    return Run(posterior.name, name, seed, w1, told.n_gradients, seconds, verdict=word)


def _processor_seconds() -> float:
    """Of this process, its threads, and what it has started and waited for."""
    return sum(os.times()[:4])


def runs_on(name: str) -> list[Run]:
    """Every method on a posterior, with every seed."""
    posterior, alone = load(name)
    runs = Runs()
    for method, run in (methods() | alone).items():
        runs += [run_once(posterior, method, run, seed) for seed in SEEDS]
        print(f"{name}, {method}: {runs.cell(name, method, 'w1', 3)}", flush=True)
    return runs


def summary_table(runs: Runs, posteriors: Sequence[str], rows: Iterable[str]) -> str:
    """Make a line for each method, over all posteriors."""
    columns = (
        "method", "W1, median", "worst", f"posteriors right (of {len(posteriors)})", "gradients",
        "seconds", "wrong runs", "of these doubted", "right runs doubted",
    )  # fmt: skip
    return markdown(columns, [summary_row(runs, posteriors, method) for method in rows])


def summary_row(runs: Runs, posteriors: Sequence[str], method: str) -> tuple[str, ...]:
    """Medians of medians; runs that fail are wrong, and have said so."""

    def medians(field: str) -> np.ndarray:
        return np.array([runs.median(name, method, field) for name in posteriors])

    w1, gradients, seconds = (medians(field) for field in ("w1", "gradients", "seconds"))
    mine = [r for r in runs if r.method == method and r.posterior in posteriors]
    wrong = [r for r in mine if not r.w1 <= FAR]
    right = [r for r in mine if r.w1 <= GOOD]
    speaks = any(r.verdict != SILENT for r in mine if not np.isnan(r.w1))

    def doubted(some: list[Run]) -> str:
        return str(sum(r.verdict == DOUBTED for r in some)) if speaks else "no word"

    return (
        method,
        f"{np.median(w1):.3f}",
        f"{w1.max():.2f}" if np.isfinite(w1).all() else "fails",
        str(int((w1 <= GOOD).sum())),
        f"{np.median(gradients):,.0f}" if np.isfinite(gradients).any() else "not told",
        f"{np.median(seconds):.2f}",
        f"{len(wrong)} of {len(mine)}",
        doubted(wrong),
        f"{doubted(right)} of {len(right)}" if speaks else "no word",
    )


def posterior_table(
    runs: Runs, posteriors: Sequence[str], rows: Iterable[str], field: str, digits: int
) -> str:
    """Medians over seeds: a line for each method, a column for each posterior."""
    lines = []
    for method in rows:
        cells = [f"{runs.median(name, method, field):,.{digits}f}" for name in posteriors]
        lines.append((method, *("fails" if cell == "inf" else cell for cell in cells)))
    return markdown(("method", *(name.replace("_", " ") for name in posteriors)), lines)


def prophet_table(runs: Runs, rows: Iterable[str]) -> str:
    """Every method on the one program whose CmdStan executable is at hand."""
    lines = []
    for method in rows:
        told = np.isfinite(runs.values(PROPHET, method, "gradients")).any()
        lines.append(
            (
                method,
                runs.cell(PROPHET, method, "w1", 3),
                runs.cell(PROPHET, method, "gradients", 0) if told else "not told",
                runs.cell(PROPHET, method, "seconds", 2),
            )
        )
    return markdown(("method", "worst W1", "gradients", "seconds"), lines)


def versions() -> str:
    """Name what was compared."""
    return ", ".join(f"{name} {version(name)}" for name in PACKAGES if peers.has(_module(name)))


def _module(package: str) -> str:
    return package.replace("-", "_")


def write(runs: Runs, on_modes: Sequence[rival_modes.Run]) -> None:
    """Write the page."""
    every = list(dict.fromkeys(r.method for r in runs))
    common = list(methods())
    counted = [m for m in common if any(np.isfinite(r.gradients) for r in runs if r.method == m)]
    shown = names()
    text = TEMPLATE.read_text(encoding="utf-8").format(
        versions=versions(),
        summary=summary_table(runs, shown, common),
        w1=posterior_table(runs, shown, common, "w1", 3),
        gradients=posterior_table(runs, shown, counted, "gradients", 0),
        prophet=prophet_table(runs, every),
        modes=rival_modes.summary_table(on_modes),
        kinds_of_modes=rival_modes.kind_table(on_modes),
        lost_modes=rival_modes.loss_table(on_modes),
        n_targets=len(rival_modes.cases()),
        good_mass=rival_modes.GOOD_MASS,
        good=GOOD,
        far=FAR,
        last=max(SEEDS),
        n_draws=N_DRAWS,
    )
    OUTPUT.write_text(text, encoding="utf-8")
    print(f"Wrote {OUTPUT}")


def main() -> None:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        runs = Runs(run for some in pool.map(runs_on, names()) for run in some)
        on_modes = pool.map(rival_modes.runs_on, range(len(rival_modes.cases())))
        write(runs, [run for some in on_modes for run in some])


if __name__ == "__main__":
    main()
