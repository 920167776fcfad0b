"""Arguments and options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from stanrovi.arguments import MAX_SEED, suggestion
from stanrovi.methods import METHODS, SUMMARIES

# The library's own lists, spelt out: loading them would load NumPy for --help.
MODEL_ENGINES = ("auto", "stanli", "bridgestan")
NUTS_ENGINES = ("auto", "cmdstan", "stanli", "numpy")

# What is asked for here but has a command of its own.
_ELSEWHERE = {"nuts": " To sample, use stanrovi nuts; stanrovi compare compares fits with it."}
# Of NetCDF, and of HDF5, which it is inside.
_NETCDF = ("", ".nc", ".nc4", ".netcdf", ".cdf", ".h5", ".hdf5")

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class Name(click.Choice):
    """One of a few names; a typo is answered with the nearest."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check the name."""
        if value not in self.choices:
            known = ", ".join(self.choices)
            hint = _ELSEWHERE.get(value) or suggestion(value, self.choices)
            self.fail(f"{value!r} is not one of {known}.{hint}", param, ctx)
        return str(value)


class Names(click.ParamType):
    """Several of a few names, separated by commas."""

    name = "a,b,..."

    def __init__(self, choices: Iterable[str]) -> None:
        self._one = Name(list(choices))

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Check each name; one named twice counts once."""
        if isinstance(value, tuple):
            return value
        words = [word.strip() for word in value.split(",")]
        return tuple(dict.fromkeys(self._one.convert(word, param, ctx) for word in words))


def path_option(*names: str, exists: bool = False, **settings: Any) -> Decorator:
    """Add an option that takes a path, of a file that must be there if ``exists``."""
    kind = click.Path(path_type=Path, exists=exists, dir_okay=not exists)
    return click.option(*names, type=kind, **settings)


def _named_as_netcdf(
    _ctx: click.Context, _param: click.Parameter, path: Path | None
) -> Path | None:
    """Refuse a name that promises another format than the one written."""
    if path is not None and path.suffix.lower() not in _NETCDF:
        raise click.BadParameter(
            f"{path} would hold NetCDF, the one format written, under a name of another; "
            f"name it {path.with_suffix('.nc').name}."
        )
    return path


def together(*decorators: Decorator) -> Decorator:
    """Add several options, which appear in the help in the order given."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


model_argument = click.argument("model")
data_option = path_option("--data", help="JSON file of data; bundled models bring their own.")
model_options = together(model_argument, data_option)
engine_option = click.option(
    "--engine",
    type=Name(MODEL_ENGINES),
    default="auto",
    show_default=True,
    help="What evaluates the log density: the embedded engine or compiled BridgeStan.",
)
method_option = click.option(
    "--method",
    type=Name(METHODS),
    default="auto",
    show_default=True,
    help=f"Family to fit. {'; '.join(f'{name}: {words}' for name, words in SUMMARIES.items())}.",
)
methods_option = click.option(
    "--methods",
    type=Names(METHODS),
    default="mfvi,rovi",
    show_default=True,
    help=f"Methods, separated by commas; of {', '.join(METHODS)}.",
)
seed_option = click.option(
    "--seed",
    type=click.IntRange(0, MAX_SEED),
    help="Seed; a random one by default, recorded with the result.",
)
draws_option = click.option(
    "--draws",
    type=click.IntRange(min=2),
    default=4000,
    show_default=True,
    help="Draws from each fit.",
)
budget_options = together(
    click.option(
        "--max-gradients",
        type=click.IntRange(min=1),
        help="Gradients to spend on the fit; the best approximation so far is returned.",
    ),
    click.option(
        "--max-seconds",
        type=click.FloatRange(min=0, min_open=True),
        help="Seconds to spend once the model is loaded; likewise, draws and verdict included.",
    ),
)
overwrite_option = click.option("--overwrite", is_flag=True, help="Replace files that exist.")
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object and nothing else."
)
strict_option = click.option(
    "--strict", is_flag=True, help="Exit with code 3 when the diagnostics fail."
)
file_options = together(
    path_option(
        "--output",
        help="NetCDF file (.nc) to write; nothing is written without it.",
        callback=_named_as_netcdf,
    ),
    overwrite_option,
)
chains_option = click.option("--chains", type=click.IntRange(min=1), default=4, show_default=True)
nuts_options = together(
    chains_option,
    click.option(
        "--iter-warmup",
        type=click.IntRange(min=0),
        show_default="1000, or 75 from a fit",
        help="Iterations that adapt the sampler, of each chain.",
    ),
    click.option("--iter-sampling", type=click.IntRange(min=1), default=1000, show_default=True),
    click.option(
        "--adapt-delta",
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        default=0.8,
        show_default=True,
        help="Target acceptance rate.",
    ),
    click.option("--max-treedepth", type=click.IntRange(min=1), default=10, show_default=True),
    path_option("--exe", help="CmdStan executable compiled from the same program."),
)
