import re

import numpy as np
import pytest
from comparison_cases import nuts, run

from stanrovi.diagnostics.reference import check_draws, check_reference
from stanrovi.draws import Draws
from stanrovi.scalars import varying


def named(count):
    return tuple(f"p[{i + 1}]" for i in range(count))


def check(values, **options):
    return check_reference(nuts(values, **options), values, named(values.shape[2]))


def test_a_good_reference_is_trusted():
    result = check(np.random.default_rng(1).normal(size=(4, 500, 3)), divergent=1)
    assert result.trusted
    assert result.rhat_max < 1.01
    assert "1 divergence." in result.reason


@pytest.mark.parametrize(
    ("chains", "shift", "divergent", "message"),
    [
        (4, 1.0, 0, r"chains disagree: rank R-hat is 1\.\d+ for p\[2\]"),
        (1, 0.0, 0, "single chain cannot be checked"),
        (4, 0.0, 25, "25 of 2000 transitions diverged; raise adapt_delta \\(--adapt-delta"),
    ],
)
def test_a_bad_reference_is_not(chains, shift, divergent, message):
    values = np.random.default_rng(2).normal(size=(chains, 500, 3))
    values[0, :, 1] += shift
    result = check(values, divergent=divergent)
    assert not result.trusted
    assert re.search(message, result.reason)


def test_an_r_hat_hardly_above_the_limit_reads_as_above():
    normal = np.random.default_rng(2).normal(size=(4, 500, 1))
    digits = set()
    for shift in np.linspace(0.2, 0.4, 81):
        values = normal.copy()
        values[0] += shift
        result = check(values)
        if not result.trusted and result.rhat_max < 1.015:
            told = re.search(r"R-hat is ([\d.]+) for", result.reason)[1]
            assert float(told) > 1.01
            assert float(told) == pytest.approx(result.rhat_max, abs=0.5 * 10.0 ** -len(told[2:]))
            digits.add(len(told[2:]))
    assert 3 in digits


def test_a_frozen_chain_and_a_short_run_are_not_trusted():
    values = np.random.default_rng(2).normal(size=(4, 500, 1))
    values[2] = 0.3
    assert not check(values).trusted
    short = np.random.default_rng(2).normal(size=(4, 12, 1))
    assert not check(short).trusted


def test_divergences_that_a_file_leaves_open_do_not_count():
    values = np.random.default_rng(2).normal(size=(4, 500, 1))
    diverging = np.full((4, 500), np.nan)
    diverging[0, 0] = 1
    reference = run("nuts", values, stats={"diverging": diverging})
    assert check_reference(reference, values, named(1)).divergences == 1


@pytest.mark.parametrize("said", [np.nan, -7, 0.5, 2])
def test_what_is_no_yes_or_no_tells_of_no_divergences(said):
    values = np.random.default_rng(2).normal(size=(4, 500, 1))
    diverging = np.zeros((4, 500))
    diverging[:] = said
    checked = check_reference(run("nuts", values, stats={"diverging": diverging}), values, named(1))
    assert checked.divergences == -1
    assert checked.trusted
    assert "divergences unknown" in checked.reason


@pytest.mark.parametrize("chains", [[0, 1, 2, 0], [0, 0, 0, 0]])
def test_chains_that_are_one_are_not_trusted(chains):
    checked = check(np.random.default_rng(2).normal(size=(4, 500, 2))[chains])
    assert not checked.trusted
    assert "hold the same draws" in checked.reason


def test_what_only_rounding_moves_is_constant():
    """Ones of a correlation matrix, off by a bit in one chain, have no R-hat of their own."""
    values = np.random.default_rng(23).normal(size=(4, 500, 3)) * [1.0, 1e-9, 1e9]
    values[..., 1] += 1
    ones = np.ones((4, 500, 1))
    ones[0] += np.finfo(float).eps
    both = np.concatenate([values, ones], axis=-1)
    np.testing.assert_array_equal(varying(both), [True, True, True, False])
    checked, alone = (check_draws(Draws("nuts", {"R": x}, ("R",))) for x in (both, values))
    assert checked.rhat_max == alone.rhat_max < 1.01


def test_draws_of_which_nothing_varies_are_kept_and_not_trusted():
    """As a run that is to be written was, once: its draws were lost."""
    narrow = 1 + 1e-13 * np.random.default_rng(23).normal(size=(4, 500, 1))
    for values, why in ((np.ones((4, 500, 1)), "run more"), (narrow, "near rounding")):
        checked = check_draws(Draws("nuts", {"x": values}, ("x",)))
        assert not checked.trusted
        assert why in checked.reason
