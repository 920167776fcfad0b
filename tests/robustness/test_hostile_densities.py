"""What is no density: noise, jumps, gradients of another function. Noticed, told, never "ok".

And nothing of it is said of densities that merely bend, have kinks or steep walls.
"""

import re
import time

import numpy as np
import pytest
from targets import banana, fit, gumbel, student_t, triangle

import stanrovi as sr
from stanrovi.densities import FunctionDensity
from stanrovi.vi.checks import weights

METHODS = ("auto", "rovi", "structured", "mixture", "mfvi", "gaussian")


def changed(change, dim=3):
    """A correlated normal with values and gradients changed."""
    factor = np.linalg.cholesky(0.6 ** np.abs(np.subtract.outer(np.arange(dim), np.arange(dim))))
    precision = np.linalg.inv(factor @ factor.T)

    def function(x):
        pull = x @ precision
        return change(x, -0.5 * (x * pull).sum(axis=1), -pull)

    return FunctionDensity(function, dim)


class Noisy:
    """Makes values or gradients differ from one evaluation to the next."""

    def __init__(self, in_value=0.0, in_gradient=0.0, drift=0.0):
        self.in_value, self.in_gradient, self.drift = in_value, in_gradient, drift
        self.rng, self.n = np.random.default_rng(0), 0

    def __call__(self, x, value, gradient):
        self.n += len(x)
        value = value + self.in_value * self.rng.standard_normal(len(value)) + self.drift * self.n
        return value, gradient + self.in_gradient * self.rng.standard_normal(gradient.shape)


def by_order(x, value, gradient):
    return value + np.arange(len(x)) % 2, gradient


def at_first(gradient, factor):
    return np.concatenate([factor * gradient[:, :1], gradient[:, 1:]], axis=1)


