"""A program in an engine: the only place where what a program says is done."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stanrovi.errors import DataError, ModelError, UsageError
from stanrovi.stan.batch import BatchEvaluator
from stanrovi.stan.data import check_data, known_size, to_json
from stanrovi.stan.engine import (
    EngineChoice,
    EngineName,
    load_library,
    load_program,
    load_reduced,
    translate,
)
from stanrovi.stan.memory import check_sizes, loading
from stanrovi.stan.program import Program
from stanrovi.stan.rows import Rows

if TYPE_CHECKING:
    from bridgestan import StanModel

logger = logging.getLogger(__name__)

_TRIES = 20  # points at which a constant is asked for


class Loaded:
    """A program with its data in an engine of this process.

    Parameters
    ----------
    source : Program or Path
        The program, or the path of a compiled library.
    data : dict
        JSON values.
    engine : {"auto", "stanli", "bridgestan"}
    seed : int
        Of random numbers in transformed data.

    Attributes
    ----------
    name : str
    engine : {"stanli", "bridgestan"}
        The engine in use.
    dim : int
    unconstrained_names, parameter_names, column_names : sequence of str
        Stan's flat names: of coordinates, of parameters, and of these with all that is computed
        from them.
    evaluator : BatchEvaluator
    rows : Rows

    Raises
    ------
    UsageError, ModelError, DataError
        See `stanrovi.stan.model.Model`.
    """

    def __init__(
        self, source: Program | Path, data: dict[str, Any], engine: EngineChoice, seed: int
    ) -> None:
        text = to_json(data)
        self.engine: EngineName
        reduce = None
        if isinstance(source, Program):
            self.name = source.name
            with parsed_first(source, translate):
                check_data(
                    data, source.data_declarations, source.name, may_be_nan=source.asks_for_nan
                )
            check_sizes(source, data)
            with loading(source, data):
                client, self.engine = load_program(source, text, engine, seed)
            if self.engine == "stanli":
                reduce = partial(load_reduced, source, text, seed)
            if (missing := _not_computed(source, data, client)) and reduce is not None:
                client = reduce("generated quantities")
            _warn_of(missing, source)
        elif engine == "stanli":
            raise UsageError(
                f"{source} is a compiled library; engine 'stanli' needs the .stan file"
            )
        else:
            client, self.engine = load_library(source, text, seed), "bridgestan"
            self.name = client.name().removesuffix("_model")
        self.dim = client.param_unc_num()
        if self.dim == 0:
            raise ModelError(f"{self.name} has no parameters, so there is nothing to infer")
        self._client = client
        self.unconstrained_names = client.param_unc_names()
        self.parameter_names = client.param_names()
        self.column_names = client.param_names(include_tp=True, include_gq=True)
        self.evaluator = BatchEvaluator(client)
        self.rows = Rows(client, reduce)

    def dropped_constant(self) -> float | None:
        """Tell what Stan leaves out of ``~`` statements; None where no point tells.

        For a compiled library; the embedded engine knows no other log density.
        """
        for x in np.random.default_rng(0).uniform(-1, 1, (_TRIES, self.dim)):
            try:
                whole = self._client.log_density(x, propto=False)
                part = self._client.log_density(x, propto=True)
            except RuntimeError:
                continue
            if np.isfinite(whole - part):
                return float(whole - part)
        return None


@contextmanager
def parsed_first(source: Program | Path, translate: Callable[[Program], object]) -> Iterator[None]:
    """Complain of data only if stanc does not complain of the program, which declares them."""
    try:
        yield
    except DataError:
        if isinstance(source, Program):
            translate(source)
        raise


def _not_computed(source: Program, data: dict[str, Any], client: StanModel) -> list[str]:
    """Find generated quantities that the engine leaves out, with the transformed parameters."""
    if client.param_num(include_tp=True) < client.param_num(include_tp=True, include_gq=True):
        return []
    return [
        item.name
        for item in source.generated_declarations
        if all(known_size(size, data) for size in item.sizes)
    ]


def _warn_of(missing: list[str], source: Program) -> None:
    if not missing:
        return
    cause = "Do they throw whatever the parameters, as an index out of range does?"
    if source.generates_structures:
        cause = (
            "It knows no tuples and no complex numbers: declare their parts one by one, or "
            "compile the program with BridgeStan (engine bridgestan)."
        )
    logger.warning(
        "%s declares generated quantities (%s) that the engine cannot compute; the draws "
        "lack them. %s", source.name, ", ".join(missing), cause,
    )  # fmt: skip
