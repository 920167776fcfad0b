"""Which second derivatives of a log density are not zero, from far fewer gradients than parameters.

A difference of gradients is a product of the Hessian with a vector. Where most rows have few
entries, few products tell all: coordinates are thrown into buckets at random, several times over;
a bucket that holds a single entry of a row tells its place by the ratio of coded sums, and what
has been found is taken out until nothing is left (an invertible Bloom lookup table, Goodrich and
Mitzenmacher 2011, doi:10.1109/Allerton.2011.6120248, for each row of a matrix). Rows with many
entries, as those of common parameters, need not be solved: their entries show in the other rows,
and those among themselves in a difference along each.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array

from stanrovi.families.sparse_axes import SparseAxes
from stanrovi.families.triangular import Pattern
from stanrovi.target import Array, Target

Indices = NDArray[np.intp]

_STEP = 3e-4  # of differences, in conditional standard deviations
# Buckets of each throw: of the first ones, and of more where they do not tell.
_THROWS = ((8, 8, 8), (8,), (16, 16), (32, 32))
_HUBS, _MANY = 64, 40  # rows with many entries, at most; and what counts as many
_STRAY = 4  # other rows that may be left, to be measured as if they had many
# How often scales are measured anew, with how many vectors, by which squared factors; how much is
# little.
_RESCALED, _PILOT, _FACTORS, _ALIKE = 3, 5, (1e-2, 1e8), 3.0
_NOISE = 10.0, 1e-9  # times what two steps disagree by; least share of what a row shows
# Distances from a code, in those between two: at most, and so near that chance is no cause.
_OFF, _SURE = 0.2, 0.002
_NEGLIGIBLE = 1e-5  # share of what a row shows up to which nothing is left
_ROUNDS = 30
_FEW = 300  # coordinates that may be looked at one by one
_BLOCK = 2**22  # numbers of a batch of gradients


@dataclass(frozen=True, eq=False)
class SparseCurvature:
    """Second derivatives that may differ from zero, and how to measure them anywhere.

    Attributes
    ----------
    coordinates : ndarray of int, shape (m,)
    rows, columns : ndarray of int, shape (k,)
        Entries, as places among the coordinates, row by row: both triangles and the diagonal.
    hubs : ndarray of int
        Places with many entries.
    """

    coordinates: Indices
    rows: Indices
    columns: Indices
    hubs: Indices

    @cached_property
    def colours(self) -> Indices:
        """Groups (m,) of coordinates that are moved at once, the hubs each alone."""
        return _coloured(self.rows, self.columns, self.hubs, len(self.coordinates))

    @property
    def cost(self) -> int:
        """Gradients for one evaluation, beyond that at the point."""
        return int(self.colours.max()) + 1

    @cached_property
    def order(self) -> Indices:
        """Order of elimination in which factors stay sparse."""
        m = len(self.coordinates)
        degree = np.bincount(self.rows, minlength=m).astype(float)
        values = np.where(self.rows == self.columns, 1.0 + degree[self.rows], 0.5)
        shape = csc_array((values, (self.rows, self.columns)), shape=(m, m))
        return SparseAxes.of_precision(shape).order

    def restricted(self, to: Indices) -> SparseCurvature:
        """Second derivatives among some of the coordinates, given as places, ascending."""
        place = np.full(len(self.coordinates), -1, dtype=np.intp)
        place[to] = np.arange(len(to))
        rows, columns, hubs = place[self.rows], place[self.columns], place[self.hubs]
        kept = (rows >= 0) & (columns >= 0)
        return SparseCurvature(self.coordinates[to], rows[kept], columns[kept], hubs[hubs >= 0])

    def precision(self, target: Target, x: Array, gradient: Array, scale: Array) -> csc_array:
        """Minus the second derivatives at a point; see `stanrovi.modes.curvature.Curvature`.

        Returns
        -------
        csc_array, shape (m, m)
        """
        m, step = len(self.coordinates), _STEP * scale
        points = np.repeat(np.asarray(x, dtype=np.float64)[None], self.cost, axis=0)
        points[self.colours, self.coordinates] += step
        value, moved = evaluated(target, points)
        change = (gradient - moved)[:, self.coordinates]
        change = np.where(np.isfinite(value)[:, None], change, np.nan)
        told = change[self.colours[self.columns], self.rows] / step[self.columns]
        told = np.where(self._weight > 0, told, 0.0) * self._weight
        return csc_array((told + told[self._mirror], self.columns, self._starts), shape=(m, m))

    @cached_property
    def _weight(self) -> Array:
        """Weight of each entry and that of its mirror image, which sum to one.

        In a hub's row others of one colour are mixed; their own rows tell the hub's column.
        """
        hub = np.zeros(len(self.coordinates), dtype=bool)
        hub[self.hubs] = True
        weight = np.where(hub[self.columns] & ~hub[self.rows], 1.0, 0.5)
        return np.where(hub[self.rows] & ~hub[self.columns], 0.0, weight)

    @cached_property
    def _mirror(self) -> Indices:
        """Place of each entry's mirror image."""
        m = len(self.coordinates)
        return np.searchsorted(self.rows * m + self.columns, self.columns * m + self.rows)

    @cached_property
    def _starts(self) -> Indices:
        counts = np.bincount(self.rows, minlength=len(self.coordinates))
        return np.concatenate([[0], np.cumsum(counts)]).astype(np.intp)

    def factors(self, precisions: Sequence[csc_array]) -> tuple[Indices, Pattern, Array, Array]:
        """Cholesky factors; see `stanrovi.modes.curvature.Curvature.factors`."""
        m = len(self.coordinates)
        found = [SparseAxes.of_precision(p, self.order) for p in precisions]
        order = found[0].order
        keys, entries = [], []
        for axes in found:
            lower = axes.factor.tocoo()
            below = lower.row > lower.col
            keys.append(lower.col[below].astype(np.int64) * m + lower.row[below])
            entries.append(lower.data[below])
        every = np.unique(np.concatenate(keys))
        columns, rows = np.divmod(every, m)
        pattern = Pattern(tuple(np.split(rows, np.searchsorted(columns, np.arange(1, m)))))
        lower = np.zeros((len(found), len(every)))
        for k, (key, entry) in enumerate(zip(keys, entries, strict=True)):
            lower[k, np.searchsorted(every, key)] = entry
        return order, pattern, np.stack([-np.log(axes.scale) for axes in found]), lower


