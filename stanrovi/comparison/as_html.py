"""The report: one self-contained HTML file that answers "can I trust it?" first."""

from __future__ import annotations

import base64
import math
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from stanrovi.arguments import checked_mapping, checked_text, listed
from stanrovi.arguments import told as told_briefly
from stanrovi.comparison.next_steps import next_steps, told
from stanrovi.comparison.posterior import posterior_table
from stanrovi.comparison.rows import summary_row
from stanrovi.errors import UsageError
from stanrovi.grading.findings import Findings, MethodComparison
from stanrovi.grading.sameness import shown_once
from stanrovi.io.files import check_output, write_text
from stanrovi.io.notes import FOR_PROGRAMS
from stanrovi.plots.figure import Plot, drawn
from stanrovi.plots.gallery import all_plots
from stanrovi.vi.facts import FitFacts, VerdictName
from stanrovi.vi.settings import FamilySettings

if TYPE_CHECKING:
    import jinja2

T = TypeVar("T")

_PACKAGES = ("stanrovi", "stanli", "bridgestan", "cmdstanpy", "arviz", "numpy", "scipy")
_WORST = 10
# A word and a CSS class each, beside the sign, so that colour is never the only carrier.
_BADGES: dict[VerdictName, tuple[str, str]] = {
    "ok": ("OK", "ok"),
    "suspect": ("Suspect", "suspect"),
    "collapsed": ("Collapsed", "bad"),
    "family cannot hold these modes": ("Family cannot hold these modes", "bad"),
}


