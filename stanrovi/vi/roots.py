"""Roots: parameters on which the spread of others depends, as a group's scale in a hierarchy.

What a root moves is the precision of the others, so it shows in the third derivatives of the
log density: ``d_i (-d_j d_j log p)``, relative to the precision of j and over the spread of i.
They are found where it is cheap. At draws of a Gaussian whose gradients are at hand, Stein's
identity gives their expectations as moments of the residual score, with a standard error
(`stanrovi.vi.root_moments`). Where the second derivatives are sparse, differences of a few
gradients at one point do (`roots_from_differences`), before any approximation is there.

A normal variable whose log standard deviation has variance V under another one shares V nats
with it; a root must explain `LEAST_NATS` of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from stanrovi.modes.curvature import Curvature, conditional_sd, curvature_at
from stanrovi.target import Array, Target
from stanrovi.vi.root_moments import LEAST_NATS, MOST_ROOTS

Indices = NDArray[np.intp]

_MOVE = 0.2  # of the spread of a candidate, for differences; and at most
_FEW = 12  # coordinates whose third derivatives are all measured
_TELLING = 6  # roots after which those that wait should have become fewer
_LOOKS = 12  # at all that may rule others
_PROBES, _PROBE = 2, 1e-3  # directions, and how far along them in standard deviations
_ANGLES, _TURNS = 32, 12  # tried for a pair of axes; rounds of pairs
_PARALLEL = 1e-8
_NONE = np.zeros(0, dtype=np.intp)
_WIDEST = 1.0  # spread of a candidate where the curvature does not tell it


@dataclass(frozen=True)
class Landscape:
    """A point with its curvature in all coordinates.

    Attributes
    ----------
    x, gradient : ndarray, shape (dim,)
    curvature : Curvature
    precision : ndarray, shape (dim, dim)
        Minus the second derivatives.
    """

    x: Array
    gradient: Array
    curvature: Curvature
    precision: Array

    @property
    def scale(self) -> Array:
        """Conditional standard deviations (dim,), `_WIDEST` where the curvature has none."""
        widest = np.full(len(self.x), _WIDEST)
        return np.minimum(conditional_sd(self.precision, widest), _WIDEST)

    def ridges(self, given: Indices) -> Array:
        """Root of the covariance (dim, dim) given some coordinates, zero in their rows.

        Column i over its diagonal says how the others move with coordinate i, at best; the
        curvatures' diagonal alone where they belong to no normal distribution.
        """
        d = len(self.x)
        rest = np.setdiff1d(np.arange(d), given)
        covariance = np.diag(self.scale**2)
        try:
            root = np.linalg.inv(np.linalg.cholesky(self.precision[np.ix_(rest, rest)]))
        except np.linalg.LinAlgError:
            return covariance
        covariance[np.ix_(rest, rest)] = root.T @ root
        return covariance


def landscape(target: Target, x: Array, scale: Array) -> Landscape | None:
    """Look at the curvature around a point; None where the target rejects points nearby.

    Parameters
    ----------
    target : Target
    x : ndarray, shape (dim,)
    scale : ndarray, shape (dim,)
        Conditional standard deviations, roughly.
    """
    value, gradient = (part[0] for part in target.log_density_gradient(x[None]))
    if not np.isfinite(value):
        return None
    found = curvature_at(target, np.arange(len(x)), x, gradient, scale)
    return None if found is None else Landscape(x, gradient, *found)


def roots_from_differences(
    target: Target, at: Landscape, known: Indices = _NONE, least: float = LEAST_NATS
) -> Indices:
    """Find roots at one point, by differences.

    Parameters
    ----------
    target : Target
    at : Landscape
    known : ndarray of int
        Roots that need not be found again.
    least : float
        Nats that a root must explain.

    Returns
    -------
    ndarray of int
        Coordinates, those that explain most first. Costs at most five gradients for each
        coordinate, half of ``d (d + 3)`` up to `_FEW` of them, and a few more where there
        are roots.
    """
    third = _third_derivatives(target, at) if len(at.x) <= _FEW else None
    if third is not None:
        return _roots_in_tensor(*third, known, least)
    hubs = _hubs(at.curvature)
    if 0 < len(hubs) * (at.curvature.cost + 1) <= 2 * len(at.x):
        hubs, ridges = np.setdiff1d(hubs, known), at.ridges(known)
        nats = np.array([_nats_by_colours(target, at, int(i), ridges[i]) for i in hubs])
        found = np.flatnonzero(nats > least)
        return hubs[found[np.argsort(-nats[found])]][: min(MOST_ROOTS, len(at.x) - 1)]
    return _roots_by_probes(target, at, known, least)


def _roots_in_tensor(tensor: Array, frame: Array, known: Indices, least: float) -> Indices:
    """Find roots in all third derivatives, less what skew marginals on rotated axes explain."""
    roots: list[int] = []
    covectors = frame / np.linalg.norm(frame, axis=1)[:, None]
    outside = np.eye(len(frame))  # onto what the roots so far leave free
    for k in known:
        outside = _less(outside, covectors[k])
    while len(roots) + len(known) < min(MOST_ROOTS, len(frame) - 1):
        left = np.einsum("ijk,ia,jb,kc->abc", tensor, outside, outside, outside, optimize=True)
        if not float((left**2).sum()) / 4 > least:  # no root explains more than all there is
            break
        left = without_skew_axes(left)
        nats = np.array([_nats_in_tensor(left, outside, c) for c in covectors])
        nats[[*known, *roots]] = 0.0
        best = int(np.argmax(nats))
        if not nats[best] > least:
            break
        roots.append(best)
        outside = _less(outside, covectors[best])
    return np.array(roots, dtype=np.intp)


def _less(outside: Array, covector: Array) -> Array:
    """Take one more direction out of a projection."""
    left = outside @ covector
    size = float(left @ left)
    return outside if size < _PARALLEL else outside - np.outer(left, left) / size


def _nats_in_tensor(tensor: Array, outside: Array, covector: Array) -> float:
    left = outside @ covector
    size = float(left @ left)
    if size < _PARALLEL:
        return 0.0
    rest = _less(outside, covector)
    change = rest @ np.einsum("ijk,k->ij", tensor, left / np.sqrt(size)) @ rest
    return float((change**2).sum() / 4)


def _third_derivatives(target: Target, at: Landscape) -> tuple[Array, Array] | None:
    """Third derivatives (d, d, d) in whitened coordinates, and the frame: ``x = x_0 + frame z``.

    From the gradients at all sums of two steps; None where there is no normal approximation.
    """
    try:
        root = np.linalg.cholesky(at.precision)
    except np.linalg.LinAlgError:
        return None
    d = len(root)
    frame = np.asarray(np.linalg.inv(root).T)
    first, second = np.triu_indices(d)
    steps = _MOVE * frame.T
    points = at.x + np.concatenate([steps, steps[first] + steps[second]])
    value, gradient = target.log_density_gradient(points)
    if not np.isfinite(value).all():
        return None
    whitened = (gradient - at.gradient) @ frame
    single, double = whitened[:d], whitened[d:]
    mixed = (double - single[first] - single[second]) / _MOVE**2
    tensor = np.empty((d, d, d))
    tensor[first, second] = tensor[second, first] = mixed
    sides = (tensor, tensor.transpose(0, 2, 1), tensor.transpose(2, 1, 0))
    return np.asarray(sum(sides) / 3), frame


def without_skew_axes(tensor: Array) -> Array:
    """Take out what skew marginals on the best rotated axes explain.

    Axes by turns of pairs that make the diagonal larger, as in independent component
    analysis by third cumulants (Comon 1994, doi:10.1016/0165-1684(94)90029-9).

    Parameters
    ----------
    tensor : ndarray, shape (d, d, d)
        Symmetric: third derivatives in whitened coordinates.

    Returns
    -------
    ndarray, shape (d, d, d)
    """
    d = len(tensor)
    turned, rotation = tensor.copy(), np.eye(d)
    angles = np.arange(_ANGLES) * np.pi / (2 * _ANGLES)
    c, s = np.cos(angles), np.sin(angles)
    along = np.stack([c**3, 3 * c * c * s, 3 * c * s * s, s**3], axis=1)
    across = np.stack([-(s**3), 3 * s * s * c, -3 * s * c * c, c**3], axis=1)
    for _ in range(_TURNS):
        moved = 0.0
        for p, q in combinations(range(d), 2):
            pair = turned[[p, p, p, q], [p, p, q, q], [p, q, q, q]]
            skewness = (along @ pair) ** 2 + (across @ pair) ** 2
            best = int(np.argmax(skewness))
            if skewness[best] < 1.01 * (pair[0] ** 2 + pair[3] ** 2):
                continue
            turn = np.array([[c[best], -s[best]], [s[best], c[best]]])
            plane = [p, q]
            rotation[:, plane] = rotation[:, plane] @ turn
            turned[:, :, plane] = turned[:, :, plane] @ turn
            turned[:, plane] = turn.T @ turned[:, plane]
            turned[plane] = (turn.T @ turned[plane].reshape(2, -1)).reshape(2, d, d)
            moved = max(moved, float(angles[best]))
        if moved == 0.0:
            break
    skewness = np.einsum("aaa->a", turned)
    return np.asarray(tensor - np.einsum("a,ia,ja,ka->ijk", skewness, rotation, rotation, rotation))


def _hubs(curvature: Curvature) -> Indices:
    """Coordinates with more neighbours than a leaf can have in so few colours."""
    return np.flatnonzero(curvature.adjacent.sum(axis=1) - 1 > curvature.cost)


def _nats_by_colours(target: Target, at: Landscape, i: int, ridge: Array) -> float:
    """Nats that a root explains, all curvatures measured again further along its ridge."""
    spread = float(np.sqrt(ridge[i]))
    x = at.x + _MOVE / spread * ridge
    value, gradient = (part[0] for part in target.log_density_gradient(x[None]))
    moved = at.curvature.precision(target, x, gradient, at.scale)
    before, after = np.diag(at.precision), np.diag(moved)
    ruled = at.curvature.adjacent[i] & (before > 0) & (after > 0)
    ruled[_hubs(at.curvature)] = False
    if not (np.isfinite(value) and ruled.any()):
        return 0.0
    change = np.log(after[ruled] / before[ruled]) / 2 / _MOVE
    return float((change**2).sum())


def _roots_by_probes(target: Target, at: Landscape, known: Indices, least: float) -> Indices:
    """Find roots one after the other, what they rule measured along random directions.

    For whitened directions s of random signs, the squared length of the whitened change of
    ``H s`` has the squared norm of that of H as its expectation (Hutchinson 1990). A leaf can
    seem to rule its root: what later roots explain better gives its place to one that waits.
    """

    def nats(candidates: Indices, roots: Indices) -> Array:
        given = np.union1d(known, roots)
        ridges = at.ridges(given)
        out = np.empty(len(candidates))
        for j, i in enumerate(candidates):
            others = np.setdiff1d(given, [i])
            ridge = (ridges if len(others) == len(given) else at.ridges(others))[i]
            out[j] = _nats_by_probes(target, at, int(i), others, ridge)
        return out

    roots, waiting = _NONE, np.setdiff1d(np.arange(len(at.x)), known)
    most, first = min(MOST_ROOTS, len(at.x) - len(known) - 1), 0
    for _ in range(_LOOKS):
        of_waiting = nats(waiting, roots)
        known_to_rule_little = of_waiting <= least
        waiting, of_waiting = waiting[~known_to_rule_little], of_waiting[~known_to_rule_little]
        if np.isfinite(of_waiting).any() and len(roots) < most:
            best = int(np.nanargmax(of_waiting))
            roots, waiting = np.append(roots, waiting[best]), np.delete(waiting, best)
            first = first or len(waiting)
            if len(roots) == _TELLING and len(waiting) > max(most, first / 2):
                # What each rules is not what the first ones rule: there are too many.
                return np.append(roots, waiting[: most - len(roots)])
            continue
        if len(roots) < 2 or len(waiting) > most:
            break
        of_roots = nats(roots, roots)
        if not np.isfinite(of_roots).any():
            break
        weakest = int(np.nanargmin(of_roots))
        better = max(least, float(np.nan_to_num(of_waiting).max(initial=0.0)))
        if of_roots[weakest] > better:
            break
        roots = np.delete(roots, weakest)
    return roots


def _nats_by_probes(target: Target, at: Landscape, i: int, known: Indices, ridge: Array) -> float:
    """Nats that a root explains; NaN where the rest has no normal approximation."""
    rest = np.delete(np.arange(len(at.x)), [i, *known])
    if not len(rest):
        return 0.0
    try:
        root = np.linalg.cholesky(at.precision[np.ix_(rest, rest)])
    except np.linalg.LinAlgError:
        return float("nan")
    move = _MOVE / np.sqrt(ridge[i]) * ridge
    signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(_PROBES, len(rest)))
    probes = np.zeros((_PROBES, len(at.x)))
    probes[:, rest] = _PROBE * solve_triangular(root.T, signs.T).T
    points = np.concatenate([move[None], probes, probes + move]) + at.x
    value, gradient = target.log_density_gradient(points)
    if not np.isfinite(value).all():
        return float("nan")
    still, moved = gradient[1 : 1 + _PROBES] - at.gradient, gradient[1 + _PROBES :] - gradient[0]
    change = solve_triangular(root, (moved - still)[:, rest].T, lower=True) / _PROBE / _MOVE
    return float((change**2).sum() / _PROBES / 4)
