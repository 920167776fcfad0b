"""A fit in a file, whole: its distribution, what it knows of itself, its program and its data."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from stanrovi.draws import Draws
from stanrovi.errors import DrawsError, ModelError
from stanrovi.families.axes import DenseAxes, DiagonalAxes
from stanrovi.families.block_axes import BlockAxes
from stanrovi.families.conditional import (
    Conditional,
    ConditionalMap,
    RootFunctions,
    StarFunctions,
)
from stanrovi.families.low_rank_axes import LowRankAxes
from stanrovi.families.maps import SplineMap
from stanrovi.families.mixture import Mixture
from stanrovi.families.moved import Moved
from stanrovi.families.pieces import Expectations
from stanrovi.families.product import Product
from stanrovi.families.sparse_axes import SparseAxes
from stanrovi.families.symmetry import Symmetry
from stanrovi.families.triangular import Pattern
from stanrovi.io.arviz import as_tree, from_arviz
from stanrovi.io.netcdf import read_tree, write_tree
from stanrovi.io.records import from_dataset, to_dataset
from stanrovi.modes.basins import Mode
from stanrovi.modes.coherence import Flaw
from stanrovi.stan.data import read_data
from stanrovi.stan.engine import EngineName
from stanrovi.stan.model import Model, rebuilt
from stanrovi.stan.program import Program
from stanrovi.vi.facts import MarginalErrors, Root, TracePoint, Verdict
from stanrovi.vi.result import FitResult
from stanrovi.vi.settings import FamilySettings

_GROUP = "stored_fit"
_FORMAT_NAME, _FORMAT = "format", 1  # of what is beside the draws: another one is not read
_LOOKED_AT = 50  # draws by which a file and an engine are checked
_ROUNDING = 1e-6


@dataclass(frozen=True)
class StoredModel:
    """What a model can be built of again.

    Attributes
    ----------
    name : str
    program : str or Path
        Code of the program, includes filled in, or the path of a compiled library.
    data : str
        JSON.
    engine : {"stanli", "bridgestan"}
    seed : int
        Of the transformed data.
    isolate : bool
        Whether it will be built in a process of its own: for whoever reads a file to say.
    """

    name: str
    program: str | Path
    data: str
    engine: EngineName
    seed: int
    isolate: bool = False

    @classmethod
    def of(cls, model: Model) -> StoredModel:
        """Take it from a model."""
        source = model.source
        program = source.code if isinstance(source, Program) else source.resolve()
        return cls(model.name, program, model.data_json, model.engine, model.seed)

    def build(self, draws: Draws) -> Model:
        """Build the model of a fit with these draws.

        Raises
        ------
        ModelError, UsageError
            If its engine or its library is not there any more, or does not take unconstrained
            points where it took them.
        """
        source = Program(self.name, self.program) if isinstance(self.program, str) else self.program
        model = rebuilt(source, json.loads(self.data), self.engine, self.seed, self.isolate)
        assert draws.unconstrained is not None
        found = model.constrain_parameters(draws.unconstrained[0, :_LOOKED_AT])
        for name, values in found.items():
            if not np.allclose(values, draws.posterior[name][0, :_LOOKED_AT], _ROUNDING):
                raise ModelError(
                    f"The engine that is installed here ({model.engine}) has other unconstrained "
                    f"coordinates for {name} than the one that made the fit; fit again."
                )
        return model


_RECORDS = (
    FitResult, FamilySettings, TracePoint, Verdict, MarginalErrors, Root, Flaw, Mode, Symmetry,
    Product, Mixture, Conditional, Moved, ConditionalMap, RootFunctions, StarFunctions, Pattern,
    SplineMap, Expectations, DenseAxes, DiagonalAxes, LowRankAxes, SparseAxes, BlockAxes,
    StoredModel,
)  # fmt: skip


def write_fit(
    draws: Draws,
    result: FitResult,
    model: StoredModel,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
) -> Path:
    """Write a fit as NetCDF: what `stanrovi.write_netcdf` writes of its draws, and the rest.

    Parameters
    ----------
    draws : Draws
        Of the fit.
    result : FitResult
    model : StoredModel
    path : path-like
    overwrite : bool
        Whether an existing file may be replaced.

    Returns
    -------
    Path
        ``path``.

    Raises
    ------
    OutputError
        The path exists or cannot be written.
    """
    # Draws stand in the file already.
    bare = replace(result, draws=result.draws[:0], log_p=result.log_p[:0], log_q=result.log_q[:0])
    tree = as_tree(draws)
    stored = to_dataset({"fit": bare, "model": model}, _RECORDS)
    tree[_GROUP] = stored.assign_attrs({_FORMAT_NAME: _FORMAT})
    return write_tree(tree, path, overwrite=overwrite)


def read_fit(path: str | os.PathLike[str]) -> tuple[Draws, FitResult, StoredModel]:
    """Read what `write_fit` has written.

    Raises
    ------
    DrawsError
        The file is missing, holds no fit, or is damaged.
    """
    tree = read_tree(path)
    draws = from_arviz(tree, source=str(path))
    if _GROUP not in tree.children:
        raise DrawsError(
            f"{path} holds draws and no fit to draw from again. Read its draws by "
            "stanrovi.read_draws, or give a file that fit.save or `stanrovi fit --output` wrote "
            "(those of --resample and --relabel hold other draws than the fit's)."
        )
    group = tree[_GROUP].to_dataset()
    if (found := group.attrs.get(_FORMAT_NAME)) != _FORMAT:
        writer = draws.attrs.get("inference_library_version", "of unknown version")
        raise DrawsError(
            f"The fit in {path} has format {found}, by stanrovi {writer}, and this version reads "
            f"format {_FORMAT}: load it with that version, or fit again. Its draws may be readable "
            "by stanrovi.read_draws."
        )
    try:
        stored = from_dataset(group, _RECORDS)
        bare, model = stored["fit"], stored["model"]
        if not (isinstance(bare, FitResult) and isinstance(model, StoredModel)):
            raise TypeError("no fit, or no model")
        result, data = _with_draws(bare, draws), read_data(json.loads(model.data))
    except Exception as error:  # whatever a file that others have changed leads to
        raise DrawsError(
            f"The fit in {path} cannot be read ({type(error).__name__}: {error}): the file is "
            "damaged, or of another version of stanrovi. Its draws may be readable by "
            "stanrovi.read_draws; else fit again."
        ) from error
    return replace(draws, facts=result.facts, data=data), result, model


def _with_draws(bare: FitResult, draws: Draws) -> FitResult:
    """Give a fit its draws back, and see that they are its own."""
    if draws.unconstrained is None:
        raise ValueError("the draws are not on unconstrained space")
    x, m = draws.unconstrained[0], len(draws.evaluated)
    lp, log_q = (np.asarray(draws.sample_stats[key][0], np.float64) for key in ("lp", "log_q"))
    found = bare.family.log_density(x[:_LOOKED_AT])
    if not np.allclose(found, log_q[:_LOOKED_AT], _ROUNDING, _ROUNDING):
        raise ValueError("the draws are not of this distribution")
    return replace(bare, draws=x, log_p=lp[:m], log_q=log_q[:m])
