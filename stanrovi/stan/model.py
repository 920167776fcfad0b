"""A Stan program with its data, ready for inference."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import numpy as np

from stanrovi.arguments import (
    check_choice,
    checked_count,
    checked_flag,
    checked_mapping,
    checked_number,
    checked_seed,
)
from stanrovi.draws import Values
from stanrovi.errors import UsageError
from stanrovi.given import points
from stanrovi.scalars import Scalars, element_names
from stanrovi.stan.constrain import Constrainer, shape, with_integers
from stanrovi.stan.data import DataSource, canonical, read_data, to_json
from stanrovi.stan.engine import EngineChoice, EngineName, translate
from stanrovi.stan.isolated import Isolated, translate_apart
from stanrovi.stan.loaded import Loaded, parsed_first
from stanrovi.stan.locate import ProgramSource, locate
from stanrovi.stan.program import Program
from stanrovi.target import Array

_HASH = 16  # letters


class Model:
    """A Stan program with its data: log density, gradient and variables.

    Satisfies `stanrovi.target.Density`. Models pickle: they are rebuilt from
    their sources where they are unpickled.

    Parameters
    ----------
    program : path, str or cmdstanpy.CmdStanModel
        Path of a ``.stan`` file, path of a compiled BridgeStan library
        (``.so``, ``.dylib``, ``.dll``), the name of a bundled model, which
        brings its data, or a CmdStanModel, whose ``.stan`` file is used.
    data : path, str, mapping or None
        Path of a JSON file, JSON text, or a mapping of names to values. A program that
        declares data and is given none takes them from ``NAME.data.json`` or ``NAME.json``
        beside ``NAME.stan``, and logs that (level INFO).
    engine : {"auto", "stanli", "bridgestan"}
        ``"auto"`` takes the embedded engine (stanli) if it accepts the
        program, else compiles with BridgeStan where its sources are.
    include_paths : sequence of path
        Folders searched for ``#include`` before the program's own folder.
    seed : int
        Seed of random numbers in the transformed data block, below 2**32.
    isolate : bool
        Whether the program runs in a process of its own, which a program that crashes, loops for
        ever or takes all memory ends instead of this one. The same numbers, some 100 microseconds
        later for each batch.

    Attributes
    ----------
    name : str
    engine : {"stanli", "bridgestan"}
        The engine in use.
    dim : int
        Number of unconstrained parameters.
    parameters : tuple of str
        Names in the parameters block, those without elements left out.
    variables : tuple of str
        The same, with transformed parameters and generated quantities.
    n_columns : int
        Numbers in one constrained draw of all ``variables``.
    unconstrained_names : tuple of str, length dim
        Stan's names of the unconstrained coordinates (``theta.1``).
    source : Program or Path
        The program, or the path of the library.
    data : dict
        The data as JSON values.
    seed : int
    isolate : bool

    Raises
    ------
    UsageError
        If the program, data file or engine named is not there, or the seed is none.
    ModelError
        If stanc rejects the program, no engine can run it, or it has no parameters; or if the
        process of an isolated one dies over it.
    DataError
        If there are no data, or they do not fit the data block.
    """

    def __init__(
        self,
        program: ProgramSource,
        data: DataSource = None,
        *,
        engine: EngineChoice = "auto",
        include_paths: Sequence[str | os.PathLike[str]] = (),
        seed: int = 0,
        isolate: bool = False,
    ) -> None:
        check_choice("engine", engine, get_args(EngineChoice))
        isolate = checked_flag("isolate", isolate)
        source, data = locate(program, include_paths, data)
        with parsed_first(source, translate_apart if isolate else translate):
            values = read_data(data)
        self._build(source, values, engine, seed, isolate)

    def _build(
        self,
        source: Program | Path,
        data: dict[str, Any],
        engine: EngineChoice,
        seed: int,
        isolate: bool,
    ) -> None:
        self.source, self.data, self.seed = source, data, checked_seed(seed)
        self.isolate = isolate
        made = Isolated if isolate else Loaded
        self._program = program = made(source, data, engine, self.seed)
        self.name: str = program.name
        self.engine: EngineName = program.engine
        self.dim: int = program.dim
        self.unconstrained_names = tuple(program.unconstrained_names)
        self.n_columns = len(program.column_names)
        self._evaluator = program.evaluator
        self._constrainer = Constrainer(program.rows, program.parameter_names, program.column_names)
        self.parameters = tuple(self._constrainer.parameters)
        self.variables = tuple(self._constrainer.variables)

    def __reduce__(self) -> tuple[Any, ...]:
        return rebuilt, (self.source, self.data, self.engine, self.seed, self.isolate)

    def rebuild(self, *, seed: int, data: Mapping[str, Any] | None = None) -> Model:
        """Build the same program again, on the same engine.

        Parameters
        ----------
        seed : int
            Seed of random numbers in the transformed data block.
        data : mapping, optional
            Values that replace those of the same names.

        Returns
        -------
        Model

        Raises
        ------
        DataError
            If the new data do not fit the data block.
        """
        return rebuilt(self.source, self.data | read_data(data), self.engine, seed, self.isolate)

    def __repr__(self) -> str:
        isolated = ", isolate=True" if self.isolate else ""
        return f"Model({self.name!r}, engine={self.engine!r}, dim={self.dim}{isolated})"

    @property
    def data_json(self) -> str:
        """The data as JSON text that every engine reads."""
        return to_json(self.data)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the ``parameters``."""
        return {name: shape(item) for name, item in self._constrainer.parameters.items()}

    @property
    def last_rejection(self) -> str | None:
        """What the density said when it last rejected a point."""
        return self._evaluator.last_rejection

    def forget_rejection(self) -> None:
        """Forget `last_rejection`, which another run may have caused."""
        self._evaluator.last_rejection = None

    @property
    def seconds_per_gradient(self) -> float | None:
        """Time of one gradient on one thread, once some have been evaluated."""
        return self._evaluator.seconds_per_gradient

    def threads(self, n: int) -> int:
        """Threads that a batch of ``n`` points is spread over."""
        return self._evaluator.threads(checked_count("n", n, 0))

    def log_density_gradient(self, x: Array, /) -> tuple[Array, Array]:
        """Evaluate a batch of unconstrained points.

        Parameters
        ----------
        x : ndarray, shape (n, dim)
            Unconstrained points.

        Returns
        -------
        log_density : ndarray, shape (n,)
            On unconstrained space (Jacobian included), up to a constant;
            ``-inf`` where the program rejects the point; see `last_rejection`.
        gradient : ndarray, shape (n, dim)
            Zero at rejected points.
        """
        return self._evaluator.evaluate(x)

    @property
    def integers(self) -> frozenset[str]:
        """Generated quantities declared as integers; none where there is no source to tell."""
        return self.source.integers if isinstance(self.source, Program) else frozenset()

    def as_declared(self, values: Mapping[str, Values]) -> dict[str, Values]:
        """Values of variables, any shape, with int64 where the program declares integers.

        Those that hold NaN, since their computation threw, stay floating-point numbers.
        """
        return with_integers(
            checked_mapping("values", values, "variables to arrays"), self.integers
        )

    def constrain(self, x: Array, *, seed: int, until: float | None = None) -> dict[str, Values]:
        """Stan's variables at unconstrained points.

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
            Parameters, transformed parameters and generated quantities in
            declaration order, integers as in `as_declared`. NaN where their computation
            threw, which is logged with its count. Of all n points, or of the first that were
            done in time.
        """
        x, seed = points(x, self.dim), checked_count("seed", seed, 0)
        until = None if until is None else checked_number("until", until, -math.inf)
        return self.as_declared(self._constrainer.constrain(x, seed, until=until))

    def constrain_parameters(self, x: Array) -> dict[str, Array]:
        """Parameters alone at unconstrained points x (n, dim), without what is computed of them."""
        return self._constrainer.parameters_at(points(x, self.dim))

    def seconds_per_draw(self, until: float) -> float:
        """Measure what one draw of all ``variables`` costs; infinite if it takes too long.

        Parameters
        ----------
        until : float
            Value of ``time.perf_counter()`` at which to give up.
        """
        x = np.random.default_rng(0).uniform(-1, 1, self.dim)
        return self._program.rows.seconds_per_draw(x, checked_number("until", until, -math.inf))

    @cached_property
    def hashes(self) -> dict[str, str]:
        """SHA-256, abridged, of program and data; see `hashes`."""
        return hashes(self.source, self.data, self.seed)

    @property
    def has_random_data(self) -> bool:
        """Whether its program is known to draw transformed data at random, by ``seed``."""
        return isinstance(self.source, Program) and self.source.has_random_data

    @cached_property
    def dropped_constant(self) -> tuple[float, str]:
        """What to add to log densities to make them those of the program, and what is known of it.

        Stan leaves out of ``~`` statements what does not depend on parameters. A compiled
        library can be asked for it; the embedded engine cannot, and then it is zero, rightly
        where the program says ``target +=`` throughout.
        """
        if self.engine == "bridgestan":
            if (constant := self._program.dropped_constant()) is not None:
                return constant, "with all constants, by the compiled library"
        elif isinstance(self.source, Program) and self.source.keeps_constants:
            return 0.0, "with all constants, since the program says target += throughout"
        return 0.0, "up to the constant that Stan drops from ~ statements"

    @property
    def scalars(self) -> Scalars:
        """The constrained scalar parameters, under Stan's names (``tau``, ``theta[1]``)."""
        names = [label for item in self.shapes.items() for label in element_names(*item)]

        def of(x: Array) -> Array:
            values = self.constrain_parameters(x)
            columns = [v.reshape(len(v), math.prod(v.shape[1:])) for v in values.values()]
            return np.concatenate(columns, axis=1)

        return Scalars(tuple(names), of)

    def unconstrain(self, values: Mapping[str, Any]) -> Array:
        """Unconstrained coordinates of one set of parameter values.

        Parameters
        ----------
        values : mapping of str to array_like
            Every parameter, constrained, in its declared shape.

        Returns
        -------
        ndarray, shape (dim,)

        Raises
        ------
        DataError
            If a parameter is missing, misshapen or outside its support.
        """
        return self._constrainer.unconstrain(values)

    def unconstrain_draws(self, draws: Mapping[str, Values]) -> Array | None:
        """Unconstrained coordinates of many draws.

        Parameters
        ----------
        draws : mapping of str to ndarray, shape (n, *shape)
            Constrained draws; must hold every parameter.

        Returns
        -------
        ndarray, shape (n, dim), or None
            None where a draw, rounded as files round, lies outside its support.
        """
        return self._constrainer.unconstrain_draws(draws)


