"""The command group: commands load when they are used, and errors become messages."""

from __future__ import annotations

import errno
import io
import logging
import os
import re
import shlex
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from types import ModuleType
from typing import Any

import click

from stanrovi.arguments import suggestion
from stanrovi.errors import OutputError, StanroviError, UsageError, printable, shortened
from stanrovi_cli.signals import end_beside_calls, outcome, raise_if_stopped

# One module each, which holds its command as ``command``.
COMMANDS = (
    "models", "check", "fit", "sample", "nuts", "modes", "compare", "report", "bench", "sbc", "demo"
)  # fmt: skip


_UNWRITABLE = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO}  # disks and limits that are full
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}  # for this user, or for all
# Limits of this process that libraries run into wherever they are.
_LIMITS = {
    errno.EMFILE: "no more files may be open at once (ulimit -n)",
    errno.ENFILE: "no more files may be open at once on this system",
    errno.EAGAIN: "no more processes or threads may be started (ulimit -u)",
    errno.ENOMEM: "the memory is full (ulimit -v)",
}
_NO_THREAD = {"can't start new thread": errno.EAGAIN}
_OURS = ("stanrovi", "stanrovi_cli")
_WORD = 250  # letters of a word in a message that are shown, of one more than twice as long
_ISSUES = "https://github.com/stanrovi/stanrovi/issues"
_NO_SHELL = (
    "_STANROVI_COMPLETE is a variable by which a shell asks for completions, and what it holds "
    "here is no such request; unset it."
)
_LEAST_MEMORY = 800e6  # bytes of address space; what a small fit takes with one thread


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

    def _main_shell_completion(self, *args: Any, **extra: Any) -> None:
        """Complete words, if a shell asks for that, and leave."""
        try:
            super()._main_shell_completion(*args, **extra)
        except (KeyError, ValueError):  # what the shell would have set besides
            raise click.UsageError(_NO_SHELL) from None
        except SystemExit as left:
            if left.code:
                raise click.UsageError(_NO_SHELL) from None
            raise

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
    import stanrovi_stan_models as models

    if args[0].endswith(".stan") or args[0] in models.names():
        return f" Did you mean stanrovi fit {shlex.join(args)}?"
    return suggestion(args[0], COMMANDS) or f" Commands: {', '.join(COMMANDS)}."


def _exit_code(run: Callable[[], Any]) -> int:
    """Run, and turn errors into messages; the traceback of a fault of ours goes into a file."""
    try:
        return _unstopped(run) or 0
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        _tell(_readable(shown.getvalue()), nl=False)
        return error.exit_code
    except StanroviError as error:
        _tell(f"Error: {_readable(str(error))}")
        return error.exit_code
    except MemoryError as error:
        _tell(f"Error: {str(error) or 'the memory is full'}; ask for less at a time.")
        return StanroviError.exit_code
    except (click.Abort, KeyboardInterrupt):
        word, code = outcome()
        _tell(word)
        return code
    except (Exception, SystemExit) as error:
        if isinstance(error, SystemExit) and _loading(error) is None:
            raise  # words have been completed for a shell
        message, code = _unforeseen(error)
        _tell(message)
        return code
    finally:
        _drop_what_cannot_be_written()


def _tell(message: str, *, nl: bool = True) -> None:
    """Print to standard error, if that can be."""
    with suppress(OSError):  # the terminal is gone
        click.echo(message, err=True, nl=nl)


def _drop_what_cannot_be_written() -> None:
    """Flush; the interpreter would try again in the end, and leave with an exit code of its own."""
    for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)


def _readable(message: str) -> str:
    """Cut words short that no one reads, such as a whole file in the place of a name."""
    return printable(re.sub(rf"(\S{{{_WORD}}})\S{{{_WORD},}}", r"\1...", message))


