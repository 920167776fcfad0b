"""One contract for every distribution that a fit can return."""

import numpy as np
import pytest
from scipy.stats import ortho_group, special_ortho_group
from targets import finite_difference, student_t, two_gaussians

from stanrovi.families.axes import DenseAxes, DiagonalAxes
from stanrovi.families.conditional import (
    Conditional,
    ConditionalMap,
    RootFunctions,
    StarFunctions,
)
from stanrovi.families.maps import SplineMap, stack
from stanrovi.families.mixture import Mixture
from stanrovi.families.moved import Moved
from stanrovi.families.product import Product
from stanrovi.families.symmetry import Symmetry
from stanrovi.families.triangular import Pattern
from stanrovi.vi.scan import mixture_marginal, with_marginal


def skewed(dim):
    """Marginals with a Gumbel's density, standardised, of alternating sign of skewness."""
    grid = np.linspace(-3.4, 25, 2001)
    right = SplineMap.from_log_density(
        grid[None], (-grid - np.exp(-grid))[None], (np.exp(-grid) - 1)[None]
    )
    left = SplineMap(-right.z[:, ::-1], -right.y[:, ::-1], right.slope[:, ::-1])
    return stack([left if i % 2 else right for i in range(dim)]).standardised()[0]


def gaussian(dim):
    axes = np.linalg.cholesky(0.6 * np.eye(dim) + 0.4) * np.linspace(1, 2, dim)
    return Product.gaussian(np.arange(dim) - 1.0, axes)


def mean_field(dim):
    return Product(np.linspace(-1, 1, dim), DiagonalAxes(np.linspace(0.5, 2, dim)), skewed(dim))


def rotated(dim):
    rotation = special_ortho_group.rvs(dim, random_state=3) if dim > 1 else np.eye(1)
    return Product(np.linspace(2, 3, dim), gaussian(dim).axes.times(rotation), skewed(dim))


def bimodal(dim):
    marginal = mixture_marginal(np.array([-4.0, 3.0]), np.array([0.3, 0.7]))
    return with_marginal(rotated(dim), 0, marginal)


def mixture(dim):
    far = Product(rotated(dim).center + 4.0, rotated(dim).axes.scaled(0.5), skewed(dim))
    return Mixture(np.array([0.2, 0.5, 0.3]), (gaussian(dim), rotated(dim), far))


def moved(dim):
    """Coordinates turned round, every second with its sign turned."""
    sign = np.where(np.arange(dim) % 2, -1.0, 1.0)
    return Moved(rotated(dim), Symmetry.signed(np.arange(dim)[::-1], sign))


def conditional(dim):
    """One root, or two of which one rules the other; a product where there is nothing to rule."""
    if dim == 1:
        return rotated(1)
    k = 2 if dim > 3 else 1
    maps = [conditional_map(np.arange(k), np.arange(k, dim)[::-1])]
    if k == 2:
        maps.insert(0, conditional_map(np.array([1]), np.array([0])))
    return Conditional(tuple(maps), rotated(dim))


def conditional_map(roots, leaves):
    m, k = len(leaves), len(roots)
    nodes = np.linspace(0, 5, 6)[:, None] + np.outer([0, 1, -1, 1, 0, -1], np.arange(k))
    pattern = Pattern(tuple(np.arange(j + 1, m) for j in range(m)))
    bent = np.sin(nodes[:, :1])
    return ConditionalMap(
        roots, leaves, RootFunctions(np.full(k, 2.0), np.ones(k), nodes), pattern,
        mean=bent * np.linspace(-1, 1, m) - 0.2 * nodes[:, :1],
        log_scale=0.2 * bent + np.linspace(-0.1, 0.1, m),
        lower=0.3 * bent * np.ones(pattern.size),
    )  # fmt: skip


def conditional_on_a_star(dim):
    """Three roots, of which nodes tell most along their axes; fewer where there is no room."""
    k = min(3, dim - 1)
    if k < 1:
        return conditional(dim)
    axes = np.eye(k) + 0.3 * np.tri(k, k=-1)
    arms = np.concatenate([s * np.eye(k) for s in (1, 2, -1, -2)])
    corners = np.array([[1, 1, 1], [-1, 1, -1], [1, -1, -1]])[:, :k]
    places = np.concatenate([np.zeros((1, k)), arms, corners if k > 1 else corners[:0]])
    m = dim - k
    bent = np.sin(places.sum(axis=1, keepdims=True) + places[:, :1] ** 2)
    pattern = Pattern(tuple(np.arange(j + 1, m) for j in range(m)))
    functions = StarFunctions(np.full(k, 2.0), axes, 2.0 + places @ axes.T)
    step = ConditionalMap(
        np.arange(k), np.arange(k, dim), functions, pattern,
        mean=bent * np.linspace(-1, 1, m), log_scale=0.2 * bent * np.ones(m),
        lower=0.3 * bent * np.ones(pattern.size),
    )  # fmt: skip
    return Conditional((step,), rotated(dim))


