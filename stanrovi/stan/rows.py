"""Rows of numbers between unconstrained and constrained space, through raw pointers."""

from __future__ import annotations

import ctypes
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

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
_COPYING = 2e-8  # seconds that a number takes after all are computed, when it becomes a variable's

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


class Filled(NamedTuple):
    """Constrained rows.

    Attributes
    ----------
    values : ndarray, shape (m, n_columns)
        NaN where a computation threw.
    n_failed : int
        Rows in which one threw.
    reason : str
        What the last of them said.
    """

    values: Array
    n_failed: int
    reason: str


class Rows:
    """Moves rows between unconstrained and constrained space.

    Parameters
    ----------
    client : bridgestan.StanModel
        The loaded model.
    reduce : callable, optional
        Loads the same model without the blocks named; for an engine that
        evaluates generated quantities even when not asked for them.

    Attributes
    ----------
    n_columns : int
        Numbers in one constrained draw with transformed parameters and generated quantities.
    n_parameters : int
        Numbers of the parameters alone, which come first.

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
        self.n_columns = client.param_num(include_tp=True, include_gq=True)
        self.n_parameters = client.param_num()
        # What to include, how many columns that gives, which blocks it can do without.
        self._fallbacks = (
            ((True, False), client.param_num(include_tp=True), _DROPPED[:1]),
            ((False, False), self.n_parameters, _DROPPED),
        )

    def constrain(
        self, x: Array, seed: int, *, until: float | None = None, avoided: int = 0
    ) -> Filled:
        """Constrain points, with transformed parameters and generated quantities.

        Parameters
        ----------
        x : ndarray, shape (n, dim)
            Unconstrained points.
        seed : int
            Seed of random numbers in generated quantities.
        until : float, optional
            Value of ``time.perf_counter()`` at which to end.
        avoided : {0, 1, 2}
            1: do without generated quantities, which are NaN then; 2: without transformed
            parameters, too.

        Returns
        -------
        Filled
            The first rows; all without ``until``.
        """
        work = self._work(x, seed, avoided)
        n = work.fill(self._max_threads, until)
        out = work.out[:n]  # rows that were given up may still be written, behind
        failures = [i for i in list(work.reasons) if i < n]
        return Filled(out, len(failures), work.reasons[max(failures)] if failures else "")

    def seconds_per_draw(self, x: Array, until: float, *, avoided: int = 0) -> float:
        """Measure what one constrained draw costs at a point (dim,); infinite if not told by then.

        Parameters
        ----------
        x : ndarray, shape (dim,)
        until : float
            Value of ``time.perf_counter()``.
        avoided : {0, 1, 2}
            See `constrain`.
        """
        least = float("inf")
        for _ in range(2):  # the first pays for cold caches
            work, began = self._work(x[None], 0, avoided), time.perf_counter()
            if began > until or not work.fill(1, until):
                break
            least = min(least, time.perf_counter() - began)
        return least + _COPYING * self.n_columns

    def _work(self, x: Array, seed: int, avoided: int) -> _Work:
        row = partial(self._constrain_row, avoided)
        x = np.ascontiguousarray(x, dtype=np.float64)
        return _Work(row, self._client.new_rng, x, self.n_columns, seed)

    def parameters(self, x: Array) -> Array:
        """Constrain parameters alone; NaN where that fails, without a word.

        Parameters
        ----------
        x : ndarray, shape (n, dim)

        Returns
        -------
        ndarray, shape (n, n_parameters)
        """
        return within(self._parameters, np.ascontiguousarray(x, dtype=np.float64))

    def _parameters(self, x: Array) -> Array:
        include, width, dropped = self._fallbacks[1]
        client = self._without(dropped) if width < self.n_columns else self._client
        out = np.full((x.shape[0], width), np.nan)
        message = ctypes.c_void_p()
        rows = zip(_addresses(x), _addresses(out), strict=True)
        for i, (point, row) in enumerate(rows):
            if self._call(client, include, point, row, None, message):
                out[i] = np.nan
        return out

    def _constrain_row(
        self, avoided: int, point: int, row: int, rng: Any, message: ctypes.c_void_p
    ) -> tuple[str, int]:
        """Fill a row with what can be computed; what went wrong, and how much is filled."""
        reason = "not asked for"
        if not avoided:
            reason = self._call(self._client, (True, True), point, row, rng.ptr, message)
            if not reason:
                return "", self.n_columns
        for include, width, dropped in self._fallbacks[max(avoided - 1, 0) :]:
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

    def unconstrain(self, flat: Array) -> tuple[Array, str]:
        """Unconstrain rows of parameters, up to the first that fails.

        Parameters
        ----------
        flat : ndarray, shape (n, n_parameters)

        Returns
        -------
        ndarray, shape (n, dim)
        str
            Why one failed; empty where none did.
        """
        flat = np.ascontiguousarray(flat, dtype=np.float64)
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


class _Work:
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
        self.out = np.empty((len(x), n_columns))  # which takes no memory before it is written
        self.reasons: dict[int, str] = {}  # of rows that are not whole
        starts = range(0, len(x), _BLOCK)
        seeds = np.random.SeedSequence(seed).generate_state(len(starts))
        self._blocks = deque(zip(starts, seeds.tolist(), strict=True))
        self._done = np.zeros(len(x), bool)
        self._stopped = False
        self._latest = 0.0  # when the last one was done

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
        told, over = False, None
        for thread in threads:
            while not thread.returned_within(_PERIOD if until is None else self._left(until)):
                now, cost = time.perf_counter(), self._cost(began, len(threads))
                if until is not None and now + self._copying() > until:
                    if over is None:
                        over, self._stopped = now + self._lateness(began, len(threads)), True
                    if now > over:
                        return
                elif not told and now - began > _SECONDS_TO_TELL and self._done.any():
                    told = True
                    self._tell(cost / len(threads), until)

    def _copying(self) -> float:
        """Seconds that the draws which are done will take to be copied."""
        return _COPYING * self.out.shape[1] * int(self._done.sum())

    def _lateness(self, began: float, threads: int) -> float:
        """Seconds that the draws which are at work may still take, by what those done took."""
        cost = threads * (self._latest - began) / max(int(self._done.sum()), 1)
        return max(_LATE, _LATE_DRAWS * cost)

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
                self._done[i], self._latest = True, time.perf_counter()


def _addresses(rows: Array) -> range:
    """Where each row (n, k) of contiguous ones begins; each must have something in it."""
    first = rows.ctypes.data
    return range(first, first + rows.nbytes, 8 * rows.shape[1])
