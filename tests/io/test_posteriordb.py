"""Folders of posteriordb, with everything that versions and accidents have made of them."""

import json
import os
import zipfile
from contextlib import suppress

import numpy as np
import pytest
from posterior_databases import (
    CENTER,
    CENTER_DATA,
    LINE,
    LINE_DATA,
    add_model,
    add_posterior,
    add_reference,
    fabricated_posteriordb,
    line_posterior,
    write_json,
)

import stanrovi as sr
from stanrovi.draws import Draws, as_draws
from stanrovi.errors import DataError, DrawsError, ModelError, UsageError
from stanrovi.io.netcdf import read_draws
from stanrovi.io.posteriordb import PosteriorDatabase, read_posteriordb
from stanrovi.io.zipped_json import read_json

PAIR = [{"a": [1.0, 2.0]}, {"a": [3.0, 5.0]}]


@pytest.fixture
def root(tmp_path):
    return fabricated_posteriordb(tmp_path / "checkout")


def only(root, name):
    [stored] = PosteriorDatabase(root).select([name])
    return stored


def test_a_folder_is_listed(root):
    listed = (
        "broken", "center-center", "center-center_alone", "gone-line", "line-line",
        "line-unfinished",
    )  # fmt: skip
    for path in (root, root.parent, str(root)):
        assert PosteriorDatabase(path).names == listed
    assert [stored.name for stored in PosteriorDatabase(root).select()] == list(listed)


def test_names_aliases_and_patterns_select_each_once_in_their_order(root):
    database = PosteriorDatabase(root)

    def names(*patterns):
        return [stored.name for stored in database.select(patterns)]

    assert names("line-*", "center-center", "line") == [
        "line-line", "line-unfinished", "center-center"
    ]  # fmt: skip
    assert names("lin?") == ["line-line"]  # an alias
    assert names("*-center*") == ["center-center", "center-center_alone"]
    assert [stored.name for stored in database.select("line-line")] == ["line-line"]
    assert database.find("nothing") is None


def test_what_matches_nothing_is_told_with_the_nearest_name(root):
    with pytest.raises(
        UsageError, match=r"'lien-line'. Did you mean 'line-line'.* holds 6: broken"
    ):
        PosteriorDatabase(root).select(["line", "lien-line"])
    with pytest.raises(UsageError, match=r"'zz\*'"):
        PosteriorDatabase(root).select(["zz*"])
    with pytest.raises(UsageError, match="''"):
        PosteriorDatabase(root).select([""])


def test_a_folder_of_something_else_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UsageError, match=r"neither .*posteriors.* Give a checkout"):
            PosteriorDatabase(path)
    with pytest.raises(UsageError, match="no folder of posteriordb"):
        read_posteriordb(tmp_path, "line")


def test_zipped_and_plain_parts_are_read(root):
    line, center = PosteriorDatabase(root).select(["line", "center-center"])
    assert line.program() == root / "models" / "stan" / "line.stan"
    assert line.data() == LINE_DATA
    assert center.data() == CENTER_DATA
    assert line.reference().parameters == ("alpha", "beta")
    assert center.reference().posterior["mu"].shape == (4, 500, 2)


def test_an_entry_is_fitted_and_graded_by_its_reference(root):
    stored = only(root, "line")
    fit = sr.fit(stored.program(), stored.data(), method="gaussian", seed=1)
    graded = sr.compare(fit, stored.reference())
    mean, covariance = line_posterior()
    draws = np.column_stack(list(as_draws(fit).stan_variables().values()))
    np.testing.assert_allclose(draws.mean(axis=0), mean, atol=0.06)
    np.testing.assert_allclose(np.cov(draws.T), covariance, atol=0.06)
    assert graded.reference.trusted
    assert graded.methods["gaussian"].marginals.w1.max() < 0.1


