"""From unconstrained points to Stan's variables, and back."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import stanio
from stanio.reshape import Variable, VariableType

from stanrovi.draws import nan_variables
from stanrovi.errors import DataError
from stanrovi.stan.batch import Messages
from stanrovi.target import Array

if TYPE_CHECKING:
    from bridgestan import StanModel

logger = logging.getLogger(__name__)

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


def _addresses(rows: Array) -> Iterator[int]:
    """Where each row of a contiguous array begins in memory."""
    first, size = rows.ctypes.data, rows.itemsize * rows.shape[1]
    return (first + i * size for i in range(len(rows)))


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
    """

    def __init__(self, client: StanModel, reduce: Callable[..., StanModel] | None = None) -> None:
        self._client = client
        self._reduce = cache(reduce) if reduce else None
        self._dim = client.param_unc_num()
        self._constrain = _CONSTRAIN(("bs_param_constrain", client.stanlib))
        self._unconstrain = _UNCONSTRAIN(("bs_param_unconstrain", client.stanlib))
        self._messages = Messages(client)
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

    def constrain(self, x: Array, seed: int) -> dict[str, Array]:
        """Constrained draws with transformed parameters and generated quantities.

        Parameters
        ----------
        x : ndarray, shape (n, dim)
            Unconstrained points.
        seed : int
            Seed of random numbers in generated quantities.

        Returns
        -------
        dict of str to ndarray, shape (n, *shape)
            Quantities whose computation threw are NaN in that draw.
        """
        x = np.ascontiguousarray(x, dtype=np.float64)
        out = np.full((x.shape[0], self.n_columns), np.nan)
        message = ctypes.c_void_p()
        rng = self._client.new_rng(seed)
        failures, reason = 0, ""
        for i, (point, row) in enumerate(zip(_addresses(x), _addresses(out), strict=True)):
            if text := self._constrain_row(point, row, out[i], rng, message):
                failures, reason = failures + 1, text
        if failures:
            logger.warning(
                "transformed parameters or generated quantities failed in %d of %d draws and are "
                "NaN there; the last reason: %s", failures, x.shape[0], reason,
            )  # fmt: skip
        values = split(out, self.variables)
        if not failures and (names := nan_variables(values)):
            logger.warning("the program computes NaN in draws of %s", ", ".join(names))
        return values

    def parameters_at(self, x: Array) -> dict[str, Array]:
        """Constrained parameters at points x (n, dim); NaN where that fails, without a word."""
        x = np.ascontiguousarray(x, dtype=np.float64)
        include, width, dropped = self._fallbacks[1]
        client = self._without(dropped) if width < self.n_columns else self._client
        out = np.full((x.shape[0], width), np.nan)
        message = ctypes.c_void_p()
        for i, (point, row) in enumerate(zip(_addresses(x), _addresses(out), strict=True)):
            if self._call(client, include, point, row, None, message):
                out[i] = np.nan
        return split(out, self.parameters)

    def _constrain_row(
        self, point: int, row: int, out: Array, rng: Any, message: ctypes.c_void_p
    ) -> str:
        """Fill one row with as much as can be computed; return what went wrong."""
        reason = self._call(self._client, (True, True), point, row, rng.ptr, message)
        if not reason:
            return ""
        for include, width, dropped in self._fallbacks:
            if not self._call(self._without(dropped), include, point, row, None, message):
                out[width:] = np.nan
                return reason
        out[:] = np.nan
        return reason

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
        """Constrain the point at one address into the row at another; return what went wrong."""
        failed = self._constrain(client.model, *include, point, row, rng, ctypes.addressof(message))
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

    def unconstrain_draws(self, draws: Mapping[str, Array]) -> Array | None:
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

    def _unconstrain_rows(self, draws: Mapping[str, Array]) -> tuple[Array, str]:
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


def _flatten(values: Array, variable: Variable) -> Array:
    """Inverse of `_extract`: draws (n, *shape) to columns (n, width)."""
    if variable.type is VariableType.COMPLEX:
        parts = [_flatten_plain(values[..., k]) for k in (0, 1)]
        return np.stack(parts, axis=-1).reshape(values.shape[0], -1)
    return _flatten_plain(values)


def _flatten_plain(values: Array) -> Array:
    return values.transpose(0, *range(values.ndim - 1, 0, -1)).reshape(values.shape[0], -1)
