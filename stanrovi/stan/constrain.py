"""From unconstrained points to Stan's variables, and back."""

from __future__ import annotations

import ctypes
import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import stanio
from stanio.reshape import Variable, VariableType

from stanrovi.draws import Values, nan_variables
from stanrovi.errors import DataError
from stanrovi.stan.batch import Messages, processors, supports_threads
from stanrovi.target import Array
from stanrovi.waiting import Pending, within

if TYPE_CHECKING:
    from bridgestan import StanModel

logger = logging.getLogger(__name__)

# Draws that share one stream of random numbers, whatever the number of threads.
_BLOCK = 16
# What is seen before more threads are started, and what a draw must cost for them to pay.
_SECONDS_TO_MEASURE = 0.02
_MIN_SECONDS_PER_DRAW = 30e-6
# Waiting: how often the time is looked at, how late a draw may be, and how long is told of.
_PERIOD, _LATE, _LATE_DRAWS = 0.1, 0.05, 4
_LONG, _SECONDS_TO_TELL = 10.0, 1.0

_DROPPED = ("generated quantities", "transformed parameters", "model")

_CONSTRAIN = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_void_p,  # model
    ctypes.c_bool,  # include transformed parameters
    ctypes.c_bool,  # include generated quantities
    ctypes.c_void_p,  # x
    ctypes.c_void_p,  # output
    ctypes.c_void_p,  # random numbers
    ctypes.c_void_p,  # error message
)
_UNCONSTRAIN = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p
)


def variables(column_names: Sequence[str]) -> dict[str, Variable]:
    """Variables behind Stan's flat column names (``a.2.1``, column-major)."""
    return plain(stanio.parse_header(",".join(column_names)), column_names) if column_names else {}


def plain(layout: Mapping[str, Variable], column_names: Sequence[str]) -> dict[str, Variable]:
    """Make a layout in which each member of a tuple is a variable under its column name."""
    out: dict[str, Variable] = {}
    for name, variable in layout.items():
        if variable.type is not VariableType.TUPLE:
            out[name] = variable
            continue
        for column in variable.columns():
            label = column_names[column]
            out[label] = Variable(label, column, column + 1, (), VariableType.SCALAR, [])
    return out


def split(columns: Array, layout: Mapping[str, Variable]) -> dict[str, Array]:
    """Split flat draws into variables.

    Parameters
    ----------
    columns : ndarray, shape (..., n_columns)
    layout : mapping of str to Variable
        From `variables`.

    Returns
    -------
    dict of str to ndarray, shape (..., *shape)
        Complex variables get a last axis (real part, imaginary part).
    """
    return {name: _extract(columns, variable) for name, variable in layout.items()}


def with_integers(values: Mapping[str, Values], names: Collection[str]) -> dict[str, Values]:
    """Values in which those of the names are integers, as far as all of each are whole."""
    return {
        name: v.astype(np.int64) if name in names and _are_whole(v) else v
        for name, v in values.items()
    }


def _are_whole(values: Values) -> bool:
    return bool((np.isfinite(values) & (values == np.rint(values))).all())


def shape(variable: Variable) -> tuple[int, ...]:
    """Shape of one draw of a variable; complex ones have a last axis of two."""
    complex_axis = (2,) if variable.type is VariableType.COMPLEX else ()
    return (*variable.dimensions, *complex_axis)


def _extract(columns: Array, variable: Variable) -> Array:
    lead = columns.shape[:-1]
    values = columns[..., variable.start_idx : variable.end_idx]
    if variable.type is VariableType.COMPLEX:
        # Columns hold (real, imag) pairs, the pairs in column-major order.
        pairs = values.reshape(*lead, -1, 2)
        parts = [_column_major(pairs[..., k], variable.dimensions) for k in (0, 1)]
        return np.stack(parts, axis=-1)
    return _column_major(values, variable.dimensions)


def _column_major(values: Array, shape: tuple[int, ...]) -> Array:
    lead = values.ndim - 1
    reversed_axes = values.reshape(*values.shape[:-1], *shape[::-1])
    order = (*range(lead), *range(reversed_axes.ndim - 1, lead - 1, -1))
    return np.ascontiguousarray(reversed_axes.transpose(order))