BUILDERS = [
    gaussian, mean_field, rotated, bimodal, mixture, conditional, conditional_on_a_star, moved,
]  # fmt: skip
N = 40_000


@pytest.fixture(params=[1, 2, 5], ids="d={}".format)
def dim(request):
    return request.param


@pytest.fixture(params=BUILDERS, ids=lambda f: f.__name__)
def family(request, dim):
    return request.param(dim)


def test_draws_have_the_stated_mean_and_covariance(family):
    x = family.sample(N, np.random.default_rng(0))
    assert x.shape == (N, family.dim)
    centred = x - family.mean()
    se = x.std(axis=0) / np.sqrt(N)
    assert (np.abs(centred.mean(axis=0)) < 5 * se).all()
    products = centred[:, :, None] * centred[:, None, :]
    se = products.std(axis=0) / np.sqrt(N)
    # 1e-3 for the quadrature's own error, well below any standard error that matters.
    slack = 5 * se + 1e-3 * np.abs(family.covariance())
    assert (np.abs(products.mean(axis=0) - family.covariance()) < slack).all()


def test_the_density_is_that_of_the_draws(family):
    """The mean of r / q over draws of q is one for any normalised r well inside q."""
    rng = np.random.default_rng(1)
    x = family.sample(N, rng)
    log_q, _ = family.log_density_gradient(x)
    inner = family.components[-1] if isinstance(family, Mixture) else family
    if isinstance(family, (Conditional, Moved)):
        inner = Product.gaussian(family.mean(), 0.5 * np.linalg.cholesky(family.covariance()))
    axes = inner.axes.scaled(np.sqrt(np.minimum(inner.marginals.moments()[1], 1.0)))
    for center in inner.from_base(rng.uniform(-0.3, 0.3, (3, family.dim))):
        narrow = Product.gaussian(center, axes.scaled(0.5))
        ratio = np.exp(narrow.log_density(x) - log_q)
        se = ratio.std() / np.sqrt(N)
        assert abs(ratio.mean() - 1) < 5 * se


def test_the_gradient_is_the_derivative_of_the_log_density(family):
    x = family.sample(200, np.random.default_rng(2))
    _, gradient = family.log_density_gradient(x)
    numeric = finite_difference(lambda p: family.log_density_gradient(p)[0], x, 1e-6)
    # Splines are twice differentiable between knots only: a few differences straddle one.
    error = np.abs(gradient - numeric) / (1 + np.abs(gradient))
    assert np.quantile(error, 0.95) < 1e-5
    assert error.max() < 0.05


def test_the_log_density_agrees_with_itself(family):
    x = family.sample(100, np.random.default_rng(3))
    np.testing.assert_array_equal(family.log_density(x), family.log_density_gradient(x)[0])


@pytest.mark.parametrize("build", BUILDERS, ids=lambda f: f.__name__)
def test_the_density_integrates_to_one_on_the_line(build):
    family = build(1)
    x = np.linspace(-60, 60, 400_001)[:, None]
    q = np.exp(family.log_density(x))
    assert q.sum() * (x[1, 0] - x[0, 0]) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("build", BUILDERS, ids=lambda f: f.__name__)
def test_the_density_integrates_to_one_in_the_plane(build):
    family = build(2)
    side = np.linspace(-25, 25, 501)
    x = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    total = sum(np.exp(family.log_density(part)).sum() for part in np.array_split(x, 5))
    assert total * (side[1] - side[0]) ** 2 == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("build", BUILDERS, ids=lambda f: f.__name__)
def test_the_density_has_no_jumps(build):
    """Refining a path a thousandfold shrinks the largest step a thousandfold."""
    family = build(2)
    start, end = family.mean() - 9.0, family.mean() + 10.0

    def largest_step(n):
        t = np.linspace(0, 1, n)[:, None]
        return np.abs(np.diff(family.log_density(start + t * (end - start)))).max()

    assert largest_step(200_001) < 2.0 * largest_step(2001) / 100


@pytest.mark.parametrize("build", [gaussian, mean_field, rotated, bimodal])
def test_base_points_map_there_and_back(build, dim):
    family = build(dim)
    z = np.random.default_rng(4).standard_normal((500, dim)) * 2
    x = family.from_base(z)
    np.testing.assert_allclose(family.to_base(x), z, atol=1e-7)
    np.testing.assert_allclose(family.log_density(x), family.log_density_base(z), atol=1e-6)
    np.testing.assert_allclose(family.from_base(family.to_base(x)), x, atol=1e-10)


@pytest.mark.parametrize("build", [gaussian, mean_field, rotated, bimodal])
def test_the_entropy_is_minus_the_mean_log_density(build, dim):
    family = build(dim)
    log_q = family.log_density(family.sample(N, np.random.default_rng(5)))
    assert abs(-log_q.mean() - family.entropy()) < 5 * log_q.std() / np.sqrt(N) + 1e-4


