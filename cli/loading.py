"""MODEL and the options that say how it is loaded, the same for every command."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stanrovi_cli.options import Decorator, Name, path_option, together
from stanrovi_cli.progress import working

if TYPE_CHECKING:
    from stanrovi.stan.engine import EngineChoice
    from stanrovi.stan.model import Model

# The library's own list, spelt out: loading it would load NumPy for --help.
ENGINES = ("auto", "stanli", "bridgestan")


@dataclass(frozen=True)
class NamedModel:
    """What the command line names: a model, its data, folders of includes, an engine."""

    name: str
    data: Path | None
    include_paths: tuple[Path, ...]
    engine: EngineChoice

    @property
    def words(self) -> str:
        """What names it on another command line, its options with it."""
        words = [self.name]
        if self.data is not None:
            words += ["--data", str(self.data)]
        for folder in self.include_paths:
            words += ["--include-path", str(folder)]
        if self.engine != "auto":
            words += ["--engine", self.engine]
        return shlex.join(words)

    def load(self, *, seed: int = 0, max_seconds: float | None = None) -> Model:
        """Load it, for a run of so many seconds and for what follows it."""
        from stanrovi.runs.plan import limited_to
        from stanrovi.stan.model import Model

        with working(f"loading {self.name}"), limited_to(max_seconds):
            return Model(
                self.name,
                self.data,
                engine=self.engine,
                include_paths=self.include_paths,
                seed=seed,
            )


include_path_option = path_option(
    "--include-path",
    "include_paths",
    multiple=True,
    help="Folder to search for #include; can be repeated.",
)
_engine_option = click.option(
    "--engine",
    type=Name(ENGINES),
    default="auto",
    show_default=True,
    help="What evaluates the log density: the embedded engine or compiled BridgeStan.",
)


def model_options(*, engine: bool) -> Decorator:
    """Add MODEL, ``--data`` and ``--include-path``, and ``--engine`` where there is a choice.

    The command gets all of them as one `NamedModel`, its first argument.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def with_named(
            *, model: str, data: Path | None, include_paths: tuple[Path, ...], **rest: Any
        ) -> Any:
            chosen: Any = rest.pop("engine") if engine else "auto"
            return function(NamedModel(model, data, include_paths, chosen), **rest)

        last = (_engine_option,) if engine else ()
        return together(_model_argument, _data_option, include_path_option, *last)(with_named)

    return decorate


_model_argument = click.argument("model")
_data_option = path_option(
    "--data", help="JSON file; without, NAME.data.json or NAME.json beside NAME.stan."
)
