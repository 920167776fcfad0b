"""The posterior as a table: what a reader came for, once a run may be trusted."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from stanrovi.draws import Draws
from stanrovi.errors import decimal
from stanrovi.grading.findings import Findings
from stanrovi.runs.summary import summary_columns
from stanrovi.target import Array

_OPEN, _MOST = 20, 400  # rows
_QUANTILES = ("q5", "q50", "q95")


@dataclass(frozen=True)
class PosteriorTable:
    """Rows of text, for the report.

    Attributes
    ----------
    run : str
        Name of the run that they summarise.
    reference : str
        Name of the reference beside it; empty where there is none that is another run and trusted.
    columns : tuple of str
    rows, more : tuple of tuple of str
        Name of the parameter, then a cell for each column; ``more`` are those of large arrays.
    left_out : int
        Parameters beyond these.
    has_errors : bool
        Whether one of the columns is the estimated error.
    """

    run: str
    reference: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    more: tuple[tuple[str, ...], ...]
    left_out: int
    has_errors: bool


def posterior_table(findings: Findings) -> PosteriorTable | None:
    """Summarise the parameters of the first run that may be used.

    Parameters
    ----------
    findings : Findings

    Returns
    -------
    PosteriorTable or None
        Of the best fit that passed, beside a trusted reference; else of the reference.
        Scalars and small arrays come first. None where no run can be trusted.
    """
    passed = findings.usable
    trusted = findings.reference.trusted
    if not passed and not trusted:
        return None
    method, check = findings.reference.method, findings.reference_draws
    run, draws = (passed[0], findings.fits[passed[0]]) if passed else (method, check)
    beside = check if passed and trusted else None
    names = _smallest_first(findings, draws)
    shown = names[:_MOST]
    errors = _errors(draws, shown)
    rows = _rows(draws, beside, errors, shown)
    columns = ["mean", "sd", *(f"{level[1:]}%" for level in _QUANTILES)]
    columns += ["error (sds)"] if errors else []
    columns += [f"{method} mean", f"{method} sd"] if beside else []
    return PosteriorTable(
        run=run,
        reference=method if beside else "",
        columns=tuple(columns),
        rows=tuple(rows[:_OPEN]),
        more=tuple(rows[_OPEN:]),
        left_out=len(names) - len(shown),
        has_errors=bool(errors),
    )


def _smallest_first(findings: Findings, draws: Draws) -> list[str]:
    """Parameters compared; what a model is about are scalars and short vectors."""
    sizes = {name: values[0, 0].size for name, values in draws.posterior.items()}
    return sorted(findings.parameters, key=lambda name: sizes[_variable(name)])


def _errors(draws: Draws, names: list[str]) -> dict[str, str]:
    """Estimated errors with their Monte Carlo errors, where the fit tells them."""
    told = None if draws.facts is None else draws.facts.errors
    if told is None:
        return {}
    known = zip(told.names, told.error, told.se, strict=True)
    return {
        name: f"{decimal(error)} ± {decimal(se)}" for name, error, se in known if name in set(names)
    }


def _rows(
    draws: Draws, beside: Draws | None, errors: dict[str, str], names: list[str]
) -> list[tuple[str, ...]]:
    numbers = _columns(draws, names)
    theirs = None if beside is None else _columns(beside, names)
    decimals = _decimals(names, numbers["sd"] / math.sqrt(draws.n_chains * draws.n_draws))
    rows = []
    for i, (name, digits) in enumerate(zip(names, decimals, strict=True)):
        cells = [_number(float(numbers[key][i]), digits) for key in ("mean", "sd", *_QUANTILES)]
        cells += [errors.get(name, "")] if errors else []
        if theirs is not None:
            cells += [_number(float(theirs[key][i]), digits) for key in ("mean", "sd")]
        rows.append((name, *cells))
    return rows


def _columns(draws: Draws, names: list[str]) -> dict[str, Array]:
    variables = tuple(dict.fromkeys(_variable(name) for name in names))
    scalars = draws.scalars(variables)
    return summary_columns(np.stack([scalars[name].ravel() for name in names], axis=1))


def _decimals(names: list[str], errors: Array) -> list[int]:
    """Decimals down to the first digit of the Monte Carlo errors of the means.

    Alike within an array, but for elements whose errors are far smaller than most.
    """
    own = [
        max(0, -math.floor(math.log10(error))) if 0 < error < math.inf else 3 for error in errors
    ]
    arrays = [_variable(name) for name in names]
    usual = {
        array: int(np.median([d for d, of in zip(own, arrays, strict=True) if of == array]))
        for array in dict.fromkeys(arrays)
    }
    return [max(usual[of], d - 1) for of, d in zip(arrays, own, strict=True)]


def _variable(name: str) -> str:
    return name.partition("[")[0]


def _number(value: float, decimals: int) -> str:
    if decimals > 7 or abs(value) >= 1e9:
        return f"{value:.4g}"
    return f"{value:z,.{decimals}f}"
