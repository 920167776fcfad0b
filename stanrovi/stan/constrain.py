"""From unconstrained points to Stan's variables, and back."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import stanio
from stanio.reshape import Variable, VariableType

from stanrovi.arguments import checked_mapping, told
from stanrovi.draws import Values, not_finite
from stanrovi.errors import DataError
from stanrovi.given import real_array
from stanrovi.stan.rows import Filled
from stanrovi.target import Array

logger = logging.getLogger(__name__)


class Mover(Protocol):
    """Moves rows between unconstrained and constrained space; see `stanrovi.stan.rows.Rows`."""

    def constrain(self, x: Array, seed: int, *, until: float | None = None) -> Filled:
        """Constrain points (n, dim), with all that is computed from them."""

    def parameters(self, x: Array) -> Array:
        """Constrain parameters alone at points (n, dim)."""

    def unconstrain(self, flat: Array) -> tuple[Array, str]:
        """Unconstrain rows of parameters; why one failed."""


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


def columns_of(name: str, variable: Variable, *, most: int) -> list[str]:
    """Give the columns of a variable of this shape (``a[2,1]``, column-major), none beyond most.

    Parameters
    ----------
    name : str
    variable : Variable
        As in a `plain` layout.
    most : int

    Returns
    -------
    list of str
    """
    parts = [["real"], ["imag"]] if variable.type is VariableType.COMPLEX else [[]]
    if math.prod(variable.dimensions) * len(parts) > most:
        return []
    places = np.ndindex(*reversed(variable.dimensions))
    indices = [[*(str(i + 1) for i in place[::-1]), *part] for place in places for part in parts]
    return [f"{name}[{','.join(index)}]" if index else name for index in indices]


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
    rows : Mover
        What runs the program.
    parameter_names, column_names : sequence of str
        Stan's flat names of the parameters, and with all that is computed from them.

    Attributes
    ----------
    parameters, variables : dict of str to Variable
        Layout of the parameters block; and with transformed parameters and
        generated quantities.
    """

    def __init__(
        self, rows: Mover, parameter_names: Sequence[str], column_names: Sequence[str]
    ) -> None:
        self._rows = rows
        self.parameters = variables(parameter_names)
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
        out, n_failed, reason = self._rows.constrain(x, seed, until=until)
        if n_failed:
            logger.warning(
                "transformed parameters or generated quantities failed in %d of %d draws and are "
                "NaN there; the last reason: %s", n_failed, len(out), reason,
            )  # fmt: skip
        values = split(out, self.variables)
        if not n_failed and (found := not_finite(values)):
            logger.warning(
                "draws of %s, as computed by the program: does it divide by zero?",
                " and ".join(found),
            )
        return values

    def parameters_at(self, x: Array) -> dict[str, Array]:
        """Constrained parameters at points x (n, dim); NaN where that fails, without a word."""
        return split(self._rows.parameters(x), self.parameters)

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
        values = checked_mapping("values", values, "parameters to their values")
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
        draws = checked_mapping("draws", draws, "parameters to arrays of draws")
        rows = {name: _rows_of(name, item, draws) for name, item in self.parameters.items()}
        if len({len(values) for values in rows.values()}) > 1:
            lengths = ", ".join(f"{len(values)} of {name}" for name, values in rows.items())
            raise DataError(f"there must be as many draws of each parameter, not {lengths}")
        out, message = self._unconstrain_rows(rows)
        if message:
            logger.info("draws cannot be unconstrained: %s", message)
            return None
        return out

    def _unconstrain_rows(self, draws: Mapping[str, Values]) -> tuple[Array, str]:
        """Unconstrain draws (n, *shape) row by row, up to the first that fails."""
        columns = [_flatten(draws[name], variable) for name, variable in self.parameters.items()]
        return self._rows.unconstrain(np.concatenate(columns, axis=1))


def _parameter(name: str, variable: Variable, values: Mapping[str, Any]) -> Array:
    """One parameter's value as a single draw, shape (1, *shape)."""
    array, declared = _given(name, values), shape(variable)
    if array.shape != declared:
        raise DataError(f"parameter {name} has shape {array.shape}, the program has {declared}")
    return array[np.newaxis]


def _rows_of(name: str, variable: Variable, draws: Mapping[str, Any]) -> Array:
    """Draws of one parameter, shape (n, *shape)."""
    array, declared = _given(name, draws), shape(variable)
    if not array.ndim or array.shape[1:] != declared:
        wanted = ", ".join(["n", *map(str, declared)])
        raise DataError(f"draws of {name} have shape {array.shape}, and must have ({wanted})")
    return array


def _given(name: str, values: Mapping[str, Any]) -> Array:
    if name not in values:
        given = ", ".join(values) or "nothing"
        raise DataError(f"parameter {name} is missing; the values given are of {given}")
    array = real_array(values[name])
    if array is None:
        raise DataError(f"parameter {name} is not an array of numbers: {told(values[name])}")
    return array


def _flatten(values: Values, variable: Variable) -> Values:
    """Inverse of `_extract`: draws (n, *shape) to columns (n, width)."""
    if variable.type is VariableType.COMPLEX:
        parts = [_flatten_plain(values[..., k]) for k in (0, 1)]
        return np.stack(parts, axis=-1).reshape(values.shape[0], -1)
    return _flatten_plain(values)


def _flatten_plain(values: Values) -> Values:
    width = math.prod(values.shape[1:])  # told: of no draws it cannot be computed
    return values.transpose(0, *range(values.ndim - 1, 0, -1)).reshape(values.shape[0], width)
