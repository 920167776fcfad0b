import numpy as np
import pytest
from targets import funnel, ridge

from stanrovi.densities import FunctionDensity
from stanrovi.modes.curvature import Curvature
from stanrovi.target import Target
from stanrovi.vi.nodes import Nodes


def nodes_of(density, roots, center, spread, leaves=None):
    """Nodes begun at a centre, the leaves at zero if not given."""
    target = Target(density)
    rest = np.setdiff1d(np.arange(density.dim), roots)
    curvature = Curvature.of(rest, np.eye(len(rest), dtype=bool))
    axes = np.diag(np.atleast_1d(np.asarray(spread, dtype=float)))
    center = np.atleast_1d(np.asarray(center, dtype=float))
    made = Nodes(target, np.asarray(roots), curvature, np.ones(len(rest)), center, axes)
    guess = np.zeros(len(rest)) if leaves is None else leaves
    return made, made.begin(guess, None)


@pytest.mark.parametrize(("center", "spread"), [(0.0, 3.0), (-30.0, 0.5), (9.0, 0.01)])
def test_the_walk_ends_at_the_mode_of_the_marginal_density(center, spread):
    made, begun = nodes_of(funnel(8), [0], center, spread)
    assert begun
    assert made.walk()
    assert abs(made.center[0]) < 1.0  # of a spread of 3
    assert made.axes[0, 0] == pytest.approx(3.0, rel=0.3)


def test_the_evidence_is_the_marginal_density():
    made, _ = nodes_of(funnel(8), [0], 0.0, 3.0)
    made.walk()
    made.spread_out()
    u = np.array([node.roots[0] for node in made.found])
    evidence = np.array([node.evidence for node in made.found])
    expected = -0.5 * (u / 3) ** 2
    np.testing.assert_allclose(evidence - evidence.max(), expected - expected.max(), atol=1e-3)
    assert u.min() < -9
    assert u.max() > 9
    assert np.diff(np.sort(u)).min() > 1.0  # well apart


def test_the_map_has_the_scale_that_the_root_gives():
    made, _ = nodes_of(funnel(8), [0], 0.0, 3.0)
    made.walk()
    made.spread_out()
    u = np.linspace(-12, 12, 9)[:, None]
    np.testing.assert_allclose(made.map().spread(u)[:, 0], np.exp(u[:, 0] / 2), rtol=1e-3)
    assert made.nats()[0] == pytest.approx(7 * 1.5**2, rel=0.3)


def test_a_ridge_has_no_nodes():
    """What the others explain entirely has no width of its own."""

    class Ridge:
        dim = 3

        def log_density_gradient(self, x):
            value, gradient = ridge().log_density_gradient(x[:, 1:])
            return value - 0.5 * x[:, 0] ** 2, np.concatenate([-x[:, :1], gradient], axis=1)

    target = Target(Ridge())
    curvature = Curvature.of(np.array([1, 2]), np.ones((2, 2), dtype=bool))
    made = Nodes(target, np.array([0]), curvature, np.ones(2), np.zeros(1), np.eye(1))
    assert not made.begin(np.array([0.5, 0.7]), None)


def test_evidence_without_a_mode_ends_the_walk():
    class Rising:
        dim = 2

        def log_density_gradient(self, x):
            gradient = np.stack([np.ones(len(x)), -x[:, 1]], axis=1)
            return x[:, 0] - 0.5 * x[:, 1] ** 2, gradient

    made, begun = nodes_of(Rising(), [0], 0.0, 1.0)
    assert begun
    assert not made.walk()


def test_the_edge_is_the_last_node_before_the_rest_loses_its_mode():
    """Beyond 1.25 the leaf is pushed outwards without end."""

    def function(x):
        u, v = x.T
        turned = np.where(u < 1.25, 1.0, -1.0)
        value = -2 * u**2 - turned * v**2 / 2
        return value, np.stack([-4 * u, -turned * v], axis=1)

    made, begun = nodes_of(FunctionDensity(function, 2), [0], 0.0, 0.5)
    assert begun
    assert made.walk()
    assert made.edge().roots[0] == pytest.approx(1.0, abs=0.1)
    whole, _ = nodes_of(funnel(8), [0], 0.0, 3.0)
    whole.walk()
    assert whole.edge() is None
