"""Baselines: right distributions, honest counts, and draws that ArviZ takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stanrovi.errors import DensityError
from stanrovi.runs.laplace import laplace_draws
from stanrovi.stan.model import Model

Write = Callable[[str, str], Path]


CENTER, SD = np.array([3.0, -1.0]), np.array([2.0, 0.5])


def test_laplace_is_the_gaussian_at_the_mode(write: Write) -> None:
    program = "parameters { vector[2] x; } model { x ~ normal([3, -1], [2, 0.5]); }"
    draws = laplace_draws(Model(write("normal.stan", program)), seed=1)
    assert draws.method == "laplace"
    x = draws.posterior["x"][0]
    assert x.shape == (4000, 2)
    z = (x - CENTER) / SD
    assert np.abs(z.mean(axis=0)).max() < 4 / np.sqrt(4000)
    assert np.abs((z**2).mean(axis=0) - 1).max() < 4 * np.sqrt(2 / 4000)
    assert draws.log_ratios is not None
    assert len(draws.log_ratios) == 1000
    assert np.ptp(draws.log_ratios) < 1e-3  # exact up to the constant that Stan drops
    assert 1000 < draws.attrs["n_gradients"] < 2000


def test_laplace_needs_a_mode(write: Write) -> None:
    program = "parameters { real x; } model { target += x; }"
    with pytest.raises(DensityError, match="needs a mode"):
        laplace_draws(Model(write("improper.stan", program)), seed=1)
