"""The table of the posterior in the report."""

from dataclasses import replace

import numpy as np
from comparison_cases import bimodal, collapsed_fit, good_fit, nuts, stuck

from stanrovi.comparison.as_html import report_html
from stanrovi.comparison.comparison import compare
from stanrovi.comparison.posterior import posterior_table
from stanrovi.draws import Draws
from stanrovi.vi.facts import FitFacts, MarginalErrors, Verdict


def test_the_fit_that_passed_stands_beside_the_reference():
    rng = np.random.default_rng(0)
    fit = good_fit(rng)
    errors = MarginalErrors(("x[1]",), np.array([0.02]), np.array([0.011]), ("weights",))
    fit = replace(fit, facts=replace(fit.facts, errors=errors))
    reference = nuts(bimodal(rng, 4, 1000, 0.5))
    table = posterior_table(compare([collapsed_fit(rng), fit], reference))
    assert (table.run, table.reference) == ("rovi", "nuts")
    assert table.columns == (
        "mean", "sd", "5%", "50%", "95%", "error (sds)", "nuts mean", "nuts sd"
    )  # fmt: skip
    (name, mean, sd, *_, error, _, theirs), other = table.rows
    values = fit.posterior["x"][..., 0]
    assert (name, error, other[6]) == ("x[1]", "0.02 ± 0.01", "")
    assert mean == f"{values.mean():z.2f}"
    assert sd == f"{values.std():.2f}"
    assert theirs == f"{reference.posterior['x'][..., 0].std():.2f}"


def test_the_reference_is_summarised_where_no_fit_passed_and_nothing_without_one():
    rng = np.random.default_rng(1)
    fit = collapsed_fit(rng)
    table = posterior_table(compare(fit, nuts(bimodal(rng, 4, 500, 0.5))))
    assert (table.run, table.reference, len(table.columns)) == ("nuts", "", 5)
    assert posterior_table(compare(fit, nuts(stuck(rng)))) is None
    own = posterior_table(compare(good_fit(rng), nuts(stuck(rng))))
    assert (own.run, own.reference) == ("rovi", "")


def hierarchy(rng, chains, draws):
    scale = np.array([1.0, 1e-4, 1e5])
    return {
        "effect": rng.normal(size=(chains, draws, 500)),
        "scale": 3 * scale * (1 + 0.1 * rng.normal(size=(chains, draws, 3))),
        "mu": 1e12 + 1e9 * rng.normal(size=(chains, draws)),
    }


def test_scalars_come_first_and_large_arrays_are_folded():
    rng = np.random.default_rng(2)
    fit = Draws("vi", hierarchy(rng, 1, 400), ("effect", "scale", "mu"))
    reference = nuts(rng.normal(size=(4, 100, 1)))
    reference = replace(
        reference, posterior=hierarchy(rng, 4, 100), parameters=("effect", "scale", "mu")
    )
    verdict = Verdict("ok", ("It is right.",))
    comparison = compare(replace(fit, facts=FitFacts(verdict=verdict)), reference)
    table = posterior_table(comparison)
    assert [row[0] for row in table.rows[:5]] == [
        "mu", "scale[1]", "scale[2]", "scale[3]", "effect[1]",
    ]  # fmt: skip
    assert (len(table.rows), len(table.more), table.left_out) == (20, 380, 104)
    means = {row[0]: row[1] for row in table.rows}
    assert "e+" in means["mu"]
    assert means["scale[1]"].startswith(("2.9", "3.0"))
    assert means["scale[2]"].startswith(("0.00029", "0.00030"))
    page = report_html(comparison, plots=[])
    assert "<summary>380 more parameters</summary>" in page
    assert "104 more are in the draws" in page
