"""Cost against the number of parameters, with exponents; writes docs/results/complexity.md.

    python benchmarks/complexity.py

Takes about eight minutes on two processors. Every cell is a process of its own, whose peak memory
is told; time is processor time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import exact
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from memory import forget_peak, peak_memory
from tables import markdown
from targets import gaussian_moments

import stanrovi as sr
from stanrovi.determinism import one_blas_thread
from stanrovi.diagnostics.statistics import psis_khat
from stanrovi.plots.figure import new_figure
from stanrovi.target import Array
from stanrovi.vi.methods.driver import fit_density

HERE = Path(__file__).parent
TEMPLATE = HERE / "complexity.template.md"
OUTPUT = HERE.parent / "docs" / "results" / "complexity.md"
PICTURE = HERE.parent / "docs" / "images" / "complexity.png"
DIMENSIONS = (4, 16, 32, 64, 128, 256, 512, 1024)
RANGES = ((32, 256), (512, 1024))  # below and above 500 dimensions, where matrices end
WRONG = 0.1  # W1 beyond noise, in standard deviations
N_DRAWS = 4000
NUTS = "nuts"
LOOKS: dict[str, dict[str, Any]] = {
    "mfvi": {"color": "#D55E00", "marker": "v", "linestyle": "-"},
    "rovi": {"color": "#0072B2", "marker": "o", "linestyle": (0, (5, 1.5))},
    "structured": {"color": "#009E73", "marker": "s", "linestyle": (0, (1.2, 1.2))},
    NUTS: {"color": "#CC79A7", "marker": "D", "linestyle": (0, (6, 1.5, 1.2, 1.5))},
}


@dataclass(frozen=True)
class Problem:
    """A posterior in some number of dimensions.

    Attributes
    ----------
    model : Model
    truth : callable
        Builds the target with its exact draws.
    evidence : float
        Log of the integral of the program's density; NaN where it is not known.
    """

    model: sr.Model
    truth: Callable[[], exact.Case]
    evidence: float = np.nan


@dataclass(frozen=True)
class Kind:
    """A kind of posterior in any number of dimensions, with the methods that are run on it."""

    title: str
    build: Callable[[int], Problem]
    methods: dict[str, int]  # and the most dimensions


def _model(name: str, data: dict[str, object]) -> sr.Model:
    return sr.Model(HERE / "scaling" / f"{name}.stan", data)


def _normal(mean: Array, covariance: Array) -> exact.Case:
    factor = np.linalg.cholesky(covariance)
    return exact.mixture("normal", "dimension", [1.0], [mean], [factor])


def _evidence(covariance: Array) -> float:
    """Log of the integral of an unnormalised normal density that is 1 at its mean."""
    log_det = np.linalg.slogdet(covariance)[1]
    return 0.5 * float(log_det + len(covariance) * np.log(2 * np.pi))


def dense(d: int) -> Problem:
    """Take random axes and a condition number of 100."""
    mean, covariance = gaussian_moments(d, 100.0)
    model = _model("dense", {"d": d, "mu": mean, "precision": np.linalg.inv(covariance)})
    return Problem(model, partial(_normal, mean, covariance), _evidence(covariance))


def steps(d: int) -> Problem:
    """Take a random walk, whose condition number grows as the square of d."""
    root = np.tril(np.ones((d, d)))
    covariance = root @ root.T
    truth = partial(_normal, np.zeros(d), covariance)
    return Problem(_model("steps", {"d": d}), truth, _evidence(covariance))


def logistic(d: int) -> Problem:
    """See four outcomes for each coefficient; the truth is a longer run of NUTS."""
    rng = np.random.default_rng(d)
    n = 4 * d
    x = 2 * rng.standard_normal((n, d)) / np.sqrt(d)
    y = rng.random(n) < 1 / (1 + np.exp(-x @ rng.standard_normal(d)))
    model = _model("logistic", {"n": n, "d": d, "x": x, "y": y.astype(int)})

    def truth() -> exact.Case:
        run = sr.nuts(model, engine="stanli", seed=99, iter_sampling=2500)
        draws = _unconstrained(run)
        return exact.Case(
            "logistic", "dimension", model, lambda k, rng: draws[rng.integers(len(draws), size=k)]
        )

    return Problem(model, truth)


def groups(d: int) -> Problem:
    """Take a centred hierarchy of d - 2 groups."""
    seen, noise = exact.hierarchy_data(d - 2, 1.0, 1.0, d)
    model = _model("groups", {"groups": d - 2, "y": seen, "noise": noise})
    return Problem(model, partial(exact.hierarchy, d - 2, 1.0, 1.0, centred=True, seed=d))


_ALL = DIMENSIONS[-1]
KINDS = {
    "dense": Kind(
        "Gaussian, dense, condition number 100",
        dense,
        {"mfvi": 256, "rovi": _ALL, NUTS: 512},
    ),
    "steps": Kind(
        "random walk, condition number growing as d²",
        steps,
        {"mfvi": _ALL, "rovi": _ALL, NUTS: 256},
    ),
    "logistic": Kind(
        "logistic regression, 4 d observations",
        logistic,
        {"mfvi": 256, "rovi": 256, NUTS: 256},
    ),
    "groups": Kind(
        "hierarchy of d - 2 groups, centred",
        groups,
        {"mfvi": 256, "rovi": 256, "structured": _ALL, NUTS: _ALL},
    ),
}


def seeds_in(d: int) -> range:
    """Three seeds, two where a run takes long."""
    return range(3 if d <= 64 else 2)


@dataclass(frozen=True)
class Cost:
    """What one run takes, and how wrong it is.

    Attributes
    ----------
    seed, gradients : int
    seconds : float
        Processor time.
    own : float
        Of it, outside the density; NaN for NUTS, which is one with its engine.
    error : float
        Worst W1 of a marginal beyond the noise of as many independent draws, in sds.
    kl : float
        From fit to target, nats; NaN where it is not known.
    verdict : str
        Of NUTS whether it mixed.
    """

    seed: int
    gradients: int
    seconds: float
    own: float
    error: float
    kl: float
    verdict: str


@dataclass(frozen=True)
class Cell:
    """All seeds of a method on a kind in d dimensions.

    Attributes
    ----------
    kind, method : str
    d : int
    runs : tuple of Cost
    memory : float
        Most memory held beyond what the process had with the model loaded, MB.
    """

    kind: str
    method: str
    d: int
    runs: tuple[Cost, ...]
    memory: float

    def values(self, key: str) -> Array:
        """Give a figure of all runs; memory is one for them all."""
        if key == "memory":
            return np.array([self.memory])
        return np.array([getattr(run, key) for run in self.runs], dtype=float)

    def median(self, key: str) -> float:
        """Give the median over the runs."""
        return float(np.median(self.values(key)))

    @property
    def right(self) -> bool:
        """Whether no marginal of any run is wrong."""
        return bool((self.values("error") <= WRONG).all())


class Clocked:
    """A density that counts its own processor time."""

    def __init__(self, model: sr.Model) -> None:
        self._model, self.dim, self.seconds = model, model.dim, 0.0

    def log_density_gradient(self, x: Array, /) -> tuple[Array, Array]:
        """Evaluate a batch; see `stanrovi.target.Density.log_density_gradient`."""
        began = time.process_time()
        try:
            return self._model.log_density_gradient(x)
        finally:
            self.seconds += time.process_time() - began


def _unconstrained(run: sr.NutsRun) -> Array:
    x = run.draws.unconstrained
    assert x is not None
    return x.reshape(-1, x.shape[-1])


def _fit(problem: Problem, method: str, seed: int) -> tuple[Cost, Array]:
    density = Clocked(problem.model)
    began = time.process_time()
    result = fit_density(
        density,
        method,  # type: ignore[arg-type]
        seed=seed,
        n_draws=N_DRAWS,
        pareto_k=psis_khat,
        scalars=problem.model.scalars,
    )
    seconds = time.process_time() - began
    own, kl = seconds - density.seconds, problem.evidence - result.elbo
    name = result.verdict.name
    return Cost(seed, result.n_gradients, seconds, own, np.nan, kl, name), result.draws


def _nuts(problem: Problem, seed: int) -> tuple[Cost, Array]:
    began = time.process_time()
    run = sr.nuts(problem.model, engine="stanli", seed=seed)
    seconds = time.process_time() - began
    told = "mixed" if run.check.trusted else "not mixed"
    return Cost(seed, run.n_gradients, seconds, np.nan, np.nan, np.nan, told), _unconstrained(run)


def measure(kind: str, method: str, d: int) -> tuple[Cell, list[Array]]:
    """Run all seeds; the draws come with the cell, since errors are not its cost."""
    problem = KINDS[kind].build(d)
    problem.model.log_density_gradient(np.zeros((1, problem.model.dim)))
    forget_peak()
    before, after = peak_memory(), []
    runs, draws = [], []
    for seed in seeds_in(d):
        one, x = _nuts(problem, seed) if method == NUTS else _fit(problem, method, seed)
        runs.append(one)
        draws.append(x)
        after.append(peak_memory())
    cell = Cell(kind, method, d, tuple(runs), after[0] - before)
    print(kind, method, d, f"{sum(run.seconds for run in runs):.1f} s", flush=True)
    return cell, draws


def graded(measured: Sequence[tuple[Cell, list[Array]]]) -> list[Cell]:
    """Tell how wrong the draws of all methods on one posterior are."""
    first = measured[0][0]
    truth = replace(KINDS[first.kind].build(first.d).truth(), numbers=4_000_000)
    noise = truth.noise(N_DRAWS)
    found = []
    for cell, draws in measured:
        errors = [float((truth.errors(x) - noise).max()) for x in draws]
        runs = tuple(replace(r, error=e) for r, e in zip(cell.runs, errors, strict=True))
        found.append(replace(cell, runs=runs))
    return found


def all_cells() -> list[Cell]:
    """Measure everything, the largest first, and then grade it."""
    jobs = [
        (kind, method, d)
        for d in reversed(DIMENSIONS)
        for kind, told in KINDS.items()
        for method, most in told.methods.items()
        if d <= most
    ]
    options: dict[str, Any] = {"mp_context": get_context("spawn"), "initializer": _one_thread}
    with ProcessPoolExecutor(os.cpu_count(), max_tasks_per_child=1, **options) as pool:
        measured = list(pool.map(measure, *zip(*jobs, strict=True)))
    together = [
        [m for m in measured if (m[0].kind, m[0].d) == key]
        for key in dict.fromkeys((m[0].kind, m[0].d) for m in measured)
    ]
    with ProcessPoolExecutor(os.cpu_count(), **options) as pool:
        return [cell for cells in pool.map(graded, together) for cell in cells]


def _one_thread() -> None:
    one_blas_thread().__enter__()


# -- what is told ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Exponent:
    """The slope of a logarithm against log d by least squares, with its standard error."""

    slope: float
    error: float

    @classmethod
    def of(cls, d: Array, values: Array) -> Exponent:
        """Fit a line; at least three points."""
        x, y = np.log(d), np.log(values)
        x = x - x.mean()
        slope = float(x @ y / (x @ x))
        rest = y - y.mean() - slope * x
        return cls(slope, float(np.sqrt(rest @ rest / (len(x) - 2) / (x @ x))))

    def __str__(self) -> str:
        return f"{self.slope:.2f} ± {self.error:.2f}"


def exponent(cells: Sequence[Cell], key: str, low: int, high: int) -> str:
    """Give the exponent between two dimensions; nothing where there are fewer than two."""
    within = [c for c in cells if low <= c.d <= high]
    points = [(c.d, v) for c in within for v in c.values(key)]
    if len({d for d, _ in points}) < 2 or len(points) < 3:
        return ""
    d, values = np.array(points, dtype=float).T
    return "" if np.isnan(values).any() else str(Exponent.of(d, values))


def exponent_table(found: Sequence[Cell], low: int, high: int) -> str:
    """Make the table of one range of dimensions."""
    rows = []
    for kind, told in KINDS.items():
        for method in told.methods:
            cells = [c for c in found if (c.kind, c.method) == (kind, method)]
            within = [c for c in cells if low <= c.d <= high]
            if len(within) < 2:
                continue
            right = sum(c.right for c in within)
            rows.append((
                f"{told.title}: {method}",
                exponent(cells, "gradients", low, high),
                exponent(cells, "seconds", low, high),
                exponent(cells, "own", low, high),
                exponent(cells, "memory", low, high) if low < RANGES[1][0] else "",
                "all" if right == len(within) else f"{right} of {len(within)}",
            ))  # fmt: skip
    head = ("posterior and method", "gradients", "processor s", "own s", "memory", "right")
    return markdown(head, rows)


def cost_table(found: Sequence[Cell], kind: str) -> str:
    """Make the table of one kind of posterior: medians over the seeds, worst error."""
    rows = []
    for cell in found:
        if cell.kind != kind:
            continue
        own = cell.median("own")
        gradient = (cell.median("seconds") - own) / cell.median("gradients")
        verdicts = [run.verdict for run in cell.runs]
        row = (
            cell.d,
            cell.method,
            f"{cell.median('gradients'):,.0f}",
            f"{cell.median('seconds'):.2f}",
            "" if np.isnan(own) else f"{own:.2f}",
            "" if np.isnan(own) else f"{own / gradient:,.0f}",
            f"{cell.memory:,.0f}",
            f"{cell.values('error').max():.2f}" + ("" if cell.right else " **wrong**"),
            *([_kl(cell)] if kind in ("dense", "steps") else []),
            ", ".join(f"{verdicts.count(v)} {v}" for v in dict.fromkeys(verdicts)),
        )
        rows.append(row)
    head: tuple[str, ...] = ("d", "method", "gradients", "processor s", "own s",
        "own, in gradients", "peak MB", "worst W1")  # fmt: skip
    kl = ("KL, nats",) if kind in ("dense", "steps") else ()
    return markdown((*head, *kl, "says"), rows)


def _kl(cell: Cell) -> str:
    worst = cell.values("kl").max()
    return "" if np.isnan(worst) else f"{max(worst, 0):.2g}"


def losses(found: Sequence[Cell]) -> str:
    """Tell for each fit where it is wrong, and where NUTS takes less processor time."""
    rows = []
    for kind, told in KINDS.items():
        of = {(c.method, c.d): c for c in found if c.kind == kind}
        nuts = {d: c for (method, d), c in of.items() if method == NUTS}
        for method in told.methods:
            fits = [c for (m, _), c in of.items() if m == method != NUTS]
            both = [(c, nuts[c.d]) for c in fits if c.d in nuts]
            if not both:
                continue
            cheaper = [n for c, n in both if n.median("seconds") < c.median("seconds")]
            rows.append((
                f"{told.title}: {method}",
                _dimensions([c for c in fits if not c.right]),
                _dimensions([n for _, n in both if not n.right]),
                _dimensions([n for n in cheaper if n.right]),
                _dimensions([n for n in cheaper if not n.right]),
                f"{_even(*both[-1])}, d = {both[-1][0].d}",
            ))  # fmt: skip
    head = ("posterior and fit", "fit wrong at d", "NUTS wrong at d", "NUTS takes less time, right",
            "and wrong", "even at, µs a gradient")  # fmt: skip
    return markdown(head, rows)


def _dimensions(cells: Sequence[Cell]) -> str:
    return ", ".join(f"{c.d:,}" for c in cells) or "none"


def _even(fit: Cell, nuts: Cell) -> str:
    """Time of a gradient from which on the fit costs less, its own time being what it is."""
    fewer = nuts.median("gradients") - fit.median("gradients")
    return f"{fit.median('own') / fewer * 1e6:.1f}" if fewer > 0 else "never"


def picture(found: Sequence[Cell]) -> None:
    """Draw gradients, time and error by dimension; hollow where the answer is wrong."""
    with new_figure(10.0, 6.6) as figure:
        panels = figure.subplots(3, len(KINDS), sharex=True, sharey="row")
        keys = {"gradients": "gradients", "seconds": "processor s", "error": "worst W1, sd"}
        for column, (kind, told) in enumerate(KINDS.items()):
            for panel, (key, label) in zip(panels[:, column], keys.items(), strict=True):
                for method in told.methods:
                    cells = [c for c in found if (c.kind, c.method) == (kind, method)]
                    cells = sorted(cells, key=lambda c: c.d)
                    _line(panel, cells, key)
                panel.set(xscale="log", yscale="log")
                panel.grid(alpha=0.25)
                if column == 0:
                    panel.set_ylabel(label)
            panels[0, column].set_title(told.title.replace(", ", ",\n", 1))
            panels[2, column].axhline(WRONG, color="#555555", linewidth=0.8)
            panels[2, column].set_xlabel("d")
        _legend(figure)
        figure.savefig(PICTURE, dpi=110)


def _line(panel: Any, cells: Sequence[Cell], key: str) -> None:
    look = LOOKS[cells[0].method]
    # An error below what can be seen is drawn where seeing ends.
    y = np.array([c.values(key).max() if key == "error" else c.median(key) for c in cells])
    y = np.maximum(y, 1e-3) if key == "error" else y
    d = np.array([c.d for c in cells])
    panel.plot(d, y, color=look["color"], linestyle=look["linestyle"], linewidth=1.3)
    for x, value, cell in zip(d, y, cells, strict=True):
        face = look["color"] if cell.right else "white"
        panel.plot(x, value, color=look["color"], marker=look["marker"], markersize=4.5,
                   markerfacecolor=face)  # fmt: skip


def _legend(figure: Figure) -> None:
    handles = [Line2D([], [], label=name, markersize=5, **look) for name, look in LOOKS.items()]
    hollow = {"marker": "o", "markerfacecolor": "white", "color": "#555555", "linestyle": ""}
    handles.append(Line2D([], [], label="hollow: wrong", **hollow))
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))


def main() -> None:
    """Measure everything and write the page."""
    found = all_cells()
    order = {method: i for i, method in enumerate(LOOKS)}
    found.sort(key=lambda c: (c.d, order[c.method]))
    picture(found)
    sections = "\n\n".join(
        f"## {told.title[0].upper()}{told.title[1:]}\n\n{cost_table(found, kind)}"
        for kind, told in KINDS.items()
    )
    text = TEMPLATE.read_text(encoding="utf-8").format(
        dense=exponent_table(found, *RANGES[0]),
        sparse=exponent_table(found, *RANGES[1]),
        losses=losses(found),
        sections=sections,
    )
    OUTPUT.write_text(text, encoding="utf-8")
    print(f"Wrote {OUTPUT}")


if __name__ == "__main__":
    main()
