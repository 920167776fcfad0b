"""The record of a comparison: everything found, nothing drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stanrovi.arguments import checked_count
from stanrovi.diagnostics import statistics
from stanrovi.diagnostics.reference import ReferenceCheck, check_reference
from stanrovi.draws import Draws
from stanrovi.grading.distances import (
    Distances,
    PairYardstick,
    Yardstick,
    pair_yardstick,
    yardstick,
)
from stanrovi.grading.matching import shared_quantities
from stanrovi.grading.mode_table import ModeTable, mode_table
from stanrovi.grading.verdicts import grade
from stanrovi.target import Array
from stanrovi.vi.facts import Verdict

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class MethodComparison:
    """One fit against the reference.

    Attributes
    ----------
    verdict : Verdict
        Whether to trust it, and why.
    marginals : Distances or None
        Per parameter; None where the reference is not trusted.
    pairs : Distances or None
        Slices of pairs of parameters; None as above or for a single parameter.
    khat, elbo, elbo_se, seconds, n_gradients : float
        What the fit reports; NaN where it does not.
    status : str
        How the fit ended.
    """

    verdict: Verdict
    marginals: Distances | None
    pairs: Distances | None
    khat: float
    elbo: float
    elbo_se: float
    seconds: float
    n_gradients: float
    status: str


@dataclass(frozen=True, repr=False, eq=False)
class Findings:
    """What a comparison found; `stanrovi.compare` gives it, with pictures and a report.

    Attributes
    ----------
    model : str
        Name of the model.
    parameters : tuple of str
        Scalar parameters compared, constant ones and copies (such as the upper half of
        a symmetric matrix) left out.
    left_out : tuple of str
        Variables that only some of the runs have.
    reference : ReferenceCheck
        The reference, whether it is trusted, and why.
    noise_floor : float
        Largest noise floor of any parameter, reference sds; NaN where the
        reference is not trusted.
    methods : mapping of str to MethodComparison
    modes : ModeTable or None
        None where no fit searched for modes.
    fits : mapping of str to Draws
    reference_draws : Draws
    seed : int
        Seed of the splits behind the noise floor.
    """

    model: str
    parameters: tuple[str, ...]
    reference: ReferenceCheck
    noise_floor: float
    methods: Mapping[str, MethodComparison]
    modes: ModeTable | None
    fits: Mapping[str, Draws] = field(compare=False)
    reference_draws: Draws = field(compare=False)
    seed: int = 0
    left_out: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the reference is trusted and every fit is fine."""
        verdicts = {method.verdict.name for method in self.methods.values()}
        return self.reference.trusted and verdicts <= {"ok"}

    @property
    def usable(self) -> list[str]:
        """Fits that passed; where a trusted reference grades them, the nearest to it first."""
        passed = {n: m.marginals for n, m in self.methods.items() if m.verdict.name == "ok"}
        return sorted(passed, key=lambda n: 0.0 if (p := passed[n]) is None else float(p.w1.max()))

    @property
    def runs(self) -> dict[str, Draws]:
        """Draws of the reference, and of every fit, by name."""
        return {self.reference.method: self.reference_draws, **self.fits}

    def scalars(self) -> dict[str, dict[str, Array]]:
        """Scalar quantities of the reference and of every fit, each shaped (chain, draw)."""
        return {name: run.scalars(tuple(run.posterior)) for name, run in self.runs.items()}

    @property
    def basin_centres(self) -> Mapping[str, Array]:
        """Centres of the known basins by parameter; empty for a single one, which tells nothing."""
        return {} if self.modes is None or len(self.modes.weight) < 2 else self.modes.centres

    def to_dataframe(self) -> pd.DataFrame:
        """One row per method and parameter, the worst first.

        Returns
        -------
        pandas.DataFrame
            Columns method, parameter, w1, noise_floor, mean_error, sd_ratio
            (reference sds). Empty where the reference is not trusted.
        """
        import pandas as pd

        columns = ["method", "parameter", "w1", "noise_floor", "mean_error", "sd_ratio"]
        rows = [
            (name, *row)
            for name, method in self.methods.items()
            if (part := method.marginals) is not None
            for row in zip(
                part.names, part.w1, part.floor, part.mean_error, part.sd_ratio, strict=True
            )
        ]
        frame = pd.DataFrame(rows, columns=columns)
        return frame.sort_values("w1", ascending=False, ignore_index=True)

    def worst_parameters(self, count: int | None = None) -> tuple[str, ...]:
        """Parameters ordered by the largest W1 of any method, or as declared.

        Parameters
        ----------
        count : int, optional
            How many; all by default.

        Returns
        -------
        tuple of str

        Raises
        ------
        UsageError
            For a count that is none.
        """
        count = None if count is None else checked_count("count", count, 0)
        parts = [m.marginals for m in self.methods.values() if m.marginals is not None]
        if not parts:
            return self.parameters[:count]
        order = np.argsort(-np.max([part.w1 for part in parts], axis=0), kind="stable")
        graded = tuple(parts[0].names[i] for i in order)
        return (*graded, *(name for name in self.parameters if name not in graded))[:count]