def _unforeseen(error: BaseException) -> tuple[str, int]:
    """Tell of a limit, of a library that fails, or of a fault of ours; the exit code besides."""
    if isinstance(error, OSError) and error.errno in _UNWRITABLE:
        where = error.filename or "standard output, or temporary files"
        return f"Error: {where} cannot be written ({error.strerror}).", OutputError.exit_code
    number = error.errno if isinstance(error, OSError) else _NO_THREAD.get(str(error))
    if number in _LIMITS:
        return f"Error: {_LIMITS[number]}; allow more.", StanroviError.exit_code
    if isinstance(error, OSError) and error.filename is not None and _is_theirs(error):
        return f"Error: {error.filename} cannot be used ({error.strerror}).", UsageError.exit_code
    if loading := _loading(error):
        return (
            f"Error: {loading} cannot be loaded ({_in_a_line(error)}). Look at its settings and at "
            "variables of the environment that it reads, or install it anew.",
            StanroviError.exit_code,
        )
    if module := _lacking(error):
        return (
            f"Error: {module} lacks what stanrovi takes from it ({_in_a_line(error)}); it is "
            "another module of that name (PYTHONPATH?), or a version that does not suit.",
            StanroviError.exit_code,
        )
    return _fault(error), StanroviError.exit_code


def _is_theirs(error: OSError) -> bool:
    return error.errno in _FORBIDDEN or error.filename == os.devnull


def _loading(error: BaseException) -> str | None:
    """Name the module outside stanrovi that was being imported when an error was raised."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        name = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if frame.f_code.co_name == "<module>" and name not in ("__main__", *_OURS):
            return name
    return None


def _lacking(error: BaseException) -> str | None:
    """Name the module outside stanrovi, and its place, in which something is not found."""
    module: object = None
    if isinstance(error, AttributeError):
        module = error.obj
    elif isinstance(error, ImportError):
        name = error.name or ""  # a package where it has no such module
        module = sys.modules.get(name) or sys.modules.get(name.partition(".")[0])
    if not isinstance(module, ModuleType) or module.__name__.partition(".")[0] in _OURS:
        return None
    place = module.__file__ or ", ".join(getattr(module, "__path__", ()))
    return f"{module.__name__} ({place or 'without a file'})"


def _in_a_line(error: BaseException) -> str:
    return shortened(" ".join(f"{type(error).__name__}: {error}".split()))


def _fault(error: BaseException) -> str:
    """Tell of a fault, and keep what its mending needs."""
    message = f"Error: stanrovi failed by a fault of its own ({_in_a_line(error)})."
    try:
        with tempfile.NamedTemporaryFile(
            "w",
            prefix="stanrovi-fault-",
            suffix=".txt",
            delete=False,
            encoding="utf-8",
            errors="backslashreplace",
        ) as file:
            traceback.print_exception(error, file=file)
    except (OSError, MemoryError):
        return message
    return f"{message} Please report it with {file.name}: {_ISSUES}"


def _check_memory() -> None:
    """Refuse an address space in which libraries hang or abort where they are loaded."""
    try:
        import resource
    except ImportError:  # on Windows
        return
    allowed, _ = resource.getrlimit(resource.RLIMIT_AS)
    if allowed != resource.RLIM_INFINITY and allowed < _LEAST_MEMORY:
        raise StanroviError(
            f"The address space is limited to {allowed / 1e6:.0f} MB (ulimit -v), and NumPy, "
            f"SciPy and the engine take {_LEAST_MEMORY / 1e6:.0f} MB before they begin; allow more."
        )


def _unstopped(run: Callable[[], Any]) -> Any:
    """Run; whatever became of a signal on the way, such as a TypeError of C code, it stops this."""
    try:
        result = run()
        if sys.stdout is not None:
            sys.stdout.flush()
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
        text = printable(record.getMessage())
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
    diagnostics failed (with --strict), 129 hung up, 130 interrupted, 143
    terminated.
    """
    from stanrovi.io.files import require_working_folder

    require_working_folder("A command")
    _check_memory()
    _show_what_the_library_says()