def test_a_part_that_is_not_there_takes_no_other_with_it(root):
    alone, gone, unfinished, broken = PosteriorDatabase(root).select(
        ["center-center_alone", "gone-line", "line-unfinished", "broken"]
    )
    assert alone.reference() is None
    assert alone.data() == CENTER_DATA
    with pytest.raises(DataError, match=r"gone-line lacks a file: there is no data/data/gone.json"):
        gone.data()
    assert gone.program().name == "line.stan"
    with pytest.raises(ModelError):
        sr.Model(unfinished.program(), unfinished.data())
    for part, error in (
        (broken.program, ModelError),
        (broken.data, DataError),
        (broken.reference, DrawsError),
    ):
        with pytest.raises(error, match=r"broken.json cannot be read"):
            part()


def test_what_an_entry_leaves_out_is_none(root):
    add_posterior(root, "bare", "line")
    write_json(root / "posteriors" / "empty.json", {})
    add_posterior(root, "lost", "line", "line", "no-such-draws")
    write_json(root / "reference_posteriors/draws/info/no-such-draws.info.json", {"name": "x"})
    bare, empty, lost = PosteriorDatabase(root).select(["bare", "empty", "lost"])
    assert bare.data() == empty.data() == {}
    assert bare.reference() is empty.reference() is lost.reference() is None
    with pytest.raises(ModelError, match="names no model; add its model_name"):
        empty.program()


def test_without_information_files_have_their_usual_names(root):
    (root / "models" / "stan" / "own.stan").write_text(LINE)
    write_json(root / "data" / "data" / "own.json.zip", LINE_DATA)
    add_posterior(root, "own-own", "own", "own")
    stored = only(root, "own-own")
    assert stored.program().name == "own.stan"
    assert stored.data() == LINE_DATA
    write_json(root / "models" / "info" / "own.info.json", {"model_implementations": None})
    write_json(root / "data" / "info" / "own.info.json", {"name": "own"})
    assert stored.program().name == "own.stan"
    assert stored.data() == LINE_DATA


def test_information_names_files_that_are_called_otherwise(root):
    add_model(root, "other", CENTER)
    code = {"stan": {"model_code": "models/stan/other.stan"}, "pymc3": {"model_code": "x.py"}}
    write_json(root / "models" / "info" / "m.info.json", {"model_implementations": code})
    write_json(root / "data" / "data" / "other.json.zip", CENTER_DATA)
    write_json(root / "data" / "info" / "d.info.json", {"data_file": "data/data/other.json.zip"})
    add_posterior(root, "d-m", "m", "d")
    assert only(root, "d-m").program().name == "other.stan"
    assert only(root, "d-m").data() == CENTER_DATA
    (root / "data" / "data" / "other.json.zip").rename(root / "data" / "data" / "d.json.zip")
    assert only(root, "d-m").data() == CENTER_DATA


def test_a_model_of_other_languages_has_no_program(root):
    code = {"pymc3": {"model_code": "models/pymc3/m.py"}}
    write_json(root / "models" / "info" / "m.info.json", {"model_implementations": code})
    add_posterior(root, "d-m", "m")
    with pytest.raises(ModelError, match=r"d-m lacks a file: there is no models/stan/m.stan"):
        only(root, "d-m").program()


@pytest.mark.parametrize("path", ["../../secret.json", "/etc/secret.json", "data/../../x.json"])
def test_paths_that_lead_out_of_the_folder_are_refused(root, path):
    write_json(root.parent.parent / "secret.json", {"N": 1})
    write_json(root.parent / "x.json", {"N": 1})
    write_json(root / "data" / "info" / "d.info.json", {"data_file": path})
    code = {"stan": {"model_code": path}}
    write_json(root / "models" / "info" / "m.info.json", {"model_implementations": code})
    add_posterior(root, "d-m", "m", "d", "../../../../x")
    with pytest.raises(DataError, match="lies outside"):
        only(root, "d-m").data()
    with pytest.raises(ModelError, match="lies outside"):
        only(root, "d-m").program()
    with pytest.raises(DrawsError, match="lies outside"):
        only(root, "d-m").reference()


