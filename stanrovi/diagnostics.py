"""Distances between draws, the noise they carry, and whether a reference is one.

Everything is measured in units of the reference's standard deviation, and next
to every distance stands its noise floor: the distance that independent draws
from one and the same distribution would show.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import wasserstein_distance

from stanrovi import draw_stats
from stanrovi.draws import Draws
from stanrovi.errors import DrawsError
from stanrovi.target import Array

RHAT_LIMIT = 1.01
DIVERGENT_SHARE_LIMIT = 0.01
# Below this ESS neither ESS nor R-hat themselves are worth much.
ESS_LIMIT = 100
# A floor is exceeded by chance, anywhere among all parameters, once in a hundred comparisons.
LEVEL_Z = 2.326
_SPLITS = 200
# Half distances scale as one over the square root of the size, so more rows only cost time.
_SPLIT_ROWS = 2000
_PAIRS = 25


@dataclass(frozen=True)
class ReferenceCheck:
    """What is known of the reference itself.

    Attributes
    ----------
    method, engine : str
        Who made the draws.
    n_chains, n_draws : int
        Chains, and draws per chain.
    rhat_max, ess_min : float
        Worst rank R-hat and worst ESS (bulk and tail) over all parameters;
        R-hat is NaN for a single chain.
    divergences : int
        Divergent transitions after warm-up; -1 where the file does not tell.
    seconds, n_gradients : float
        Cost; NaN where unknown.
    trusted : bool
        Whether distances to it mean anything.
    reason : str
        Why, or why not.
    """

    method: str
    engine: str
    n_chains: int
    n_draws: int
    rhat_max: float
    ess_min: float
    divergences: int
    seconds: float
    n_gradients: float
    trusted: bool
    reason: str


@dataclass(frozen=True)
class Distances:
    """How far draws lie from a reference, quantity by quantity.

    Attributes
    ----------
    names : tuple of str
        The k quantities.
    w1, floor : ndarray, shape (k,)
        Wasserstein-1 distance and its noise floor, reference sds.
    mean_error : ndarray, shape (k,)
        Mean of the draws minus mean of the reference, reference sds.
    sd_ratio, sd_noise : ndarray, shape (k,)
        Sd of the draws over sd of the reference, and the standard error of its
        logarithm when the two agree.
    """

    names: tuple[str, ...]
    w1: Array
    floor: Array
    mean_error: Array
    sd_ratio: Array
    sd_noise: Array


def effective_sizes(values: Array) -> Array:
    """ESS that governs a whole distribution: the worse of bulk and tail.

    Parameters
    ----------
    values : ndarray, shape (chain, draw, k)
        Draws of k quantities.

    Returns
    -------
    ndarray, shape (k,)
        At most the number of draws: antithetic chains have precise means, not
        precise quantiles.
    """
    worse = np.fmin(draw_stats.ess(values, "bulk"), draw_stats.ess(values, "tail"))
    return np.minimum(np.nan_to_num(worse, nan=1.0), values.shape[0] * values.shape[1])


def varying(values: Array) -> NDArray[np.bool_]:
    """Tell which quantities vary by more than rounding, as the ones of a correlation matrix.

    Parameters
    ----------
    values : ndarray, shape (chain, draw, k)
        Draws of k quantities.

    Returns
    -------
    ndarray of bool, shape (k,)
    """
    return np.asarray(values.std(axis=(0, 1)) > 1e-10 * np.abs(values).max(axis=(0, 1)))


def noise_floor(
    reference: Array, effective: Array, size: Array | int, rng: np.random.Generator
) -> Array:
    """W1 that independent draws of the reference's own distribution show by chance.

    The reference is thinned by its ESS and split into independent halves, many
    times. Their distances, rescaled from the halves' size to the sizes compared,
    give each quantity's typical distance; the joint splits give the factor by
    which the worst of all quantities exceeds it (99% quantile). So the chance that
    *any* quantity exceeds its floor is about one in a hundred, however many there are.

    Parameters
    ----------
    reference : ndarray, shape (chain, draw, k)
        Draws of k quantities, none constant.
    effective : ndarray, shape (k,)
        Their ESS.
    size : int, or ndarray of shape (k,)
        Number of independent draws (or ESS) of what is compared with the reference.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray, shape (k,)
        Noise floor, reference sds.
    """
    total = reference.shape[0] * reference.shape[1]
    rows = int(np.clip(effective.min(), 40, _SPLIT_ROWS))
    thinned = reference[:, :: max(1, total // rows)].reshape(-1, reference.shape[2])
    thinned = thinned[: len(thinned) // 2 * 2]
    distances = _half_distances(thinned / _sd(reference), rng)
    typical = distances.mean(axis=0)
    worst = np.log((distances / typical).max(axis=1))
    factor = np.exp(worst.mean() + LEVEL_Z * worst.std())
    return typical * factor * np.sqrt((1 / size + 1 / effective) / (4 / len(thinned)))


def distances(
    draws: Array, reference: Array, names: tuple[str, ...], rng: np.random.Generator
) -> Distances:
    """Compare draws with a reference, quantity by quantity.

    Parameters
    ----------
    draws : ndarray, shape (chain, draw, k)
        Draws of k quantities. A single chain holds independent draws (a fit's);
        several are Markov chains and count by their ESS.
    reference : ndarray, shape (chain, draw, k)
        Reference draws, possibly autocorrelated, no quantity constant.
    names : tuple of str
        Names of the quantities.
    rng : numpy.random.Generator
        For the splits of the noise floor.

    Returns
    -------
    Distances
    """
    flat, sd = reference.reshape(-1, reference.shape[2]), _sd(reference)
    mine = draws.reshape(-1, draws.shape[2])
    effective = effective_sizes(reference)
    size = effective_sizes(draws) if len(draws) > 1 else len(mine)
    kurtosis = (((flat - flat.mean(axis=0)) / sd) ** 4).mean(axis=0)
    w1 = [wasserstein_distance(mine[:, i], flat[:, i]) for i in range(len(names))]
    return Distances(
        names=names,
        w1=np.array(w1) / sd,
        floor=noise_floor(reference, effective, size, rng),
        mean_error=(mine.mean(axis=0) - flat.mean(axis=0)) / sd,
        sd_ratio=mine.std(axis=0) / sd,
        sd_noise=np.sqrt(np.maximum(kurtosis - 1, 0.1) / 4 * (1 / size + 1 / effective)),
    )


def pair_distances(
    draws: Array, reference: Array, names: tuple[str, ...], rng: np.random.Generator
) -> Distances | None:
    """Two-dimensional check: sliced W1 of pairs of parameters.

    A pair is sliced along its two diagonals, the sum and the difference of the
    standardised parameters; each slice counts in its own reference sd. Marginals
    alone cannot see a correlation that the draws lack, these slices do.

    Parameters
    ----------
    draws, reference, names, rng
        As in `distances`.

    Returns
    -------
    Distances or None
        The slices, named ``a + b`` and ``a - b``, of the 25 pairs most correlated in the
        reference (fewer when there are fewer); None for one quantity.
    """
    if len(names) < 2:
        return None
    flat, sd = reference.reshape(-1, reference.shape[2]), _sd(reference)
    rows, columns = _correlated_pairs(flat)
    labels = [
        f"{names[i]} {s} {names[j]}" for s in "+-" for i, j in zip(rows, columns, strict=True)
    ]

    def slices(values: Array) -> Array:
        scaled = values / sd
        first, second = scaled[..., rows], scaled[..., columns]
        return np.concatenate([first + second, first - second], axis=-1)

    sliced = slices(reference)
    varies = sliced.std(axis=(0, 1)) > 1e-6  # perfectly correlated pairs leave a constant
    if not varies.any():
        return None
    kept = tuple(label for label, keep in zip(labels, varies, strict=True) if keep)
    return distances(slices(draws)[..., varies], sliced[..., varies], kept, rng)


def check_reference(
    reference: Draws, values: Array, names: tuple[str, ...], basins: str = ""
) -> ReferenceCheck:
    """Decide whether a reference may grade anything.

    Parameters
    ----------
    reference : Draws
        NUTS or stored reference draws.
    values : ndarray, shape (chain, draw, k)
        Its non-constant parameters.
    names : tuple of str
        Their names.
    basins : str
        What the mode table holds against the reference; empty if nothing.

    Returns
    -------
    ReferenceCheck
    """
    scale = draw_stats.rhat(values) if reference.n_chains > 1 else np.full(len(names), np.nan)
    effective = effective_sizes(values)
    divergent = reference.sample_stats.get("diverging")
    divergences = -1 if divergent is None else int(np.nansum(divergent))
    mixing = _rhat_problems(scale, names, reference.n_chains)
    problems = [
        *(mixing or _ess_problems(effective, names)),
        *_divergence_problems(divergences, values.shape[0] * values.shape[1]),
        *([basins] if basins else []),
    ]
    rhat_max, ess_min = float(_nanmax(scale)), float(effective.min())
    good = (
        f"{reference.n_chains} chains agree: R-hat at most {rhat_max:.3f} and ESS at least "
        f"{ess_min:.0f} over {len(names)} parameters, {_count_divergences(divergences)}."
    )
    return ReferenceCheck(
        method=reference.method,
        engine=str(reference.attrs.get("engine", "unknown")),
        n_chains=reference.n_chains,
        n_draws=reference.n_draws,
        rhat_max=rhat_max,
        ess_min=ess_min,
        divergences=divergences,
        seconds=number(reference.attrs, "seconds"),
        n_gradients=number(reference.attrs, "n_gradients"),
        trusted=not problems,
        reason=" ".join(problems) if problems else good,
    )


def check_draws(draws: Draws) -> ReferenceCheck:
    """Judge a run by itself, from those of its parameters that vary.

    Parameters
    ----------
    draws : Draws

    Returns
    -------
    ReferenceCheck

    Raises
    ------
    DrawsError
        If none varies.
    """
    scalars = draws.scalars()
    values = np.stack(list(scalars.values()), axis=-1)
    varies = varying(values)
    if not varies.any():
        raise DrawsError("Every parameter is constant over the draws; run more iterations.")
    names = tuple(name for name, keep in zip(scalars, varies, strict=True) if keep)
    return check_reference(draws, values[..., varies], names)


def number(attrs: Mapping[str, str | int | float], key: str) -> float:
    """Read a numeric attribute; NaN where it is missing or no number."""
    try:
        return float(attrs.get(key, "nan"))
    except ValueError:
        return float("nan")


def _half_distances(thinned: Array, rng: np.random.Generator) -> Array:
    """W1 between random halves, shape (splits, k), by the area between their ECDFs."""
    rows = len(thinned)
    order = np.argsort(thinned, axis=0)
    gaps = np.diff(np.take_along_axis(thinned, order, axis=0), axis=0)
    signs = np.repeat(np.array([1, -1], dtype=np.int32), rows // 2)
    out = np.empty((_SPLITS, thinned.shape[1]))
    for split in range(_SPLITS):
        walk = np.cumsum(rng.permutation(signs)[order[:-1]], axis=0)
        out[split] = np.einsum("ij,ij->j", np.abs(walk), gaps) / (rows / 2)
    return out


def _correlated_pairs(flat: Array) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    rows, columns = np.triu_indices(flat.shape[1], k=1)
    strength = np.abs(np.asarray(np.corrcoef(flat.T))[rows, columns])
    top = np.argsort(-strength, kind="stable")[:_PAIRS]
    return rows[top], columns[top]


def _sd(reference: Array) -> Array:
    return np.asarray(reference.std(axis=(0, 1)))


def _nanmax(values: Array) -> float:
    known = values[~np.isnan(values)]
    return float(known.max()) if known.size else float("nan")


def _rhat_problems(scale: Array, names: tuple[str, ...], n_chains: int) -> list[str]:
    if n_chains == 1:
        return ["A single chain cannot be checked; run at least two (four are usual)."]
    bad = np.flatnonzero(~(scale <= RHAT_LIMIT))  # NaN is bad, too
    if not bad.size:
        return []
    worst = int(bad[np.argmax(np.nan_to_num(scale[bad], nan=np.inf))])
    return [
        f"The chains disagree: rank R-hat is {_above_limit(scale[worst])} for {names[worst]} "
        f"(above {RHAT_LIMIT} for {bad.size} of {len(names)} parameters); run longer, or the "
        "posterior has basins between which NUTS does not move."
    ]


def _above_limit(rhat: float) -> str:
    """Format an R-hat above the limit to as many digits as show that it is."""
    digits = next((d for d in range(2, 9) if round(rhat, d) > RHAT_LIMIT), 2)
    return f"{rhat:.{digits}f}"


def _ess_problems(effective: Array, names: tuple[str, ...]) -> list[str]:
    worst = int(effective.argmin())
    if effective[worst] >= ESS_LIMIT:
        return []
    return [f"ESS is only {effective[worst]:.0f} for {names[worst]}; run longer."]


def _divergence_problems(divergences: int, total: int) -> list[str]:
    if divergences <= DIVERGENT_SHARE_LIMIT * total:
        return []
    return [
        f"{divergences} of {total} transitions diverged; raise adapt_delta (--adapt-delta on the "
        "command line) or reparameterise."
    ]


def _count_divergences(divergences: int) -> str:
    return {-1: "divergences unknown", 0: "no divergences", 1: "1 divergence"}.get(
        divergences, f"{divergences} divergences"
    )
