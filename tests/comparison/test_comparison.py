import json
from dataclasses import replace
from types import SimpleNamespace

import jsonschema
import numpy as np
import pytest
from comparison_cases import (
    bimodal,
    collapsed_fit,
    fit_attrs,
    good_fit,
    noted,
    nuts,
    run,
    stuck,
)
from places import SCHEMAS

from stanrovi.comparison.comparison import compare
from stanrovi.draws import Draws
from stanrovi.errors import DrawsError, UsageError
from stanrovi.io.arviz import to_arviz
from stanrovi.runs.nuts import nuts as run_nuts

SCHEMA = json.loads((SCHEMAS / "compare.schema.json").read_text())


@pytest.fixture(scope="module")
def trusted():
    rng = np.random.default_rng(0)
    return compare([collapsed_fit(rng), good_fit(rng)], nuts(bimodal(rng, 4, 1000, 0.5)))


@pytest.fixture(scope="module")
def untrusted():
    rng = np.random.default_rng(1)
    return compare([collapsed_fit(rng), good_fit(rng)], nuts(stuck(rng)))


def verdicts(comparison):
    return {name: method.verdict.name for name, method in comparison.methods.items()}


def reasons(comparison, name):
    return "\n".join(comparison.methods[name].verdict.reasons)


def test_a_comparison_has_passed_when_everything_has(trusted):
    assert not trusted.passed
    good = replace(trusted, methods={"rovi": trusted.methods["rovi"]})
    assert good.passed
    doubted = replace(trusted.reference, trusted=False)
    assert not replace(good, reference=doubted).passed


def test_trusted_reference_grades(trusted):
    assert trusted.reference.trusted
    assert verdicts(trusted) == {"mfvi": "collapsed", "rovi": "ok"}
    assert "Lost mode 2: 0.0% of its draws" in reasons(trusted, "mfvi")
    assert "2 of 2 marginals differ" in reasons(trusted, "mfvi")
    assert trusted.methods["rovi"].marginals.w1.max() < trusted.noise_floor


def test_stuck_reference_is_refused_and_the_mode_table_decides(untrusted):
    assert not untrusted.reference.trusted
    assert "chains occupy different basins (chain 1: 100%/0%" in untrusted.reference.reason
    assert verdicts(untrusted) == {"mfvi": "collapsed", "rovi": "ok"}
    assert untrusted.methods["rovi"].marginals is None
    assert np.isnan(untrusted.noise_floor)
    assert "Mode table: " in reasons(untrusted, "rovi")
    assert "Not graded against nuts" in reasons(untrusted, "rovi")
    assert untrusted.to_dataframe().empty


def test_a_mode_that_no_chain_visited_is_held_against_the_reference():
    rng = np.random.default_rng(2)
    comparison = compare(good_fit(rng), nuts(bimodal(rng, 4, 500, 1.0)))
    assert comparison.reference.rhat_max < 1.01
    assert not comparison.reference.trusted
    assert comparison.reference.reason == "No chain visited mode 2 (50% of the local evidence)."
    assert verdicts(comparison) == {"rovi": "ok"}


def test_collapse_is_flagged_for_every_seed_although_khat_is_low():
    rng = np.random.default_rng(3)
    references = nuts(bimodal(rng, 4, 500, 0.5)), nuts(stuck(rng, 200))
    for seed in range(50):
        fit = collapsed_fit(np.random.default_rng(seed), draws=1000)
        comparison = compare(fit, references[seed % 2])
        assert comparison.methods["mfvi"].khat < 0.7
        assert verdicts(comparison) == {"mfvi": "collapsed"}


