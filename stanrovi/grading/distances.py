"""Distances between draws and the noise they carry.

Everything is measured in units of the reference's standard deviation, and next
to every distance stands its noise floor: the distance that independent draws
from one and the same distribution would show.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stanrovi.diagnostics.statistics import effective_sizes
from stanrovi.target import Array

# A floor is exceeded by chance, anywhere among all parameters, once in a hundred comparisons.
LEVEL_Z = 2.326
_SPLITS = 200
# Half distances scale as one over the square root of the size, so more rows only cost time.
_SPLIT_ROWS = 2000
_PAIRS = 25
_DOMINANT = 0.15
_PAIR_BLOCK = 512  # parameters whose correlations with all others are held at once


@dataclass(frozen=True, eq=False)
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
        logarithm when the two agree; infinite where tails are too heavy for one.
    """

    names: tuple[str, ...]
    w1: Array
    floor: Array
    mean_error: Array
    sd_ratio: Array
    sd_noise: Array


@dataclass(frozen=True)
class Yardstick:
    """A reference with what is known of it before any draws are measured; see `yardstick`.

    Attributes
    ----------
    names : tuple of str
        The k quantities.
    ordered : ndarray, shape (k, n)
        Reference draws of each, ascending.
    mean, sd, effective : ndarray, shape (k,)
        Their mean, sd and ESS.
    fourth : ndarray, shape (k,)
        Fourth standardised moment; infinite where one draw makes up much of it.
    half_distance : ndarray, shape (k,)
        W1 (reference sds) between independent halves of the reference, which the worst of all
        quantities exceeds once in a hundred times.
    halves : int
        Draws in both halves.
    """

    names: tuple[str, ...]
    ordered: Array
    mean: Array
    sd: Array
    effective: Array
    fourth: Array
    half_distance: Array
    halves: int

    def floor(self, size: Array | int) -> Array:
        """W1 that independent draws of the reference's own distribution show by chance.

        Parameters
        ----------
        size : int, or ndarray of shape (k,)
            Number of independent draws (or ESS) of what is compared with the reference.

        Returns
        -------
        ndarray, shape (k,)
            Noise floor, reference sds.
        """
        return self.half_distance * np.sqrt((1 / size + 1 / self.effective) / (4 / self.halves))

    def distances(self, draws: Array) -> Distances:
        """Compare draws with the reference, quantity by quantity.

        Parameters
        ----------
        draws : ndarray, shape (chain, draw, k)
            Draws of the k quantities. A single chain holds independent draws (a fit's);
            several are Markov chains and count by their ESS.

        Returns
        -------
        Distances
        """
        mine = draws.reshape(-1, draws.shape[2])
        size = effective_sizes(draws) if len(draws) > 1 else len(mine)
        excess = np.maximum(self.fourth - 1, 0.1)
        return Distances(
            names=self.names,
            w1=_wasserstein(np.sort(mine.T, axis=1), self.ordered) / self.sd,
            floor=self.floor(size),
            mean_error=(mine.mean(axis=0) - self.mean) / self.sd,
            sd_ratio=mine.std(axis=0) / self.sd,
            sd_noise=np.sqrt(excess / 4 * (1 / size + 1 / self.effective)),
        )


