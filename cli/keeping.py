"""Runs that are kept in a folder as they are done, to be gone on with; who does them."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
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


def jobs_option(default: str, *, least: int = 1) -> Decorator:
    """Add ``--jobs``, without which it is as the words say; 0, where it may be, is none."""
    none = "" if least else " 0: none, all in this process."
    return click.option(
        "--jobs",
        type=Whole(min=least),
        metavar="N",
        help=f"Worker processes; by default {default}.{none}",
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
def kept_runs(
    output: Path | None, *, resume: bool, overwrite: bool, names: Iterable[str]
) -> Iterator[Path | None]:
    """Give the ledger of a folder, if there is one; Ctrl-C tells what is kept.

    See `stanrovi.io.folders.resumable_folder`.
    """
    from stanrovi.io.folders import check_resume, resumable_folder
    from stanrovi.io.ledger import n_done
    from stanrovi.scalars import counted

    check_resume(output, resume=resume)
    if output is None:
        yield None
        return
    with resumable_folder(output, resume=resume, overwrite=overwrite, names=names) as ledger:
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


@dataclass(frozen=True)
class _Told:
    """What a ledger tells of a run whose draws are in a file; and a hash of these."""

    warnings: list[str]
    trusted: bool
    reason: str
    attrs: list[str]
    draws_hash: str


class KeptRuns:
    """Runs by name; with a ledger in files beside it, those of an earlier program included.

    A file lies in `stanrovi.io.folders.KEPT` until the comparison is there, then among its files.

    Parameters
    ----------
    ledger : Ledger, optional
    model : Model, optional
        Files of runs of another one are not taken.
    """

    def __init__(self, ledger: Ledger | None = None, model: Model | None = None) -> None:
        from stanrovi.io.ledger import n_done

        self._ledger, self._model = ledger, model
        self._known: dict[str, Drawn] = {}
        if ledger is not None and not n_done(ledger.path):
            self._remove()  # what a run has left whose ledger is not gone on with

    def get(self, name: str) -> Drawn | None:
        """Give a run; None where it is not done."""
        from stanrovi.errors import DrawsError, UsageError

        if name not in self._known and self._ledger and name in self._ledger.records:
            for path in (self._path(name), self._ledger.path.with_name(f"{name}.nc")):
                with suppress(DrawsError, UsageError):  # gone, damaged, of another: made again
                    self._known[name] = self._read(path, self._ledger.records[name])
                    break
        return self._known.get(name)

    def add(self, name: str, run: Drawn) -> Drawn:
        """Keep a run: it is in its file, and told by the ledger, when this returns."""
        from stanrovi.io.netcdf import write_netcdf

        self._known[name] = run
        if self._ledger is not None:
            path = self._path(name)
            with suppress(OSError):  # of the folder that is not there, writing tells
                path.parent.mkdir(exist_ok=True)
            write_netcdf(run.draws, path, overwrite=True)
            told = {"warnings": run.warnings, "trusted": run.trusted, "reason": run.reason}
            kept = {"attrs": list(run.draws.attrs), "draws_hash": _hash(run.draws)}
            self._ledger.append(name, told | kept)
        return run

    def _remove(self) -> None:
        shutil.rmtree(self._path("").parent, ignore_errors=True)

    def _path(self, name: str) -> Path:
        from stanrovi.io.folders import KEPT

        assert self._ledger is not None
        return self._ledger.path.parent / KEPT / f"{name}.nc"

    def _read(self, path: Path, told: Mapping[str, Any]) -> Drawn:
        """Read draws, with those attributes that they had before they were written."""
        from stanrovi.errors import DrawsError
        from stanrovi.io.ledger import kept_as
        from stanrovi.io.netcdf import read_draws
        from stanrovi.runs.record import is_of, not_of

        kept, draws = kept_as(_Told, told), read_draws(path)
        if _hash(draws) != kept.draws_hash:
            raise DrawsError(f"{path} holds other draws.")
        if self._model is not None and not is_of(self._model, draws.attrs):
            raise not_of(self._model, draws.attrs)
        attrs = {name: draws.attrs[name] for name in kept.attrs if name in draws.attrs}
        return Drawn(replace(draws, attrs=attrs), tuple(kept.warnings), kept.trusted, kept.reason)


def _hash(draws: Draws) -> str:
    """SHA-256 of the values of draws, by the names of their variables."""
    found = hashlib.sha256()
    for name, values in sorted(draws.posterior.items()):
        found.update(f"{name} {values.shape} {values.dtype}".encode())
        found.update(values.tobytes())
    return found.hexdigest()
