"""The search for modes of a Stan model."""

from __future__ import annotations

import numpy as np

from stanrovi.arguments import checked_seed
from stanrovi.given import Guarded
from stanrovi.modes.coherence import Flaw, find_flaw
from stanrovi.modes.found import SearchResult
from stanrovi.modes.report import ModeReport, mode_report
from stanrovi.modes.search import search_modes
from stanrovi.runs.guard import guarded
from stanrovi.stan.data import DataSource
from stanrovi.stan.model import ModelSource, as_model
from stanrovi.target import Array, Target
from stanrovi.vi.start import laplace

_DRAWS = 8


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
        If the density is finite nowhere, or is none.
    """
    seed = checked_seed(seed)
    built = as_model(model, data)
    target = Target(Guarded(built))
    rng = np.random.default_rng(np.random.SeedSequence(seed).spawn(3)[0])
    names = tuple(built.unconstrained_names)

    def work() -> ModeReport:
        search = search_modes(target, rng, names)
        flaw = _flaw(target, search, names, rng)
        return mode_report(search, target.n_gradients, built.name, names, flaw)

    return guarded(built, work)


def _flaw(
    target: Target, search: SearchResult, names: tuple[str, ...], rng: np.random.Generator
) -> Flaw | None:
    """Look for what makes a density none at a few draws of the local Gaussian at its peak."""
    local = laplace(search.peak)
    x: Array = local.from_base(rng.standard_normal((_DRAWS, target.dim)))
    value, gradient = target.log_density_gradient(x)
    return find_flaw(target, x, value, gradient, local.log_density_gradient, names, search.first)
