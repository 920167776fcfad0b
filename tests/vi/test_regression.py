import numpy as np
import pytest
from scipy.stats import norm
from targets import banana, gaussian, gaussian_mixture, gumbel

from stanrovi.families.axes import DenseAxes
from stanrovi.families.base import base_draws
from stanrovi.families.maps import SplineMap, stack
from stanrovi.families.product import Product
from stanrovi.vi import regression
from stanrovi.vi.regression import basis, regress, winsorised

SHAPES = [np.sin, np.abs, lambda z: np.exp(-0.5 * z**2), np.square]


def orthogonal_part(function):
    """``function`` less its projection on constants and lines under N(0, 1)."""
    grid = np.linspace(-8, 8, 4001)
    weight = norm.pdf(grid) * (grid[1] - grid[0])
    value = function(grid)
    constant, slope = weight @ value, weight @ (value * grid)
    return lambda z: function(z) - constant - slope * z


def test_the_basis_is_orthonormal_and_orthogonal_to_lines():
    grid = np.linspace(-8, 8, 8001)
    weight = norm.pdf(grid) * (grid[1] - grid[0])
    columns = np.column_stack([np.ones_like(grid), grid, basis(grid)])
    gram = columns.T @ (weight[:, None] * columns)
    np.testing.assert_allclose(gram, np.eye(len(gram)), atol=1e-4)


