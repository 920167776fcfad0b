"""Fits against a reference, with pictures and a report: what `stanrovi.compare` gives."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stanrovi.arguments import checked_mapping, checked_seed, checked_text
from stanrovi.comparison.as_html import write_report
from stanrovi.comparison.as_json import comparison_dict
from stanrovi.comparison.rows import summary_row
from stanrovi.draws import is_foreign
from stanrovi.grading.findings import Findings, examine
from stanrovi.grading.matching import named_fits, reference_draws
from stanrovi.grading.sameness import shown_once
from stanrovi.io.arviz import from_arviz
from stanrovi.markup import block, judgement, table, trust
from stanrovi.plots.marginals import plot_marginals
from stanrovi.scalars import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Columns of a table of methods: keys of `summary_row`, and their heads.
_COLUMNS = {
    "w1_max": "worst W1",
    "floor": "noise floor",
    "mean_error_max": "mean error",
    "sd_ratio": "sd ratio",
    "khat": "k-hat",
    "elbo": "ELBO",
    "n_gradients": "gradients",
    "seconds": "seconds",
}


@dataclass(frozen=True, repr=False, eq=False)
class Comparison(Findings):
    """Fits compared with a reference; see `compare`.

    Attributes
    ----------
    model : str
        Name of the model.
    parameters : tuple of str
        Scalar parameters compared, constant ones and copies left out.
    left_out : tuple of str
        Variables that only some of the runs have.
    reference : ReferenceCheck
        The reference, whether it is trusted, and why.
    noise_floor : float
        Largest noise floor of any parameter, reference sds; NaN where the
        reference is not trusted.
    methods : mapping of str to MethodComparison
        Verdict, distances and costs of each fit.
    modes : ModeTable or None
        None where no fit searched for modes.
    fits : mapping of str to Draws
    reference_draws : Draws
    seed : int
        Seed of the splits behind the noise floor.
    """

    def to_dict(self) -> dict[str, Any]:
        """Everything that ``stanrovi compare --json`` prints.

        Returns
        -------
        dict
            JSON-safe (unknown numbers are None); docs/schemas/compare.schema.json
            describes it.
        """
        return comparison_dict(self)

    def plot(self) -> Figure:
        """Marginal densities of all methods over the reference, the worst first.

        Returns
        -------
        matplotlib.figure.Figure
        """
        return plot_marginals(shown_once(self))

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
        return write_report(self, path, overwrite=overwrite)

    def __repr__(self) -> str:
        trust = "trusted" if self.reference.trusted else "NOT trusted"
        lines = [
            f"Comparison of {self.model} with {self.reference.method} ({trust}), "
            f"{counted(len(self.parameters), 'parameter')}",
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
        reference, methods = self.reference, self.methods
        columns = ("method", "verdict", *_COLUMNS.values())
        rows = [
            (
                name,
                f"{method.verdict.sign} {method.verdict.name}",
                *(summary_row(method)[key] for key in _COLUMNS),
            )
            for name, method in methods.items()
        ]
        return block(
            f"{self.model} compared with {reference.method}",
            table(
                columns, rows, f"{counted(len(self.parameters), 'parameter')}; W1 in reference sds"
            ),
            trust(reference.trusted, reference.reason, reference.method),
            *(
                judgement(method.verdict.sign, f"{name}: {method.verdict.name}", found)
                for name, method in methods.items()
                if (found := method.verdict.findings)
            ),
        )


def compare(
    fits: Any | Sequence[Any] | Mapping[str, Any],
    reference: Any,
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
        serves as well, here and below, and so does what `from_arviz` takes: an
        InferenceData, an xarray.DataTree, a CmdStanMCMC.
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
    model, seed = checked_text("model", model), checked_seed(seed)
    drawn = reference_draws(_converted(reference))
    found = examine(named_fits(_converted(fits), drawn), drawn, model=model, seed=seed)
    return Comparison(**{item.name: getattr(found, item.name) for item in fields(found)})


def _converted(runs: Any) -> Any:
    """Make draws of what is ArviZ's or cmdstanpy's, alone, in a sequence or in a mapping."""
    if is_foreign(runs):
        return from_arviz(runs)
    if isinstance(runs, Mapping):
        runs = checked_mapping("fits", runs, "names to draws")
        return {name: _converted(run) for name, run in runs.items()}
    if isinstance(runs, Sequence) and not isinstance(runs, str):
        return [_converted(run) for run in runs]
    return runs
