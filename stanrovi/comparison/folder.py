"""A comparison on disk: draws, JSON, plots and the report in one folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from stanrovi.comparison.as_html import write_report
from stanrovi.comparison.comparison import Comparison
from stanrovi.io.files import write_text
from stanrovi.io.json_values import json_text
from stanrovi.io.netcdf import write_netcdf
from stanrovi.plots.figure import drawn, plot_files, save_plots
from stanrovi.plots.gallery import DRAWN, all_plots

_JSON, _REPORT, _PLOTS = "comparison.json", "report.html", "plots"


def comparison_files(runs: Iterable[str] = ()) -> list[str]:
    """Paths in its folder that a comparison may write, with the draws of these runs."""
    pictures = [f"{_PLOTS}/{name}" for name in plot_files(DRAWN)]
    return [*(f"{name}.nc" for name in runs), _JSON, _REPORT, *pictures]


def write_comparison(
    comparison: Comparison,
    folder: Path,
    *,
    files: Mapping[str, str] | None = None,
    commands: Sequence[str] | None = None,
    program: str | None = None,
) -> None:
    """Write draws, JSON, plots and the report into a folder.

    Parameters
    ----------
    comparison : Comparison
    folder : Path
        An existing folder, without files of these names (`stanrovi.io.folders.filled_folder`
        gives one).
    files : mapping of str to str, optional
        Files from which the draws of each run came, by name; without, they are written as well.
    commands : sequence of str, optional
        Commands that reproduce it, for the report.
    program : str, optional
        What names the model on a command line; see `write_report`.

    Raises
    ------
    OutputError
        A file exists or cannot be written.
    """
    if files is None:
        files = {name: f"{name}.nc" for name in comparison.runs}
        for name, run in comparison.runs.items():
            write_netcdf(run, folder / files[name])
    write_text(folder / _JSON, json_text(comparison.to_dict()) + "\n")
    plots = drawn(lambda: all_plots(comparison))
    if plots:
        (folder / _PLOTS).mkdir()
        save_plots(plots, folder / _PLOTS)
    write_report(
        comparison,
        folder / _REPORT,
        plots=plots,
        commands=commands,
        files=files,
        program=program,
    )