class Constrainer:
    """Moves batches of points between unconstrained and constrained space.

    Parameters
    ----------
    client : bridgestan.StanModel
        The loaded model.
    reduce : callable, optional
        Loads the same model without the blocks named; for an engine that
        evaluates generated quantities even when not asked for them.

    Attributes
    ----------
    parameters, variables : dict of str to Variable
        Layout of the parameters block; and with transformed parameters and
        generated quantities.
    n_columns : int
        Numbers in one constrained draw.

    Notes
    -----
    Draws come in blocks, each with random numbers of its own, so that generated quantities do not
    depend on the number of threads.
    """

    def __init__(self, client: StanModel, reduce: Callable[..., StanModel] | None = None) -> None:
        self._client = client
        self._reduce = cache(reduce) if reduce else None
        self._dim = client.param_unc_num()
        self._constrain = _CONSTRAIN(("bs_param_constrain", client.stanlib))
        self._unconstrain = _UNCONSTRAIN(("bs_param_unconstrain", client.stanlib))
        self._messages = Messages(client)
        self._max_threads = processors() if supports_threads(client) else 1
        column_names = client.param_names(include_tp=True, include_gq=True)
        self.n_columns = len(column_names)
        widths = client.param_num(include_tp=True), client.param_num()
        # What to include, how many columns that gives, which blocks it can do without.
        self._fallbacks = (
            ((True, False), widths[0], _DROPPED[:1]),
            ((False, False), widths[1], _DROPPED),
        )
        self.parameters = variables(client.param_names())
        self.variables = variables(column_names)

    def constrain(self, x: Array, seed: int, *, until: float | None = None) -> dict[str, Array]:
        """Constrained draws with transformed parameters and generated quantities.

        Parameters
        ----------
        x : ndarray, shape (n, dim)
            Unconstrained points.
        seed : int
            Seed of random numbers in generated quantities.
        until : float, optional
            Value of ``time.perf_counter()`` at which to end.

        Returns
        -------
        dict of str to ndarray, shape (m, *shape)
            Of the first points, of all without ``until``. Quantities whose computation threw are
            NaN in that draw.
        """
        rows = self._rows(x, seed)
        n = rows.fill(self._max_threads, until)
        # A row that was given up may still be written.
        out = rows.out if n == len(rows.out) else rows.out[:n].copy()
        failures = [i for i in list(rows.reasons) if i < n]
        if failures:
            logger.warning(
                "transformed parameters or generated quantities failed in %d of %d draws and are "
                "NaN there; the last reason: %s", len(failures), n, rows.reasons[max(failures)],
            )  # fmt: skip
        values = split(out, self.variables)
        if not failures and (names := nan_variables(values)):
            logger.warning("the program computes NaN in draws of %s", ", ".join(names))
        return values

    def seconds_per_draw(self, x: Array, until: float) -> float:
        """Measure what one constrained draw costs at a point (dim,); infinite if not told by then.

        Parameters
        ----------
        x : ndarray, shape (dim,)
        until : float
            Value of ``time.perf_counter()``.
        """
        least = float("inf")
        for _ in range(2):  # the first pays for cold caches
            rows, began = self._rows(x[None], 0), time.perf_counter()
            if began > until or not rows.fill(1, until):
                break
            least = min(least, time.perf_counter() - began)
        return least

    def _rows(self, x: Array, seed: int) -> _Rows:
        x = np.ascontiguousarray(x, dtype=np.float64)
        return _Rows(self._constrain_row, self._client.new_rng, x, self.n_columns, seed)

    def parameters_at(self, x: Array) -> dict[str, Array]:
        """Constrained parameters at points x (n, dim); NaN where that fails, without a word."""
        return within(self._parameters_at, np.ascontiguousarray(x, dtype=np.float64))

    def _parameters_at(self, x: Array) -> dict[str, Array]:
        include, width, dropped = self._fallbacks[1]
        client = self._without(dropped) if width < self.n_columns else self._client
        out = np.full((x.shape[0], width), np.nan)
        message = ctypes.c_void_p()
        rows = zip(_addresses(x), _addresses(out), strict=True)
        for i, (point, row) in enumerate(rows):
            if self._call(client, include, point, row, None, message):
                out[i] = np.nan
        return split(out, self.parameters)

    def _constrain_row(
        self, point: int, row: int, rng: Any, message: ctypes.c_void_p
    ) -> tuple[str, int]:
        """Fill a row with what can be computed; what went wrong, and how much is filled."""
        reason = self._call(self._client, (True, True), point, row, rng.ptr, message)
        if not reason:
            return "", self.n_columns
        for include, width, dropped in self._fallbacks:
            if not self._call(self._without(dropped), include, point, row, None, message):
                return reason, width
        return reason, 0

    def _without(self, dropped: tuple[str, ...]) -> StanModel:
        """Give the model without blocks, where the engine would evaluate them unasked."""
        return self._reduce(*dropped) if self._reduce else self._client

    def _call(
        self,
        client: StanModel,
        include: tuple[bool, bool],
        point: int,
        row: int,
        rng: Any,
        message: ctypes.c_void_p,
    ) -> str:
        """Constrain the point at one address into the row at another."""
        address = ctypes.addressof(message)
        failed = self._constrain(client.model, *include, point, row, rng, address)
        return (self._messages.take(message) or "no reason given") if failed else ""

    def unconstrain(self, values: Mapping[str, Any]) -> Array:
        """One unconstrained point from a mapping of parameter values.

        Parameters
        ----------
        values : mapping of str to array_like
            Every parameter of the parameters block, constrained, in its declared shape.

        Returns
        -------
        ndarray, shape (dim,)

        Raises
        ------
        DataError
            If a parameter is missing, misshapen or outside its support.
        """
        draws = {
            name: _parameter(name, variable, values) for name, variable in self.parameters.items()
        }
        out, message = self._unconstrain_rows(draws)
        if message:
            raise DataError(f"these parameter values cannot be used: {message}")
        return out[0]

    def unconstrain_draws(self, draws: Mapping[str, Values]) -> Array | None:
        """Unconstrained points of many draws.

        Parameters
        ----------
        draws : mapping of str to ndarray, shape (n, *shape)
            Constrained draws; must hold every parameter.

        Returns
        -------
        ndarray, shape (n, dim), or None
            None where a draw, rounded as files round, lies outside its support.
        """
        out, message = self._unconstrain_rows(draws)
        if message:
            logger.info("draws cannot be unconstrained: %s", message)
            return None
        return out

    def _unconstrain_rows(self, draws: Mapping[str, Values]) -> tuple[Array, str]:
        """Unconstrain draws (n, *shape) row by row, up to the first that fails."""
        columns = [_flatten(draws[name], variable) for name, variable in self.parameters.items()]
        flat = np.ascontiguousarray(np.concatenate(columns, axis=1), dtype=np.float64)
        out = np.empty((flat.shape[0], self._dim))
        message = ctypes.c_void_p()
        for i in range(flat.shape[0]):
            failed = self._unconstrain(
                self._client.model, flat[i].ctypes.data, out[i].ctypes.data,
                ctypes.addressof(message),
            )  # fmt: skip
            if failed:
                return out, self._messages.take(message) or "no reason given"
            if not np.isfinite(out[i]).all():
                return out, "a value lies on the edge of its support"
        return out, ""