def examine(
    fits: Mapping[str, Draws], reference: Draws, *, model: str | None = None, seed: int = 0
) -> Findings:
    """Compare fits with a reference.

    Parameters
    ----------
    fits : mapping of str to Draws
    reference : Draws
    model : str, optional
        Name of the model; by default what the draws say.
    seed : int
        Seed of the random splits behind the noise floor.

    Returns
    -------
    Findings

    Raises
    ------
    DrawsError
        The draws come from different models or are NaN or infinite.
    """
    shared = shared_quantities(fits, reference)
    names, values, matrices = shared.names, shared.reference, shared.fits
    modes = mode_table(fits, reference)
    check = check_reference(reference, values, names, modes.objection if modes else "")
    measure = _measure(values, names, check, seed) if check.trusted else None
    methods = {
        name: _compare_one(name, fit, matrices[name], measure, check, modes)
        for name, fit in fits.items()
    }
    floors = [m.marginals.floor.max() for m in methods.values() if m.marginals is not None]
    return Findings(
        model=model or _model_name(reference, fits),
        parameters=names,
        reference=check,
        noise_floor=float(max(floors, default=np.nan)),
        methods=methods,
        modes=modes,
        fits=fits,
        reference_draws=reference,
        seed=seed,
        left_out=shared.left_out,
    )


@dataclass(frozen=True)
class _Measure:
    """What a trusted reference measures fits by, alike for all of them."""

    known: NDArray[np.bool_]
    marginals: Yardstick
    pairs: PairYardstick | None


def _measure(values: Array, names: tuple[str, ...], check: ReferenceCheck, seed: int) -> _Measure:
    rng = np.random.default_rng(seed)
    known = np.array([item not in check.unknown for item in names])
    graded = tuple(item for item in names if item not in check.unknown)
    part = values[..., known]
    return _Measure(known, yardstick(part, graded, rng), pair_yardstick(part, graded, rng))


def _compare_one(
    name: str,
    fit: Draws,
    draws: Array,
    measure: _Measure | None,
    check: ReferenceCheck,
    modes: ModeTable | None,
) -> MethodComparison:
    own = None if fit.facts is None else fit.facts.verdict
    marginals = pairs = None
    if measure is not None:
        part = draws[..., measure.known]
        marginals = measure.marginals.distances(part)
        pairs = None if measure.pairs is None else measure.pairs.distances(part)
    return MethodComparison(
        verdict=grade(own, check, marginals, pairs, modes, name),
        marginals=marginals,
        pairs=pairs,
        khat=_khat(fit),
        elbo=fit.number("elbo"),
        elbo_se=fit.number("elbo_se"),
        seconds=fit.number("seconds"),
        n_gradients=fit.number("n_gradients"),
        status=str(fit.attrs.get("status", "")),
    )


def _khat(fit: Draws) -> float:
    stored = fit.number("khat")
    if math.isnan(stored) and (ratios := fit.log_ratios) is not None:
        return statistics.psis_khat(ratios)
    return stored


def _model_name(reference: Draws, fits: Mapping[str, Draws]) -> str:
    for draws in (*fits.values(), reference):
        if draws.attrs.get("model"):
            return str(draws.attrs["model"])
    return "model"
