"""The same seed gives the same draws to the last bit, however many threads there are."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from threadpoolctl import threadpool_info

import stanrovi as sr
from stanrovi.determinism import one_blas_thread
from stanrovi.stan.model import Model

# Large enough for OpenBLAS to split its products: without `one_blas_thread` the bits differ.
WIDE = """
parameters { vector[150] x; }
model {
  x[1] ~ std_normal();
  for (i in 2:150) x[i] ~ normal(0.9 * x[i - 1], 1 + 0.1 * square(x[i - 1]));
}
"""
FIT = """
import hashlib, sys
import stanrovi as sr

model, method, affinity = sys.argv[1:]
if affinity:
    import os
    os.sched_setaffinity(0, {int(affinity)})
if method == "nuts":
    draws = sr.nuts(model, seed=1, chains=3, iter_warmup=100, iter_sampling=50).draws.unconstrained
else:
    budget = 2000 if model.endswith(".stan") else None
    draws = sr.fit(model, method=method, seed=1, draws=200, max_gradients=budget).result.draws
print(hashlib.sha256(draws.tobytes()).hexdigest())
"""


def digest(model: object, method: str, *, blas: int, processor: int | None = None) -> str:
    """Hash of the draws made in a fresh process."""
    affinity = "" if processor is None else str(processor)
    done = subprocess.run(
        [sys.executable, "-c", FIT, str(model), method, affinity],
        capture_output=True, text=True, check=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": str(blas), "OMP_NUM_THREADS": str(blas)},
    )  # fmt: skip
    return done.stdout.strip()


@pytest.mark.slow
def test_threads_of_the_linear_algebra_do_not_show(write):
    path = write("wide.stan", WIDE)
    assert digest(path, "rovi", blas=1) == digest(path, "rovi", blas=2)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processors cannot be chosen here")
@pytest.mark.parametrize("method", ["rovi", "nuts"])
def test_the_number_of_processors_does_not_show(method):
    """On one processor gradients and chains run one after the other, else at once."""
    one = min(os.sched_getaffinity(0))
    assert digest("garch", method, blas=1, processor=one) == digest("garch", method, blas=1)


def test_threads_over_a_batch_do_not_show():
    model = Model("garch")
    x = np.random.default_rng(0).normal(size=(200, model.dim))
    one, three = (model._evaluator.evaluate(x, threads=n) for n in (1, 3))
    for ours, theirs in zip(one, three, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_limit_ends_with_the_block():
    def threads() -> list[int]:
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    before = threads()
    with one_blas_thread():
        assert set(threads()) == {1}
    assert threads() == before


def test_random_quantities_follow_the_seed_of_the_fit(write):
    model = Model(write("rng.stan", """
        parameters { real x; }
        model { x ~ std_normal(); }
        generated quantities { real y = normal_rng(x, 1); int n = poisson_rng(3); }
    """))  # fmt: skip
    first, again, other = (sr.fit(model, seed=s, draws=100).draws.posterior for s in (1, 1, 2))
    for name in ("x", "y", "n"):
        np.testing.assert_array_equal(first[name], again[name])
        assert (first[name] != other[name]).any()
