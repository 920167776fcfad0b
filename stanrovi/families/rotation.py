"""Rotations: the special orthogonal group SO(d)."""

from __future__ import annotations

import numpy as np
from scipy.linalg import expm, polar

from stanrovi.target import Array


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
    # u[0] - 1, without cancellation where the direction is nearly the first axis.
    v[0] = -(u[1:] @ u[1:]) / (1.0 + u[0]) if u[0] > 0 else u[0] - 1.0
    size = v @ v
    reflection = np.eye(d) if size < 1e-30 else np.eye(d) - 2.0 * np.outer(v, v) / size
    if d > 1 and size >= 1e-30:
        reflection[:, -1] *= -1
    return reflection


def symmetric_root(covariance: Array) -> Array:
    """Square root A (d, d) of a covariance, ``A @ A.T``, closest to the coordinate axes.

    Symmetric in the correlation metric (ZCA-cor; Kessy, Lewin and Strimmer
    2018, doi:10.1080/00031305.2016.1277159): its columns are the whitened axes
    most like the original parameters, which are often where a posterior is
    skewed, so a rotation search begins well there.
    """
    sd = np.sqrt(np.diag(covariance))
    spectrum, vectors = np.linalg.eigh(covariance / np.outer(sd, sd))
    root = (vectors * np.sqrt(np.maximum(spectrum, 1e-300))) @ vectors.T
    return np.asarray(sd[:, None] * root)


def principal_root(covariance: Array) -> Array:
    """Square root A (d, d) of a covariance along the eigenvectors of its correlations."""
    sd = np.sqrt(np.diag(covariance))
    spectrum, vectors = np.linalg.eigh(covariance / np.outer(sd, sd))
    if np.linalg.det(vectors) < 0:
        vectors[:, -1] *= -1
    return np.asarray(sd[:, None] * vectors * np.sqrt(np.maximum(spectrum, 1e-300)))