ModelSource = Model | ProgramSource


def as_model(model: ModelSource, data: DataSource) -> Model:
    """Take a model as it is, or build it.

    Parameters
    ----------
    model : Model, path, str or cmdstanpy.CmdStanModel
        A model, or what `Model` takes.
    data : path, str, mapping or None
        Data, when ``model`` is not a `Model` yet.

    Returns
    -------
    Model

    Raises
    ------
    UsageError
        If there are data for a `Model`, which has its own.
    """
    if not isinstance(model, Model):
        return Model(model, data)
    if data is not None:
        raise UsageError("This model has its data already; pass data only with a program.")
    return model


def hashes(
    source: Program | Path, data: Mapping[str, Any], seed: int | None = None
) -> dict[str, str]:
    """SHA-256, abridged, of a program and its data: ``program_hash`` and ``data_hash``.

    The same for the same code, includes filled in, and for the same values, however they were
    given; those of data with the seed, if there is one, where it draws transformed data.
    """
    drawn = seed is not None and isinstance(source, Program) and source.has_random_data
    values = canonical(data) + (f" seed {seed}" if drawn else "")
    code = source.code.encode() if isinstance(source, Program) else source.read_bytes()
    return {
        name: hashlib.sha256(what).hexdigest()[:_HASH]
        for name, what in (("program_hash", code), ("data_hash", values.encode()))
    }


def rebuilt(
    source: Program | Path,
    data: dict[str, Any],
    engine: EngineChoice,
    seed: int,
    isolate: bool = False,
) -> Model:
    """Build a model of what it was built of; see the attributes of `Model`."""
    model = Model.__new__(Model)
    model._build(source, data, engine, seed, isolate)
    return model
