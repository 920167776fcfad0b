"""One step of marginals on fixed axes, each coordinate by itself: linear in the dimension.

The step of `stanrovi.vi.steps` with one regression for each coordinate, on its own values only,
where a regression on all coordinates would take more draws than there are. What a score owes to
the other coordinates is noise here; on axes with the structure of the target there is little.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from stanrovi.families.base import normal_log_density
from stanrovi.families.maps import SplineMap, stack
from stanrovi.families.product import Product
from stanrovi.target import Array
from stanrovi.vi.pool import Pool
from stanrovi.vi.regression import basis, penalised, winsorised
from stanrovi.vi.reshaping import moved_marginals

_BLOCK = 2**16  # numbers of a block of columns
_GRID_BLOCK = 256  # coordinates whose marginals are made at a time
_NEAR = 0.02  # nats per dimension by which iterates of one pool may differ
_GAIN = 0.002  # nats; less is not worth another family
_RELIABLE = 0.3  # relative effective size of importance weights taken in full
_LEAST_CURVATURE = 0.05
_NARROWING = 0.1, 10.0


def improved_alone(
    family: Product, pool: Pool, *, flexible: bool, forward: float, damping: float
) -> tuple[Product, float, float]:
    """One step from a standardised family; see `stanrovi.vi.steps.improved`.

    Parameters
    ----------
    family : Product
        Standardised.
    pool : Pool
    flexible : bool
        Marginals of any shape, or Gaussian ones.
    forward : float
        Share of the expectations taken under the target, where the weights allow it.
    damping : float
        Share of the step to take.

    Returns
    -------
    family : Product
        Standardised; the same where nothing is promised.
    gain, noise : float
        See `stanrovi.vi.steps.improved`.
    """
    y = family.coordinates(pool.x)
    z, log_slope, score = family.marginals.pull_back_with_score(y)
    log_q = normal_log_density(z) - log_slope.sum(axis=1) - family.log_volume
    del log_slope
    weight = _weights(pool, log_q, family.dim, forward)
    gradient = family.axes.apply_transposed(pool.gradient)
    d, n_effective = family.dim, float(weight.sum())
    intercept, own, noise = np.empty((3, d))
    smooth = []
    for columns in _columns(d, len(y)):
        residual = winsorised(gradient[:, columns] - score[:, columns])
        if not np.isfinite(residual).all():
            raise np.linalg.LinAlgError("draws of earlier iterates lie beyond the marginals' reach")
        part = _regressed(z[:, columns], y[:, columns], residual, weight, smooth=flexible)
        intercept[columns], own[columns], noise[columns] = part[:3]
        smooth.append(part[3])
    pool.forget(weight)
    shapes = np.concatenate(smooth)
    fisher = family.marginals.fisher_information()
    if not np.isfinite(fisher).all():
        raise np.linalg.LinAlgError("a marginal is beyond the resolution of its map")
    shift = intercept / np.maximum(fisher - own, _LEAST_CURVATURE)
    gain = 0.5 * float(intercept @ shift) + 0.25 * float((own**2).sum() + (shapes**2).sum())
    told = gain, float(noise.sum()) / max(n_effective, 1.0)
    if gain < _GAIN:
        return family, *told
    limit = max(1.0, float(np.linalg.norm(shift)) / max(2.0, np.sqrt(d)))
    center = family.center + family.axes.apply(damping * shift / limit)
    if flexible:
        blocks = np.array_split(np.arange(d), -(-d // _GRID_BLOCK))
        marginals = stack([
            moved_marginals(family.marginals.select(b), shapes[b], own[b], damping) for b in blocks
        ])  # fmt: skip
    else:
        scale = (1.0 - damping + damping * np.clip(fisher - own, *_NARROWING)) ** -0.5
        marginals = SplineMap.affine(np.zeros(d), scale)
    return Product(center, family.axes, marginals).standardised(), *told


def _columns(d: int, n: int) -> Iterator[slice]:
    width = max(1, _BLOCK // n)
    return (slice(at, min(at + width, d)) for at in range(0, d, width))


def _weights(pool: Pool, log_q: Array, dim: int, forward: float) -> Array:
    """Weights of the draws of iterates near the current one; zero for others.

    Importance weights over all coordinates would leave nothing of earlier iterates in many
    dimensions, where noise in each adds up; and a regression on one coordinate needs none for
    its own. Under the target each batch has the weights of its own iterate.
    """
    near, start = [], 0
    for batch in pool.batches:
        apart = float(np.mean(log_q[start : start + len(batch.log_p)] - batch.log_q)) / dim
        near.append(float(abs(apart) < _NEAR))
        start += len(batch.log_p)
    near[-1] = 1.0
    accepted = np.isfinite(pool.log_p)
    under_q = accepted * np.repeat(near, [len(b.log_p) for b in pool.batches])
    under_p = pool.weights(pool.log_p) * under_q
    share = forward * min(1.0, under_p.sum() / (_RELIABLE * max(float(under_q.sum()), 1.0)))
    return np.asarray((1 - share) * under_q + share * under_p)


def _regressed(
    z: Array, y: Array, residual: Array, weight: Array, *, smooth: bool
) -> tuple[Array, Array, Array, Array]:
    """Regress each residual score on a constant, its own coordinate and smooth functions of it.

    Returns
    -------
    intercept, slope, noise : ndarray, shape (c,)
        Noise is the variance left over.
    smooth : ndarray, shape (c, m)
    """
    lines = np.stack([np.ones_like(y), y], axis=2)
    weighted = weight[:, None, None] * lines
    inverse = np.linalg.inv(np.einsum("nck,ncl->ckl", weighted, lines))
    features = basis(z)
    coefficients = np.zeros((y.shape[1], features.shape[2]))
    rest = residual
    if smooth:
        moment = np.einsum("nck,nc->ck", weighted, residual)
        cross = np.einsum("nck,ncm->ckm", weighted, features)
        onto = inverse @ cross
        by_coordinate = features.transpose(1, 2, 0)
        both = weight * by_coordinate
        gram = both @ by_coordinate.transpose(0, 2, 1) - cross.transpose(0, 2, 1) @ onto
        response = (both @ residual.T[..., None])[..., 0]
        response -= (onto.transpose(0, 2, 1) @ moment[..., None])[..., 0]
        total = weight @ residual**2
        total -= (moment * (inverse @ moment[..., None])[..., 0]).sum(axis=1)
        coefficients = penalised(gram, response, total, max(float(weight.sum()) - 2.0, 10.0))
        rest = residual - np.einsum("ncm,cm->nc", features, coefficients)
    line = (inverse @ np.einsum("nck,nc->ck", weighted, rest)[..., None])[..., 0]
    left = rest - np.einsum("nck,ck->nc", lines, line)
    noise = weight @ left**2 / max(float(weight.sum()), 1.0)
    return line[:, 0], line[:, 1], noise, coefficients