def test_a_lost_mode_is_told_once(trusted, untrusted):
    rng = np.random.default_rng(24)
    said = "mode 2 has 50.0% of the local evidence and 0.0% of the draws"
    attrs = fit_attrs("collapsed", verdict_reasons=f"{said}\nIt knows more.")
    fit = noted(collapsed_fit(rng), attrs)
    for reference in (trusted.reference_draws, untrusted.reference_draws):
        told = compare(fit, reference).methods["mfvi"].verdict
        assert told.name == "collapsed"
        assert sum("mode 2" in reason for reason in told.reasons) == 1
        assert "It knows more." in told.reasons
    attrs = fit_attrs("collapsed", verdict_reasons=said)  # graver than what the table finds
    told = compare(noted(good_fit(rng, weight=0.3), attrs), trusted.reference_draws)
    assert verdicts(told) == {"rovi": "collapsed"}
    assert said in reasons(told, "rovi")


def test_wrong_weight_is_suspect():
    rng = np.random.default_rng(5)
    comparison = compare(good_fit(rng, weight=0.65), nuts(bimodal(rng, 4, 1000, 0.5)))
    assert verdicts(comparison) == {"rovi": "suspect"}
    assert "Wrong weight of mode" in reasons(comparison, "rovi")


def gaussian_fit(rng, shift=0.0, scale=1.0, **attrs):
    return run("gaussian", shift + scale * rng.normal(size=(1, 4000, 2)), attrs=attrs)


@pytest.mark.parametrize(("shift", "scale"), [(0.2, 1.0), (0.0, 0.8), (0.0, 1.2), (0.0, 0.0)])
def test_wrong_marginals_make_it_suspect_whatever_it_says_itself(shift, scale):
    rng = np.random.default_rng(6)
    fit = gaussian_fit(rng, shift, scale, verdict="ok", khat=0.1)
    assert verdicts(compare(fit, nuts(rng.normal(size=(4, 1000, 2))))) == {"gaussian": "suspect"}


def test_own_suspicion_yields_to_agreement_with_a_trusted_reference():
    rng = np.random.default_rng(7)
    reference = nuts(rng.normal(size=(4, 1000, 2)))
    own = {"verdict": "suspect", "verdict_reasons": "k-hat 0.90 is above 0.7."}
    cleared = compare(gaussian_fit(rng, **own), reference)
    assert verdicts(cleared) == {"gaussian": "ok"}
    assert "Its own check: k-hat 0.90" in reasons(cleared, "gaussian")
    stayed = compare(gaussian_fit(rng, **own), nuts(rng.normal(size=(1, 1000, 2))))
    assert verdicts(stayed) == {"gaussian": "suspect"}


@pytest.mark.parametrize("name", ["collapsed", "family cannot hold these modes"])
def test_own_grave_verdict_is_never_softened(name):
    rng = np.random.default_rng(8)
    fit = gaussian_fit(rng, verdict=name, verdict_reasons="Three modes.")
    comparison = compare(fit, nuts(rng.normal(size=(4, 1000, 2))))
    assert verdicts(comparison) == {"gaussian": name}
    assert "Three modes." in reasons(comparison, "gaussian")


def test_low_khat_alone_is_not_ok():
    rng = np.random.default_rng(9)
    comparison = compare(gaussian_fit(rng, khat=0.1), nuts(rng.normal(size=(1, 1000, 2))))
    assert "single chain" in comparison.reference.reason
    assert verdicts(comparison) == {"gaussian": "suspect"}


def test_a_short_reference_says_what_it_cannot_see():
    rng = np.random.default_rng(10)
    comparison = compare(gaussian_fit(rng, verdict="ok"), nuts(rng.normal(size=(4, 60, 2))))
    assert comparison.noise_floor > 0.2
    assert "cannot be seen" in reasons(comparison, "gaussian")


def test_khat_is_computed_where_the_fit_does_not_say():
    rng = np.random.default_rng(11)
    fit = good_fit(rng)
    attrs = {key: value for key, value in fit.attrs.items() if key != "khat"}
    bare = Draws("rovi", fit.posterior, fit.parameters, fit.sample_stats, attrs)
    assert abs(compare(bare, nuts(bimodal(rng, 4, 300, 0.5))).methods["rovi"].khat) < 0.4


