"""Fits, NUTS runs and comparisons, with their progress on standard error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, Literal

from stanrovi_cli import console
from stanrovi_cli.keeping import Drawn, KeptRuns
from stanrovi_cli.progress import stage, working

# Of a reference: with a look for modes that no chain visited.
_SAMPLE = {"ess": 1000, "wide_leg": True}

if TYPE_CHECKING:
    from stanrovi.comparison.comparison import Comparison
    from stanrovi.draws import Draws
    from stanrovi.runs.fitted import Fit
    from stanrovi.runs.nuts_run import NutsRun
    from stanrovi.runs.sample_run import SampleRun
    from stanrovi.stan.model import Model


def run_fit(model: Model, method: Any, seed: int, draws: int, **budget: Any) -> Fit:
    """Fit with progress on standard error."""
    from stanrovi.runs.fit import fit

    with stage():
        return fit(model, method=method, seed=seed, draws=draws, progress=True, **budget)


def run_nuts(model: Model, seed: int, **settings: Any) -> NutsRun:
    """Sample with progress on standard error."""
    from stanrovi.runs.nuts import nuts

    with stage():
        return nuts(model, seed=seed, progress=True, **settings)


def run_sample(model: Model, seed: int, **settings: Any) -> SampleRun:
    """Sample until draws can be trusted, with progress on standard error."""
    from stanrovi.runs.sampling import sample

    with stage():
        return sample(model, seed=seed, progress=True, **settings)


def run_comparison(
    model: Model,
    methods: tuple[str, ...],
    seed: int,
    draws: int = 4000,
    reference: Draws | None = None,
    sampler: Literal["nuts", "sample", "auto"] = "auto",
    *,
    kept: KeptRuns | None = None,
    jobs: int | None = None,
    **nuts_settings: Any,
) -> Comparison:
    """Fit by each method, sample unless there is a reference, and compare.

    The sampler is NUTS; where that is refused and there are several basins, `auto` takes what
    `stanrovi.sample` draws, if that is trusted. Runs that are kept are not made again; with jobs
    the others are made in so many worker processes.
    """
    from stanrovi.comparison.comparison import compare

    first = "sample" if sampler == "sample" else "nuts"
    asked: dict[str, dict[str, Any]] = {method: {"draws": draws} for method in methods}
    if reference is None:
        asked[first] = _SAMPLE if first == "sample" else nuts_settings
    runs = _Runs(model, seed, KeptRuns() if kept is None else kept)
    if jobs is not None:
        runs.make_all(asked, jobs)
    fits = {method: runs.get(method, **asked[method]) for method in methods}
    _warn_once({method: fit.warnings for method, fit in fits.items()})
    drawn = {method: fit.draws for method, fit in fits.items()}
    if reference is None:
        run = runs.get(first, **asked[first])
        console.warn(run.warnings)
        reference = run.draws
        if first == "nuts":
            found = compare(drawn, reference, model=model.name)
            modes = 0 if found.modes is None else len(found.modes.weight)
            if sampler == "nuts" or found.reference.trusted or modes < 2:
                return found
            console.warn([f"NUTS is no reference here: {found.reference.reason}"])
            run = runs.get("sample", **_SAMPLE)
            if not run.trusted:
                console.warn([f"Nor are draws of stanrovi sample: {run.reason}"])
                return found
            reference = run.draws
    with working("comparing"):
        return compare(drawn, reference, model=model.name)


class _Runs:
    """Runs of one model with one seed, each made once."""

    def __init__(self, model: Model, seed: int, kept: KeptRuns) -> None:
        self._model, self._seed, self._kept = model, seed, kept

    def get(self, name: str, **settings: Any) -> Drawn:
        """Give a run, made here if need be."""
        run = self._kept.get(name)
        if run is None:
            with stage():
                run = drawn(self._model, method=name, seed=self._seed, progress=True, **settings)
            self._kept.add(name, run)
        return run

    def make_all(self, asked: Mapping[str, Mapping[str, Any]], jobs: int) -> None:
        """Make all that are not there in worker processes."""
        from stanrovi.errors import SamplerError
        from stanrovi.runs.many import run_many
        from stanrovi.runs.tasks import Task

        tasks = [
            Task(self._model, method=name, seed=self._seed, settings=settings)
            for name, settings in asked.items()
            if self._kept.get(name) is None
        ]
        with stage(), closing(run_many(tasks, drawn, jobs=jobs, progress=True)) as outcomes:
            for outcome in outcomes:
                name = str(outcome.task.method)
                if outcome.value is None:
                    raise SamplerError(f"{name}: {outcome.error}")
                self._kept.add(name, outcome.value)


def drawn(
    model: Model, *, method: Any, seed: int, progress: bool = False, **settings: Any
) -> Drawn:
    """Fit or sample by a method, for a comparison."""
    if method == "nuts":
        from stanrovi.runs.nuts import nuts

        chains = nuts(model, seed=seed, progress=progress, **settings)
        return Drawn(chains.draws, chains.warnings)
    if method == "sample":
        from stanrovi.runs.sampling import sample

        run = sample(model, seed=seed, progress=progress, **settings)
        return Drawn(run.draws, trusted=run.trusted, reason=run.reason)
    from stanrovi.runs.fit import fit

    fitted = fit(model, method=method, seed=seed, progress=progress, **settings)
    return Drawn(fitted.draws, fitted.result.warnings)


def _warn_once(warnings: Mapping[str, Sequence[str]]) -> None:
    """Print each warning once, with the methods that gave it."""
    givers: dict[str, list[str]] = {}
    for method, messages in warnings.items():
        for message in messages:
            givers.setdefault(message, []).append(method)
    console.warn(f"{', '.join(methods)}: {message}" for message, methods in givers.items())
