import json

import numpy as np
import pytest
from scipy.special import xlogy
from scipy.stats import multivariate_normal, norm
from targets import fit, gaussian, gaussian_mixture, triangle, two_gaussians

from stanrovi.errors import UsageError
from stanrovi.families.axes import DenseAxes
from stanrovi.modes.basins import Mode
from stanrovi.modes.bounds import collapse_bound, rovi_bound
from stanrovi.modes.report import mode_report
from stanrovi.modes.search import search_modes
from stanrovi.modes.separateness import separateness
from stanrovi.target import Target

NAMES = ("a", "b")


def mode(position, covariance=None, weight=0.5):
    position = np.asarray(position, dtype=float)
    covariance = np.eye(len(position)) if covariance is None else np.asarray(covariance)
    axes = DenseAxes.of_covariance(covariance)
    return Mode(position=position, log_density=0.0, axes=axes, weight=weight)


def pair(m, weight=0.5, covariance=None):
    return (
        mode([-m, -m], covariance, 1 - weight),
        mode([m, m], covariance, weight),
    )


@pytest.mark.parametrize("m", [1.0, 2.0, 3.0, 6.0])
def test_epsilon_of_the_two_gaussians_of_the_paper(m):
    found = separateness(pair(m), NAMES)
    assert found.epsilon == pytest.approx(2 * norm.sf(m))
    assert found.thresholds == pytest.approx((0.0, 0.0))
    assert set(found.coordinates) == set(NAMES)
    assert found.cost == pytest.approx(np.log(2))


def test_epsilon_bounds_the_mass_outside_the_corners():
    first = mode([0.0, 0.0], [[1.0, 0.5], [0.5, 2.0]])
    second = mode([4.0, -5.0], [[0.5, -0.3], [-0.3, 1.0]])
    found = separateness((first, second), NAMES)
    a, b = (found.thresholds[found.coordinates.index(n)] for n in NAMES)
    # first in {x <= a, y >= b}, second in the opposite corner: reflect y to use a cdf.
    inside = multivariate_normal([0, 0], [[1, -0.5], [-0.5, 2]]).cdf([a, -b])
    assert 0.5 * found.epsilon < 1 - inside <= found.epsilon
    inside = multivariate_normal([-4, -5], [[0.5, -0.3], [-0.3, 1.0]]).cdf([-a, b])
    assert 0.5 * found.epsilon < 1 - inside <= found.epsilon


def test_the_best_pair_of_coordinates_is_chosen():
    far = (mode([0, 0, 0, 0.0]), mode([1, 9, 2, 5.0]))
    assert separateness(far, ("a", "b", "c", "d")).coordinates == ("b", "d")


def test_one_separated_coordinate_alone_does_no_harm():
    found = separateness((mode([-9.0, 0.0]), mode([9.0, 0.0])), NAMES)
    assert found.epsilon == pytest.approx(0.5, abs=1e-9)
    assert found.bound == 0.5
    assert separateness((mode([-9.0]), mode([9.0])), ("a",)).bound == 0.5


def test_the_cost_of_one_mode_counts_its_weight_and_its_correlation():
    rho = 0.8
    found = separateness(pair(4.0, 0.3, [[1, rho], [rho, 1]]), NAMES)
    assert found.cost == pytest.approx(-np.log(0.7) - 0.5 * np.log(1 - rho**2))


@pytest.mark.parametrize("epsilon", [1e-12, 1e-4, 0.01])
@pytest.mark.parametrize("cost", [0.1, 0.5, 0.69])
def test_the_bound_is_the_root_of_its_equation(epsilon, cost):
    m = collapse_bound(epsilon, cost)
    assert epsilon < m < 0.5 or m == 0.5
    kl = xlogy(m, m / epsilon) + xlogy(1 - m, (1 - m) / (1 - epsilon))
    assert kl == pytest.approx(cost, rel=1e-6) or (m == 0.5 and kl < cost)


def test_the_bound_grows_with_epsilon_and_with_cost():
    epsilons = np.geomspace(1e-300, 0.4, 50)
    bounds = [collapse_bound(e, 0.3) for e in epsilons]
    assert (np.diff(bounds) >= 0).all()
    assert bounds[0] < 1e-3
    assert bounds[-1] == 0.5
    assert collapse_bound(0.0, 0.3) == collapse_bound(1e-300, 0.3)
    costs = [collapse_bound(1e-6, c) for c in (0.1, 0.2, 0.4, 0.8)]
    assert (np.diff(costs) > 0).all()


@pytest.mark.parametrize("m", [2.0, 3.0, 4.0])
@pytest.mark.parametrize("weight", [0.5, 0.3])
def test_no_product_measure_that_beats_one_mode_keeps_more_than_the_bound(m, weight):
    """Brute force over products of two-component marginals on the diagonal target."""
    found = separateness(pair(m, weight), NAMES)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4000, 2))
    u = rng.uniform(size=(4000, 2))
    target = two_gaussians(2 * m * np.sqrt(2), 1 - weight, np.eye(2))
    beaten = []
    for share in np.linspace(0, 0.5, 26):
        y = x + np.where(u < share, m, -m)
        log_q = np.logaddexp(
            np.log1p(-share) + norm.logpdf(y, -m),
            (np.log(share) if share else -np.inf) + norm.logpdf(y, m),
        ).sum(axis=1)
        kl = (log_q - target.log_density_gradient(y)[0]).mean()
        if kl <= found.cost:
            beaten.append((y[:, 0] > 0).mean())
    assert beaten
    assert max(beaten) <= found.bound + 3 * np.sqrt(found.bound / 4000)