def test_chains_can_be_graded_like_fits():
    rng = np.random.default_rng(12)
    comparison = compare(
        nuts(rng.normal(size=(4, 500, 2))), run("reference", rng.normal(size=(10, 500, 2)))
    )
    assert comparison.reference.divergences == -1
    assert comparison.to_dict()["reference"]["divergences"] is None
    method = comparison.methods["nuts"]
    assert (method.marginals.w1 <= method.marginals.floor).all()


def test_names_are_kept_apart():
    rng = np.random.default_rng(13)
    reference = nuts(rng.normal(size=(4, 200, 2)))
    fits = [gaussian_fit(rng), gaussian_fit(rng), reference]
    assert list(compare(fits, reference).methods) == ["gaussian", "gaussian #2", "nuts #2"]
    assert list(compare({"mine": fits[0]}, SimpleNamespace(draws=reference)).methods) == ["mine"]


def test_names_given_are_kept_and_none_is_lost():
    rng = np.random.default_rng(13)
    fit, reference = gaussian_fit(rng), nuts(rng.normal(size=(4, 200, 2)))
    assert list(compare({"a #2": fit, "a": fit}, reference).methods) == ["a #2", "a"]
    odd = Draws("gaussian #2", fit.posterior, fit.parameters)
    listed = compare([odd, fit, fit, fit], reference).methods
    assert list(listed) == ["gaussian #2", "gaussian", "gaussian #3", "gaussian #4"]
    with pytest.raises(UsageError, match="both called 'nuts'; give the fit another name"):
        compare({"nuts": fit}, reference)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("bad", ["rovi", "nuts"])
def test_draws_that_are_no_numbers_are_refused(value, bad):
    rng = np.random.default_rng(17)
    values = {"rovi": rng.normal(size=(1, 4000, 2)), "nuts": rng.normal(size=(4, 1000, 2))}
    values[bad][0, 7, 1] = value
    with pytest.raises(DrawsError, match=f"values of x in {bad} are NaN or infinite"):
        compare(run("rovi", values["rovi"]), nuts(values["nuts"]))


def test_constant_entries_are_left_out():
    rng = np.random.default_rng(14)

    def cholesky(chains, draws):
        values = np.zeros((chains, draws, 2, 2))
        values[..., 0, 0], values[..., 1, 0] = 1.0, rng.normal(size=(chains, draws))
        values[..., 1, 1] = rng.normal(size=(chains, draws))
        return values

    comparison = compare(
        run("rovi", cholesky(1, 500), name="L"), run("nuts", cholesky(4, 500), name="L")
    )
    assert comparison.parameters == ("L[2,1]", "L[2,2]")
    with pytest.raises(DrawsError, match="constant"):
        compare(run("rovi", np.zeros((1, 9, 2))), run("nuts", np.zeros((4, 9, 2))))


def test_a_symmetric_matrix_is_counted_once():
    rng = np.random.default_rng(20)

    def correlation(chains, draws):
        values = np.ones((chains, draws, 2, 2)) + 1e-16 * rng.normal(size=(chains, draws, 2, 2))
        values[..., 0, 1] = values[..., 1, 0] = rng.normal(size=(chains, draws))
        return values

    fit, reference = correlation(1, 500), correlation(4, 500)
    comparison = compare(run("rovi", fit, name="R"), nuts(reference, name="R"))
    assert comparison.parameters == ("R[1,2]",)
    fit[..., 1, 0] += 1  # no copies here, so both must be judged
    comparison = compare(run("rovi", fit, name="R"), nuts(reference, name="R"))
    assert comparison.worst_parameters() == ("R[2,1]", "R[1,2]")


def test_small_units_are_no_constants():
    rng = np.random.default_rng(21)
    fit, reference = (1e-12 * (3 + rng.normal(size=(n, 500, 1))) for n in (1, 4))
    assert compare(run("rovi", fit), nuts(reference)).parameters == ("x[1]",)


def test_a_fit_is_no_reference():
    rng = np.random.default_rng(22)
    fit, reference = good_fit(rng), nuts(bimodal(rng, 4, 500, 0.5))
    with pytest.raises(UsageError, match=r"variational fit \(rovi\).*compare\(fits, reference\)"):
        compare(reference, fit)


