"""How words become arguments: what a shell has expanded, and what was typed for what was meant."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any

import click

from stanrovi_cli.options import Names

# Endings of what people give as data; what they hold is told when it is read.
_DATA = (".json", ".csv", ".gz", ".r", ".rds", ".tsv", ".txt", ".yaml", ".yml", ".zip")


class Files(click.Option):
    """An option of files or patterns; CSV files after its first belong to it, too.

    For a shell expands ``--reference out_*.csv`` where the quotes are forgotten.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings | {"multiple": True})


class Command(click.Command):
    """A command that tells what is wrong with its words, and what to type instead."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the words; raises `click.UsageError` with the cure."""
        files = {name for item in self.params if isinstance(item, Files) for name in item.opts}
        ctx.allow_extra_args = True
        try:
            rest = super().parse_args(ctx, gathered(args, files))
        except click.NoSuchOption as error:
            raise click.UsageError(self._no_such_option(error, ctx, args), ctx) from None
        except click.MissingParameter as error:
            if error.param is None or error.param.name != "model":
                raise
            ctx.fail(
                "MODEL is missing: give a .stan file, a compiled library, or the name of a "
                "bundled model (stanrovi models lists them)."
            )
        if rest:
            ctx.fail(f"{shlex.join(rest)} cannot stand here. {self._instead(ctx, rest)}")
        return rest

    def _options(self) -> set[str]:
        options = (item for item in self.params if isinstance(item, click.Option))
        return {name for item in options for name in item.opts}

    def _no_such_option(
        self, error: click.NoSuchOption, ctx: click.Context, args: Sequence[str]
    ) -> str:
        name = error.option_name
        words = (word.partition("=")[0] for word in args)
        for word in words:
            if not word.startswith("--") and f"-{word}" in self._options():
                return f"{word} wants another dash: -{word}."
        if owners := _owners(name, ctx):
            where = ", ".join(owners)
            near = get_close_matches(name, self._options(), n=1, cutoff=0.8)
            own = f" Did you mean {near[0]}?" if near else ""
            return f"{name} is an option of {where}; {ctx.info_name} has none of that name.{own}"
        return error.format_message()

    def _instead(self, ctx: click.Context, rest: Sequence[str]) -> str:
        """Tell what to type instead of words that are no options."""
        model = ctx.params.get("model")
        words = [word for word in (model, *rest) if word is not None]
        name, value = rest[0].partition("=")[::2]
        if f"--{name}" in self._options() and value:
            return f"Options are written --{name} {shlex.quote(value)}."
        if _all_end(words, ".nc"):
            line = shlex.join(["stanrovi", "report", *words, "--output", "DIR"])
            return f"Draws in files are compared by {line}."
        draws, others = _split(words, (".nc", ".csv"))
        if draws and len(others) == 1 and "--reference" in self._options():
            line = shlex.join(["stanrovi", str(ctx.info_name), *others, "--reference", *draws])
            return f"Draws to compare with are an option: {line}."
        if (given := ctx.params.get("data")) is not None and _all_end(rest, ".json"):
            return f"--data takes one file, and has {given}."
        if len(words) == 2 and "--data" in self._options():
            data, programs = _split(words, _DATA)
            if data and programs:
                line = shlex.join(["stanrovi", str(ctx.info_name), *programs, "--data", *data])
                return f"Data are an option: {line}."
        for item in self.params:
            if isinstance(item.type, Names) and item.type.choices.issuperset(rest):
                chosen = ",".join([*ctx.params[str(item.name)], *rest])
                return f"Several are separated by commas: {item.opts[0]} {chosen}."
        if _all_end(words, ".stan"):
            return "A command takes one MODEL; stanrovi bench takes several."
        return f"{ctx.info_name} takes {'one MODEL' if model else 'no words'} beside its options."


def gathered(args: Iterable[str], options: set[str]) -> list[str]:
    """Repeat such an option before each CSV file that follows its first."""
    out: list[str] = []
    option = value = None
    for word in args:
        if word in options:
            option, value = word, None
        elif option and value is None:
            value = word
        elif option and _all_end([str(value), word], ".csv"):
            out.append(option)
        else:
            option = None
        out.append(word)
    return out


def _owners(option: str, ctx: click.Context) -> list[str]:
    """Commands beside this one that have an option."""
    group = ctx.parent.command if ctx.parent else None
    if not isinstance(group, click.Group):
        return []
    commands = {name: group.get_command(ctx, name) for name in group.list_commands(ctx)}
    return [
        f"stanrovi {name}"
        for name, command in commands.items()
        if isinstance(command, Command) and option in command._options()
    ]


def _all_end(words: Iterable[str], *endings: str) -> bool:
    return all(word.lower().endswith(endings) for word in words)


def _split(words: Sequence[str], endings: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Words that end so, and the others."""
    found = [word for word in words if _all_end([word], *endings)]
    return found, [word for word in words if word not in found]
