"""Work that is kept in a folder as it is done, and gone on with where it was ended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

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
