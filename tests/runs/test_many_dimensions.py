"""A Stan program of 600 parameters from the fit through a file to what is made of it."""

import numpy as np
import pytest

import stanrovi
from stanrovi.families.axes import Frame
from stanrovi.families.sparse_axes import SparseAxes
from stanrovi.modes.basins import Mode

PROGRAM = """
data { int J; vector[J] y; vector<lower=0>[J] s; }
parameters { real mu; real<lower=0> tau; vector[J] z; }
model {
  mu ~ normal(0, 5); tau ~ normal(0, 2); z ~ std_normal();
  y ~ normal(mu + tau * z, s);
}
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("many") / "groups.stan"
    path.write_text(PROGRAM, encoding="utf-8")
    rng = np.random.default_rng(0)
    s = rng.uniform(0.5, 2.0, 600)
    return stanrovi.Model(path, {"J": 600, "y": rng.normal(1.0, np.hypot(1, s)), "s": s})


def test_a_fit_goes_through_a_file(model, tmp_path):
    fit = stanrovi.fit(model, seed=1, draws=200)
    assert fit.verdict.name == "ok"
    back = stanrovi.read_draws(stanrovi.write_netcdf(fit.draws, tmp_path / "fit.nc"))
    assert back.facts.verdict == fit.verdict
    (mode,) = back.facts.modes
    assert isinstance(mode, Mode)
    np.testing.assert_allclose(mode.sd, fit.modes[0].sd)
    assert fit.inv_metric().shape == (602,)
    run = stanrovi.nuts(model, init=back, chains=2, iter_warmup=20, iter_sampling=20, seed=1)
    assert run.draws.posterior["z"].shape == (2, 20, 600)


def test_axes_of_a_fit_go_through_a_file(model, tmp_path):
    fit = stanrovi.fit(model, seed=1, draws=200, method="gaussian")
    back = stanrovi.read_draws(stanrovi.write_netcdf(fit.draws, tmp_path / "fit.nc"))
    frame = back.facts.frame
    assert isinstance(frame, Frame)
    assert isinstance(frame.axes, SparseAxes)
    x = fit.draws.unconstrained
    assert np.isfinite(frame.coordinates(x)).all()
    np.testing.assert_allclose(frame.axes.sd(), fit.draws.facts.frame.axes.sd())