def yardstick(reference: Array, names: tuple[str, ...], rng: np.random.Generator) -> Yardstick:
    """Make ready a reference to measure draws by.

    The reference is thinned by its ESS and split into independent halves, many
    times. Their distances, rescaled from the halves' size to the sizes compared,
    give each quantity's typical distance; the joint splits give the factor by
    which the worst of all quantities exceeds it (99% quantile). So the chance that
    *any* quantity exceeds its floor is about one in a hundred, however many there are.

    Parameters
    ----------
    reference : ndarray, shape (chain, draw, k)
        Reference draws, possibly autocorrelated, no quantity constant.
    names : tuple of str
        Names of the quantities.
    rng : numpy.random.Generator
        For the splits of the noise floor.

    Returns
    -------
    Yardstick
    """
    flat, sd = reference.reshape(-1, reference.shape[2]), _sd(reference)
    effective = effective_sizes(reference)
    fourth = ((flat - flat.mean(axis=0)) / sd) ** 4
    # One draw that makes up much of the fourth moment: no sample tells how noisy an sd is.
    dominated = fourth.max(axis=0) > _DOMINANT * fourth.sum(axis=0)
    rows = int(np.clip(effective.min(), 40, _SPLIT_ROWS))
    thinned = reference[:, :: max(1, len(flat) // rows)].reshape(-1, reference.shape[2])
    thinned = thinned[: len(thinned) // 2 * 2]
    halved = _half_distances(thinned / sd, rng)
    typical = halved.mean(axis=0)
    worst = np.log((halved / typical).max(axis=1))
    return Yardstick(
        names=names,
        ordered=np.sort(flat.T, axis=1),
        mean=flat.mean(axis=0),
        sd=sd,
        effective=effective,
        fourth=np.where(dominated, np.inf, fourth.mean(axis=0)),
        half_distance=typical * np.exp(worst.mean() + LEVEL_Z * worst.std()),
        halves=len(thinned),
    )


@dataclass(frozen=True)
class PairYardstick:
    """Slices of pairs of parameters, and the reference's as a yardstick; see `pair_yardstick`."""

    sd: Array
    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    varies: NDArray[np.bool_]
    sliced: Yardstick

    def distances(self, draws: Array) -> Distances:
        """Compare slices of draws (chain, draw, k) with those of the reference."""
        slices = _slices(draws / self.sd, self.rows, self.columns)
        return self.sliced.distances(slices[..., self.varies])


def pair_yardstick(
    reference: Array, names: tuple[str, ...], rng: np.random.Generator
) -> PairYardstick | None:
    """Make ready the two-dimensional check: sliced W1 of pairs of parameters.

    A pair is sliced along its two diagonals, the sum and the difference of the
    standardised parameters; each slice counts in its own reference sd. Marginals
    alone cannot see a correlation that the draws lack, these slices do.

    Parameters
    ----------
    reference, names, rng
        As in `yardstick`.

    Returns
    -------
    PairYardstick or None
        For the slices, named ``a + b`` and ``a - b``, of the 25 pairs most correlated in the
        reference (fewer when there are fewer); None for one quantity.
    """
    if len(names) < 2:
        return None
    flat, sd = reference.reshape(-1, reference.shape[2]), _sd(reference)
    rows, columns = _correlated_pairs(flat)
    labels = [
        f"{names[i]} {s} {names[j]}" for s in "+-" for i, j in zip(rows, columns, strict=True)
    ]
    sliced = _slices(reference / sd, rows, columns)
    varies = sliced.std(axis=(0, 1)) > 1e-6  # perfectly correlated pairs leave a constant
    if not varies.any():
        return None
    kept = tuple(label for label, keep in zip(labels, varies, strict=True) if keep)
    return PairYardstick(sd, rows, columns, varies, yardstick(sliced[..., varies], kept, rng))


def _slices(scaled: Array, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Array:
    first, second = scaled[..., rows], scaled[..., columns]
    return np.concatenate([first + second, first - second], axis=-1)


def _wasserstein(one: Array, other: Array) -> Array:
    """W1 between rows of ascending values, (k, n) and (k, m): the area between quantiles."""
    n, m = one.shape[1], other.shape[1]
    ends = np.arange(1, n + 1) * m, np.arange(1, m + 1) * n  # of the steps, in 1 / (n m)
    levels = np.union1d(*ends)
    widths = np.diff(levels, prepend=0) / (n * m)
    i, j = (np.searchsorted(end, levels) for end in ends)
    return np.array([np.abs(a[i] - b[j]) @ widths for a, b in zip(one, other, strict=True)])


def _half_distances(thinned: Array, rng: np.random.Generator) -> Array:
    """W1 between random halves, shape (splits, k), by the area between their ECDFs."""
    rows = len(thinned)
    order = np.argsort(thinned, axis=0)
    gaps = np.diff(np.take_along_axis(thinned, order, axis=0), axis=0)
    gaps, order = np.ascontiguousarray(gaps.T), np.ascontiguousarray(order[:-1].T)
    # No walk goes further than half the rows, of which there are a few thousand as a rule.
    small = np.int16 if rows < 2**16 else np.int32
    signs = np.repeat(np.array([1, -1], dtype=small), rows // 2)
    out = np.empty((_SPLITS, thinned.shape[1]))
    for split in range(_SPLITS):
        walk = np.cumsum(rng.permutation(signs)[order], axis=1, dtype=small)
        out[split] = np.einsum("ij,ij->i", np.abs(walk), gaps) / (rows / 2)
    return out


def _correlated_pairs(flat: Array) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the `_PAIRS` largest correlations, the largest first."""
    scaled = (flat - flat.mean(axis=0)) / (flat.std(axis=0) * np.sqrt(len(flat)))
    rows, columns = np.empty((2, 0), dtype=np.intp)
    strength = np.empty(0)
    for start in range(0, flat.shape[1], _PAIR_BLOCK):
        block = np.abs(scaled[:, start : start + _PAIR_BLOCK].T @ scaled)
        block = np.minimum(block.round(12), 1.0)  # rounding shall not order what is equal
        i, j = np.triu_indices(len(block), k=start + 1, m=flat.shape[1])
        rows, columns = np.append(rows, i + start), np.append(columns, j)
        strength = np.append(strength, block[i, j])
        top = np.argsort(-strength, kind="stable")[:_PAIRS]
        rows, columns, strength = rows[top], columns[top], strength[top]
    return rows, columns


def _sd(reference: Array) -> Array:
    return np.asarray(reference.std(axis=(0, 1)))
