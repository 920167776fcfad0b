"""``stanrovi modes``: where the density has its modes, and whether a product can keep them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from stanrovi.arguments import checked_seed
from stanrovi_cli import console
from stanrovi_cli.loading import NamedModel, model_options
from stanrovi_cli.options import json_option, seed_option
from stanrovi_cli.parsing import Command

if TYPE_CHECKING:
    from stanrovi.modes.report import ModeReport
    from stanrovi.modes.separateness import Separateness

_MAX_MODES, _MAX_COORDINATES = 6, 30


@click.command("modes", cls=Command)
@model_options(engine=True)
@seed_option
@json_option
def command(model: NamedModel, seed: int | None, as_json: bool) -> None:
    """Search for modes, and tell whether mean field would lose some.

    Shows each mode with its share of the local evidence; how well coordinates, original
    and rotated, separate the two heaviest; and the largest mass that the best product
    measure on those coordinates can leave to the smaller one.
    """
    from stanrovi.runs.find_modes import find_modes
    from stanrovi_cli.progress import working

    seed = checked_seed(seed)
    loaded = model.load(seed=seed)
    with working(f"searching for modes of {model.name}"):
        report = find_modes(loaded, seed=seed)
    if as_json:
        console.print_json(report.to_dict() | {"engine": loaded.engine, "seed": seed})
    else:
        _show(report, seed)


def _show(report: ModeReport, seed: int) -> None:
    console.warn(report.warnings)
    rows = [
        ("model", report.model),
        ("search", f"{report.n_starts} starts, {report.n_gradients:,} gradients, seed {seed}"),
        ("unseen", f"about {report.unseen:.1%} chance that another climb finds a new basin"),
    ]
    if not report.modes:
        console.facts([*rows, ("modes", "none found, so nothing is known of their separateness")])
        return
    rows += [("original", _separated(report.original)), ("rotated", _separated(report.rotated))]
    if len(report.modes) > 1:
        rows.append(("RoVI", f"at most {report.rovi_kl:.3g} nats (KL) from these modes as normals"))
    console.facts([*rows, *([("misfit", report.misfit)] if report.misfit else [])])
    console.modes(
        ("mode", "orbit", "log density", "evidence"),
        [
            (str(i), console.orbit(mode.orbit), f"{mode.log_density:.2f}", f"{mode.weight:.1%}")
            for i, mode in enumerate(report.modes, 1)
        ],
        "Modes: share of the local evidence; those of one orbit are images by a symmetry",
    )
    if any(pair.separateness.is_bounded for pair in report.pairs):
        _show_pairs(report)
    _show_positions(report)


def _show_pairs(report: ModeReport) -> None:
    console.table(
        ("modes", "coordinates", "epsilon", "lighter at most"),
        [
            (
                f"{pair.first + 1} and {pair.second + 1}",
                " and ".join(pair.separateness.coordinates),
                f"{pair.separateness.epsilon:.2g}",
                f"{pair.separateness.bound:.2%}",
            )
            for pair in report.pairs
            if pair.separateness.is_bounded
        ],
        "Pairs: what a product on the original coordinates can leave the lighter of their corners",
    )


def _show_positions(report: ModeReport) -> None:
    from stanrovi.markup import short

    modes, names = report.modes[:_MAX_MODES], report.names[:_MAX_COORDINATES]
    console.table(
        ("coordinate", *(f"mode {i}" for i in range(1, len(modes) + 1))),
        [
            (name, *(short(float(mode.position[i])) for mode in modes))
            for i, name in enumerate(names)
        ],
        "Positions, unconstrained",
    )
    if len(modes) < len(report.modes) or len(names) < len(report.names):
        console.say("... and more, all of which --json tells.")


def _separated(found: Separateness | None) -> str:
    return "one mode, nothing to lose" if found is None else found.told
