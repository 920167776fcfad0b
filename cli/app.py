"""The command group: commands load when they are used, and errors become messages."""

from __future__ import annotations

import _thread
import errno
import logging
import signal
import sys
import time
from collections.abc import Callable
from importlib import import_module
from types import FrameType
from typing import Any

import click

from stanrovi.arguments import suggestion
from stanrovi.errors import OutputError, StanroviError

# One module each, which holds its command as ``command``.
COMMANDS = (
    "models", "check", "fit", "nuts", "modes", "compare", "report", "bench", "sbc", "demo"
)  # fmt: skip
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


_terminated = False


def heed_signals() -> None:
    """Make SIGTERM end this process as Ctrl-C does, with its own exit code; lose neither."""
    signal.signal(signal.SIGTERM, _terminate)
    sys.unraisablehook = _heed_lost_interrupt


def _terminate(_number: int, frame: FrameType | None) -> None:
    global _terminated
    _terminated = True
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # cleaning up takes a moment
    if not callable(signal.getsignal(signal.SIGINT)):  # a job in the background ignores Ctrl-C
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Engines put in a handler of their own while they run: an exception would be lost there.
    interrupt = signal.getsignal(signal.SIGINT)
    assert callable(interrupt)
    interrupt(signal.SIGINT, frame)


def _heed_lost_interrupt(ignored: sys.UnraisableHookArgs) -> None:
    """Interrupt again where Python has dropped a KeyboardInterrupt.

    It drops every exception that is raised in a ``__del__`` or in the callback of a weak
    reference. These run at any time, thousands of them while plots are drawn, and the
    signal may come just then.
    """
    if issubclass(ignored.exc_type, KeyboardInterrupt):
        _thread.start_new_thread(_interrupt_soon, ())
    else:
        sys.__unraisablehook__(ignored)


def _interrupt_soon() -> None:
    time.sleep(0.001)  # until the callback has returned; if it has not, this happens again
    _thread.interrupt_main()


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
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"there is no command {args[0]!r}.{suggestion(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        """Run the group; as a program, leave with the exit code of the outcome."""
        run: Callable[..., Any] = super().main
        if not standalone_mode:
            return run(*args, standalone_mode=False, **extra)
        sys.exit(_exit_code(lambda: run(*args, standalone_mode=False, **extra)))


def _exit_code(run: Callable[[], Any]) -> int:
    """Run, and turn deliberate errors into a message; anything else keeps its traceback."""
    try:
        return run() or 0
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
        click.echo("Terminated." if _terminated else "Interrupted.", err=True)
        return EXIT_TERMINATED if _terminated else EXIT_INTERRUPTED


class _WarningsOnStderr(logging.Handler):
    """Shows the library's warnings; looks stderr up each time, for progress bars stand in."""

    def emit(self, record: logging.LogRecord) -> None:
        click.echo(f"{record.levelname.capitalize()}: {record.getMessage()}", err=True)


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
    logger = logging.getLogger("stanrovi")
    logger.handlers = [_WarningsOnStderr(logging.WARNING)]
