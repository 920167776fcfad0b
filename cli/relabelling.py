"""``--relabel``: draws in one labelling, for fits and samples alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from stanrovi_cli import console

if TYPE_CHECKING:
    from stanrovi.runs.fitted import Fit
    from stanrovi.runs.relabel import Relabelled
    from stanrovi.runs.sample_run import SampleRun
    from stanrovi.stan.model import Model


def relabel_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--relabel``."""
    return click.option(
        "--relabel",
        is_flag=True,
        help="Also give the draws in one labelling of modes that symmetries exchange; --output "
        "then holds those.",
    )(command)


def relabelled(run: Fit | SampleRun, model: Model) -> tuple[Relabelled | None, str]:
    """Relabel, or say why not: the run itself is not lost for that."""
    from stanrovi.runs.relabel import relabel

    return console.or_refusal("Not relabelled.", lambda: relabel(run, model))


def as_dict(found: Relabelled | None, refusal: str) -> dict[str, Any]:
    """Give what ``--json`` tells of it."""
    from stanrovi_cli.summary import moments

    if found is None:
        return {"refused": refusal, "moved": None, "representatives": None, "summary": None}
    return {
        "refused": None,
        "moved": found.moved,
        "reason": found.reason,
        "representatives": list(found.representatives),
        "summary": moments(found.draws),
    }


def show(found: Relabelled | None, *, chains: bool = False) -> None:
    """Print what was done, and the summary of the draws now."""
    from stanrovi_cli.summary import print_summary

    if found is not None:
        console.say(f"Relabelled {found.moved:.0%} of the draws. {found.reason}")
        print_summary(found.draws, chains=chains)
