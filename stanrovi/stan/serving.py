"""The process of an isolated model: a program in an engine, and nothing else.

Run by `stanrovi.stan.child.Child`, with descriptors as arguments: of the connection, of the
shared memory, and of a pipe whose other end closes with the parent.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from stanrovi import errors
from stanrovi.stan.engine import translate
from stanrovi.stan.exchange import Memory, receive, send
from stanrovi.stan.loaded import Loaded
from stanrovi.stan.processes import end_group
from stanrovi.stan.program import Program
from stanrovi.target import Array
from stanrovi.waiting import any_running, limited

if sys.platform != "win32":
    import fcntl

# Called with arguments, inputs, outputs to fill, and a function that tells something meanwhile.
Call = Callable[[Mapping[str, Any], list[Array], list[Array], Callable[..., None]], Any]

_PERIOD = 1.0  # seconds


def serve(calls: Mapping[str, Call], arguments: list[str]) -> None:
    """Answer calls until the parent closes the connection, or ends.

    Parameters
    ----------
    calls : mapping of str to callable
    arguments : list of str
        Those that `stanrovi.stan.child.Child` gives.
    """
    connection, memory, alive, level, print_level = map(int, arguments)
    _end_with(alive)
    _die_first()
    server = Server(calls, socket.socket(fileno=connection), Memory(memory))
    logging.getLogger("stanrovi").addHandler(_Teller(server.tell))
    logging.getLogger("stanrovi").setLevel(level)
    logging.getLogger("stanrovi.stan.print").setLevel(print_level)
    # Not the main thread: there each evaluation would be handed to another one, for signals
    # that do not come here.
    thread = threading.Thread(target=server.work, daemon=True)
    parent = os.getppid()
    thread.start()
    while thread.is_alive() and os.getppid() == parent:
        thread.join(_PERIOD)
    end_group(os.getpid())


class Server:
    """Answers calls.

    Parameters
    ----------
    calls : mapping of str to callable
    connection : socket.socket
    memory : Memory
    """

    def __init__(
        self, calls: Mapping[str, Call], connection: socket.socket, memory: Memory
    ) -> None:
        self._calls, self._connection, self._memory = calls, connection, memory
        self._turn = threading.Lock()  # threads that print send, too

    def work(self) -> None:
        """Answer until the connection is closed."""
        with suppress(EOFError, OSError):
            while True:
                what, arguments, size, shapes, n_inputs = receive(self._connection)
                self._memory.map(size)
                arrays = self._memory.arrays(shapes)
                try:
                    answer = self._calls[what](
                        arguments, arrays[:n_inputs], arrays[n_inputs:], self._told
                    )
                except Exception as error:  # told as it is
                    self.tell("error", [_kind(error), str(error)])
                else:
                    self.tell("done", answer)
                del arrays

    def tell(self, kind: str, content: Any) -> None:
        """Send something to the parent."""
        with self._turn:
            send(self._connection, [kind, content])

    def _told(self, *content: Any) -> None:
        self.tell("heard", content)


def _kind(error: Exception) -> str:
    """Name the class of an error that the parent knows; nothing where it knows none."""
    known = [cls for cls in type(error).__mro__ if cls.__module__ == errors.__name__]
    if isinstance(error, MemoryError):
        return MemoryError.__name__
    return known[0].__name__ if known else ""


class _Teller(logging.Handler):
    """Hands on what is logged."""

    def __init__(self, tell: Callable[[str, Any], None]) -> None:
        super().__init__()
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):
            self._tell("log", [record.levelno, record.name, record.getMessage()])


def _end_with(pipe: int) -> None:
    """End this group when the other end of a pipe is closed, whatever it is busy with."""
    with suppress(AttributeError, OSError):  # elsewhere than on Linux the parent is looked for
        signal.signal(signal.SIGIO, signal.SIG_DFL)
        fcntl.fcntl(pipe, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(pipe, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
        if os.read(pipe, 1) == b"":  # closed before
            end_group(os.getpid())
    with suppress(AttributeError, OSError):
        fcntl.fcntl(pipe, fcntl.F_SETSIG, signal.SIGKILL)  # ends this where it is stopped, too


def _die_first() -> None:
    """Where memory runs out, let the system take it from this process."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


class Served:
    """The calls that an isolated model makes."""

    _loaded: Loaded

    @property
    def calls(self) -> dict[str, Call]:
        """By their names."""
        return {
            "open": self._open,
            "nothing": lambda *_: None,
            "evaluate": self._evaluate,
            "threads": self._threads,
            "constrain": self._constrain,
            "seconds_per_draw": self._seconds_per_draw,
            "parameters": self._parameters,
            "unconstrain": self._unconstrain,
            "dropped_constant": lambda *_: self._loaded.dropped_constant(),
        }

    def _open(self, asked: Mapping[str, Any], *_: Any) -> Any:
        source: Program | Path = Path(asked["path"])
        if asked["program"] is not None:
            name, text, folders = asked["program"]
            source = Program(name, text, tuple(folders))
        with limited(_until(asked)):
            if asked["data"] is None:
                assert isinstance(source, Program)
                translate(source)
                return None
            loaded = self._loaded = Loaded(
                source, json.loads(asked["data"]), asked["engine"], asked["seed"]
            )
        return {
            "name": loaded.name,
            "engine": loaded.engine,
            "unconstrained_names": loaded.unconstrained_names,
            "parameter_names": loaded.parameter_names,
            "column_names": loaded.column_names,
        }

    def _evaluate(self, _: Any, inputs: list[Array], outputs: list[Array], *__: Any) -> Any:
        evaluator = self._loaded.evaluator
        evaluator.last_rejection = None
        outputs[0][...], outputs[1][...] = evaluator.evaluate(inputs[0])
        return evaluator.last_rejection, evaluator.seconds_per_gradient

    def _threads(self, asked: Mapping[str, Any], *_: Any) -> int:
        return self._loaded.evaluator.threads(asked["n"])

    def _constrain(
        self, asked: Mapping[str, Any], inputs: list[Array], outputs: list[Array], *_: Any
    ) -> Any:
        filled = self._loaded.rows.constrain(
            inputs[0], asked["seed"], until=_until(asked), avoided=asked["avoided"]
        )
        n = len(filled.values)
        outputs[0][:n] = filled.values
        return n, filled.n_failed, filled.reason, any_running()

    def _seconds_per_draw(self, asked: Mapping[str, Any], inputs: list[Array], *_: Any) -> Any:
        seconds = self._loaded.rows.seconds_per_draw(
            inputs[0], _until(asked) or 0.0, avoided=asked["avoided"]
        )
        return seconds, any_running()

    def _parameters(self, _: Any, inputs: list[Array], outputs: list[Array], *__: Any) -> None:
        outputs[0][...] = self._loaded.rows.parameters(inputs[0])

    def _unconstrain(self, _: Any, inputs: list[Array], outputs: list[Array], *__: Any) -> str:
        outputs[0][...], reason = self._loaded.rows.unconstrain(inputs[0])
        return reason


def _until(asked: Mapping[str, Any]) -> float | None:
    left = asked["seconds"]
    return None if left is None else time.perf_counter() + left


if __name__ == "__main__":
    serve(Served().calls, sys.argv[1:])
