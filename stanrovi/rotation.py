"""Rotations: the special orthogonal group SO(d) and which axes to choose.

In coordinates where the best Gaussian is standard normal, any rotation gives
the same Gaussian. What decides between rotations is the rest of the score:
along a unit direction u, a flexible marginal can gain about

    sum_k E[(u.r) He_k(u.z)]^2 / (2 (k+1)!),    k = 2, 3,

nats, with ``r`` the score residual ``score(z) + z`` and He_k the Hermite
polynomials (first-order Hoeffding term of log p against the normal, through
Stein's identity). `align_axes` maximises the sum over orthonormal directions,
without a single further gradient of the target.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import expm, polar

from stanrovi.target import Array

_SWEEPS = 60
_TOLERANCE = 1e-4


def rotate(rotation: Array, skew: Array) -> Array:
    """``rotation @ expm(skew)``, re-orthogonalised against rounding."""
    return np.asarray(polar(rotation @ expm(skew))[0])


def with_first_axis(direction: Array) -> Array:
    """Rotation (d, d) whose first column is ``direction`` (d,), normalised.

    The Householder reflection that exchanges the first axis and ``direction``,
    with the last column's sign flipped to make it a rotation.
    """
    d = len(direction)
    u = direction / np.linalg.norm(direction)
    v = u.copy()
    v[0] -= 1.0
    size = v @ v
    reflection = np.eye(d) if size < 1e-30 else np.eye(d) - 2.0 * np.outer(v, v) / size
    if d > 1 and size >= 1e-30:
        reflection[:, -1] *= -1
    return reflection


def axis_gain(z: Array, residual: Array, weight: Array, rotation: Array) -> Array:
    """Nats a flexible marginal can gain along each axis; shape (d,).

    Parameters
    ----------
    z, residual : ndarray, shape (n, d)
        Whitened draws and their score residuals ``score + z``.
    weight : ndarray, shape (n,)
        Sums to one.
    rotation : ndarray, shape (d, d)
        Columns are the axes.
    """
    return _gain_and_gradient(z, residual, weight, rotation)[0]


def align_axes(
    z: Array, residual: Array, weight: Array, starts: list[Array]
) -> tuple[Array, float]:
    """Rotation whose axes carry most of the non-Gaussian part.

    Fixed-point iteration with symmetric orthogonalisation (as in FastICA,
    Hyvarinen 1999, doi:10.1109/72.761722) from each start; the best end wins.

    Parameters
    ----------
    z, residual, weight
        See `axis_gain`.
    starts : list of ndarray, shape (d, d)
        Rotations to begin at.

    Returns
    -------
    rotation : ndarray, shape (d, d)
    gain : float
        Its total gain in nats.
    """
    best, best_gain = starts[0], -np.inf
    for start in starts:
        rotation, gain = _ascend(z, residual, weight, start)
        if gain > best_gain:
            best, best_gain = rotation, gain
    if np.linalg.det(best) < 0:
        best = best.copy()
        best[:, -1] *= -1
    return best, best_gain


def _ascend(z: Array, residual: Array, weight: Array, rotation: Array) -> tuple[Array, float]:
    gain, gradient = _gain_and_gradient(z, residual, weight, rotation)
    total, shift = float(gain.sum()), 0.0
    for _ in range(_SWEEPS):
        proposal = np.asarray(polar(gradient + shift * rotation)[0])
        gain, new_gradient = _gain_and_gradient(z, residual, weight, proposal)
        if gain.sum() < total:
            # Not convex there: lean on the present axes and try again.
            shift = 2.0 * shift + np.abs(gradient).max()
            if shift > 1e3 * np.abs(gradient).max():
                break
            continue
        improved = float(gain.sum()) - total
        rotation, gradient, total = proposal, new_gradient, float(gain.sum())
        if improved < _TOLERANCE * max(total, 1e-3):
            break
    return rotation, total


def _gain_and_gradient(
    z: Array, residual: Array, weight: Array, rotation: Array
) -> tuple[Array, Array]:
    y, r = z @ rotation, residual @ rotation
    y2, wr = y * y, weight[:, None] * r
    second, third = y2 - 1, (y2 - 3) * y
    m2, m3 = (wr * second).sum(axis=0), (wr * third).sum(axis=0)
    # d m_k / d u = E[residual He_k(y)] + k E[z r He_{k-1}(y)]
    w = weight[:, None]
    g2 = residual.T @ (w * second) + 2 * z.T @ (wr * y)
    g3 = residual.T @ (w * third) + 3 * z.T @ (wr * second)
    gain = m2**2 / 12 + m3**2 / 48
    return gain, m2 / 6 * g2 + m3 / 24 * g3
