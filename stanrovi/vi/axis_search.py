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

import numpy as np

from stanrovi.families.product import Product
from stanrovi.families.rotation import principal_root, symmetric_root
from stanrovi.target import Array
from stanrovi.vi.pool import Pool
from stanrovi.vi.regression import winsorised

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
    z, residual = z.copy(), residual.copy()
    noise = _pair_noise(residual, weight)[rows, columns]
    for _ in range(d):
        derivatives = _Derivatives(z, residual, weight)
        now = derivatives.pair_gain(0.0)
        gain = np.stack([derivatives.pair_gain(a) - now for a in _ANGLES])[:, rows, columns] - noise
        k, pair = np.unravel_index(np.argmax(gain), gain.shape)
        if not gain[k, pair] > _LEAST_GAIN:
            break
        plane = [rows[pair], columns[pair]]
        turn = _turn(_ANGLES[k])
        for part in (z, residual, rotation):
            part[:, plane] = part[:, plane] @ turn
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
        scores = weight[:, None] * residual
        second, third = z**2 - 1, (z**2 - 3) * z
        jii, jiii = scores.T @ second, scores.T @ third
        iij, iiij, iijj = (scores * z).T @ z, (scores * second).T @ z, (scores * z).T @ second
        self.iii, self.iiii = np.diag(jii), np.diag(jiii)
        self.iij = (jii.T + 2 * iij) / 3
        self.iiij = (jiii.T + 3 * iiij) / 4
        self.iijj = (iijj + iijj.T) / 2

    def pair_gain(self, angle: float) -> Array:
        """Gain (d, d) of the two axes of each pair, turned."""
        c, s = float(np.cos(angle)), float(np.sin(angle))
        return self._along(c, s) + self._along(-s, c)

    def _along(self, c: float, s: float) -> Array:
        """Gain (d, d) along ``c e_i + s e_j``."""
        a, b = self.iii[:, None], self.iii[None, :]
        cubic = c**3 * a + 3 * c * c * s * self.iij + 3 * c * s * s * self.iij.T + s**3 * b
        a, b = self.iiii[:, None], self.iiii[None, :]
        mixed = 4 * c**3 * s * self.iiij + 6 * c * c * s * s * self.iijj
        quartic = c**4 * a + mixed + 4 * c * s**3 * self.iiij.T + s**4 * b
        return np.asarray(cubic**2 / 12 + quartic**2 / 48)