def write_report(
    comparison: Findings,
    path: str | os.PathLike[str],
    *,
    plots: Sequence[Plot] | None = None,
    commands: Sequence[str] | None = None,
    files: Mapping[str, str] | None = None,
    program: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the report of a comparison.

    Parameters
    ----------
    comparison : Comparison
    path : path-like
        Destination, usually ``report.html``.
    plots : sequence of Plot, optional
        Plots made already; all that the material allows by default.
    commands : sequence of str, optional
        Command lines that reproduce it; none by default.
    files : mapping of str to str, optional
        File of the draws of each run, by name, to tell what to use.
    program : str, optional
        What names the model on a command line, with the options that it needs, so that what to do
        next can be told as commands.
    overwrite : bool
        Whether an existing file may be replaced.

    Returns
    -------
    Path
        ``path``.

    Raises
    ------
    UsageError
        What is given is no comparison, or something else is of a wrong type.
    OutputError
        The path exists or cannot be written.
    """
    if not isinstance(comparison, Findings):
        raise UsageError(
            f"A report is of what stanrovi.compare returns, not of {told_briefly(comparison)}."
        )
    files = checked_mapping("files", files, "names of runs to files")
    program = checked_text("program", program)
    commands = None if commands is None else _all("commands", commands, str)
    plots = None if plots is None else _all("plots", plots, Plot)
    check_output(path, overwrite=overwrite)
    html = report_html(comparison, plots=plots, commands=commands, files=files, program=program)
    return write_text(path, html, overwrite=overwrite)


def _all(name: str, values: Sequence[Any], kind: type[T]) -> list[T]:
    """List values of one type."""
    given = listed(name, values)
    if not all(isinstance(value, kind) for value in given):
        raise UsageError(f"{name} must be a list of {kind.__name__}, not {told_briefly(values)}.")
    return given


def report_html(
    findings: Findings,
    *,
    plots: Sequence[Plot] | None = None,
    commands: Sequence[str] | None = None,
    files: Mapping[str, str] | None = None,
    program: str | None = None,
) -> str:
    """Render the report of a comparison; see `write_report`.

    Parameters
    ----------
    findings : Findings
    plots, commands, files, program
        As in `write_report`.

    Returns
    -------
    str
        A complete HTML document that loads nothing from anywhere.
    """
    once = shown_once(findings)
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            **_shared(findings),
            cards=_methods(once),
            headline=_headline(once),
            steps=next_steps(once, files=_files_once(findings, once, files or {}), program=program),
            posterior=posterior_table(once),
            worst=_worst_rows(once),
            n_parameters=len(findings.parameters),
            modes=_mode_rows(once),
            plots=[_plot(plot) for plot in _drawn(findings, plots)],
            settings=_settings(findings),
            versions=_versions(),
            commands=commands,
        )
    )


def _drawn(findings: Findings, plots: Sequence[Plot] | None) -> Sequence[Plot]:
    return drawn(lambda: all_plots(findings), ["svg"]) if plots is None else plots


def _environment() -> jinja2.Environment:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.PackageLoader("stanrovi.comparison"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _shared(findings: Findings) -> dict[str, Any]:
    return {
        "model": findings.model,
        "reference": findings.reference,
        "noise_floor": _number(findings.noise_floor, ".3f"),
        "methods": _methods(findings),
        "reference_cost": {
            "seconds": _number(findings.reference.seconds, ".2f"),
            "n_gradients": _number(findings.reference.n_gradients, ",.0f"),
        },
    }


def _files_once(findings: Findings, once: Findings, files: Mapping[str, str]) -> dict[str, str]:
    """Files by the names of runs that are shown once."""
    owner = {id(run): name for name, run in findings.runs.items()}
    found = {label: files.get(owner[id(run)]) for label, run in once.runs.items()}
    return {label: file for label, file in found.items() if file is not None}


def _methods(findings: Findings) -> list[dict[str, Any]]:
    return [_method(name, method) for name, method in findings.methods.items()]


def _method(name: str, method: MethodComparison) -> dict[str, Any]:
    word, css = _BADGES[method.verdict.name]
    return {
        "name": name,
        "word": word,
        "sign": method.verdict.sign,
        "css": css,
        "reasons": method.verdict.told,
        "row": summary_row(method),
    }


def _headline(findings: Findings) -> str:
    good = [name for name, m in findings.methods.items() if m.verdict.name == "ok"]
    bad = [name for name in findings.methods if name not in good]
    if not bad:
        answer = f"Yes: {told(good)} passed every check."
    elif not good:
        answer = f"No: {told(bad)} did not pass."
    else:
        answer = f"{told(good)}: yes. {told(bad)}: no."
    if findings.reference.trusted:
        return answer
    return f"{answer} ({findings.reference.method} is no reference here: judged by the modes.)"


def _worst_rows(findings: Findings) -> list[dict[str, Any]]:
    """Rows of the table of worst parameters; empty where nothing was graded."""
    graded = {n: m.marginals for n, m in findings.methods.items() if m.marginals is not None}
    rows = []
    known = next(iter(graded.values())).names if graded else ()
    for name in [name for name in findings.worst_parameters(_WORST) if name in known]:
        i = known.index(name)
        cells = [
            {
                "w1": f"{part.w1[i]:.3f}",
                "mean": f"{part.mean_error[i]:+z.2f}",
                "sd": f"{part.sd_ratio[i]:.2f}",
                "beyond": bool(part.w1[i] > part.floor[i]),
            }
            for part in graded.values()
        ]
        floor = max(part.floor[i] for part in graded.values())
        rows.append({"parameter": name, "floor": f"{floor:.3f}", "cells": cells})
    return rows


def _mode_rows(findings: Findings) -> dict[str, Any] | None:
    table = findings.modes
    if table is None:
        return None
    columns = table.columns(findings.reference.method)
    order = range(min(len(table.weight), 12))
    return {
        "columns": list(columns),
        "rows": [
            {
                "log_density": _number(float(table.log_density[i]), ".2f"),
                "shares": [f"{mass[i]:.1%}" for mass in columns.values()],
                "chains": ""
                if table.chain_mass is None
                else " ".join(f"{share:.0%}" for share in table.chain_mass[:, i]),
            }
            for i in order
        ],
    }


def _settings(findings: Findings) -> list[tuple[str, list[tuple[str, str]]]]:
    return [
        (
            name,
            [
                ("draws", f"{run.n_chains} x {run.n_draws}"),
                *(
                    (key, _shown(value))
                    for key, value in run.attrs.items()
                    if key not in FOR_PROGRAMS
                ),
                *_fit_settings(run.facts),
            ],
        )
        for name, run in findings.runs.items()
    ]


def _fit_settings(facts: FitFacts | None) -> list[tuple[str, str]]:
    if facts is None:
        return []
    stages = ", ".join(f"{stage} {n:,}" for stage, n in facts.gradients_by_stage.items())
    changed = facts.settings if facts.settings != FamilySettings() else None
    rows = [] if changed is None else list(asdict(changed).items())
    return [
        *rows,
        *([("gradients_by_stage", stages)] if stages else []),
        *[("roots", str(root)) for root in facts.roots],
        *([("warnings", " ".join(facts.warnings))] if facts.warnings else []),
    ]


def _versions() -> list[tuple[str, str]]:
    rows = [("Python", platform.python_version())]
    for package in _PACKAGES:
        try:
            rows.append((package, metadata.version(package)))
        except metadata.PackageNotFoundError:
            continue
    return rows


def _plot(plot: Plot) -> dict[str, Any]:
    svg = base64.b64encode(plot.svg).decode("ascii")
    return {
        "name": plot.name,
        "title": plot.title,
        "caption": plot.caption,
        "alt": plot.alt,
        "source": f"data:image/svg+xml;base64,{svg}",
        "width": round(96 * plot.figure.get_figwidth()),  # CSS pixels
        "height": round(96 * plot.figure.get_figheight()),
    }


def _number(value: float, style: str) -> str:
    return format(value, style) if math.isfinite(value) else "unknown"


def _shown(value: str | int | float) -> str:
    if isinstance(value, (float, np.floating)):
        return f"{value:.6g}"
    return str(value)