def test_files_are_shown_the_way():
    rng = np.random.default_rng(23)
    fit, reference = good_fit(rng), nuts(bimodal(rng, 4, 500, 0.5))
    for one, other, cure in (
        (fit, "nuts.nc", r"read_draws\('nuts.nc'\)"),
        ("fit.nc", reference, r"read_draws\('fit.nc'\)"),
        (["fit.nc"], reference, r"read_draws\('fit.nc'\)"),
    ):
        with pytest.raises(UsageError, match=cure):
            compare(one, other)


def test_containers_are_taken_as_they_are():
    rng = np.random.default_rng(23)
    fit, reference = good_fit(rng), nuts(bimodal(rng, 4, 500, 0.5))
    told = compare(fit, reference).to_dict()
    for fits in (to_arviz(fit), [to_arviz(fit)], {"rovi": to_arviz(fit)}):
        assert compare(fits, to_arviz(reference)).to_dict()["methods"] == told["methods"]


def test_a_reference_that_does_not_tell_its_parameters_leaves_that_to_the_fit():
    rng = np.random.default_rng(24)
    fit, reference = good_fit(rng), nuts(bimodal(rng, 4, 500, 0.5))
    (name,) = fit.parameters
    computed = {"twice": 2 * reference.posterior[name]}
    untold = replace(
        reference,
        posterior={**reference.posterior, **computed},
        parameters=(name, "twice"),
        parameters_assumed=True,
    )
    with_more = replace(fit, posterior={**fit.posterior, "twice": 2 * fit.posterior[name]})
    assert compare(with_more, untold).parameters == compare(fit, reference).parameters


def test_different_models_are_named():
    rng = np.random.default_rng(15)
    values = rng.normal(size=(4, 50, 2))
    with pytest.raises(DrawsError, match="no parameter in common: nuts has x; rovi has y"):
        compare(run("rovi", values, name="y"), nuts(values))
    with pytest.raises(DrawsError, match=r"different data: x has shape \(3,\) in rovi and \(2,\)"):
        compare(run("rovi", rng.normal(size=(1, 50, 3))), nuts(values))
    with pytest.raises(UsageError, match="nothing to compare"):
        compare([], nuts(values))
    with pytest.raises(UsageError, match=r"type str.* carries no draws"):
        compare({"a": "fit.nc"}, nuts(values))


def data_of(draws, data_hash):
    return replace(draws, attrs={**draws.attrs, "data_hash": data_hash})


def test_runs_of_different_data_are_refused():
    rng = np.random.default_rng(21)
    fit, reference = good_fit(rng), nuts(bimodal(rng, 4, 500, 0.5))
    with pytest.raises(DrawsError, match=r"different data \(their hashes are b and a\)"):
        compare(data_of(fit, "a"), data_of(reference, "b"))
    compare(data_of(fit, "a"), data_of(reference, "a"))
    compare(data_of(fit, "a"), reference)  # a file that does not tell


def test_what_runs_share_is_compared_and_the_rest_is_named():
    """As a non-centred fit with a reference of the centred program."""
    rng = np.random.default_rng(22)
    theta, raw = rng.normal(size=(1, 400, 2)), rng.normal(size=(1, 400, 2))
    fit = run("rovi", theta, name="theta")
    fit = replace(fit, posterior={**fit.posterior, "raw": raw}, parameters=("raw",))
    reference = nuts(rng.normal(size=(4, 400, 2)), name="theta")
    reference = replace(
        reference,
        posterior={**reference.posterior, "eta": rng.normal(size=(4, 400))},
        parameters=("theta", "eta"),
    )
    found = compare(fit, reference)
    assert found.parameters == ("theta[1]", "theta[2]")
    assert found.left_out == ("eta", "raw")
    assert found.to_dict()["left_out"] == ["eta", "raw"]


