"""A program in a process of its own: what `stanrovi.stan.loaded.Loaded` is, from a distance."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from stanrovi.errors import DensityError, ModelError
from stanrovi.given import points
from stanrovi.stan.child import Child, Died
from stanrovi.stan.data import to_json
from stanrovi.stan.engine import LOADING_TAKES_LONG, EngineChoice, EngineName
from stanrovi.stan.program import Program
from stanrovi.stan.rows import Filled
from stanrovi.target import Array
from stanrovi.waiting import Overdue

_SERVER = "stanrovi.stan.serving"
_PATIENCE = 5.0  # seconds by which an answer with a time limit may be late
_COMPUTED = {"evaluate": "log density", "open": "transformed data"}  # what a call computes
_AVOIDED = "generated quantities", "transformed parameters"  # the first, then both


def translate_apart(program: Program) -> None:
    """Check a program with stanc; see `stanrovi.stan.engine.translate`."""
    opening = {"program": [program.name, program.text, program.include_paths], "path": ""}
    _opened(program.name, Child(_SERVER, opening | {"data": None}))


class Isolated:
    """A program with its data in an engine of another process.

    Parameters and attributes are those of `stanrovi.stan.loaded.Loaded`.

    Raises
    ------
    UsageError, ModelError, DataError
        See `stanrovi.stan.model.Model`.
    """

    def __init__(
        self, source: Program | Path, data: dict[str, Any], engine: EngineChoice, seed: int
    ) -> None:
        opening: dict[str, Any] = {"data": to_json(data), "engine": engine, "seed": seed}
        if isinstance(source, Program):
            opening |= {"program": [source.name, source.text, source.include_paths], "path": ""}
        else:
            opening |= {"program": None, "path": str(source.resolve())}
        name = source.name if isinstance(source, Program) else source.stem
        child = self._child = Child(_SERVER, opening)
        told = _opened(name, child)
        self.name = str(told["name"])
        self.engine: EngineName = "stanli" if told["engine"] == "stanli" else "bridgestan"
        self.unconstrained_names, self.parameter_names, self.column_names = (
            list(map(str, told[of]))
            for of in ("unconstrained_names", "parameter_names", "column_names")
        )
        self.dim = len(self.unconstrained_names)
        self.evaluator = IsolatedEvaluator(child, self.name, self.dim)
        self.rows = IsolatedRows(
            child, self.name, self.dim, len(self.parameter_names), len(self.column_names)
        )

    def dropped_constant(self) -> float | None:
        """See `stanrovi.stan.loaded.Loaded.dropped_constant`."""
        with _dying(self.name):
            constant, _ = self._child.call("dropped_constant")
        return constant if isinstance(constant, float) else None


class IsolatedEvaluator:
    """What `stanrovi.stan.batch.BatchEvaluator` is; its attributes are told by the process."""

    def __init__(self, child: Child, name: str, dim: int) -> None:
        self._child, self._name, self._dim = child, name, dim
        self.last_rejection: str | None = None
        self.seconds_per_gradient: float | None = None

    def evaluate(self, x: Array) -> tuple[Array, Array]:
        """Evaluate a batch; see `stanrovi.stan.batch.BatchEvaluator.evaluate`.

        Raises
        ------
        DensityError
            If the process dies of it, or has died before.
        """
        x = points(x, self._dim)
        with _dying(self._name):
            told, (log_density, gradient) = self._child.call(
                "evaluate", inputs=[x], outputs=[x.shape[:1], x.shape]
            )
        rejection, self.seconds_per_gradient = told
        self.last_rejection = rejection or self.last_rejection
        return log_density, gradient

    def threads(self, n: int) -> int:
        """Threads that a batch of ``n`` points would be spread over."""
        with _dying(self._name):
            return int(self._child.call("threads", {"n": n})[0])


class IsolatedRows:
    """What `stanrovi.stan.rows.Rows` is.

    Where the process dies of generated quantities the rows are not lost: another one does without
    these, which are NaN then, and if need be without transformed parameters.
    """

    def __init__(
        self, child: Child, name: str, dim: int, n_parameters: int, n_columns: int
    ) -> None:
        self._child, self._name, self._dim = child, name, dim
        self._n_parameters, self._n_columns = n_parameters, n_columns
        self._avoided, self._death = 0, ""

    def constrain(self, x: Array, seed: int, *, until: float | None = None) -> Filled:
        """Constrain points; see `stanrovi.stan.rows.Rows.constrain`.

        Raises
        ------
        DensityError
            If the process dies of the parameters alone.
        """
        x = np.ascontiguousarray(x, dtype=np.float64)
        try:
            (n, n_failed, reason, runs), (values,) = self._surviving(
                "constrain", {"seed": seed}, x, [(len(x), self._n_columns)], until
            )
        except Overdue:
            return Filled(np.empty((0, self._n_columns)), 0, "")
        if runs:
            self._child.end()  # a row that was given up
        return Filled(values[:n], int(n_failed), self._death or str(reason))

    def seconds_per_draw(self, x: Array, until: float) -> float:
        """Measure; see `stanrovi.stan.rows.Rows.seconds_per_draw`."""
        try:
            (seconds, runs), _ = self._surviving("seconds_per_draw", {}, x, [], until)
        except Overdue:
            return float("inf")
        if runs:
            self._child.end()
        return float(seconds)

    def parameters(self, x: Array) -> Array:
        """Constrain parameters alone; see `stanrovi.stan.rows.Rows.parameters`."""
        x = np.ascontiguousarray(x, dtype=np.float64)
        with _dying(self._name):
            _, (values,) = self._child.call(
                "parameters", inputs=[x], outputs=[(len(x), self._n_parameters)]
            )
        return values

    def unconstrain(self, flat: Array) -> tuple[Array, str]:
        """Unconstrain rows; see `stanrovi.stan.rows.Rows.unconstrain`."""
        with _dying(self._name):
            reason, (x,) = self._child.call(
                "unconstrain", inputs=[flat], outputs=[(len(flat), self._dim)]
            )
        return x, str(reason)

    def _surviving(
        self,
        what: str,
        arguments: dict[str, Any],
        x: Array,
        outputs: list[tuple[int, int]],
        until: float | None,
    ) -> tuple[Any, list[Array]]:
        """Call the process; do without what it dies of."""
        late = None if until is None else until + _PATIENCE
        while True:
            left = None if until is None else until - time.perf_counter()
            asked = arguments | {"seconds": left, "avoided": self._avoided}
            try:
                return self._child.call(what, asked, [x], outputs, until=late)
            except Died as death:
                if death.again or self._avoided == len(_AVOIDED):
                    raise _error(self._name, death) from None
                self._death = _told(self._name, _AVOIDED[self._avoided], death)
                self._avoided += 1
                self._child.revive()


def _opened(name: str, child: Child) -> Any:
    """Start a process; what it says of what it has loaded."""
    try:
        return child.opened()
    except Died as death:
        raise ModelError(
            f"{name} cannot be loaded: the process that translated it and ran its transformed "
            f"data ended ({death}). Change that part of the program, or its data."
        ) from None
    except Overdue:
        raise ModelError(LOADING_TAKES_LONG) from None


@contextmanager
def _dying(name: str) -> Iterator[None]:
    """Make an error of the end of the process.

    Raises
    ------
    DensityError
    """
    try:
        yield
    except Died as death:
        raise _error(name, death) from None


def _error(name: str, death: Died) -> DensityError:
    told = _told(name, _COMPUTED.get(death.call, "parameters"), death)
    return DensityError(f"{told} Change that part of the program, and load it anew.")


def _told(name: str, what: str, death: Died) -> str:
    return f"The process that computed the {what} of {name} ended ({death})."
