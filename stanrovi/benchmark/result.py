"""What a benchmark gives: its rows, and what they amount to."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stanrovi.benchmark.plots import bench_plots
from stanrovi.benchmark.rows import BenchRow, MethodSummary, summarise
from stanrovi.benchmark.tables import as_csv, as_markdown
from stanrovi.io.files import output_folder, write_text
from stanrovi.io.json_values import json_text
from stanrovi.plots.figure import save_plots

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class BenchResult:
    """Rows of a benchmark; `stanrovi.bench` gives it.

    Attributes
    ----------
    rows : tuple of BenchRow
        Posteriors in the order given, within them methods, within them seeds.
    """

    rows: tuple[BenchRow, ...]

    @property
    def methods(self) -> tuple[MethodSummary, ...]:
        """Each method with all its runs."""
        names = dict.fromkeys(row.method for row in self.rows)
        return tuple(summarise(n, [row for row in self.rows if row.method == n]) for n in names)

    def to_dataframe(self) -> pd.DataFrame:
        """One row a run; columns are the fields of `stanrovi.benchmark.rows.BenchRow`."""
        import pandas as pd

        return pd.DataFrame(
            [asdict(row) for row in self.rows], columns=[item.name for item in fields(BenchRow)]
        )

    def summary(self) -> pd.DataFrame:
        """One row a method; columns are the fields of `stanrovi.benchmark.rows.MethodSummary`."""
        import pandas as pd

        columns = [item.name for item in fields(MethodSummary)]
        return pd.DataFrame([asdict(m) for m in self.methods], columns=columns).set_index("method")

    def to_dict(self) -> dict[str, Any]:
        """Everything that ``stanrovi bench --json`` prints."""
        return {
            "runs": [asdict(row) for row in self.rows],
            "methods": [asdict(method) for method in self.methods],
        }

    def write(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write bench.md, bench.csv, bench.json, and plots (PNG and SVG) where there is accuracy.

        Parameters
        ----------
        folder : path-like
            Made where it is not there.
        overwrite : bool
            Whether it may hold files, and those of an earlier benchmark be replaced.

        Returns
        -------
        Path
            ``folder``.

        Raises
        ------
        OutputError
            A file exists or cannot be written.
        """
        place = output_folder(folder, overwrite=overwrite)
        plots = bench_plots(self.rows)
        for name in ("accuracy_gradients", "accuracy_seconds", "verdicts"):
            for kind in ("png", "svg"):
                (place / f"{name}.{kind}").unlink(missing_ok=True)
        save_plots(plots, place)
        texts = {
            "bench.json": json_text(self.to_dict()) + "\n",
            "bench.csv": as_csv(self.rows),
            "bench.md": as_markdown(self.rows, self.methods, plots),
        }
        for name, text in texts.items():
            write_text(place / name, text, overwrite=overwrite)
        return place

    def __repr__(self) -> str:
        failed = sum(row.error is not None for row in self.rows)
        models = len({row.model for row in self.rows})
        return (
            f"<BenchResult: {len(self.rows)} runs, {models} posteriors, {len(self.methods)} "
            f"methods, {failed} failed>"
        )
