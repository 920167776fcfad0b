"""Many fits: none is lost to another's failure."""

import pytest

from stanrovi.errors import DensityError, UsageError
from stanrovi.runs.fit import fit
from stanrovi.runs.fit_rows import fit_many


def fitter(model, method, seed):
    return fit(model, method=method, seed=seed, draws=100)


def test_every_combination_is_fitted_in_order():
    rows = list(fit_many(["bimodal_gaussian"], ["mfvi", "rovi"], [0, 1], fitter))
    assert [(row.method, row.seed) for row in rows] == [
        ("mfvi", 0), ("mfvi", 1), ("rovi", 0), ("rovi", 1),
    ]  # fmt: skip
    expected = fit("bimodal_gaussian", method="rovi", seed=1, draws=100).result
    assert rows[-1].elbo == expected.elbo
    assert rows[-1].n_gradients == expected.n_gradients
    assert rows[-1].verdict == "ok"
    assert {row.error for row in rows} == {None}


def test_a_failure_is_a_row(tmp_path):
    path = tmp_path / "wrong.stan"
    path.write_text("parameters { real x; } model { y ~ normal(0, 1); }")

    def fails_once(model, method, seed):
        if seed == 0:
            raise DensityError("nothing here")
        return fitter(model, method, seed)

    rows = list(fit_many([str(path), "bimodal_gaussian"], ["mfvi"], [0, 1], fails_once))
    assert [row.error is None for row in rows] == [False, False, False, True]
    assert (rows[0].model, rows[0].dim, rows[0].elbo) == ("wrong", None, None)
    assert "y" in rows[0].error
    assert (rows[2].model, rows[2].dim, rows[2].error) == ("bimodal_gaussian", 2, "nothing here")


def test_a_model_that_is_not_there_is_told_before_the_first_fit():
    def never(model, method, seed):
        raise AssertionError("a fit was made")

    with pytest.raises(UsageError, match="no model 'bimodal_gausian'"):
        list(fit_many(["bimodal_gaussian", "bimodal_gausian"], ["mfvi"], [0], never))
