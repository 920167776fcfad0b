"""Engines: how a program and its data become a ``bridgestan.StanModel``.

Whatever runs behind it, a log density reaches us through the BridgeStan
interface: from the embedded engine (stanli, no compiler) or from a compiled
BridgeStan library.
"""

from __future__ import annotations

import ctypes
import logging
import os
import re
import shutil
import threading
import warnings
from collections.abc import Callable, Sequence
from functools import cache, partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from stanrovi.errors import DataError, ModelError, UsageError, few, shortened
from stanrovi.stan.cache import compiled
from stanrovi.stan.program import Program
from stanrovi.stan.stanc_words import (
    in_short_lines,
    is_cut,
    removed_syntax,
    told_by_stanc,
    with_complaint,
)
from stanrovi.waiting import Overdue, limit_or, within

if TYPE_CHECKING:
    from bridgestan import StanModel

logger = logging.getLogger(__name__)
print_logger = logging.getLogger("stanrovi.stan.print")

T = TypeVar("T")
EngineName = Literal["stanli", "bridgestan"]
EngineChoice = Literal["auto", "stanli", "bridgestan"]
LIBRARY_SUFFIXES = (".so", ".dylib", ".dll")

# What the embedded engine says when the fault lies with the data. Its other
# complaints under its own name mean that it does not know a feature of Stan.
_DATA_FAULT = re.compile(
    r"^(?!stanli|embedded|mir:|portable mir)|prepare_data|json\.exception|MIR check|negative"
    r"|unknown int"
)
_LACK = re.compile(r"^(?:stanli prepare_data: )?unsupported (?:function|statement) ")
# And when it lies with sizes and indices, which no engine would take.
_MISFIT = re.compile(
    r"^stanli compile: (?P<what>.*(?:out of bounds for size|element out of range"
    r"|must be (?:less|greater) than|(?:dimension|width|length|size) mismatch|must match in size"
    r"|square matrix|smaller than columns|__: incompatible logical views"
    r"|invalid or overflowing extent).*)"
)
_NO_NUMBER = re.compile(r"Variable: (?P<name>[^,]+), error: (?P<kind>\w+) values not allowed")
_NO_MEMORY = re.compile(r"bad_alloc|max_size\(\)|bad_array_new_length")
_DIMENSIONS = re.compile(
    r"mismatch in .*? declared and found in context;.*?variable name=(?P<name>[^;]+);.*?"
    r"dims declared=\((?P<declared>[^)]*)\); dims found=\((?P<found>[^)]*)\)"
)
LOADING_TAKES_LONG = (
    "The budget ran out while the program was loaded with its data, which runs its transformed "
    "data block, and in the embedded engine loops that end by break: one of them takes long, or "
    "loops for ever. Allow more seconds."
)
_STILL_LOADING = (
    "The program is still being loaded with its data, after %.0f seconds. That runs transformed "
    "data, and in the embedded engine loops that end by break: is one of them very long?"
)
_LONG = 10.0  # seconds
_recording = threading.Lock()  # the filters of warnings belong to the whole process
_STANC_SECONDS = 6.0  # where there is no budget
_BRIDGESTAN_REMEDY = (
    "get the BridgeStan sources (set BRIDGESTAN to their folder; make and a C++ compiler are "
    "needed), or give a compiled BridgeStan library as the model"
)


class UnsupportedError(ModelError):
    """The embedded engine lacks a feature that the program uses."""


def load_program(
    program: Program, data: str, engine: EngineChoice, seed: int
) -> tuple[StanModel, EngineName]:
    """Load a program with its data.

    Parameters
    ----------
    program : Program
        The Stan program.
    data : str
        JSON text.
    engine : {"auto", "stanli", "bridgestan"}
        ``"auto"``: the embedded engine, else BridgeStan where its sources are.
    seed : int
        Seed of random numbers in transformed data.

    Returns
    -------
    client : bridgestan.StanModel
    engine : {"stanli", "bridgestan"}
        The engine that runs it.

    Raises
    ------
    ModelError
        If stanc rejects the program (with stanc's message), or no engine can run it.
    DataError
        If the program rejects the data.
    """
    if engine == "bridgestan":
        return _load_compiled(program, data, seed), "bridgestan"
    try:
        return _load_embedded(program, data, seed), "stanli"
    except UnsupportedError as error:
        if engine == "stanli":
            raise
        if bridgestan_folder() is None:
            raise ModelError(
                f"{error} Rewrite that part of the program, or {_BRIDGESTAN_REMEDY}."
            ) from None
        logger.info("%s Compiling with BridgeStan instead.", error)
        return _load_compiled(program, data, seed), "bridgestan"


