"""Fit a log density that is written in Python, without Stan.

    python examples/own_density.py

The target has two skewed, independent directions that are not the coordinates: a correlated
posterior with long tails. Mean field cannot follow it; RoVI finds the directions.
"""

from __future__ import annotations

import numpy as np

from stanrovi.densities import FunctionDensity
from stanrovi.diagnostics.statistics import psis_khat
from stanrovi.families.product import Product
from stanrovi.target import Array
from stanrovi.vi.methods.driver import fit_density

AXES = np.array([[2.0, 0.5], [1.6, -0.6]])
INVERSE, LOG_VOLUME = np.linalg.inv(AXES), np.linalg.slogdet(AXES)[1]


def gumbel_on_axes(x: Array) -> tuple[Array, Array]:
    """Log density (n,) and its gradient (n, 2) at points x (n, 2): ``x = AXES @ y``, y Gumbel."""
    y = x @ INVERSE.T
    with np.errstate(over="ignore", invalid="ignore"):  # far out the density is zero
        fall = np.exp(-y)
        return -(y + fall).sum(axis=1) - LOG_VOLUME, (fall - 1) @ INVERSE


def main() -> None:
    density = FunctionDensity(gumbel_on_axes, dim=2)
    for method in ("mfvi", "rovi"):
        result = fit_density(density, method, seed=1, pareto_k=psis_khat)
        family = result.family
        assert isinstance(family, Product)
        # The density is normalised, so the ELBO is minus the KL divergence from fit to target.
        print(f"{method}: {result.verdict.name}, KL {-result.elbo:.3f} nats, "
              f"{result.n_gradients:,} gradients")  # fmt: skip
        print(f"  sds {family.sd().round(2)}, entropy {family.entropy():.2f} nats")

    # The axes of the fit, split into a preconditioner and the rotation behind it.
    preconditioner, rotation = family.preconditioner_rotation()
    angle = np.degrees(np.arctan2(rotation[1, 0], rotation[0, 0]))
    print(f"rotated by {angle:.0f} degrees behind\n{preconditioner.round(2)}")

    # A fit is a map from standard normal points, both ways.
    x = AXES @ -np.log(np.random.default_rng(0).exponential(size=(2, 10_000)))
    z = family.to_base(x.T)
    print(f"exact draws in its base coordinates: mean {np.abs(z.mean(axis=0)).max():.2f}, "
          f"sd {z.std():.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