HOSTILE = {
    "noise": (Noisy(in_value=0.5), "noise", r"the log density is .* and .* at the same point"),
    "coarse": (lambda x, v, g: (v - 1e17, g), "noise", "numbers are 16 apart"),
    "drift": (Noisy(drift=1e-3), "noise", "at the same point"),
    "order": (by_order, "noise", "at the same point"),
    "noisy gradient": (Noisy(in_gradient=0.3), "noise", r"gradient by x\[\d+\] is"),
    "step": (lambda x, v, g: (v + 3 * (x[:, 0] > 0.4), g), "jump", r"jumps by 3\b|jumps by 2\.9"),
    "small step": (lambda x, v, g: (v + 0.7 * (x[:, 1] > 0.0), g), "jump", "jumps by 0.[67]"),
    "stairs": (lambda x, v, g: (v + np.floor(2 * x[:, 2]), g), "jump", "jumps by"),
    "region": (
        lambda x, v, g: (v - 2 * ((x**2).mean(axis=1) < 0.8), g), "jump", "between x.*constrained",
    ),
    "factor": (lambda x, v, g: (v, 0.5 * g), "gradient", "finite differences"),
    "sign": (lambda x, v, g: (v, at_first(g, -1.0)), "gradient", r"by x\[1\] it is"),
    "one": (lambda x, v, g: (v, at_first(g, 1.8)), "gradient", r"by x\[1\] it is"),
    "shift": (lambda x, v, g: (v, g - 0.9), "gradient", "does not belong to the log density"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "kind", "words"), HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("dim", [3, 30])
def test_flaws_are_noticed_and_told(change, kind, words, dim):
    run = fit(changed(change, dim), "gaussian", seed=3)
    told = " ".join([*run.verdict.reasons, *run.warnings])
    assert run.flaw is not None
    assert run.flaw.kind == kind
    assert re.search(words, told, re.IGNORECASE), told
    assert run.flaw.cure in " ".join([*run.verdict.cures, *run.warnings])


@pytest.mark.parametrize("method", METHODS)
def test_no_method_is_ok_where_a_gradient_leads_astray(method):
    run = fit(changed(HOSTILE["factor"][0], 20), method, seed=1)
    assert run.verdict.name != "ok"
    assert "finite differences" in " ".join(run.verdict.reasons)


def test_result_that_values_alone_tell_right_is_ok_and_the_flaw_a_warning():
    run = fit(changed(lambda x, v, g: (v + 0.05 * np.sin(1e4 * x[:, 0]), g)), "gaussian", seed=1)
    assert run.verdict.name == "ok"
    run = fit(changed(lambda x, v, g: (v + 3 * (x[:, 0] > 2.4), g), 1), "gaussian", seed=1)
    assert run.flaw is not None
    assert run.flaw.kind == "jump"


def ball(x, v, g):
    """Half of the mass and more in a ball that holds half a percent of the draws."""
    return v + 5 * ((x**2).sum(axis=1) < 0.01), g


@pytest.mark.parametrize("seed", range(8))
def test_a_ball_that_few_draws_have_met_is_noticed(seed):
    run = fit(changed(ball, 2), "auto", seed=seed)
    assert run.verdict.name == "suspect"
    assert run.flaw.kind == "jump"


def tabled(width):
    """A normal, times one of what is looked up to a step; gradients know of the first alone."""

    def change(x, v, g):
        steps = np.floor(x / width) * width
        return v - 0.05 * ((steps - 1.65) ** 2).sum(axis=1), g

    return change


@pytest.mark.parametrize("method", ["auto", "gaussian"])
@pytest.mark.parametrize("width", [0.001, 0.01, 0.05])
def test_small_steps_by_the_thousand_are_noticed(width, method):
    for seed in range(3):
        run = fit(changed(tabled(width), 30), method, seed=seed)
        assert run.verdict.name == "suspect"
        assert run.flaw.kind == "gradient"
    assert "rounded, or looked up in a table" in " ".join(run.verdict.reasons)


def stairs(steepness, height, gap):
    """A normal with many walls that gradients know of."""
    walls = np.arange(-4, 4.01, gap)

    def change(x, v, g):
        at = np.clip(steepness * (x[:, :, None] - walls), -500, 500)
        p = 1 / (1 + np.exp(-at))
        return v + height * p.sum(axis=(1, 2)), g + height * steepness * (p * (1 - p)).sum(axis=2)

    return change


@pytest.mark.parametrize(("height", "gap"), [(0.1, 0.37), (1.0, 2.1), (0.05, 0.1)])
def test_no_alarm_of_walls_by_the_dozen(height, gap):
    for steepness in (20, 100, 1000):
        run = fit(changed(stairs(steepness, height, gap), 2), "mfvi", seed=1)
        assert run.flaw is None or run.flaw.kind == "jump"


def test_values_that_depend_on_their_company_are_told_soon():
    """Climbs of such a density find modes without end."""
    batch = FunctionDensity(lambda x: (v := -0.5 * (x**2).sum(axis=1), (v - v.mean(), -x))[1], 3)
    run = fit(batch, "auto", seed=0)
    assert run.verdict.name != "ok"
    assert run.flaw.kind == "noise"
    assert run.n_gradients < 100_000


def teeth():
    """A normal with a kink at every half, near to symmetric: modes among images of others."""

    def function(x):
        at = np.mod(x + 20, 1) - 0.5
        return (-0.5 * x**2 + np.abs(at)).sum(axis=1), -x + np.sign(at)

    return FunctionDensity(function, 1)


@pytest.mark.parametrize("seed", range(4))
def test_an_image_takes_the_place_of_the_nearest_mode(seed):
    run = fit(teeth(), "auto", seed=seed)
    assert run.verdict.name == "ok"
    places = [mode.position[0] for mode in run.modes]
    assert min(np.abs(np.subtract.outer(places, places))[np.triu_indices(len(places), 1)]) > 0.5


def laplace(dim):
    return FunctionDensity(lambda x: (-np.abs(x).sum(axis=1), -np.sign(x)), dim)


def wall(dim):
    """Half of a normal, with a wall of width 0.05."""

    def function(x):
        at = np.clip(x[:, 0] / 0.05, -700, 700)
        gradient = -x
        gradient[:, 0] -= 20 / (1 + np.exp(-at))
        return -0.5 * (x**2).sum(axis=1) - np.logaddexp(0, at), gradient

    return FunctionDensity(function, dim)


def absolute_regression(dim):
    """Kinks everywhere."""
    rng = np.random.default_rng(1)
    design = rng.standard_normal((20 * dim, dim))
    y = design.sum(axis=1) + rng.standard_t(3, len(design))

    def function(x):
        off = y - x @ design.T
        return -0.5 * np.abs(off).sum(axis=1), 0.5 * np.sign(off) @ design

    return FunctionDensity(function, dim)


SOUND = {
    "kinks": laplace(4),
    "many kinks": absolute_regression(5),
    "wall": wall(3),
    "heavy tails": student_t(2.5, 6),
    "skew": gumbel(np.eye(4)),
    "banana": banana(2.0),
    "three modes": triangle(),
    "far apart": sr.densities.normal_mixture([0.3, 0.7], [[-200.0], [200.0]], [[[1.0]], [[4.0]]]),
    "large": changed(lambda x, v, g: (v + 1e12, g), 3),
    "rounded": changed(lambda x, v, g: (v + 1e9 - 1e9, g), 8),
}


@pytest.mark.parametrize("density", SOUND.values(), ids=SOUND)
@pytest.mark.parametrize("method", ["auto", "mfvi"])
def test_no_alarm_of_what_is_sound(density, method):
    assert fit(density, method, seed=2).flaw is None


def test_looking_costs_few_gradients(monkeypatch):
    from stanrovi.vi.methods import driver

    spent = []

    def counted(target, *given):
        before = target.n_gradients
        found = looked(target, *given)
        spent.append(target.n_gradients - before)
        return found

    looked = driver.find_flaw
    monkeypatch.setattr(driver, "find_flaw", counted)
    for density in SOUND.values():
        fit(density, "gaussian", seed=2)
    assert len(spent) == len(SOUND)
    assert max(spent) <= 10
    assert np.mean(spent) <= 8


@pytest.fixture(scope="module")
def jumping(tmp_path_factory):
    path = tmp_path_factory.mktemp("jump") / "jump.stan"
    path.write_text(
        "parameters { vector[3] x; } model { x ~ std_normal(); if (x[2] > 0.3) target += 3; }"
    )
    return sr.Model(path)


def test_modes_tell_of_a_jump(jumping):
    found = sr.find_modes(jumping, seed=1)
    assert any("jumps by" in text and "x.2 = 0." in text for text in found.warnings)
    assert not sr.find_modes("eight_schools", seed=1).warnings


def test_sample_tells_of_a_jump(jumping):
    run = sr.sample(jumping, seed=1, max_gradients=20_000)
    assert any("jumps by" in text for text in (*run.warnings, run.reason))


def test_sample_does_not_trust_chains_next_to_a_wall(write):
    path = write("ball.stan", "parameters { vector[2] x; } model { x ~ std_normal(); "
                 "target += dot_self(x) < .01 ? 5 : 0; }")  # fmt: skip
    run = sr.sample(path, seed=1, max_gradients=20_000)
    assert not run.trusted
    assert "jumps by" in run.reason


def test_fit_keeps_the_flaw_in_its_file(jumping, tmp_path):
    made = sr.fit(jumping, seed=1)
    assert made.verdict.name == "suspect"
    assert "jumps by" in made.verdict.reasons[0]
    assert sr.load_fit(made.save(tmp_path / "fit.nc")).result.flaw == made.result.flaw


@pytest.mark.parametrize("method", ["auto", "mfvi"])
def test_seconds_hold_in_many_dimensions(method):
    """What NumPy does between evaluations and after the last of them counts."""
    began = time.perf_counter()
    run = fit(student_t(4.0, 3000), method, seed=1, max_seconds=1.0)
    assert time.perf_counter() - began < 15  # 1.2 on an idle machine, and minutes without an end
    assert run.status == "budget"
    assert run.verdict.name == "suspect"


def test_a_widened_fit_that_would_outlast_the_budget_is_left_out(monkeypatch):
    """In 20,000 dimensions a thousand draws take seconds to make and to weigh."""
    made, drawn = [], weights._widened_draws
    monkeypatch.setattr(weights, "_widened_draws", lambda *given: made.append(1) or drawn(*given))
    run = fit(student_t(4.0, 20_000), "mfvi", seed=1, max_seconds=1.0)
    assert run.verdict.name == "suspect"
    assert not made