def evaluated(target: Target, x: Array) -> tuple[Array, Array]:
    """Log density (n,) and gradient (n, dim) of many points, a block of them at a time."""
    rows = max(1, _BLOCK // x.shape[1])
    parts = [target.log_density_gradient(x[at : at + rows]) for at in range(0, len(x), rows)]
    values, gradients = zip(*parts, strict=True)
    return np.concatenate(values), np.concatenate(gradients)


def find_sparsity(
    target: Target, x: Array, scale: Array, rng: np.random.Generator
) -> SparseCurvature | None:
    """Find the sparsity at a point.

    Parameters
    ----------
    target : Target
    x, scale : ndarray, shape (dim,)
        A point, and conditional standard deviations, roughly.
    rng : numpy.random.Generator
        Throws coordinates into buckets.

    Returns
    -------
    SparseCurvature or None
        None where rows have too many entries, or the target rejects a point nearby.
    """
    nearer = _rescaled(target, x, scale, rng)
    noise = None if nearer is None else _noise(target, x, nearer, rng)
    if nearer is None or noise is None:
        return None
    found = _Decoder(target.dim, noise)
    for throws in _THROWS:
        if 6 * (found.n_buckets + sum(throws)) > target.dim:
            return _directly(target, x, nearer) if target.dim <= _FEW else None
        for buckets in throws:
            throw = _Throw.at_random(target.dim, buckets, rng)
            products = hessian_products(target, x, nearer, throw.vectors())
            if products is None:
                return None
            found.add(throw, -products)
        found.run()
        hubs, n_stray = found.hubs()
        if len(hubs) <= min(_HUBS, target.dim // 8) and n_stray <= _STRAY:
            return found.curvature(hubs)
    return None


def _directly(target: Target, x: Array, scale: Array) -> SparseCurvature | None:
    """Look at all second derivatives, where there are not many."""
    d = target.dim
    products = hessian_products(target, x, scale, np.eye(d))
    if products is None:
        return None
    unit = np.sqrt(np.maximum(np.abs(np.diag(products)), 1e-300))
    entries = np.abs(products + products.T) / 2 > _NEGLIGIBLE * np.outer(unit, unit)
    np.fill_diagonal(entries, True)
    hubs = np.flatnonzero(entries.sum(axis=1) > min(_MANY, d // 4))
    if len(hubs) > min(_HUBS, d // 8):
        return None
    entries[hubs] = entries[:, hubs] = True
    rows, columns = np.nonzero(entries)
    return SparseCurvature(np.arange(d), rows, columns, hubs)


def _rescaled(target: Target, x: Array, scale: Array, rng: np.random.Generator) -> Array | None:
    """Scales (dim,) nearer to the conditional standard deviations, by a few products."""
    for _ in range(_RESCALED):
        vectors = rng.choice([-1.0, 1.0], (_PILOT, target.dim))
        products = hessian_products(target, x, scale, vectors)
        if products is None:
            return None
        # The diagonal, and noise from what is beside it.
        diagonal = np.abs(np.median(vectors * products, axis=0))
        factor = np.clip(diagonal, *_FACTORS) ** -0.5
        scale = scale * factor
        if max(factor.max(), 1 / factor.min()) < _ALIKE:
            break
    return scale


def _noise(target: Target, x: Array, scale: Array, rng: np.random.Generator) -> Array | None:
    """By how much products with a vector depend on the length of the difference, shape (dim,)."""
    vector = rng.choice([-1.0, 1.0], (1, target.dim))
    first = hessian_products(target, x, scale, vector)
    second = hessian_products(target, x, scale, vector, stretch=2.0)
    if first is None or second is None:
        return None
    most = np.maximum(np.abs(first[0]), 1e-300)
    return np.maximum(_NOISE[0] * np.abs(first - second)[0], _NOISE[1] * most)


def hessian_products(
    target: Target, x: Array, scale: Array, vectors: Array, *, stretch: float = 1.0
) -> Array | None:
    """Products of the scaled Hessian with vectors, by central differences of gradients.

    Parameters
    ----------
    target : Target
    x : ndarray, shape (dim,) or (m, dim)
        Where, one point for all or one for each vector.
    scale : ndarray, shape (dim,)
        The Hessian is that in coordinates over these.
    vectors : ndarray, shape (m, dim)
    stretch : float
        Factor of the length of the differences.

    Returns
    -------
    ndarray, shape (m, dim)
        None if the target rejects a point. Costs ``2 m`` gradients.
    """
    step = _STEP * stretch
    steps = step * scale * vectors
    ends = []
    for sign in (1.0, -1.0):
        value, gradient = evaluated(target, x + sign * steps)
        if not np.isfinite(value).all():
            return None
        ends.append(gradient)
    return np.asarray((ends[0] - ends[1]) * (scale / (2 * step)))


@dataclass(frozen=True)
class _Throw:
    """Which bucket each coordinate is in, and its codes.

    Attributes
    ----------
    bucket : ndarray of int, shape (dim,)
    sign : ndarray, shape (dim,)
    code, coordinate : ndarray of int, shape (dim,)
        Number of each coordinate, and the coordinate of each number.
    count : int
        Buckets.
    """

    bucket: Indices
    sign: Array
    code: Indices
    coordinate: Indices
    count: int

    @classmethod
    def at_random(cls, dim: int, buckets: int, rng: np.random.Generator) -> _Throw:
        bucket = rng.permutation(np.arange(dim) % buckets)
        code = rng.permutation(dim)
        return cls(bucket, rng.choice([-1.0, 1.0], dim), code, np.argsort(code), buckets)

    def coded(self, columns: Indices) -> Array:
        """Signs of some coordinates, and signs times their codes, shape (3, k)."""
        base = _base(len(self.sign))
        digits = np.stack(np.divmod(self.code[columns], base))
        codes = 0.5 + (digits + 0.5) / base  # between 1/2 and 3/2
        return np.asarray(self.sign[columns] * np.stack([np.ones(len(columns)), *codes]))

    def vectors(self) -> Array:
        """Vectors (3 * count, dim): in each bucket signs, and signs times each code."""
        inside = self.bucket == np.arange(self.count)[:, None]
        made = inside[:, None, :] * self.coded(np.arange(len(self.sign)))
        return np.asarray(made.reshape(-1, len(self.sign)))


def _base(dim: int) -> int:
    """Values of each of the two digits that tell a coordinate."""
    return int(np.ceil(np.sqrt(dim)))


class _Decoder:
    """Takes entries out of the buckets of all rows, until nothing is left in most."""

    def __init__(self, dim: int, floor: Array) -> None:
        self._dim, self._floor, self._most = dim, floor, np.zeros(dim)
        self._throws: list[_Throw] = []
        self._left: list[Array] = []  # of each throw (dim, buckets, 3)
        self._keys = np.empty(0, dtype=np.int64)
        self._values = np.empty(0)

    @property
    def n_buckets(self) -> int:
        return sum(throw.count for throw in self._throws)

    def hubs(self) -> tuple[Indices, int]:
        """Rows of many entries, or in which something is left; and how many are only that."""
        left = np.zeros(self._dim)
        for part in self._left:
            left = np.maximum(left, np.abs(part).reshape(self._dim, -1).max(axis=1))
        many = np.bincount(self._keys // self._dim, minlength=self._dim) > _MANY
        undecoded = ~(left <= np.maximum(self._floor, _NEGLIGIBLE * self._most))
        return np.flatnonzero(many | undecoded), int((undecoded & ~many).sum())

    def add(self, throw: _Throw, products: Array) -> None:
        """Take in products (3 * count, dim) with the vectors of a throw."""
        self._throws.append(throw)
        left = products.reshape(throw.count, 3, self._dim).transpose(2, 0, 1).copy()
        self._left.append(left)
        most = np.abs(left).reshape(self._dim, -1).max(axis=1)
        self._most = np.maximum(self._most, most)
        self._floor = np.maximum(self._floor, _NOISE[1] * most)
        self._take_out(self._keys, self._values, [len(self._throws) - 1])

    def run(self) -> None:
        every = range(len(self._throws))
        for _ in range(_ROUNDS):
            parts = [self._singles(t) for t in every]
            rows, columns, values, sure = (np.concatenate(p) for p in zip(*parts, strict=True))
            keys = np.concatenate([rows * self._dim + columns, columns * self._dim + rows])
            keys, first, times = np.unique(keys, return_index=True, return_counts=True)
            values, sure = np.concatenate([values] * 2)[first], np.concatenate([sure] * 2)[first]
            new = ~np.isin(keys, self._keys) & (sure | (times > 1))
            if not new.any():
                return
            keys, values = keys[new], values[new]
            self._take_out(keys, values, every)
            self._keys = np.concatenate([self._keys, keys])
            self._values = np.concatenate([self._values, values])

    def _singles(self, t: int) -> tuple[Indices, Indices, Array, NDArray[np.bool_]]:
        """Entries that are alone in a bucket of their row, and whether that is beyond doubt."""
        throw, left, base = self._throws[t], self._left[t], _base(self._dim)
        filled = np.abs(left[..., 0]) > self._floor[:, None]
        # A row in all buckets has too many entries for them; what looks single there is chance.
        rows, buckets = np.nonzero(filled & ~filled.all(axis=1, keepdims=True))
        value = left[rows, buckets, 0]
        digits = (left[rows, buckets, 1:] / value[:, None] - 0.5) * base - 0.5
        nearest = np.rint(digits)
        # By chance the ratio of a sum of several is a code, too: the rarer, the stricter.
        off = np.minimum(_OFF, 2 * base * self._floor[rows] / np.abs(value))
        sound = (np.abs(digits - nearest) < off[:, None]).all(axis=1)
        sound &= ((nearest >= 0) & (nearest < base)).all(axis=1)
        code = np.where(sound, nearest @ [base, 1], 0).astype(np.intp)
        sound &= code < self._dim
        columns = throw.coordinate[np.where(sound, code, 0)]
        sound &= throw.bucket[columns] == buckets
        rows, columns, value = rows[sound], columns[sound], value[sound]
        return rows, columns, value * throw.sign[columns], off[sound] < _SURE

    def _take_out(self, keys: NDArray[np.int64], values: Array, throws: Iterable[int]) -> None:
        rows, columns = np.divmod(keys, self._dim)
        for t in throws:
            throw = self._throws[t]
            taken = (values * throw.coded(columns)).T
            np.subtract.at(self._left[t], (rows, throw.bucket[columns]), taken)

    def curvature(self, hubs: Indices) -> SparseCurvature:
        """Sparsity with everything in the rows and columns of some coordinates."""
        dim = self._dim
        rows, columns = np.divmod(self._keys, dim)
        everywhere = np.arange(dim)
        crossed = np.repeat(hubs, dim), np.tile(everywhere, len(hubs))
        rows = np.concatenate([rows, everywhere, *crossed])
        columns = np.concatenate([columns, everywhere, *crossed[::-1]])
        keys = np.unique(np.concatenate([rows * dim + columns, columns * dim + rows]))
        rows, columns = np.divmod(keys, dim)
        return SparseCurvature(everywhere, rows, columns, hubs)


def _coloured(rows: Indices, columns: Indices, hubs: Indices, dim: int) -> Indices:
    """Colour coordinates so that two of a colour never share a row that is no hub's; hubs alone."""
    usual = ~(np.isin(rows, hubs) | np.isin(columns, hubs))
    ones = np.ones(int(usual.sum()))
    graph = csr_array((ones, (rows[usual], columns[usual])), shape=(dim, dim))
    shared = csr_array(graph @ graph.T)  # pairs of columns that meet in a row
    colours = np.full(dim, -1, dtype=np.intp)
    start, near = shared.indptr, shared.indices
    order = np.setdiff1d(np.arange(dim), hubs)
    for i in order[np.argsort(-np.diff(start)[order], kind="stable")]:
        taken = set(colours[near[start[i] : start[i + 1]]].tolist())
        colour = 0
        while colour in taken:
            colour += 1
        colours[i] = colour
    colours[hubs] = colours.max(initial=-1) + 1 + np.arange(len(hubs))
    return colours
