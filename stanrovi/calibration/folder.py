"""A calibration on disk: ranks as JSON, and plots."""

from __future__ import annotations

from pathlib import Path

from stanrovi.calibration.plots import calibration_plots
from stanrovi.calibration.result import CalibrationResult
from stanrovi.io.files import write_text
from stanrovi.io.json_values import json_text
from stanrovi.plots.figure import drawn, plot_files, save_plots

FILES = ("sbc.json", *plot_files(("ranks", "ecdf")))


def write_calibration(
    result: CalibrationResult, folder: Path, *, output: Path | None = None
) -> None:
    """Write sbc.json and the plots into a folder.

    Parameters
    ----------
    result : CalibrationResult
    folder : Path
        An existing folder, without files of these names.
    output : Path, optional
        What the JSON calls the folder; ``folder`` by default.

    Raises
    ------
    OutputError
        A file exists or cannot be written.
    """
    found = result.to_dict() | {"output": output or folder}
    write_text(folder / FILES[0], json_text(found) + "\n")
    save_plots(drawn(lambda: calibration_plots(result)), folder)
