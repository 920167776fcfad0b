"""The mode table: which share of every run's draws lies in which known basin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stanrovi import draw_stats
from stanrovi.diagnostics import RHAT_LIMIT
from stanrovi.draws import Draws
from stanrovi.json_values import json_attribute
from stanrovi.target import Array

# A basin with a smaller share of the local evidence is not worth a verdict.
WEIGHT_LIMIT = 0.05


@dataclass(frozen=True)
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
        Share of each fit's draws nearest to each mode. Fits whose draws cannot
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


def mode_table(fits: Mapping[str, Draws], reference: Draws) -> ModeTable | None:
    """Build the mode table from the modes that the fits carry.

    Parameters
    ----------
    fits : mapping of str to Draws
        Fits; the longest list of modes among their attributes ``modes`` is used.
    reference : Draws
        Placed by its unconstrained draws, else by its constrained ones.

    Returns
    -------
    ModeTable or None
        None where no fit knows any mode.
    """
    known = [json_attribute(fit.attrs, "modes", _modes) for fit in fits.values()]
    modes = max((found for found in known if found is not None), key=len, default=None)
    if modes is None or not len(modes):
        return None
    weight, log_density, position = modes[:, 0], modes[:, 1], modes[:, 2:]
    placer = _Placer(position, [*fits.values(), reference])
    labels = {name: placer.labels(fit) for name, fit in fits.items()}
    found = placer.labels(reference)
    count = len(modes)
    table = ModeTable(
        position=position,
        log_density=log_density,
        weight=weight,
        mass={name: _shares(at.ravel(), count) for name, at in labels.items() if at is not None},
        reference_mass=None if found is None else _shares(found.ravel(), count),
        chain_mass=None if found is None else np.array([_shares(row, count) for row in found]),
        centres=_centres(
            [(reference, found), *((fits[name], labels[name]) for name in fits)], count
        ),
    )
    objection = "" if found is None else _objection(table, found)
    return replace(table, objection=objection)


class _Placer:
    """Assigns draws to the nearest mode by the covariance inside the basins, pooled over the runs.

    Standard deviations alone would not do: along a ridge, they put draws of one mode
    nearer to another mode beside the ridge.
    """

    def __init__(self, position: Array, runs: list[Draws]) -> None:
        self._position = position
        flats = {i: _unconstrained(run, position.shape[1]) for i, run in enumerate(runs)}
        self._placed = [(runs[i], flat) for i, flat in flats.items() if flat is not None]
        pooled = np.concatenate([flat for _, flat in self._placed] or [position])
        self._whitening = _whitening(pooled)
        for _ in range(2):  # the covariance within the basins, once they are known roughly
            labels = _nearest(pooled, position, self._whitening)
            self._whitening = _whitening(pooled - position[labels])

    def labels(self, run: Draws) -> Array | None:
        """Nearest mode of each draw, shape (chain, draw); None if they cannot be placed."""
        draws = _unconstrained(run, self._position.shape[1])
        if draws is not None:
            at = _nearest(draws, self._position, self._whitening)
            return at.reshape(run.n_chains, run.n_draws)
        return self._labels_constrained(run)

    def _labels_constrained(self, run: Draws) -> Array | None:
        """Place constrained draws by the draw of another run that is closest to each mode."""
        for other, known in self._placed:
            if set(other.scalars()) - set(run.scalars(tuple(run.posterior))):
                continue
            at = _nearest(known, self._position, self._whitening)
            if len(set(at)) < len(self._position):
                continue
            landmarks = _flat(other, tuple(other.scalars()))
            centres = np.array([landmarks[at == k].mean(axis=0) for k in range(at.max() + 1)])
            whitening = _whitening(landmarks - centres[at])
            values = _flat(run, tuple(other.scalars()))
            return _nearest(values, centres, whitening).reshape(run.n_chains, run.n_draws)
        return None


def _modes(stored: Any) -> Array:
    """Rows of weight, log density and position, shape (m, 2 + dim)."""
    rows = [[mode["weight"], mode["log_density"], *mode["position"]] for mode in stored]
    modes = np.array(rows, dtype=np.float64)
    if modes.size and not np.isfinite(modes).all():
        raise ValueError("a mode is nowhere")
    return modes


def _unconstrained(run: Draws, dim: int) -> Array | None:
    """Draws on unconstrained space, shape (n, dim); None where unknown or infinite."""
    draws = run.unconstrained
    if draws is None or draws.shape[-1] != dim or not np.isfinite(draws).all():
        return None
    return draws.reshape(-1, dim)


def _flat(run: Draws, names: tuple[str, ...]) -> Array:
    scalars = run.scalars(tuple(run.posterior))
    return np.stack([scalars[name].ravel() for name in names], axis=1)


def _nearest(values: Array, centres: Array, whitening: Array) -> Array:
    origin = centres.mean(axis=0)  # taken off first, for the digits
    points, targets = (values - origin) @ whitening, (centres - origin) @ whitening
    return np.argmin([((points - target) ** 2).sum(axis=1) for target in targets], axis=0)


def _whitening(values: Array) -> Array:
    """Matrix W, shape (d, d), such that the rows of values @ W are uncorrelated with sd 1.

    Correlations are shrunk by d / n, the relative error of a covariance in d dimensions
    from n rows: few rows count by their standard deviations alone.
    """
    n, d = values.shape
    sd = np.asarray(values.std(axis=0))
    sd = np.where(sd > 0, sd, 1.0)
    scaled = (values - values.mean(axis=0)) / sd
    correlation = max(0.0, 1 - d / n) * (scaled.T @ scaled) / n
    np.fill_diagonal(correlation, 1.0)
    return np.asarray(np.linalg.inv(np.linalg.cholesky(correlation)).T / sd[:, None])


def _centres(runs: list[tuple[Draws, Array | None]], count: int) -> dict[str, Array]:
    """Basin means by the first run that visits a basin with a twentieth of its draws or more."""
    centres: dict[str, Array] = {}
    for run, labels in runs:
        for name, values in run.scalars().items() if labels is not None else ():
            known = centres.setdefault(name, np.full(count, np.nan))
            for k in np.flatnonzero(np.isnan(known)):
                if labels is not None and (inside := labels == k).mean() >= WEIGHT_LIMIT:
                    known[k] = values[inside].mean()
    return centres


def _shares(labels: Array, count: int) -> Array:
    return np.bincount(labels, minlength=count) / labels.size


def _objection(table: ModeTable, labels: Array) -> str:
    """Say in a sentence what the basins hold against the reference; empty if nothing."""
    inside = (labels[..., None] == np.arange(len(table.weight))).astype(np.float64)
    visited = inside.any(axis=(0, 1)) & ~inside.all(axis=(0, 1))
    if len(labels) > 1 and visited.any():
        scale = draw_stats.rhat(inside[..., visited], "split")
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