@pytest.mark.parametrize("name", [3, "", ["a"], {"a": 1}, True])
def test_names_that_are_none_are_refused(root, name):
    add_posterior(root, "odd", name, name, name)
    write_json(root / "data" / "info" / "d.info.json", {"data_file": name})
    add_posterior(root, "odder", "line", "d")
    stored = only(root, "odd")
    for part, error in (
        (stored.program, ModelError),
        (stored.data, DataError),
        (stored.reference, DrawsError),
        (only(root, "odder").data, DataError),
    ):
        with pytest.raises(error, match=r"must be a name|is none; mend"):
            part()


@pytest.mark.parametrize("path", [".", "x\0y", "x" * 5000, "a/" * 2000, "\ud800"])
def test_paths_that_no_file_has_are_missing_files(root, path):
    write_json(root / "data" / "info" / "d.info.json", {"data_file": path})
    add_posterior(root, "d-line", "line", "d")
    with pytest.raises(DataError, match="lacks a file"):
        only(root, "d-line").data()


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b"{", "Expecting"),
        (b"[1, 2]", "no JSON object"),
        (b'{"N": "\xe5"}', "utf-8"),
        (b"\xff\xfe{\0}\0", "in UTF-16"),
        (b"[" * 100_000, "cannot be read"),
        (b'{"N": ' + b"1" * 5000 + b"}", "digits"),
        (b"PK\x03\x04 no archive", "not a zip"),
    ],
    ids=["empty", "blank", "broken", "list", "latin1", "utf16", "deep", "long", "no archive"],
)
def test_files_that_cannot_be_read_are_named(root, content, cause):
    for file in ("data/data/line.json", "posteriors/odd.json", "models/info/line.info.json"):
        (root / file).write_bytes(content)
    assert "odd" in PosteriorDatabase(root).names
    with pytest.raises(DataError, match=cause) as caught:
        only(root, "line").data()
    assert "line.json" in str(caught.value)
    with pytest.raises(ModelError, match=cause):
        only(root, "line").program()
    with pytest.raises(DrawsError, match=cause):
        only(root, "odd").reference()


