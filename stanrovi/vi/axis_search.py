"""Axes along which flexible marginals have most to gain, found without new gradients.

In coordinates where the best Gaussian is standard normal, every rotation gives
the same Gaussian; what tells rotations apart is the rest of the score. By
Stein's identity its Hermite moments are the expected third and fourth
derivatives of ``log p - log q``, two symmetric tensors, and along an axis u a
marginal gains about ``K_uuu^2 / 12 + K_uuuu^2 / 48`` nats: the first-order
Hoeffding term of log p against the normal. The tensors take the place that
cumulants have in independent component analysis, and the contrast is raised as
there, pair by pair (Comon 1994, doi:10.1016/0165-1684(94)90029-9).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from math import comb

import numpy as np
from numpy.typing import NDArray

from stanrovi.families.product import Product
from stanrovi.families.rotation import principal_root, symmetric_root
from stanrovi.target import Array
from stanrovi.vi.pool import Pool
from stanrovi.vi.regression import winsorised

Indices = NDArray[np.intp]

# Turns tried for a pair: one of 90 degrees changes nothing.
_ANGLES = np.arange(1, 8) * np.pi / 16
_LEAST_GAIN = 0.02  # nats, beyond what noise promises


def promising_axes(gaussian: Product, pool: Pool) -> Product:
    """Choose axes of a Gaussian along which marginals have most to gain.

    Near the original coordinates, where posteriors are often skewed, or along
    the principal axes, whichever is better; and from there by turns of pairs
    that clearly promise more. Where a target is symmetric in its coordinates
    they are a saddle, which no step of a fit would leave.

    Parameters
    ----------
    gaussian : Product
    pool : Pool
        Evaluations at draws of ``gaussian`` and its predecessors.

    Returns
    -------
    Product
        The same Gaussian; on its own axes where rounding leaves no others.
    """
    covariance = gaussian.covariance()
    best: tuple[float, Product, Array, Array, Array] | None = None
    for root in (symmetric_root(covariance), principal_root(covariance)):
        family = Product.gaussian(gaussian.center, root)
        try:
            z = family.coordinates(pool.x)
        except np.linalg.LinAlgError:  # no width in some direction, to working precision
            continue
        with np.errstate(all="ignore"):  # points that are too far for numbers have no weight
            log_q = np.nan_to_num(family.log_density_base(z), nan=-np.inf, posinf=-np.inf)
            weight = pool.weights(log_q)
            weight /= max(float(weight.sum()), 1e-300)
            residual = winsorised(pool.gradient @ root + z)
            gain = axis_gain(z, residual, weight)
        if not np.isfinite(gain):
            continue
        if best is None or gain > best[0]:
            best = gain, family, z, residual, weight
    if best is None:
        return gaussian
    _, family, *evidence = best
    return Product.gaussian(family.center, family.axes.times(promising_rotation(*evidence)))


def axis_gain(z: Array, residual: Array, weight: Array) -> float:
    """Nats that flexible marginals along whitened axes can gain, noise taken off.

    Parameters
    ----------
    z, residual : ndarray, shape (n, d)
        Whitened draws and their score residuals ``score + z``.
    weight : ndarray, shape (n,)
        Sums to one.
    """
    gain = 0.0
    for hermite, share in ((z**2 - 1, 1 / 12), ((z**2 - 3) * z, 1 / 48)):
        term = residual * hermite
        squared = (weight @ term) ** 2 - weight**2 @ term**2
        gain += share * float(squared.sum())
    return gain


def promising_rotation(z: Array, residual: Array, weight: Array) -> Array:
    """Turn pairs of axes, the pair with most to gain first, until none promises enough.

    Parameters
    ----------
    z, residual, weight
        See `axis_gain`.

    Returns
    -------
    ndarray, shape (d, d)
        A rotation, the identity where noise could promise as much.
    """
    d = z.shape[1]
    rotation = np.eye(d)
    rows, columns = np.triu_indices(d, 1)
    if not len(rows):
        return rotation
    noise = _pair_noise(residual, weight)[rows, columns]
    derivatives = _Derivatives(z, residual, weight)
    gain = derivatives.gains(rows, columns) - noise
    for _ in range(d):
        k, pair = np.unravel_index(np.argmax(gain), gain.shape)
        if not gain[k, pair] > _LEAST_GAIN:
            break
        plane = np.array([rows[pair], columns[pair]])
        turn = _turn(_ANGLES[k])
        rotation[:, plane] = rotation[:, plane] @ turn
        derivatives.turn(plane, turn)
        near = np.flatnonzero(np.isin(rows, plane) | np.isin(columns, plane))
        gain[:, near] = derivatives.gains(rows[near], columns[near]) - noise[near]
    return rotation


def _turn(angle: float) -> Array:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s], [s, c]])


def _pair_noise(residual: Array, weight: Array) -> Array:
    """Gain (d, d) that the luckiest of all pairs would promise by noise alone."""
    variance = (weight @ residual**2) * (weight @ weight)
    n_pairs = len(variance) * (len(variance) - 1) / 2
    # E[He_2^2] / 12 + E[He_3^2] / 48, for two axes.
    expected = (2 / 12 + 6 / 48) * (variance[:, None] + variance)
    return np.asarray(expected * (2 + np.log(n_pairs)))


class _Derivatives:
    """Entries of the expected third and fourth derivatives in each pair of coordinates.

    ``iij[i, j]`` estimates ``E[d_i d_i d_j (log p - log q)]``, and so on: each the
    average over the ways to take one derivative by the score.
    """

    def __init__(self, z: Array, residual: Array, weight: Array) -> None:
        d = z.shape[1]
        self._z, self._scores = z.copy(), weight[:, None] * residual
        self._second, self._third = np.empty(z.shape), np.empty(z.shape)
        self._along, self._across = np.empty(z.shape), np.empty(z.shape)
        self._products = np.empty((5, d, d))
        self._refresh(slice(None))
        for product, left, right in self._factors():
            np.matmul(left.T, right, out=product)
        self._symmetrise()

    def _refresh(self, columns: Indices | slice) -> None:
        z, scores = self._z[:, columns], self._scores[:, columns]
        second = z**2 - 1
        self._second[:, columns], self._third[:, columns] = second, (second - 2) * z
        self._along[:, columns], self._across[:, columns] = scores * z, scores * second

    def _factors(self) -> Iterator[tuple[Array, Array, Array]]:
        """Give each product with the two arrays that it is of."""
        left = (self._scores, self._scores, self._along, self._across, self._along)
        right = (self._second, self._third, self._z, self._z, self._second)
        return zip(self._products, left, right, strict=True)

    def _symmetrise(self) -> None:
        jii, jiii, iij, iiij, iijj = self._products
        self._iii, self._iiii = np.diag(jii), np.diag(jiii)
        self._iij = (jii.T + 2 * iij) / 3
        self._iiij = (jiii.T + 3 * iiij) / 4
        self._iijj = (iijj + iijj.T) / 2

    def turn(self, plane: Indices, turn: Array) -> None:
        """Turn two of the coordinates."""
        for part in (self._z, self._scores):
            part[:, plane] = part[:, plane] @ turn
        self._refresh(plane)
        for product, left, right in self._factors():
            product[plane] = left[:, plane].T @ right
            product[:, plane] = left.T @ right[:, plane]
        self._symmetrise()

    def gains(self, i: Indices, j: Indices) -> Array:
        """Give what turning pairs of axes by each of `_ANGLES` promises, (angles, pairs)."""
        third = np.stack([self._iii[i], self._iij[i, j], self._iij[j, i], self._iii[j]])
        fourth = np.stack([
            self._iiii[i], self._iiij[i, j], self._iijj[i, j], self._iiij[j, i], self._iiii[j]
        ])  # fmt: skip
        one = (_powers(3) @ third) ** 2 / 12 + (_powers(4) @ fourth) ** 2 / 48
        both = one[: len(_ANGLES) + 1] + one[len(_ANGLES) + 1 :]
        return np.asarray(both[1:] - both[0])


@cache
def _powers(n: int) -> Array:
    """Coefficients with which n-fold derivatives of pairs make that along each turned axis.

    Rows for ``c e_i + s e_j`` by no angle and each of `_ANGLES`, then for ``-s e_i + c e_j``.
    """
    angles = np.concatenate([[0.0], _ANGLES])
    c, s = np.cos(angles), np.sin(angles)
    first, second = np.concatenate([c, -s]), np.concatenate([s, c])
    return np.stack([comb(n, k) * first ** (n - k) * second**k for k in range(n + 1)], axis=1)
