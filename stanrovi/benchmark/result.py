"""What a benchmark gives: its rows, and what they amount to."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stanrovi.benchmark.folder import FILES, write_benchmark
from stanrovi.benchmark.rows import BenchRow, MethodSummary, by_method, summarise
from stanrovi.io.files import usable_path
from stanrovi.io.folders import filled_folder

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
        return tuple(summarise(*group) for group in by_method(self.rows).items())

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
            Whether it may hold files; those of an earlier benchmark are replaced.

        Returns
        -------
        Path
            ``folder``.

        Raises
        ------
        OutputError
            A file exists or cannot be written.
        """
        with filled_folder(usable_path(folder), overwrite=overwrite, names=FILES) as place:
            write_benchmark(self.rows, self.to_dict(), place)
        return Path(folder)

    def __repr__(self) -> str:
        failed = sum(row.error is not None for row in self.rows)
        models = len({row.model for row in self.rows})
        return (
            f"<BenchResult: {len(self.rows)} runs, {models} posteriors, {len(self.methods)} "
            f"methods, {failed} failed>"
        )
