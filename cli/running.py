"""Fits, NUTS runs and comparisons, with their progress on standard error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from stanrovi_cli import console
from stanrovi_cli.progress import stage, working

_REFERENCE_ESS = 1000

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
    **nuts_settings: Any,
) -> Comparison:
    """Fit by each method, sample unless there is a reference, and compare.

    The sampler is NUTS; where that is refused and there are several basins, `auto` takes what
    `stanrovi.sample` draws, if that is trusted.
    """
    from stanrovi.comparison.comparison import compare

    fits = {method: run_fit(model, method, seed, draws) for method in methods}
    _warn_once({method: fit.result.warnings for method, fit in fits.items()})
    if reference is None and sampler == "sample":
        reference = _sampled(model, seed).draws
    elif reference is None:
        run = run_nuts(model, seed, **nuts_settings)
        console.warn(run.warnings)
        found = compare(fits, run.draws, model=model.name)
        modes = 0 if found.modes is None else len(found.modes.weight)
        if sampler == "nuts" or found.reference.trusted or modes < 2:
            return found
        console.warn([f"NUTS is no reference here: {found.reference.reason}"])
        sampled = _sampled(model, seed)
        if not sampled.trusted:
            console.warn([f"Nor are draws of stanrovi sample: {sampled.reason}"])
            return found
        reference = sampled.draws
    with working("comparing"):
        return compare(fits, reference, model=model.name)


def _sampled(model: Model, seed: int) -> SampleRun:
    """Draw a reference: with a look for modes that no chain visited."""
    return run_sample(model, seed, ess=_REFERENCE_ESS, wide_leg=True)


def _warn_once(warnings: Mapping[str, Sequence[str]]) -> None:
    """Print each warning once, with the methods that gave it."""
    givers: dict[str, list[str]] = {}
    for method, messages in warnings.items():
        for message in messages:
            givers.setdefault(message, []).append(method)
    console.warn(f"{', '.join(methods)}: {message}" for message, methods in givers.items())
