"""What the commands compare, report and demo share: reading a reference, showing findings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from stanrovi.errors import UsageError
from stanrovi_cli import console

if TYPE_CHECKING:
    from stanrovi.comparison.comparison import Comparison
    from stanrovi.draws import Draws


def read_reference(path: Path, cure: str) -> Draws:
    """Read the draws of a reference; a variational fit is refused with this cure."""
    from stanrovi.io.netcdf import read_draws

    draws = read_draws(path)
    if draws.is_variational:
        raise UsageError(
            f"{path} holds a variational fit ({draws.method}), which is no reference; {cure}."
        )
    return draws


def show_comparison(comparison: Comparison) -> None:
    """Print the reference, the table of methods, the modes, and the reasons."""
    from stanrovi.scalars import counted

    check = comparison.reference
    console.facts(
        [
            ("model", f"{comparison.model}, {counted(len(comparison.parameters), 'parameter')}"),
            ("reference", f"{check.method}, engine {check.engine}"),
            ("trusted", f"{'yes' if check.trusted else 'NO'}. {check.reason}"),
            *([("left out", _left_out(comparison))] if comparison.left_out else []),
        ]
    )
    _show_methods(comparison)
    if comparison.modes is not None and len(comparison.modes.weight) > 1:
        _show_modes(comparison)
    for name, method in comparison.methods.items():
        click.echo(f"\n{name}: {method.verdict.name}")
        console.points(method.verdict.told)


def _left_out(comparison: Comparison) -> str:
    return f"{', '.join(comparison.left_out)} (not in every run)"


def _show_methods(comparison: Comparison) -> None:
    from stanrovi.comparison.rows import summary_row

    rows = []
    for name, method in comparison.methods.items():
        row = summary_row(method)
        verdict = console.verdict(method.verdict.name)
        numbers = ("w1_max", "floor", "mean_error_max", "sd_ratio", "khat", "n_gradients")
        rows.append((name, verdict, *(row[key] for key in numbers), row["seconds"]))
    check = comparison.reference
    cost = (console.count(check.n_gradients), console.seconds(check.seconds))
    rows.append((check.method, "(reference)", *["-"] * 5, *cost))
    console.table(
        ("method", "verdict", "W1", "floor", "|mean|", "sd ratio", "k-hat", "gradients", "s"),
        rows,
        "Largest differences, in sds of the reference",
    )


def _show_modes(comparison: Comparison) -> None:
    modes = comparison.modes
    assert modes is not None
    columns = modes.columns(comparison.reference.method)
    console.modes(
        ("mode", "evidence", *list(columns)[1:]),
        [
            (str(i + 1), *(f"{share[i]:.1%}" for share in columns.values()))
            for i in range(len(modes.weight))
        ],
        "Modes: share of the local evidence, and of each run's draws",
    )
