"""A process of its own for what may crash, loop for ever or take all memory."""

from __future__ import annotations

import logging
import math
import os
import select
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from stanrovi import errors
from stanrovi.errors import StanroviError, UsageError
from stanrovi.stan.exchange import Memory, receive, send
from stanrovi.stan.processes import end_group, told
from stanrovi.target import Array
from stanrovi.waiting import Overdue, ended_by, limit

if sys.platform != "win32":
    import fcntl

_SECONDS_TO_DIE = 5.0
_LATE = 0.5  # seconds; what the process itself says of a time that is over is told then
_LOGGERS = ("stanrovi", "stanrovi.stan.print")  # what the child is told to listen for


class Died(Exception):  # noqa: N818 - of the child; made an error of by whoever knows what it did
    """The process ended by itself; the message says how, and of what.

    Attributes
    ----------
    call : str
        What it died of.
    again : bool
        Whether that was an earlier call.
    """

    def __init__(self, message: str, call: str, *, again: bool = False) -> None:
        super().__init__(message)
        self.call, self.again = call, again


class Child:
    """A process that answers calls; it ends with this object, and with this process.

    A call that is given up (by Ctrl-C, a limit of time, or whoever waits for it) ends the process
    there and then, and the next one starts another. One that dies stays dead: the next call says
    the same, until `revive`.

    Parameters
    ----------
    module : str
        What it runs; see `stanrovi.stan.serving.serve`.
    opening : mapping
        Arguments of the call ``"open"``, which comes first in each process.
    """

    def __init__(self, module: str, opening: Mapping[str, Any]) -> None:
        if os.name != "posix":
            raise UsageError("isolate needs a system of the Unix family; leave it out here.")
        self._module, self._opening = module, opening
        self._death: tuple[str, str] | None = None  # how, and the call it died of
        self._finish: weakref.finalize[..., Any] | None = None
        self._forget()

    def call(
        self,
        what: str,
        arguments: Mapping[str, Any] | None = None,
        inputs: Sequence[Array] = (),
        outputs: Sequence[Sequence[int]] = (),
        *,
        until: float | None = None,
        heard: Callable[..., None] | None = None,
    ) -> tuple[Any, list[Array]]:
        """Call a function of the process.

        Parameters
        ----------
        what : str
            Its name.
        arguments : mapping, optional
            JSON values.
        inputs : sequence of ndarray
            Of float64.
        outputs : sequence of shapes
            Of the arrays that it fills.
        until : float, optional
            Value of ``time.perf_counter()``; that of `stanrovi.waiting.limited` if not given.
        heard : callable, optional
            Called with what it tells meanwhile.

        Returns
        -------
        answer : JSON values
        outputs : list of ndarray

        Raises
        ------
        StanroviError, MemoryError
            What the function raised.
        Died
            If the process ended, or raised something that nobody expected.
        Overdue
            If the answer has not come in time.
        """
        if self._owner != os.getpid():
            self._forget()  # it is that of the process from which this one was forked
        until = limit() if until is None else until
        if not self._turn.acquire(timeout=-1 if until is None else _left(until)):
            raise Overdue
        try:
            with ended_by(self.end):
                self._begin(until)
                return self._asked(what, arguments, inputs, outputs, until, heard)
        finally:
            self._turn.release()

    def opened(self) -> Any:
        """Start, if need be; what ``"open"`` answered."""
        self.call("nothing")
        return self._opened

    def revive(self) -> None:
        """Let the next call start another process, although the last one died."""
        self._death = None

    def end(self) -> None:
        """End the process."""
        if self._finish is not None:
            self._finish()

    def _forget(self) -> None:
        """Know of no process."""
        self.end()
        self._owner, self._turn = os.getpid(), threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._opened: Any = None
        self._death = None

    def _begin(self, until: float | None) -> None:
        """Start the process where there is none."""
        if self._death is not None:
            raise Died(*self._death, again=True)
        if self._process is not None and self._process.returncode is None:
            return
        self._start()
        try:
            left = None if until is None else _left(until)
            late = None if until is None else until + _LATE
            opening = {**self._opening, "seconds": left}
            self._opened, _ = self._asked("open", opening, (), (), late, None)
        except BaseException:
            self.end()
            raise

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        alive, ours_alone = os.pipe()  # tells the process of the end of this one
        memory = Memory()
        # Above the streams, which the process gets anew: where this one has none, files are there.
        handed = tuple(
            fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, 3)
            for file in (theirs.fileno(), memory.file, alive)
        )
        levels = [logging.getLogger(name).getEffectiveLevel() for name in _LOGGERS]
        path = os.pathsep.join(filter(None, sys.path))
        try:
            # -P: the current folder holds no modules of ours.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", self._module, *map(str, (*handed, *levels))],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                pass_fds=handed, start_new_session=True, env={**os.environ, "PYTHONPATH": path},
            )  # fmt: skip
        except BaseException:
            _close(ours, memory, ours_alone)
            raise
        finally:
            theirs.close()
            for file in (*handed, alive):
                os.close(file)
        self._connection, self._memory, self._poll = ours, memory, select.poll()
        self._poll.register(ours, select.POLLIN)
        self._finish = weakref.finalize(
            self, _finish, self._owner, self._process, ours, memory, ours_alone
        )

    def _asked(
        self,
        what: str,
        arguments: Mapping[str, Any] | None,
        inputs: Sequence[Array],
        outputs: Sequence[Sequence[int]],
        until: float | None,
        heard: Callable[..., None] | None,
    ) -> tuple[Any, list[Array]]:
        shapes = [*(x.shape for x in inputs), *outputs]
        self._memory.reserve(shapes)
        try:
            places = self._memory.arrays(shapes)
            for place, x in zip(places, inputs, strict=False):
                place[...] = x
            send(self._connection, [what, arguments or {}, self._memory.size, shapes, len(inputs)])
            kind, answer = self._answer(until, heard)
            if kind == "done":
                found = [place.copy() for place in places[len(inputs) :]]
                self._memory.spare()
                return answer, found
            name, message = map(str, answer)
        except (EOFError, OSError, ValueError, TypeError):  # what it sends makes no sense
            if self._finish is None or not self._finish.alive:
                raise Overdue from None  # whoever waited has ended it
            self._death = self._cause(), what
            raise Died(*self._death) from None
        except BaseException:
            self.end()
            raise
        raise _error(name, message) or Died(message, what)

    def _answer(self, until: float | None, heard: Callable[..., None] | None) -> tuple[str, Any]:
        while True:
            kind, content = receive(self._connection, partial(self._wait, until))
            if kind == "log":
                level, name, message = content
                if str(name).startswith(_LOGGERS[0]):
                    logging.getLogger(name).log(int(level), "%s", message)
            elif kind == "heard":
                if heard is not None:
                    heard(*content)
            else:
                return kind, content

    def _wait(self, until: float | None) -> None:
        left = None if until is None else math.ceil(1e3 * _left(until))
        if not self._poll.poll(left):
            raise Overdue

    def _cause(self) -> str:
        process = self._process
        assert process is not None
        try:
            code = process.wait(_SECONDS_TO_DIE)
        except subprocess.TimeoutExpired:
            return "it fell silent"
        finally:
            self.end()
        return told(code)


def _left(until: float) -> float:
    return min(max(until - time.perf_counter(), 0.0), threading.TIMEOUT_MAX)


def _error(name: str, message: str) -> Exception | None:
    """Make the error that was told, if it is a known one."""
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, StanroviError):
        return kind(message)
    return MemoryError(message) if name == MemoryError.__name__ else None


def _finish(
    owner: int,
    process: subprocess.Popen[bytes],
    connection: socket.socket,
    memory: Memory,
    alive: int,
) -> None:
    if owner != os.getpid():  # forked: its parent's child is none of its own
        process.returncode = 0
    elif process.returncode is None:
        end_group(process.pid)
        process.wait()
    _close(connection, memory, alive)


def _close(connection: socket.socket, memory: Memory, alive: int) -> None:
    connection.close()
    memory.close()
    os.close(alive)
