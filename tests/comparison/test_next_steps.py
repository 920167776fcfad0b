"""What the report advises, from verdicts and cures."""

from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import pytest
from comparison_cases import bimodal, collapsed_fit, good_fit, nuts, run, stuck

from stanrovi.comparison.comparison import compare
from stanrovi.comparison.next_steps import next_steps
from stanrovi.stan.model import Model
from stanrovi_cli.app import cli
from stanrovi_cli.loading import NamedModel

FILES = {"rovi": "rovi.nc", "mfvi": "mfvi.nc", "nuts": "nuts.nc"}


def advice(comparison, **options):
    return next_steps(comparison, **{"files": FILES, "program": "my.stan --data d.json"} | options)


@pytest.fixture(scope="module")
def both():
    rng = np.random.default_rng(0)
    return [collapsed_fit(rng), good_fit(rng)], nuts(bimodal(rng, 4, 1000, 0.5))


def test_what_passed_is_to_be_used_and_the_rest_left_aside(both):
    fits, reference = both
    first, second = advice(compare(fits, reference))
    assert first.text == "Use the draws of rovi (rovi.nc): they agree with nuts."
    assert first.command == "import stanrovi as sr\ndraws = sr.read_draws('rovi.nc')"
    assert second.text == "Do not use the other draws: mfvi is collapsed."


def test_the_nearest_of_those_that_passed_comes_first(both):
    rng = np.random.default_rng(1)
    second = replace(good_fit(rng, weight=0.5), method="mixture")
    far = good_fit(rng, weight=0.46)
    found = compare([far, second], both[1])
    assert found.methods["mixture"].marginals.w1.max() < found.methods["rovi"].marginals.w1.max()
    assert "Use the draws of mixture: " in advice(found)[0].text
    assert "rovi passed as well." in advice(found)[0].text


def test_where_nothing_passed_a_trusted_reference_is_used_and_another_method_tried(both):
    fits, reference = both
    first, second, third = advice(compare(fits[:1], reference))
    assert first.text.startswith("Use the draws of nuts (nuts.nc): they can be trusted")
    assert second.command == "stanrovi fit my.stan --data d.json --method auto --output auto.nc"
    assert "mfvi is collapsed" in third.text


def test_cures_are_told_where_the_most_general_method_was_tried(both):
    fits, reference = both
    fits = [fits[0], replace(fits[0], method="auto")]
    told = [step.text for step in advice(compare(fits, reference))]
    assert not any("Fit by method auto, which looks" in text for text in told)
    assert any(text.startswith("For a fit that passes (auto):") for text in told)


def test_without_a_reference_it_says_what_speaks_for_the_fit_and_how_to_get_one():
    rng = np.random.default_rng(2)
    fits, reference = [collapsed_fit(rng), good_fit(rng)], nuts(stuck(rng))
    first, second, _ = advice(compare(fits, reference))
    assert "its own checks and the mode table speak for it" in first.text
    assert second.command == (
        "stanrovi compare my.stan --data d.json --methods mfvi,rovi --reference sample"
    )
    first, second, third = advice(compare(fits[:1], reference))
    assert "Rely on none of these draws" in first.text
    assert second.command == "stanrovi sample my.stan --data d.json --output sample.nc"
    assert third.command.endswith("--method auto --output auto.nc")
    longer = advice(compare(fits[:1], replace(reference, method="sample")))[1]
    assert longer.text.startswith("Sample longer: ")


def test_no_command_is_made_up_where_the_model_is_not_known(both):
    fits, reference = both
    for step in next_steps(compare(fits[:1], reference)):
        assert not step.command
    assert len(next_steps(compare(fits, reference))) <= 4


def test_parameters_that_were_not_graded_are_told():
    rng = np.random.default_rng(3)
    values = rng.normal(size=(4, 500, 3))
    values[..., 0] = 0.97 * np.arange(500) % 7 + 0.05 * np.arange(4)[:, None]
    check = compare(run("vi", values[:1]), nuts(values))
    doubted = replace(check.reference, trusted=True, unknown=("x[1]", "x[2]"))
    told = [step.text for step in advice(replace(check, reference=doubted))]
    assert "Draw more from nuts before you rely on x[1] and 1 more: ungraded." in told


def test_the_commands_are_those_of_the_command_line(both):
    fits, reference = both
    untrusted = nuts(stuck(np.random.default_rng(4)))
    steps = [
        *advice(compare(fits, untrusted), program="bimodal_gaussian"),
        *advice(compare(fits[:1], untrusted), program="bimodal_gaussian"),
        *advice(compare(fits[:1], reference), program="bimodal_gaussian"),
    ]
    lines = [step.command.split() for step in steps if step.command.startswith("stanrovi ")]
    assert len(lines) == 4
    for _, name, *words in lines:
        command = cli.get_command(click.Context(cli), name)
        context = command.make_context(name, words)
        assert Model(context.params["model"]).name == "bimodal_gaussian"


def test_the_model_is_named_with_its_options():
    model = NamedModel("my m.stan", Path("d.json"), (Path("inc"),), "bridgestan")
    assert model.words == "'my m.stan' --data d.json --include-path inc --engine bridgestan"
    assert NamedModel("eight_schools", None, (), "auto").words == "eight_schools"