def load_library(path: Path, data: str, seed: int) -> StanModel:
    """Load a compiled BridgeStan library.

    Raises
    ------
    UsageError
        If there is no such file.
    ModelError
        If it is no BridgeStan library, or one of another version.
    DataError
        If the program in it rejects the data.
    """
    import bridgestan

    if not path.is_file():
        raise UsageError(f"no such library: {path}")
    try:
        library = ctypes.CDLL(str(path.resolve()))
        _log_prints(library)
        return construct(
            lambda: bridgestan.StanModel(
                path, data, seed=seed, capture_stan_prints=False, warn=False
            )
        )
    except OSError as error:
        raise ModelError(
            f"{path} cannot be loaded as a library: {error}. Give one that BridgeStan has built "
            "on this system, or the .stan file."
        ) from error
    except AttributeError as error:
        raise ModelError(_wrong_library(path, error)) from error
    except RuntimeError as error:
        if _NO_MEMORY.search(str(error)):
            raise MemoryError(str(error)) from error
        raise DataError(_data_message(str(error), path.stem)) from error


def load_reduced(program: Program, data: str, seed: int, *dropped: str) -> StanModel:
    """Load a program without some of its blocks into the embedded engine.

    Its interface evaluates all blocks whatever it is asked for, so an error in
    generated quantities would hide the parameters.
    """
    return _load_embedded(program.without(*dropped), data, seed)


def translate(program: Program) -> str:
    """Check a program with stanc and translate it for the embedded engine.

    Raises
    ------
    ModelError
        With stanc's own message: line, column and caret.
    """
    import stanli

    until = limit_or(_STANC_SECONDS)
    try:
        return within(stanli.stan_to_mir, program.code, until=until)
    except RuntimeError as error:
        message = str(error)
    except Overdue:
        raise ModelError(
            f"stanc was not done with {program.name}.stan in the seconds that it may take. Most "
            "programs take less than one: is this one very long, deeply nested, or with thousands "
            "of variables where arrays or vectors would do? With a budget (--max-seconds) it may "
            "take as long as that."
        ) from None
    if "#include" in program.text:
        message = _asked_again(program.text, until, program.include_paths) or message
    if is_cut(message):
        other = _asked_again(in_short_lines(program.code, program.bare), until)
        message = with_complaint(message, program.code, other or "")
    raise ModelError(
        f"stanc rejected {program.name}.stan:\n"
        + told_by_stanc(message).replace("'string'", f"'{program.name}.stan'").strip()
        + removed_syntax(message)
        + _include_cure(program)
    )


def construct(make: Callable[[], T]) -> T:
    """Build a model of an engine; its warnings (a version that differs) go to the log.

    Where that takes long, so does a word of what is waited for.

    Raises
    ------
    ModelError
        If that takes longer than it may; see `stanrovi.waiting.limited`.
    """
    told = threading.Timer(_LONG, logger.warning, [_STILL_LOADING, _LONG])
    told.daemon = True
    with _recording, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        told.start()
        try:
            model = within(make)
        except Overdue:
            raise ModelError(LOADING_TAKES_LONG) from None
        finally:
            told.cancel()
    for warning in caught:
        logger.warning("%s", warning.message)
    return model


def bridgestan_folder() -> Path | None:
    """Folder of the BridgeStan sources, if they and the tools to build are here."""
    home = Path.home() / ".bridgestan" / f"bridgestan-{metadata.version('bridgestan')}"
    folder = Path(os.environ.get("BRIDGESTAN") or home)
    complete = (folder / "Makefile").is_file() and shutil.which(os.environ.get("MAKE", "make"))
    return folder if complete else None


def _include_cure(program: Program) -> str:
    if not (lost := program.lost_includes):
        return ""
    names = few(lost)
    return f"\nName the folder of {names}: --include-path DIR, include_paths= in Python."


