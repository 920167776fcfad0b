"""Draws in one representative of modes that symmetries of a posterior exchange."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from stanrovi.arguments import told
from stanrovi.draws import Draws
from stanrovi.errors import DrawsError, UsageError
from stanrovi.families.axes import DENSE_LIMIT
from stanrovi.modes.basins import Mode, basin_labels
from stanrovi.runs.answers import Answers
from stanrovi.runs.record import constrained, is_of, not_of
from stanrovi.runs.summary import summary_frame
from stanrovi.stan.data import DataSource
from stanrovi.stan.model import Model, ModelSource, as_model
from stanrovi.target import Array

if TYPE_CHECKING:
    import pandas as pd


class Run(Protocol):
    """What `stanrovi.fit` and `stanrovi.sample` return, as far as it is needed here."""

    @property
    def draws(self) -> Draws:
        """Constrained draws, with the unconstrained ones."""

    @property
    def modes(self) -> tuple[Mode, ...]:
        """Basins that the mode search found."""


@dataclass(frozen=True, repr=False, eq=False)
class Relabelled(Answers):
    """Draws in one representative of each orbit of modes.

    Attributes
    ----------
    draws : Draws
    representatives : tuple of dict
        The mode to which each orbit was taken: parameters under their Stan names, constrained.
    moved : float
        Share of the draws that were taken there from another mode.
    reason : str
        Which symmetries there are, and where the draws are now.
    """

    draws: Draws
    representatives: tuple[dict[str, Any], ...]
    moved: float
    reason: str

    def summary(self, vars: str | Iterable[str] | None = None) -> pd.DataFrame:
        """Mean, sd and quantiles of every scalar quantity; see `stanrovi.Fit.summary`."""
        return summary_frame(self.draws, names=vars)

    def __repr__(self) -> str:
        return f"<Relabelled: {self.moved:.0%} of the draws moved. {self.reason}>"


def relabel(run: Run, model: ModelSource, data: DataSource = None) -> Relabelled:
    """Take draws to one representative of the modes that symmetries exchange.

    Labels that switch, factors that turn their sign: the posterior has a full orbit of modes,
    all of which say the same. Every draw is moved by the symmetry that takes its basin to the
    first mode of the orbit.

    Parameters
    ----------
    run : Fit or SampleRun
    model, data
        Of the run; see `stanrovi.fit`.

    Returns
    -------
    Relabelled

    Raises
    ------
    DrawsError
        If no symmetry of the density exchanges modes of the run.
    UsageError
        If the run is one of another model.
    ModelError, DataError
        If the model cannot be built.
    """
    if not isinstance(getattr(run, "draws", None), Draws) or not hasattr(run, "modes"):
        raise UsageError(
            f"What is relabelled is a run of stanrovi.fit or stanrovi.sample, not {told(run)}."
        )
    built = as_model(model, data)
    modes, x = run.modes, run.draws.unconstrained
    attrs = run.draws.attrs
    if x is None or not is_of(built, attrs):
        raise not_of(built, attrs)
    images = [k for k, m in enumerate(modes) if m.symmetry is not None]
    if not images:
        limit = f" Symmetries are looked for in up to {DENSE_LIMIT} dimensions."
        raise DrawsError(
            f"There is nothing to relabel: no symmetry of the density exchanges the "
            f"{len(modes)} mode{'' if len(modes) == 1 else 's'} that the run knows."
            f"{limit if built.dim > DENSE_LIMIT else ''}"
        )
    labels = basin_labels(modes, x.reshape(-1, built.dim)).reshape(x.shape[:2])
    moved = x.copy()
    for k, mode in enumerate(modes):
        if mode.symmetry is not None:
            moved[labels == k] = mode.symmetry.inverse.apply(x[labels == k])
    kept = _representatives(modes)
    reason = _told(built, modes)
    seed = int(attrs["seed"])
    facts = run.draws.facts
    draws = replace(
        run.draws,
        posterior=constrained(built, moved, seed=seed),
        unconstrained=moved,
        attrs={**attrs, "relabelled": reason},
        facts=None if facts is None else replace(facts, modes=kept),
    )
    first = [m.position for m in modes if m.orbit is not None and m.symmetry is None]
    share = float(np.isin(labels, images).mean())
    return Relabelled(draws, tuple(_values(built, x) for x in first), share, reason)


def _representatives(modes: Sequence[Mode]) -> tuple[Mode, ...]:
    """Modes that are no image, each with the weight and mass of its orbit."""

    def whole(mode: Mode) -> Mode:
        orbit = [m for m in modes if m.orbit == mode.orbit]
        return replace(
            mode, weight=sum(m.weight for m in orbit), mass=sum(m.mass for m in orbit), orbit=None
        )

    return tuple(m if m.orbit is None else whole(m) for m in modes if m.symmetry is None)


def _values(model: Model, x: Array) -> dict[str, Any]:
    values = model.constrain(x[None], seed=1)
    return {name: values[name][0].tolist() for name in model.parameters}


def _told(model: Model, modes: Sequence[Mode]) -> str:
    """Say which symmetry, how many modes, and which of them the draws are in now."""
    orbit = next(m.orbit for m in modes if m.symmetry is not None)
    first = next(k for k, m in enumerate(modes, 1) if m.orbit == orbit and m.symmetry is None)
    maps = [m.symmetry for m in modes if m.orbit == orbit and m.symmetry is not None]
    said = min((by.told(model.unconstrained_names) for by in maps), key=lambda it: (len(it), it))
    more = "" if len(maps) == 1 else f", and {len(maps) - 1} more of its kind"
    return (
        f"The density is the same with {said}{more}: {len(maps) + 1} modes say the same. All draws "
        f"are in the labelling of mode {first}."
    )
