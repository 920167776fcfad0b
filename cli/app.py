"""The command group: commands load when they are used, and errors become messages."""

from __future__ import annotations

import errno
import logging
import shlex
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import click

import stanrovi_stan_models as models
from stanrovi.arguments import suggestion
from stanrovi.errors import OutputError, StanroviError
from stanrovi_cli.signals import end_beside_calls, outcome, raise_if_stopped

# One module each, which holds its command as ``command``.
COMMANDS = (
    "models", "check", "fit", "sample", "nuts", "modes", "compare", "report", "bench", "sbc", "demo"
)  # fmt: skip


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands, in the order of their use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None where there is none of this name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"stanrovi_cli.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the arguments name, or suggest the nearest."""
        if args[0] not in COMMANDS:
            ctx.fail(f"there is no command {args[0]!r}.{_meant(args)}")
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the words before the command's own."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            ctx.fail(
                f"there is no option {error.option_name} before a command; its options stand "
                "behind it: stanrovi COMMAND MODEL [OPTIONS]."
            )

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        """Run the group; as a program, leave with the exit code of the outcome."""
        run: Callable[..., Any] = super().main
        if not standalone_mode:
            return run(*args, standalone_mode=False, **extra)
        code = _exit_code(lambda: run(*args, standalone_mode=False, **extra))
        end_beside_calls(code)
        sys.exit(code)


def _meant(args: Sequence[str]) -> str:
    """Suggest a command for what is none."""
    if args[0].endswith(".stan") or args[0] in models.names():
        return f" Did you mean stanrovi fit {shlex.join(args)}?"
    return suggestion(args[0], COMMANDS) or f" Commands: {', '.join(COMMANDS)}."


def _exit_code(run: Callable[[], Any]) -> int:
    """Run, and turn deliberate errors into a message; anything else keeps its traceback."""
    try:
        return _unstopped(run) or 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except StanroviError as error:
        click.echo(f"Error: {error}", err=True)
        return error.exit_code
    except MemoryError as error:
        click.echo(f"Error: {error or 'the memory is full'}; ask for less at a time.", err=True)
        return StanroviError.exit_code
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        where = error.filename or "standard output, or temporary files"
        click.echo(f"Error: {where} cannot be written ({error.strerror}).", err=True)
        return OutputError.exit_code
    except (click.Abort, KeyboardInterrupt):
        word, code = outcome()
        click.echo(word, err=True)
        return code


def _unstopped(run: Callable[[], Any]) -> Any:
    """Run; whatever became of a signal on the way, such as a TypeError of C code, it stops this."""
    try:
        result = run()
    except Exception:
        raise_if_stopped()
        raise
    raise_if_stopped()
    return result


class _OnStderr(logging.Handler):
    """Shows what the library says; looks stderr up each time, for progress bars stand in."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._told: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.levelno >= logging.WARNING:
            text = f"{record.levelname.capitalize()}: {text}"
        elif text in self._told:  # of a model that is loaded again
            return
        self._told.add(text)
        click.echo(text, err=True)


def _show_what_the_library_says() -> None:
    """Show warnings, and which data were found: nobody named those."""
    logging.getLogger("stanrovi").handlers = [_OnStderr()]
    logging.getLogger("stanrovi.stan.locate").setLevel(logging.INFO)


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80}
)
@click.version_option(package_name="stanrovi", message="%(prog)s %(version)s")
def cli() -> None:
    """Fit Stan models by variational inference, and check the fit against NUTS.

    MODEL is a .stan file, a compiled BridgeStan library, or the name of a bundled
    model, which brings its data.

    Results go to standard output, progress and warnings to standard error. Exit
    codes: 0 done, 1 the run failed, 2 the request is wrong, 3 done but the
    diagnostics failed (with --strict), 130 interrupted, 143 terminated.
    """
    _show_what_the_library_says()
