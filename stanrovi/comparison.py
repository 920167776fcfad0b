"""Fits against a reference: distances, mode table and one verdict per method."""

from __future__ import annotations

import math
import os
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stanrovi import draw_stats
from stanrovi.compare_json import comparison_dict
from stanrovi.diagnostics import (
    Distances,
    ReferenceCheck,
    check_reference,
    distances,
    number,
    pair_distances,
)
from stanrovi.draws import Draws, Run
from stanrovi.grading import grade, own_verdict
from stanrovi.matching import named_fits, reference_draws, shared_quantities
from stanrovi.occupancy import ModeTable, mode_table
from stanrovi.result import Verdict
from stanrovi.target import Array

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True)
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


@dataclass(frozen=True, repr=False)
class Comparison:
    """Fits compared with a reference; see `compare`.

    Attributes
    ----------
    model : str
        Name of the model.
    parameters : tuple of str
        Scalar parameters compared, constant ones and copies (such as the upper half of
        a symmetric matrix) left out.
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

    def to_dict(self) -> dict[str, Any]:
        """Everything that ``stanrovi compare --json`` prints.

        Returns
        -------
        dict
            JSON-safe (unknown numbers are None); docs/schemas/compare.schema.json
            describes it.
        """
        return comparison_dict(self)

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
        """
        parts = [m.marginals.w1 for m in self.methods.values() if m.marginals is not None]
        if not parts:
            return self.parameters[:count]
        order = np.argsort(-np.max(parts, axis=0), kind="stable")
        return tuple(self.parameters[i] for i in order[:count])

    def plot(self) -> Figure:
        """Marginal densities of all methods over the reference, the worst first.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from stanrovi.plots import plot_marginals

        return plot_marginals(self)

    def to_html(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the report: one self-contained HTML file.

        Parameters
        ----------
        path : path-like
            Destination.
        overwrite : bool
            Whether an existing file may be replaced.

        Returns
        -------
        Path
            ``path``.

        Raises
        ------
        OutputError
            The path exists or cannot be written.
        """
        from stanrovi.report import write_report

        return write_report(self, path, overwrite=overwrite)

    def __repr__(self) -> str:
        trust = "trusted" if self.reference.trusted else "NOT trusted"
        lines = [
            f"Comparison of {self.model} with {self.reference.method} ({trust}), "
            f"{len(self.parameters)} parameters",
            f"{'method':<12}{'verdict':<12}{'W1 max':>7}{'floor':>7}{'|mean|':>7}{'sd ratio':>11}"
            f"{'k-hat':>7}{'grads':>9}{'s':>7}",
        ]
        for name, method in self.methods.items():
            row = summary_row(method)
            verdict = "cannot hold" if len(method.verdict.name) > 11 else method.verdict.name
            lines.append(
                f"{name:<12.11}{verdict:<12}{row['w1_max']:>7}{row['floor']:>7}"
                f"{row['mean_error_max']:>7}{row['sd_ratio']:>11}{row['khat']:>7}"
                f"{row['n_gradients']:>9}{row['seconds']:>7}"
            )
        return "\n".join([*lines, *self._short_reasons()])

    def _short_reasons(self) -> list[str]:
        """Say in a sentence each what is against the reference and the fits."""
        lines = [] if self.reference.trusted else [f"{self.reference.method}: NOT trusted. "
                                                   f"{self.reference.reason}"]  # fmt: skip
        for name, method in self.methods.items():
            if method.verdict.name != "ok" and (reasons := method.verdict.reasons):
                more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
                lines.append(f"{name}: {reasons[0]}{more}")
        return [textwrap.fill(line, 80, subsequent_indent="  ") for line in lines]

    def _repr_html_(self) -> str:
        from stanrovi.report import summary_html

        return summary_html(self)


