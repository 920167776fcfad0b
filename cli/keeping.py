"""Runs that are kept in a folder as they are done, to be gone on with; who does them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stanrovi_cli.options import Decorator, Whole

if TYPE_CHECKING:
    from stanrovi.draws import Draws
    from stanrovi.io.ledger import Ledger
    from stanrovi.stan.model import Model

_RUNS = ".runs"  # folder for draws, beside a ledger


def jobs_option(default: str) -> Decorator:
    """Add ``--jobs``, without which it is as the words say."""
    return click.option(
        "--jobs", type=Whole(min=1), metavar="N", help=f"Worker processes; by default {default}."
    )


dask_option = click.option(
    "--dask",
    metavar="ADDRESS",
    help="Scheduler of Dask (tcp://host:8786) whose workers are to be used, or local.",
)
resume_option = click.option(
    "--resume", is_flag=True, help="Go on with the finished runs that DIR holds."
)


@contextmanager
def kept_runs(output: Path | None, *, resume: bool, overwrite: bool) -> Iterator[Path | None]:
    """Give the ledger of a folder, if there is one; Ctrl-C tells what is kept.

    See `stanrovi.io.folders.resumable_folder`.
    """
    from stanrovi.io.folders import resumable_folder
    from stanrovi.io.ledger import n_done
    from stanrovi.scalars import counted

    if output is None:
        if resume:
            raise click.UsageError("--resume goes on with what a folder holds; name it (--output).")
        yield None
        return
    with resumable_folder(output, resume=resume, overwrite=overwrite) as ledger:
        try:
            yield ledger
        except KeyboardInterrupt:
            if done := n_done(ledger):
                runs = counted(done, "finished run")
                click.echo(f"{output} keeps {runs}; --resume goes on with them.", err=True)
            raise


def request(model: Model, **settings: Any) -> dict[str, Any]:
    """Tell what all runs of a ledger have in common; see `stanrovi.io.ledger.agreed_seed`."""
    asked = {"stanrovi": version("stanrovi"), "model": model.name, **model.hashes}
    return asked | {"engine": model.engine} | settings


@dataclass(frozen=True)
class Drawn:
    """What a comparison takes from a run.

    Attributes
    ----------
    draws : Draws
    warnings : tuple of str
    trusted : bool
        What the run says of itself, where it does; and why.
    reason : str
    """

    draws: Draws
    warnings: tuple[str, ...] = ()
    trusted: bool = True
    reason: str = ""


class KeptRuns:
    """Runs by name; with a ledger in files beside it, those of an earlier program included.

    Parameters
    ----------
    ledger : Ledger, optional
    """

    def __init__(self, ledger: Ledger | None = None) -> None:
        from stanrovi.io.ledger import n_done

        self._ledger = ledger
        self._known: dict[str, Drawn] = {}
        if ledger is not None and not n_done(ledger.path):
            self._remove()  # what a run has left whose ledger is not gone on with

    def get(self, name: str) -> Drawn | None:
        """Give a run; None where it is not done."""
        if name not in self._known and self._ledger and name in self._ledger.records:
            self._known[name] = self._read(name, self._ledger.records[name])
        return self._known.get(name)

    def add(self, name: str, run: Drawn) -> Drawn:
        """Keep a run: it is in its file, and told by the ledger, when this returns."""
        from stanrovi.io.netcdf import write_netcdf

        self._known[name] = run
        if self._ledger is not None:
            path = self._path(name)
            path.parent.mkdir(exist_ok=True)
            write_netcdf(run.draws, path, overwrite=True)
            told = {"warnings": run.warnings, "trusted": run.trusted, "reason": run.reason}
            self._ledger.append(name, told | {"attrs": list(run.draws.attrs)})
        return run

    def forget(self) -> None:
        """Remove what is kept, since what is made of it is there."""
        if self._ledger is not None:
            os.truncate(self._ledger.path, 0)
            self._remove()

    def _remove(self) -> None:
        shutil.rmtree(self._path("").parent, ignore_errors=True)

    def _path(self, name: str) -> Path:
        assert self._ledger is not None
        return self._ledger.path.parent / _RUNS / f"{name}.nc"

    def _read(self, name: str, told: Mapping[str, Any]) -> Drawn:
        """Read draws, with those attributes that they had before they were written."""
        from stanrovi.io.netcdf import read_draws

        draws = read_draws(self._path(name))
        attrs = {name: draws.attrs[name] for name in told["attrs"]}
        return Drawn(
            replace(draws, attrs=attrs), tuple(told["warnings"]), told["trusted"], told["reason"]
        )