class _Rows:
    """Draws on their way to be constrained: threads take blocks of them until none is left."""

    def __init__(
        self,
        row: Callable[[int, int, Any, ctypes.c_void_p], tuple[str, int]],
        new_rng: Callable[[int], Any],
        x: Array,
        n_columns: int,
        seed: int,
    ) -> None:
        self._row, self._new_rng, self._x = row, new_rng, x
        self.out = np.full((len(x), n_columns), np.nan)
        self.reasons: dict[int, str] = {}  # of rows that are not whole
        starts = range(0, len(x), _BLOCK)
        seeds = np.random.SeedSequence(seed).generate_state(len(starts))
        self._blocks = deque(zip(starts, seeds.tolist(), strict=True))
        self._done = np.zeros(len(x), bool)
        self._stopped = False

    def fill(self, max_threads: int, until: float | None) -> int:
        """Constrain until all is done, or the time is over; tell how many of the first are."""
        began = time.perf_counter()
        late = _SECONDS_TO_MEASURE if until is None else min(_SECONDS_TO_MEASURE, until - began)
        threads = [Pending(self._work)]
        try:
            if not threads[0].returned_within(late):
                if self._cost(began, 1) > _MIN_SECONDS_PER_DRAW:
                    threads += [Pending(self._work) for _ in range(max_threads - 1)]
                self._wait(threads, began, until)
            for thread in threads:
                if thread.returned_within(0):
                    thread.result()
        finally:
            self._stopped = True
            for thread in threads:
                thread.give_up()
        return len(self._done) if self._done.all() else int(np.argmin(self._done))

    def _wait(self, threads: Sequence[Pending[None]], began: float, until: float | None) -> None:
        told = False
        for thread in threads:
            while not thread.returned_within(_PERIOD if until is None else self._left(until)):
                now, cost = time.perf_counter(), self._cost(began, len(threads))
                if until is not None and now > until:
                    self._stopped = True
                    late = _LATE_DRAWS * cost if self._done.any() else 0.0
                    if now > until + max(_LATE, late):
                        return
                elif not told and now - began > _SECONDS_TO_TELL and self._done.any():
                    told = True
                    self._tell(cost / len(threads), until)

    @staticmethod
    def _left(until: float) -> float:
        return min(_PERIOD, max(until - time.perf_counter(), _PERIOD / 10))

    def _cost(self, began: float, threads: int) -> float:
        """Seconds of one draw on one thread, so far."""
        return threads * (time.perf_counter() - began) / max(int(self._done.sum()), 1)

    def _tell(self, cost: float, until: float | None) -> None:
        """Say how long it will take, if long."""
        seconds = cost * (len(self._done) - int(self._done.sum()))
        if until is not None:
            seconds = min(seconds, until - time.perf_counter())
        if seconds > _LONG:
            logger.warning(
                "transformed parameters and generated quantities take %.2g s a draw, about %.0f s "
                "more for up to %d draws", cost, seconds, len(self._done),
            )  # fmt: skip

    def _work(self) -> None:
        message = ctypes.c_void_p()
        while True:
            try:
                start, seed = self._blocks.popleft()
            except IndexError:
                return
            rng, rows = self._new_rng(seed), slice(start, start + _BLOCK)
            places = zip(_addresses(self._x[rows]), _addresses(self.out[rows]), strict=True)
            for i, (point, row) in enumerate(places, start):
                if self._stopped:
                    return
                reason, width = self._row(point, row, rng, message)
                if reason:
                    self.reasons[i] = reason
                    self.out[i, width:] = np.nan
                self._done[i] = True