def test_one_parameter_that_the_reference_does_not_know_erases_nothing():
    rng = np.random.default_rng(23)
    values = rng.normal(size=(4, 1000, 3))
    values[0, :, 1] += 0.35  # R-hat about 1.02
    found = compare(run("rovi", rng.normal(size=(1, 4000, 3))), nuts(values))
    assert found.reference.trusted
    assert found.reference.unknown == ("x[2]",)
    assert "Not graded" in found.reference.reason
    assert "x[2] (R-hat 1.0" in found.reference.reason
    assert found.methods["rovi"].marginals.names == ("x[1]", "x[3]")
    assert found.methods["rovi"].verdict.name == "ok"
    assert found.worst_parameters()[-1] == "x[2]"
    assert found.plot() is not None


def test_draws_of_a_mode_that_the_reference_lacks_are_told_once():
    rng = np.random.default_rng(24)
    values = bimodal(rng, 4, 1000, 1.0)
    light = good_fit(rng)
    peaks = tuple(
        replace(m, weight=w) for m, w in zip(light.facts.modes, (0.96, 0.04), strict=True)
    )
    fit = replace(light, facts=replace(light.facts, modes=peaks))
    found = compare(fit, nuts(values))
    told = [r for r in found.methods["rovi"].verdict.reasons if "mode" in r]
    assert len(told) == 1
    assert "lie in mode 2, where the reference has none" in told[0]


def test_reasons_carry_their_cures(trusted):
    verdict = trusted.methods["mfvi"].verdict
    assert len(verdict.cures) == len(verdict.reasons)
    assert "method auto" in verdict.cures[0]
    assert any("method auto" in said for said in verdict.told)
    assert trusted.to_dict()["methods"]["mfvi"]["cures"] == list(verdict.cures)


def test_json_follows_the_schema(trusted, untrusted):
    validator = jsonschema.Draft202012Validator(SCHEMA)
    for comparison in (trusted, untrusted):
        text = json.dumps(comparison.to_dict(), allow_nan=False)
        assert not list(validator.iter_errors(json.loads(text)))
    content = trusted.to_dict()
    assert content["methods"]["mfvi"]["w1"].keys() == {"x[1]", "x[2]"}
    assert content["modes"][1]["reference_mass"] == pytest.approx(0.5, abs=0.05)
    assert content["reference"]["n_gradients"] == 100_000
    assert untrusted.to_dict()["methods"]["rovi"]["w1_max"] is None


def test_dataframe_and_order(trusted):
    frame = trusted.to_dataframe()
    assert len(frame) == 4
    assert frame["w1"].is_monotonic_decreasing
    assert list(frame["method"][:2]) == ["mfvi", "mfvi"]
    assert trusted.worst_parameters(1) == (frame["parameter"][0],)


def test_repr_fits_eighty_columns(trusted, untrusted):
    for comparison, word in ((trusted, "(trusted)"), (untrusted, "(NOT trusted)")):
        lines = repr(comparison).splitlines()
        assert max(map(len, lines)) <= 80
        assert word in lines[0]
        assert lines[2].split()[:2] == ["mfvi", "collapsed"]
    assert "\nmfvi: Lost mode 2: 0.0% of its draws, 49% by the reference. (and " in repr(trusted)
    assert "rovi: " not in repr(trusted)
    assert "\nnuts: NOT trusted. The chains disagree: rank R-hat" in repr(untrusted)


def test_frozen(trusted):
    with pytest.raises(AttributeError):
        trusted.model = "other"


def test_against_real_nuts(eight_schools):
    first, second = (
        run_nuts(eight_schools, engine="stanli", seed=seed, iter_sampling=500).draws
        for seed in (1, 2)
    )
    comparison = compare(second, first)
    assert comparison.reference.trusted
    assert comparison.methods["nuts #2"].verdict.name == "ok"
    wrong = Draws(
        "mfvi",
        {k: v.reshape(1, -1, *v.shape[2:]) * 0.7 for k, v in second.posterior.items()},
        second.parameters,
        attrs=fit_attrs(modes="[]"),
    )
    assert compare(wrong, first).methods["mfvi"].verdict.name == "suspect"
