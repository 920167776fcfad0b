"""Tempering: evidence, masses and barriers that are known, and legs that die."""

import numpy as np
import pytest
from targets import fit, two_gaussians

from stanrovi.densities import FunctionDensity
from stanrovi.families.product import Product
from stanrovi.samplers.bridge import LogRatio, bridge, mean_error
from stanrovi.samplers.legs import LegReport, look_from_afar, wide_leg
from stanrovi.samplers.tempering import Leg, Tempering
from stanrovi.target import Target


def normal(sd, dim, log_z=0.0):
    """Log density of N(0, sd^2), times a constant."""
    constant = log_z - dim * np.log(sd * np.sqrt(2 * np.pi))
    return FunctionDensity(lambda x: (constant - 0.5 * (x**2).sum(axis=1) / sd**2, -x / sd**2), dim)


def leg_from(family):
    return Leg(family, lambda _: family, common=True)


def tempered(density, leg, scans=400, seed=0):
    target, rng = Target(density), np.random.default_rng(seed)
    start = rng.standard_normal((4, density.dim))
    tempering = Tempering(target, leg, start, rng)
    return tempering, tempering.sample(scans), target


class TestBridge:
    @pytest.mark.parametrize("shift", [0.0, 3.0, -700.0])
    def test_ratio_of_two_normals(self, shift):
        rng = np.random.default_rng(0)
        below, above = rng.standard_normal((4, 500)), 0.5 + 0.8 * rng.standard_normal((4, 250))

        def log_ratio(x):
            return -0.5 * ((x - 0.5) / 0.8) ** 2 + 0.5 * x**2 + shift

        found = bridge(log_ratio(below), log_ratio(above)).ratio
        assert found.se < 0.05
        assert found.value == pytest.approx(np.log(0.8) + shift, abs=4 * found.se)

    def test_standard_errors_are_those_of_repetitions(self):
        rng = np.random.default_rng(1)
        values, told = [], []
        for _ in range(60):
            x, y = rng.standard_normal((4, 200)), 0.7 * rng.standard_normal((4, 200))
            found = bridge(*(-0.5 * z**2 / 0.49 + 0.5 * z**2 for z in (x, y))).ratio
            values.append(found.value)
            told.append(found.se)
        assert np.mean(told) == pytest.approx(np.std(values), rel=0.3)

    def test_rejected_draws_count_as_nothing(self):
        rng = np.random.default_rng(2)
        x = rng.standard_normal((1, 4000))
        inside = np.where(x > 0, 0.0, -np.inf)
        found = bridge(inside, np.zeros((1, 4000))).ratio
        assert found.value == pytest.approx(np.log(0.5), abs=4 * found.se)

    def test_nothing_in_common_is_no_evidence(self):
        found = bridge(np.full((1, 50), -np.inf), np.zeros((1, 50))).ratio
        assert found.value == -np.inf
        assert found.se == np.inf

    def test_one_batch_has_no_error(self):
        assert mean_error(np.zeros((1, 1))) == np.inf


def test_evidence_barrier_and_moments_of_a_normal():
    family = Product.gaussian(np.zeros(3), 3.0 * np.eye(3))
    tempering, trace, _ = tempered(normal(1.0, 3, log_z=5.0), leg_from(family))
    evidence = tempering.evidence()
    assert evidence.se < 0.2
    assert evidence.value == pytest.approx(5.0, abs=4 * evidence.se)
    assert 0.8 < tempering.barrier < 2.0
    assert len(tempering.powers) <= 2 * tempering.barrier + 3
    assert (np.diff(tempering.powers) > 0).all()
    assert tempering.round_trips > 20
    error = mean_error((trace.x**2).sum(axis=2))
    assert (trace.x**2).sum(axis=2).mean() == pytest.approx(3.0, abs=4 * error)


def test_a_fit_that_is_exact_has_no_barrier():
    family = Product.gaussian(np.zeros(2), np.eye(2))
    tempering, _, _ = tempered(normal(1.0, 2), leg_from(family), scans=100)
    assert tempering.barrier < 0.01
    assert abs(tempering.evidence().value) < 1e-6
    assert len(tempering.powers) == 3


def test_a_collapsed_reference_travels_well_and_lacks_half_of_the_evidence():
    density = two_gaussians(12.0, 0.5, np.eye(2))
    one = Product.gaussian(np.full(2, 6 / np.sqrt(2)), np.eye(2))
    target, rng = Target(density), np.random.default_rng(0)
    tempering = Tempering(target, leg_from(one), one.sample(4, rng), rng)
    tempering.sample(300)
    assert tempering.round_trips > 50
    assert tempering.evidence().value == pytest.approx(np.log(0.5), abs=0.1)


def test_both_modes_from_a_wide_reference():
    density = two_gaussians(8.0, 0.3, np.eye(2))
    found = fit(density, "auto", n_draws=512)
    report, absent = look_from_afar(Target(density), found, np.random.default_rng(0))
    assert report is not None
    assert report.alive
    assert not len(absent)
    assert report.evidence.value == pytest.approx(0.0, abs=4 * report.evidence.se)


def test_a_wide_reference_shows_a_mode_that_the_fit_does_not_know():
    density = two_gaussians(8.0, 0.5, np.eye(2))
    known = fit(two_gaussians(8.0, 1 - 1e-12, np.eye(2)), "gaussian", n_draws=512)
    report, absent = look_from_afar(Target(density), known, np.random.default_rng(1))
    assert report is not None
    assert len(absent) == 1
    assert np.abs(absent - 4 / np.sqrt(2)).max() < 0.2


def test_legs_that_cannot_be():
    flat = fit(normal(1.0, 3), "gaussian", n_draws=512)
    assert wide_leg(flat) is not None
    high = FunctionDensity(lambda x: (-0.5 * (x**2).sum(axis=1), -x), 201)
    found = fit(high, "mfvi", n_draws=16)
    assert look_from_afar(Target(high), found, np.random.default_rng(0))[0] is None


def test_a_leg_far_from_the_target_is_dead():
    narrow = normal(1e-3, 30)
    family = Product.gaussian(np.zeros(30), 1e4 * np.eye(30))
    target, rng = Target(narrow), np.random.default_rng(0)
    with np.errstate(all="ignore"):
        tempering = Tempering(target, leg_from(family), 1e-3 * rng.standard_normal((4, 30)), rng)
    report = LegReport.of("wide", tempering, LogRatio(0.0, 0.0))
    assert tempering.dead or not report.alive