def compare(
    fits: Run | Sequence[Run] | Mapping[str, Run],
    reference: Run,
    *,
    model: str | None = None,
    seed: int = 0,
) -> Comparison:
    """Compare fits with a reference, usually NUTS.

    Parameters
    ----------
    fits : Draws, sequence or mapping of str to Draws
        One or more runs to judge. In a sequence they are named by their method
        (``"rovi"``, ``"rovi #2"``, ...). A run that carries draws as ``.draws``
        serves as well, here and below.
    reference : Draws
        NUTS or stored reference draws of the same model and data.
    model : str, optional
        Name of the model; by default what the draws say.
    seed : int
        Seed of the random splits behind the noise floor.

    Returns
    -------
    Comparison
        Where the reference is not trustworthy (chains that disagree, a single
        chain, many divergences, a known basin that it never visited) nothing is
        graded against it and the verdicts rest on the mode table.

    Raises
    ------
    UsageError
        No fits, one that has the name of the reference, a reference that is a
        variational fit, or something that carries no draws.
    DrawsError
        The draws come from different models or are NaN or infinite; the message
        names the parameters.
    """
    reference = reference_draws(reference)
    named = named_fits(fits, reference)
    names, values, matrices = shared_quantities(named, reference)
    modes = mode_table(named, reference)
    check = check_reference(reference, values, names, modes.objection if modes else "")
    methods = {
        name: _compare_one(name, fit, matrices[name], values, names, check, modes, seed)
        for name, fit in named.items()
    }
    floors = [m.marginals.floor.max() for m in methods.values() if m.marginals is not None]
    return Comparison(
        model=model or _model_name(reference, named),
        parameters=names,
        reference=check,
        noise_floor=float(max(floors, default=np.nan)),
        methods=methods,
        modes=modes,
        fits=named,
        reference_draws=reference,
        seed=seed,
    )


def _compare_one(
    name: str,
    fit: Draws,
    draws: Array,
    values: Array,
    names: tuple[str, ...],
    check: ReferenceCheck,
    modes: ModeTable | None,
    seed: int,
) -> MethodComparison:
    marginals = pairs = None
    if check.trusted:
        rng = np.random.default_rng(seed)
        marginals = distances(draws, values, names, rng)
        pairs = pair_distances(draws, values, names, rng)
    return MethodComparison(
        verdict=grade(own_verdict(fit), check, marginals, pairs, modes, name),
        marginals=marginals,
        pairs=pairs,
        khat=_khat(fit),
        elbo=number(fit.attrs, "elbo"),
        elbo_se=number(fit.attrs, "elbo_se"),
        seconds=number(fit.attrs, "seconds"),
        n_gradients=number(fit.attrs, "n_gradients"),
        status=str(fit.attrs.get("status", "")),
    )


def _khat(fit: Draws) -> float:
    stored = number(fit.attrs, "khat")
    if math.isnan(stored) and {"lp", "log_q"} <= set(fit.sample_stats):
        ratios = np.ravel(fit.sample_stats["lp"]) - np.ravel(fit.sample_stats["log_q"])
        return draw_stats.psis_khat(ratios)
    return stored


def _model_name(reference: Draws, fits: Mapping[str, Draws]) -> str:
    for draws in (*fits.values(), reference):
        if draws.attrs.get("model"):
            return str(draws.attrs["model"])
    return "model"


def summary_row(method: MethodComparison) -> dict[str, str]:
    """Format the columns of a method for a table; ``-`` where unknown.

    Parameters
    ----------
    method : MethodComparison

    Returns
    -------
    dict of str to str
        Keys w1_max, floor, mean_error_max, sd_ratio, khat, elbo, n_gradients, seconds.
    """
    part = method.marginals
    return {
        "w1_max": "-" if part is None else f"{part.w1.max():.3f}",
        "floor": "-" if part is None else f"{part.floor[part.w1.argmax()]:.3f}",
        "mean_error_max": "-" if part is None else f"{np.abs(part.mean_error).max():.2f}",
        "sd_ratio": "-" if part is None else f"{part.sd_ratio.min():.2f}-{part.sd_ratio.max():.2f}",
        "khat": _shown(method.khat, ".2f"),
        "elbo": _shown(method.elbo, ".2f"),
        "n_gradients": _shown(method.n_gradients, ",.0f"),
        "seconds": _shown(method.seconds, ".2f"),
    }


def _shown(value: float, style: str) -> str:
    return "-" if math.isnan(value) else format(value, style)
