"""Where climbs begin, and how densely."""

import numpy as np
import pytest
from scipy.special import gammaln

from stanrovi.families.axes import DenseAxes
from stanrovi.modes.basins import Mode
from stanrovi.modes.starts import all_around, all_around_log_density, outward


def mode(*position, scale=1.0):
    d = len(position)
    factor = scale * (np.eye(d) + 0.3 * np.tril(np.ones((d, d)), -1))
    return Mode(position=np.array(position, dtype=float), log_density=0.0, axes=DenseAxes(factor))


@pytest.mark.parametrize("dim", [1, 2, 5, 20])
def test_starts_have_the_density_that_is_told(dim):
    """Importance weights of a normal seen from the starts: mean one within its noise."""
    modes = (mode(*np.zeros(dim)), mode(*np.full(dim, 4.0), scale=2.0))
    rng = np.random.default_rng(dim)
    x = np.concatenate([all_around(modes, rng, 4096)[0] for _ in range(8)])
    # Where nearly all starts of the first mode are: a shell around it.
    r = np.linalg.norm(modes[0].axes.solve(x), axis=1)
    scale = max(1.0, np.sqrt(dim / 10))
    inside = (r > 3.5 * scale) & (r < 9 * scale)
    log_volume = dim * np.log(9 * scale) + _log_ball(dim) + modes[0].axes.log_volume
    log_volume += np.log1p(-((3.5 / 9) ** dim))
    weight = np.where(inside, np.exp(-log_volume - all_around_log_density(modes, x)), 0.0)
    se = weight.std() / np.sqrt(len(x) / 2)  # starts come in pairs
    assert weight.mean() == pytest.approx(1.0, abs=4 * se)
    assert se < 0.1


def _log_ball(dim):
    return 0.5 * dim * np.log(np.pi) - gammaln(0.5 * dim + 1)


def test_starts_come_in_opposite_pairs_with_their_origin():
    modes = (mode(0, 0, 0), mode(9, 9, 9))
    for place in (all_around, outward):
        x, origins = place(modes, np.random.default_rng(0), 32)
        centre = np.stack([modes[k].position for k in origins])
        off = x - centre
        np.testing.assert_allclose(off[::2], -off[1::2])
        assert origins.tolist() == [0, 0, 1, 1] * 8
        assert np.linalg.norm(off, axis=1).min() > 1.0
