"""MODEL and the options that say how it is loaded, the same for every command."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from stanrovi_cli import console
from stanrovi_cli.options import Decorator, Name, path_option, together
from stanrovi_cli.progress import working

if TYPE_CHECKING:
    from stanrovi.stan.engine import EngineChoice
    from stanrovi.stan.model import Model

# The library's own list, spelt out: loading it would load NumPy for --help.
ENGINES = ("auto", "stanli", "bridgestan")


class NamedModel(NamedTuple):
    """What the command line names: a model, its data, folders of includes, what runs it."""

    name: str
    data: Path | None
    include_paths: tuple[Path, ...]
    engine: EngineChoice
    isolate: bool = False

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
        if self.isolate:
            words += ["--isolate"]
        return shlex.join(words)

    def load(
        self,
        *,
        seed: int = 0,
        max_seconds: float | None = None,
        stored: bool = False,
        simulates: bool = False,
    ) -> Model:
        """Load it, for a run of so many seconds, what follows it, and a file of draws.

        Random numbers in transformed data are what a model that ``simulates`` is for; of any
        other a warning tells of them.
        """
        from stanrovi.io.arviz import require_storable
        from stanrovi.runs.plan import limited_to
        from stanrovi.stan.model import Model

        with working(f"loading {self.name}"), limited_to(max_seconds):
            model = Model(
                self.name,
                self.data,
                engine=self.engine,
                include_paths=self.include_paths,
                seed=seed,
                isolate=self.isolate,
            )
        if stored:
            require_storable(model.variables)
        if model.has_random_data and not simulates:
            console.warn(
                [
                    f"{model.name} draws random numbers in transformed data, so its posterior "
                    f"differs from seed to seed: this is that of seed {seed}. Move the numbers "
                    "into the data for one posterior."
                ]
            )
        return model


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
_isolate_option = click.option(
    "--isolate",
    is_flag=True,
    help="Run the program in a process of its own, which alone ends if it crashes.",
)


def model_options(*, engine: bool) -> Decorator:
    """Add MODEL, its options, and ``--engine`` where there is a choice.

    The command gets all of them as one `NamedModel`, its first argument.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def with_named(
            *,
            model: str,
            data: Path | None,
            include_paths: tuple[Path, ...],
            isolate: bool,
            **rest: Any,
        ) -> Any:
            chosen: Any = rest.pop("engine") if engine else "auto"
            return function(NamedModel(model, data, include_paths, chosen, isolate), **rest)

        last = (_engine_option, _isolate_option) if engine else (_isolate_option,)
        return together(_model_argument, _data_option, include_path_option, *last)(with_named)

    return decorate


_model_argument = click.argument("model")
_data_option = path_option(
    "--data", help="JSON file; without, NAME.data.json or NAME.json beside NAME.stan."
)
