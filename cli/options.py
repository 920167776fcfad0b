"""Arguments and options that several commands share."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterable
from itertools import combinations
from pathlib import Path
from typing import Any

import click

from stanrovi.arguments import MAX_SEED, suggestion
from stanrovi.errors import UsageError
from stanrovi.methods import METHODS, SUMMARIES

# The library's own list, spelt out: loading it would load NumPy for --help.
NUTS_ENGINES = ("auto", "cmdstan", "stanli", "numpy")

# What is asked for here but has a command of its own.
_OF_NUTS = " That is a sampler: --nuts-engine of stanrovi compare, --engine of stanrovi nuts."
_ELSEWHERE = {
    "nuts": " To sample, use stanrovi nuts; stanrovi compare compares fits with it.",
    "cmdstan": _OF_NUTS,
    "numpy": _OF_NUTS,
}
# Of NetCDF, and of HDF5, which it is inside.
_NETCDF = ("", ".nc", ".nc4", ".netcdf", ".cdf", ".h5", ".hdf5")
# Of what is written into folders.
_FILES = (*_NETCDF[1:], ".csv", ".html", ".json", ".pdf", ".png", ".svg")

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


class _Bounded:
    """A number within bounds; what is none is refused in plain words."""

    words = "number"
    largest = sys.float_info.max

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read the number."""
        try:
            number = super().convert(value, param, ctx)  # type: ignore[misc]
        except click.BadParameter:
            number = math.nan
        if abs(number) <= self.largest:
            return number
        what = "too large" if number > self.largest else f"no {self.words} {self._bounds}"
        raise click.BadParameter(f"{value!r} is {what}.", ctx, param)

    @property
    def _bounds(self) -> str:
        low, high, is_open = self.min, self.max, self.min_open  # type: ignore[attr-defined]
        if high is None:
            return f"above {low}" if is_open else f"of at least {low}"
        return f"between {low} and {high}" if is_open else f"from {low} to {high}"


class Whole(_Bounded, click.IntRange):
    """A whole number within bounds."""

    words = "whole number"
    largest = 2**32 - 1  # what is more is a slip


class Number(_Bounded, click.FloatRange):
    """A number within bounds."""


class Names(click.ParamType):
    """Several of a few names, separated by commas."""

    name = "a,b,..."

    def __init__(self, choices: Iterable[str]) -> None:
        self._one = Name(list(choices))
        self.choices = frozenset(self._one.choices)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Check each name; one named twice counts once."""
        if isinstance(value, tuple):
            return value
        words = [word.strip() for word in value.rstrip(" ,").split(",")]
        return tuple(dict.fromkeys(self._one.convert(word, param, ctx) for word in words))


class FilePath(click.Path):
    """A path that can be looked up; of a file that must be there if ``exists``."""

    def __init__(self, *, exists: bool = False) -> None:
        super().__init__(path_type=Path, exists=exists, dir_okay=not exists)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse what cannot be looked up; an empty one would be taken for the working folder."""
        from stanrovi.io.files import usable_path

        try:
            path = usable_path(value)
        except UsageError as error:
            self.fail(str(error), param, ctx)
        return super().convert(path, param, ctx)


def path_option(*names: str, exists: bool = False, **settings: Any) -> Decorator:
    """Add an option that takes a path, of a file that must be there if ``exists``."""
    return click.option(*names, type=FilePath(exists=exists), **settings)


def _named_as_netcdf(
    _ctx: click.Context, _param: click.Parameter, path: Path | None
) -> Path | None:
    """Refuse a name that promises another format than the one written, and a link to such."""
    for name in () if path is None else (path, Path(os.path.realpath(path))):
        if name.suffix.lower() not in _NETCDF:
            raise click.BadParameter(
                f"{name} would hold NetCDF, the one format written, under a name of another; "
                f"name it {name.with_suffix('.nc').name}."
            )
    return path


def _named_as_folder(
    _ctx: click.Context, _param: click.Parameter, path: Path | None
) -> Path | None:
    """Refuse a name that promises a file where a folder is written."""
    if path is not None and path.suffix.lower() in _FILES and not path.is_dir():
        raise click.BadParameter(
            f"{path} is the name of a file, and a folder is written; name it {path.stem}."
        )
    return path


def folder_option(*names: str, **settings: Any) -> Decorator:
    """Add an option that takes a folder to write."""
    return path_option(*names, callback=_named_as_folder, metavar="DIR", **settings)


def together(*decorators: Decorator) -> Decorator:
    """Add several options, which appear in the help in the order given."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


def check_outputs(output: Path | None, *, overwrite: bool, **folders: Path | None) -> None:
    """See that all that is to be written can be, before the work that makes it.

    Parameters
    ----------
    output : Path or None
        The file.
    overwrite : bool
        Whether what is there may be replaced, and folders hold something.
    **folders : Path or None
        By the name of their option, in the order in which they are filled after the file.

    Raises
    ------
    OutputError
        One cannot be written.
    UsageError
        Two are one place, or one is written into another that has to be empty.
    """
    from stanrovi.io.files import check_output, check_output_folder

    given = {name: path for name, path in {"output": output, **folders}.items() if path}
    places = {}
    for name, path in given.items():
        check = check_output if name == "output" else check_output_folder
        places[name] = Path(os.path.realpath(check(path, overwrite=overwrite)))
    for first, then in combinations(places, 2):
        one, other = places[first], places[then]
        below_a_file = first == "output" and one in other.parents
        if one == other or below_a_file or (other in one.parents and not overwrite):
            raise click.UsageError(
                f"--{first} {given[first]} and --{then} {given[then]} are in each other's way; "
                "give each a place of its own."
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
    type=Whole(0, MAX_SEED),
    help="Seed; a random one by default, recorded with the result.",
)
draws_option = click.option(
    "--draws",
    type=Whole(min=2),
    default=4000,
    show_default=True,
    help="Draws from each fit.",
)
budget_options = together(
    click.option(
        "--max-gradients",
        type=Whole(min=1),
        help="Gradients to spend on the fit; the best approximation so far is returned.",
    ),
    click.option(
        "--max-seconds",
        type=Number(min=0, min_open=True),
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
    folder_option("--csv", help="Folder for the draws as CmdStan's CSV, which R reads."),
    overwrite_option,
)
chains_option = click.option("--chains", type=Whole(min=1), default=4, show_default=True)
nuts_options = together(
    chains_option,
    click.option(
        "--iter-warmup",
        type=Whole(min=0),
        show_default="1000, or 75 from a fit",
        help="Iterations that adapt the sampler, of each chain.",
    ),
    click.option("--iter-sampling", type=Whole(min=1), default=1000, show_default=True),
    click.option(
        "--adapt-delta",
        type=Number(0, 1, min_open=True, max_open=True),
        default=0.8,
        show_default=True,
        help="Target acceptance rate.",
    ),
    click.option("--max-treedepth", type=Whole(min=1), default=10, show_default=True),
    path_option("--exe", help="CmdStan executable compiled from the same program."),
)