def report(density, names, seed=0):
    target = Target(density)
    found = search_modes(target, np.random.default_rng(seed))
    return mode_report(found, target.n_gradients, "model", names)


def test_rotation_leaves_one_separated_axis():
    found = report(two_gaussians(12.0, 0.4, [[1.0, 0.3], [0.3, 1.0]]), NAMES)
    assert found.original is not None
    assert found.rotated is not None
    assert found.original.bound < 0.1
    assert found.rotated.bound == 0.5
    assert found.rotated.coordinates[0] == "axis 1"
    assert found.misfit is None


def test_a_report_is_plain_data():
    found = report(triangle(), NAMES)
    plain = json.loads(json.dumps(found.to_dict()))
    assert [row["weight"] for row in plain["modes"]] == pytest.approx([0.5, 0.3, 0.2], abs=1e-3)
    assert plain["separateness"]["original"]["coordinates"] == list(found.original.coordinates)
    assert "lattice" in plain["misfit"]
    assert plain["n_gradients"] == found.n_gradients > 0
    assert plain["names"] == list(NAMES)


def test_one_mode_is_separate_from_nothing():
    plain = report(gaussian(np.zeros(2), np.eye(2)), NAMES).to_dict()
    assert plain["separateness"] == {"original": None, "rotated": None}
    assert plain["misfit"] is None


def corners(*positions, weights):
    """Unit normals at places in the plane, heaviest first."""
    order = np.argsort(-np.array(weights))
    return tuple(mode(positions[k], weight=weights[k]) for k in order)


def test_the_heaviest_is_held_against_all_others():
    """Two of three modes share a corner, so that a product must choose between both corners."""
    three = corners([-6, -6], [5, 6], [7, 5], weights=[0.5, 0.3, 0.2])
    found = separateness(three, NAMES)
    assert found.epsilon < 1e-6
    assert found.bound < 0.1
    assert found.cost == pytest.approx(np.log(2))


def test_a_mode_off_both_corners_leaves_no_bound():
    three = corners([-6, -6], [6, 6], [6, -6], weights=[0.5, 0.3, 0.2])
    found = separateness(three, NAMES, [0], [1])
    assert found.epsilon == pytest.approx(0.2, abs=0.01)
    assert found.bound == 0.5


def test_a_light_mode_off_both_corners_weakens_the_bound():
    def bound(weight):
        rest = 1 - weight
        three = corners([-6, -6], [6, 6], [6, -6], weights=[0.6 * rest, 0.4 * rest, weight])
        return separateness(three, NAMES, [0], [1])

    assert bound(1e-6).bound < bound(1e-3).bound < 0.5
    # Mass outside the corners is that of the third mode, by brute force as well.
    x = np.random.default_rng(0).standard_normal((200_000, 2))
    found = bound(1e-3)
    a, b = (found.thresholds[found.coordinates.index(n)] for n in NAMES)
    off = 0.0
    for at, w in (([-6, -6], 0.6 * 0.999), ([6, 6], 0.4 * 0.999), ([6, -6], 1e-3)):
        y = x + at
        off += w * (((y[:, 0] < a) & (y[:, 1] > b)) | ((y[:, 0] > a) & (y[:, 1] < b))).mean()
    assert off <= found.epsilon * 1.01


def test_pairs_of_more_than_two_modes_are_reported():
    told = report(triangle(), NAMES)
    assert [(p.first, p.second) for p in told.pairs] == [(0, 1), (0, 2), (1, 2)]
    assert told.to_dict()["pairs"][0]["modes"] == [1, 2]
    assert report(two_gaussians(6.0, 0.3, np.eye(2)), NAMES).pairs == ()


def test_two_normals_of_one_covariance_are_a_rotated_product():
    assert rovi_bound([0.3, 0.7], [[0, 0], [5, 3]], [np.eye(2)] * 2) == pytest.approx(0, abs=1e-12)
    box = [[0, 0], [6, 0], [0, 6], [6, 6]]
    assert rovi_bound([0.25] * 4, box, [np.eye(2)] * 4) == pytest.approx(0, abs=1e-12)


def test_where_no_lattice_holds_the_modes_the_heaviest_alone_is_the_bound():
    corners = [[0, 5], [4, -3], [-4, -3]]
    assert rovi_bound([0.5, 0.3, 0.2], corners, [np.eye(2)] * 3) == pytest.approx(np.log(2))


@pytest.mark.parametrize("seed", range(4))
def test_no_fit_of_rovi_is_much_worse_than_the_bound(seed):
    """And none can be better than exact: the bound is one of a product that exists."""
    rng = np.random.default_rng(seed)
    roots = rng.standard_normal((2, 2, 2))
    covariances = np.eye(2) + 0.3 * roots @ roots.transpose(0, 2, 1)
    means, weights = rng.normal(0, 4, (2, 2)), rng.dirichlet([3, 3])
    bound = rovi_bound(weights, means, covariances)
    fitted = fit(gaussian_mixture(weights, means, list(covariances)), "rovi", seed)
    assert -fitted.elbo < bound + 0.01 + 3 * fitted.elbo_se


@pytest.mark.parametrize(
    ("weights", "means", "covariances", "said"),
    [
        ([0.5, 0.5], [[0, 0]], [np.eye(2)], "shapes"),
        ([0.5, -0.5], [[0, 0], [1, 1]], [np.eye(2)] * 2, "positive"),
        ([0.5, 0.5], [[0, 0], [1, 1]], [np.eye(2), -np.eye(2)], "definite"),
    ],
)
def test_what_is_no_mixture_is_refused(weights, means, covariances, said):
    with pytest.raises(UsageError, match=said):
        rovi_bound(weights, means, covariances)
