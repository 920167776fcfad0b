"""``stanrovi compare``: fits against a reference, with plots and a report."""

from __future__ import annotations

import shlex
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stanrovi.arguments import checked_seed
from stanrovi_cli import console
from stanrovi_cli.options import (
    NUTS_ENGINES,
    Name,
    draws_option,
    json_option,
    methods_option,
    model_options,
    nuts_options,
    overwrite_option,
    path_option,
    seed_option,
    strict_option,
)

if TYPE_CHECKING:
    from stanrovi.draws import Draws
    from stanrovi.stan.model import Model


@click.command("compare")
@model_options
@methods_option
@seed_option
@draws_option
@click.option(
    "--reference",
    metavar="nuts|sample|FILE",
    help="What to compare with: a fresh run of NUTS or of stanrovi sample, or draws in a file, "
    "NetCDF or posteriordb's reference draws. By default NUTS, and where that is refused for "
    "several basins, sample.",
)
@click.option("--nuts-csv", metavar="PATTERN", help="CmdStan's CSV files of an earlier NUTS run.")
@click.option(
    "--nuts-engine",
    "engine",
    type=Name(NUTS_ENGINES),
    default="auto",
    show_default=True,
    help="Sampler of the fresh NUTS run.",
)
@nuts_options
@path_option("--output", help="Folder for draws, plots, report.html; nothing is written without.")
@overwrite_option
@strict_option
@json_option
def command(
    model: str,
    data: Path | None,
    methods: tuple[str, ...],
    seed: int | None,
    draws: int,
    reference: str | None,
    nuts_csv: str | None,
    output: Path | None,
    overwrite: bool,
    strict: bool,
    as_json: bool,
    **nuts_settings: Any,
) -> None:
    """Compare fits with NUTS.

    Fits the model by each method, samples by NUTS or reads a reference, and tells how
    far the fits lie from it and whether they can be trusted. Where NUTS cannot be
    trusted since there are several basins, the reference is what stanrovi sample
    draws. With --output DIR the draws (NetCDF), plots (PNG, SVG) and report.html are
    written.
    """
    from stanrovi.comparison.folder import write_comparison
    from stanrovi.io.folders import filled_folder
    from stanrovi.stan.model import Model
    from stanrovi_cli.comparing import show_comparison
    from stanrovi_cli.progress import working
    from stanrovi_cli.running import run_comparison

    if reference is not None and nuts_csv is not None:
        raise click.UsageError("--reference and --nuts-csv exclude each other; give one.")
    seed = checked_seed(seed)
    file, sampler = _reference(reference)
    kept = [file] if file else []
    with (
        filled_folder(output, overwrite=overwrite, keep=kept) if output else nullcontext()
    ) as folder:
        with working(f"loading {model}"):
            loaded = Model(model, data, seed=seed)
            stored = _stored_reference(loaded, file, nuts_csv)
        comparison = run_comparison(loaded, methods, seed, draws, stored, sampler, **nuts_settings)
        if folder is not None:
            with working("drawing plots"):
                program = shlex.join([model, *(["--data", str(data)] if data else [])])
                write_comparison(
                    comparison, folder, commands=[_this_command(seed)], program=program
                )
    if as_json:
        console.print_json(comparison.to_dict())
    else:
        show_comparison(comparison)
        if output is not None:
            console.wrote(output / "report.html")
    if strict and not comparison.passed:
        click.get_current_context().exit(3)


def _reference(given: str | None) -> tuple[Path | None, Any]:
    """Tell a file from the name of a sampler."""
    if given is None or given in ("nuts", "sample"):
        return None, given or "auto"
    if not Path(given).is_file():
        raise click.BadParameter(
            f"{given!r} is neither nuts nor sample, nor a file that exists.",
            param_hint="'--reference'",
        )
    return Path(given), "auto"


def _stored_reference(model: Model, path: Path | None, nuts_csv: str | None) -> Draws | None:
    if path is not None:
        from stanrovi_cli.comparing import read_reference

        cure = "give draws of NUTS, or leave out --reference to sample afresh"
        return read_reference(path, cure)
    if nuts_csv is not None:
        from stanrovi.runs.nuts import nuts_from_csv

        run = nuts_from_csv(nuts_csv, model)
        console.warn(run.warnings)
        return run.draws
    return None


def _this_command(seed: int) -> str:
    """Spell the command line that repeats this run, with the seed that it took."""
    context = click.get_current_context()
    values = context.params | {"seed": seed}
    words = ["stanrovi", "compare", values["model"]]
    for option in context.command.params:
        value = values.get(option.name or "")
        if isinstance(option, click.Option) and not option.is_flag and value is not None:
            words += [option.opts[0], ",".join(value) if isinstance(value, tuple) else str(value)]
    return shlex.join(words)
