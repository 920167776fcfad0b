"""``stanrovi report``: the comparison again, from files of draws."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from stanrovi.errors import UsageError
from stanrovi_cli import console
from stanrovi_cli.options import (
    FilePath,
    folder_option,
    json_option,
    overwrite_option,
    strict_option,
)
from stanrovi_cli.parsing import Command


@click.command("report", cls=Command)
@click.argument(
    "files",
    metavar="FIT.nc... REFERENCE.nc",
    nargs=-1,
    required=True,
    type=FilePath(exists=True),
)
@folder_option("--output", required=True, help="Folder for plots and report.html.")
@overwrite_option
@strict_option
@json_option
def command(
    files: tuple[Path, ...], output: Path, overwrite: bool, strict: bool, as_json: bool
) -> None:
    """Compare fits and NUTS draws that are stored in files.

    The last file is the reference: of `stanrovi nuts`, of any sampler that ArviZ
    writes, or posteriordb's reference draws. The others are fits of the same model.
    """
    from stanrovi.comparison.comparison import compare
    from stanrovi.comparison.folder import comparison_files, write_comparison
    from stanrovi.io.folders import filled_folder
    from stanrovi.io.netcdf import read_draws
    from stanrovi_cli.comparing import read_reference, show_comparison
    from stanrovi_cli.progress import working

    if len(files) < 2:
        raise UsageError(f"A fit and a reference are needed, but {files[0]} is the only file.")
    if any(file.suffix == ".csv" for file in files):
        raise UsageError(
            "CSV files of CmdStan do not tell what the parameters are; give them to "
            "stanrovi compare MODEL --reference."
        )
    draws = list(output.glob("*.nc")) if output.is_dir() else []  # of a comparison, perhaps read
    with (
        filled_folder(output, overwrite=overwrite, keep=draws, names=comparison_files()) as folder,
        working("comparing"),
    ):
        fits = [read_draws(file) for file in files[:-1]]
        comparison = compare(fits, read_reference(files[-1], "the last file must be that of NUTS"))
        line = shlex.join(["stanrovi", "report", *map(str, files), "--output", str(output)])
        names = [*comparison.fits, comparison.reference.method]
        origin = dict(zip(names, map(str, files), strict=True))
        write_comparison(comparison, folder, files=origin, commands=[line])
    if as_json:
        console.print_json(comparison.to_dict())
    else:
        show_comparison(comparison)
        console.wrote(output / "report.html")
    if strict and not comparison.passed:
        click.get_current_context().exit(3)
