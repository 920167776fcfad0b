"""Engines agree: gradients with finite differences and compiled code, samplers with each other.

`test_bundled_models.py` compares the gradients of bundled programs with finite
differences, and `test_nuts.py` the means of some parameters of prophet between
samplers; here is what they leave out.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import stanrovi_stan_models as bundled
from stanrovi.diagnostics.statistics import ess, rhat
from stanrovi.draws import Draws
from stanrovi.runs.fit import fit
from stanrovi.runs.nuts import nuts
from stanrovi.stan.engine import bridgestan_folder
from stanrovi.stan.model import Model
from stanrovi.target import Array

Write = Callable[[str, str], Path]

# One parameter of every kind, each with a density that is not flat on its own space.
KINDS = """
parameters {
  real free;
  real<lower=-1> low;
  real<upper=2> high;
  real<lower=-1, upper=2> between;
  vector<offset=3, multiplier=2>[2] shifted;
  ordered[3] rising;
  positive_ordered[3] rising_positive;
  simplex[4] shares;
  unit_vector[3] direction;
  corr_matrix[3] correlation;
  cov_matrix[2] covariance;
  cholesky_factor_corr[3] factor;
  cholesky_factor_cov[3, 2] tall_factor;
  sum_to_zero_vector[3] contrast;
}
model {
  free ~ student_t(4, 1, 2);
  [low + 1, 2 - high] ~ gamma(3, 2);
  (between + 1) / 3 ~ beta(2, 4);
  shifted ~ normal(1, 2);
  rising ~ normal([-1, 0, 2]', 1);
  rising_positive ~ gamma(2, 1);
  shares ~ dirichlet([1, 2, 3, 4]');
  direction ~ normal([0.5, -0.5, 1]', 1);
  correlation ~ lkj_corr(2);
  covariance ~ inv_wishart(5, [[1, 0.3], [0.3, 2]]);
  factor ~ lkj_corr_cholesky(3);
  to_vector(tall_factor) ~ normal(0.5, 1);
  contrast ~ normal([1, 0, -1]', 1);
}
"""


def check_gradient(model: Model, x: Array) -> None:
    """Compare with central differences, up to what these resolve."""
    step = 1e-5
    shifts = step * np.eye(model.dim)
    for point in x:
        value, gradient = model.log_density_gradient(point[np.newaxis])
        above, below = (model.log_density_gradient(point + s * shifts)[0] for s in (1, -1))
        # Cancellation costs eps * |f| / step, truncation step^2 times a third derivative.
        tolerance = 1e-6 * (1 + np.abs(gradient).max()) + 1e-15 * abs(value[0]) / step
        np.testing.assert_allclose(gradient[0], (above - below) / (2 * step), atol=tolerance)


def test_gradients_of_prophet_equal_differences(prophet: Model) -> None:
    rng = np.random.default_rng(1)
    check_gradient(prophet, rng.uniform(-1, 1, (5, prophet.dim)))


def test_gradients_through_every_constraint_equal_differences(write: Write) -> None:
    model = Model(write("kinds.stan", KINDS), engine="stanli")
    rng = np.random.default_rng(2)
    x = rng.uniform(-1.5, 1.5, (5, model.dim))
    assert np.isfinite(model.log_density_gradient(x)[0]).all()
    check_gradient(model, x)


@pytest.mark.compiled
@pytest.mark.slow
@pytest.mark.skipif(bridgestan_folder() is None, reason="no BridgeStan sources or tools to build")
@pytest.mark.parametrize("name", [name for name in bundled.names() if name != "sbc_regression"])
def test_embedded_and_compiled_gradients_are_equal(name: str) -> None:
    """Of all bundled programs but the one whose data each engine draws for itself."""
    embedded, compiled = (Model(name, engine=engine) for engine in ("stanli", "bridgestan"))
    x = np.random.default_rng(3).uniform(-2, 2, (20, embedded.dim))
    log_density, gradient = embedded.log_density_gradient(x)
    expected, expected_gradient = compiled.log_density_gradient(x)
    scale = 1 + np.abs(expected_gradient).max(axis=1, keepdims=True)
    np.testing.assert_allclose(gradient / scale, expected_gradient / scale, atol=1e-10)
    shift = log_density - expected
    np.testing.assert_allclose(shift, shift[0], atol=1e-10 * (1 + np.abs(expected).max()))


@pytest.fixture(scope="module")
def cmdstan(prophet: Model, prophet_folder: Path) -> Draws:
    """Draws of the real CmdStan executable."""
    return nuts(prophet, exe=prophet_folder / "prophet_model.bin", seed=21).draws


def moments(values: Array) -> tuple[Array, Array]:
    """Mean and sd of draws (chain, draw), and their standard errors by effective sample size."""
    squares = (values - values.mean()) ** 2
    sizes = ess(np.stack([values, squares], axis=-1))
    sd = np.sqrt(squares.mean())
    # The error of a variance, taken to the sd by the derivative of the square root.
    errors = np.array([sd, squares.std() / (2 * sd)]) / np.sqrt(sizes)
    return np.array([values.mean(), sd]), errors


@pytest.mark.slow
@pytest.mark.cmdstan
def test_samplers_agree_in_means_and_sds_of_all_parameters(prophet: Model, cmdstan: Draws) -> None:
    embedded = nuts(prophet, engine="stanli", seed=22).draws
    runs = [run.scalars(run.parameters) for run in (embedded, cmdstan)]
    assert list(runs[0]) == list(runs[1])
    assert len(runs[0]) == prophet.dim == 10
    for name in runs[0]:
        both = [run[name] for run in runs]
        assert all(rhat(values[..., np.newaxis])[0] < 1.01 for values in both), name
        (ours, our_errors), (theirs, their_errors) = map(moments, both)
        z = (ours - theirs) / np.hypot(our_errors, their_errors)
        assert (np.abs(z) < 4).all(), f"{name}: z of mean and sd {z}"


@pytest.mark.cmdstan
def test_samplers_agree_in_transformed_parameters(prophet: Model, cmdstan: Draws) -> None:
    """Each engine computes its own; they are functions of its own parameters alone."""
    transformed = [name for name in cmdstan.posterior if name not in cmdstan.parameters]
    assert transformed
    assert cmdstan.unconstrained is not None
    again = prophet.constrain(cmdstan.unconstrained[0, :50], seed=1)
    for name in transformed:
        # CmdStan's files hold a limited number of digits.
        np.testing.assert_allclose(
            cmdstan.posterior[name][0, :50], again[name], rtol=1e-4, atol=1e-4
        )


@pytest.mark.cmdstan
def test_rovi_agrees_with_cmdstan(prophet: Model, cmdstan: Draws) -> None:
    ours = fit(prophet, method="rovi", seed=23).draws
    for name in ("k", "m", "sigma_obs"):
        reference = cmdstan.posterior[name]
        shift = (ours.posterior[name].mean() - reference.mean()) / reference.std()
        assert abs(shift) < 0.1, name
