import json
from dataclasses import replace

import numpy as np
import pytest
from comparison_cases import (
    bimodal,
    collapsed_fit,
    fit_attrs,
    good_fit,
    nuts,
    run,
)

from stanrovi.comparison.comparison import compare
from stanrovi.grading.mode_table import mode_table


def verdicts(comparison):
    return {name: method.verdict.name for name, method in comparison.methods.items()}


@pytest.mark.parametrize("unconstrained", [True, False])
def test_modes_are_found_in_constrained_draws(unconstrained):
    rng = np.random.default_rng(4)
    reference = nuts(bimodal(rng, 4, 500, 0.3), unconstrained=unconstrained)
    modes = compare([collapsed_fit(rng), good_fit(rng)], reference).modes
    np.testing.assert_allclose(modes.reference_mass, [0.3, 0.7], atol=4 * np.sqrt(0.21 / 2000))
    np.testing.assert_allclose(modes.chain_mass.mean(axis=0), modes.reference_mass)
    np.testing.assert_allclose(modes.centres["x[1]"], [-3, 3], atol=0.2)
    assert modes.mass["mfvi"][0] > 0.99


def test_constrained_draws_cannot_be_placed_when_no_fit_visits_a_mode():
    rng = np.random.default_rng(4)
    reference = nuts(bimodal(rng, 4, 500, 0.3), unconstrained=False)
    comparison = compare(collapsed_fit(rng), reference)
    assert comparison.modes.reference_mass is None
    assert verdicts(comparison) == {"mfvi": "collapsed"}


def ridges(rng, chains, draws, weight):
    """Draws around the modes (0, 0) and (2, 0), ten sds apart across the ridge."""
    values = rng.multivariate_normal([0, 0], [[1, 0.98], [0.98, 1]], size=(chains, draws))
    values[..., 0] += 2 * (rng.random((chains, draws)) >= weight)
    return values


RIDGES = json.dumps(
    [
        {"weight": 0.7, "log_density": 0.0, "mass": 0.7, "position": [0, 0]},
        {"weight": 0.3, "log_density": -0.8, "mass": 0.3, "position": [2, 0]},
    ]
)


@pytest.mark.parametrize("unconstrained", [True, False])
def test_draws_on_a_ridge_belong_to_its_mode(unconstrained):
    rng = np.random.default_rng(18)
    attrs = fit_attrs(modes=RIDGES)
    fits = {
        "one": run("gaussian", ridges(rng, 1, 4000, 1.0), attrs=attrs),
        "both": run("mixture", ridges(rng, 1, 4000, 0.7), attrs=attrs),
    }
    missed = compare(fits, nuts(ridges(rng, 4, 1000, 1.0), unconstrained=unconstrained))
    np.testing.assert_array_equal(missed.modes.reference_mass, [1, 0])
    assert missed.reference.reason == "No chain visited mode 2 (30% of the local evidence)."
    assert verdicts(missed) == {"one": "collapsed", "both": "ok"}
    seen = compare(fits, nuts(ridges(rng, 4, 1000, 0.7), unconstrained=unconstrained))
    assert seen.reference.trusted
    assert verdicts(seen) == {"one": "collapsed", "both": "ok"}


@pytest.mark.parametrize(("dim", "draws"), [(50, 1000), (200, 400), (300, 100)])
def test_draws_are_placed_with_more_dimensions_than_draws(dim, draws):
    rng = np.random.default_rng(19)
    mixing = rng.normal(size=(dim, dim)) / np.sqrt(dim)
    centres = np.array([np.zeros(dim), mixing @ np.full(dim, 16 / np.sqrt(dim))])
    modes = json.dumps(
        [{"weight": 0.5, "log_density": 0, "mass": 0.5, "position": list(c)} for c in centres]
    )
    at = np.arange(draws) % 2
    values = (rng.normal(size=(draws, dim)) @ mixing.T + centres[at])[np.newaxis]
    table = mode_table({"rovi": run("rovi", values, attrs={"modes": modes})}, nuts(values))
    np.testing.assert_array_equal(table.mass["rovi"], [0.5, 0.5])


def test_infinite_unconstrained_draws_are_placed_by_the_constrained_ones():
    rng = np.random.default_rng(20)
    reference = nuts(bimodal(rng, 4, 500, 0.3))
    infinite = replace(reference, unconstrained=np.full((4, 500, 2), -np.inf))
    fit = good_fit(rng)
    known, found = (mode_table({"rovi": fit}, run) for run in (reference, infinite))
    np.testing.assert_allclose(found.reference_mass, known.reference_mass, atol=0.01)
