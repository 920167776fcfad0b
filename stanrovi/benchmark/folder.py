"""A benchmark on disk: tables, a line a run, JSON, plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stanrovi.benchmark.plots import NAMES, bench_plots
from stanrovi.benchmark.rows import BenchRow
from stanrovi.benchmark.tables import as_csv, as_markdown
from stanrovi.io.files import write_text
from stanrovi.io.json_values import json_text
from stanrovi.plots.figure import drawn, plot_files, save_plots

_TABLES, _CSV, _JSON = "bench.md", "bench.csv", "bench.json"
FILES = (_TABLES, _CSV, _JSON, *plot_files(NAMES))


def write_benchmark(rows: Sequence[BenchRow], document: Mapping[str, Any], folder: Path) -> None:
    """Write bench.md, bench.csv, bench.json, and plots (PNG and SVG) where there is accuracy.

    Parameters
    ----------
    rows : sequence of BenchRow
    document : mapping
        What ``stanrovi bench --json`` prints.
    folder : Path
        An existing folder, without files of these names.

    Raises
    ------
    OutputError
        A file exists or cannot be written.
    """
    plots = drawn(lambda: bench_plots(rows))
    save_plots(plots, folder)
    write_text(folder / _JSON, json_text(document) + "\n")
    write_text(folder / _CSV, as_csv(rows))
    write_text(folder / _TABLES, as_markdown(rows, plots))
