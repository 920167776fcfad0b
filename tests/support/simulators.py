"""Functions that simulate for `stanrovi.sbc`, in a module, so that workers find them."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from multiprocessing import parent_process
from typing import Any

import numpy as np

Simulated = tuple[Mapping[str, Any], Mapping[str, Any]]

# Normal mean, its data from outside.
MEAN = """
data { int n; vector[n] y; }
parameters { real mu; }
model { mu ~ std_normal(); y ~ normal(mu, 1); }
"""


def mean(rng: np.random.Generator) -> Simulated:
    """Simulate from the prior of `MEAN`."""
    mu = rng.normal()
    return {"mu": mu}, {"n": 3, "y": rng.normal(mu, 1, 3)}


def deadly_mean(rng: np.random.Generator) -> Simulated:
    """End the worker at high means."""
    true_values, data = mean(rng)
    if true_values["mu"] > 1:
        assert parent_process() is not None
        os.kill(os.getpid(), signal.SIGKILL)
    return true_values, data


def wrong(rng: np.random.Generator) -> Simulated:
    """Raise."""
    raise ZeroDivisionError("by nothing")
