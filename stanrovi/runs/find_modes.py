"""The search for modes of a Stan model."""

from __future__ import annotations

import numpy as np

from stanrovi.arguments import checked_seed
from stanrovi.modes.report import ModeReport, mode_report
from stanrovi.modes.search import search_modes
from stanrovi.runs.guard import guarded
from stanrovi.stan.data import DataSource
from stanrovi.stan.model import ModelSource, as_model
from stanrovi.target import Target


def find_modes(
    model: ModelSource, data: DataSource = None, *, seed: int | None = None
) -> ModeReport:
    """Search for the modes of a Stan model and report how separate they are.

    Parameters
    ----------
    model, data
        See `fit`.
    seed : int, optional
        Of the starting points, below 2**32.

    Returns
    -------
    ModeReport
        Mode table, epsilon-separateness and the collapse bound, in the
        original and in rotated coordinates.

    Raises
    ------
    UsageError
        For a seed that is none.
    ModelError, DataError
        If the model cannot be built.
    DensityError
        If the density is finite nowhere.
    """
    seed = checked_seed(seed)
    built = as_model(model, data)
    target = Target(built)
    rng = np.random.default_rng(np.random.SeedSequence(seed).spawn(3)[0])
    names = tuple(built.unconstrained_names)

    def work() -> ModeReport:
        search = search_modes(target, rng, names)
        return mode_report(search, target.n_gradients, built.name, names)

    return guarded(built, work)
