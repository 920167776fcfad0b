"""Scalar quantities of a posterior: what they are called, and which of them say anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stanrovi.target import Array

TOO_NARROW = (
    "No parameter varies by more than 1e-10 of its size, which is near rounding, so nothing of the "
    "draws could be checked. Let the program have parameters that are distances from where the "
    "posterior lies, in units of its width."
)


@dataclass(frozen=True)
class Scalars:
    """Scalar quantities whose marginals are of interest.

    Attributes
    ----------
    names : tuple of str
        The k quantities.
    of : callable
        Their values (n, k) at unconstrained points (n, dim).
    """

    names: tuple[str, ...]
    of: Callable[[Array], Array]

    @classmethod
    def coordinates(cls, dim: int, names: Sequence[str] | None = None) -> Scalars:
        """Take the unconstrained coordinates themselves."""
        return cls(tuple(names or (f"x[{i + 1}]" for i in range(dim))), lambda x: x)

    def only(self, kept: NDArray[np.bool_]) -> Scalars:
        """Leave out those not ``kept``, shape (k,)."""
        names = tuple(name for name, keep in zip(self.names, kept, strict=True) if keep)
        return Scalars(names, lambda x: self.of(x)[:, kept])


def element_names(name: str, shape: tuple[int, ...]) -> list[str]:
    """Name the elements of a variable as Stan does, in row-major order: ``tau``, ``L[2,1]``."""
    if not shape:
        return [name]
    places = (",".join(str(i + 1) for i in index) for index in np.ndindex(shape))
    return [f"{name}[{place}]" for place in places]


def counted(n: int, what: str) -> str:
    """Say how many: "no draws", "1 parameter", "12 modes"."""
    return f"{n or 'no'} {what}{'' if n == 1 else 's'}"


def varying(values: Array) -> NDArray[np.bool_]:
    """Tell which quantities vary by more than rounding, as the ones of a correlation matrix.

    Parameters
    ----------
    values : ndarray, shape (..., k)
        Draws of k quantities.

    Returns
    -------
    ndarray of bool, shape (k,)
    """
    draws = tuple(range(values.ndim - 1))
    with np.errstate(all="ignore"):  # of what may be infinite nothing is told
        return np.asarray(values.std(axis=draws) > 1e-10 * np.abs(values).max(axis=draws))


def unvaried(values: Array) -> str:
    """Say why draws (chain, draw, k) of quantities none of which is `varying` tell nothing."""
    if (values == values[:1, :1]).all():
        return "Every parameter is constant over the draws; run more iterations."
    return TOO_NARROW


def first_of_copies(*runs: Array) -> NDArray[np.bool_]:
    """Tell which quantities are no copy of an earlier one in all runs, as in a symmetric matrix.

    Parameters
    ----------
    *runs : ndarray, shape (..., k)
        Draws of the same k quantities.

    Returns
    -------
    ndarray of bool, shape (k,)
    """
    first: dict[tuple[int, ...], int] = {}
    keys = (tuple(hash(run[..., i].tobytes()) for run in runs) for i in range(runs[0].shape[-1]))
    return np.array([first.setdefault(key, i) == i for i, key in enumerate(keys)], dtype=bool)