def _addresses(rows: Array) -> range:
    """Where each row (n, k) of contiguous ones begins; each must have something in it."""
    first = rows.ctypes.data
    return range(first, first + rows.nbytes, 8 * rows.shape[1])


def _parameter(name: str, variable: Variable, values: Mapping[str, Any]) -> Array:
    """One parameter's value as a single draw, shape (1, *shape)."""
    if name not in values:
        given = ", ".join(values) or "nothing"
        raise DataError(f"parameter {name} is missing; the values given are of {given}")
    declared = shape(variable)
    try:
        array = np.asarray(values[name], dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"parameter {name} is not an array of numbers: {error}") from None
    if array.shape != declared:
        raise DataError(f"parameter {name} has shape {array.shape}, the program has {declared}")
    return array[np.newaxis]


def _flatten(values: Values, variable: Variable) -> Values:
    """Inverse of `_extract`: draws (n, *shape) to columns (n, width)."""
    if variable.type is VariableType.COMPLEX:
        parts = [_flatten_plain(values[..., k]) for k in (0, 1)]
        return np.stack(parts, axis=-1).reshape(values.shape[0], -1)
    return _flatten_plain(values)


def _flatten_plain(values: Values) -> Values:
    return values.transpose(0, *range(values.ndim - 1, 0, -1)).reshape(values.shape[0], -1)
