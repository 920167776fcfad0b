"""The mode table: which share of every run's draws lies in which known basin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from stanrovi.arguments import checked_text
from stanrovi.diagnostics import statistics
from stanrovi.diagnostics.statistics import RHAT_LIMIT
from stanrovi.draws import Draws
from stanrovi.markup import block, judgement, table
from stanrovi.modes.basins import (
    Labels,
    Mode,
    Peak,
    basin_labels,
    common_axes,
    shares,
    with_common_axes,
)
from stanrovi.target import Array

# A basin with a smaller share of the local evidence is not worth a verdict.
WEIGHT_LIMIT = 0.05
LOCAL_EVIDENCE = "local evidence"
_ROWS = 24  # in a notebook


@dataclass(frozen=True, eq=False)
class ModeTable:
    """Known basins and who visits them.

    Attributes
    ----------
    position : ndarray, shape (m, dim)
        Modes on unconstrained space.
    log_density : ndarray, shape (m,)
        Log density there, up to a constant.
    weight : ndarray, shape (m,)
        Share of the local evidence (what the mode search expects).
    mass : mapping of str to ndarray, shape (m,)
        Share of each fit's draws in the basin of each mode. Fits whose draws cannot
        be placed are left out.
    reference_mass : ndarray, shape (m,), or None
        The same for the reference.
    chain_mass : ndarray, shape (chain, m), or None
        The same for each of its chains.
    centres : mapping of str to ndarray, shape (m,)
        Mean of every scalar parameter over the draws in each basin, constrained
        space; NaN in a basin that no run visits.
    objection : str
        What the basins say against the reference; empty if nothing.
    """

    position: Array
    log_density: Array
    weight: Array
    mass: Mapping[str, Array]
    reference_mass: Array | None
    chain_mass: Array | None
    centres: Mapping[str, Array]
    objection: str = ""

    def columns(self, reference: str) -> dict[str, Array]:
        """Shares by mode, a column for each who tells: local evidence, reference, fits.

        Parameters
        ----------
        reference : str
            Name of the reference.

        Returns
        -------
        dict of str to ndarray, shape (m,)
        """
        name = checked_text("reference", reference) or "reference"
        seen = {} if self.reference_mass is None else {name: self.reference_mass}
        return {LOCAL_EVIDENCE: self.weight, **seen, **self.mass}

    def _repr_html_(self) -> str:
        columns = self.columns("reference")
        rows = [
            (str(i + 1), f"{self.log_density[i]:.2f}", *(f"{x[i]:.1%}" for x in columns.values()))
            for i in range(min(len(self.weight), _ROWS))
        ]
        more = len(self.weight) - len(rows)
        return block(
            "Modes, and the share of every run in each",
            judgement("✗", "The reference", [(self.objection, "")]) if self.objection else "",
            table(("mode", "log density", *columns), rows, f"And {more} more" if more else ""),
        )


def mode_table(fits: Mapping[str, Draws], reference: Draws) -> ModeTable | None:
    """Build the mode table from the modes that the fits carry.

    Parameters
    ----------
    fits : mapping of str to Draws
        Fits; the longest list of modes among their facts is used.
    reference : Draws
        Placed by its unconstrained draws, else by its constrained ones.

    Returns
    -------
    ModeTable or None
        None where no fit knows any mode.
    """
    known = [fit.facts.modes for fit in fits.values() if fit.facts is not None]
    peaks = max(known, key=_told, default=())
    if not peaks:
        return None
    placer = _Placer(peaks, [*fits.values(), reference])
    labels = {name: placer.labels(fit) for name, fit in fits.items()}
    found = placer.labels(reference)
    count = len(peaks)
    table = ModeTable(
        position=np.stack([peak.position for peak in peaks]),
        log_density=np.array([peak.log_density for peak in peaks]),
        weight=np.array([peak.weight for peak in peaks]),
        mass={name: shares(at, count) for name, at in labels.items() if at is not None},
        reference_mass=None if found is None else shares(found, count),
        chain_mass=None if found is None else np.array([shares(row, count) for row in found]),
        centres=_centres(
            [(reference, found), *((fits[name], labels[name]) for name in fits)], count
        ),
    )
    objection = "" if found is None else _objection(table, found)
    return replace(table, objection=objection)


def _told(peaks: Sequence[Peak]) -> tuple[int, bool]:
    """How much a list of modes tells: how many there are, and whether with their widths."""
    return len(peaks), all(isinstance(peak, Mode) for peak in peaks)


class _Placer:
    """Assigns draws to basins (`stanrovi.modes.basins`).

    Where a file does not tell the widths of the modes, they are those of the runs' draws
    around them. Standard deviations alone would not do: along a ridge, they put draws of one
    mode nearer to another mode beside the ridge.
    """

    def __init__(self, peaks: Sequence[Peak], runs: Sequence[Draws]) -> None:
        flats = [(run, _unconstrained(run, len(peaks[0].position))) for run in runs]
        placed = [(run, flat) for run, flat in flats if flat is not None]
        modes = tuple(peak for peak in peaks if isinstance(peak, Mode))
        if len(modes) < len(peaks):
            position = np.stack([peak.position for peak in peaks])
            modes = with_common_axes(
                peaks, np.concatenate([flat for _, flat in placed] or [position])
            )
        self._modes = modes
        self._placed = [(run, basin_labels(modes, flat)) for run, flat in placed]

    def labels(self, run: Draws) -> Labels | None:
        """Basin of each draw, shape (chain, draw); None if they cannot be placed."""
        known = (at for other, at in self._placed if other is run)
        labels = next(known, None)
        labels = self._constrained(run) if labels is None else labels
        return None if labels is None else labels.reshape(run.n_chains, run.n_draws)

    def _constrained(self, run: Draws) -> Labels | None:
        """Place draws that are known in constrained space alone, by those of another run."""
        scalars = run.scalars(tuple(run.posterior))
        for other, at in self._placed:
            names = tuple(other.scalars())
            if set(names) - set(scalars) or len(set(at)) < len(self._modes):
                continue
            landmarks = _flat(other, names)
            centres = np.array([landmarks[at == k].mean(axis=0) for k in range(len(self._modes))])
            axes = common_axes(landmarks - centres[at])
            modes = [
                Mode(position=centre, log_density=mode.log_density, weight=mode.weight, axes=axes)
                for centre, mode in zip(centres, self._modes, strict=True)
            ]
            return basin_labels(modes, _flat(run, names))
        return None


def _unconstrained(run: Draws, dim: int) -> Array | None:
    """Draws on unconstrained space, shape (n, dim); None where unknown or infinite."""
    draws = run.unconstrained
    if draws is None or draws.shape[-1] != dim or not np.isfinite(draws).all():
        return None
    return draws.reshape(-1, dim)


def _flat(run: Draws, names: tuple[str, ...]) -> Array:
    scalars = run.scalars(tuple(run.posterior))
    return np.stack([scalars[name].ravel() for name in names], axis=1)


def _centres(runs: list[tuple[Draws, Labels | None]], count: int) -> dict[str, Array]:
    """Basin means by the first run that visits a basin with a twentieth of its draws or more."""
    centres: dict[str, Array] = {}
    for run, labels in runs:
        for name, values in run.scalars().items() if labels is not None else ():
            known = centres.setdefault(name, np.full(count, np.nan))
            for k in np.flatnonzero(np.isnan(known)):
                if labels is not None and (inside := labels == k).mean() >= WEIGHT_LIMIT:
                    known[k] = values[inside].mean()
    return centres


def _objection(table: ModeTable, labels: Labels) -> str:
    """Say in a sentence what the basins hold against the reference; empty if nothing."""
    inside = (labels[..., None] == np.arange(len(table.weight))).astype(np.float64)
    visited = inside.any(axis=(0, 1)) & ~inside.all(axis=(0, 1))
    if len(labels) > 1 and visited.any():
        scale = statistics.rhat(inside[..., visited], "split")
        if not (scale <= RHAT_LIMIT).all():
            shares = "; ".join(
                f"chain {i + 1}: " + "/".join(f"{mass:.0%}" for mass in row)
                for i, row in enumerate(table.chain_mass if table.chain_mass is not None else [])
            )
            return (
                f"Its chains occupy different basins ({shares} in modes 1 to {inside.shape[-1]})."
            )
    missed = [
        f"mode {i + 1} ({weight:.0%} of the local evidence)"
        for i, weight in enumerate(table.weight)
        if weight >= WEIGHT_LIMIT and not inside[..., i].any()
    ]
    return f"No chain visited {' or '.join(missed)}." if missed else ""
