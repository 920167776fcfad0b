"""Whether a log density is one: the same at the same point, without jumps, with its own gradient.

Between two points a function rises by the mean of its slopes at both ends along the way between
them, as far as these slopes, did they change steadily, leave no choice: the trapezoidal rule errs
by half of the change of slope times the distance at most. A kink stays within that bound; a jump
does not, nor does a gradient that is another function's, nor noise. So values and gradients at
draws that are there anyway say where to look, and halving the way there says what it is: what is
smooth falls by eight with each half, a jump stays whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stanrovi.target import Array, BudgetExhausted, LogDensity, Target

_MOST_POINTS, _MOST_NUMBERS = 256, 2**21  # looked at, among all pairs
_EXTREME = 4  # of either end of the log weights, which are always looked at
_NEIGHBOURS = 4
_FLOOR = 0.1  # nats; less between two points of the bulk leaves a result right
REPEATED = 1e-6  # relative to values, from which on they differ by more than rounding
_HALVINGS, _FIRST_HALVINGS = 12, 4
_SMOOTHLY = 1 / 6  # what is smooth falls by eight
_KEPT = 0.7  # of a jump when the way is halved twice
_ROUNDING = 1e-12  # relative, of values
_FLAT = 0.25  # of a jump, that gradients beside it promise
# Shares of a way on which a gradient is tried; on the last, waves too short for others are smooth.
_SHORT = 2.0**-8, 2.0**-10, 2.0**-16, 2.0**-22
_TOLD = 100.0  # times their rounding are differences of values that tell something
_WRONG = 0.1  # of what the whole way lacks: three quarters and more by a gradient not its own
_SLOPE_OFF = 0.02  # of a slope, that differences and gradients may differ by
_AXES = 3  # coordinates along which a gradient is tried
_OUTSIDE = 1.5  # sds from the middle, where a gradient that is off by a factor is off
_SHOWN = 3
_UNEXPLAINED = 1.25  # times what changes of slope explain; what is smooth lacks no more than that
_STRATA, _PLACES = 64, 8  # of a way: points where gradients are summed; least that lack something

Kind = Literal["noise", "jump", "gradient"]


@dataclass(frozen=True)
class Flaw:
    """What is wrong with a density.

    Attributes
    ----------
    kind : {"noise", "jump", "gradient"}
    size : float
        In nats: by how much values differ at one point or are rounded, the height of a jump, what
        gradients promise too much or too little between two draws.
    reason, cure : str
        A sentence each.
    """

    kind: Kind
    size: float
    reason: str
    cure: str

    @property
    def grave(self) -> bool:
        """Whether it can make a result wrong."""
        return self.size >= _FLOOR

    def __str__(self) -> str:
        return f"{self.reason[0].upper()}{self.reason[1:]}. {self.cure}"


def find_flaw(
    target: Target,
    x: Array,
    log_p: Array,
    gradient: Array,
    fitted: LogDensity,
    names: Sequence[str],
    first: tuple[Array, float] | None = None,
) -> Flaw | None:
    """Look for what makes a density none, for three gradients where nothing hints at it.

    Parameters
    ----------
    target : Target
    x : ndarray, shape (n, dim)
        Points of the bulk, such as draws of a fit.
    log_p : ndarray, shape (n,)
        Log density there, -inf where rejected.
    gradient : ndarray, shape (n, dim)
    fitted : callable
        A smooth density near it, as far as one is known.
    names : sequence of str
        Coordinates.
    first : (ndarray, float), optional
        A point that was evaluated long before, with its value.

    Returns
    -------
    Flaw or None
        None also where the budget ends before it is found.
    """
    most = min(_MOST_POINTS, max(_MOST_NUMBERS // target.dim, 16))
    usable = np.flatnonzero(np.isfinite(log_p))
    if len(usable) < 2:
        return None
    if (coarse := _coarse(float(log_p[usable].max()))) is not None:
        return coarse
    look = _Look(target, names)
    try:
        with np.errstate(all="ignore"):
            value, slope = fitted(x[usable])
            chosen = _looked_at(log_p[usable] - value, most)
            usable, value, slope = usable[chosen], value[chosen], slope[chosen]
            points = _Points(x[usable], log_p[usable], gradient[usable])
            lack, explained = points.lack(value, slope)
            near, far = _worst(lack * points.nearness()), _worst(lack)
            most_lack = float(np.abs(lack[far]))
            flaw = (
                look.again(points, *near, first)
                or look.halve(points, *near, float(np.abs(lack[near])))
                or look.axes(points, lack)
                or look.along(points, *far, most_lack)
            )
            if flaw is None and _size(lack) > _UNEXPLAINED * _size(explained):
                flaw = look.throughout(points, *far, most_lack)
            return flaw
    except BudgetExhausted:
        return None


def off(value: Array, before: Array) -> Array:
    """How far values (n,) are, relative to their size, from those of the same points before."""
    with np.errstate(invalid="ignore"):
        change = np.abs(value - before)
    return np.where(np.isfinite(change), change, np.inf) / (1 + np.abs(before))


def _coarse(best: float) -> Flaw | None:
    """Tell of values so large that what is rounded off them is more than tells draws apart."""
    apart = float(np.spacing(abs(best)))
    if apart < _FLOOR:
        return None
    reason = (
        f"the log density is {best:.2g}, where floating-point numbers are {apart:.3g} apart, so "
        "that its values do not tell likely places from others"
    )
    return Flaw("noise", apart, reason, _SMALLER)


def _looked_at(log_weight: Array, most: int) -> NDArray[np.intp]:
    """Choose the first points, and those at which the density is furthest above and below the fit.

    Where one draw of a thousand is in a slit, the slit may hold a third of the mass.
    """
    n = len(log_weight)
    if n <= most:
        return np.arange(n)
    order = np.argsort(np.nan_to_num(log_weight), kind="stable")
    extreme = np.concatenate([order[:_EXTREME], order[-_EXTREME:]])
    others = np.setdiff1d(np.arange(n), extreme)[: most - len(extreme)]
    return np.sort(np.concatenate([extreme, others]))


@dataclass(frozen=True)
class _Points:
    """Points (n, dim) with values (n,) and gradients (n, dim)."""

    x: Array
    value: Array
    gradient: Array

    def lack(self, value: Array, gradient: Array) -> tuple[Array, Array]:
        """Tell what gradients lack of the rise from one point (row) to another.

        Of the rise above another density, whose values and gradients are given.

        Returns
        -------
        lack, explained : ndarray, shape (n, n)
            And what of it a slope explains that changes steadily on the way.
        """
        value, gradient = self.value - value, self.gradient - gradient
        x = self.x - self.x.mean(axis=0)
        along = gradient @ x.T  # of point i, at j
        own = np.vecdot(gradient, x)
        start, end = along - own[:, None], own[None, :] - along.T
        lack = np.nan_to_num(value[None, :] - value[:, None] - (start + end) / 2)
        return lack, np.nan_to_num(np.abs(end - start)) / 2

    def nearness(self) -> Array:
        """How near the nearest of each point are, (n, n); zero for those that are not nearest."""
        white = self.x / np.maximum(self.x.std(axis=0), 1e-300)
        size = (white**2).sum(axis=1)
        distance = np.maximum(size[:, None] + size[None, :] - 2 * white @ white.T, 0.0)
        np.fill_diagonal(distance, np.inf)
        k = min(_NEIGHBOURS, len(white) - 1)
        nearest = distance <= np.partition(distance, k - 1, axis=1)[:, k - 1 : k]
        nearest &= np.isfinite(distance)
        if not nearest.any():  # beyond numbers
            return np.zeros_like(distance)
        usual = max(float(np.median(distance[nearest])), 1e-300)
        return np.where(nearest, 1 / (1 + (distance / usual) ** 1.5), 0.0)


def _size(lack: Array) -> float:
    return float(np.sqrt((lack**2).mean()))


def _worst(lack: Array) -> tuple[int, int]:
    i, j = np.unravel_index(int(np.argmax(np.abs(lack))), lack.shape)
    return int(i), int(j)


@dataclass(frozen=True)
class _Way:
    """Values and slopes at both ends of a part of the straight way between two points.

    Attributes
    ----------
    start, stop : float
        Shares of the whole way.
    values, slopes : (float, float)
        Slopes are those along the whole way.
    """

    start: float
    stop: float
    values: tuple[float, float]
    slopes: tuple[float, float]

    @property
    def rise(self) -> float:
        return self.values[1] - self.values[0]

    @property
    def promised(self) -> float:
        return (self.stop - self.start) * (self.slopes[0] + self.slopes[1]) / 2

    @property
    def lack(self) -> float:
        return abs(self.rise - self.promised)

    @property
    def beyond(self) -> float:
        """What is lacking beyond what a change of slope explains, and beyond rounding."""
        explained = (self.stop - self.start) * abs(self.slopes[1] - self.slopes[0]) / 2
        rounding = _ROUNDING * max(abs(value) for value in self.values)
        return self.lack - explained - rounding


class _Look:
    """Evaluations that tell what is wrong."""

    def __init__(self, target: Target, names: Sequence[str]) -> None:
        self._target, self._names = target, names

    def again(
        self, points: _Points, i: int, j: int, first: tuple[Array, float] | None
    ) -> Flaw | None:
        """Evaluate two points again, in another order, and one that was evaluated long before."""
        place, before = points.x[[j, i]], points.value[[j, i]]
        if first is not None:
            place = np.concatenate([place, first[0][None]])
            before = np.append(before, first[1])
        value, gradient = self._target.log_density_gradient(place)
        changes = off(value, before)
        worst = int(np.argmax(changes))
        if changes[worst] > REPEATED:
            told = f"{before[worst]:.6g} and {value[worst]:.6g}"
            size = float(changes[worst] * (1 + abs(before[worst])))
            return _noise(f"the log density is {told} at the same point", size)
        slope, other = gradient[0], points.gradient[j]
        change = slope - other
        if np.linalg.norm(change) > REPEATED * (1 + np.linalg.norm(other)):
            k = int(np.argmax(np.abs(change)))
            told = f"{other[k]:.6g} and {slope[k]:.6g}"
            size = float(np.linalg.norm(change * points.x.std(axis=0)))
            return _noise(f"the gradient by {self._names[k]} is {told} at the same point", size)
        return None

    def halve(self, points: _Points, i: int, j: int, lack: float) -> Flaw | None:
        """Halve the way between two points again and again, towards where gradients lack most."""
        if lack < _FLOOR:
            return None
        way, at = self._way(points, i, j)
        found = [way.lack]
        for _ in range(_HALVINGS):
            middle = (way.start + way.stop) / 2
            value, slope = at(middle)
            if not np.isfinite(value):
                return None
            parts = (
                _Way(way.start, middle, (way.values[0], value), (way.slopes[0], slope)),
                _Way(middle, way.stop, (value, way.values[1]), (slope, way.slopes[1])),
            )
            way = max(parts, key=lambda part: part.lack)
            found.append(way.lack)
            if way.lack < max(_FLOOR, _SMOOTHLY * found[-2]):
                return None
            if len(found) <= _FIRST_HALVINGS:
                continue
            if way.beyond < max(_FLOOR, way.lack / 2):
                return None
            if way.lack > _KEPT * found[-3] and abs(way.promised) < _FLAT * abs(way.rise):
                return self._jump(points, i, j, way)
        return None

    def axes(self, points: _Points, lack: Array) -> Flaw | None:
        """Try the gradient along the coordinates that what it lacks goes with most."""
        if np.abs(lack).max() < _FLOOR:
            return None
        spread = np.maximum(points.x.std(axis=0), 1e-300)
        u = (points.x - np.median(points.x, axis=0)) / spread
        d = u.shape[1]
        features = np.concatenate([u, u**2], axis=1)
        features = features - features.mean(axis=0)
        # At each point, of its rise above all others.
        strength = np.abs(lack.mean(axis=0) @ features)
        strength /= np.maximum(np.linalg.norm(features, axis=0), 1e-300)
        for feature in np.argsort(-strength)[:_AXES]:
            k = int(feature) % d
            wanted = np.zeros_like(u)
            wanted[:, k] = _OUTSIDE * np.sign(u[:, k]) * (feature >= d)
            i = int(np.argmin(((u - wanted) ** 2).mean(axis=1) + (u - wanted)[:, k] ** 2))
            step = np.zeros(d)
            step[k] = spread[k] * (-1 if u[i, k] > 0 else 1)
            flaw = self._tried(points, i, step, f"by {self._names[k]}", _FLOOR)
            if flaw is not None:
                return flaw
        return None

    def along(self, points: _Points, i: int, j: int, lack: float) -> Flaw | None:
        """Try the gradient on the way from a point to another."""
        if lack < _FLOOR:
            return None
        step = points.x[j] - points.x[i]
        told = f"in the direction of {self._place(points.x[j], step)}"
        return self._tried(points, i, step, told, lack)

    def throughout(self, points: _Points, i: int, j: int, lack: float) -> Flaw | None:
        """Sum what gradients promise over many parts of a way.

        Steps too low and too many to be jumps are all that a value consists of where a program
        rounds, or looks up a table: between them the gradient is right, and of them it knows
        nothing. Parts explain a curve, however it bends, and no such steps.
        """
        if lack < _FLOOR:
            return None
        step = points.x[j] - points.x[i]
        rise = float(points.value[j] - points.value[i])
        # At random, since kinks at equal distances can deceive sums at equal distances.
        at = (np.arange(_STRATA) + np.random.default_rng(0).random(_STRATA)) / _STRATA
        value, gradient = self._target.log_density_gradient(points.x[i] + at[:, None] * step)
        if not np.isfinite(value).all():
            return None
        slopes = gradient @ step
        promised = float(slopes.mean())
        error = float(np.linalg.norm(np.diff(slopes))) / _STRATA
        left = abs(rise - promised) - 3 * error
        lacks = np.diff(value) - (slopes[1:] + slopes[:-1]) / 2 * np.diff(at)
        # What is in a few places alone may be walls, too steep to be met.
        if left < max(_FLOOR, lack / 2) or np.abs(lacks).max() > left / _PLACES:
            return None
        reason = (
            f"the gradient does not belong to the log density, which rises by {rise:.4g} from "
            f"{self._place(points.x[i], step)} to {self._place(points.x[j], step)} "
            f"(unconstrained), where gradients promise {promised:.4g}: it may be rounded, or "
            "looked up in a table"
        )
        return Flaw("gradient", left, reason, _OWN)

    def _tried(self, points: _Points, i: int, step: Array, told: str, lack: float) -> Flaw | None:
        """Try the gradient at a point on shorter and shorter parts of a way."""
        slope = float(points.gradient[i] @ step)
        start, rate = float(points.value[i]), slope
        for share in _SHORT:
            if share < _SHORT[0] and _WRONG * share * lack < _TOLD * _ROUNDING * abs(start):
                break
            value, gradient = self._target.log_density_gradient((points.x[i] + share * step)[None])
            ends = start, float(value[0])
            way = _Way(0.0, share, ends, (slope, float(gradient[0] @ step)))
            if not way.beyond > _WRONG * share * lack + _SLOPE_OFF * abs(way.promised):
                return None
            rate = way.rise / share
        length = float(np.linalg.norm(step))
        reason = (
            f"the gradient does not belong to the log density: {told} it is {slope / length:.4g} "
            f"at {self._place(points.x[i], step)} (unconstrained), where finite differences are "
            f"{rate / length:.4g}"
        )
        return Flaw("gradient", abs(rate - slope), reason, _OWN)

    def _way(
        self, points: _Points, i: int, j: int
    ) -> tuple[_Way, Callable[[float], tuple[float, float]]]:
        step = points.x[j] - points.x[i]
        ends = float(points.value[i]), float(points.value[j])
        slopes = float(points.gradient[i] @ step), float(points.gradient[j] @ step)

        def at(share: float) -> tuple[float, float]:
            value, gradient = self._target.log_density_gradient((points.x[i] + share * step)[None])
            return float(value[0]), float(gradient[0] @ step)

        return _Way(0.0, 1.0, ends, slopes), at

    def _jump(self, points: _Points, i: int, j: int, way: _Way) -> Flaw:
        step = points.x[j] - points.x[i]
        first, last = points.x[i] + way.start * step, points.x[i] + way.stop * step
        reason = (
            f"the log density jumps by {way.lack:.3g} between {self._place(first, step)} and "
            f"{self._place(last, step)} (unconstrained), which gradients do not tell of"
        )
        return Flaw("jump", way.lack, reason, _SMOOTH)

    def _place(self, x: Array, step: Array) -> str:
        """Name the coordinates of a point that change most along a way."""
        largest = np.sort(np.argsort(-np.abs(step))[:_SHOWN])
        told = ", ".join(f"{self._names[k]} = {x[k]:.6g}" for k in largest)
        return told + (", ..." if len(x) > _SHOWN else "")


def _noise(reason: str, size: float) -> Flaw:
    return Flaw("noise", size, reason, _SAME)


_SAME = (
    "Make the density a function of its argument alone: no random numbers, no state that a call "
    "leaves to the next."
)
_SMOOTH = (
    "Write the step as a smooth function (inv_logit of the distance, steep as need be), or sum "
    "over the cases; gradient-based methods, NUTS included, do not see it."
)
_SMALLER = (
    "Leave large constants out of target, and look for data that are far out of the likelihood's "
    "reach."
)
_OWN = "Mend the gradient, or have it computed by automatic differentiation."
