"""``stanrovi demo``: the main job on bundled models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from stanrovi_cli import console
from stanrovi_cli.options import folder_option, json_option, overwrite_option
from stanrovi_cli.parsing import Command

if TYPE_CHECKING:
    from stanrovi.comparison.comparison import Comparison

MODELS = ("bimodal_gaussian", "eight_schools")
_METHODS = ("mfvi", "rovi")
_SEED = 1


@click.command("demo", cls=Command)
@folder_option(
    "--output",
    default="stanrovi-demo",
    show_default=True,
    help="Folder for draws, plots and reports.",
)
@overwrite_option
@json_option
def command(output: Path, overwrite: bool, as_json: bool) -> None:
    """Fit two bundled models and compare the fits with NUTS.

    On bimodal_gaussian mean field collapses into one mode, and rotation keeps both; on
    eight_schools both are graded against NUTS. Draws (NetCDF), plots and reports are
    written, one folder for each model.
    """
    from stanrovi.comparison.folder import comparison_files, write_comparison
    from stanrovi.io.folders import filled_folder
    from stanrovi.stan.model import Model
    from stanrovi_cli.comparing import show_comparison
    from stanrovi_cli.progress import working
    from stanrovi_cli.running import run_comparison

    comparisons: dict[str, Comparison] = {}
    files = comparison_files([*_METHODS, "nuts", "sample"])
    names = [f"{name}/{file}" for name in MODELS for file in files]
    with filled_folder(output, overwrite=overwrite, names=names) as folder:
        for name in MODELS:
            comparison = run_comparison(Model(name, seed=_SEED), _METHODS, _SEED)
            with working("drawing plots"):
                (folder / name).mkdir()
                write_comparison(comparison, folder / name, commands=[_command(name)], program=name)
            if not as_json:
                click.echo("\n" if comparisons else "", nl=False)
                show_comparison(comparison)
            comparisons[name] = comparison
    if as_json:
        models = {name: comparison.to_dict() for name, comparison in comparisons.items()}
        console.print_json({"output": output, "models": models})
    else:
        console.wrote(*(output / name / "report.html" for name in MODELS))


def _command(name: str) -> str:
    methods = ",".join(_METHODS)
    return f"stanrovi compare {name} --methods {methods} --seed {_SEED} --output {name}"
