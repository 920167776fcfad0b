"""Numbers and densities that are given from outside: checked where they come in."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from stanrovi.arguments import checked_count, giga, memory, told
from stanrovi.errors import DensityError, StanroviError, UsageError, said
from stanrovi.target import Array, BudgetExhausted, Density

T = TypeVar("T")
_BYTES = 500  # that a coordinate takes: its name, and the points of a search


def real_array(values: ArrayLike) -> Array | None:
    """Make an array of real numbers; None of what is something else, as texts or ragged rows."""
    if np.ma.is_masked(values):  # what is hidden there is no number
        return None
    try:
        array = np.asarray(values)
    except Exception:  # anybody may have written its type
        return None
    return array.astype(np.float64, copy=False) if array.dtype.kind in "fiub" else None


def points(x: ArrayLike, dim: int) -> Array:
    """Take a batch of unconstrained points, contiguous, as compiled code reads them.

    Raises
    ------
    UsageError
        If they are no real numbers, or not of shape (n, dim).
    """
    given = real_array(x)
    if given is None:
        raise UsageError(f"Points must be an array of real numbers, not {told(x)}.")
    if given.ndim != 2 or given.shape[1] != dim:
        raise UsageError(
            f"Points must have shape (n, {dim}), a row of {dim} unconstrained coordinates each, "
            f"not {given.shape}."
        )
    return np.ascontiguousarray(given)


def at_points(x: ArrayLike, dim: int) -> Array:
    """Take a batch of unconstrained points as `points` does, in whatever order in memory."""
    if type(x) is np.ndarray and x.dtype == np.float64 and x.ndim == 2 and x.shape[1] == dim:
        return x
    return points(x, dim)


def check_sampling(n: int, rng: np.random.Generator, most: int) -> None:
    """Refuse a number of draws that is none, or is beyond all, and a generator that is none.

    Raises
    ------
    UsageError
    """
    checked_count("n", n, 0, most)
    if not isinstance(rng, np.random.Generator):
        raise UsageError(
            "rng must be a numpy.random.Generator, as numpy.random.default_rng(1), not "
            f"{told(rng)}."
        )


def foreign(what: str, call: Callable[[], T]) -> T:
    """Call what somebody else has written.

    Raises
    ------
    DensityError
        If it raises an error of its own: whose, in the words of ``what``, and what it says.
    """
    try:
        return call()
    except (StanroviError, BudgetExhausted, MemoryError):
        raise
    except Exception as error:
        raise DensityError(f"{what} raised {type(error).__name__}: {said(error)}") from error


class Guarded:
    """A density that anybody may have written, whose answers are checked and nobody else's.

    Parameters
    ----------
    density : Density

    Raises
    ------
    UsageError
        If it is none.
    """

    def __init__(self, density: Density) -> None:
        evaluate, dim = (
            foreign(f"The density's {name}", partial(getattr, density, name, None))
            for name in ("log_density_gradient", "dim")
        )
        if not callable(evaluate):
            raise UsageError(
                f"A density has a method log_density_gradient and a number dim, as "
                f"stanrovi.densities.FunctionDensity makes of a function; not {told(density)}."
            )
        self._evaluate = evaluate
        self.dim = checked_count("dim of a density", dim, 1)
        if (needed := self.dim * _BYTES) > memory():
            raise UsageError(
                f"{self.dim:,} dimensions take {giga(needed)} or more, and {giga(memory())} of "
                "memory are there. Is dim of the density right?"
            )

    def log_density_gradient(self, x: Array, /) -> tuple[Array, Array]:
        """Evaluate a batch; see `stanrovi.target.Density.log_density_gradient`.

        Raises
        ------
        DensityError
            If the density raises an error, or returns something else than values and gradients.
        """
        if not len(x):  # of which a function may know no answer, as a maximum
            return np.zeros(0), np.zeros((0, self.dim))
        answer = foreign(
            f"The log density, at points of shape {x.shape},",
            lambda: self._evaluate(x.copy()),  # of its own: it may write there
        )
        if not isinstance(answer, tuple | list) or len(answer) != 2:
            raise DensityError(
                "The log density must return two arrays, the values and the gradients, not "
                f"{told(answer)}."
            )
        return _numbers("values", answer[0], x.shape[:1]), _numbers("gradients", answer[1], x.shape)


def _numbers(what: str, given: ArrayLike, shape: tuple[int, ...]) -> Array:
    array = real_array(given)
    if array is None:
        raise DensityError(f"The log density's {what} must be real numbers, not {told(given)}.")
    if array.shape != shape:
        raise DensityError(
            f"The log density's {what} have shape {array.shape} at {shape[0]} points, and must "
            f"have {shape}."
        )
    return array.copy()  # the density may write there again
