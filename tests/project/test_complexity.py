"""What the pages on complexity and on overlap rest on: exponents, who is cheaper, exact targets."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
from places import ROOT
from scipy.optimize import approx_fprime


@pytest.fixture(scope="module")
def benchmarks() -> Iterator[SimpleNamespace]:
    """Load the programs of benchmarks/, whose modules have names that tests use, too."""
    before = dict(sys.modules)
    sys.modules.pop("targets", None)
    sys.path.insert(0, str(ROOT / "benchmarks"))
    import complexity
    import overlap

    yield SimpleNamespace(complexity=complexity, overlap=overlap)
    sys.path.remove(str(ROOT / "benchmarks"))
    for name in set(sys.modules) - set(before):
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(ROOT / "benchmarks")):
            del sys.modules[name]
    sys.modules.update({k: v for k, v in before.items() if k == "targets"})


def test_exponent_and_its_error(benchmarks):
    d = np.repeat([32.0, 64.0, 128.0, 256.0], 3)
    exact = benchmarks.complexity.Exponent.of(d, 7 * d**1.25)
    assert str(exact) == "1.25 ± 0.00"
    rng = np.random.default_rng(0)
    slopes, errors = [], []
    for _ in range(400):
        found = benchmarks.complexity.Exponent.of(d, d**2 * np.exp(0.3 * rng.standard_normal(12)))
        slopes.append(found.slope)
        errors.append(found.error)
    assert np.mean(slopes) == pytest.approx(2, abs=0.02)
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(np.std(slopes), rel=0.15)


def test_where_nuts_is_cheaper_is_told(benchmarks):
    c = benchmarks.complexity

    def cell(method, gradients, seconds, own, error):
        run = c.Cost(0, gradients, seconds, own, error, np.nan, "ok")
        return c.Cell("dense", method, 64, (run,), 1.0)

    slow, wrong = cell("rovi", 4000, 2.0, 1.96, 0.01), cell("mfvi", 2000, 0.1, 0.1, 0.5)
    nuts = cell("nuts", 200_000, 1.0, np.nan, 0.02)
    told = c.losses([wrong, slow, nuts]).replace("Gaussian, dense, condition number 100: ", "")
    assert "| rovi | none | none | 64 | none | 10.0, d = 64 |" in told
    assert "| mfvi | 64 | none | none | none | 0.5, d = 64 |" in told


@pytest.mark.parametrize("kind", ["dense", "steps", "groups"])
def test_programs_have_the_density_of_their_truth(benchmarks, kind):
    problem = benchmarks.complexity.KINDS[kind].build(6)
    truth = problem.truth()
    x = truth.sample(5, np.random.default_rng(0))
    ours, exact = (density.log_density_gradient(x) for density in (problem.model, truth.density))
    np.testing.assert_allclose(ours[1], exact[1], rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(np.ptp(ours[0] - exact[0]), 0, atol=1e-9)
    if kind != "groups":
        np.testing.assert_allclose(ours[0] - exact[0], problem.evidence, atol=1e-9)


@pytest.mark.parametrize("dim", [2, 5])
def test_components_have_the_density_of_their_draws(benchmarks, dim):
    for shape in benchmarks.overlap.SHAPES:
        case = benchmarks.overlap.pair(shape, dim, 0.8, 2.0)
        x = case.sample(20_000, np.random.default_rng(1))
        value, gradient = case.density.log_density_gradient(x[:1])
        numeric = approx_fprime(
            x[0], lambda u, f=case: f.density.log_density_gradient(u[None])[0][0]
        )
        np.testing.assert_allclose(gradient[0], numeric, rtol=1e-4, atol=1e-5)
        assert np.isfinite(value).all()
        assert case.weight_error(x) < 0.015, shape
        # Stein: a density and draws that belong together have E[x score] = -1.
        score = case.density.log_density_gradient(x)[1]
        np.testing.assert_allclose((score * x).mean(axis=0), -1, atol=0.12, err_msg=shape)


def test_an_error_that_is_called_ok_is_listed(benchmarks):
    o = benchmarks.overlap

    def run(seed, w1, weight, verdict):
        return o.Run("normal", 2, 0.8, 2.0, "mfvi", seed, verdict, 100, w1, weight, 0.05, 0.1,
            0.2, np.nan)  # fmt: skip

    runs = [run(0, 0.2, 0.0, "ok"), run(1, 0.2, 0.0, "suspect"), run(2, 0.0, 0.05, "ok")]
    assert "| mfvi | 0 | 0.20 |" in o.false_table(runs, marginal=True)
    assert "| mfvi | 2 | 0.00 |" in o.false_table(runs, marginal=False)
    assert "| mfvi | 3 | 0 | 0 | 1 | **1** | 1 |" in o.verdict_table(runs, lambda r: r.method, "m")
    assert o.false_table(runs[1:2], marginal=True) == "None."
