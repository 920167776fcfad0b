"""``stanrovi compare``: fits against a reference, with plots and a report."""

from __future__ import annotations

import glob
import shlex
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stanrovi.arguments import checked_seed, suggestion
from stanrovi_cli import console
from stanrovi_cli.keeping import KeptRuns, jobs_option, kept_runs, request, resume_option
from stanrovi_cli.loading import NamedModel, model_options
from stanrovi_cli.options import (
    NUTS_ENGINES,
    Name,
    draws_option,
    folder_option,
    json_option,
    methods_option,
    nuts_options,
    overwrite_option,
    seed_option,
    strict_option,
)
from stanrovi_cli.parsing import Command, Files
from stanrovi_cli.progress import working

if TYPE_CHECKING:
    from stanrovi.draws import Draws
    from stanrovi.stan.model import Model


@click.command("compare", cls=Command)
@model_options(engine=True)
@methods_option
@seed_option
@draws_option
@click.option(
    "--reference",
    cls=Files,
    metavar="nuts|sample|FILES",
    help="What to compare with: a fresh run of NUTS or of stanrovi sample, or draws in files: "
    "CmdStan's CSV ('out_*.csv'), NetCDF or posteriordb's reference draws. By default NUTS, and "
    "where that is refused for several basins, sample.",
)
@click.option(
    "--nuts-csv",
    cls=Files,
    metavar="PATTERN",
    help="CmdStan's CSV files of an earlier NUTS run, as for --reference.",
)
@click.option(
    "--nuts-engine",
    type=Name(NUTS_ENGINES),
    default="auto",
    show_default=True,
    help="Sampler of the fresh NUTS run.",
)
@nuts_options
@jobs_option("none: one run after another, with its progress")
@folder_option("--output", help="Folder for draws, plots, report.html; nothing is written without.")
@resume_option
@overwrite_option
@strict_option
@json_option
def command(
    model: NamedModel,
    methods: tuple[str, ...],
    seed: int | None,
    draws: int,
    reference: tuple[str, ...],
    nuts_csv: tuple[str, ...],
    nuts_engine: str,
    jobs: int | None,
    output: Path | None,
    resume: bool,
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
    written; each fit is kept there as soon as it is done, and should the run end early,
    or methods be added, --resume makes those that are missing.
    """
    from stanrovi.comparison.folder import comparison_files, write_comparison
    from stanrovi.io.folders import KEPT, filled_folder
    from stanrovi.io.ledger import Ledger, agreed_seed
    from stanrovi.stan.nuts.csv_files import csv_files
    from stanrovi_cli.comparing import show_comparison
    from stanrovi_cli.running import run_comparison

    if reference and nuts_csv:
        raise click.UsageError("--reference and --nuts-csv exclude each other; give one.")
    nuts_settings["engine"] = nuts_engine
    files, sampler = _reference(reference)
    if nuts_csv:
        files += csv_files(nuts_csv)
    names = comparison_files([*methods, "nuts", "sample"])
    with kept_runs(output, resume=resume, overwrite=overwrite, names=names) as path:
        asked: dict[str, Any] = {"command": "compare"}
        seed = checked_seed(seed) if path is None else agreed_seed(path, asked, seed)
        loaded = model.load(seed=seed, stored=path is not None)
        stored = _stored_reference(loaded, files, as_csv=bool(nuts_csv)) if files else None
        if path is not None:
            asked |= request(loaded, draws=draws, **_as_words(nuts_settings))
            agreed_seed(path, asked, seed)
        with nullcontext() if path is None else Ledger(path) as ledger:
            kept = KeptRuns(ledger, loaded)
            comparison = run_comparison(
                loaded, methods, seed, draws, stored, sampler, kept=kept, jobs=jobs, **nuts_settings
            )
            if output is not None and path is not None:
                with (
                    working("drawing plots"),
                    filled_folder(
                        output, overwrite=True, keep=files, own=[path], spent=[KEPT]
                    ) as folder,
                ):
                    write_comparison(
                        comparison, folder, commands=[_this_command(seed)], program=model.words
                    )
    if as_json:
        console.print_json(comparison.to_dict())
    else:
        show_comparison(comparison)
        if output is not None:
            console.wrote(output / "report.html")
    if strict and not comparison.passed:
        click.get_current_context().exit(3)


def _as_words(nuts_settings: Mapping[str, Any]) -> dict[str, str]:
    return {
        f"NUTS's {name}": "default" if value is None else str(value)
        for name, value in nuts_settings.items()
    }


def _reference(given: tuple[str, ...]) -> tuple[list[Path], Any]:
    """Tell files from the name of a sampler."""
    from stanrovi.stan.nuts.csv_files import csv_files

    if not given or given in (("nuts",), ("sample",)):
        return [], given[0] if given else "auto"
    for reason in filter(None, map(_no_file, given)):
        raise click.BadParameter(reason, param_hint="'--reference'")
    return csv_files(given), "auto"


def _no_file(word: str) -> str:
    """Why a word names no file, with the cure; empty where it may."""
    from stanrovi.io.files import usable_path

    path = usable_path(word)
    if word in ("nuts", "sample"):
        return f"{word} is a reference by itself; give it, or files."
    if path.is_dir():
        return f"{word} is a folder; name the files in it, such as {word}/*.csv."
    if path.exists() or glob.has_magic(word):
        return ""
    near = suggestion(word, ("nuts", "sample"))
    return f"{word!r} is neither nuts nor sample, nor a file that exists.{near}"


def _stored_reference(model: Model, files: Sequence[Path], *, as_csv: bool) -> Draws:
    """Read a reference; several files are CmdStan's, one for each chain."""
    from stanrovi_cli.comparing import read_reference

    if as_csv or all(file.suffix.lower() == ".csv" for file in files):
        from stanrovi.runs.nuts import nuts_from_csv

        with working("reading the reference"):
            run = nuts_from_csv(files, model)
        console.warn(run.warnings)
        return run.draws
    if len(files) > 1:
        other = next(file for file in files if file.suffix.lower() != ".csv")
        raise click.BadParameter(
            f"{len(files)} files, of which {other} is no CSV file: several files are the chains of "
            "one CmdStan run, all .csv; of another kind give one.",
            param_hint="'--reference'",
        )
    cure = "give draws of NUTS, or leave out --reference to sample afresh"
    return read_reference(files[0], cure)


def _this_command(seed: int) -> str:
    """Spell the command line that repeats this run, with the seed that it took."""
    context = click.get_current_context()
    values = context.params | {"seed": seed}
    words = ["stanrovi", "compare", values["model"]]
    for option in context.command.params:
        value = values.get(option.name or "")
        if not isinstance(option, click.Option) or option.is_flag or value is None:
            continue
        if option.multiple:
            words += [word for item in value for word in (option.opts[0], str(item))]
        else:
            words += [option.opts[0], ",".join(value) if isinstance(value, tuple) else str(value)]
    return shlex.join(words)
