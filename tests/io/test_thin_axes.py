"""Axes of many dimensions go through a file without ever being a matrix."""

from dataclasses import replace

import numpy as np
import pytest
from large import arrow, chain
from scipy.sparse import csc_array

from stanrovi.draws import Draws
from stanrovi.families.axes import DenseAxes, DiagonalAxes, Frame
from stanrovi.families.low_rank_axes import LowRankAxes
from stanrovi.families.sparse_axes import SparseAxes
from stanrovi.io.netcdf import read_draws, write_netcdf
from stanrovi.io.thin_axes import axes_of_arrays, thin_arrays
from stanrovi.modes.basins import Mode, Peak
from stanrovi.vi.facts import FitFacts

D = 600


def sparse(density=None):
    density = density or arrow(D, 3)
    axes = SparseAxes.of_precision(csc_array(density.precision(np.zeros(density.dim))))
    return axes.scaled(np.linspace(0.5, 2.0, density.dim))


def low_rank(dim=D):
    rng = np.random.default_rng(0)
    u = np.linalg.qr(rng.standard_normal((dim, 7)))[0]
    return LowRankAxes(
        rng.uniform(0.5, 2, dim), u, np.geomspace(0.1, 20, 7), rng.uniform(0.5, 2, dim)
    )


AXES = {
    "diagonal": DiagonalAxes(np.linspace(1.0, 2.0, D)),
    "low rank": low_rank(),
    "arrow": sparse(),
    "chain": sparse(chain(D)),
}
POINTS = np.random.default_rng(1).standard_normal((5, D))


@pytest.fixture(params=AXES)
def axes(request):
    return AXES[request.param]


def through_a_file(axes, tmp_path, n_modes=2):
    rng = np.random.default_rng(2)
    modes = tuple(
        Mode(position=np.full(D, k), log_density=-1.0, weight=1 / n_modes, axes=axes.scaled(1 + k))
        for k in range(n_modes)
    )
    draws = Draws(
        method="rovi",
        posterior={"x": rng.normal(size=(1, 4, D))},
        parameters=("x",),
        unconstrained=rng.normal(size=(1, 4, D)),
        facts=FitFacts(frame=Frame(np.ones(D), axes), modes=modes),
    )
    path = write_netcdf(draws, tmp_path / "a.nc")
    return read_draws(path).facts, path.stat().st_size


def test_they_come_back_from_a_file(axes, tmp_path):
    facts, size = through_a_file(axes, tmp_path)
    assert type(facts.frame.axes) is type(axes)
    np.testing.assert_array_equal(facts.frame.center, 1.0)
    np.testing.assert_allclose(facts.frame.axes.apply(POINTS), axes.apply(POINTS), rtol=1e-9)
    for k, mode in enumerate(facts.modes):
        assert isinstance(mode, Mode)
        assert type(mode.axes) is type(axes)
        np.testing.assert_allclose(mode.sd, (1 + k) * axes.sd())
    assert size < 8 * D * D / 2  # half of one matrix


def test_dense_axes_stand_in_a_file_as_they_are(tmp_path):
    dense = DenseAxes(np.eye(D) + 0.1)
    facts, _ = through_a_file(dense, tmp_path)
    np.testing.assert_array_equal(facts.frame.axes.matrix, dense.matrix)
    np.testing.assert_array_equal(facts.modes[1].axes.matrix, 2 * dense.matrix)
    assert thin_arrays(dense, "axes_") == {}


def held(axes):
    return {name: part for name, (_, part) in thin_arrays(axes, "a_").items()}


def test_what_is_missing_or_of_another_size_is_no_axes(axes):
    stored = held(axes)
    assert axes_of_arrays(stored, "a_", D) is not None
    assert axes_of_arrays(stored, "a_", D - 1) is None
    assert axes_of_arrays(stored, "b_", D) is None
    for name in set(stored) - {"a_directions", "a_order"}:
        assert axes_of_arrays({k: v for k, v in stored.items() if k != name}, "a_", D) is None


@pytest.mark.parametrize("spoiled", [np.nan, np.inf, -1.0, 1e9])
def test_numbers_that_cannot_be_are_no_axes(axes, spoiled):
    stored = held(axes)
    for name in stored:
        wrong = stored[name].copy()
        wrong.flat[0] = spoiled
        again = axes_of_arrays(stored | {name: wrong}, "a_", D)
        assert again is None or (again.is_finite() and np.isfinite(again.log_volume)), name


def test_modes_whose_widths_are_lost_are_peaks(tmp_path):
    draws = Draws(
        method="rovi",
        posterior={"x": np.zeros((1, 4, 3))},
        parameters=("x",),
        facts=FitFacts(
            modes=(Mode(position=np.zeros(3), log_density=0.0, axes=low_rank(3 + 4)),),
        ),
    )
    path = write_netcdf(replace(draws), tmp_path / "a.nc")
    assert type(read_draws(path).facts.modes[0]) is Peak


@pytest.mark.parametrize("name", AXES)
def test_a_frame_gives_coordinates_of_chains_of_draws(name):
    frame = Frame(np.ones(D), AXES[name])
    y = np.random.default_rng(3).standard_normal((2, 4, D))
    x = 1 + AXES[name].apply(y.reshape(-1, D)).reshape(y.shape)
    np.testing.assert_allclose(frame.coordinates(x), y, atol=1e-9)
    np.testing.assert_allclose(frame.coordinates(x[0, 0]), y[0, 0], atol=1e-9)