def _asked_again(text: str, until: float, include_paths: Sequence[str] = ()) -> str | None:
    """Ask stanc once more, for a message with places as in this text."""
    import stanli

    try:
        within(partial(stanli.stan_to_mir, include_paths=list(include_paths)), text, until=until)
    except (RuntimeError, ValueError) as error:
        return str(error)
    except Overdue:
        pass
    return None


def _load_embedded(program: Program, data: str, seed: int) -> StanModel:
    import stanli

    mir = translate(program)
    log_prints()
    try:
        return construct(
            lambda: stanli.bridgestan_model(
                mir=mir, data=data, name=program.name, seed=seed, capture_stan_prints=False
            )
        )
    except RuntimeError as error:
        message = str(error).strip()
        if _NO_MEMORY.search(message):
            raise MemoryError(message) from error
        if _DATA_FAULT.search(message) and not _LACK.search(message):
            raise DataError(_data_message(message, program.name)) from error
        if match := _MISFIT.search(message):
            raise ModelError(
                f"an index or a size in {program.name} does not fit, whatever the parameters "
                f"({shortened(match['what'])}). Correct it in the program, or the data that it is "
                "made of."
            ) from error
        raise UnsupportedError(
            f"the embedded engine cannot run {program.name} ({shortened(message)})."
        ) from error


def _load_compiled(program: Program, data: str, seed: int) -> StanModel:
    import bridgestan

    folder = bridgestan_folder()
    if folder is None:
        raise ModelError(
            "BridgeStan was asked for but its sources are not here: "
            f"{_BRIDGESTAN_REMEDY}, or use the embedded engine (stanli)."
        )

    def build(source: Path) -> Path:
        logger.info("compiling %s with BridgeStan in %s", program.name, folder)
        return bridgestan.compile_model(source, make_args=["STAN_THREADS=true"])

    translate(program)
    try:
        library = compiled(program, f"bridgestan {folder.resolve()}", "_model.so", build)
    except (RuntimeError, ValueError, OSError) as error:
        raise ModelError(
            f"BridgeStan could not compile {program.name}: {shortened(str(error))}"
        ) from error
    return load_library(library, data, seed)


def _wrong_library(path: Path, error: AttributeError) -> str:
    if "bs_param_initialize" in str(error):
        return (
            f"{path} was built by BridgeStan 2.8 or older, this client needs 2.9. Rebuild the "
            "library with BridgeStan 2.9, or give the .stan file instead."
        )
    return f"{path} is not a BridgeStan library ({error}); give a .stan file or such a library"


def _data_message(message: str, program: str) -> str:
    """Put the engine's words about data with the variable first."""
    message = re.sub(r"^stanli (?:MIR check|prepare_data|compile): ", "", message.strip())
    if match := _DIMENSIONS.search(message):
        return (
            f"data variable {match['name']} has dimensions ({match['found']}), but {program} "
            f"declares ({match['declared']}); make data and sizes agree"
        )
    if match := _NO_NUMBER.search(message):
        return (
            f"{shortened(match['name'])} in the data holds a {match['kind']}, and Stan takes "
            f"numbers alone, also of what {program} does not declare; leave it out"
        )
    return f"{program} rejected the data: {shortened(message)}"


_PRINT = ctypes.CFUNCTYPE(None, ctypes.POINTER(ctypes.c_char), ctypes.c_int)
# A receiver of prints that does nothing, and runs no Python: a Ctrl-C that arrives inside a
# callback of ctypes is lost, and programs that print do so in every evaluation.
_nowhere = _PRINT(("strnlen", ctypes.CDLL("msvcrt" if os.name == "nt" else None)))


@_PRINT
def _log_print(text: ctypes._Pointer[ctypes.c_char], length: int) -> None:
    """Receive a print statement of a program: to the log, not to the terminal."""
    if print_logger.isEnabledFor(logging.DEBUG):
        print_logger.debug("%s", ctypes.string_at(text, length).decode("utf-8", "replace").rstrip())


def _log_prints(library: ctypes.CDLL) -> None:
    heard = print_logger.isEnabledFor(logging.DEBUG)
    library.bs_set_print_callback(_log_print if heard else _nowhere, None)


def log_prints() -> None:
    """Send print statements that run in the embedded engine to the log, if that is heard now."""
    _log_prints(_embedded_library())


@cache
def _embedded_library() -> ctypes.CDLL:
    # Only a model gives access to it.
    import stanli

    return stanli.bridgestan_model(stan_code="", capture_stan_prints=False).stanlib