def test_the_basis_is_ordered_by_roughness_and_straight_beyond_the_knots():
    grid = np.linspace(-4, 4, 4001)
    curvature = np.gradient(np.gradient(basis(grid), grid, axis=0), grid, axis=0)
    roughness = (norm.pdf(grid)[:, None] * curvature**2).sum(axis=0)
    assert (np.diff(roughness) > 0).all()
    outside = np.abs(grid) > 2.7
    inner = slice(2, -2)
    np.testing.assert_allclose(curvature[inner][outside[inner]], 0.0, atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_known_conditional_expectations_are_recovered(shape):
    rng = np.random.default_rng(0)
    n, d = 4096, 3
    z = base_draws(n, d, rng)
    linear = rng.standard_normal((d, d))
    intercept = np.array([0.5, -1.0, 0.0])
    smooth = orthogonal_part(shape)
    residual = intercept + z @ linear.T + 0.5 * rng.standard_normal((n, d))
    residual[:, 0] += smooth(z[:, 0])
    fit = regress(z, z, residual, np.ones(n), smooth=True)
    np.testing.assert_allclose(fit.intercept, intercept, atol=0.04)
    np.testing.assert_allclose(fit.linear, linear, atol=0.04)
    probe = np.linspace(-2, 2, 41)
    np.testing.assert_allclose(basis(probe) @ fit.smooth[0], smooth(probe), atol=0.12)
    # No shape in the other coordinates: cross-validation shrinks theirs to little.
    assert (np.abs(basis(probe) @ fit.smooth[1:].T) < 0.1).all()
    assert fit.noise[1:] == pytest.approx(0.25, rel=0.1)
    assert fit.n_effective == n


def test_pure_noise_has_hardly_any_shape():
    probe = np.linspace(-2, 2, 41)
    size = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        z = base_draws(128, 2, rng)
        fit = regress(z, z, rng.standard_normal((128, 2)), np.ones(128), smooth=True)
        size.append((basis(probe) @ fit.smooth.T).std(axis=0))
    # Unpenalised, nine functions on 128 draws would wander by sqrt(9 / 128) = 0.27.
    assert np.median(size) < 0.05


def test_weights_act_as_repetitions():
    rng = np.random.default_rng(1)
    z, residual = rng.standard_normal((200, 2)), rng.standard_normal((200, 2))
    count = rng.integers(1, 4, 200)
    repeated = np.repeat(np.arange(200), count)
    weighted = regress(z, z, residual, count.astype(float), smooth=True)
    explicit = regress(
        z[repeated], z[repeated], residual[repeated], np.ones(len(repeated)), smooth=True
    )
    for name in ("intercept", "linear", "smooth", "noise", "n_effective"):
        np.testing.assert_allclose(getattr(weighted, name), getattr(explicit, name), atol=1e-9)


def test_an_exact_fit_leaves_nothing():
    z = np.random.default_rng(2).standard_normal((100, 2))
    fit = regress(z, z, np.zeros((100, 2)), np.ones(100), smooth=True)
    for part in (fit.intercept, fit.linear, fit.smooth, fit.noise):
        np.testing.assert_allclose(part, 0.0, atol=1e-12)


def test_winsorising_bounds_outliers_and_leaves_the_rest():
    residual = np.random.default_rng(3).standard_normal((500, 2))
    wild = residual.copy()
    wild[7, 0] = 1e9
    kept = winsorised(wild)
    assert 4.0 < kept[7, 0] < 12.0
    kept[7, 0] = residual[7, 0]
    np.testing.assert_array_equal(kept, residual)


# The regression as the gradient of the objective.
#
# With x = c + B T(z) the ELBO on fixed draws z is mean log p(x) + log |det B| + mean log T'(z).
# At a standardised family the intercept is its derivative along c <- c + B e, the linear part
# that along B <- B (I + E), and the smooth part that along T <- T + e h.

TARGETS = {
    "gaussian": gaussian([0.3, -0.2], [[1.0, 0.5], [0.5, 2.0]]),
    "mixture": gaussian_mixture([0.4, 0.6], [[-0.7, 0], [0.5, 0.5]], [np.eye(2), 2 * np.eye(2)]),
    "banana": banana(0.4),
    "skew": gumbel([[1.0, 0.4], [0.0, 1.0]]),
}


def standard_logistic():
    grid = np.linspace(-25, 25, 2001)
    log_density = -np.abs(grid) - 2 * np.log1p(np.exp(-np.abs(grid)))
    spline = SplineMap.from_log_density(
        grid[None], log_density[None], -np.tanh(grid / 2)[None]
    ).standardised()[0]
    return stack([spline, spline])


def family_with(marginals):
    return Product(np.array([0.2, -0.1]), DenseAxes(np.array([[1.1, 0.3], [-0.2, 0.9]])), marginals)


FAMILIES = {
    "gaussian": family_with(SplineMap.affine(np.zeros(2), np.ones(2))),
    "logistic": family_with(standard_logistic()),
}


def balanced_draws(n):
    """Symmetric draws: products of odd and even functions average to zero exactly."""
    z = base_draws(n, 2, np.random.default_rng(4))
    return np.concatenate([z * s for s in ([1, 1], [1, -1], [-1, 1], [-1, -1])])


def elbo(density, family, z):
    x = family.from_base(z)
    log_p = density.log_density_gradient(x)[0]
    return log_p.mean() + family.log_volume + family.marginals.mean_log_slope().sum()


def regression_at(density, family, z, *, smooth):
    y = family.marginals.value(z)
    gradient = density.log_density_gradient(family.from_base(z))[1]
    residual = family.axes.apply_transposed(gradient) - family.marginals.score(z)
    return regress(z, y, residual, np.ones(len(z)), smooth=smooth)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("shape", FAMILIES)
def test_intercept_and_linear_part_are_the_gradient_of_the_elbo(target, shape):
    density, family = TARGETS[target], FAMILIES[shape]
    z = balanced_draws(8192)
    fit = regression_at(density, family, z, smooth=False)
    step = 1e-5

    def derivative(moved):
        return (elbo(density, moved(step), z) - elbo(density, moved(-step), z)) / (2 * step)

    for i in range(2):
        axis = family.axes.column(i)
        along = derivative(
            lambda e, a=axis: Product(family.center + e * a, family.axes, family.marginals)
        )
        assert fit.intercept[i] == pytest.approx(along, abs=0.01)
        for j in range(2):
            # x = c + B y + e B[:, i] y_j: coordinate j moves along axis i.
            change = np.zeros((2, 2))
            change[i, j] = 1.0
            along = derivative(
                lambda e, c=change: Product(
                    family.center, family.axes.times(np.eye(2) + e * c), family.marginals
                )
            )
            assert fit.linear[i, j] == pytest.approx(along, abs=0.015)


@pytest.mark.parametrize("target", ["mixture", "skew"])
def test_the_smooth_part_is_the_gradient_of_the_elbo_in_the_shape(target):
    density, family = TARGETS[target], FAMILIES["gaussian"]
    z = balanced_draws(8192)
    fit = regression_at(density, family, z, smooth=True)
    step = 1e-4

    def shaped_elbo(e, i, m):
        y = z.copy()
        y[:, i] += e * basis(z[:, i])[:, m]
        slope = (basis(z[:, i] + 1e-5)[:, m] - basis(z[:, i] - 1e-5)[:, m]) / 2e-5
        log_p = density.log_density_gradient(family.center + family.axes.apply(y))[0]
        return (log_p + np.log1p(e * slope)).mean()

    for i in range(2):
        for m in range(3):
            along = (shaped_elbo(step, i, m) - shaped_elbo(-step, i, m)) / (2 * step)
            # A little is lost to the penalty, more for rougher functions.
            assert fit.smooth[i, m] == pytest.approx(along, rel=0.15, abs=0.015)


def test_smooth_parts_are_those_of_one_system_for_each_strength():
    rng = np.random.default_rng(3)
    n, d = 700, 40
    z, weight = rng.standard_normal((n, d)), rng.uniform(0.2, 1.0, n)
    y, residual = z + 0.1 * z**2, np.sin(2 * z) + rng.standard_normal((n, d))
    fit = regress(z, y, residual, weight, smooth=True)
    roughness = np.diag(regression._demmler_reinsch()[1])
    design, root = np.column_stack([np.ones(n), y]), np.sqrt(weight)[:, None]
    q = np.linalg.qr(root * design)[0]
    degrees = weight.sum() - d - 1
    for i in (0, 17, 39):
        features, response = root * basis(z[:, i]), root[:, 0] * residual[:, i]
        features, response = features - q @ (q.T @ features), response - q @ (q.T @ response)
        found = []
        for strength in 10.0 ** np.arange(-4.0, 3.0, 0.5):
            system = features.T @ features + degrees * strength * roughness
            solution = np.linalg.solve(system, features.T @ response)
            freedom = np.trace(np.linalg.solve(system, features.T @ features))
            rest = ((response - features @ solution) ** 2).sum()
            found.append((rest / (1 - min(1.4 * freedom / degrees, 0.9)) ** 2, solution))
        best = min(found, key=lambda pair: pair[0])[1]
        np.testing.assert_allclose(fit.smooth[i], best, rtol=1e-9, atol=1e-11)