def archive(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


@pytest.mark.parametrize(
    "members",
    [
        {"x.json": "1"},
        {"inner": "1"},
        {"folder/": "", "folder/x.json": "1"},
        {"__MACOSX/._x.json": "?", "x.json": "1", "._x.json": "?", ".DS_Store": "?"},
        {"README": "?", "other.json": "1"},
        {"other.json": "?", "x.json": "1"},
        {"\xe9.json": "\ufeff1"},
    ],
    ids=["usual", "any name", "folder", "macOS", "beside text", "own name first", "mark"],
)
def test_archives_hold_one_file_that_is_meant(tmp_path, members):
    assert read_json(archive(tmp_path / "x.json.zip", members), DataError) == 1


@pytest.mark.parametrize("members", [{}, {"a.json": "1", "b.json": "2"}, {"__MACOSX/x.json": "1"}])
def test_archives_in_which_nothing_or_much_is_meant_are_refused(tmp_path, members):
    with pytest.raises(DataError, match="the archive holds"):
        read_json(archive(tmp_path / "x.json.zip", members), DataError)


def test_content_tells_whether_a_file_is_zipped(tmp_path):
    archive(tmp_path / "x.json", {"x.json": "1"})
    (tmp_path / "y.json.zip").write_text("1")
    assert read_json(tmp_path / "x.json", DataError) == 1
    assert read_json(tmp_path / "y.json.zip", DataError) == 1


def test_archives_with_a_wound_are_read_or_refused(tmp_path):
    rng = np.random.default_rng(3)
    good = archive(tmp_path / "x.json.zip", {"x.json": json.dumps(PAIR)}).read_bytes()
    for _ in range(300):
        bad = bytearray(good)
        place = rng.integers(2, len(bad))
        bad[place] ^= int(rng.integers(1, 256))
        (tmp_path / "x.json.zip").write_bytes(bad[: place + int(rng.integers(0, len(bad)))])
        with suppress(DrawsError):
            assert read_posteriordb(tmp_path / "x.json.zip").n_draws == 2


def test_names_inside_files_find_them_too(root):
    add_posterior(root, "short", "line", "line")
    entry = json.loads((root / "posteriors" / "short.json").read_text())
    write_json(root / "posteriors" / "short.json", entry | {"name": "long-name"})
    assert only(root, "long-name").name == only(root, "short").name == "short"


def test_files_that_repeat_an_entry_are_aliases(root):
    """As aliases were stored before version 0.1, with other keywords now and then."""
    entry = json.loads((root / "posteriors" / "line-line.json").read_text())
    write_json(root / "posteriors" / "old.json", entry | {"keywords": ["x"]})
    database = PosteriorDatabase(root)
    assert "old" not in database.names
    assert only(root, "old").name == "line-line"
    write_json(root / "alias" / "posteriors.json", {"older": "old"})
    assert only(root, "older").name == "line-line"


def test_an_entry_that_only_tells_the_name_of_another_stays_itself(root):
    entry = json.loads((root / "posteriors" / "line-line.json").read_text())
    write_json(root / "posteriors" / "copied.json", entry | {"model_name": "center"})
    write_json(root / "posteriors" / "copied2.json", entry | {"name": "center-center"})
    for name in ("copied", "copied2", "line-line"):
        assert only(root, name).name == name


@pytest.mark.parametrize(
    "content",
    ["{", "[]", '{"line-line": "center-center", "x": "nothing", "y": 1, "z": ["line-line"]}'],
)
def test_aliases_that_lead_nowhere_are_none(root, content, caplog):
    write_json(root / "alias" / "posteriors.json", content)
    assert only(root, "line-line").name == "line-line"
    for alias in ("x", "y", "z", "line"):
        assert PosteriorDatabase(root).find(alias) is None
    assert ("No aliases are known" in caplog.text) == (len(content) < 3)


def test_only_files_of_json_are_entries(root):
    (root / "posteriors" / "folder.json").mkdir()
    (root / "posteriors" / "deeper").mkdir()
    for name in ("README.md", "._line-line.json", ".Rhistory"):
        (root / "posteriors" / name).write_text("?")
    assert len(PosteriorDatabase(root).names) == 6


def test_names_are_sorted_as_names_not_as_files(root):
    add_posterior(root, "center", "center")
    names = PosteriorDatabase(root).names
    assert names == tuple(sorted(names))


def test_an_empty_folder_holds_nothing(tmp_path):
    (tmp_path / "posteriors").mkdir()
    assert PosteriorDatabase(tmp_path).select() == []
    with pytest.raises(UsageError, match="It holds 0: none"):
        PosteriorDatabase(tmp_path).select(["*"])


@pytest.mark.skipif(os.name == "nt", reason="names there cannot hold |")
def test_names_of_2019_with_a_bar_and_a_folder_content(tmp_path):
    entry = {"model_name": "line", "gold_standard": None, "data_name": "d"}
    write_json(tmp_path / "posteriors" / "d|line.json", entry)
    code = {"model_code": {"stan": "content/models/line.stan"}}
    write_json(tmp_path / "content" / "models" / "line.info.json", code)
    (tmp_path / "content" / "models" / "line.stan").write_text(LINE)
    folder = tmp_path / "content" / "datasets"
    write_json(folder / "d.info.json", {"data_file": "content/datasets/d.json"})
    write_json(folder / "d.json.zip", LINE_DATA)
    [stored] = PosteriorDatabase(tmp_path).select(["d|*"])
    assert stored.program().name == "line.stan"
    assert stored.data() == LINE_DATA
    assert stored.reference() is None


def test_paths_that_stayed_when_folders_moved(root):
    code = {"model_code": {"stan": "content/models/stan/line.stan"}}
    write_json(root / "models" / "info" / "line.info.json", code)
    write_json(root / "data/info/line.info.json", {"data_file": "content/data/data/line.json"})
    assert only(root, "line").program() == root / "models" / "stan" / "line.stan"
    assert only(root, "line").data() == LINE_DATA


@pytest.mark.parametrize("place", ["gold_standards/draws", "reference_posteriors/draws"])
def test_reference_draws_of_early_versions(root, place):
    numbered = {"name": "ref", "draws": {"1": PAIR[0], "2": PAIR[1]}}
    write_json(root / place / "ref.json.zip", numbered)
    write_json(root / "posteriors" / "early.json", {"gold_standard_name": "ref"})
    draws = only(root, "early").reference()
    np.testing.assert_array_equal(draws.posterior["a"], [[1, 2], [3, 5]])


def test_programs_include_what_lies_beside_them(root):
    (root / "models" / "stan" / "prior.stan").write_text("alpha ~ normal(0, 2);\n")
    add_model(root, "line", LINE.replace("alpha ~ normal(0, 2);\n", "#include prior.stan\n"))
    stored = only(root, "line")
    model = sr.Model(stored.program(), stored.data())
    (root / "plain.stan").write_text(LINE)
    plain = sr.Model(root / "plain.stan", LINE_DATA)
    at = np.zeros((1, 2))
    np.testing.assert_allclose(model.log_density_gradient(at)[0], plain.log_density_gradient(at)[0])


def test_constant_and_missing_quantities_of_a_reference_grade_nothing():
    """A correlation matrix holds ones; a reference may know less, in another order."""
    rng = np.random.default_rng(0)

    def draws(method, names):
        r = np.tanh(rng.normal(size=(4, 250)))
        one = np.ones_like(r)
        known = {
            "R": np.moveaxis(np.array([[one, r], [r, one]]), (0, 1), (2, 3)),
            "s": rng.normal(size=r.shape),
            "more": rng.normal(size=r.shape),
        }
        return Draws(method, {name: known[name] for name in names}, tuple(names))

    graded = sr.compare(draws("sample", ("R", "s", "more")), draws("reference", ("s", "R")))
    assert graded.reference.trusted
    assert {*graded.parameters} == {"s", "R[1,2]"}
    assert graded.left_out == ("more",)
    assert np.isfinite(graded.methods["sample"].marginals.w1).all()


def test_reference_draws_are_read_by_name_alias_and_file(root):
    folder = root / "reference_posteriors" / "draws" / "draws"
    for path in (root, root.parent):
        for name in ("line-line", "line"):
            assert read_posteriordb(path, name).posterior["beta"].shape == (4, 500)
    matrix = {
        "L[1,1]": [1.0, 1.0],
        "L[2,1]": [3.0, 4.0],
        "L[1,2]": [0.0, 0.0],
        "L[2,2]": [5.0, 6.0],
    }
    add_reference(root, "of-no-entry", [matrix] * 3, zipped=True)
    reference = read_posteriordb(root, "of-no-entry")
    assert reference.posterior["L"].shape == (3, 2, 2, 2)
    assert reference.posterior["L"][0, 1, 1, 0] == 4.0
    assert reference.method == "reference"
    assert read_draws(folder / "of-no-entry.json.zip").n_chains == 3


def test_reference_draws_that_are_not_there(root):
    with pytest.raises(DrawsError, match="no reference draws for center-center_alone"):
        read_posteriordb(root, "center-center_alone")
    with pytest.raises(DrawsError, match=r"no reference draws named lime-line.*'line-line'"):
        read_posteriordb(root, "lime-line")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read"),
        ('{"a": 1}', "a list of chains"),
        ('{"draws": {}}', "a list of chains"),
        ('[{"a": [1]}, {"b": [1]}]', "differ in variables"),
        ('[{"a": [1, null]}]', "no usable draws of a"),
        ('[{"a[x]": [1]}]', "no list of draws"),
    ],
)
def test_reference_draws_of_another_format(tmp_path, content, message):
    with pytest.raises(DrawsError, match=message):
        read_draws(write_json(tmp_path / "bad.json", content))
