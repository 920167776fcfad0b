"""Log densities and gradients of whole batches, through raw pointers.

The client's own method costs 8-27 microseconds of Python per gradient. Here
the library's function is called directly on addresses inside contiguous
arrays, which costs about one. Each call releases the interpreter lock, so
threads help once a gradient outweighs that one microsecond. Points are
independent of each other: results do not depend on the number of threads. The
main thread only waits for them, so that Ctrl-C ends an evaluation that hangs.
"""

from __future__ import annotations

import ctypes
import os
import time
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from stanrovi.errors import shortened
from stanrovi.given import points
from stanrovi.target import Array
from stanrovi.waiting import at_once, within

if TYPE_CHECKING:
    from bridgestan import StanModel

# A gradient cheaper than this gains nothing from threads; handing a share of
# the batch to a thread has to be worth the handing.
_MIN_SECONDS_PER_GRADIENT = 5e-6
_MIN_SECONDS_PER_BATCH = 200e-6
# Time a call holds the interpreter lock: more threads than fit would queue.
_LOCKED_SECONDS = 1.5e-6
# What a batch costs besides its gradients, and what must be seen before a
# cost is believed: the first calls pay for cold caches.
_BATCH_SECONDS = 4e-6
_POINTS_TO_MEASURE = 20
_BATCHES_TO_MEASURE = 2

_GRADIENT = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_void_p,  # model
    ctypes.c_bool,  # propto
    ctypes.c_bool,  # jacobian
    ctypes.c_void_p,  # x
    ctypes.c_void_p,  # log density
    ctypes.c_void_p,  # gradient
    ctypes.c_void_p,  # error message
)


class BatchEvaluator:
    """Evaluates a BridgeStan model on batches of unconstrained points.

    Parameters
    ----------
    client : bridgestan.StanModel
        The loaded model.
    max_threads : int, optional
        Upper limit of threads; by default the processors available to this
        process, or 1 when the library was built without thread support.

    Attributes
    ----------
    last_rejection : str or None
        What the density said when it last rejected a point.
    seconds_per_gradient : float or None
        The least measured on one thread; None until enough has been seen.
    """

    def __init__(self, client: StanModel, max_threads: int | None = None) -> None:
        self._client = client  # owns the memory behind the addresses below
        self._model = client.model
        self._dim = client.param_unc_num()
        self._function = _GRADIENT(("bs_log_density_gradient", client.stanlib))
        self._messages = Messages(client)
        if max_threads is None:
            max_threads = processors() if supports_threads(client) else 1
        self._max_threads = max_threads
        self._measured_points = self._measured_batches = 0
        self._least_cost = np.inf
        self.seconds_per_gradient: float | None = None
        self.last_rejection: str | None = None

    def evaluate(self, x: Array, *, threads: int | None = None) -> tuple[Array, Array]:
        """Evaluate a batch.

        Parameters
        ----------
        x : ndarray, shape (n, dim)
            Unconstrained points.
        threads : int, optional
            Threads to use; chosen by measured cost if not given.

        Returns
        -------
        log_density : ndarray, shape (n,)
            Up to a constant; ``-inf`` at rejected points.
        gradient : ndarray, shape (n, dim)
            Zero at rejected points.

        Raises
        ------
        UsageError
            If x is of another type or shape.
        """
        x = points(x, self._dim)
        log_density, gradient = np.empty(x.shape[0]), np.empty(x.shape)
        if threads is None:
            threads = self.threads(x.shape[0])
        if threads == 1:
            within(self._evaluate_measured, x, log_density, gradient)
        else:
            self._evaluate_threaded(x, log_density, gradient, threads)
        return _with_rejections(log_density, gradient)

    def threads(self, n: int) -> int:
        """Threads that a batch of ``n`` points would be spread over."""
        cost = self.seconds_per_gradient
        if self._max_threads == 1 or cost is None or cost < _MIN_SECONDS_PER_GRADIENT:
            return 1
        if n * cost < _MIN_SECONDS_PER_BATCH:
            return 1
        return max(1, min(self._max_threads, n, int(cost / _LOCKED_SECONDS)))

    def _evaluate_measured(self, x: Array, log_density: Array, gradient: Array) -> None:
        start = time.perf_counter()
        self._evaluate_slice(x, log_density, gradient)
        elapsed = time.perf_counter() - start
        n = max(1, x.shape[0])
        self._least_cost = min(self._least_cost, max(elapsed - _BATCH_SECONDS, 0.0) / n)
        self._measured_points += x.shape[0]
        self._measured_batches += 1
        enough = self._measured_points >= _POINTS_TO_MEASURE
        if enough and self._measured_batches >= _BATCHES_TO_MEASURE:
            self.seconds_per_gradient = self._least_cost

    def _evaluate_threaded(
        self, x: Array, log_density: Array, gradient: Array, threads: int
    ) -> None:
        edges = np.linspace(0, x.shape[0], threads + 1).astype(int)
        parts = [slice(a, b) for a, b in pairwise(edges)]
        at_once(
            *(
                partial(self._evaluate_slice, x[part], log_density[part], gradient[part])
                for part in parts
            )
        )

    def _evaluate_slice(self, x: Array, log_density: Array, gradient: Array) -> None:
        """Evaluate contiguous rows on this thread."""
        message = ctypes.c_void_p()
        row = 8 * self._dim
        points = range(x.ctypes.data, x.ctypes.data + row * x.shape[0], row)
        values = range(log_density.ctypes.data, log_density.ctypes.data + 8 * x.shape[0], 8)
        slopes = range(gradient.ctypes.data, gradient.ctypes.data + row * x.shape[0], row)
        function, model, error = self._function, self._model, ctypes.addressof(message)
        for point, value, slope in zip(points, values, slopes, strict=True):
            if function(model, True, True, point, value, slope, error):
                ctypes.c_double.from_address(value).value = -np.inf
                self.last_rejection = self._messages.take(message) or self.last_rejection


class Messages:
    """Reads error messages that a BridgeStan library has allocated, and frees them."""

    def __init__(self, client: StanModel) -> None:
        prototype = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
        self._free = prototype(("bs_free_error_msg", client.stanlib))

    def take(self, message: ctypes.c_void_p) -> str:
        """Return the text behind the pointer, shortened, and leave the pointer null."""
        if not message.value:
            return ""
        text = ctypes.string_at(message.value).decode("utf-8", "replace").strip()
        self._free(message.value)
        message.value = None
        return shortened(text)


def supports_threads(client: StanModel) -> bool:
    """Whether several threads may evaluate one model at once."""
    return "STAN_THREADS=true" in client.model_info()


def processors() -> int:
    """Processors available to this process, as far as ``STAN_NUM_THREADS`` lets it use them."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    allowed = os.environ.get("STAN_NUM_THREADS", "")
    return min(usable or 1, int(allowed) if allowed.isdecimal() and int(allowed) else 2**31)


def _with_rejections(log_density: Array, gradient: Array) -> tuple[Array, Array]:
    # A finite sum means finite terms; only a sum that is not deserves a look.
    with np.errstate(all="ignore"):
        if np.isfinite(log_density.sum() + gradient.sum()):
            return log_density, gradient
    bad = ~(np.isfinite(log_density) & np.isfinite(gradient).all(axis=1))
    log_density[bad] = -np.inf
    gradient[bad] = 0.0
    return log_density, gradient
