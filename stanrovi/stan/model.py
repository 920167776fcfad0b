"""A Stan program with its data, ready for inference."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from stanrovi.arguments import check_choice, checked_seed
from stanrovi.draws import Values
from stanrovi.errors import ModelError, UsageError
from stanrovi.scalars import Scalars, element_names
from stanrovi.stan.batch import BatchEvaluator
from stanrovi.stan.constrain import Constrainer, shape, with_integers
from stanrovi.stan.data import DataSource, canonical, check_data, known_size, read_data, to_json
from stanrovi.stan.engine import EngineChoice, EngineName, load_library, load_program, load_reduced
from stanrovi.stan.locate import ProgramSource, locate
from stanrovi.stan.program import Program
from stanrovi.target import Array

if TYPE_CHECKING:
    from bridgestan import StanModel

logger = logging.getLogger(__name__)

_HASH = 16  # letters
_TRIES = 20  # points at which a constant is asked for


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

    Raises
    ------
    UsageError
        If the program, data file or engine named is not there, or the seed is none.
    ModelError
        If stanc rejects the program, no engine can run it, or it has no parameters.
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
    ) -> None:
        check_choice("engine", engine, get_args(EngineChoice))
        source, data = locate(program, include_paths, data)
        self._build(source, read_data(data), engine, seed)

    def _build(
        self, source: Program | Path, data: dict[str, Any], engine: EngineChoice, seed: int
    ) -> None:
        self.source, self.data, self.seed = source, data, checked_seed(seed)
        self.engine: EngineName
        if isinstance(source, Program):
            self.name = source.name
            check_data(data, source.data_declarations, source.name, may_be_nan=source.asks_for_nan)
            client, self.engine = load_program(source, self.data_json, engine, self.seed)
            client = self._as_far_as_computed(source, client)
        elif engine == "stanli":
            raise UsageError(
                f"{source} is a compiled library; engine 'stanli' needs the .stan file"
            )
        else:
            client, self.engine = load_library(source, self.data_json, self.seed), "bridgestan"
            self.name = client.name().removesuffix("_model")
        if client.param_unc_num() == 0:
            raise ModelError(f"{self.name} has no parameters, so there is nothing to infer")
        self._client = client
        self._evaluator = BatchEvaluator(client)
        self._constrainer = Constrainer(client, self._reduced if self.engine == "stanli" else None)
        self.dim = client.param_unc_num()
        self.unconstrained_names = tuple(client.param_unc_names())
        self.parameters = tuple(self._constrainer.parameters)
        self.variables = tuple(self._constrainer.variables)
        self.n_columns = self._constrainer.n_columns

    def _as_far_as_computed(self, source: Program, client: StanModel) -> StanModel:
        """Do without generated quantities that the engine leaves out, and warn of them.

        It leaves out the transformed parameters then, too.
        """
        if client.param_num(include_tp=True) < client.param_num(include_tp=True, include_gq=True):
            return client
        missing = [
            item.name
            for item in source.generated_declarations
            if all(known_size(size, self.data) for size in item.sizes)
        ]
        if not missing:
            return client
        cause = "Do they throw whatever the parameters, as an index out of range does?"
        if source.generates_structures:
            cause = (
                "It knows no tuples and no complex numbers: declare their parts one by one, or "
                "compile the program with BridgeStan (engine bridgestan)."
            )
        logger.warning(
            "%s declares generated quantities (%s) that the engine cannot compute; the draws "
            "lack them. %s", self.name, ", ".join(missing), cause,
        )  # fmt: skip
        return self._reduced("generated quantities") if self.engine == "stanli" else client

    def _reduced(self, *dropped: str) -> StanModel:
        assert isinstance(self.source, Program)
        return load_reduced(self.source, self.data_json, self.seed, *dropped)

    def __reduce__(self) -> tuple[Any, ...]:
        return rebuilt, (self.source, self.data, self.engine, self.seed)

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
        return rebuilt(self.source, self.data | read_data(data), self.engine, seed)

    def __repr__(self) -> str:
        return f"Model({self.name!r}, engine={self.engine!r}, dim={self.dim})"

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
        return self._evaluator.threads(n)

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
        return with_integers(values, self.integers)

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
        return self.as_declared(self._constrainer.constrain(x, seed, until=until))

    def constrain_parameters(self, x: Array) -> dict[str, Array]:
        """Parameters alone at unconstrained points x (n, dim), without what is computed of them."""
        return self._constrainer.parameters_at(x)

    def seconds_per_draw(self, until: float) -> float:
        """Measure what one draw of all ``variables`` costs; infinite if it takes too long.

        Parameters
        ----------
        until : float
            Value of ``time.perf_counter()`` at which to give up.
        """
        x = np.random.default_rng(0).uniform(-1, 1, self.dim)
        return self._constrainer.seconds_per_draw(x, until)

    @cached_property
    def hashes(self) -> dict[str, str]:
        """SHA-256, abridged, of program and data; see `hashes`."""
        return hashes(self.source, self.data)

    @cached_property
    def dropped_constant(self) -> tuple[float, str]:
        """What to add to log densities to make them those of the program, and what is known of it.

        Stan leaves out of ``~`` statements what does not depend on parameters. A compiled
        library can be asked for it; the embedded engine cannot, and then it is zero, rightly
        where the program says ``target +=`` throughout.
        """
        if self.engine == "bridgestan":
            for x in np.random.default_rng(0).uniform(-1, 1, (_TRIES, self.dim)):
                try:
                    whole = self._client.log_density(x, propto=False)
                    part = self._client.log_density(x, propto=True)
                except RuntimeError:
                    continue
                if np.isfinite(whole - part):
                    return float(whole - part), "with all constants, by the compiled library"
        elif isinstance(self.source, Program) and self.source.keeps_constants:
            return 0.0, "with all constants, since the program says target += throughout"
        return 0.0, "up to the constant that Stan drops from ~ statements"

    @property
    def scalars(self) -> Scalars:
        """The constrained scalar parameters, under Stan's names (``tau``, ``theta[1]``)."""
        names = [label for item in self.shapes.items() for label in element_names(*item)]

        def of(x: Array) -> Array:
            values = self._constrainer.parameters_at(x)
            return np.concatenate([v.reshape(len(x), -1) for v in values.values()], axis=1)

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


def hashes(source: Program | Path, data: Mapping[str, Any]) -> dict[str, str]:
    """SHA-256, abridged, of a program and its data: ``program_hash`` and ``data_hash``.

    The same for the same code, includes filled in, and for the same values, however they were
    given.
    """
    code = source.code.encode() if isinstance(source, Program) else source.read_bytes()
    return {
        name: hashlib.sha256(what).hexdigest()[:_HASH]
        for name, what in (("program_hash", code), ("data_hash", canonical(data).encode()))
    }


def rebuilt(source: Program | Path, data: dict[str, Any], engine: EngineChoice, seed: int) -> Model:
    """Build a model of what it was built of; see the attributes of `Model`."""
    model = Model.__new__(Model)
    model._build(source, data, engine, seed)
    return model
