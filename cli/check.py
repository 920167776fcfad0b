"""``stanrovi check``: whether program and data are accepted, and what they cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from stanrovi_cli import console
from stanrovi_cli.loading import NamedModel, model_options
from stanrovi_cli.options import json_option, strict_option
from stanrovi_cli.parsing import Command

if TYPE_CHECKING:
    from stanrovi.stan.check import ModelCheck
    from stanrovi.stan.model import Model


@click.command("check", cls=Command)
@model_options(engine=True)
@strict_option
@json_option
def command(model: NamedModel, strict: bool, as_json: bool) -> None:
    """Check that program and data are accepted, and the gradient right.

    Shows the dimension, the engine in use, the error of the gradient against finite
    differences at random points, and the time that a gradient takes.
    """
    from stanrovi.stan.check import check_model
    from stanrovi_cli.progress import working

    loaded = model.load()
    with working(f"checking {model.name}"):
        found = check_model(loaded)
    if as_json:
        console.print_json(_as_dict(loaded, found))
    else:
        console.warn(found.warnings)
        console.facts(_facts(loaded, found))
    if strict and not found.gradient_agrees:
        click.get_current_context().exit(3)


def _as_dict(model: Model, found: ModelCheck) -> dict[str, object]:
    return {
        "model": model.name,
        "engine": model.engine,
        "dim": model.dim,
        "parameters": list(model.parameters),
        "gradient_agrees": found.gradient_agrees,
        "gradient_error": found.gradient_error,
        "n_points": found.n_points,
        "n_rejected": found.n_rejected,
        "last_rejection": found.last_rejection,
        "microseconds_per_gradient": found.microseconds_per_gradient,
        "threads": found.threads,
        "warnings": found.warnings,
    }


def _facts(model: Model, found: ModelCheck) -> list[tuple[str, str]]:
    agrees = "agrees with" if found.gradient_agrees else "DIFFERS from"
    return [
        ("model", model.name),
        ("engine", model.engine),
        ("dimension", f"{model.dim} unconstrained, {model.n_columns} numbers in a draw"),
        ("parameters", ", ".join(model.parameters)),
        (
            "gradient",
            f"{agrees} finite differences (relative error {found.gradient_error:.1e})",
        ),
        ("rejected", f"{found.n_rejected} of {found.n_points} random points"),
        (
            "time",
            f"{found.microseconds_per_gradient:.2f} us per gradient in batches "
            f"({found.threads} thread{'s' if found.threads > 1 else ''})",
        ),
    ]