def test_the_entropy_of_a_gaussian_is_exact():
    family = gaussian(4)
    log_det = np.linalg.slogdet(2 * np.pi * np.e * family.covariance())[1]
    assert family.entropy() == pytest.approx(0.5 * log_det, rel=1e-12)


@pytest.mark.parametrize("build", [gaussian, mean_field, rotated, bimodal])
def test_standardised_is_the_same_distribution(build, dim):
    family = build(dim)
    standard = family.standardised()
    mean, variance = standard.marginals.moments()
    np.testing.assert_allclose(mean, 0.0, atol=1e-6)
    np.testing.assert_allclose(variance, 1.0, rtol=1e-6)
    x = family.sample(200, np.random.default_rng(6))
    np.testing.assert_allclose(standard.log_density(x), family.log_density(x), atol=1e-6)


@pytest.mark.parametrize("build", [gaussian, rotated])
def test_preconditioner_and_rotation_multiply_to_the_axes(build, dim):
    family = build(dim)
    lower, rotation = family.preconditioner_rotation()
    np.testing.assert_allclose(lower @ lower.T, family.covariance(), atol=1e-9)
    np.testing.assert_allclose(np.triu(lower, 1), 0.0, atol=1e-12)
    assert (np.diag(lower) > 0).all()
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(dim), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    # Equal up to the sign of an axis.
    np.testing.assert_allclose(
        np.abs(lower @ rotation), np.abs(family.standardised().axes.matrix), atol=1e-9
    )


def test_a_reflection_is_absorbed_by_an_axis():
    family = Product(np.zeros(2), DenseAxes(np.diag([1.0, -2.0])), skewed(2))
    lower, rotation = family.preconditioner_rotation()
    np.testing.assert_allclose(lower, np.diag([1.0, 2.0]), atol=1e-6)
    assert np.linalg.det(rotation) == pytest.approx(1.0)


def test_a_gaussian_far_from_unit_scale_stays_exact():
    scale = 10.0 ** np.arange(-6, 7, 2)
    family = Product.gaussian(1e3 * scale, np.diag(scale) @ ortho_group.rvs(7, random_state=0))
    x = family.sample(50, np.random.default_rng(7))
    log_q, gradient = family.log_density_gradient(x)
    u = (x - family.center) / scale
    expected = -0.5 * (u**2).sum(axis=1) - 3.5 * np.log(2 * np.pi) - np.log(scale).sum()
    np.testing.assert_allclose(log_q, expected, atol=1e-8)
    np.testing.assert_allclose(gradient * scale, -u, atol=1e-8)


def test_mixture_draws_come_from_the_components_by_weight_and_shuffled():
    parts = (Product.gaussian(np.array([-9.0]), np.eye(1)), Product.gaussian(np.ones(1), np.eye(1)))
    x = Mixture(np.array([0.25, 0.75]), parts).sample(N, np.random.default_rng(8))[:, 0]
    share = (x < -4).mean()
    assert abs(share - 0.25) < 5 * np.sqrt(0.25 * 0.75 / N)
    first = (x[: N // 2] < -4).mean()
    assert abs(first - share) < 5 * np.sqrt(0.25 * 0.75 / N)


def test_mixture_density_matches_a_closed_form():
    components = tuple(
        Product.gaussian(s * 1.5 * np.ones(2) / np.sqrt(2), np.eye(2)) for s in (-1, 1)
    )
    family = Mixture(np.array([0.3, 0.7]), components)
    x = family.sample(300, np.random.default_rng(9))
    target = two_gaussians(3.0, 0.3, np.eye(2))
    for ours, exact in zip(
        family.log_density_gradient(x), target.log_density_gradient(x), strict=True
    ):
        np.testing.assert_allclose(ours, exact, atol=1e-10)
    joint = family.joint_log_density(x)
    np.testing.assert_allclose(np.logaddexp(*joint.T), family.log_density(x), atol=1e-12)


def test_mixture_is_finite_where_every_component_underflows():
    family = mixture(2)
    far = np.full((1, 2), 1e5)
    log_q, gradient = family.log_density_gradient(far)
    assert np.isfinite(log_q).all()
    assert np.isfinite(gradient).all()


def test_tails_fall_as_a_normal_ones():
    """Beyond the knots the log density is quadratic, so no importance weight can explode there."""
    family = rotated(1)
    x = family.from_base(np.array([[6.0], [8.0], [10.0], [12.0]]))
    second = np.diff(family.log_density(x), n=2)
    np.testing.assert_allclose(second, second[0], rtol=1e-6)
    assert second[0] < 0
    heavy = student_t(3, 1).log_density_gradient(x)[0]
    assert (np.diff(family.log_density(x)) < np.diff(heavy)).all()
